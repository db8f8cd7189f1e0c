//! Histograms of tensors, counted in a second pass over a file.

use std::path::Path;

use rayon::prelude::*;

use super::numbers::Numbers;
use crate::error::{Error, Result};

/// The counts of a tensor's elements in many bins of equal width.
///
/// ```
/// use fanin::{Fill, Init, Tensor, checkpoint};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("w.safetensors");
/// let fills = [Fill::new(&Tensor::new("w", [100, 100])?, &Init::uniform(0.0, 1.0), 1)?];
/// let contents = checkpoint::Contents::safetensors(&fills, &[])?;
/// checkpoint::save(&path, &contents, &mut fanin::cpu::fill_range, &mut checkpoint::silent)?;
///
/// let all = checkpoint::histograms(&path, &[("w", 0.0..1.0)])?;
/// assert_eq!(all[0].total(), 10_000);
/// assert!((all[0].quantile(0.25) - 0.25).abs() < 0.02);
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    low: f64,
    high: f64,
    counts: Vec<u64>,
    below: u64,
    above: u64,
}

impl Histogram {
    /// The number of bins. If they cover 20 standard deviations, each is 3e-4 of one wide.
    pub const BINS: usize = 1 << 16;

    fn new(low: f64, high: f64) -> Self {
        Histogram {
            low,
            high,
            counts: vec![0; Histogram::BINS],
            below: 0,
            above: 0,
        }
    }

    fn add(&mut self, sample: &[f64]) {
        let scale = Histogram::BINS as f64 / (self.high - self.low);
        for &x in sample {
            if x < self.low {
                self.below += 1;
            } else if x > self.high {
                self.above += 1;
            } else if !x.is_nan() {
                // The upper end of the range belongs to the last bin.
                let bin = ((x - self.low) * scale) as usize;
                self.counts[bin.min(Histogram::BINS - 1)] += 1;
            }
        }
    }

    fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.below += other.below;
        self.above += other.above;
    }

    /// The number of elements in bins or outside of them. NaN is not counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.outside() + self.counts.iter().sum::<u64>()
    }

    /// The number of elements below the first bin or above the last.
    #[must_use]
    pub fn outside(&self) -> u64 {
        self.below + self.above
    }

    /// Returns the value that this share of the elements lies below, with the precision of a bin.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = share * self.total() as f64 - self.below as f64;
        let width = (self.high - self.low) / Histogram::BINS as f64;
        let mut before = 0.0;
        for (bin, &count) in self.counts.iter().enumerate() {
            let count = count as f64;
            if count > 0.0 && before + count >= wanted {
                // Elements are taken to lie evenly within a bin. A share below
                // all bins gives the lowest edge.
                let part = ((wanted - before) / count).clamp(0.0, 1.0);
                return self.low + width * (bin as f64 + part);
            }
            before += count;
        }
        self.high
    }

    /// Returns `count` wider bins: left edge, right edge and density. The integral of the density is
    /// the share of the elements that lie in bins. Their widths differ by one bin at most. `count`
    /// is clamped to 1 to [`BINS`](Histogram::BINS).
    #[must_use]
    pub fn bars(&self, count: usize) -> Vec<(f64, f64, f64)> {
        let count = count.clamp(1, Histogram::BINS);
        let width = (self.high - self.low) / Histogram::BINS as f64;
        let total = (self.total() as f64).max(1.0);
        let edge = |i: usize| i * Histogram::BINS / count;
        let bars = (0..count).map(|i| {
            let (first, end) = (edge(i), edge(i + 1));
            let (left, right) = (
                self.low + width * first as f64,
                self.low + width * end as f64,
            );
            let inside = self.counts[first..end].iter().sum::<u64>() as f64;
            (left, right, inside / (total * (right - left)))
        });
        bars.collect()
    }
}

/// Counts the elements of tensors of a file in one pass. Each tensor is given by its name and the
/// range of its bins. `path` leads to a file as for [`stats`](super::stats).
///
/// # Errors
///
/// As [`stats`](super::stats), [`Error::Unknown`] for a tensor that is not in the file or has a
/// dtype other than f64, f32, f16, bf16, f8_e4m3 and f8_e5m2, and [`Error::Parameter`] for a range that is empty or
/// not finite.
pub fn histograms(
    path: impl AsRef<Path>,
    wanted: &[(&str, std::ops::Range<f64>)],
) -> Result<Vec<Histogram>> {
    let mut numbers = Numbers::open(path.as_ref())?;
    let mut all = Vec::with_capacity(wanted.len());
    for (name, range) in wanted {
        let found = numbers
            .arrays()
            .iter()
            .position(|array| array.name == *name);
        let found = found.and_then(|i| Some((i, numbers.arrays()[i].decoder?)));
        let (i, decoder) = found.ok_or_else(|| Error::Unknown {
            kind: "tensor",
            value: (*name).to_owned(),
            accepted: "use one of the file whose dtype is f64, f32, f16, bf16, f8_e4m3 or f8_e5m2"
                .to_owned(),
        })?;
        if !(range.start < range.end && (range.end - range.start).is_finite()) {
            return Err(Error::parameter(
                "low",
                range.start,
                "it must be below the upper end, and both finite",
            )
            .named(name));
        }
        let empty = || Histogram::new(range.start, range.end);
        let mut histogram = empty();
        numbers.read(i, |bytes| {
            // One histogram for each thread, not for each chunk, because they take 512 KiB.
            let share = bytes.len() / decoder.size / rayon::current_num_threads() + 1;
            let parts = bytes.par_chunks(decoder.size * share).map(|part| {
                let mut counted = empty();
                let mut sample = Vec::new();
                for chunk in part.chunks(decoder.size << 13) {
                    sample.clear();
                    (decoder.decode)(chunk, &mut sample);
                    counted.add(&sample);
                }
                counted
            });
            // Counts are integers, so the result does not depend on the number of threads.
            for part in parts.collect::<Vec<_>>() {
                histogram.merge(&part);
            }
            Ok(())
        })?;
        all.push(histogram);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_equally_wide_and_none_is_left_over() {
        let mut histogram = Histogram::new(-0.5, 0.5);
        let sample: Vec<f64> = (0..256).map(|i| f64::from(i) / 255.0 - 0.5).collect();
        histogram.add(&sample);
        for count in [1, 2, 7, 12, 64, 100, 999, Histogram::BINS] {
            let bars = histogram.bars(count);
            assert_eq!(bars.len(), count);
            assert_eq!((bars[0].0, bars[count - 1].1), (-0.5, 0.5));
            let bin = 1.0 / Histogram::BINS as f64;
            let mut mass = 0.0;
            for (i, (left, right, density)) in bars.iter().enumerate() {
                assert!(
                    right - left < 1.0 / count as f64 + bin,
                    "bar {i} of {count}"
                );
                mass += density * (right - left);
                // Evenly spread numbers: at most one more than their share in each bar.
                let most = 1.0 + 2.0 * count as f64 / 256.0;
                assert!(*density <= most, "{density} in bar {i} of {count}");
            }
            assert!((mass - 1.0).abs() < 1e-12);
        }
    }
}
