//! The continuous distributions of random elements: density, probabilities, quantiles and moments, in
//! binary64.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use super::{Distribution, DistributionKind};

/// The continuous distribution of a tensor's random elements, for comparisons with weights.
///
/// [`Distribution::law`] returns it for an initializer. Probabilities keep their digits in both
/// tails, as far as the digits of the value allow.
///
/// ```
/// use fanin::init::Law;
///
/// let law = Law::normal(0.0, 0.02);
/// assert_eq!((law.std(), law.kurtosis()), (0.02, 3.0));
/// assert!((law.above(0.04) / 0.022_750_131_948 - 1.0).abs() < 1e-9);
/// assert!((law.quantile_below(0.5)).abs() < 1e-12);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Law {
    kind: Kind,
    moments: ExactMoments,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Normal {
        mean: f64,
        std: f64,
    },
    Uniform {
        low: f64,
        high: f64,
    },
    /// `mean + std * z` for a standard normal z, truncated to `lower` and `lower + width`.
    Truncated {
        mean: f64,
        std: f64,
        lower: f64,
        width: f64,
    },
    LogUniform {
        low: f64,
        high: f64,
    },
    TimeStep {
        min: f64,
        max: f64,
        floor: f64,
    },
    /// An element of one of several laws, each with its share. Shares are above 0, and their sum is 1.
    Mixture(Vec<(f64, Law)>),
}

/// The mean, the standard deviation, and the moments 0 to 8 of the standardized element.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ExactMoments {
    mean: f64,
    std: f64,
    standardized: [f64; 9],
}

/// Moments 0 to 8 of the standard normal distribution.
const NORMAL: [f64; 9] = [1.0, 0.0, 1.0, 0.0, 3.0, 0.0, 15.0, 0.0, 105.0];

/// Moments 0 to 8 of the uniform distribution on (-sqrt 3, sqrt 3).
const UNIFORM: [f64; 9] = [1.0, 0.0, 1.0, 0.0, 1.8, 0.0, 27.0 / 7.0, 0.0, 9.0];

impl Distribution {
    /// Returns the distribution of a single random element. It is `None` if no element is drawn, or
    /// if elements depend on each other, as in an orthogonal matrix. It does not count the zeros that
    /// some distributions add.
    #[must_use]
    pub fn law(&self) -> Option<Law> {
        match *self.kind() {
            DistributionKind::Normal { mean, std }
            | DistributionKind::NormalWithZeroRow { mean, std, .. } => {
                Some(Law::normal(mean.into(), std.into()))
            }
            DistributionKind::Sparse { std, .. } => Some(Law::normal(0.0, std.into())),
            DistributionKind::Uniform { low, high } => Some(Law::uniform(low.into(), high.into())),
            DistributionKind::TruncatedNormal {
                mean,
                std,
                lower,
                upper,
                width,
                ..
            } => {
                let (lower, width) = finite_support(lower, upper, width);
                Some(Law::new(Kind::Truncated {
                    mean: mean.into(),
                    std: std.into(),
                    lower,
                    width,
                }))
            }
            DistributionKind::LogUniform { low, high } => {
                Some(Law::new(Kind::LogUniform { low, high }))
            }
            DistributionKind::TimeStep { min, max, floor } => {
                Some(Law::new(Kind::TimeStep { min, max, floor }))
            }
            _ => None,
        }
    }
}

/// Returns the lower bound and the width of a finite interval that holds all representable mass of a
/// truncated normal, in standard deviations. Moments and integrals start from its lower bound, and
/// quantiles are found by halving it.
fn finite_support(lower: f64, upper: f64, width: f64) -> (f64, f64) {
    // At distance d of the mode, which is x from the mean, the density is e^-(x d + d^2 / 2) of that at the
    // mode. Below e^-745 it is no binary64: from d = 40 or 745 / x on.
    let mode = 0f64.clamp(lower, upper);
    let reach = 40f64.min(745.0 / mode.abs());
    let (below, above) = (mode - lower, upper - mode);
    if below <= reach && above <= reach {
        // Not the sum of both, which could be rounded.
        return (lower, width);
    }
    let lower = if below <= reach { lower } else { mode - reach };
    (lower, below.min(reach) + above.min(reach))
}

