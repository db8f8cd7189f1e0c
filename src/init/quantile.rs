//! Tables of curves: inverses of distribution functions as quadratics in fixed point, built on the
//! host.
//!
//! Every table is part of the stream, so all hosts must build the same bits, now and later. The code
//! uses only additions, subtractions, multiplications, divisions and square roots of binary64, which
//! IEEE 754 defines to the last bit, and their order must not change. It has its own exponential and
//! logarithm, because those of platforms differ, and those of libraries may change. Sections "The
//! curve of a word" and "Truncated normal" of `docs/STREAM.md` are the normative text.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::kernel::curve::{ENTRIES, OCTAVES, SEGMENTS};

/// The largest bound in standard deviations. A normal has less than 2^-75 of its mass beyond it, far
/// less than one 32-bit word stands for.
const TAIL: f64 = 10.0;
/// A one-sided tail ends where its density has fallen by e^-50, which is 2^-72.
const TAIL_EXPONENT: f64 = 50.0;
/// The largest start of a tail, whose square is still finite. All mass beyond it is within 10^-98
/// standard deviations of it.
const MAX_TAIL_START: f64 = 1e100;
/// The panels of a density. With 8 points each, the error of the quadrature is below 10^-20 of the mass
/// of a panel, so only the rounding of binary64 remains.
const PANELS: usize = 128;
/// The most tables in the cache. A model has only a few distinct ones.
const MAX_TABLES: usize = 64;

/// A quantile function, ready for [`crate::kernel::curve`].
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    /// The quadratics, in the order that [`place`](crate::kernel::curve::place) gives.
    pub entries: Arc<Vec<[u32; 2]>>,
    /// The fraction bits of the values.
    pub fraction_bits: i32,
    /// An upper bound of the magnitude of all values.
    pub reach: f64,
}

/// The distribution whose inverse a table holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Quantile {
    /// The standard normal on `[lower, upper]`. Values are counted from 0 if it lies within the
    /// bounds, else from the bound next to 0. `width` is `upper - lower`. The caller gives it,
    /// because the difference loses its digits far from 0.
    TruncatedNormal { lower: f64, upper: f64, width: f64 },
    /// The logarithm of a uniform number in `[low, high)`, 0 < low.
    LogUniform { low: f64, high: f64 },
    /// `ln(e^dt - 1)` for `dt = e^v`, with v uniform in `[ln min, ln max)`.
    TimeStep { min: f64, max: f64 },
}

impl Quantile {
    /// Returns the table. It is built on its first use.
    pub fn table(self) -> Arc<Table> {
        static KNOWN: OnceLock<Mutex<HashMap<[u64; 4], Arc<Table>>>> = OnceLock::new();
        let known = KNOWN.get_or_init(Mutex::default);
        // A panic cannot leave the map half-changed: it is locked only to look up or insert a table.
        let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
        let normalized = self.normalized();
        let key = normalized.key();
        if let Some(table) = lock().get(&key) {
            return Arc::clone(table);
        }
        // The lock is free during the build. Two threads that build the same table get the same bits.
        let table = Arc::new(normalized.build());
        let mut known = lock();
        if known.len() >= MAX_TABLES {
            // Tables in use stay alive by their `Arc`. A dropped one has the same bits when it is rebuilt.
            known.clear();
        }
        known.insert(key, Arc::clone(&table));
        table
    }

