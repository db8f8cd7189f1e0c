//! The statistics that weights of an initializer should have, with bounds for chance.

use std::ops::Range;

use serde::Serialize;

use super::numbers::decoder;
use super::stats::{Moments, Seen};
use crate::cpu;
use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::{Distribution, DistributionKind, Law};
use crate::job::Regions;
use crate::tensor::{DRAWN, DType, Slice};

/// A property of a tensor that cannot be chance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flag {
    /// The statistic that is off: `mean`, `std`, `min`, `max`, `kurtosis`, `zeros` or `values`.
    pub statistic: &'static str,
    /// A short description.
    pub text: String,
}

/// The expected statistics of a tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// The distribution of its elements, as text.
    pub distribution: String,
    /// The mean.
    pub mean: Bounds,
    /// The standard deviation.
    pub std: Bounds,
    /// The smallest element. The median of its distribution is expected.
    pub min: Bounds,
    /// The largest element. The median of its distribution is expected.
    pub max: Bounds,
    /// The kurtosis.
    pub kurtosis: Bounds,
    /// The number of zeros.
    pub zeros: Bounds,
}

/// The expected value of a statistic, and bounds that chance does not exceed. In JSON, a number
/// that is not finite is `null`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// The expected value.
    pub expected: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

impl Bounds {
    /// Makes bounds at the same distance on both sides.
    fn around(expected: f64, slack: f64) -> Self {
        Bounds {
            expected,
            low: expected - slack,
            high: expected + slack,
        }
    }

    /// Flags a statistic out of bounds. NaN is not flagged here: it has a flag of its own.
    fn flag(&self, statistic: &'static str, seen: f64) -> Option<Flag> {
        let text = if seen < self.low {
            format!("{statistic} too small")
        } else if seen > self.high {
            format!("{statistic} too large")
        } else {
            return None;
        };
        Some(Flag { statistic, text })
    }
}

/// The largest change of a number by rounding to a dtype.
#[derive(Clone, Copy)]
pub(super) struct Grain {
    /// The largest relative change.
    relative: f64,
    /// The largest change of a subnormal number: half of the smallest number above 0.
    absolute: f64,
    /// The number that larger ones become, or infinity if they become infinite.
    largest: f64,
}

impl Grain {
    pub fn of(dtype: DType) -> Self {
        // The bits of the significand, and the exponent of the smallest subnormal.
        let (bits, smallest) = match dtype {
            DType::F16 => (11, -24),
            DType::BF16 => (8, -133),
            DType::F8E4M3 => (4, -9),
            DType::F8E5M2 => (3, -16),
            // f64 too: fanin draws no more bits.
            _ => (24, -149),
        };
        Grain {
            // Rounded twice: to f32 first, then to the dtype.
            relative: 2f64.powi(-bits) + 2f64.powi(-24),
            absolute: 2f64.powi(smallest - 1),
            largest: match dtype {
                DType::F8E4M3 => 448.0,
                DType::F8E5M2 => 57344.0,
                _ => f64::INFINITY,
            },
        }
    }

    /// Returns the largest change of a number by its rounding.
    fn at(self, x: f64) -> f64 {
        self.relative * x.abs() + self.absolute
    }
}

/// The comparison of one tensor.
pub(super) struct Check {
    /// The number of elements.
    pub n: f64,
    /// The probability of a false alarm of one comparison.
    pub alpha: f64,
    pub grain: Grain,
}

/// The coarsest step of common generators, relative to the range of their numbers: some draw 24
/// bits only.
const COARSEST: f64 = 1.0 / (1 << 23) as f64;

/// The largest change by rounding, in standard deviations, at which the kurtosis is compared.
const MOST_SLACK: f64 = 0.25;

/// The fewest elements that are flagged as rounded before. Each one has a short significand by
/// chance with a probability of 2^-13, so 8 of them with 2^-104.
const FEWEST_SHORT: u64 = 8;

