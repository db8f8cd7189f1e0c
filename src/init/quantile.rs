//! Tables of curves: the inverse of a distribution function as quadratics in fixed point, built on
//! the host.
//!
//! Every table is part of the stream, so it must come out the same on every host, now and later.
//! Hence only additions, subtractions, multiplications, divisions and square roots of binary64,
//! which IEEE 754 defines to the last bit, in the order that stands here. The exponential and
//! the logarithm are spelled out for the same reason: those of a platform differ, and those of a
//! library may improve. `docs/STREAM.md` says the same in words.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::kernel::curve::{ENTRIES, OCTAVES, SEGMENTS};

/// Beyond this many standard deviations a normal has less than 2^-75 of its mass, which 32-bit
/// probabilities do not see.
const TAIL: f64 = 10.0;
/// Where the density of a one-sided tail has fallen by e^-50.
const TAIL_EXPONENT: f64 = 50.0;
/// The farthest start of a tail: beyond it all of the mass is within 10^-98 standard deviations.
const FARTHEST: f64 = 1e100;
/// Panels that the range of a density is cut into.
const PANELS: usize = 128;
/// Tables that are kept: a model has a handful of distinct ones.
const KEPT: usize = 64;

/// A quantile function, ready for [`crate::kernel::curve`].
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    /// The quadratics, in the order that [`place`](crate::kernel::curve::place) gives.
    pub entries: Arc<Vec<[u32; 2]>>,
    /// Fraction bits of the values.
    pub fraction_bits: i32,
    /// A magnitude that no value exceeds.
    pub reach: f64,
}

/// What a table is made for. Numbers are compared by their bits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Quantile {
    /// The standard normal on `[lower, upper]`, counted from 0 where it lies within, else from
    /// the bound next to 0. `width` is `upper - lower`, where it is known better than from both.
    TruncatedNormal { lower: f64, upper: f64, width: f64 },
    /// The logarithm of a uniform number in `[low, high)`, 0 < low.
    LogUniform { low: f64, high: f64 },
    /// `ln(e^dt - 1)` with `dt = e^v` and v uniform in `[ln min, ln max)`.
    TimeStep { min: f64, max: f64 },
}

impl Quantile {
    /// The table, made on its first use.
    pub fn table(self) -> Arc<Table> {
        static KNOWN: OnceLock<Mutex<HashMap<[u64; 4], Arc<Table>>>> = OnceLock::new();
        let known = KNOWN.get_or_init(Mutex::default);
        // A panic elsewhere leaves the map as it was: whole tables only.
        let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
        let normalized = self.normalized();
        let key = normalized.key();
        if let Some(table) = lock().get(&key) {
            return Arc::clone(table);
        }
        let table = Arc::new(normalized.build());
        let mut known = lock();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(key, Arc::clone(&table));
        table
    }

    /// The same distribution with bounds that make no difference made equal.
    fn normalized(self) -> Quantile {
        match self {
            Quantile::TruncatedNormal {
                lower,
                upper,
                width: _,
            } if lower <= 0.0 && upper >= 0.0 => {
                let (lower, upper) = (lower.max(-TAIL), upper.min(TAIL));
                let width = upper - lower;
                Quantile::TruncatedNormal {
                    lower,
                    upper,
                    width,
                }
            }
            other => other,
        }
    }

    fn key(self) -> [u64; 4] {
        match self {
            Quantile::TruncatedNormal {
                lower,
                upper,
                width,
            } => [0, lower.to_bits(), upper.to_bits(), width.to_bits()],
            Quantile::LogUniform { low, high } => [1, low.to_bits(), high.to_bits(), 0],
            Quantile::TimeStep { min, max } => [2, min.to_bits(), max.to_bits(), 0],
        }
    }

    fn build(self) -> Table {
        match self {
            Quantile::TruncatedNormal {
                lower,
                upper,
                width,
            } => {
                let tail = |from: f64| {
                    let from = from.min(FARTHEST);
                    let reach =
                        2.0 * TAIL_EXPONENT / ((from * from + 2.0 * TAIL_EXPONENT).sqrt() + from);
                    (from, width.min(reach))
                };
                let density = if lower > 0.0 {
                    let (from, reach) = tail(lower);
                    Density::new(from, 0.0, reach)
                } else if upper < 0.0 {
                    let (from, reach) = tail(-upper);
                    Density::new(-from, -reach, 0.0)
                } else {
                    Density::new(0.0, lower, upper)
                };
                table(|p| density.quantile_below(p), |p| density.quantile_above(p))
            }
            Quantile::LogUniform { low, high } => {
                let span = high - low;
                table(|p| ln(low + span * p), |p| ln(high - span * p))
            }
            Quantile::TimeStep { min, max } => {
                let (start, end) = (ln(min), ln(max));
                let span = end - start;
                table(
                    |p| inverse_softplus_of_exp(start + span * p),
                    |p| inverse_softplus_of_exp(end - span * p),
                )
            }
        }
    }
}

