//! The normal core: the Box-Muller transform in 32-bit fixed point.
//!
//! Twin of `shaders/box_muller.wgsl`. Box and Muller, "A note on the generation of
//! random normal deviates", Annals of Mathematical Statistics 29 (1958): with u and
//! t / 2 pi uniform on (0, 1), r cos t and r sin t with r = sqrt(-2 ln u) are two
//! independent standard normals. Both words of a pair are read at the middle of
//! their step: u = (a + 1/2) / 2^32, t = 2 pi (b + 1/2) / 2^32, so u is never 0.
//!
//! The radius is a cubic from a table of its own, found as quantiles are. The angle is that of
//! one of 1024 points of the circle, turned by the small rest. Everything is integer arithmetic,
//! so every device makes the same bits. `docs/STREAM.md` derives each scale and bound; the error
//! against the exact value is at most 2^-25 for every pair of words (`tests/accuracy.rs`).

use super::mul::{mul_hi_rounded, mul_sum_rounded};
use super::quantile::{ENTRIES, evaluate, segment};

/// Points of the circle, as a power of two.
const POINT_BITS: u32 = 10;
/// Points of the circle that the table holds.
pub const POINTS: usize = 1 << POINT_BITS;
/// Entries of the table: the cubics of the radius, then two points of the circle an entry.
pub const TABLE_ENTRIES: usize = ENTRIES + POINTS / 2;

/// What 1 is in the numbers that [`turn`] gives: `2^32 / pi`, so that the sine of the rest needs
/// no factor, and 1.18 millionths more: a sine is a little less than its angle.
pub const ONE: i32 = 1_367_132_160;

/// The Box-Muller radius `sqrt(-2 ln((a + 1/2) / 2^32))`, in units of [`ONE`] `/ 2^58`: they make
/// up for those of the sine.
#[inline(always)]
pub const fn radius(a: u32, table: &[[u32; 4]]) -> i32 {
    let (entry, t) = segment(a);
    evaluate(table[entry as usize], t)
}

/// `(cos, sin)` of `2 pi (b + 1/2) / 2^32`, in units of `1 /` [`ONE`].
#[inline(always)]
pub const fn turn(b: u32, table: &[[u32; 4]]) -> (i32, i32) {
    // Points stand in the middle of their part of the circle: the rest is an odd multiple of
    // half a step, below 2^22 in magnitude.
    let point = (b >> (32 - POINT_BITS)) as usize;
    let pair = table[ENTRIES + point / 2];
    let (cosine, sine) = if point.is_multiple_of(2) {
        (pair[0] as i32, pair[1] as i32)
    } else {
        (pair[2] as i32, pair[3] as i32)
    };
    let rest = ((b << POINT_BITS) >> (POINT_BITS - 1)) as i32 + 1 - (1 << 22);
    // The cosine of the rest, 1 - d^2 / 2: pi / 2^33 times the square of the rest below one. An odd
    // number over 128 is never half way: opposite rests have the same square.
    let short = (rest + 64) >> 7;
    let along = ONE - ((((short * short) >> 14) * 25_736) >> 18);
    (
        mul_sum_rounded(cosine, along, sine, -rest),
        mul_sum_rounded(sine, along, cosine, rest),
    )
}

/// Box-Muller on the words `(a, b)`: the cores `(r cos t, r sin t)` with 26 fraction bits.
///
/// # Panics
///
/// With a table of fewer than [`TABLE_ENTRIES`] entries.
#[inline(always)]
pub const fn normal_pair(a: u32, b: u32, table: &[[u32; 4]]) -> (i32, i32) {
    let r = radius(a, table);
    let (cosine, sine) = turn(b, table);
    (mul_hi_rounded(r, cosine), mul_hi_rounded(r, sine))
}
