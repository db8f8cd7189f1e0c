//! The table of the Box-Muller transform: the curve of the radius, and points of the circle.
//!
//! It is part of the stream, like the tables of `quantile.rs`, and uses the same arithmetic. Section
//! "Normal pairs" of `docs/STREAM.md` is the normative text.

use std::f64::consts::TAU;
use std::sync::{Arc, OnceLock};

use crate::kernel::box_muller::{POINTS, RADIUS_BITS, TABLE_ENTRIES};

use super::quantile::{entries, ln, power_of_two, quadratics};

/// Returns the table of [`kernel::box_muller`](crate::kernel::box_muller): 4096 quadratics of the
/// radius, then the cosines and sines of 1024 points of the circle. It is built on its first use.
/// `docs/STREAM.md` defines it.
///
/// ```
/// use fanin::{init::normal_table, kernel::box_muller::normal_pair};
///
/// // Block 0 of seed 42 and stream "w" begins with these words.
/// let (radius, (x, y)) = normal_pair(0x1e5d9147, 0xecc5f271, 1 << 31, &normal_table());
/// // Half of a radius with 28 fraction bits, and a direction with 30.
/// let unit = 1.0 / (1u64 << 57) as f64;
/// let pair = [x, y].map(|x| f64::from(radius) * f64::from(x) * unit);
/// assert!((pair[0].hypot(pair[1]) - 2.0649).abs() < 1e-4);
/// ```
pub fn normal_table() -> Arc<Vec<[u32; 2]>> {
    static TABLE: OnceLock<Arc<Vec<[u32; 2]>>> = OnceLock::new();
    Arc::clone(TABLE.get_or_init(|| {
        // r = sqrt(-2 ln u): Box and Muller, 1958.
        // w >= 2^-32, so the rounding of 1 - w by at most 2^-54 changes the radius by less than 2^-38.
        let radii = quadratics(|w| (-2.0 * ln(w)).sqrt(), |w| (-2.0 * ln(1.0 - w)).sqrt());
        let mut table = Vec::with_capacity(TABLE_ENTRIES);
        table.extend(entries(&radii, RADIUS_BITS));
        table.extend((0..POINTS).map(point));
        Arc::new(table)
    }))
}

/// Returns cosine and sine of `2 pi (k + 1/2 + 2^-17) / 1024` with 30 fraction bits.
///
/// The kernel adds the rest of the angle, `d / 2^16` of a point for a signed d of 16 bits. The 2^-17
/// is half a step of d, so that each d stands for the middle of its step.
fn point(k: usize) -> [u32; 2] {
    const QUARTER: usize = POINTS / 4;
    const HALF_STEP: f64 = 1.0 / 131_072.0;
    let angle = |place: f64| TAU * place / POINTS as f64;
    let place = k % QUARTER;
    // `cos_sin` takes angles within an eighth of the circle. For larger ones, the angle from the other
    // axis swaps cosine and sine.
    let (cosine, sine) = if place < QUARTER / 2 {
        cos_sin(angle(place as f64 + 0.5 + HALF_STEP))
    } else {
        // In points, this angle is QUARTER - (place + 1/2 + HALF_STEP).
        let (sine, cosine) = cos_sin(angle((QUARTER - 1 - place) as f64 + 0.5 - HALF_STEP));
        (cosine, sine)
    };
    // No value is within 2^-13 of a tie, so the last bits of `cos_sin` cannot change a result.
    let fixed = |x: f64| (x * power_of_two(30)).round() as i32;
    let (cosine, sine) = (fixed(cosine), fixed(sine));
    // Quarter turns only swap and negate, so all four quadrants have the same roundings.
    match k / QUARTER {
        0 => [cosine, sine],
        1 => [-sine, cosine],
        2 => [-cosine, -sine],
        _ => [sine, -cosine],
    }
    .map(|x| x as u32)
}

/// Returns cosine and sine for 0 <= x < 0.79, by Taylor series to degrees 18 and 19. The next terms are
/// below 10^-20.
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
    use crate::kernel::curve::ENTRIES;

    #[test]
    fn points_are_the_nearest_integers() {
        let table = normal_table();
        assert_eq!(table.len(), TABLE_ENTRIES);
        for (k, pair) in table[ENTRIES..].iter().enumerate() {
            let angle = TAU * (k as f64 + 0.5 + 1.0 / 131_072.0) / POINTS as f64;
            let (sine, cosine) = libm::sincos(angle);
            for (&got, exact) in pair.iter().zip([cosine, sine]) {
                let error = f64::from(got as i32) - exact * power_of_two(30);
                // libm's error is below 2^-22 of a unit.
                assert!(error.abs() <= 0.5 + 1e-6, "point {k}: off by {error}");
            }
        }
    }
}
