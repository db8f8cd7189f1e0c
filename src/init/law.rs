//! The continuous distributions that random elements follow: density, probabilities, quantiles and
//! moments, in binary64.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use super::{Distribution, DistributionKind};

/// The continuous distribution of a tensor's random elements, to compare weights with.
///
/// [`Distribution::law`] gives the one of an initializer. Probabilities keep their digits in both
/// tails, as far as the value itself has them.
///
/// ```
/// use fanin::init::Law;
///
/// let law = Law::normal(0.0, 0.02);
/// assert_eq!((law.std(), law.kurtosis()), (0.02, 3.0));
/// assert!((law.above(0.04) / 0.022_750_131_948 - 1.0).abs() < 1e-9);
/// assert!((law.quantile_below(0.5)).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Law {
    kind: Kind,
    moments: Central,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Normal {
        mean: f64,
        std: f64,
    },
    Uniform {
        low: f64,
        high: f64,
    },
    /// `mean + std z`, z normal between `lower` and `lower + width`.
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
}

/// Mean, standard deviation, and the moments of what lies between: of the standardized element, its
/// powers 3 to 8.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Central {
    mean: f64,
    std: f64,
    standardized: [f64; 9],
}

/// Moments 0 to 8 of the standard normal distribution.
const NORMAL: [f64; 9] = [1.0, 0.0, 1.0, 0.0, 3.0, 0.0, 15.0, 0.0, 105.0];

/// Moments 0 to 8 of the uniform distribution on (-sqrt 3, sqrt 3).
const UNIFORM: [f64; 9] = [1.0, 0.0, 1.0, 0.0, 1.8, 0.0, 27.0 / 7.0, 0.0, 9.0];

impl Distribution {
    /// What the random elements follow, each on its own; `None` where none is drawn, or where they
    /// depend on each other as those of an orthogonal matrix do. The zeros that some distributions
    /// have besides are not part of it.
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
                width,
                ..
            } => Some(Law::new(Kind::Truncated {
                mean: mean.into(),
                std: std.into(),
                // Beyond 40 standard deviations there is nothing of a normal.
                lower: lower.max(-40.0),
                width: if lower < -40.0 {
                    (width + (lower + 40.0)).min(80.0)
                } else {
                    width
                },
            })),
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

impl Law {
    /// The normal distribution.
    #[must_use]
    pub fn normal(mean: f64, std: f64) -> Self {
        Law {
            kind: Kind::Normal { mean, std },
            moments: Central {
                mean,
                std,
                standardized: NORMAL,
            },
        }
    }

    /// The uniform distribution.
    #[must_use]
    pub fn uniform(low: f64, high: f64) -> Self {
        Law {
            kind: Kind::Uniform { low, high },
            moments: Central {
                mean: low / 2.0 + high / 2.0,
                std: (high / 2.0 - low / 2.0) / 3f64.sqrt(),
                standardized: UNIFORM,
            },
        }
    }

    /// One whose moments are integrals.
    fn new(kind: Kind) -> Self {
        let expect = |f: &dyn Fn(f64) -> f64| kind.expect(f);
        // From a point inside, so that nothing large is subtracted.
        let start = kind.origin();
        let offset = expect(&|d| d);
        let variance = expect(&|d| (d - offset) * (d - offset));
        let std = variance.sqrt();
        let mut standardized = [1.0; 9];
        for (power, moment) in (0..).zip(&mut standardized) {
            *moment = expect(&|d| ((d - offset) / std).powi(power));
        }
        Law {
            kind,
            moments: Central {
                mean: start + kind.unit() * offset,
                std: kind.unit() * std,
                standardized,
            },
        }
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.moments.mean
    }

    /// The standard deviation.
    #[must_use]
    pub fn std(&self) -> f64 {
        self.moments.std
    }

    /// The fourth central moment over the squared variance: 3 for a normal distribution.
    #[must_use]
    pub fn kurtosis(&self) -> f64 {
        self.standardized(4)
    }

    /// The mean of a power, 0 to 8, of the standardized element.
    pub(crate) fn standardized(&self, power: usize) -> f64 {
        self.moments
            .standardized
            .get(power)
            .copied()
            .unwrap_or(f64::NAN)
    }

