//! How the elements of tensors are distributed, counted in a second pass over a file.

use std::path::Path;

use rayon::prelude::*;

use super::numbers::Numbers;
use crate::error::{Error, Result};

/// How many elements of a tensor lie in each of many bins of one width.
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
    /// The number of bins: of 20 standard deviations, each is 3e-4 of one wide.
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
                // The upper end belongs to the last bin.
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

    /// The elements that were counted, in bins or outside; NaN is not.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.outside() + self.counts.iter().sum::<u64>()
    }

    /// The elements below the first bin or above the last.
    #[must_use]
    pub fn outside(&self) -> u64 {
        self.below + self.above
    }

    /// About the value that this share of the elements lies below, to a bin.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = share * self.total() as f64 - self.below as f64;
        let width = (self.high - self.low) / Histogram::BINS as f64;
        let mut before = 0.0;
        for (bin, &count) in self.counts.iter().enumerate() {
            let count = count as f64;
            if count > 0.0 && before + count >= wanted {
                let part = ((wanted - before) / count).clamp(0.0, 1.0);
                return self.low + width * (bin as f64 + part);
            }
            before += count;
        }
        self.high
    }

    /// The same in about so many bins: left edge, right edge and density, of which the integral is
    /// the share of the elements in bins.
    #[must_use]
    pub fn bars(&self, count: usize) -> Vec<(f64, f64, f64)> {
        let each = (Histogram::BINS / count.clamp(1, Histogram::BINS)).max(1);
        let width = (self.high - self.low) / Histogram::BINS as f64;
        let total = (self.total() as f64).max(1.0);
        let bars = self.counts.chunks(each).enumerate().map(|(i, counts)| {
            let left = self.low + width * (i * each) as f64;
            let right = left + width * counts.len() as f64;
            let inside = counts.iter().sum::<u64>() as f64;
            (left, right, inside / (total * (right - left)))
        });
        bars.collect()
    }
}

/// Counts the elements of tensors of a file, given by their names and the range of their bins, in
/// one pass. `path` is what [`stats`](super::stats) takes.
///
/// # Errors
///
/// As [`stats`](super::stats), and [`Error::Unknown`] for a tensor that is not in the file or whose
/// numbers are not read, [`Error::Parameter`] for a range that is none.
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
            accepted: "use one of the file whose dtype is f64, f32, f16 or bf16".to_owned(),
        })?;
        if !(range.start < range.end && (range.end - range.start).is_finite()) {
            return Err(Error::Parameter {
                parameter: "low",
                value: range.start,
                accepted: "it must be below the upper end, and both finite",
            }
            .named(name));
        }
        let empty = || Histogram::new(range.start, range.end);
        let mut histogram = empty();
        numbers.read(i, |bytes| {
            // One for each thread, not one for each piece: they are large.
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
            for part in parts.collect::<Vec<_>>() {
                histogram.merge(&part);
            }
        })?;
        all.push(histogram);
    }
    Ok(all)
}
