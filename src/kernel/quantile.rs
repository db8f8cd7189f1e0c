//! The quantile core: one word of the stream through a piecewise inverse of a distribution
//! function.
//!
//! Twin of `shaders/quantile.wgsl`. Every distribution with a table of its own takes this way:
//! the truncated normal above all. A word is a probability in units of 2^-32, taken at the middle
//! of its step; the table is finer towards both ends, where quantiles run off.

use super::mul::mul_hi;

/// Segments of an octave, as a power of two.
const SEGMENT_BITS: u32 = 4;
/// Octaves of a half: the lengths that the distance of a 32-bit probability from its end has.
const OCTAVES: u32 = 32;
/// Entries of one half of a table.
pub const HALF: usize = (OCTAVES << SEGMENT_BITS) as usize;
/// Entries of a table: the half below the median, then the half above it.
pub const ENTRIES: usize = 2 * HALF;

/// The upper 32 bits of the product of `a`, a signed number in two's complement, and `b`.
#[inline(always)]
pub const fn mul_hi_signed(a: u32, b: u32) -> u32 {
    mul_hi(a, b).wrapping_sub(if a >> 31 != 0 { b } else { 0 })
}

/// Where a word falls: the table's entry and, in 32 fraction bits, the place in its segment.
///
/// Words from 2^31 on are the upper half, counted from its end. The probability beyond the word
/// is `(2 v + 1) / 2^33`, v being the distance in words; its leading bit gives the octave, the
/// next four the segment.
#[inline(always)]
pub const fn segment(word: u32) -> (u32, u32) {
    let upper = word >> 31;
    let distance = if upper != 0 { !word } else { word };
    let odd = (distance << 1) | 1;
    let octave = odd.leading_zeros();
    let fraction = (odd << octave) << 1;
    let entry = (((upper << 5) | octave) << SEGMENT_BITS) | (fraction >> (32 - SEGMENT_BITS));
    (entry, fraction << SEGMENT_BITS)
}

/// The cubic of an entry at `t`, in 32 fraction bits, as sign (bit 31) and magnitude (bits 0 to
/// 30). Entries of the upper half hold the negated quantile.
#[inline(always)]
pub const fn evaluate(word: u32, entry: [u32; 4], t: u32) -> u32 {
    let mut value = entry[2].wrapping_add(mul_hi_signed(entry[3], t));
    value = entry[1].wrapping_add(mul_hi_signed(value, t));
    value = entry[0].wrapping_add(mul_hi_signed(value, t));
    let negative = value & 0x8000_0000;
    let magnitude = if negative != 0 {
        value.wrapping_neg()
    } else {
        value
    };
    magnitude | (negative ^ (word & 0x8000_0000))
}

/// The core of a word, as sign and magnitude, with the fraction bits that the table was made
/// with.
///
/// # Panics
///
/// With a table of fewer than [`ENTRIES`] entries.
#[inline(always)]
pub const fn quantile(word: u32, table: &[[u32; 4]]) -> u32 {
    let (entry, t) = segment(word);
    evaluate(word, table[entry as usize], t)
}