/// `ln(e^x - 1)` with x = e^v, for v of at most ln 500.
pub(crate) fn inverse_softplus_of_exp(v: f64) -> f64 {
    let x = exp(v);
    if x < 0.0625 {
        // ln x + ln((e^x - 1) / x): 1 - e^-x would lose the digits of a small x.
        v + x * (0.5 + x * (1.0 / 24.0 - x * x / 2880.0))
    } else {
        x + ln(1.0 - exp(-x))
    }
}

/// Most fraction bits of a table: beyond them values are nothing beside any step of binary32.
const MOST_FRACTION_BITS: i32 = 300;
/// The largest coefficient of t and t^2: 16 bits, less a little for other ways to round.
const LARGEST_COEFFICIENT: f64 = 32_700.0;
/// What constants stay below.
const LARGEST_CONSTANT: f64 = 1_073_741_824.0;

/// The table of a quantile function, given by its two halves: the value that a share `w` of the
/// distribution lies below, and that which `w` lies above.
fn table(below: impl Fn(f64) -> f64, above: impl Fn(f64) -> f64) -> Table {
    let quadratics = quadratics(below, above);
    let mut fraction_bits = MOST_FRACTION_BITS;
    let fits = |bits: i32| {
        quadratics.iter().flatten().all(|quadratic| {
            let [constant, linear, square] = quadratic.coefficients(bits);
            constant.abs() < LARGEST_CONSTANT
                && linear.abs() <= LARGEST_COEFFICIENT
                && square.abs() <= LARGEST_COEFFICIENT
        })
    };
    while fraction_bits > 0 && !fits(fraction_bits) {
        fraction_bits -= 1;
    }
    let largest = |reach: f64, quadratic: &Quadratic| reach.max(quadratic.largest());
    Table {
        entries: Arc::new(entries(&quadratics, fraction_bits)),
        fraction_bits,
        reach: quadratics.iter().flatten().fold(0.0, largest),
    }
}

/// A parabola `a + b s + c s^2` through a segment, for s from -1 to 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quadratic {
    a: f64,
    b: f64,
    c: f64,
}

impl Quadratic {
    /// Through the values at Chebyshev's nodes.
    fn new(value: impl Fn(f64) -> f64) -> Quadratic {
        let node = 3f64.sqrt() / 2.0;
        let (left, a, right) = (value(-node), value(0.0), value(node));
        Quadratic {
            a,
            b: (right - left) / (2.0 * node),
            c: (left + right - 2.0 * a) / (2.0 * node * node),
        }
    }

    /// The numbers of an entry: for t = 2^15 s, read in the middle of its step. The kernel rounds
    /// a square and a sum down; c / 2^15 and 1/2 make up for it.
    fn coefficients(&self, fraction_bits: i32) -> [f64; 3] {
        let unit = power_of_two(fraction_bits);
        let (a, b, c) = (self.a * unit, self.b * unit, self.c * unit);
        [
            (a + b / 65_536.0 + c / 32_768.0 + 0.5).round(),
            (b / 64.0).round(),
            (c / 32.0).round(),
        ]
    }

    fn largest(&self) -> f64 {
        self.a.abs() + self.b.abs() + self.c.abs()
    }
}

/// The parabolas of a function of a probability w, given as `below(w)` for the lower half of the
/// words and `above(w)`, w counted from 1, for the upper half. Entries that no word reaches have none.
pub(super) fn quadratics(
    below: impl Fn(f64) -> f64,
    above: impl Fn(f64) -> f64,
) -> Vec<Option<Quadratic>> {
    let mut made = vec![None; ENTRIES];
    for half in 0..2 {
        for zeros in 0..OCTAVES {
            for segment in 0..SEGMENTS {
                // Of the octave without leading zeros only -2^31 is a word's number.
                if zeros == 0 && (half == 0 || segment > 0) {
                    continue;
                }
                let octave = power_of_two(-1 - zeros as i32);
                let at = |s: f64| octave * (1.0 + (segment as f64 + (s + 1.0) / 2.0) / 64.0);
                let index = (half * OCTAVES + (62 - zeros) % 32) * SEGMENTS + segment;
                made[index] = Some(if half == 0 {
                    Quadratic::new(|s| below(at(s)))
                } else {
                    Quadratic::new(|s| above(at(s)))
                });
            }
        }
    }
    made
}

