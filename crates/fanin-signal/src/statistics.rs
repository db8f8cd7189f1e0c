//! Statistics of a layer, and their trend over all layers.

use std::fmt;

use serde::Serialize;

/// The largest change of the variance, as a factor between the first layer and the last, of a
/// signal that neither vanishes nor explodes.
///
/// A sound initialization does not exceed it by chance. In 50 ReLU layers of 256 neurons, He's
/// initialization moves the logarithm of the mean square with a standard deviation of about 1
/// (`sqrt(5 * 50 / 256)`), so by a factor of 1000 with a probability of about 1e-9.
const LIMIT: f64 = 1000.0;

/// Mean, mean square and variance of numbers, in binary64.
///
/// If a number has overflowed, mean square and variance are infinite and the mean is NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Level {
    /// The mean.
    pub mean: f64,
    /// The mean of the squares.
    pub mean_square: f64,
    /// The mean square of the deviations from the mean.
    pub variance: f64,
}

impl Level {
    /// Returns the statistics of the numbers, of which there must be at least one.
    pub(super) fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = mean(values.iter().copied());
        let mean_square = values.iter().map(|x| x * x).sum::<f64>() / n;
        if !(mean.is_finite() && mean_square.is_finite()) {
            return Level {
                mean: f64::NAN,
                mean_square: f64::INFINITY,
                variance: f64::INFINITY,
            };
        }
        let deviations = values.iter().map(|x| (x - mean) * (x - mean));
        Level {
            mean,
            mean_square,
            variance: deviations.sum::<f64>() / n,
        }
    }
}

/// Returns the mean, computed from differences to the first number. So the mean of equal numbers
/// is exactly that number, and their variance is exactly 0.
fn mean(mut values: impl Iterator<Item = f64>) -> f64 {
    let Some(first) = values.next() else {
        return f64::NAN;
    };
    let (n, sum) = values.fold((1.0, 0.0), |(n, sum), x| (n + 1.0, sum + (x - first)));
    first + sum / n
}

/// Returns the variance over inputs, averaged over neurons, divided by the variance over both.
/// `values` holds one input after the other, `width` numbers each.
pub(super) fn across_inputs(values: &[f64], width: usize) -> f64 {
    let within = (0..width).map(|neuron| {
        let of_neuron = || values.iter().skip(neuron).step_by(width).copied();
        let mean = mean(of_neuron());
        of_neuron().map(|x| (x - mean) * (x - mean)).sum::<f64>()
    });
    within.sum::<f64>() / values.len() as f64 / Level::of(values).variance
}

/// The change of a variance from one end of the network to the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// The variance in the first layer that the signal passes.
    pub first: f64,
    /// The variance in the last layer that the signal passes.
    pub last: f64,
    /// The geometric mean of the factors by which layers multiply the variance:
    /// `(last / first)^(1 / (depth - 1))`. `None` if a variance is 0 or has overflowed.
    pub factor: Option<f64>,
    /// The classification of the change.
    pub verdict: Verdict,
}

/// The fate of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// The variance in the last layer is exactly 0.
    Dead,
    /// The variance falls by a factor of more than 1000.
    Vanishes,
    /// The variance changes by a factor of at most 1000.
    Keeps,
    /// The variance grows by a factor of more than 1000, or overflows binary64.
    Explodes,
}

impl Trend {
    /// Returns the trend of the layers' variances, of which there must be at least one, in the
    /// order in which the signal passes the layers.
    pub(super) fn of(mut variances: impl Iterator<Item = f64>) -> Self {
        let first = variances.next().unwrap_or(f64::NAN);
        let (steps, last) = variances.fold((0.0, first), |(steps, _), v| (steps + 1.0, v));
        let growth = last / first;
        let known = [first, last].iter().all(|v| v.is_finite() && *v > 0.0);
        Trend {
            first,
            last,
            factor: known.then(|| libm::exp((libm::log(last) - libm::log(first)) / steps)),
            verdict: match growth {
                // First, because 0 / 0 is NaN.
                _ if last == 0.0 => Verdict::Dead,
                growth if growth < 1.0 / LIMIT => Verdict::Vanishes,
                growth if growth <= LIMIT => Verdict::Keeps,
                _ => Verdict::Explodes,
            },
        }
    }
}

impl Verdict {
    /// Returns the verdict as text: `dead`, `vanishes`, `keeps` or `explodes`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Dead => "dead",
            Verdict::Vanishes => "vanishes",
            Verdict::Keeps => "keeps",
            Verdict::Explodes => "explodes",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_have_no_variance() {
        // The sum of 0.1 ten times is not 1.
        let level = Level::of(&[0.1; 10]);
        assert_eq!((level.mean, level.variance), (0.1, 0.0));
    }

    #[test]
    fn levels_and_shares() {
        // Two inputs to two neurons, whose means are 2 and 3.
        let values = [1.0, 2.0, 3.0, 4.0];
        let level = Level::of(&values);
        assert_eq!(
            (level.mean, level.mean_square, level.variance),
            (2.5, 7.5, 1.25)
        );
        assert_eq!(across_inputs(&values, 2), 1.0 / 1.25);
    }

    #[test]
    fn overflow_gives_an_infinite_variance() {
        for values in [[1e200, 1.0], [f64::INFINITY, 0.0], [f64::NAN, 0.0]] {
            let level = Level::of(&values);
            assert_eq!(level.variance, f64::INFINITY);
            assert!(level.mean.is_nan());
        }
    }

    #[test]
    fn verdicts() {
        for (variances, factor, verdict) in [
            ([1.0, 0.1, 0.01], Some(0.1), Verdict::Keeps),
            ([4.0, 2.0, 1.0], Some(0.5), Verdict::Keeps),
            (
                [1.0, 1.0, 1.1e-3],
                Some(0.033_166_247_903_554),
                Verdict::Keeps,
            ),
            ([1.0, 1.0, 0.9e-3], Some(0.03), Verdict::Vanishes),
            ([1.0, 1.0, 900.0], Some(30.0), Verdict::Keeps),
            ([1.0, 1.0, 1600.0], Some(40.0), Verdict::Explodes),
            ([1.0, 0.0, 0.0], None, Verdict::Dead),
            ([0.0, 0.0, 0.0], None, Verdict::Dead),
            ([1.0, f64::INFINITY, f64::INFINITY], None, Verdict::Explodes),
            ([f64::INFINITY; 3], None, Verdict::Explodes),
        ] {
            let trend = Trend::of(variances.into_iter());
            assert_eq!(trend.verdict, verdict, "{variances:?}");
            match (trend.factor, factor) {
                (Some(got), Some(wanted)) => assert!((got / wanted - 1.0).abs() < 1e-12),
                (got, wanted) => assert_eq!(got, wanted),
            }
        }
    }
}