impl Check {
    /// Compares the statistics with those of a fill.
    pub fn compare(&self, fill: &Fill, dtype: &str, seen: &Seen) -> Result<(Expected, Vec<Flag>)> {
        let distribution = fill.distribution();
        let moments = &seen.moments;
        let expected = match (distribution.law(), distribution.kind()) {
            (Some(law), _) => {
                let fixed = self.fixed_zeros(fill);
                return Ok(self.compare_random(distribution, &law, fixed, dtype, seen));
            }
            _ => match RandomMatrix::of(fill) {
                Some(matrix) => self.orthogonal(distribution.to_string(), &matrix),
                None => self.made(fill)?,
            },
        };
        let flags = [
            expected.mean.flag("mean", moments.mean()),
            expected.std.flag("std", moments.std()),
            expected.min.flag("min", moments.min()),
            expected.max.flag("max", moments.max()),
            expected.kurtosis.flag("kurtosis", moments.kurtosis()),
            expected.zeros.flag("zeros", moments.zeros() as f64),
        ];
        Ok((expected, flags.into_iter().flatten().collect()))
    }

    /// Returns what to expect of an initializer that draws no number: the statistics of what it
    /// makes.
    fn made(&self, fill: &Fill) -> Result<Expected> {
        const ELEMENTS: u64 = 1 << 18;
        let decoder = decoder(fill.dtype()).ok_or_else(|| {
            let reason = format!("has no statistics: use {DRAWN}");
            Error::dtype(fill.dtype(), reason).named(fill.name())
        })?;
        let mut made = Moments::default();
        let mut start = 0;
        let (mut bytes, mut sample) = (Vec::new(), Vec::new());
        while start < fill.elements() {
            let elements = ELEMENTS.min(fill.elements() - start);
            bytes.resize((elements * fill.dtype().size()) as usize, 0);
            cpu::fill_range(fill, start, &mut bytes)?;
            sample.clear();
            (decoder.decode)(&bytes, &mut sample);
            made.merge(&Moments::of(&sample));
            start += elements;
        }
        let largest = made.min().abs().max(made.max().abs());
        // Other libraries may round differently on the way to the same numbers.
        let slack = 4.0 * self.grain.at(largest);
        // Where sines and logarithms are computed, another library's value next to 0 may be 0.
        let exact = !matches!(
            fill.distribution().kind(),
            DistributionKind::Sinusoid { .. }
                | DistributionKind::LogRamp { .. }
                | DistributionKind::InverseFrequencies { .. }
        );
        let zeros = made.zeros() as f64;
        Ok(Expected {
            distribution: fill.distribution().to_string(),
            mean: Bounds::around(made.mean(), slack),
            std: Bounds::around(made.std(), slack),
            min: Bounds::around(made.min(), slack),
            max: Bounds::around(made.max(), slack),
            kurtosis: Bounds::around(made.kurtosis(), 0.01 * made.kurtosis()),
            zeros: Bounds::around(zeros, if exact { 0.0 } else { self.n }),
        })
    }

    /// Returns what to expect of elements that are all 0.
    fn all_zeros(&self, distribution: String) -> Expected {
        let zero = Bounds::around(0.0, 0.0);
        Expected {
            distribution,
            mean: zero,
            std: zero,
            min: zero,
            max: zero,
            kurtosis: Bounds::around(f64::NAN, 0.0),
            zeros: Bounds::around(self.n, 0.0),
        }
    }

