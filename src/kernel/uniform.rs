//! Uniform whole numbers. Twin of `shaders/uniform.wgsl`.

use super::mul::mul_hi;

/// One of the `count` whole numbers from `first` on: `first + floor(word * count / 2^32)`. It is
/// never `first + count`, so the range is half-open by construction. The twin is called
/// `uniform_numbers`: `uniform` is the name of an address space in WGSL.
#[inline(always)]
pub const fn uniform(word: u32, count: u32, first: i32) -> i32 {
    first.wrapping_add(mul_hi(word, count) as i32)
}
