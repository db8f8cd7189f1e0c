//! The quantile core: one word of the stream through a piecewise inverse of a distribution
//! function.
//!
//! Twin of `shaders/quantile.wgsl`. Every distribution with a table of its own takes this way:
//! the truncated normal above all, and the radius of Box-Muller. A word is a probability in
//! units of 2^-32, taken at the middle of its step; the table is finer towards both ends, where
//! quantiles run off.

use super::mul::mul_hi_signed;

/// Segments of an octave, as a power of two.
const SEGMENT_BITS: u32 = 5;
/// Segments of an octave.
const SEGMENTS: u32 = 1 << SEGMENT_BITS;
/// Octaves of a half: the lengths that the distance of a 32-bit probability from its end has.
const OCTAVES: u32 = 32;
/// Entries of one half of a table.
pub const HALF: usize = (OCTAVES << SEGMENT_BITS) as usize;
/// Entries of a table: the half below the median, then the half above it.
pub const ENTRIES: usize = 2 * HALF;

/// Where a word falls: the table's entry and, as a fraction of two segments with 32 fraction bits,
/// the place in its segment: below 2^31, so that it is a signed number too.
///
/// Words from 2^31 on are the upper half, counted from its end. The probability beyond the word
/// is `(2 v + 1) / 2^33`, v being the distance in words; its leading bit gives the octave, the
/// next five the segment.
#[inline(always)]
pub const fn segment(word: u32) -> (u32, i32) {
    let upper = sign_mask(word);
    let odd = ((word ^ upper) << 1) | 1;
    let octave = odd.leading_zeros();
    let mantissa = odd << octave;
    // The leading bit of the mantissa counts as a segment's number too, 32 to 63.
    let segment = (octave << SEGMENT_BITS) + (mantissa >> (31 - SEGMENT_BITS)) - SEGMENTS;
    let entry = segment + (upper & HALF as u32);
    (entry, ((mantissa << (SEGMENT_BITS + 1)) >> 1) as i32)
}

/// All bits set for words of the upper half, none for the others.
#[inline(always)]
const fn sign_mask(word: u32) -> u32 {
    ((word as i32) >> 31) as u32
}

/// The cubic of an entry at `t`. Its numbers are signed, that of each power for a segment of
/// length 1/2.
#[inline(always)]
pub const fn evaluate(entry: [u32; 4], t: i32) -> i32 {
    let square = (entry[2] as i32).wrapping_add(mul_hi_signed(entry[3] as i32, t));
    let linear = (entry[1] as i32).wrapping_add(mul_hi_signed(square, t));
    (entry[0] as i32).wrapping_add(mul_hi_signed(linear, t))
}

/// The core of a word, with the fraction bits that the table was made with. The upper half of the
/// table holds the negated quantile.
///
/// # Panics
///
/// With a table of fewer than [`ENTRIES`] entries.
#[inline(always)]
pub const fn quantile(word: u32, table: &[[u32; 4]]) -> i32 {
    let (entry, t) = segment(word);
    let value = evaluate(table[entry as usize], t);
    let upper = sign_mask(word) as i32;
    (value ^ upper).wrapping_sub(upper)
}