    /// Returns what to expect of a random orthogonal matrix, or of a part of one.
    ///
    /// Its elements are coordinates of unit vectors, with as many dimensions as its longer side.
    /// The square of a coordinate has a beta distribution, and the probability of a coordinate
    /// beyond t is at most 2 exp(-(dimensions - 1) t^2 / 2). The sum over some rows and columns,
    /// divided by the root of their number, is such a coordinate too.
    fn orthogonal(&self, distribution: String, matrix: &RandomMatrix) -> Expected {
        /// The tolerance of orthogonality, with room for other libraries.
        const TOLERANCE: f64 = 2e-3;
        let gain = matrix.gain.abs();
        let dimensions = matrix.rows.max(matrix.columns);
        let held = matrix.held();
        if held == 0.0 {
            return self.all_zeros(distribution);
        }
        let beyond = |probability: f64| {
            // Solves 2 exp(-(dimensions - 1) t^2 / 2) = probability for t.
            let t = (2.0 * (2.0 / probability).ln() / (dimensions - 1.0)).sqrt();
            t.min(1.0)
        };
        let blocks = matrix.blocks.iter();
        let sum: f64 = blocks.map(|[rows, columns]| (rows * columns).sqrt()).sum();
        // The blocks share alpha evenly, so that all of their sums are within their bounds at once.
        let off = gain * sum * beyond(self.alpha / matrix.blocks.len() as f64) / self.n;
        let square = gain * gain / self.n;
        let [low, high] = matrix.squares(self.alpha);
        let slack = TOLERANCE + self.grain.relative;
        let std = Bounds {
            expected: (square * matrix.mean_squares()).sqrt(),
            // The variance is the mean square less the square of the mean, which is at most off^2.
            low: (square * low - off * off).max(0.0).sqrt() * (1.0 - slack) - self.grain.absolute,
            high: (square * high).sqrt() * (1.0 + slack) + self.grain.absolute,
        };
        let largest = gain * beyond(self.alpha / held) * (1.0 + slack);
        // In many dimensions a coordinate is nearly normal, with the variance 1 / dimensions.
        let entry = Law::normal(0.0, gain / dimensions.sqrt());
        let typical = entry
            .quantile_above((0.5f64.ln() / -held).min(0.5))
            .min(gain);
        let fixed = self.n - held;
        Expected {
            distribution,
            mean: Bounds::around(0.0, off + self.grain.at(gain)),
            std,
            min: Bounds {
                expected: -typical,
                low: -largest,
                high: f64::INFINITY,
            },
            max: Bounds {
                expected: typical,
                low: f64::NEG_INFINITY,
                high: largest,
            },
            kurtosis: Bounds {
                // A coordinate x of a unit vector in d dimensions has E[x^4] = 3 / (d (d + 2)) and
                // E[x^2] = 1 / d. The zeros around the matrix raise the ratio by n / held.
                expected: 3.0 * dimensions / (dimensions + 2.0) * self.n / held,
                low: 1.0,
                high: f64::INFINITY,
            },
            // No upper bound: small matrices and small gains have zeros of their own.
            zeros: Bounds {
                expected: fixed,
                low: fixed,
                high: f64::INFINITY,
            },
        }
    }

    /// Returns the number of fixed zeros in the part of the tensor that a fill makes: elements that
    /// are 0 and not drawn.
    fn fixed_zeros(&self, fill: &Fill) -> Bounds {
        match *fill.distribution().kind() {
            DistributionKind::NormalWithZeroRow { columns, row, .. } => {
                let regions = Regions::new(fill.shape(), fill.local());
                let row = row.saturating_mul(columns);
                let end = row.saturating_add(columns);
                let zeros = regions.before(end) - regions.before(row);
                Bounds::around(zeros as f64, 0.0)
            }
            DistributionKind::Sparse { rows, zeros, .. } => {
                let share = zeros.min(rows) as f64 / rows as f64;
                let expected = (share * self.n).round();
                if holds_all_rows(fill, rows) {
                    return Bounds::around(expected, 0.0);
                }
                // Each column has its zeros in random rows. Some rows of it are a sample without
                // replacement, whose tails are within those of independent events (Hoeffding,
                // 1963).
                let needed = -(0.5 * self.alpha).ln() / self.n;
                Bounds {
                    expected,
                    low: (self.n * share_beyond(share, needed, false)).floor(),
                    high: (self.n * share_beyond(share, needed, true)).ceil(),
                }
            }
            _ => Bounds::around(0.0, 0.0),
        }
    }

