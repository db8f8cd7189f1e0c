//! The table of the normal core: the cubics of Box-Muller's radius, and points of the circle.
//!
//! Like the tables of `quantile.rs` it is part of the stream, and made with the same arithmetic.

use std::f64::consts::PI;
use std::sync::{Arc, OnceLock};

use crate::kernel::box_muller::{ONE, POINTS, TABLE_ENTRIES};
use crate::kernel::quantile::HALF;

use super::quantile::{cubic, ln, power_of_two};

/// The table that [`kernel::box_muller`](crate::kernel::box_muller) looks up: 2048 cubics of the
/// radius, four signed numbers each, then 1024 points of the circle, two an entry. Made on its
/// first use; `docs/STREAM.md` says how.
///
/// ```
/// use fanin::{init::normal_table, kernel::box_muller::normal_pair};
///
/// // Block 0 of seed 42 and stream "w" begins with these words.
/// let (even, odd) = normal_pair(0x1e5d9147, 0xecc5f271, &normal_table());
/// let unit = 1.0 / (1 << 26) as f64;
/// assert!((f64::from(even) * unit - 1.8392).abs() < 1e-4);
/// assert!((f64::from(odd) * unit + 0.9386).abs() < 1e-4);
/// ```
pub fn normal_table() -> Arc<Vec<[u32; 4]>> {
    static TABLE: OnceLock<Arc<Vec<[u32; 4]>>> = OnceLock::new();
    Arc::clone(TABLE.get_or_init(|| {
        let mut table = Vec::with_capacity(TABLE_ENTRIES);
        table.extend(radii());
        table.extend(circle());
        Arc::new(table)
    }))
}

/// The radius by u = p in the lower half, by u = 1 - p in the upper half.
fn radii() -> impl Iterator<Item = [u32; 4]> {
    let unit = power_of_two(58) / f64::from(ONE);
    let lower = (0..HALF).map(move |entry| cubic(entry, |p| (-2.0 * ln(p)).sqrt() * unit));
    let upper = (0..HALF).map(move |entry| cubic(entry, |p| (-2.0 * ln(1.0 - p)).sqrt() * unit));
    lower.chain(upper)
}

/// Cosine and sine of `2 pi (k + 1/2) / 1024` with 31 fraction bits, two points an entry. Only
/// those of the first eighth of the circle are computed: the others are the same numbers, so that
/// the normal core is as symmetric as rounding allows.
fn circle() -> impl Iterator<Item = [u32; 4]> {
    let eighth: Vec<(i32, i32)> = (0..POINTS / 8)
        .map(|k| {
            let (cosine, sine) = cos_sin(PI * (2 * k + 1) as f64 / POINTS as f64);
            let fixed = |x: f64| (x * power_of_two(31)).round() as i32;
            (fixed(cosine), fixed(sine))
        })
        .collect();
    let quarter = POINTS / 4;
    let point = move |k: usize| {
        let place = k % quarter;
        let (cosine, sine) = if place < quarter / 2 {
            eighth[place]
        } else {
            let (sine, cosine) = eighth[quarter - 1 - place];
            (cosine, sine)
        };
        match k / quarter {
            0 => [cosine, sine],
            1 => [-sine, cosine],
            2 => [-cosine, -sine],
            _ => [sine, -cosine],
        }
    };
    (0..POINTS / 2).map(move |k| {
        let [c0, s0] = point(2 * k);
        let [c1, s1] = point(2 * k + 1);
        [c0, s0, c1, s1].map(|n| n as u32)
    })
}

/// Cosine and sine for 0 <= x < 0.79, by Taylor's series to degrees 18 and 19.
fn cos_sin(x: f64) -> (f64, f64) {
    let square = x * x;
    let (mut cosine, mut sine) = (1.0, 1.0);
    for k in (1..=9).rev() {
        cosine = 1.0 - square / f64::from((2 * k - 1) * (2 * k)) * cosine;
        sine = 1.0 - square / f64::from((2 * k) * (2 * k + 1)) * sine;
    }
    (cosine, x * sine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_the_nearest_integers() {
        let table = normal_table();
        assert_eq!(table.len(), TABLE_ENTRIES);
        let points = table[2 * HALF..].as_flattened();
        for (k, pair) in points.chunks_exact(2).enumerate() {
            let (sine, cosine) = libm::sincos(PI * (2 * k + 1) as f64 / POINTS as f64);
            for (&got, exact) in pair.iter().zip([cosine, sine]) {
                let error = f64::from(got as i32) - exact * power_of_two(31);
                // binary64 sines are good to 2^-22 of such a unit.
                assert!(error.abs() <= 0.5 + 1e-6, "point {k}: off by {error}");
            }
        }
    }
}
