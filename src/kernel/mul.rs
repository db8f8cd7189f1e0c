//! The 32 x 32 -> 64 bit multiplies that everything else is built on.
//!
//! Twin of `shaders/mul_u32.wgsl` and `shaders/mul_u64.wgsl`. WGSL has no such multiply, so the
//! shaders have two versions: one in 32-bit integers, for every device, and one in 64-bit integers,
//! for devices with `SHADER_INT64`.

/// The high 32 bits of the 64-bit product `a * b`.
#[inline(always)]
pub const fn mul_hi(a: u32, b: u32) -> u32 {
    ((a as u64 * b as u64) >> 32) as u32
}

/// The 64-bit product `a * b` as `(low, high)` words.
#[inline(always)]
pub const fn mul_wide(a: u32, b: u32) -> (u32, u32) {
    let product = a as u64 * b as u64;
    (product as u32, (product >> 32) as u32)
}

/// `a * b / 2^32`, rounded to the nearest integer, halves up.
#[inline(always)]
pub const fn mul_hi_rounded_unsigned(a: u32, b: u32) -> u32 {
    ((a as u64 * b as u64 + (1 << 31)) >> 32) as u32
}

/// [`mul_hi_rounded_unsigned`] for signed numbers.
#[inline(always)]
pub const fn mul_hi_rounded(a: i32, b: i32) -> i32 {
    ((a as i64 * b as i64 + (1 << 31)) >> 32) as i32
}

/// `a * b / 2^(32 + shift)`, rounded to the nearest integer, halves up. The shift is at most 30,
/// and the product below 2^61 in magnitude.
#[inline(always)]
pub const fn mul_shifted(a: i32, b: i32, shift: u32) -> i32 {
    ((a as i64 * b as i64 + (1 << (31 + shift))) >> (32 + shift)) as i32
}