    /// Compares elements that are drawn independently of each other, with fixed zeros besides, whose
    /// number is within `fixed_zeros`.
    fn compare_random(
        &self,
        distribution: &Distribution,
        law: &Law,
        fixed_zeros: Bounds,
        dtype: &str,
        seen: &Seen,
    ) -> (Expected, Vec<Flag>) {
        let all = &seen.moments;
        // Where their number is random, the drawn elements are those that are left.
        let fixed = (all.zeros() as f64).clamp(fixed_zeros.low, fixed_zeros.high);
        let n = self.n - fixed;
        let text = distribution.to_string();
        if n <= 0.0 {
            // All elements are fixed zeros.
            let expected = self.all_zeros(text);
            let flags = expected.zeros.flag("zeros", all.zeros() as f64);
            return (expected, flags.into_iter().collect());
        }
        let (mean, std, kurtosis) = (law.mean(), law.std(), law.kurtosis());
        let tail = 0.5 * self.alpha;
        // All draws lie within these bounds, except with a probability of alpha.
        let (lowest, highest) = (law.quantile_below(tail / n), law.quantile_above(tail / n));
        let rounded = |x: f64| self.grain.at(x) + COARSEST * std;
        // Elements are multiples of a step. Uniform ones are the next multiple below.
        let step = distribution.step().unwrap_or(std / f64::from(1 << 24));
        // A bound of a truncated normal is moved inwards to the next number of the dtype, which can be
        // twice as far as the nearest one.
        let is_truncated = matches!(
            distribution.kind(),
            DistributionKind::TruncatedNormal { .. }
        );
        let inwards = |x: f64| rounded(x) * if is_truncated { 2.0 } else { 1.0 } + step;
        // Elements that are held at the largest number of the dtype spread less, and their other
        // moments depend on their share.
        let largest = self.grain.largest;
        let is_held = lowest.abs().max(highest.abs()) > largest;
        let held = |bounds: Bounds| Bounds {
            expected: bounds.expected.clamp(-largest, largest),
            low: bounds.low.clamp(-largest, largest),
            high: bounds.high.clamp(-largest, largest),
        };
        // In standard deviations: an element of about |mean| + std changes in proportion to its size.
        let slack =
            self.grain.relative * (1.0 + mean.abs() / std) + self.grain.absolute / std + COARSEST;

        // From here on in standard deviations from the mean.
        let (low, high) = ((mean - lowest) / std, (highest - mean) / std);
        // The inequality of one side takes the largest deviation of a draw on that side.
        let off_mean = std
            * (self
                .deviation(n, 1.0, low)
                .max(self.deviation(n, 1.0, high))
                + slack);
        let off_mean = if is_held {
            mean.abs() + largest
        } else {
            off_mean
        };
        // z^2 has the mean 1 and the variance E[z^4] - 1, and is never negative.
        let square = Moment {
            variance: kurtosis - 1.0,
            above: low.max(high).powi(2) - 1.0,
            below: 1.0,
        };
        let (less, more) = (self.below(n, &square), self.above(n, &square));
        let std_bounds = Bounds {
            expected: std,
            low: match is_held {
                true => 0.0,
                false => std * ((1.0 - less).max(0.0).sqrt() - slack),
            },
            high: std * ((1.0 + more).sqrt() + slack),
        };
        // The kurtosis k is compared by the mean of z^4 - 2 k z^2, which is -k. Its derivative by
        // the std is 0, so a small error of the std does not show as one of the kurtosis.
        let shape = |z: f64| z.powi(4) - 2.0 * kurtosis * z * z;
        // z^4 - 2 k z^2 falls to its minimum of -k^2 at z^2 = k.
        let least = if low.max(high) > kurtosis.sqrt() {
            -kurtosis * kurtosis
        } else {
            shape(low.max(high))
        };
        let fourth = Moment {
            // E[(z^4 - 2 k z^2)^2] - k^2, where E[z^4] = k.
            variance: law.standardized(8) - 4.0 * kurtosis * law.standardized(6)
                + 4.0 * kurtosis.powi(3)
                - kurtosis * kurtosis,
            above: shape(low).max(shape(high)).max(0.0) + kurtosis,
            below: -kurtosis - least,
        };
        let shape_slack = 8.0 * kurtosis * slack;
        // Changes of the elements by much of a standard deviation change the fourth moment by more than in
        // proportion, and a few elements can have nearly all of it.
        let off_shape = match is_held || slack > MOST_SLACK {
            true => f64::INFINITY,
            false => self.below(n, &fourth).max(self.above(n, &fourth)) + shape_slack,
        };
        // The extremes of n draws: `inner` is exceeded by at least one draw, except with a
        // probability of `tail`.
        // This is 1 - tail^(1/n), by exp_m1: for large n, the plain difference would lose its digits.
        let inner = -(tail.ln() / n).exp_m1();
        let median = -(0.5f64.ln() / n).exp_m1();
        let min = held(Bounds {
            expected: law.quantile_below(median),
            low: lowest - rounded(lowest),
            high: law.quantile_below(inner) + inwards(law.quantile_below(inner)),
        });
        let max = held(Bounds {
            expected: law.quantile_above(median),
            low: law.quantile_above(inner) - inwards(law.quantile_above(inner)),
            high: highest + rounded(highest),
        });
        // fanin holds truncated elements at the farthest number of the dtype within the bounds, which can be 0.
        let half = self.grain.absolute;
        let is_held_at_zero = is_truncated && highest.min(-lowest) < 2.0 * half;
        let halves = [half, if is_held_at_zero { 2.0 * half } else { half }];
        let zeros = self.zeros(law, halves, step / 2.0, n, fixed_zeros);

        // The statistics of the drawn elements alone, without the fixed zeros.
        let about = |point: f64| {
            let sums = all.about(point);
            let mut powers = [0.0; 4];
            for (i, power) in powers.iter_mut().enumerate() {
                // Each fixed zero deviates by -point.
                *power = (self.n * sums[i] - fixed * (-point).powi(i as i32 + 1)) / n;
            }
            powers
        };
        let drawn_mean = all.mean() * self.n / n;
        let [_, m2, _, m4] = about(mean);
        let [_, own_m2, _, own_m4] = about(drawn_mean);
        let own_std = own_m2.max(0.0).sqrt();
        let mut flags = Vec::new();
        let mean_bounds = Bounds::around(mean, off_mean);
        flags.extend(mean_bounds.flag("mean", drawn_mean));
        // A wrong mean also increases the spread about the expected mean, and a wrong std the
        // fourth moment. So std and kurtosis are flagged only if they are also wrong about their
        // own mean.
        if let Some(flag) = std_bounds.flag("std", m2.max(0.0).sqrt()) {
            flags.extend(std_bounds.flag("std", own_std).filter(|own| *own == flag));
        }
        flags.extend(with_zeros(min, fixed, f64::min).flag("min", all.min()));
        flags.extend(with_zeros(max, fixed, f64::max).flag("max", all.max()));
        let kurtosis_bounds = Bounds::around(kurtosis, off_shape);
        let z2 = m2 / (std * std);
        let z4 = m4 / (std * std * std * std);
        // Shifted by 2 k, so that a sample with kurtosis k gives k.
        let by_shape = kurtosis_bounds.flag("kurtosis", z4 - 2.0 * kurtosis * z2 + 2.0 * kurtosis);
        if by_shape.is_some() {
            flags.extend(kurtosis_bounds.flag("kurtosis", own_m4 / (own_m2 * own_m2)));
        }
        flags.extend(zeros.flag("zeros", all.zeros() as f64));
        // f32 and f64 have more digits than f16 and bf16.
        let nonzero = all.n() - all.zeros();
        // Of a few different numbers near the mean, or of subnormal ones, all can be short.
        let finest = self.grain.relative * mean.abs() * 16.0 + self.grain.absolute * 2f64.powi(21);
        let has_digits = matches!(dtype, "f32" | "f64") && std >= finest;
        if has_digits && nonzero >= FEWEST_SHORT && seen.short == all.n() {
            flags.push(Flag {
                statistic: "values",
                text: format!("all were rounded to f16 or bf16 before they were {dtype}"),
            });
        }

        // The statistics of all elements, fixed zeros included, as tables show them.
        let share = n / self.n;
        let whole_mean = share * mean;
        let drawn_square = std * std + mean * mean;
        let variance = share * drawn_square - whole_mean * whole_mean;
        let whole_std = |std: f64| {
            let square = share * (std * std + mean * mean) - whole_mean * whole_mean;
            square.max(0.0).sqrt()
        };
        let centred = |kurtosis: f64| {
            // The fourth moment about the mean of all elements, of drawn ones and of zeros.
            let d = mean - whole_mean;
            let skewness = law.standardized(3) * std.powi(3);
            let drawn =
                kurtosis * std.powi(4) + 4.0 * d * skewness + 6.0 * d * d * std * std + d.powi(4);
            (share * drawn + (1.0 - share) * whole_mean.powi(4)) / (variance * variance)
        };
        let expected = Expected {
            distribution: text,
            mean: Bounds::around(whole_mean, share * off_mean),
            std: Bounds {
                expected: variance.sqrt(),
                low: whole_std(std_bounds.low.max(0.0)),
                high: whole_std(std_bounds.high),
            },
            min: with_zeros(min, fixed, f64::min),
            max: with_zeros(max, fixed, f64::max),
            kurtosis: Bounds {
                expected: centred(kurtosis),
                low: centred(kurtosis_bounds.low),
                high: centred(kurtosis_bounds.high),
            },
            zeros,
        };
        (expected, flags)
    }