/// The entries of a table with so many fraction bits; zeros where no word leads.
pub(super) fn entries(quadratics: &[Option<Quadratic>], fraction_bits: i32) -> Vec<[u32; 2]> {
    let entry = |quadratic: &Quadratic| {
        let [constant, linear, square] = quadratic.coefficients(fraction_bits);
        let halves = (linear as i16 as u16, square as i16 as u16);
        [
            constant as i32 as u32,
            u32::from(halves.0) | u32::from(halves.1) << 16,
        ]
    };
    let all = quadratics.iter();
    all.map(|quadratic| quadratic.as_ref().map_or([0; 2], entry))
        .collect()
}

/// The density `exp(-(k d + d^2 / 2))` on an interval, cut into panels: a normal, seen from the
/// distance k of its mean.
struct Density {
    from: f64,
    edges: Vec<f64>,
    /// Mass up to each edge, and from each edge on.
    below: Vec<f64>,
    above: Vec<f64>,
}

impl Density {
    fn new(from: f64, low: f64, high: f64) -> Density {
        let panels = PANELS as f64;
        // Spelled so that a symmetric interval gives symmetric edges.
        let edges: Vec<f64> = (0..=PANELS)
            .map(|k| (low * (panels - k as f64) + high * k as f64) / panels)
            .collect();
        let masses: Vec<f64> = edges.windows(2).map(|e| mass(from, e[0], e[1])).collect();
        let mut below = vec![0.0; PANELS + 1];
        let mut above = vec![0.0; PANELS + 1];
        for k in 0..PANELS {
            below[k + 1] = below[k] + masses[k];
            let last = PANELS - 1 - k;
            above[last] = above[last + 1] + masses[last];
        }
        Density {
            from,
            edges,
            below,
            above,
        }
    }

    fn at(&self, d: f64) -> f64 {
        exp(-(self.from * d + d * d / 2.0))
    }

    /// The number that the share `p` of the mass lies below.
    fn quantile_below(&self, p: f64) -> f64 {
        let wanted = p * self.below[PANELS];
        let panel = self.below[1..PANELS].partition_point(|&mass| mass <= wanted);
        let (start, end) = (self.edges[panel], self.edges[panel + 1]);
        let rest = wanted - self.below[panel];
        let share = rest / (self.below[panel + 1] - self.below[panel]);
        let mut d = start + (end - start) * share;
        for _ in 0..12 {
            let next = d - (mass(self.from, start, d) - rest) / self.at(d);
            let next = next.max(start).min(end);
            if next == d {
                break;
            }
            d = next;
        }
        d
    }

    /// The number that the share `p` of the mass lies above.
    fn quantile_above(&self, p: f64) -> f64 {
        let wanted = p * self.above[0];
        let panel = self.above[1..PANELS].partition_point(|&mass| mass > wanted);
        let (start, end) = (self.edges[panel], self.edges[panel + 1]);
        let rest = wanted - self.above[panel + 1];
        let share = rest / (self.above[panel] - self.above[panel + 1]);
        let mut d = end + (start - end) * share;
        for _ in 0..12 {
            let next = d + (mass(self.from, d, end) - rest) / self.at(d);
            let next = next.max(start).min(end);
            if next == d {
                break;
            }
            d = next;
        }
        d
    }
}

/// Nodes and weights of Gauss and Legendre's rule of 8 points on [-1, 1], for one side.
const LEGENDRE: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_3),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_47),
    (0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
];

/// The mass of `exp(-(from d + d^2 / 2))` between two numbers that are close.
fn mass(from: f64, start: f64, end: f64) -> f64 {
    let (middle, half) = ((start + end) / 2.0, (end - start) / 2.0);
    let density = |d: f64| exp(-(from * d + d * d / 2.0));
    let mut sum = 0.0;
    for (node, weight) in LEGENDRE {
        sum += weight * (density(middle - half * node) + density(middle + half * node));
    }
    half * sum
}

/// `2^power` for powers of normal numbers, -1022 to 1023.
pub(super) fn power_of_two(power: i32) -> f64 {
    f64::from_bits(((1023 + power) as u64) << 52)
}

/// ln 2 in two parts: the first ends in 20 zero bits, so that its multiples are exact.
const LN_2: (f64, f64) = (0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10);

/// The exponential: 0 below -700; arguments are at most 700.
pub(super) fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    let power = (x * std::f64::consts::LOG2_E).round();
    let rest = (x - power * LN_2.0) - power * LN_2.1;
    // Taylor's series to degree 14, |rest| <= 0.347.
    let mut sum = 1.0;
    for degree in (1..=14).rev() {
        sum = 1.0 + rest / f64::from(degree) * sum;
    }
    sum * power_of_two(power as i32)
}