    /// Returns the same distribution with bounds of at most [`TAIL`] around 0. Wider bounds then share
    /// one table.
    fn normalized(self) -> Quantile {
        match self {
            Quantile::TruncatedNormal {
                lower,
                upper,
                width: _,
            } if lower <= 0.0 && upper >= 0.0 => {
                let (lower, upper) = (lower.max(-TAIL), upper.min(TAIL));
                // Set so that equal bounds have equal keys. The density of such bounds does not read it.
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

    /// Returns the key of the cache: the bits of the numbers, after a number for the kind.
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
                    let from = from.min(MAX_TAIL_START);
                    // The root of `from * d + d^2 / 2 = TAIL_EXPONENT`, written as a quotient: the usual
                    // formula would subtract two close numbers.
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
                // The upper half counts down from `high`: 1 - p would lose the digits of a small p.
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

/// Returns `ln(e^x - 1)` for x = e^v and v of at most ln 500.
pub(crate) fn inverse_softplus_of_exp(v: f64) -> f64 {
    let x = exp(v);
    if x < 0.0625 {
        // ln x + ln((e^x - 1) / x), because 1 - e^-x would lose the digits of a small x. The series is
        // x / 2 + x^2 / 24 - x^4 / 2880 + ..., and its next term is below 4e-13.
        v + x * (0.5 + x * (1.0 / 24.0 - x * x / 2880.0))
    } else {
        x + ln(1.0 - exp(-x))
    }
}

/// The most fraction bits of a table. 2^-300 times the largest scale, 2^128, is below 2^-149, the
/// smallest step of binary32.
const MAX_FRACTION_BITS: i32 = 300;
/// The largest coefficient of t and of t^2. It fits in 16 bits, and the margin to 32767 is larger than
/// any difference in rounding.
const MAX_COEFFICIENT: f64 = 32_700.0;
/// Constants are below 2^30. The other terms of a quadratic add less than 2^22, so values fit in 32
/// bits.
const CONSTANT_LIMIT: f64 = 1_073_741_824.0;

/// Builds the table of a quantile function, which two functions give: the value below which the share
/// `w` of the distribution lies, and the value above which it lies.
fn table(below: impl Fn(f64) -> f64, above: impl Fn(f64) -> f64) -> Table {
    let quadratics = quadratics(below, above);
    let mut fraction_bits = MAX_FRACTION_BITS;
    let fits = |bits: i32| {
        quadratics.iter().flatten().all(|quadratic| {
            let [constant, linear, square] = quadratic.coefficients(bits);
            constant.abs() < CONSTANT_LIMIT
                && linear.abs() <= MAX_COEFFICIENT
                && square.abs() <= MAX_COEFFICIENT
        })
    };
    // Coefficients shrink with the fraction bits, so the first number that fits is the largest one.
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

/// A quadratic `a + b s + c s^2` over a segment, for s from -1 to 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quadratic {
    a: f64,
    b: f64,
    c: f64,
}

impl Quadratic {
    /// Returns the quadratic through the values at the 3 Chebyshev nodes of the segment, 0 and
    /// +-sqrt(3) / 2. They make the largest error nearly the smallest possible one.
    fn new(value: impl Fn(f64) -> f64) -> Quadratic {
        let node = 3f64.sqrt() / 2.0;
        let (left, a, right) = (value(-node), value(0.0), value(node));
        Quadratic {
            a,
            b: (right - left) / (2.0 * node),
            c: (left + right - 2.0 * a) / (2.0 * node * node),
        }
    }

    /// Returns the three numbers of an entry, in units of `2^-fraction_bits`.
    ///
    /// The kernel has t = 2^15 s and computes `c0 + ((c1 * t + c2 * ((t * t) >> 16)) >> 9)`, so c1 is
    /// b / 2^6 and c2 is c / 2^5. The constant compensates for three things. t stands for the middle
    /// of its step, t + 1/2, which adds b / 2^16. Rounding the square down loses 1/2 on average, which
    /// is c / 2^15. Rounding the sum down loses 1/2.
    fn coefficients(&self, fraction_bits: i32) -> [f64; 3] {
        // A power of two scales exactly, so only the sum for c0 and `round` have rounding errors.
        let unit = power_of_two(fraction_bits);
        let (a, b, c) = (self.a * unit, self.b * unit, self.c * unit);
        [
            (a + b / 65_536.0 + c / 32_768.0 + 0.5).round(),
            (b / 64.0).round(),
            (c / 32.0).round(),
        ]
    }

    /// Returns an upper bound of the magnitude.
    fn largest(&self) -> f64 {
        self.a.abs() + self.b.abs() + self.c.abs()
    }
}

/// Returns the quadratics of a function of a probability. `below(w)` is the function at w, for the
/// lower half of the words, and `above(w)` is the function at 1 - w, for the upper half. Entries that
/// no word reaches are `None`.
pub(super) fn quadratics(
    below: impl Fn(f64) -> f64,
    above: impl Fn(f64) -> f64,
) -> Vec<Option<Quadratic>> {
    let mut made = vec![None; ENTRIES];
    for half in 0..2 {
        for zeros in 0..OCTAVES {
            for segment in 0..SEGMENTS {
                // No leading zeros means a distance of 2^31 or more. Only the signed number -2^31 has
                // one, exactly 2^31.
                if zeros == 0 && (half == 0 || segment > 0) {
                    continue;
                }
                // A distance with n leading zeros stands for a probability in [2^(-1-n), 2^-n).
                let octave = power_of_two(-1 - zeros as i32);
                let at = |s: f64| octave * (1.0 + (segment as f64 + (s + 1.0) / 2.0) / 64.0);
                // The order of `kernel::curve::place`: (30 - zeros) mod 32.
                let index = (half * OCTAVES + (62 - zeros) % 32) * SEGMENTS + segment;
                // Each half counts from its own end, which keeps the digits of small probabilities.
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

/// Returns the entries of a table with this number of fraction bits. Entries that no word reaches are
/// zeros.
pub(super) fn entries(quadratics: &[Option<Quadratic>], fraction_bits: i32) -> Vec<[u32; 2]> {
    let entry = |quadratic: &Quadratic| {
        let [constant, linear, square] = quadratic.coefficients(fraction_bits);
        // They fit in 16 bits: `table` searches for such fraction bits, and RADIUS_BITS is such a number.
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

/// The density `exp(-(k d + d^2 / 2))` on an interval, divided into panels. It is proportional to the
/// density of a standard normal at k + d.
struct Density {
    /// The k of the formula.
    from: f64,
    edges: Vec<f64>,
    /// The mass below each edge. Sums from either end keep the digits of a small mass at that end.
    below: Vec<f64>,
    /// The mass above each edge.
    above: Vec<f64>,
}

impl Density {
    fn new(from: f64, low: f64, high: f64) -> Density {
        let panels = PANELS as f64;
        // This form gives symmetric edges for a symmetric interval.
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

    /// Returns the density at d.
    fn at(&self, d: f64) -> f64 {
        exp(-(self.from * d + d * d / 2.0))
    }

    /// Returns the number below which the share `p` of the mass lies, by Newton's method from the
    /// linear interpolation in its panel. It converges in a few steps. The limit of 12 ends the loop
    /// if rounding makes two neighbouring numbers alternate.
    fn quantile_below(&self, p: f64) -> f64 {
        let wanted = p * self.below[PANELS];
        // The last edge is not searched, so a share that rounds up to the whole mass still has a panel.
        let panel = self.below[1..PANELS].partition_point(|&mass| mass <= wanted);
        let (start, end) = (self.edges[panel], self.edges[panel + 1]);
        let rest = wanted - self.below[panel];
        let share = rest / (self.below[panel + 1] - self.below[panel]);
        let mut d = start + (end - start) * share;
        for _ in 0..12 {
            let next = d - (mass(self.from, start, d) - rest) / self.at(d);
            // `max` and `min` also turn NaN, which a panel without mass gives, into an end of the panel.
            let next = next.max(start).min(end);
            if next == d {
                break;
            }
            d = next;
        }
        d
    }

    /// Returns the number above which the share `p` of the mass lies, like
    /// [`quantile_below`](Density::quantile_below).
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

/// The positive nodes of the Gauss-Legendre rule of 8 points on [-1, 1], and their weights.
const LEGENDRE: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_3),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_47),
    (0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
];

/// Returns the mass of `exp(-(from d + d^2 / 2))` between two numbers of one panel.
fn mass(from: f64, start: f64, end: f64) -> f64 {
    let (middle, half) = ((start + end) / 2.0, (end - start) / 2.0);
    let density = |d: f64| exp(-(from * d + d * d / 2.0));
    let mut sum = 0.0;
    for (node, weight) in LEGENDRE {
        sum += weight * (density(middle - half * node) + density(middle + half * node));
    }
    half * sum
}

/// Returns `2^power` for powers from -1022 to 1023, which give normal numbers.
pub(super) fn power_of_two(power: i32) -> f64 {
    f64::from_bits(((1023 + power) as u64) << 52)
}

/// ln 2 as the sum of two numbers. The first ends in 20 zero bits, so that its products with exponents
/// are exact (Cody and Waite, "Software Manual for the Elementary Functions", 1980).
const LN_2: (f64, f64) = (0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10);

/// Returns the exponential of a number of at most 700. It is 0 below -700, so that no power of two is
/// subnormal.
pub(super) fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    let power = (x * std::f64::consts::LOG2_E).round();
    let rest = (x - power * LN_2.0) - power * LN_2.1;
    // The Taylor series to degree 14. |rest| <= 0.347, so the next term is below 10^-18.
    let mut sum = 1.0;
    for degree in (1..=14).rev() {
        sum = 1.0 + rest / f64::from(degree) * sum;
    }
    // The power is between -1010 and 1010, so the factor is a normal number and the product is exact.
    sum * power_of_two(power as i32)
}

/// Returns the natural logarithm of a normal number above 0.
pub(crate) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    // The sign bit is 0 and the number is normal, so these bits are its biased exponent.
    let mut power = (bits >> 52) as i32 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    // Without this step, the logarithm of a number just below 1 would be the difference of two close numbers.
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        power += 1;
    }
    // ln m = 2 artanh s = 2 (s + s^3 / 3 + ...). |s| <= 0.172, so the next term is below 10^-20.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for k in (0..=12).rev() {
        sum = sum * square + 1.0 / f64::from(2 * k + 1);
    }
    // The small terms are added first, so only the last sum is rounded at the magnitude of the result.
    f64::from(power) * LN_2.0 + (f64::from(power) * LN_2.1 + 2.0 * s * sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::curve::curve;

    #[test]
    fn exponential_and_logarithm_are_within_a_few_units_of_the_last_place() {
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

    /// The exact values come from `tests/data/truncated.py`, in arbitrary precision.
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

    /// A larger word gives a larger number, within a segment and from one segment to the next. The 64
    /// units are the error of 16-bit coefficients.
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
            // Up to 24 bits the cut is exact. Sums are rounded down on both sides.
            for word in (1..1 << 24).step_by(16) {
                assert!(sum(word).abs() <= 1, "{bound}, word {word}: {}", sum(word));
            }
            // Beyond 24 bits the cut rounds down on both sides, by at most one unit of the place. The
            // coefficients are rounded, too.
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
