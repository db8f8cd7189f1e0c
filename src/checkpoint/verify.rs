//! Verification: compares stored weights, to the bit, with those that a recipe and a seed give.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use half::{bf16, f16};
use rayon::prelude::*;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::part_of::narrowed;
use super::weights::{Reader, StoredTensor, TensorPiece, Weights, pieces, read_ahead};
use super::write::{Ahead, Make, PIECE_BYTES, Progress};
use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::DistributionKind;
use crate::job::Regions;
use crate::read::format_error;
use crate::tensor::DType;

/// The result of [`verify`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// The tensors of the file, in its order.
    pub tensors: Vec<VerifiedTensor>,
    /// The fills whose tensors the file lacks, in the order of the fills.
    pub missing: Vec<String>,
    /// The number of bytes that were compared.
    pub bytes: u64,
}

impl Verification {
    /// Returns true if no element differs. Tensors that the file lacks do not count.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.first_difference().is_none()
    }

    /// Returns the first tensor, in the file's order, with an element that differs.
    #[must_use]
    pub fn first_difference(&self) -> Option<(&VerifiedTensor, &Difference)> {
        let mut tensors = self.tensors.iter();
        tensors.find_map(|tensor| Some((tensor, tensor.first.as_ref()?)))
    }
}

/// One tensor of a [`Verification`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VerifiedTensor {
    /// The tensor's name.
    pub name: String,
    /// Its shape in the file. In a folder of files of ranks, it is that of the whole tensor.
    pub shape: Vec<u64>,
    /// Its dtype in the file.
    pub dtype: DType,
    /// The number of elements that were compared. In a folder of files of ranks, each copy of an
    /// element counts.
    pub elements: u64,
    /// The number of elements that differ in any bit, or by more than `tolerance` in an orthogonal
    /// matrix.
    pub differing: u64,
    /// The number of elements of an orthogonal matrix that differ, but by no more than `tolerance`.
    /// Those made on another device do.
    pub close: u64,
    /// The largest accepted difference in an orthogonal matrix: 1e-5 times its gain, and one unit
    /// in the last place of the dtype besides. `None` for other tensors.
    pub tolerance: Option<f64>,
    /// The first element, in row-major order, that differs. In a folder of files of ranks, it is
    /// the first one of the first file that has any.
    pub first: Option<Difference>,
}

/// An element of the file that differs from the expected one.
///
/// As text: `element [1, 2] (7 in row-major order) is 0.25 (0x3e800000), not 0.5 (0x3f000000)`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The file that holds the element.
    pub file: PathBuf,
    /// The element's index, a number for each dimension.
    pub index: Vec<u64>,
    /// The element's index in the tensor's row-major order.
    pub flat: u64,
    /// The element in the file.
    pub stored: StoredValue,
    /// The element that the recipe and the seed give.
    pub expected: StoredValue,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "element {:?} ({} in row-major order) is {}, not {}",
            self.index, self.flat, self.stored, self.expected
        )
    }
}

/// An element with its bits.
///
/// As text: `0.25 (0x3e800000)`. In JSON: `{"value": 0.25, "bits": "0x3e800000"}`, with the value
/// `null` for a number that is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredValue {
    /// The dtype.
    pub dtype: DType,
    /// The bits. A dtype with 16 bits has them in the lower half.
    pub bits: u32,
}

impl StoredValue {
    /// Makes a value of its little-endian bytes, 2 or 4 of them.
    fn new(dtype: DType, bytes: &[u8]) -> Self {
        let bits = bytes
            .iter()
            .rev()
            .fold(0, |n, &byte| n << 8 | u32::from(byte));
        StoredValue { dtype, bits }
    }

    /// The number.
    #[must_use]
    pub fn value(self) -> f32 {
        match self.dtype {
            DType::F32 => f32::from_bits(self.bits),
            DType::F16 => f16::from_bits(self.bits as u16).into(),
            DType::BF16 => bf16::from_bits(self.bits as u16).into(),
        }
    }

    /// Returns the bits as `0x` and a hexadecimal digit for every four.
    fn hexadecimal(self) -> String {
        let width = 2 + 2 * self.dtype.size() as usize;
        format!("{:#0width$x}", self.bits)
    }
}

impl fmt::Display for StoredValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({})", self.value(), self.hexadecimal())
    }
}