impl Law {
    /// Returns the normal distribution.
    #[must_use]
    pub fn normal(mean: f64, std: f64) -> Self {
        Law {
            kind: Kind::Normal { mean, std },
            moments: ExactMoments {
                mean,
                std,
                standardized: NORMAL,
            },
        }
    }

    /// Returns the uniform distribution.
    #[must_use]
    pub fn uniform(low: f64, high: f64) -> Self {
        Law {
            kind: Kind::Uniform { low, high },
            // Halves are added, because a sum or a difference of the bounds could overflow.
            moments: ExactMoments {
                mean: low / 2.0 + high / 2.0,
                std: (high / 2.0 - low / 2.0) / 3f64.sqrt(),
                standardized: UNIFORM,
            },
        }
    }

    /// Returns the distribution of an element that follows one of several laws, each with a weight above
    /// 0, such as the number of its elements. It is `None` without a law.
    #[must_use]
    pub fn mixture(laws: impl IntoIterator<Item = (f64, Law)>) -> Option<Self> {
        let laws: Vec<(f64, Law)> = laws
            .into_iter()
            // A law without weight would widen the support.
            .filter(|(weight, _)| *weight > 0.0)
            .collect();
        let sum: f64 = laws.iter().map(|(weight, _)| weight).sum();
        match &laws[..] {
            [] => return None,
            [(_, law)] => return Some(law.clone()),
            _ => {}
        }
        let laws: Vec<(f64, Law)> = laws
            .into_iter()
            .map(|(weight, law)| (weight / sum, law))
            .collect();
        let mean = weighted(&laws, Law::mean);
        // The moments of a law about the common mean follow from those about its own.
        let about = |law: &Law, power: usize| -> f64 {
            let shift = law.mean() - mean;
            // The binomial theorem: `term` is the binomial coefficient of `power` over k.
            let mut term = 1.0;
            (0..=power)
                .map(|k| {
                    let moment = law.standardized(k) * law.std().powi(k as i32);
                    let value = term * shift.powi((power - k) as i32) * moment;
                    term = term * (power - k) as f64 / (k + 1) as f64;
                    value
                })
                .sum()
        };
        let std = weighted(&laws, |law| about(law, 2)).sqrt();
        let mut standardized = [0.0; 9];
        for (power, moment) in standardized.iter_mut().enumerate() {
            *moment = weighted(&laws, |law| about(law, power)) / std.powi(power as i32);
        }
        Some(Law {
            kind: Kind::Mixture(laws),
            moments: ExactMoments {
                mean,
                std,
                standardized,
            },
        })
    }

    /// Returns the distribution of a kind whose moments are computed as integrals.
    fn new(kind: Kind) -> Self {
        let expect = |f: &dyn Fn(f64) -> f64| kind.expect(f);
        // Central moments are integrals of their own, because E d^2 - (E d)^2 would lose its digits.
        let offset = expect(&|d| d);
        let variance = expect(&|d| (d - offset) * (d - offset));
        let std = variance.sqrt();
        let mut standardized = [1.0; 9];
        for (power, moment) in (0..).zip(&mut standardized) {
            *moment = expect(&|d| ((d - offset) / std).powi(power));
        }
        let moments = ExactMoments {
            mean: kind.origin() + kind.unit() * offset,
            std: kind.unit() * std,
            standardized,
        };
        Law { kind, moments }
    }