    /// Returns the largest deviation of the mean of n draws above its expectation, by Bennett's
    /// inequality, from the variance and the largest deviation of a single draw.
    fn deviation(&self, n: f64, variance: f64, most: f64) -> f64 {
        let needed = -(0.5 * self.alpha).ln() / n;
        if variance.is_nan() || variance <= 0.0 || most <= 0.0 {
            return 0.0;
        }
        // Solve (v / b^2) h(b t / v) = needed for t by bisection; h(u) = (1 + u) ln(1 + u) - u
        // rises with u.
        let h = |u: f64| (1.0 + u) * u.ln_1p() - u;
        let wanted = needed * most * most / variance;
        // By Bernstein, h(u) >= u^2 / (2 + 2 u / 3), which is not below `wanted` at this upper end.
        let (mut low, mut high) = (0.0, 2.0 * wanted + 2.0 * wanted.sqrt());
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            if h(middle) < wanted {
                low = middle;
            } else {
                high = middle;
            }
        }
        // A mean cannot deviate more than a single draw.
        // `high` is the outer end of the last interval, so the bound is never too narrow.
        (high * variance / most).min(most)
    }

    fn above(&self, n: f64, moment: &Moment) -> f64 {
        self.deviation(n, moment.variance, moment.above)
    }

    fn below(&self, n: f64, moment: &Moment) -> f64 {
        self.deviation(n, moment.variance, moment.below)
    }

    /// Returns the bounds for the number of zeros: those among n draws, and the fixed ones. Numbers
    /// that round to 0 depend on the step of the generator, which is known within limits.
    ///
    /// `halves` are the largest numbers that the dtype rounds to 0, in all libraries and in some, and
    /// `half_step` is half of fanin's step.
    fn zeros(&self, law: &Law, halves: [f64; 2], half_step: f64, n: f64, fixed: Bounds) -> Bounds {
        let (mean, std) = (law.mean(), law.std());
        // Rounded down to a step in place of to the nearest, all within a step of 0 are 0, or none.
        let coarse = (COARSEST * (std * 3f64.sqrt() + mean.abs())).max(half_step);
        let within = |x: f64| {
            if x <= 0.0 {
                return 0.0;
            }
            let p = law.below(x) - law.below(-x);
            // For a small interval the difference loses its digits, and the density is nearly
            // constant.
            if p < 1e-6 {
                (2.0 * x * law.density(0.0)).max(p.max(0.0))
            } else {
                p
            }
        };
        let (least, most) = (within(halves[0] - coarse), within(halves[1] + coarse));
        let needed = -(0.5 * self.alpha).ln() / n;
        Bounds {
            expected: fixed.expected + n * within(halves[1].max(half_step)),
            low: fixed.low + (n * share_beyond(least, needed, false)).floor(),
            high: fixed.high + (n * share_beyond(most, needed, true)).ceil(),
        }
    }
}