    /// The lowest and the highest value, which may be infinite.
    #[must_use]
    pub fn support(&self) -> (f64, f64) {
        match self.kind {
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

    /// The probability density; where a single value has a probability of its own, that of the
    /// others.
    #[must_use]
    pub fn density(&self, x: f64) -> f64 {
        let (low, high) = self.support();
        if !(low..=high).contains(&x) {
            return 0.0;
        }
        match self.kind {
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
                let tail = Tail::new(lower, width);
                tail.weight(d) / (tail.mass(0.0, width) * std)
            }
            Kind::LogUniform { low, high } => x.exp() / (high - low),
            Kind::TimeStep { min, max, .. } => {
                let step = x.exp().ln_1p();
                1.0 / (1.0 + (-x).exp()) / (step * (max / min).ln())
            }
        }
    }

    /// The probability of an element below `x`.
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
            Kind::Normal { mean, std } => 0.5 * libm::erfc((mean - x) / std * FRAC_1_SQRT_2),
            Kind::Uniform { low, high } => (x - low) / (high - low),
            Kind::Truncated {
                mean,
                std,
                lower,
                width,
            } => {
                let d = ((x - mean) / std - lower).clamp(0.0, width);
                let tail = Tail::new(lower, width);
                tail.mass(0.0, d) / tail.mass(0.0, width)
            }
            Kind::LogUniform { low, high } => low * (x - low.ln()).exp_m1() / (high - low),
            Kind::TimeStep { min, max, .. } => (x.exp().ln_1p() / min).ln() / (max / min).ln(),
        }
    }

    /// The probability of an element above `x`.
    #[must_use]
    pub fn above(&self, x: f64) -> f64 {
        let (low, high) = self.support();
        if x < low {
            return 1.0;
        }
        if x >= high {
            return 0.0;
        }
        match self.kind {
            Kind::Normal { mean, std } => 0.5 * libm::erfc((x - mean) / std * FRAC_1_SQRT_2),
            Kind::Uniform { low, high } => (high - x) / (high - low),
            Kind::Truncated {
                mean,
                std,
                lower,
                width,
            } => {
                let d = ((x - mean) / std - lower).clamp(0.0, width);
                let tail = Tail::new(lower, width);
                tail.mass(d, width) / tail.mass(0.0, width)
            }
            Kind::LogUniform { low, high } => -high * (x - high.ln()).exp_m1() / (high - low),
            Kind::TimeStep { min, max, .. } => (max / x.exp().ln_1p()).ln() / (max / min).ln(),
        }
    }

    /// The value that a share `p` of the elements lies below.
    #[must_use]
    pub fn quantile_below(&self, p: f64) -> f64 {
        let (low, high) = self.reach();
        bisect(low, high, |x| self.below(x) < p)
    }

    /// The value that a share `p` of the elements lies above.
    #[must_use]
    pub fn quantile_above(&self, p: f64) -> f64 {
        let (low, high) = self.reach();
        bisect(low, high, |x| self.above(x) > p)
    }

    /// The support, or what is not surely empty of it.
    fn reach(&self) -> (f64, f64) {
        match self.kind {
            // The probability of more is below the smallest binary64.
            Kind::Normal { mean, std } => (mean - 40.0 * std, mean + 40.0 * std),
            _ => self.support(),
        }
    }
}

/// The point of an interval where `before` ends to hold.
fn bisect(mut low: f64, mut high: f64, before: impl Fn(f64) -> bool) -> f64 {
    /// Halvings that leave nothing to halve of any interval that is not around 0.
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
    /// Where offsets are counted from, and in what unit.
    fn origin(&self) -> f64 {
        match *self {
            Kind::Truncated {
                mean,
                std,
                lower,
                width,
            } => mean + std * (lower + Tail::new(lower, width).near),
            _ => 0.0,
        }
    }

    fn unit(&self) -> f64 {
        match *self {
            Kind::Truncated { std, .. } => std,
            _ => 1.0,
        }
    }

    /// The mean of a function of the element's offset.
    fn expect(&self, f: &dyn Fn(f64) -> f64) -> f64 {
        match *self {
            Kind::Truncated { lower, width, .. } => {
                let tail = Tail::new(lower, width);
                let (from, to) = tail.range(0.0, width);
                let weighted = integral(from, to, |d| tail.weight(d) * f(d - tail.near));
                weighted / integral(from, to, |d| tail.weight(d))
            }
            Kind::LogUniform { low, high } => {
                let density = |x: f64| x.exp() / (high - low);
                integral(low.ln(), high.ln(), |x| density(x) * f(x))
            }
            Kind::TimeStep { min, max, floor } => {
                let (from, to) = (min.ln(), max.ln());
                let kink = floor.max(min).ln();
                let value = |v: f64| inverse_softplus(v.exp().max(floor));
                let parts =
                    integral(from, kink, |v| f(value(v))) + integral(kink, to, |v| f(value(v)));
                parts / (to - from)
            }
            // These have their moments in closed form.
            Kind::Normal { .. } | Kind::Uniform { .. } => f64::NAN,
        }
    }
}

/// `ln(e^x - 1)`.
fn inverse_softplus(x: f64) -> f64 {
    x + (-(-x).exp_m1()).ln()
}

/// A normal between bounds, seen from its lower bound, in standard deviations; weights are relative
/// to that of its likeliest point.
struct Tail {
    lower: f64,
    /// The likeliest point's distance from the lower bound.
    near: f64,
}

impl Tail {
    fn new(lower: f64, width: f64) -> Self {
        Tail {
            lower,
            near: (-lower).clamp(0.0, width),
        }
    }

    fn weight(&self, d: f64) -> f64 {
        // x^2 - near^2 as a product: it keeps its digits however far out the bounds are.
        let (a, b) = (d - self.near, 2.0 * self.lower + d + self.near);
        (-0.5 * a * b).exp()
    }

    /// The part of an interval that has all of its weight but e^-60 of it.
    fn range(&self, from: f64, to: f64) -> (f64, f64) {
        let likeliest = self.near.clamp(from, to);
        let slope = (self.lower + likeliest).abs();
        let reach = 11.0f64.min(60.0 / slope.max(1e-300));
        (from.max(likeliest - reach), to.min(likeliest + reach))
    }

    fn mass(&self, from: f64, to: f64) -> f64 {
        if from >= to {
            return 0.0;
        }
        let (from, to) = self.range(from, to);
        integral(from, to, |d| self.weight(d))
    }
}

/// Gauss and Legendre's rule of 5 points, on panels that together make up an interval.
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

    #[test]
    fn far_tails_are_exponential() {
        let law = truncated(1e4, f64::INFINITY);
        assert!(((law.mean() - 1e4) * 1e4 - 1.0).abs() < 1e-6);
        assert!((law.kurtosis() - 9.0).abs() < 1e-5, "{}", law.kurtosis());
    }

    #[test]
    fn probabilities_add_up_and_quantiles_lead_back() {
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
