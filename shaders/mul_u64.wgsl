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

// The high 32 bits of the signed 64-bit product a * b.
fn mul_hi_signed(a: i32, b: i32) -> i32 {
    return i32((i64(a) * i64(b)) >> 32u);
}

// a * b / 2^32, rounded to the nearest integer, halves up.
fn mul_hi_rounded(a: i32, b: i32) -> i32 {
    return i32(((i64(a) * i64(b)) + 0x80000000li) >> 32u);
}

// (a * b + c * d) / 2^31, rounded to the nearest integer, halves up.
fn mul_sum_rounded(a: i32, b: i32, c: i32, d: i32) -> i32 {
    return i32((((i64(a) * i64(b)) + 0x40000000li) + (i64(c) * i64(d))) >> 31u);
}