/// The variance of a quantity, and its largest deviations above and below its mean.
struct Moment {
    variance: f64,
    above: f64,
    below: f64,
}

/// Returns the share whose relative entropy to the probability `p` is `needed`. By Chernoff's
/// bound, a share of n independent events beyond it has a probability below exp(-n needed).
fn share_beyond(p: f64, needed: f64, above: bool) -> f64 {
    let entropy = |q: f64| {
        let part = |a: f64, b: f64| if a <= 0.0 { 0.0 } else { a * (a / b).ln() };
        part(q, p) + part(1.0 - q, 1.0 - p)
    };
    if p <= 0.0 || p >= 1.0 {
        return p.clamp(0.0, 1.0);
    }
    let end = if above { 1.0 } else { 0.0 };
    let (mut near, mut far) = (p, end);
    for _ in 0..80 {
        let middle = 0.5 * (near + far);
        if entropy(middle) < needed {
            near = middle;
        } else {
            far = middle;
        }
    }
    // The outer end of the last interval, so that the bound is never too narrow.
    far
}

/// Returns the bounds of the least or of the greatest element, of which `extreme` returns one of two, with
/// fixed zeros included.
fn with_zeros(bounds: Bounds, fixed: f64, extreme: fn(f64, f64) -> f64) -> Bounds {
    if fixed == 0.0 {
        return bounds;
    }
    Bounds {
        expected: extreme(bounds.expected, 0.0),
        low: extreme(bounds.low, 0.0),
        high: extreme(bounds.high, 0.0),
    }
}

/// Returns true if a fill makes whole columns of a matrix of this many rows.
fn holds_all_rows(fill: &Fill, rows: u64) -> bool {
    let whole = |slice: &Slice| slice.ranges().first() == Some(&(0..rows));
    match fill.local().slices() {
        [] => false,
        slices => slices.iter().all(whole),
    }
}

/// A random orthogonal matrix, and the parts of it that a fill makes.
struct RandomMatrix {
    gain: f64,
    rows: f64,
    columns: f64,
    /// The numbers of rows and of columns of each part: all elements in these rows and columns. A
    /// part has elements, and no two parts share any.
    blocks: Vec<[f64; 2]>,
}

