//! A function of one random word as a table of quadratics in fixed point: the inverse of a
//! distribution function, or the radius of Box-Muller. `src/init/quantile.rs` builds the table.
//!
//! Twin of `shaders/curve.wgsl`. A word is a probability in units of 2^-32. Towards both ends of
//! the range, where quantiles go to infinity, the table is finer: every halving of the distance
//! from the end (an octave) has 64 segments. Coefficients have 16 bits, so that an entry is 8 bytes,
//! which is one load on a GPU, and products fit in 32 bits.

use super::value::kept;

/// The base 2 logarithm of the segments of an octave.
const SEGMENT_BITS: u32 = 6;
/// Segments of an octave.
pub const SEGMENTS: usize = 1 << SEGMENT_BITS;
/// Octaves of a half of the words. A word's distance from its end has 0 to 31 leading zeros.
pub const OCTAVES: usize = 32;
/// Entries of a table: the lower half of the words, then the upper half.
pub const ENTRIES: usize = 2 * OCTAVES * SEGMENTS;

/// The table entry of a word, and its place in the segment: t, in units of 2^-15, counted from the
/// middle.
///
/// As a signed number, a word is its distance from the nearer end of the words: from 0 where it
/// is positive, from 2^32 where it is negative. A conversion to binary32 takes the distance apart.
/// It is exact, since the number is cut to 24 bits. The exponent is the octave, the 6 bits below
/// the leading one are the segment, and the next 16 are the place. The index holds the lower 5 bits
/// of the exponent's field, which are (30 - n) mod 32 for n leading zeros. The sign bit selects the
/// half of the table.
#[inline(always)]
pub const fn place(word: u32) -> (u32, i32) {
    // `cut(word | 1)`: no word stands for probability 0. The last bit does not change which bits
    // are kept, so `kept` need not wait for the "or".
    let odd = (word | 1) as i32 & kept(word as i32);
    let bits = (odd as f32).to_bits();
    // 5 bits of the exponent, then 6 of the significand. The sign bit selects the half of the table.
    let entry = ((bits >> 17) & 0x7ff) | ((bits >> 20) & 0x800);
    (entry, ((bits >> 1) & 0xffff) as i32 - 0x8000)
}

/// The quadratic of an entry at `t`. An entry is the constant, then in one word the coefficients of
/// `t` (low half) and of `t^2` (high half).
#[inline(always)]
pub const fn evaluate(entry: [u32; 2], t: i32) -> i32 {
    let linear = entry[1] as i16 as i32;
    let square = entry[1] as i32 >> 16;
    // With t = 2^15 s, the table holds b / 2^6 and c / 2^5 for the quadratic a + b s + c s^2: both
    // products are 2^9 times too large, and their sum is below 2^31.
    let q = (t * t) >> 16;
    (entry[0] as i32).wrapping_add((linear * t + square * q) >> 9)
}

/// The value of the table's function at a word, in the table's units.
///
/// # Panics
///
/// If the table has fewer than [`ENTRIES`] entries.
#[inline(always)]
pub const fn curve(word: u32, table: &[[u32; 2]]) -> i32 {
    let (entry, t) = place(word);
    evaluate(table[entry as usize], t)
}