impl Serialize for StoredValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = serializer.serialize_struct("StoredValue", 2)?;
        value.serialize_field("value", &self.value())?;
        value.serialize_field("bits", &self.hexadecimal())?;
        value.end()
    }
}

/// Compares stored weights with the weights of these fills, made by `make` in the dtypes of the
/// file.
///
/// A thread reads the file ahead, so the time is that of the slower of reading and filling. The
/// memory is three pieces of 32 MiB for every model.
///
/// All bits must be the same, with one exception. Orthogonal matrices are made in floating point:
/// they have the same bits on one device, and are within 1e-5 times their gain across devices. The
/// file does not tell which device made it. So elements that differ by no more than that are
/// counted, but are not reported as differences.
///
/// The file may hold a part of the model: fills whose tensors it lacks are listed as missing. If it
/// holds a part of a tensor, as the file of a rank does, the fill of the whole tensor is narrowed to
/// this part. A fill of a slice is compared with a tensor that holds this slice only. If the weights
/// are a folder of files of ranks, every element of every file is compared.
///
/// # Errors
///
/// [`Error::Format`] for a tensor of the file that has no fill, another shape than its fill, or a
/// dtype other than f32, f16 and bf16, and for files that are cut short while they are read.
/// [`Error::Io`] if they cannot be read, [`Error::Interrupted`] if `progress` stops it, and the
/// errors of `make`. A difference is not an error: it is in the result.
///
/// ```
/// use fanin::checkpoint::{self, Contents, Weights, silent};
/// use fanin::{Recipe, cpu};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let list = folder.path().join("list.json");
/// # std::fs::write(&list, r#"{"tensors": [{"name": "0.weight", "shape": [32, 16]}]}"#).unwrap();
/// # let path = folder.path().join("model.safetensors");
/// # let plan = Recipe::preset("lecun")?.resolve(&checkpoint::read_tensor_list(&list)?, Some(42), None)?;
/// # let fills = plan.fills();
/// # let contents = Contents::safetensors(&fills, &[])?;
/// # checkpoint::save(&path, &contents, &mut cpu::fill_range, &mut silent)?;
/// let weights = Weights::open(&path)?;
/// let plan = Recipe::preset("lecun")?.resolve(&weights.tensor_list()?, Some(43), None)?;
/// let found = checkpoint::verify(&weights, &plan.fills(), &mut cpu::fill_range, &mut silent)?;
/// // The file was made with seed 42.
/// let (tensor, difference) = found.first_difference().expect("another seed, other weights");
/// assert_eq!((tensor.name.as_str(), difference.flat), ("0.weight", 0));
/// # Ok::<(), fanin::Error>(())
/// ```
pub fn verify(
    weights: &Weights,
    fills: &[Fill],
    make: &mut dyn Make,
    progress: &mut Progress<'_>,
) -> Result<Verification> {
    let by_name: HashMap<&str, &Fill> = fills.iter().map(|fill| (fill.name(), fill)).collect();
    let mut tensors: Vec<VerifiedTensor> = Vec::with_capacity(weights.tensors().len());
    let mut place: HashMap<&str, usize> = HashMap::with_capacity(weights.tensors().len());
    for stored in weights.tensors() {
        place.insert(stored.name(), tensors.len());
        let fill = wanted(stored, by_name.get(stored.name()).copied())?;
        tensors.push(VerifiedTensor {
            name: stored.name().to_owned(),
            shape: stored.shape().to_vec(),
            dtype: fill.dtype(),
            elements: 0,
            differing: 0,
            close: 0,
            tolerance: tolerance(&fill),
            first: None,
        });
    }
    for file in weights.files() {
        let of_file = file.tensors().iter().filter_map(|stored| {
            let at = *place.get(stored.name())?;
            Some((at, stored))
        });
        compare_file(
            weights,
            file,
            of_file,
            &by_name,
            &mut tensors,
            make,
            progress,
        )?;
    }
    let missing = fills
        .iter()
        .filter(|fill| weights.get(fill.name()).is_none());
    Ok(Verification {
        tensors,
        missing: missing.map(|fill| fill.name().to_owned()).collect(),
        bytes: weights.stored_bytes(),
    })
}