impl RandomMatrix {
    /// Returns the matrix of an orthogonal fill, or `None` for another one.
    fn of(fill: &Fill) -> Option<RandomMatrix> {
        let DistributionKind::Orthogonal {
            gain,
            rows,
            columns,
            taps,
            middle,
            taps_last,
        } = *fill.distribution().kind()
        else {
            return None;
        };
        let matrix = rows * columns;
        let blocks = match fill.local().flat() {
            Some(run) => {
                // The elements of the matrix that lie before an index of the tensor.
                // Element m of the matrix is element m * taps + middle, or
                // middle * matrix + m, of the tensor.
                let before = |index: u64| match taps_last {
                    true => index.saturating_sub(middle).div_ceil(taps),
                    false => index.saturating_sub(middle * matrix).min(matrix),
                };
                run_in_rows(before(run.start)..before(run.end), columns)
            }
            None => {
                let tap = if taps_last { 1 } else { matrix };
                let slices = fill.local().slices().iter();
                let block = slices.filter_map(|slice| {
                    let mut sizes = [1.0, 1.0];
                    // The number of elements from one index of the dimension to the next.
                    let mut stride = fill.shape().elements();
                    for (range, &dim) in slice.ranges().iter().zip(fill.shape().dims()) {
                        stride /= dim.max(1);
                        // Within the matrix, where the taps are the last dimensions.
                        let within = stride / if taps_last { taps } else { 1 };
                        let is_tap = match taps_last {
                            true => stride < taps && dim > 1,
                            false => stride >= matrix,
                        };
                        if is_tap {
                            let index = middle * tap / stride % dim.max(1);
                            if !range.contains(&index) {
                                return None;
                            }
                        } else {
                            // Rows are `columns` elements apart, so a smaller stride is that of a column.
                            let axis = usize::from(within < columns);
                            sizes[axis] *= (range.end - range.start) as f64;
                        }
                    }
                    Some(sizes)
                });
                block
                    .filter(|[rows, columns]| rows * columns > 0.0)
                    .collect()
            }
        };
        Some(RandomMatrix {
            gain: gain.into(),
            rows: rows as f64,
            columns: columns as f64,
            blocks,
        })
    }

    /// The number of elements of all parts.
    fn held(&self) -> f64 {
        self.blocks
            .iter()
            .map(|[rows, columns]| rows * columns)
            .sum()
    }

    /// The expected sum of the squares of all elements in the parts, for gain 1.
    fn mean_squares(&self) -> f64 {
        self.held() / self.rows.max(self.columns)
    }

    /// Returns bounds for the sum of the squares, for gain 1, which are exceeded with a probability
    /// of at most `alpha`.
    ///
    /// The unit vectors are the rows or the columns, whichever are longer. The squares of k of d
    /// coordinates of one sum to X / (X + Y) with chi-square variables of k and d - k degrees of
    /// freedom, which are bounded as by Laurent and Massart ("Adaptive estimation of a quadratic
    /// functional", 2000). The root of all squares together is a function of the matrix that changes
    /// no faster than the matrix itself. So its variance is at most 4 / (d - 2), and the probability
    /// of a deviation by t at most 2 exp(-(d - 2) t^2 / 8) (Anderson, Guionnet and Zeitouni, "An
    /// Introduction to Random Matrices", 2010, section 4.4).
    fn squares(&self, alpha: f64) -> [f64; 2] {
        let is_tall = self.rows >= self.columns;
        let dimensions = self.rows.max(self.columns);
        let vectors = |[rows, columns]: [f64; 2]| match is_tall {
            true => (columns, rows),
            false => (rows, columns),
        };
        let all: f64 = self.blocks.iter().map(|&block| vectors(block).0).sum();
        // Each of the two ways to bound the sum has half of the probability.
        // Each vector has four bounds, each exceeded with a probability of exp(-x): alpha / 2 together.
        let x = (8.0 * all / alpha).ln();
        let low = |k: f64| (k - 2.0 * (k * x).sqrt()).max(0.0);
        let high = |k: f64| k + 2.0 * (k * x).sqrt() + 2.0 * x;
        let mut bounds = [0.0, 0.0];
        for &[rows, columns] in &self.blocks {
            let (count, held) = vectors([rows, columns]);
            let other = if is_tall { columns } else { rows };
            let [least, most] = if held >= dimensions {
                [count, count]
            } else if self.rows == self.columns && other >= dimensions {
                // A square matrix is orthogonal in both directions.
                [held, held]
            } else {
                let rest = dimensions - held;
                let ratio = |part: f64, rest: f64| part / (part + rest).max(f64::MIN_POSITIVE);
                [
                    count * ratio(low(held), high(rest)),
                    count * ratio(high(held), low(rest)),
                ]
            };
            bounds[0] += least;
            bounds[1] += most;
        }
        if dimensions > 2.0 {
            let variance = 4.0 / (dimensions - 2.0);
            // Solves 2 exp(-(d - 2) t^2 / 8) = alpha / 2 for t, with the variance 4 / (d - 2).
            let off = (2.0 * variance * (4.0 / alpha).ln()).sqrt();
            let mean = self.mean_squares();
            // E[root]^2 is at most the mean of the squares, and at least that less the variance of the root.
            let low = (mean - variance).max(0.0).sqrt() - off;
            bounds[0] = bounds[0].max(low.max(0.0).powi(2));
            bounds[1] = bounds[1].min((mean.sqrt() + off).powi(2));
        }
        bounds
    }
}

