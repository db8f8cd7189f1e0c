// The 32 x 32 -> 64 bit multiplies in 32-bit integers, for every device.
// Twin: src/kernel/mul.rs. mul_u64.wgsl has the same functions in 64-bit integers.

// The high 32 bits of the 64-bit product a * b, from four products of 16-bit halves (Warren,
// "Hacker's Delight", section 8-2).
fn mul_hi(a: u32, b: u32) -> u32 {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    // Neither sum can overflow: it is at most (2^16 - 1)^2 + (2^16 - 1) < 2^32.
    let low = (a1 * b0) + ((a0 * b0) >> 16u);
    let middle = (a0 * b1) + (low & 0xffffu);
    return (a1 * b1) + (low >> 16u) + (middle >> 16u);
}

// The 64-bit product a * b as (low, high) words.
fn mul_wide(a: u32, b: u32) -> vec2<u32> {
    return vec2<u32>(a * b, mul_hi(a, b));
}

// a * b / 2^32, rounded to the nearest integer, halves up: the high word, plus the highest bit of the
// low word.
fn mul_hi_rounded_unsigned(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let high = vec4<u32>(mul_hi(a.x, b.x), mul_hi(a.y, b.y), mul_hi(a.z, b.z), mul_hi(a.w, b.w));
    return high + ((a * b) >> vec4<u32>(31u));
}

// The high 32 bits of the signed 64-bit products a * b, as in `mul_hi`, but the upper halves are signed.
// The product of the lower halves is unsigned. In 64-bit integers this needs no function.
fn mul_hi_signed(a: vec4<i32>, b: vec4<i32>) -> vec4<i32> {
    let half = vec4<u32>(16u);
    let a0 = a & vec4<i32>(0xffff);
    let a1 = a >> half;
    let b0 = b & vec4<i32>(0xffff);
    let b1 = b >> half;
    let low = (a1 * b0) + vec4<i32>((vec4<u32>(a0) * vec4<u32>(b0)) >> half);
    let middle = (a0 * b1) + (low & vec4<i32>(0xffff));
    return (a1 * b1) + (low >> half) + (middle >> half);
}

// `mul_hi_rounded_unsigned` for signed numbers.
fn mul_hi_rounded(a: vec4<i32>, b: vec4<i32>) -> vec4<i32> {
    return mul_hi_signed(a, b) + vec4<i32>(vec4<u32>(a * b) >> vec4<u32>(31u));
}

// a * b / 2^(32 + shift), rounded to the nearest integer, halves up. The shift is at most 30 and the
// product below 2^61 in magnitude, so a * b / 2^31 fits in 32 bits with room for the rounding term.
// 31 bits are dropped first, not 32: the last bit that is left decides the rounding where shift is 0.
fn mul_shifted(a: vec4<i32>, b: vec4<i32>, shift: u32) -> vec4<i32> {
    let lowest = vec4<i32>(vec4<u32>(a * b) >> vec4<u32>(31u));
    let product = (mul_hi_signed(a, b) << vec4<u32>(1u)) | lowest;
    return (product + vec4<i32>(1 << shift)) >> vec4<u32>(shift + 1u);
}
