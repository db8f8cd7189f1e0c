//! The 32 x 32 -> 64 bit multiply that everything else is built on.
//!
//! Twin of `shaders/mul_u32.wgsl` and `shaders/mul_u64.wgsl`: WGSL has no such
//! multiply, so the shaders spell it twice, in plain `u32` and, where the device
//! has `SHADER_INT64`, in `u64`.

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