/// Returns the numbers of rows and columns of the blocks that a run of elements consists of: the
/// end of a row, whole rows, and the beginning of a row.
fn run_in_rows(run: Range<u64>, columns: u64) -> Vec<[f64; 2]> {
    let (first, last) = (run.start.div_ceil(columns), run.end / columns);
    let blocks = if first > last {
        [[1, run.end.saturating_sub(run.start)], [0, 0], [0, 0]]
    } else {
        [
            [1, first * columns - run.start],
            [last - first, columns],
            [1, run.end - last * columns],
        ]
    };
    let blocks = blocks
        .into_iter()
        .filter(|[rows, columns]| rows * columns > 0);
    blocks
        .map(|[rows, columns]| [rows as f64, columns as f64])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use crate::tensor::Tensor;

    #[test]
    fn parts_of_a_matrix_are_blocks_of_rows_and_columns() {
        let whole = |spec: &str, dims: &[u64]| {
            let init: Init = spec.parse().unwrap();
            Fill::new(&Tensor::new("w", dims).unwrap(), &init, 1).unwrap()
        };
        let blocks = |fill: Fill| RandomMatrix::of(&fill).unwrap().blocks;
        let matrix = whole("orthogonal", &[6, 4]);
        assert_eq!(blocks(matrix.clone()), [[6.0, 4.0]]);
        let slice = |ranges: &[Range<u64>]| blocks(matrix.clone().slice(ranges).unwrap());
        assert_eq!(slice(&[2..5, 1..4]), [[3.0, 3.0]]);
        assert!(slice(&[2..2, 1..4]).is_empty());
        let flat = |run| blocks(matrix.clone().flat(run).unwrap());
        assert_eq!(flat(5..7), [[1.0, 2.0]]);
        assert_eq!(flat(5..9), [[1.0, 3.0], [1.0, 1.0]]);
        assert_eq!(flat(2..21), [[1.0, 2.0], [4.0, 4.0], [1.0, 1.0]]);
        assert_eq!(flat(4..12), [[2.0, 4.0]]);
        assert!(flat(5..5).is_empty());

        // A kernel whose columns are several dimensions.
        let kernel = whole("orthogonal", &[6, 2, 3]);
        let part = kernel.slice([1..4, 0..1, 1..3]).unwrap();
        assert_eq!(blocks(part), [[3.0, 2.0]]);
    }

    #[test]
    fn whole_vectors_have_known_squares() {
        let matrix = |rows, columns, blocks: &[[f64; 2]]| RandomMatrix {
            gain: 1.0,
            rows,
            columns,
            blocks: blocks.to_vec(),
        };
        assert_eq!(matrix(8.0, 4.0, &[[8.0, 3.0]]).squares(1e-9), [3.0, 3.0]);
        assert_eq!(matrix(4.0, 8.0, &[[2.0, 8.0]]).squares(1e-9), [2.0, 2.0]);
        assert_eq!(matrix(8.0, 8.0, &[[2.0, 8.0]]).squares(1e-9), [2.0, 2.0]);
        assert_eq!(matrix(8.0, 8.0, &[[8.0, 2.0]]).squares(1e-9), [2.0, 2.0]);
        let [low, high] = matrix(4000.0, 100.0, &[[2000.0, 100.0]]).squares(1e-9);
        assert!((46.0..50.0).contains(&low) && (50.0..54.0).contains(&high));
    }
}
