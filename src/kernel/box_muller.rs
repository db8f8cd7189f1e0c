//! Pairs of normals: the Box-Muller transform in 32-bit fixed point.
//!
//! Twin of `shaders/box_muller.wgsl`. Box and Muller, "A note on the generation of random normal
//! deviates", Annals of Mathematical Statistics 29 (1958): with u and t / 2 pi uniform on (0, 1),
//! r cos t and r sin t with r = sqrt(-2 ln u) are two independent standard normals.
//!
//! The radius is a curve of one word. The direction is one of 1024 points of the circle, turned by
//! the rest of the angle. `docs/STREAM.md` has the error of both.

use super::curve::{ENTRIES, curve};
use super::mul::mul_hi_rounded_unsigned;

/// Points of the circle that the table holds.
pub const POINTS: usize = 1024;
/// Entries of the table: the curve of the radius, then the points of the circle.
pub const TABLE_ENTRIES: usize = ENTRIES + POINTS;
/// Fraction bits of the radius in the table. The largest radius is 6.661, so it is below 2^31.
pub const RADIUS_BITS: i32 = 28;

/// `(cos, sin)` of `2 pi (k + 1/2 + (d + 1/2) / 2^16) / 1024`, with 30 fraction bits. k is the lower
/// 10 bits of the word, d its upper 16 bits as a signed number.
#[inline(always)]
pub const fn turn(b: u32, table: &[[u32; 2]]) -> (i32, i32) {
    let point = table[ENTRIES + (b & 1023) as usize];
    let (cosine, sine) = (point[0] as i32, point[1] as i32);
    // 25736 / 2^15 is pi / 4. `angle` is the rest of the angle with 23 fraction bits, `square` half
    // its square in the same units. 1 - square and angle are its cosine and sine: the rest is below
    // pi / 1024, so the next terms of the series are below 2^-27.
    let angle = ((b as i32 >> 16) * 25_736 + (1 << 14)) >> 15;
    let square = (angle * angle + (1 << 23)) >> 24;
    // 15 fraction bits: products with `angle` have 38 and fit in 32-bit integers.
    let (c, s) = (cosine >> 15, sine >> 15);
    (
        cosine - ((s * angle + c * square) >> 8),
        sine - ((s * square - c * angle) >> 8),
    )
}

/// The Box-Muller transform of the words `(a, b)`: the radius times `multiplier / 2^32`, and the
/// cosine and sine with 30 fraction bits. The caller multiplies them.
///
/// # Panics
///
/// If the table has fewer than [`TABLE_ENTRIES`] entries.
#[inline(always)]
pub const fn normal_pair(a: u32, b: u32, multiplier: u32, table: &[[u32; 2]]) -> (i32, (i32, i32)) {
    let radius = mul_hi_rounded_unsigned(curve(a, table) as u32, multiplier);
    (radius as i32, turn(b, table))
}
