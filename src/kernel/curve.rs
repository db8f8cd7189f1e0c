//! A function of one word as a table of quadratics: the inverse of a distribution function, and
//! the radius of Box-Muller.
//!
//! Twin of `shaders/curve.wgsl`. A word is a probability in units of 2^-32. The table is finer
//! towards both ends of the range, where quantiles run off to infinity. Coefficients of 16 bits
//! make an entry 8 bytes: one load on a GPU, and products of half the width.

use super::value::kept;

/// Segments of an octave, as a power of two.
const SEGMENT_BITS: u32 = 6;
/// Segments of an octave.
pub const SEGMENTS: usize = 1 << SEGMENT_BITS;
/// Octaves of a half: the numbers of leading zeros that a word's distance from its end can have.
pub const OCTAVES: usize = 32;
/// Entries of a table: the lower half of the words, then the upper half.
pub const ENTRIES: usize = 2 * OCTAVES * SEGMENTS;

/// Where a word falls: the table's entry, and its place in the segment in units of 2^-15, from
/// the middle.
///
/// As a signed number, a word is its distance from the nearer end of the words: from 0 where it
/// is positive, from 2^32 where it is negative. The conversion to binary32 is exact, cut to 24 bits;
/// its exponent is the octave, the 6 bits below the leading one are the segment, and the next 16
/// are the place. The leading zeros n of the distance stand in the index as (30 - n) mod 32, which
/// is the exponent's field mod 32.
#[inline(always)]
pub const fn place(word: u32) -> (u32, i32) {
    // The last bit does not change how many are kept.
    let odd = (word | 1) as i32 & kept(word as i32);
    let bits = (odd as f32).to_bits();
    let entry = ((bits >> 17) & 0x7ff) | ((bits >> 20) & 0x800);
    (entry, ((bits >> 1) & 0xffff) as i32 - 0x8000)
}

/// The quadratic of an entry at `t`: the constant, then in one word the coefficients of `t` (its
/// lower half) and of `t^2` (its upper half).
#[inline(always)]
pub const fn evaluate(entry: [u32; 2], t: i32) -> i32 {
    let linear = entry[1] as i16 as i32;
    let square = entry[1] as i32 >> 16;
    let q = (t * t) >> 16;
    (entry[0] as i32).wrapping_add((linear * t + square * q) >> 9)
}

/// The value of the table's function at a word, in the table's units.
///
/// # Panics
///
/// With a table of fewer than [`ENTRIES`] entries.
#[inline(always)]
pub const fn curve(word: u32, table: &[[u32; 2]]) -> i32 {
    let (entry, t) = place(word);
    evaluate(table[entry as usize], t)
}
