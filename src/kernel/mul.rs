//! The 32 x 32 -> 64 bit multiplies that everything else is built on.
//!
//! Twin of `shaders/mul_u32.wgsl` and `shaders/mul_u64.wgsl`: WGSL has no such multiply, so the
//! shaders spell it twice, in plain `u32` and, where the device has `SHADER_INT64`, in 64 bits.

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

/// The high 32 bits of the signed 64-bit product `a * b`: `floor(a * b / 2^32)`.
#[inline(always)]
pub const fn mul_hi_signed(a: i32, b: i32) -> i32 {
    ((a as i64 * b as i64) >> 32) as i32
}

/// `a * b / 2^32`, rounded to the nearest integer, halves up.
#[inline(always)]
pub const fn mul_hi_rounded(a: i32, b: i32) -> i32 {
    ((a as i64 * b as i64 + (1 << 31)) >> 32) as i32
}

/// `(a * b + c * d) / 2^31`, rounded to the nearest integer, halves up. The sum must fit in 63
/// bits and a sign, the result in 32.
#[inline(always)]
pub const fn mul_sum_rounded(a: i32, b: i32, c: i32, d: i32) -> i32 {
    ((a as i64 * b as i64 + c as i64 * d as i64 + (1 << 30)) >> 31) as i32
}