/// Compares the tensors of one file, each given with its place in `tensors`, where the differences
/// are counted. `weights` are those that the file is, or belongs to.
fn compare_file<'a>(
    weights: &Weights,
    file: &'a Weights,
    of_file: impl Iterator<Item = (usize, &'a StoredTensor)>,
    by_name: &HashMap<&str, &Fill>,
    tensors: &mut [VerifiedTensor],
    make: &mut dyn Make,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let mut compared = Vec::with_capacity(file.tensors().len());
    for (at, stored) in of_file {
        let fill = wanted(stored, by_name.get(stored.name()).copied())?;
        tensors[at].elements += stored.elements();
        // Where a tensor is put together of parts, indices are those of the whole.
        let is_part = weights
            .get(stored.name())
            .is_some_and(|whole| whole.part().is_none());
        let regions = stored.part_of().filter(|_| is_part);
        let regions = regions.map(|of| Regions::new(&of.whole, &of.part));
        compared.push((at, fill, regions));
    }

    let order = file.front_to_back();
    let cut = || {
        pieces(order.iter().map(|&i| {
            let (_, fill, _) = &compared[i];
            (i, fill.elements(), PIECE_BYTES as u64 / fill.dtype().size())
        }))
    };
    let fills_to_come = cut().map(|piece| {
        (
            &compared[piece.tensor].1,
            piece.start..piece.start + piece.elements,
        )
    });
    let mut ahead = Ahead::new(fills_to_come, make);
    let mut reader = Reader::new();
    let read = |piece: &TensorPiece, buffer: &mut Vec<u8>| {
        let size = compared[piece.tensor].1.dtype().size();
        buffer.resize((piece.elements * size) as usize, 0);
        let stored = &file.tensors()[piece.tensor];
        reader.read(stored, piece.start * size, buffer)
    };
    let mut made = Vec::new();
    read_ahead(cut(), read, |piece, stored| {
        let (at, fill, regions) = &compared[piece.tensor];
        made.resize(stored.len(), 0);
        ahead.announce(make)?;
        make.make(fill, piece.start, &mut made)?;
        let found = tensors[*at].compare(stored, &made);
        if let (None, Some((element, stored, expected))) = (&tensors[*at].first, found) {
            let position = piece.start + element;
            let flat = regions.as_ref().map_or(position, |it| it.whole(position));
            tensors[*at].first = Some(Difference {
                file: file.tensors()[piece.tensor].file().to_owned(),
                index: index(flat, &tensors[*at].shape),
                flat,
                stored,
                expected,
            });
        }
        if progress(made.len() as u64).is_break() {
            return Err(Error::Interrupted);
        }
        Ok(())
    })
}

/// Returns the fill that a stored tensor is compared with.
fn wanted(stored: &StoredTensor, fill: Option<&Fill>) -> Result<Fill> {
    let refused = |reason: String| format_error(stored.file(), Some(stored.name()), reason);
    let fill = fill.ok_or_else(|| refused("is not one of the expected tensors".into()))?;
    let fill = narrowed(fill, stored.part_of()).map_err(refused)?;
    let dims = fill.local().dims();
    if dims != stored.shape() {
        let reason = format!("has shape {:?}, but {dims:?} is expected", stored.shape());
        return Err(refused(reason));
    }
    let dtype = stored.dtype().ok_or_else(|| {
        refused(format!(
            "has dtype {}: only f32, f16 and bf16 can be verified",
            stored.dtype_name()
        ))
    })?;
    Ok(fill.with_dtype(dtype))
}

/// The largest difference, across devices, of an element of an orthogonal matrix of gain 1, as
/// promised in docs/STREAM.md.
const ORTHOGONAL_TOLERANCE: f64 = 1e-5;

/// Returns the tolerance of a fill, which only orthogonal matrices have.
fn tolerance(fill: &Fill) -> Option<f64> {
    match fill.distribution().kind() {
        DistributionKind::Orthogonal { gain, .. } => {
            Some(ORTHOGONAL_TOLERANCE * f64::from(gain.abs()))
        }
        _ => None,
    }
}

/// Returns true if an element is within the tolerance of the expected one, or one unit in the last
/// place further: two numbers within the tolerance may be rounded to different sides.
fn is_close(stored: StoredValue, expected: StoredValue, tolerance: f64) -> bool {
    let (relative, smallest) = match stored.dtype {
        DType::F32 => (f32::EPSILON, f32::from_bits(1)),
        DType::F16 => (f16::EPSILON.into(), f16::MIN_POSITIVE_SUBNORMAL.into()),
        DType::BF16 => (bf16::EPSILON.into(), bf16::MIN_POSITIVE_SUBNORMAL.into()),
    };
    let (a, b) = (f64::from(stored.value()), f64::from(expected.value()));
    let unit = (f64::from(relative) * b.abs()).max(smallest.into());
    // False if the file's number is not finite: every comparison with NaN is false.
    (a - b).abs() <= tolerance + unit
}

