// The 32 x 32 -> 64 bit multiplies in 64-bit integers, for devices with the feature SHADER_INT64:
// one instruction there. Same bits as mul_u32.wgsl.
// Twin: src/kernel/mul.rs.

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

// a * b / 2^32, rounded to the nearest integer, halves up: signed numbers.
fn mul_hi_rounded(a: vec4<i32>, b: vec4<i32>) -> vec4<i32> {
    return vec4<i32>(((vec4<i64>(a) * vec4<i64>(b)) + vec4<i64>(0x80000000li)) >> vec4<u32>(32u));
}

// a * b / 2^(32 + shift), rounded to the nearest integer, halves up.
fn mul_shifted(a: vec4<i32>, b: vec4<i32>, shift: u32) -> vec4<i32> {
    let product = vec4<i32>((vec4<i64>(a) * vec4<i64>(b)) >> vec4<u32>(31u));
    return (product + vec4<i32>(1 << shift)) >> vec4<u32>(shift + 1u);
}
