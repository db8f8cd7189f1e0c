//! Statistics of the weights in a file, in one pass and in bounded memory.

use std::ops::ControlFlow;
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::numbers::{FileArray, Numbers};
use super::write::{Progress, silent};
use crate::error::{Error, Result};
use crate::job::Parts;

/// The count, mean, central moments and extremes of a sample, in binary64.
///
/// Parts of a sample merge by the formulas of Pébay, "Formulas for robust, one-pass parallel
/// computation of covariances and arbitrary-order statistical moments", Sandia report
/// SAND2008-6212, 2008. They avoid differences of large numbers, so a small spread about a large
/// mean keeps its digits.
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
    /// A power of two, in which the mean and the deviations are counted. It is 1 unless they are so
    /// large or so small that their fourth powers are no binary64.
    unit: f64,
    mean: f64,
    /// The sums of the second, third and fourth powers of the deviations from the mean.
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
            unit: 1.0,
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
    /// Computes the moments of these numbers, in two passes over them.
    #[must_use]
    pub fn of(sample: &[f64]) -> Self {
        let n = sample.len() as f64;
        let unit = unit(sample);
        let mean = match sample {
            [] => 0.0,
            _ => sample.iter().map(|x| x / unit).sum::<f64>() / n,
        };
        let mut moments = Moments {
            n: sample.len() as u64,
            unit,
            mean,
            ..Moments::default()
        };
        // A second pass about the mean, because differences of the sums of plain powers would cancel.
        for &x in sample {
            let d = x / unit - mean;
            let d2 = d * d;
            moments.m2 += d2;
            moments.m3 += d2 * d;
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
        let unit = self.unit.max(other.unit);
        let other = &other.counted_in(unit);
        *self = self.counted_in(unit);
        // The counts of a tensor are at most 2^50, which binary64 holds exactly.
        let (a, b) = (self.n as f64, other.n as f64);
        let n = a + b;
        let delta = other.mean - self.mean;
        // Divided by n before it is multiplied, so that no intermediate product overflows.
        let per_n = delta / n;
        // From the fourth power down to the mean: each line takes the lower ones as they were before.
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

    /// Returns the same moments, counted in another unit.
    fn counted_in(&self, unit: f64) -> Moments {
        let ratio = self.unit / unit;
        // The power of a large ratio can be infinite, and its product with 0 would be no number.
        let scaled = |sum: f64, power: i32| match sum {
            0.0 => 0.0,
            _ => sum * ratio.powi(power),
        };
        Moments {
            unit,
            mean: scaled(self.mean, 1),
            m2: scaled(self.m2, 2),
            m3: scaled(self.m3, 3),
            m4: scaled(self.m4, 4),
            ..*self
        }
    }

    /// Returns the means of the powers 1 to 4 of the deviations from a point.
    pub(super) fn about(&self, point: f64) -> [f64; 4] {
        let n = self.n as f64;
        let d = self.mean() - point;
        let Moments { m2, m3, m4, .. } = match self.unit {
            1.0 => *self,
            _ => self.counted_in(1.0),
        };
        let [m2, m3, m4] = [m2 / n, m3 / n, m4 / n];
        // The powers of (x - mean) + d, expanded. The deviations from the mean sum to 0.
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

    /// The mean, or NaN without elements.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.n == 0 {
            f64::NAN
        } else {
            self.mean * self.unit
        }
    }

    /// The standard deviation of the sample itself: divided by n, as in `numpy.std`. NaN without
    /// elements.
    #[must_use]
    pub fn std(&self) -> f64 {
        (self.m2 / self.n as f64).sqrt() * self.unit
    }

    /// Returns the distances of the smallest and the largest element from the mean, in standard
    /// deviations.
    pub(super) fn reach(&self) -> [f64; 2] {
        let std = (self.m2 / self.n as f64).sqrt();
        let [min, max] = [self.min / self.unit, self.max / self.unit];
        [(self.mean - min) / std, (max - self.mean) / std]
    }

    /// The kurtosis, the fourth central moment divided by the squared variance: 3 for a normal
    /// distribution, 1.8 for a uniform one. NaN if all elements are equal.
    #[must_use]
    pub fn kurtosis(&self) -> f64 {
        // The unit cancels: its fourth power is in both products.
        self.n as f64 * self.m4 / (self.m2 * self.m2)
    }

    /// The smallest element, or NaN without elements.
    #[must_use]
    pub fn min(&self) -> f64 {
        if self.n == 0 { f64::NAN } else { self.min }
    }

    /// The largest element, or NaN without elements.
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

/// Returns the unit of a sample, a power of two: 1 where the largest element is between 2^-200 and 2^200
/// or no number, else one by which the elements become such numbers.
fn unit(sample: &[f64]) -> f64 {
    // `f64::max` ignores a NaN, so that one NaN does not decide the unit.
    let largest = sample.iter().fold(0.0, |largest, x| x.abs().max(largest));
    // The exponent of all that binary32 can hold is within these bounds.
    match largest {
        x if x == 0.0 || !x.is_finite() => 1.0,
        // Deviations are then below 2^225, so that 2^50 fourth powers sum to less than 2^1024.
        x if x >= 2f64.powi(600) => 2f64.powi(800),
        x if x >= 2f64.powi(200) => 2f64.powi(400),
        x if x >= 2f64.powi(-200) => 1.0,
        x if x >= 2f64.powi(-600) => 2f64.powi(-400),
        _ => 2f64.powi(-800),
    }
}

/// Returns the smaller or the larger of two numbers, or NaN if one of them is NaN: `f64::min` would
/// hide a NaN in a tensor.
pub(super) fn nan_wins(choose: fn(f64, f64) -> f64, a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        choose(a, b)
    }
}