    /// Returns the mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.moments.mean
    }

    /// Returns the standard deviation.
    #[must_use]
    pub fn std(&self) -> f64 {
        self.moments.std
    }

    /// Returns the kurtosis: the fourth central moment divided by the squared variance. It is 3 for a
    /// normal distribution.
    #[must_use]
    pub fn kurtosis(&self) -> f64 {
        self.standardized(4)
    }

    /// Returns the mean of a power of the standardized element. It is NaN for powers above 8.
    pub(crate) fn standardized(&self, power: usize) -> f64 {
        let moments = &self.moments.standardized;
        moments.get(power).copied().unwrap_or(f64::NAN)
    }

    /// Returns the lowest and the highest value, which may be infinite.
    #[must_use]
    pub fn support(&self) -> (f64, f64) {
        match self.kind {
            Kind::Mixture(ref laws) => hull(laws, Law::support),
            Kind::Normal { .. } => (f64::NEG_INFINITY, f64::INFINITY),
            Kind::Uniform { low, high } => (low, high),
            Kind::Truncated {
                mean,
                std,
                lower,
                width,
            } => (mean + std * lower, mean + std * (lower + width)),
            Kind::LogUniform { low, high } => (low.ln(), high.ln()),
            Kind::TimeStep { min, max, floor } => {
                (inverse_softplus(min.max(floor)), inverse_softplus(max))
            }
        }
    }

    /// Returns the probability density. For a time step with a floor, it is the density of the steps
    /// above the floor: the step at the floor is a single value with a positive probability.
    #[must_use]
    pub fn density(&self, x: f64) -> f64 {
        let (low, high) = self.support();
        if !(low..=high).contains(&x) {
            return 0.0;
        }
        match self.kind {
            Kind::Mixture(ref laws) => weighted(laws, |law| law.density(x)),
            Kind::Normal { mean, std } => {
                let z = (x - mean) / std;
                (-0.5 * z * z).exp() / (std * TAU.sqrt())
            }
            Kind::Uniform { low, high } => 1.0 / (high - low),
            Kind::Truncated {
                mean,
                std,
                lower,
                width,
            } => {
                let d = (x - mean) / std - lower;
                let normal = Truncated::new(lower, width);
                normal.weight(d) / (normal.mass(0.0, width) * std)
            }
            Kind::LogUniform { low, high } => x.exp() / (high - low),
            Kind::TimeStep { min, max, .. } => {
                // dt = softplus(x) is log-uniform, and the derivative of softplus is the sigmoid.
                let step = x.exp().ln_1p();
                1.0 / (1.0 + (-x).exp()) / (step * (max / min).ln())
            }
        }
    }

    /// Returns the probability of an element below `x`.
    #[must_use]
    pub fn below(&self, x: f64) -> f64 {
        let (low, high) = self.support();
        if x <= low {
            return 0.0;
        }
        if x >= high {
            return 1.0;
        }
        match self.kind {
            Kind::Mixture(ref laws) => weighted(laws, |law| law.below(x)),
            // `erfc` keeps the digits of a small tail, where 1 + erf would cancel.
            Kind::Normal { mean, std } => 0.5 * libm::erfc((mean - x) / std * FRAC_1_SQRT_2),
            Kind::Uniform { low, high } => (x - low) / (high - low),
            Kind::Truncated {
                mean,
                std,
                lower,
                width,
            } => {
                // Rounding can take d past an end, which would give a probability outside of 0..1.
                let d = ((x - mean) / std - lower).clamp(0.0, width);
                let normal = Truncated::new(lower, width);
                normal.mass(0.0, d) / normal.mass(0.0, width)
            }
            // (e^x - low) / (high - low) without the difference of two close numbers.
            Kind::LogUniform { low, high } => low * (x - low.ln()).exp_m1() / (high - low),
            Kind::TimeStep { min, max, .. } => (x.exp().ln_1p() / min).ln() / (max / min).ln(),
        }
    }

    /// Returns the probability of an element above `x`.
    #[must_use]
    pub fn above(&self, x: f64) -> f64 {
        let (low, high) = self.support();
        // Not `x <= low`: time steps at the floor are equal to `low`, with a positive probability.
        if x < low {
            return 1.0;
        }
        if x >= high {
            return 0.0;
        }
        match self.kind {
            Kind::Mixture(ref laws) => weighted(laws, |law| law.above(x)),
            Kind::Normal { mean, std } => 0.5 * libm::erfc((x - mean) / std * FRAC_1_SQRT_2),
            Kind::Uniform { low, high } => (high - x) / (high - low),
            Kind::Truncated {
                mean,
                std,
                lower,
                width,
            } => {
                let d = ((x - mean) / std - lower).clamp(0.0, width);
                let normal = Truncated::new(lower, width);
                normal.mass(d, width) / normal.mass(0.0, width)
            }
            Kind::LogUniform { low, high } => -high * (x - high.ln()).exp_m1() / (high - low),
            Kind::TimeStep { min, max, .. } => (max / x.exp().ln_1p()).ln() / (max / min).ln(),
        }
    }

    /// Returns the value such that an element is below it with probability `p`.
    #[must_use]
    pub fn quantile_below(&self, p: f64) -> f64 {
        let (low, high) = self.reach();
        bisect(low, high, |x| self.below(x) < p)
    }

    /// Returns the value such that an element is above it with probability `p`.
    #[must_use]
    pub fn quantile_above(&self, p: f64) -> f64 {
        let (low, high) = self.reach();
        bisect(low, high, |x| self.above(x) > p)
    }

    /// Returns a finite interval that holds all representable mass.
    fn reach(&self) -> (f64, f64) {
        match self.kind {
            Kind::Mixture(ref laws) => hull(laws, Law::reach),
            // The probability beyond 40 standard deviations is below the smallest binary64.
            Kind::Normal { mean, std } => (mean - 40.0 * std, mean + 40.0 * std),
            _ => self.support(),
        }
    }
}

