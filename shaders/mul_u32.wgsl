// The 32 x 32 -> 64 bit multiplies in plain u32, for every device.
// Twin: src/kernel/mul.rs. The other spelling of the same functions: mul_u64.wgsl.

// The high 32 bits of the 64-bit product a * b.
fn mul_hi(a: u32, b: u32) -> u32 {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    // Neither sum can overflow: (2^16 - 1)^2 + 2 (2^16 - 1) = 2^32 - 1.
    let low = (a1 * b0) + ((a0 * b0) >> 16u);
    let middle = (a0 * b1) + (low & 0xffffu);
    return (a1 * b1) + (low >> 16u) + (middle >> 16u);
}

// The 64-bit product a * b as (low, high) words.
fn mul_wide(a: u32, b: u32) -> vec2<u32> {
    return vec2<u32>(a * b, mul_hi(a, b));
}

// The high 32 bits of the signed 64-bit product a * b: the upper halves are signed.
fn mul_hi_signed(a: i32, b: i32) -> i32 {
    let a0 = a & 0xffff;
    let a1 = a >> 16u;
    let b0 = b & 0xffff;
    let b1 = b >> 16u;
    let low = (a1 * b0) + i32((u32(a0) * u32(b0)) >> 16u);
    let middle = (a0 * b1) + (low & 0xffff);
    return (a1 * b1) + (low >> 16u) + (middle >> 16u);
}

// a * b / 2^32, rounded to the nearest integer, halves up: the upper word, and one more where the
// lower word has its upper bit set.
fn mul_hi_rounded(a: i32, b: i32) -> i32 {
    return mul_hi_signed(a, b) + i32(u32(a * b) >> 31u);
}

// (a * b + c * d) / 2^31, rounded to the nearest integer, halves up.
fn mul_sum_rounded(a: i32, b: i32, c: i32, d: i32) -> i32 {
    let first = u32(a * b);
    let sum = first + u32(c * d);
    let rounded = sum + 0x40000000u;
    let carries = select(0, 1, sum < first) + select(0, 1, rounded < sum);
    let high = mul_hi_signed(a, b) + mul_hi_signed(c, d) + carries;
    return (high << 1u) | i32(rounded >> 31u);
}
