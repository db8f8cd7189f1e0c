//! Statistics of the weights in a file, in one pass and bounded memory.

use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::numbers::{FileArray, Numbers};
use crate::error::Result;

/// Count, mean, central moments and extremes of a sample, in binary64.
///
/// Two halves of a sample merge into the whole by the formulas of Pébay, "Formulas for robust,
/// one-pass parallel computation of covariances and arbitrary-order statistical moments",
/// Sandia report SAND2008-6212, 2008: nothing is subtracted that is much larger than what is
/// left, so that a small spread about a large mean keeps its digits.
///
/// ```
/// use fanin::checkpoint::Moments;
///
/// let mut moments = Moments::of(&[1e9, 1e9 + 1.0]);
/// moments.merge(&Moments::of(&[1e9 + 2.0]));
/// assert_eq!(moments.mean(), 1e9 + 1.0);
/// assert_eq!(moments.std(), (2.0f64 / 3.0).sqrt());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    n: u64,
    mean: f64,
    /// Sums of the second, third and fourth powers of the deviations from the mean.
    m2: f64,
    m3: f64,
    m4: f64,
    min: f64,
    max: f64,
    zeros: u64,
}

impl Default for Moments {
    fn default() -> Self {
        Moments {
            n: 0,
            mean: 0.0,
            m2: 0.0,
            m3: 0.0,
            m4: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            zeros: 0,
        }
    }
}

impl Moments {
    /// The moments of these numbers, by two passes over them.
    #[must_use]
    pub fn of(sample: &[f64]) -> Self {
        let n = sample.len() as f64;
        let mean = match sample {
            [] => 0.0,
            _ => sample.iter().sum::<f64>() / n,
        };
        let mut moments = Moments {
            n: sample.len() as u64,
            mean,
            ..Moments::default()
        };
        for &x in sample {
            let d2 = (x - mean) * (x - mean);
            moments.m2 += d2;
            moments.m3 += d2 * (x - mean);
            moments.m4 += d2 * d2;
            moments.min = nan_wins(f64::min, moments.min, x);
            moments.max = nan_wins(f64::max, moments.max, x);
            moments.zeros += u64::from(x == 0.0);
        }
        moments
    }

    /// Adds another sample to this one.
    pub fn merge(&mut self, other: &Moments) {
        if other.n == 0 {
            return;
        }
        if self.n == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.n as f64, other.n as f64);
        let n = a + b;
        let delta = other.mean - self.mean;
        let per_n = delta / n;
        self.m4 += other.m4
            + delta * per_n * per_n * per_n * a * b * (a * a - a * b + b * b)
            + 6.0 * per_n * per_n * (a * a * other.m2 + b * b * self.m2)
            + 4.0 * per_n * (a * other.m3 - b * self.m3);
        self.m3 += other.m3
            + delta * per_n * per_n * a * b * (a - b)
            + 3.0 * per_n * (a * other.m2 - b * self.m2);
        self.m2 += other.m2 + delta * per_n * a * b;
        self.mean += per_n * b;
        self.n += other.n;
        self.min = nan_wins(f64::min, self.min, other.min);
        self.max = nan_wins(f64::max, self.max, other.max);
        self.zeros += other.zeros;
    }

    /// The means of the powers 1 to 4 of the deviations from a point.
    pub(super) fn about(&self, point: f64) -> [f64; 4] {
        let n = self.n as f64;
        let d = self.mean() - point;
        let [m2, m3, m4] = [self.m2 / n, self.m3 / n, self.m4 / n];
        [
            d,
            m2 + d * d,
            m3 + 3.0 * d * m2 + d * d * d,
            m4 + 4.0 * d * m3 + 6.0 * d * d * m2 + d * d * d * d,
        ]
    }

    /// The number of elements.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The mean; NaN of nothing.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.n == 0 { f64::NAN } else { self.mean }
    }

    /// The standard deviation of the sample itself: divided by n, as `numpy.std`. NaN of
    /// nothing.
    #[must_use]
    pub fn std(&self) -> f64 {
        (self.m2 / self.n as f64).sqrt()
    }

    /// The fourth central moment over the squared variance: 3 for a normal distribution, 1.8
    /// for a uniform one. NaN where all elements are equal.
    #[must_use]
    pub fn kurtosis(&self) -> f64 {
        self.n as f64 * self.m4 / (self.m2 * self.m2)
    }

    /// The smallest element; NaN of nothing.
    #[must_use]
    pub fn min(&self) -> f64 {
        if self.n == 0 { f64::NAN } else { self.min }
    }

    /// The largest element; NaN of nothing.
    #[must_use]
    pub fn max(&self) -> f64 {
        if self.n == 0 { f64::NAN } else { self.max }
    }

    /// The number of elements that are 0, of either sign.
    #[must_use]
    pub fn zeros(&self) -> u64 {
        self.zeros
    }
}

/// The least or greatest of two, NaN if one of them is: what is wrong in a tensor must show.
pub(super) fn nan_wins(choose: fn(f64, f64) -> f64, a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        choose(a, b)
    }
}

