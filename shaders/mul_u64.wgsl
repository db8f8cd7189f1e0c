// The 32 x 32 -> 64 bit multiplies in 64-bit integers, for devices with the feature SHADER_INT64, where
// each is one instruction.
// Twin: src/kernel/mul.rs. mul_u32.wgsl has the same functions, with the same bits, for every device.

// The high 32 bits of the 64-bit product a * b.
fn mul_hi(a: u32, b: u32) -> u32 {
    return u32((u64(a) * u64(b)) >> 32u);
}

// The 64-bit product a * b as (low, high) words.
fn mul_wide(a: u32, b: u32) -> vec2<u32> {
    let product = u64(a) * u64(b);
    return vec2<u32>(u32(product), u32(product >> 32u));
}

// a * b / 2^32, rounded to the nearest integer, halves up.
fn mul_hi_rounded_unsigned(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(((vec4<u64>(a) * vec4<u64>(b)) + vec4<u64>(0x80000000lu)) >> vec4<u32>(32u));
}

// `mul_hi_rounded_unsigned` for signed numbers.
fn mul_hi_rounded(a: vec4<i32>, b: vec4<i32>) -> vec4<i32> {
    return vec4<i32>(((vec4<i64>(a) * vec4<i64>(b)) + vec4<i64>(0x80000000li)) >> vec4<u32>(32u));
}

// a * b / 2^(32 + shift), rounded to the nearest integer, halves up. The shift is at most 30 and the
// product below 2^61 in magnitude, so a * b / 2^31 fits in 32 bits with room for the rounding term.
fn mul_shifted(a: vec4<i32>, b: vec4<i32>, shift: u32) -> vec4<i32> {
    let product = vec4<i32>((vec4<i64>(a) * vec4<i64>(b)) >> vec4<u32>(31u));
    return (product + vec4<i32>(1 << shift)) >> vec4<u32>(shift + 1u);
}