/// Statistics of one tensor of a file.
///
/// In JSON, a number that is not finite is `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorStats {
    /// The tensor's name. For a .npy file it is the file's name without its ending.
    pub name: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Its dtype in the file, in lower case: `f32`, `bf16`, `i64`, ...
    pub dtype: String,
    /// The number of elements.
    pub n: u64,
    /// The mean. This and all further fields are `None` for whole numbers, and for floats that fanin
    /// does not fill.
    pub mean: Option<f64>,
    /// The standard deviation, divided by n.
    pub std: Option<f64>,
    /// The smallest element.
    pub min: Option<f64>,
    /// The largest element.
    pub max: Option<f64>,
    /// The kurtosis: 3 for a normal distribution, NaN if all elements are equal.
    pub kurtosis: Option<f64>,
    /// The number of elements that are 0.
    pub zeros: Option<u64>,
}

impl TensorStats {
    pub(super) fn new(array: &FileArray, seen: Option<&Seen>) -> Self {
        TensorStats::of(array.name.clone(), array.shape.clone(), array, seen)
    }

    /// Returns the statistics of a tensor of a file, or of a part of it.
    pub(super) fn of(
        name: String,
        shape: Vec<u64>,
        array: &FileArray,
        seen: Option<&Seen>,
    ) -> Self {
        let moments = seen.map(|seen| seen.moments);
        TensorStats {
            name,
            n: shape.iter().product(),
            shape,
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

/// Computes statistics of every tensor of a .npy file, or of the weights that
/// [`Weights::open`](super::Weights::open) finds, in their order.
///
/// Elements are read in pieces of a bounded size. The result does not depend on the number of
/// threads.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io) if a file cannot be read,
/// [`Error::Format`](crate::Error::Format) if it is of another kind or damaged.
pub fn stats(path: impl AsRef<Path>) -> Result<Vec<TensorStats>> {
    let mut numbers = Numbers::open(path.as_ref())?;
    let whole = vec![None; numbers.arrays().len()];
    let seen = read_all(&mut numbers, &whole, &mut silent)?;
    let rows = numbers.arrays().iter().zip(&seen);
    Ok(rows
        .map(|(array, seen)| TensorStats::new(array, seen.as_ref().map(|seen| &seen.all)))
        .collect())
}

/// The results of one pass over a tensor's elements.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    pub moments: Moments,
    /// The number of elements whose significand fits in 10 bits after the point. Numbers that were
    /// rounded to f16 or bf16 before have such significands.
    pub short: u64,
}

impl Seen {
    fn of(sample: &[f64]) -> Self {
        // A binary64 has 52 bits after the point: the lower 42 must be 0.
        let short = |x: &&f64| x.to_bits() << 22 == 0;
        Seen {
            moments: Moments::of(sample),
            short: sample.iter().filter(short).count() as u64,
        }
    }

    fn merge(&mut self, other: &Seen) {
        self.moments.merge(&other.moments);
        self.short += other.short;
    }
}

/// The results of one pass over a tensor's elements, and over those of each owner.
#[derive(Clone, Default)]
pub(super) struct SeenTensor {
    pub all: Seen,
    /// The results for the tensor's own initializer and for each part that has one. It is empty for a
    /// tensor without such parts.
    pub owners: Vec<Seen>,
}

/// Reads all tensors whose numbers can be decoded, in the order of their bytes. `parts` has the owners
/// of the elements of each tensor whose parts have initializers of their own. `progress` gets the bytes
/// that are read.
pub(super) fn read_all(
    numbers: &mut Numbers,
    parts: &[Option<Parts>],
    progress: &mut Progress<'_>,
) -> Result<Vec<Option<SeenTensor>>> {
    let mut seen = vec![None; numbers.arrays().len()];
    for i in numbers.front_to_back() {
        if let Some(decoder) = numbers.arrays()[i].decoder {
            let mut all = SeenTensor::default();
            let mut start = 0;
            numbers.read(i, |bytes| {
                // READ_BYTES is a multiple of CHUNK_BYTES, so chunks do not
                // depend on the pieces that are read.
                let elements = CHUNK_BYTES / decoder.size;
                let chunks: Vec<SeenTensor> = bytes
                    .par_chunks(elements * decoder.size)
                    .enumerate()
                    .map(|(chunk, bytes)| {
                        let mut sample = Vec::with_capacity(elements);
                        (decoder.decode)(bytes, &mut sample);
                        SeenTensor {
                            owners: parts[i].as_ref().map_or_else(Vec::new, |parts| {
                                by_owner(parts, start + (chunk * elements) as u64, &sample)
                            }),
                            all: Seen::of(&sample),
                        }
                    })
                    .collect();
                // In the order of the file, because a sum of rounded numbers depends on its order.
                for chunk in &chunks {
                    all.all.merge(&chunk.all);
                    all.owners.resize(chunk.owners.len(), Seen::default());
                    for (all, seen) in all.owners.iter_mut().zip(&chunk.owners) {
                        all.merge(seen);
                    }
                }
                start += (bytes.len() / decoder.size) as u64;
                match progress(bytes.len() as u64) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(Error::Interrupted),
                }
            })?;
            seen[i] = Some(all);
        }
    }
    Ok(seen)
}

/// Returns the results for each owner of the elements from position `start` on.
fn by_owner(parts: &Parts, start: u64, sample: &[f64]) -> Vec<Seen> {
    let mut samples = vec![Vec::new(); parts.count()];
    let mut rest = sample;
    for piece in parts.pieces(start..start + sample.len() as u64) {
        let (numbers, after) = rest.split_at(piece.length as usize);
        samples[piece.owner].extend_from_slice(numbers);
        rest = after;
    }
    samples.iter().map(|sample| Seen::of(sample)).collect()
}

/// The bytes whose moments one task computes. They are then merged in the file's order, so that the
/// result does not depend on the threads.
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
    fn the_largest_and_the_smallest_numbers_have_moments() {
        for unit in [1e308, -1e300, 1e200, 1e100, 1e-100, 1e-200, 1e-300, 1e-308] {
            let numbers: Vec<f64> = sample(10_000).iter().map(|x| x * unit).collect();
            let mut moments = Moments::default();
            for part in numbers.chunks(777) {
                moments.merge(&Moments::of(part));
            }
            let whole = Moments::of(&sample(10_000));
            let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-6;
            assert!(
                near(moments.std(), whole.std() * unit.abs()),
                "{unit:e}: {moments:?}"
            );
            assert!(
                near(moments.mean(), whole.mean() * unit),
                "{unit:e}: {moments:?}"
            );
            assert!(
                near(moments.kurtosis(), whole.kurtosis()),
                "{unit:e}: {moments:?}"
            );
            let [below, above] = moments.reach();
            assert!(below.max(above) < 1.8, "{unit:e}: {moments:?}");
        }
        // A power of two, so that the mean is exact.
        let x = f64::powi(2.0, 700);
        assert_eq!(Moments::of(&[x; 10]).about(x), [0.0; 4]);
        // Numbers of all sizes together: the largest decide.
        let mut moments = Moments::of(&[1.0, 2.0]);
        moments.merge(&Moments::of(&[1e308, -1e308]));
        moments.merge(&Moments::of(&[1e-308; 4]));
        assert_eq!(moments.std(), 0.5 * 1e308);
        assert_eq!(moments.kurtosis(), 4.0);
    }

    #[test]
    fn nan_is_not_hidden() {
        let mut moments = Moments::of(&[1.0, 2.0]);
        moments.merge(&Moments::of(&[3.0, f64::NAN, 4.0]));
        assert!(moments.mean().is_nan() && moments.min().is_nan() && moments.max().is_nan());
        let nothing = Moments::default();
        assert!(nothing.mean().is_nan() && nothing.std().is_nan() && nothing.min().is_nan());
    }
}