/// The bytes that one task compares: a multiple of every element's size.
const TASK_BYTES: usize = 1 << 18;

impl VerifiedTensor {
    /// Compares some elements and counts those that differ. Returns the first one that does, as its
    /// number in `stored` and its values in both.
    fn compare(&mut self, stored: &[u8], made: &[u8]) -> Option<(u64, StoredValue, StoredValue)> {
        let size = self.dtype.size() as usize;
        let value = |bytes| StoredValue::new(self.dtype, bytes);
        let tasks = stored
            .par_chunks(TASK_BYTES)
            .zip(made.par_chunks(TASK_BYTES));
        let found: Vec<(u64, u64, Option<usize>)> = tasks
            .map(|(stored, made)| {
                let (mut differing, mut close, mut first) = (0, 0, None);
                // Comparing whole tasks first is the fast path: usually nothing differs.
                if stored == made {
                    return (differing, close, first);
                }
                let pairs = stored.chunks_exact(size).zip(made.chunks_exact(size));
                for (element, (stored, made)) in pairs.enumerate() {
                    if stored == made {
                        continue;
                    }
                    let near = |tolerance| is_close(value(stored), value(made), tolerance);
                    if self.tolerance.is_some_and(near) {
                        close += 1;
                    } else {
                        differing += 1;
                        first.get_or_insert(element);
                    }
                }
                (differing, close, first)
            })
            .collect();
        let mut earliest = None;
        for (task, (differing, close, first)) in found.into_iter().enumerate() {
            self.differing += differing;
            self.close += close;
            if let (None, Some(element)) = (earliest, first) {
                earliest = Some(task * (TASK_BYTES / size) + element);
            }
        }
        let element = earliest?;
        let bytes = element * size..(element + 1) * size;
        Some((
            element as u64,
            StoredValue::new(self.dtype, &stored[bytes.clone()]),
            StoredValue::new(self.dtype, &made[bytes]),
        ))
    }
}

/// Returns the index of an element, a number for each dimension, from its index in row-major order.
fn index(flat: u64, shape: &[u64]) -> Vec<u64> {
    let mut left = flat;
    let mut index = vec![0; shape.len()];
    for (at, &dim) in index.iter_mut().zip(shape).rev() {
        *at = left % dim;
        left /= dim;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_row_major() {
        assert!(index(0, &[]).is_empty());
        assert_eq!(index(23, &[2, 3, 4]), [1, 2, 3]);
        assert_eq!(index(7, &[3, 5]), [1, 2]);
    }

    #[test]
    fn close_is_by_tolerance_and_one_unit() {
        let single = |x: f32| StoredValue {
            dtype: DType::F32,
            bits: x.to_bits(),
        };
        assert!(is_close(single(0.5), single(0.500_009), 1e-5));
        assert!(!is_close(single(0.5), single(0.500_011), 1e-5));
        assert!(!is_close(single(f32::NAN), single(0.5), 1e-5));
        assert!(!is_close(single(f32::INFINITY), single(0.5), 1e-5));
        let brain = |bits| StoredValue {
            dtype: DType::BF16,
            bits,
        };
        // 0.5 and its neighbours: 2^-8 apart above, 2^-9 below.
        assert!(is_close(brain(0x3f01), brain(0x3f00), 1e-5));
        assert!(!is_close(brain(0x3f02), brain(0x3f00), 1e-5));
    }

    #[test]
    fn values_show_their_bits() {
        let half = StoredValue::new(DType::F16, &[0x00, 0x04]);
        assert_eq!(half.to_string(), "6.1035156e-5 (0x0400)");
        let nan = StoredValue::new(DType::F32, &0x7fc0_0001u32.to_le_bytes());
        assert_eq!(nan.to_string(), "NaN (0x7fc00001)");
        assert_eq!(
            serde_json::to_string(&[half, nan]).unwrap(),
            r#"[{"value":0.000061035156,"bits":"0x0400"},{"value":null,"bits":"0x7fc00001"}]"#
        );
    }
}
