//! Probabilities that are precise in both tails, for quantile charts.

use fanin::init::Law;

/// A probability, stored as that of the smaller tail, so that it is precise in both tails.
#[derive(Clone, Copy)]
pub struct Probability {
    tail: f64,
    upper: bool,
}

impl Probability {
    /// Returns the probability below the point.
    pub fn value(self) -> f64 {
        if self.upper {
            1.0 - self.tail
        } else {
            self.tail
        }
    }

    /// Returns the interval, as probabilities, that holds this quantile in 99 of 100 samples of n
    /// draws. The number of draws below a point is binomial. By Chernoff's bound, a larger
    /// deviation has a probability below exp(-n times the relative entropy).
    pub fn band(self, n: f64) -> (Probability, Probability) {
        let needed = (2.0f64 / 0.01).ln() / n;
        let p = self.tail;
        let entropy = |q: f64| {
            let part = |a: f64, b: f64| if a <= 0.0 { 0.0 } else { a * (a / b).ln() };
            part(p, q) + part(1.0 - p, 1.0 - q)
        };
        let edge = |end: f64| {
            let (mut near, mut far) = (p, end);
            for _ in 0..60 {
                // A geometric mean towards 0, where probabilities span many magnitudes.
                let middle = if end < p {
                    (near * far.max(1e-300)).sqrt()
                } else {
                    0.5 * (near + far)
                };
                if entropy(middle) < needed {
                    near = middle;
                } else {
                    far = middle;
                }
            }
            far
        };
        let probability = |tail: f64| match tail <= 0.5 {
            true => Probability {
                tail,
                upper: self.upper,
            },
            false => Probability {
                tail: 1.0 - tail,
                upper: !self.upper,
            },
        };
        let (less, more) = (probability(edge(0.0)), probability(edge(1.0)));
        if self.upper {
            (more, less)
        } else {
            (less, more)
        }
    }
}

/// Returns the law's quantile of a probability.
pub fn quantile(law: &Law, probability: Probability) -> f64 {
    match probability.upper {
        true => law.quantile_above(probability.tail),
        false => law.quantile_below(probability.tail),
    }
}

/// Returns probabilities whose normal quantiles are evenly spaced, from the smallest of n draws to
/// the largest.
pub fn spaced(n: u64) -> Vec<Probability> {
    const HALF: i32 = 40;
    let normal = Law::normal(0.0, 1.0);
    let farthest = normal.quantile_above((0.5 / n as f64).min(0.4));
    let steps = (-HALF..=HALF).map(|i| {
        let z = farthest * f64::from(i) / f64::from(HALF);
        Probability {
            tail: normal.above(z.abs()),
            upper: i > 0,
        }
    });
    steps.collect()
}