/// Returns the mean of a function of several laws, by their shares.
fn weighted(laws: &[(f64, Law)], f: impl Fn(&Law) -> f64) -> f64 {
    laws.iter().map(|(share, law)| share * f(law)).sum()
}

/// Returns the smallest interval that holds those of all laws.
fn hull(laws: &[(f64, Law)], interval: impl Fn(&Law) -> (f64, f64)) -> (f64, f64) {
    let all = laws.iter().map(|(_, law)| interval(law));
    let (low, high): (Vec<f64>, Vec<f64>) = all.unzip();
    (
        low.into_iter().fold(f64::INFINITY, f64::min),
        high.into_iter().fold(f64::NEG_INFINITY, f64::max),
    )
}

/// Returns the point of an interval up to which `before` is true.
fn bisect(mut low: f64, mut high: f64, before: impl Fn(f64) -> bool) -> f64 {
    /// The halvings. After 100, an interval of numbers of similar magnitude is down to neighbouring
    /// binary64 numbers. Around 0 it is 2^-100 of its length.
    const STEPS: usize = 100;
    for _ in 0..STEPS {
        let middle = low / 2.0 + high / 2.0;
        if before(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low / 2.0 + high / 2.0
}

impl Kind {
    /// Returns the point from which [`expect`](Kind::expect) counts offsets. For a truncated normal it
    /// is the likeliest point, so that moments far in a tail need no differences of large numbers.
    fn origin(&self) -> f64 {
        match *self {
            Kind::Truncated {
                mean,
                std,
                lower,
                width,
            } => mean + std * (lower + Truncated::new(lower, width).mode),
            _ => 0.0,
        }
    }

    /// Returns the unit of these offsets.
    fn unit(&self) -> f64 {
        match *self {
            Kind::Truncated { std, .. } => std,
            _ => 1.0,
        }
    }

    /// Returns the mean of a function of the element's offset from [`origin`](Kind::origin).
    fn expect(&self, f: &dyn Fn(f64) -> f64) -> f64 {
        match *self {
            Kind::Truncated { lower, width, .. } => {
                let normal = Truncated::new(lower, width);
                let (from, to) = normal.range(0.0, width);
                let weighted = integral(from, to, |d| normal.weight(d) * f(d - normal.mode));
                // The weight is relative to the mode, so its own integral is the norm.
                weighted / integral(from, to, |d| normal.weight(d))
            }
            Kind::LogUniform { low, high } => {
                let density = |x: f64| x.exp() / (high - low);
                integral(low.ln(), high.ln(), |x| density(x) * f(x))
            }
            Kind::TimeStep { min, max, floor } => {
                let (from, to) = (min.ln(), max.ln());
                // The floor makes a corner, where the rule of `integral` would lose its accuracy.
                let kink = floor.max(min).ln();
                let value = |v: f64| inverse_softplus(v.exp().max(floor));
                let parts =
                    integral(from, kink, |v| f(value(v))) + integral(kink, to, |v| f(value(v)));
                parts / (to - from)
            }
            // The moments of these have closed forms.
            Kind::Normal { .. } | Kind::Uniform { .. } | Kind::Mixture(_) => f64::NAN,
        }
    }
}

/// Returns `ln(e^x - 1)`. This form does not overflow for a large x.
fn inverse_softplus(x: f64) -> f64 {
    x + (-(-x).exp_m1()).ln()
}

/// A truncated standard normal. Points are distances from its lower bound, so that bounds far in a
/// tail keep their digits.
struct Truncated {
    lower: f64,
    /// The likeliest point: the bound next to the mean, or the mean itself.
    mode: f64,
}

impl Truncated {
    fn new(lower: f64, width: f64) -> Self {
        Truncated {
            lower,
            mode: (-lower).clamp(0.0, width),
        }
    }

    /// Returns the density at d, divided by the density at the mode.
    fn weight(&self, d: f64) -> f64 {
        // (lower + d)^2 - (lower + mode)^2 as a product. The difference of the squares would lose its
        // digits far in a tail.
        let (a, b) = (d - self.mode, 2.0 * self.lower + d + self.mode);
        (-0.5 * a * b).exp()
    }

    /// Returns a part of an interval that holds all of its weight but about e^-60, so that the panels
    /// of `integral` are short where the weight is.
    fn range(&self, from: f64, to: f64) -> (f64, f64) {
        let likeliest = self.mode.clamp(from, to);
        // From a point at distance x of the mean, the weight falls as exp(-(x d + d^2 / 2)): the first
        // term is 60 at 60 / x, the second at 10.95.
        let slope = (self.lower + likeliest).abs();
        let reach = 11.0f64.min(60.0 / slope.max(1e-300));
        (from.max(likeliest - reach), to.min(likeliest + reach))
    }

    /// Returns the integral of the weight over an interval.
    fn mass(&self, from: f64, to: f64) -> f64 {
        if from >= to {
            return 0.0;
        }
        let (from, to) = self.range(from, to);
        integral(from, to, |d| self.weight(d))
    }
}

/// Returns the integral of a function over an interval, by the Gauss-Legendre rule of 5 points on
/// equal panels. With 160 panels, the tests find moments within 1e-9 of their closed forms.
fn integral(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    const PANELS: u32 = 160;
    const RULE: [(f64, f64); 5] = [
        (-0.906_179_845_938_664, 0.236_926_885_056_189_1),
        (-0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
        (0.0, 0.568_888_888_888_888_9),
        (0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
        (0.906_179_845_938_664, 0.236_926_885_056_189_1),
    ];
    let half = 0.5 * (to - from) / f64::from(PANELS);
    let panel = |i: u32| {
        let middle = from + half * f64::from(2 * i + 1);
        let points = RULE.map(|(node, weight)| weight * f(middle + half * node));
        points.iter().sum::<f64>()
    };
    half * (0..PANELS).map(panel).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * b.abs().max(1e-9)
    }

    fn truncated(lower: f64, upper: f64) -> Law {
        let distribution = Distribution::truncated_normal_at(0.0, 1.0, lower, upper).unwrap();
        distribution.law().unwrap()
    }

    /// `scipy.stats.truncnorm.stats(a, b, moments="mvk")`, kurtosis in excess of 3.
    #[test]
    fn truncated_moments_are_scipys() {
        let law = truncated(-2.0, 2.0);
        assert!(law.mean().abs() < 1e-12);
        assert!(near(law.std(), 0.879_625_661_034_239_8), "{}", law.std());
        // By the closed forms, at one standard deviation.
        let law = truncated(-1.0, 1.0);
        let (z, phi) = (libm::erf(FRAC_1_SQRT_2), (-0.5f64).exp() / TAU.sqrt());
        let variance = 1.0 - 2.0 * phi / z;
        let fourth = 3.0 * variance - 2.0 * phi / z;
        assert!(near(law.std(), variance.sqrt()));
        assert!(near(law.kurtosis(), fourth / (variance * variance)));
    }

    #[test]
    fn wide_bounds_leave_a_normal() {
        let law = truncated(f64::NEG_INFINITY, f64::INFINITY);
        for (power, expected) in NORMAL.into_iter().enumerate() {
            assert!((law.standardized(power) - expected).abs() < 1e-9, "{power}");
        }
        assert!(near(law.above(3.0), Law::normal(0.0, 1.0).above(3.0)));
    }

    /// A half of a normal, and a far tail, by their closed forms.
    #[test]
    fn lower_bounds_can_be_infinite() {
        let law = truncated(f64::NEG_INFINITY, 0.0);
        assert!(near(law.mean(), -(2.0 / std::f64::consts::PI).sqrt()));
        assert!(near(law.std(), (1.0 - 2.0 / std::f64::consts::PI).sqrt()));
        assert_eq!(law.support().1, 0.0);
        for lower in [f64::NEG_INFINITY, -2e4] {
            let law = truncated(lower, -1e4);
            assert!(
                ((law.mean() + 1e4) * 1e4 + 1.0).abs() < 1e-6,
                "{}",
                law.mean()
            );
            assert!((law.kurtosis() - 9.0).abs() < 1e-5, "{}", law.kurtosis());
        }
    }

    /// Quantiles of a half of a normal are those of the normal at half the probability.
    #[test]
    fn quantiles_need_no_finite_bounds() {
        let whole = Law::normal(0.0, 1.0);
        for upper in [1e30, f64::INFINITY] {
            let (above, below) = (truncated(0.0, upper), truncated(-upper, 0.0));
            for p in [0.25, 1e-9] {
                assert!(near(above.quantile_above(p), whole.quantile_above(p / 2.0)));
                assert!(near(below.quantile_below(p), whole.quantile_below(p / 2.0)));
            }
            assert!(near(
                above.quantile_below(0.25),
                whole.quantile_below(0.625)
            ));
        }
    }

    /// The mean of a tail beyond x is x + 1 / x - 2 / x^3 + 10 / x^5 - ..., wherever x lies.
    #[test]
    fn tails_have_their_means_at_any_distance() {
        for x in [30.0, 39.0, 39.9, 40.0, 40.1, 60.0, 1e3] {
            let mean = x + 1.0 / x - 2.0 / f64::powi(x, 3) + 10.0 / f64::powi(x, 5);
            for far in [2.0 * x, f64::INFINITY] {
                let error = truncated(x, far).mean() - mean;
                assert!(error.abs() < 100.0 / f64::powi(x, 7), "{x}: {error:e}");
                let error = truncated(-far, -x).mean() + mean;
                assert!(error.abs() < 100.0 / f64::powi(x, 7), "-{x}: {error:e}");
            }
        }
    }

    #[test]
    fn far_tails_are_exponential() {
        let law = truncated(1e4, f64::INFINITY);
        assert!(((law.mean() - 1e4) * 1e4 - 1.0).abs() < 1e-6);
        assert!((law.kurtosis() - 9.0).abs() < 1e-5, "{}", law.kurtosis());
    }

    #[test]
    fn a_mixture_has_the_moments_of_its_parts() {
        let laws = [(3.0, Law::normal(1.0, 0.5)), (1.0, Law::uniform(-2.0, 4.0))];
        let law = Law::mixture(laws.clone()).unwrap();
        // By hand: E x^2 is 3/4 (1 + 0.25) + 1/4 (1 + 3), and the laws have the same mean.
        assert!(near(law.mean(), 1.0));
        assert!(near(law.std(), (0.75 * 0.25 + 0.25 * 3.0f64).sqrt()));
        let fourth = 0.75 * 3.0 * 0.0625 + 0.25 * 1.8 * 9.0;
        assert!(near(law.kurtosis(), fourth / law.std().powi(4)));
        assert!(near(law.below(0.0) + law.above(0.0), 1.0));
        assert!(near(
            law.below(0.0),
            0.75 * laws[0].1.below(0.0) + 0.25 / 3.0
        ));
        assert!(near(law.below(law.quantile_below(0.1)), 0.1));
        assert!(near(
            law.density(3.9),
            0.75 * laws[0].1.density(3.9) + 0.25 / 6.0
        ));
        // Apart from each other: the distance of the means counts.
        let apart = [(1.0, Law::normal(-3.0, 1.0)), (1.0, Law::normal(3.0, 1.0))];
        let law = Law::mixture(apart).unwrap();
        assert!(near(law.std(), 10f64.sqrt()));
        // E x^4 of N(3, 1) is 81 + 6 * 9 + 3.
        assert!(near(law.kurtosis(), 138.0 / 100.0));
        assert_eq!(law.support(), (f64::NEG_INFINITY, f64::INFINITY));
        assert_eq!(Law::mixture([]), None);
        assert_eq!(
            Law::mixture([(2.0, Law::normal(0.0, 1.0))]),
            Some(Law::normal(0.0, 1.0))
        );
    }

    #[test]
    fn probabilities_add_up_and_quantiles_invert_them() {
        let laws = [
            Law::normal(1.0, 2.0),
            Law::uniform(-3.0, 5.0),
            truncated(-2.0, 2.0),
            truncated(3.0, 4.0),
            Law::new(Kind::LogUniform {
                low: 1.0,
                high: 16.0,
            }),
            Law::new(Kind::TimeStep {
                min: 1e-3,
                max: 0.1,
                floor: 1e-4,
            }),
        ];
        for law in laws {
            for p in [1e-8, 1e-3, 0.3, 0.5, 0.999] {
                let x = law.quantile_below(p);
                assert!((law.below(x) / p - 1.0).abs() < 1e-6, "{law:?} {p}");
                assert!(
                    (law.below(x) + law.above(x) - 1.0).abs() < 1e-9,
                    "{law:?} {p}"
                );
                let x = law.quantile_above(p);
                assert!((law.above(x) / p - 1.0).abs() < 1e-6, "{law:?} {p}");
            }
            // The density is the slope of the probability, and the moments are its integrals.
            let (low, high) = (law.quantile_below(1e-15), law.quantile_above(1e-15));
            let total = integral(low, high, |x| law.density(x));
            let mean = integral(low, high, |x| law.density(x) * x);
            let fourth = integral(low, high, |x| {
                law.density(x) * ((x - law.mean()) / law.std()).powi(4)
            });
            assert!((total - 1.0).abs() < 1e-8, "{law:?}: {total}");
            assert!((mean - law.mean()).abs() < 1e-8, "{law:?}: {mean}");
            assert!((fourth - law.kurtosis()).abs() < 1e-7, "{law:?}: {fourth}");
        }
    }
}
