//! The uniform core. Twin of `shaders/uniform.wgsl`.

/// The core `2 (word >> 4) + 1 - 2^28`, an odd multiple of 2^-28 in (-1, 1), as sign
/// (bit 31) and magnitude (bits 0 to 30).
///
/// Words below 2^31 are the negative half, mirrored: `!word` has the same magnitude.
#[inline(always)]
pub const fn uniform(word: u32) -> u32 {
    let negative = !word & 0x8000_0000;
    let mirrored = if negative != 0 { !word } else { word };
    (((mirrored & 0x7fff_ffff) >> 3) | 1) | negative
}
