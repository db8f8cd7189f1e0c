//! What is said about a layer, and about all of them.

use std::fmt;

use serde::Serialize;

/// A signal whose variance changes by more than this factor between the first layer and the last
/// vanishes, or explodes.
///
/// Chance alone does not do that to a start that is right: at 50 ReLU layers of 256 neurons, He's
/// start moves the logarithm of the mean square by a standard deviation of about 1 (`sqrt(5 * 50 /
/// 256)`), so by a factor of 1000 with a probability of some 1e-9.
const LIMIT: f64 = 1000.0;

/// Mean, mean square and variance of numbers, in binary64.
///
/// Where a number has overflowed, mean square and variance are infinite and the mean is not a
/// number: nothing more is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Level {
    /// The mean.
    pub mean: f64,
    /// The mean of the squares.
    pub mean_square: f64,
    /// The mean square of what differs from the mean.
    pub variance: f64,
}

impl Level {
    /// Of these numbers, of which there is one at least.
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

/// The mean, taken of the differences from the first number: the mean of equal numbers is that
/// number to the bit, and their variance exactly 0.
fn mean(mut values: impl Iterator<Item = f64>) -> f64 {
    let Some(first) = values.next() else {
        return f64::NAN;
    };
    let (n, sum) = values.fold((1.0, 0.0), |(n, sum), x| (n + 1.0, sum + (x - first)));
    first + sum / n
}

/// The variance over inputs, averaged over neurons, as a share of the variance over both; `values`
/// is input after input, each of `width` numbers.
pub(super) fn across_inputs(values: &[f64], width: usize) -> f64 {
    let within = (0..width).map(|neuron| {
        let own = || values.iter().skip(neuron).step_by(width).copied();
        let mean = mean(own());
        own().map(|x| (x - mean) * (x - mean)).sum::<f64>()
    });
    within.sum::<f64>() / values.len() as f64 / Level::of(values).variance
}

/// How a variance goes from one end of the network to the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// The variance in the layer that the signal comes through first.
    pub first: f64,
    /// The variance in the layer that it comes through last.
    pub last: f64,
    /// What a layer multiplies the variance by, as a geometric mean: `(last / first)^(1 / (depth -
    /// 1))`. `None` where there is none: one of both is 0, or has overflowed.
    pub factor: Option<f64>,
    /// What that comes to.
    pub verdict: Verdict,
}

/// What becomes of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// The variance at the end is exactly 0: nothing arrives.
    Dead,
    /// It has fallen by a factor of more than 1000.
    Vanishes,
    /// It has changed by a factor of at most 1000.
    Keeps,
    /// It has grown by a factor of more than 1000, or overflowed binary64.
    Explodes,
}

impl Trend {
    /// Of a variance a layer, in the order that the signal takes; there is one at least.
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
                // Also where the first is 0.
                _ if last == 0.0 => Verdict::Dead,
                growth if growth < 1.0 / LIMIT => Verdict::Vanishes,
                growth if growth <= LIMIT => Verdict::Keeps,
                _ => Verdict::Explodes,
            },
        }
    }
}

impl Verdict {
    /// The word, as it is shown.
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
        // Two inputs of two neurons; the neurons' means are 2 and 3.
        let values = [1.0, 2.0, 3.0, 4.0];
        let level = Level::of(&values);
        assert_eq!(
            (level.mean, level.mean_square, level.variance),
            (2.5, 7.5, 1.25)
        );
        assert_eq!(across_inputs(&values, 2), 1.0 / 1.25);
    }

    #[test]
    fn what_overflows_is_infinite() {
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