/// Statistics of one tensor of a file.
///
/// In JSON, what is not a finite number is `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorStats {
    /// The tensor's name; for a .npy file, the file's without its ending.
    pub name: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Its dtype, as the file has it, in lower case: `f32`, `bf16`, `i64`, ...
    pub dtype: String,
    /// The number of elements.
    pub n: u64,
    /// The mean. This and what follows is `None` for a dtype other than f64, f32, f16, bf16.
    pub mean: Option<f64>,
    /// The standard deviation, divided by n.
    pub std: Option<f64>,
    /// The smallest element.
    pub min: Option<f64>,
    /// The largest element.
    pub max: Option<f64>,
    /// The kurtosis, 3 for a normal distribution; NaN where all elements are equal.
    pub kurtosis: Option<f64>,
    /// The number of elements that are 0.
    pub zeros: Option<u64>,
}

impl TensorStats {
    pub(super) fn new(array: &FileArray, seen: Option<&Seen>) -> Self {
        let moments = seen.map(|seen| seen.moments);
        TensorStats {
            name: array.name.clone(),
            n: array.shape.iter().product(),
            shape: array.shape.clone(),
            dtype: array.dtype.clone(),
            mean: moments.map(|m| m.mean()),
            std: moments.map(|m| m.std()),
            min: moments.map(|m| m.min()),
            max: moments.map(|m| m.max()),
            kurtosis: moments.map(|m| m.kurtosis()),
            zeros: moments.map(|m| m.zeros()),
        }
    }
}

/// Statistics of every tensor of a .npy file or of whatever
/// [`Weights::open`](super::Weights::open) takes, in its order.
///
/// Elements are read in pieces of a bounded size; the result does not depend on the number of
/// threads.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io) where a file cannot be read,
/// [`Error::Format`](crate::Error::Format) where it is of another kind
/// or not sound.
pub fn stats(path: impl AsRef<Path>) -> Result<Vec<TensorStats>> {
    let mut numbers = Numbers::open(path.as_ref())?;
    let seen = read_all(&mut numbers)?;
    let rows = numbers.arrays().iter().zip(&seen);
    Ok(rows
        .map(|(array, seen)| TensorStats::new(array, seen.as_ref()))
        .collect())
}

/// What one pass over a tensor's elements finds.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    pub moments: Moments,
    /// The elements that a float of 10 bits after the point holds too, and so f16 (but for its
    /// range) and bf16.
    pub short: u64,
}

/// Reads all tensors whose numbers can be read, from the file's front to its back.
pub(super) fn read_all(numbers: &mut Numbers) -> Result<Vec<Option<Seen>>> {
    let mut seen = vec![None; numbers.arrays().len()];
    for i in numbers.front_to_back() {
        if let Some(decoder) = numbers.arrays()[i].decoder {
            let mut all = Seen::default();
            numbers.read(i, |bytes| {
                let chunks: Vec<Seen> = bytes
                    .par_chunks(CHUNK_BYTES)
                    .map(|chunk| {
                        let mut sample = Vec::with_capacity(chunk.len() / decoder.size);
                        (decoder.decode)(chunk, &mut sample);
                        let short = |x: &&f64| x.to_bits() << 22 == 0;
                        Seen {
                            moments: Moments::of(&sample),
                            short: sample.iter().filter(short).count() as u64,
                        }
                    })
                    .collect();
                for chunk in &chunks {
                    all.moments.merge(&chunk.moments);
                    all.short += chunk.short;
                }
            })?;
            seen[i] = Some(all);
        }
    }
    Ok(seen)
}

/// Bytes whose moments are computed at a time, then merged in the file's order.
const CHUNK_BYTES: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers on [-1, 1], without a pattern that the chunks could share.
    fn sample(n: u32) -> Vec<f64> {
        (0..n)
            .map(|i| f64::from(i.wrapping_mul(2_654_435_769)) / f64::from(u32::MAX) * 2.0 - 1.0)
            .collect()
    }

    #[test]
    fn merged_parts_are_the_whole() {
        let numbers: Vec<f64> = sample(10_000).iter().map(|x| 1e6 + x * x * x).collect();
        let whole = Moments::of(&numbers);
        let mut merged = Moments::default();
        for part in numbers.chunks(777) {
            merged.merge(&Moments::of(part));
        }
        let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
        assert!(near(merged.mean(), whole.mean()));
        assert!(near(merged.std(), whole.std()));
        assert!(near(merged.kurtosis(), whole.kurtosis()));
        assert_eq!((merged.min(), merged.max()), (whole.min(), whole.max()));
        assert_eq!(merged.n(), 10_000);
    }

    #[test]
    fn uniform_numbers_have_kurtosis_1_8() {
        let moments = Moments::of(&sample(1 << 16));
        assert!((moments.std() - 1.0 / 3f64.sqrt()).abs() < 1e-4);
        assert!((moments.kurtosis() - 1.8).abs() < 1e-3);
    }

    #[test]
    fn equal_numbers_have_no_spread_at_all() {
        let mut moments = Moments::default();
        for _ in 0..5 {
            moments.merge(&Moments::of(&[f64::from(0.1f32); 1000]));
        }
        assert_eq!(moments.mean(), f64::from(0.1f32));
        assert_eq!(moments.std(), 0.0);
        assert!(moments.kurtosis().is_nan());
    }

    #[test]
    fn nan_shows() {
        let mut moments = Moments::of(&[1.0, 2.0]);
        moments.merge(&Moments::of(&[3.0, f64::NAN, 4.0]));
        assert!(moments.mean().is_nan() && moments.min().is_nan() && moments.max().is_nan());
        let nothing = Moments::default();
        assert!(nothing.mean().is_nan() && nothing.std().is_nan() && nothing.min().is_nan());
    }
}
