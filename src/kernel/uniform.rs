//! The uniform core. Twin of `shaders/uniform.wgsl`.

/// The core `2 (word >> 4) + 1 - 2^28`, an odd multiple of 2^-28 in (-1, 1).
#[inline(always)]
pub const fn uniform(word: u32) -> i32 {
    ((word >> 3) | 1) as i32 - (1 << 28)
}