/// The natural logarithm of a normal number above 0.
pub(crate) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut power = (bits >> 52) as i32 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        power += 1;
    }
    // ln m = 2 artanh s, |s| <= 0.172.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for k in (0..=12).rev() {
        sum = sum * square + 1.0 / f64::from(2 * k + 1);
    }
    f64::from(power) * LN_2.0 + (f64::from(power) * LN_2.1 + 2.0 * s * sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::curve::curve;

    #[test]
    fn exponential_and_logarithm_are_good_to_the_last_bits() {
        for k in -6990..=6990 {
            let x = f64::from(k) / 10.0 + 0.012_345;
            assert!((exp(x) / libm::exp(x) - 1.0).abs() < 8e-16, "{x}");
        }
        for k in 1..20_000 {
            let x = f64::from(k) * 0.37;
            for x in [x, 1.0 / x] {
                let error = (ln(x) - libm::log(x)).abs();
                assert!(error <= 4e-16 * libm::log(x).abs().max(0.5), "{x}");
            }
        }
        assert_eq!((ln(1.0), exp(0.0)), (0.0, 1.0));
    }

    #[derive(serde::Deserialize)]
    struct Exact {
        words: Vec<u32>,
        cases: Vec<Case>,
    }

    #[derive(serde::Deserialize)]
    struct Case {
        lower: String,
        upper: String,
        z: Vec<f64>,
    }

    /// Against arbitrary precision: `tests/data/truncated.py`.
    #[test]
    fn curves_are_within_64_units_of_exact() {
        let exact: Exact =
            serde_json::from_str(include_str!("../../tests/data/truncated.json")).unwrap();
        assert_eq!((exact.words.len(), exact.cases.len()), (32, 18));
        for case in exact.cases {
            let (lower, upper): (f64, f64) =
                (case.lower.parse().unwrap(), case.upper.parse().unwrap());
            let table = Quantile::TruncatedNormal {
                lower,
                upper,
                width: upper - lower,
            }
            .table();
            let unit = power_of_two(table.fraction_bits);
            let mut worst: f64 = 0.0;
            for (&word, z) in exact.words.iter().zip(case.z) {
                let error = f64::from(curve(word, &table.entries)) - z * unit;
                worst = worst.max(error.abs());
            }
            println!(
                "[{lower}, {upper}]: {} fraction bits, off by {worst:.3}",
                table.fraction_bits
            );
            assert!(worst <= 64.0, "[{lower}, {upper}]: off by {worst}");
        }
    }

    /// Neither within a segment nor from one to the next does a larger word give a smaller
    /// number, but for the units that 16-bit coefficients are off by.
    #[test]
    fn quantiles_rise() {
        for (lower, upper) in [
            (-2.0, 2.0),
            (-10.0, 10.0),
            (-1.0, 4.0),
            (5.0, 9.0),
            (1e6, 2e6),
        ] {
            let table = Quantile::TruncatedNormal {
                lower,
                upper,
                width: upper - lower,
            }
            .table();
            let value = |word: u32| curve(word, &table.entries);
            for segment in 0..32 * 16u64 {
                let start = (((16 + segment % 16) << 31) >> (segment / 16)) >> 5;
                for word in [start as u32, u32::MAX - start as u32] {
                    for near in word.saturating_sub(3)..word.saturating_add(3) {
                        assert!(
                            value(near) <= value(near.saturating_add(1)) + 64,
                            "[{lower}, {upper}], word {near}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn symmetric_bounds_give_symmetric_curves() {
        for bound in [0.001, 0.7, 2.0, 3.0, 11.0] {
            let table = Quantile::TruncatedNormal {
                lower: -bound,
                upper: bound,
                width: 2.0 * bound,
            }
            .table();
            let sum = |word: u32| {
                curve(word, &table.entries) + curve(word.wrapping_neg(), &table.entries)
            };
            // Up to 24 bits the place is exact; sums are rounded down on both sides.
            for word in (1..1 << 24).step_by(16) {
                assert!(sum(word).abs() <= 1, "{bound}, word {word}: {}", sum(word));
            }
            // Beyond them the cut rounds down on both sides too, by a unit of the place at most, and coefficients are rounded.
            for i in 0..1u32 << 20 {
                let word = i << 12 | i | 1;
                assert!(
                    sum(word).abs() <= 128,
                    "{bound}, word {word}: {}",
                    sum(word)
                );
            }
        }
    }

    #[test]
    fn bounds_beyond_the_tail_make_no_difference() {
        let table = |bound: f64| {
            Quantile::TruncatedNormal {
                lower: -bound,
                upper: bound,
                width: 2.0 * bound,
            }
            .table()
        };
        assert!(Arc::ptr_eq(&table(100.0), &table(f64::INFINITY)));
    }
}
