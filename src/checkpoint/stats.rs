//! Statistics of the weights in a file, in one pass and bounded memory.

use std::io::Read;
use std::path::Path;

use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;
use serde::Serialize;

use super::npy;
use super::source::fault;
use super::weights::{Reader, Weights};
use crate::error::{Error, Result, shown};

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
    fn new(name: String, shape: Vec<u64>, dtype: String, moments: Option<Moments>) -> Self {
        TensorStats {
            name,
            n: shape.iter().product(),
            shape,
            dtype,
            mean: moments.map(|m| m.mean()),
            std: moments.map(|m| m.std()),
            min: moments.map(|m| m.min()),
            max: moments.map(|m| m.max()),
            kurtosis: moments.map(|m| m.kurtosis()),
            zeros: moments.map(|m| m.zeros()),
        }
    }
}

/// Statistics of every tensor of a .npy file or of whatever [`Weights::open`] takes, in its
/// order.
///
/// Elements are read in pieces of a bounded size; the result does not depend on the number of
/// threads.
///
/// # Errors
///
/// [`Error::Io`] where a file cannot be read, [`Error::Format`] where it is of another kind
/// or not sound.
pub fn stats(path: impl AsRef<Path>) -> Result<Vec<TensorStats>> {
    let path = path.as_ref();
    let weights = match path.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => return Ok(vec![npy_stats(path)?]),
        Some("safetensors" | "json") => Weights::open(path)?,
        _ if path.is_dir() => Weights::open(path)?,
        _ => {
            return Err(fault(
                path,
                None,
                "is of no kind that is read: use .safetensors or .npy, a \
                 model.safetensors.index.json, or a folder that holds one",
            ));
        }
    };
    let tensors = weights.tensors();
    let mut reader = Reader::new();
    let mut moments = vec![None; tensors.len()];
    for i in weights.front_to_back() {
        let tensor = &tensors[i];
        if let Some(decoder) = decoder(tensor.kind()) {
            let bytes = tensor.bytes().end - tensor.bytes().start;
            let read = |offset, out: &mut [u8]| reader.read(tensor, offset, out);
            moments[i] = Some(read_moments(bytes, decoder, read)?);
        }
    }
    let rows = tensors.iter().zip(moments).map(|(tensor, moments)| {
        TensorStats::new(
            tensor.name().to_owned(),
            tensor.shape().to_vec(),
            tensor.dtype_name(),
            moments,
        )
    });
    Ok(rows.collect())
}

fn npy_stats(path: &Path) -> Result<TensorStats> {
    let (mut file, array) = npy::read(path)?;
    let (dtype, decoder) = match array.descr.as_str() {
        "f8" => ("f64", decoder(Dtype::F64)),
        "f4" => ("f32", decoder(Dtype::F32)),
        "f2" => ("f16", decoder(Dtype::F16)),
        other => (other, None),
    };
    let moments = decoder.map(|decoder| {
        let bytes = decoder.size as u64 * array.shape.iter().product::<u64>();
        // The array is read from its beginning to its end: where that is, the file knows.
        read_moments(bytes, decoder, |_, out| {
            file.read_exact(out).map_err(Error::io(path, "read"))
        })
    });
    let name = shown(Path::new(path.file_stem().unwrap_or_default()));
    Ok(TensorStats::new(
        name,
        array.shape,
        dtype.to_owned(),
        moments.transpose()?,
    ))
}

/// How numbers are read.
#[derive(Clone, Copy)]
pub(super) struct Decoder {
    /// Bytes of an element.
    pub size: usize,
    /// Appends the numbers that these bytes, whole elements, hold.
    pub decode: fn(&[u8], &mut Vec<f64>),
}

/// How a dtype's numbers are read; `None` for integers, and for floats of a byte or less.
pub(super) fn decoder(dtype: Dtype) -> Option<Decoder> {
    /// Decoding of a whole chunk, so that the loop knows the element's type.
    macro_rules! decoder {
        ($size:literal, $number:ty) => {
            Some(Decoder {
                size: $size,
                decode: |bytes, out| {
                    let numbers = bytes.as_chunks::<$size>().0.iter();
                    out.extend(numbers.map(|&b| f64::from(<$number>::from_le_bytes(b))));
                },
            })
        };
    }
    match dtype {
        Dtype::F64 => decoder!(8, f64),
        Dtype::F32 => decoder!(4, f32),
        Dtype::F16 => decoder!(2, f16),
        Dtype::BF16 => decoder!(2, bf16),
        _ => None,
    }
}

/// Bytes that are read at a time; a multiple of every element's size and of the next.
const READ_BYTES: usize = 8 << 20;

/// Bytes whose moments are computed at a time, then merged in the file's order.
const CHUNK_BYTES: usize = 1 << 16;

/// The moments of so many bytes, which `read` gets piece by piece, from an offset on.
fn read_moments(
    bytes: u64,
    decoder: Decoder,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<()>,
) -> Result<Moments> {
    let mut moments = Moments::default();
    let mut buffer = Vec::new();
    let mut offset = 0;
    while offset < bytes {
        buffer.resize((bytes - offset).min(READ_BYTES as u64) as usize, 0);
        read(offset, &mut buffer)?;
        offset += buffer.len() as u64;
        let chunks: Vec<Moments> = buffer
            .par_chunks(CHUNK_BYTES)
            .map(|chunk| {
                let mut sample = Vec::with_capacity(chunk.len() / decoder.size);
                (decoder.decode)(chunk, &mut sample);
                Moments::of(&sample)
            })
            .collect();
        for chunk in &chunks {
            moments.merge(chunk);
        }
    }
    Ok(moments)
}

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
