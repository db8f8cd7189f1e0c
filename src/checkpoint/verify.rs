//! Verification: compares stored weights, to the bit, with those that a recipe and a seed give.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use rayon::prelude::*;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::part_of::narrowed;
use super::reader::{Reader, TensorPiece, pieces, read_pieces_ahead};
use super::weights::{StoredTensor, Weights};
use super::write::{Ahead, Make, PIECE_BYTES, Progress};
use crate::error::{Error, Result};
use crate::fill::{Fill, FillPart};
use crate::init::{Distribution, DistributionKind};
use crate::job::{Parts, Regions};
use crate::read::format_error;
use crate::tensor::{DType, E4M3, E5M2};
use crate::text::dims_text;

/// The result of [`verify`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// The tensors of the file that were compared, in its order.
    pub tensors: Vec<VerifiedTensor>,
    /// The fills whose tensors the file lacks, in the order of the fills.
    pub missing: Vec<String>,
    /// The tensors of the file that were not compared, in its order: those that are kept from a
    /// source that was not given, and those that the recipe skips.
    pub passed_over: Vec<String>,
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
    /// The file that holds the element. In JSON, bytes of its path that are not UTF-8 are replaced
    /// by U+FFFD.
    #[serde(serialize_with = "lossy")]
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

fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "element {} ({} in row-major order) is {}, not {}",
            dims_text(&self.index),
            self.flat,
            self.stored,
            self.expected
        )
    }
}

/// An element with its bits.
///
/// As text: `0.25 (0x3e800000)`. In JSON: `{"value": 0.25, "bits": "0x3e800000"}`, with the value
/// `null` for a number that is not finite, and for a dtype of which only the bits are shown: those
/// of 4 and 6 bits, `f8_e8m0`, `f8_*fnuz` and `c64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredValue {
    /// The dtype.
    pub dtype: DType,
    /// The bits, the lowest ones of the number.
    pub bits: u64,
}

impl StoredValue {
    /// Makes the value of element `i` of these little-endian elements.
    fn new(dtype: DType, bytes: &[u8], i: usize) -> Self {
        let bits = dtype.bits() as usize;
        // The bytes that the element touches. Those of 4 and 6 bits lie without gaps, lowest first.
        let touched = i * bits / 8..((i + 1) * bits).div_ceil(8);
        // These are at most 8 bytes: only elements of 4 and 6 bits
        // begin within a byte, and touch two at most.
        let all = bytes[touched].iter().rev();
        let word = all.fold(0, |n, &byte| n << 8 | u64::from(byte)) >> (i * bits % 8);
        StoredValue {
            dtype,
            bits: word & (u64::MAX >> (64 - bits)),
        }
    }

    /// Returns the number, rounded to binary64, or NaN for a dtype of which only the bits are shown.
    #[must_use]
    pub fn value(self) -> f64 {
        match self.number() {
            Number::Single(x) => x.into(),
            Number::Double(x) => x,
            Number::Whole(x) => x as f64,
            Number::BitsOnly => f64::NAN,
        }
    }

    /// Returns the number in its own precision.
    fn number(self) -> Number {
        let bits = self.bits;
        match self.dtype {
            DType::F64 => Number::Double(f64::from_bits(bits)),
            DType::F32 => Number::Single(f32::from_bits(bits as u32)),
            DType::F16 => Number::Single(f16::from_bits(bits as u16).into()),
            DType::BF16 => Number::Single(bf16::from_bits(bits as u16).into()),
            DType::F8E4M3 => Number::Single(E4M3.to_f32(bits as u8)),
            DType::F8E5M2 => Number::Single(E5M2.to_f32(bits as u8)),
            DType::Bool | DType::U8 | DType::U16 | DType::U32 | DType::U64 => {
                Number::Whole(bits.into())
            }
            DType::I8 => Number::Whole((bits as i8).into()),
            DType::I16 => Number::Whole((bits as i16).into()),
            DType::I32 => Number::Whole((bits as i32).into()),
            DType::I64 => Number::Whole((bits as i64).into()),
            _ => Number::BitsOnly,
        }
    }

    /// Returns the bits as `0x` and a hexadecimal digit for every four.
    fn hexadecimal(self) -> String {
        let width = 2 + self.dtype.bits().div_ceil(4) as usize;
        format!("{:#0width$x}", self.bits)
    }
}

/// A number in the precision in which it is shown.
enum Number {
    Single(f32),
    Double(f64),
    Whole(i128),
    BitsOnly,
}

impl fmt::Display for StoredValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.hexadecimal();
        match self.number() {
            Number::Single(x) => write!(f, "{x:?} ({bits})"),
            Number::Double(x) => write!(f, "{x:?} ({bits})"),
            Number::Whole(x) => write!(f, "{x} ({bits})"),
            Number::BitsOnly => f.write_str(&bits),
        }
    }
}

impl Serialize for StoredValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = serializer.serialize_struct("StoredValue", 2)?;
        match self.number() {
            Number::Single(x) => value.serialize_field("value", &x)?,
            Number::Double(x) => value.serialize_field("value", &x)?,
            // No whole number has more than 64 bits.
            Number::Whole(x) => match u64::try_from(x) {
                Ok(x) => value.serialize_field("value", &x)?,
                Err(_) => value.serialize_field("value", &(x as i64))?,
            },
            Number::BitsOnly => value.serialize_field("value", &None::<f64>)?,
        }
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
/// are a folder of files of ranks, every element of every file is compared. A tensor that is kept
/// from a file is compared with it, to the bit, if `make` is a [`WithSources`](super::WithSources)
/// that has the file. Otherwise it is passed over.
///
/// # Errors
///
/// [`Error::Format`] for a tensor of the file that has no fill, another shape than its fill, or a
/// dtype that cannot hold what its fill makes, and for files that are cut short while they are read.
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
    verify_some(weights, fills, &[], make, progress)
}

/// Compares stored weights as [`verify`] does, and passes over the tensors of the file that are
/// named in `skipped`: those that a recipe skips, so that they have no fill.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_some(
    weights: &Weights,
    fills: &[Fill],
    skipped: &[String],
    make: &mut dyn Make,
    progress: &mut Progress<'_>,
) -> Result<Verification> {
    let by_name: HashMap<&str, &Fill> = fills.iter().map(|fill| (fill.name(), fill)).collect();
    let skipped: HashSet<&str> = skipped.iter().map(String::as_str).collect();
    let mut tensors: Vec<VerifiedTensor> = Vec::new();
    // The places of the compared tensors among them.
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut passed_over = Vec::new();
    for stored in weights.tensors() {
        let fill = by_name.get(stored.name()).copied();
        let is_passed_over = match fill {
            Some(fill) => !make.makes(fill),
            None => skipped.contains(stored.name()),
        };
        if is_passed_over {
            passed_over.push(stored.name().to_owned());
            continue;
        }
        let fill = compared_with(stored, fill)?;
        places.insert(stored.name(), tensors.len());
        tensors.push(VerifiedTensor {
            name: stored.name().to_owned(),
            shape: stored.shape().to_vec(),
            dtype: fill.dtype(),
            elements: 0,
            differing: 0,
            close: 0,
            tolerance: Tolerances::new(&fill).largest(),
            first: None,
        });
    }
    let mut bytes = 0;
    for file in weights.files() {
        let file = &*file?;
        let mut compared = Vec::with_capacity(file.tensors().len());
        for stored in file.tensors() {
            let Some(&place) = places.get(stored.name()) else {
                compared.push(None);
                continue;
            };
            // Once more for each file: in the file of a rank, the fill is narrowed to the part of this rank.
            let fill = compared_with(stored, by_name.get(stored.name()).copied())?;
            bytes += fill.bytes();
            tensors[place].elements += stored.elements();
            // Where a tensor is put together of parts, indices are those of the whole.
            let of_whole = weights.get(stored.name());
            let of_whole = of_whole.is_some_and(|tensor| tensor.part().is_none());
            let part_of = stored.part_of().filter(|_| of_whole);
            compared.push(Some(ComparedTensor {
                stored,
                tolerances: Tolerances::new(&fill),
                fill,
                place,
                regions: part_of.map(|of| Regions::new(&of.whole, &of.part)),
            }));
        }
        compare_file(file, &compared, &mut tensors, make, progress)?;
    }
    let missing = fills
        .iter()
        .filter(|fill| weights.get(fill.name()).is_none());
    Ok(Verification {
        tensors,
        missing: missing.map(|fill| fill.name().to_owned()).collect(),
        passed_over,
        bytes,
    })
}

/// A tensor of a file that is compared.
struct ComparedTensor<'a> {
    stored: &'a StoredTensor,
    /// The fill of what is stored.
    fill: Fill,
    tolerances: Tolerances,
    /// The place of the tensor in the result.
    place: usize,
    /// The stored part of the tensor in the result, if that is the whole.
    regions: Option<Regions>,
}

/// Compares the tensors of one file, and counts the differences in `tensors`. `compared` has an
/// entry for each tensor of the file, `None` for one that is passed over.
fn compare_file(
    file: &Weights,
    compared: &[Option<ComparedTensor<'_>>],
    tensors: &mut [VerifiedTensor],
    make: &mut dyn Make,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let order = file.front_to_back().into_iter();
    let compared: Vec<&ComparedTensor<'_>> = order.filter_map(|i| compared[i].as_ref()).collect();
    // Pieces count the tensors of `compared`.
    let cut = || {
        pieces(compared.iter().enumerate().map(|(i, tensor)| {
            let step = tensor.fill.dtype().elements_in(PIECE_BYTES as u64);
            (i, tensor.fill.elements(), step)
        }))
    };
    // The same pieces as those that are read, in the same order: `Ahead` relies on it.
    let fills_to_come = cut().map(|piece| {
        (
            &compared[piece.tensor].fill,
            piece.start..piece.start + piece.elements,
        )
    });
    let mut ahead = Ahead::new(fills_to_come, make);
    let mut reader = Reader::new();
    let read = |piece: &TensorPiece, buffer: &mut Vec<u8>| {
        let ComparedTensor { stored, fill, .. } = compared[piece.tensor];
        buffer.resize(fill.dtype().bytes_of(piece.elements) as usize, 0);
        reader.read(stored, fill.dtype().bytes_of(piece.start), buffer)
    };
    let mut made = Vec::new();
    read_pieces_ahead(cut(), read, |piece, stored| {
        let tensor = compared[piece.tensor];
        made.resize(stored.len(), 0);
        ahead.announce(make)?;
        make.make(&tensor.fill, piece.start, &mut made)?;
        let result = &mut tensors[tensor.place];
        let tolerance = |element| tensor.tolerances.at(piece.start + element);
        let found = result.compare(stored, &made, &tolerance);
        // Pieces of a tensor come in the order of its elements, so its first difference is found first.
        if let (None, Some((element, stored, expected))) = (&result.first, found) {
            let position = piece.start + element;
            let flat = match &tensor.regions {
                Some(regions) => regions.whole(position),
                None => position,
            };
            result.first = Some(Difference {
                file: tensor.stored.file().to_owned(),
                index: index(flat, &result.shape),
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
fn compared_with(stored: &StoredTensor, fill: Option<&Fill>) -> Result<Fill> {
    let refused = |reason: String| format_error(stored.file(), Some(stored.name()), reason);
    let fill = fill.ok_or_else(|| refused("is not one of the expected tensors".into()))?;
    let fill = narrowed(fill, stored.part_of()).map_err(refused)?;
    let expected = fill.local().dims();
    if expected != stored.shape() {
        let (found, expected) = (dims_text(stored.shape()), dims_text(&expected));
        let reason = format!("has shape {found}, but {expected} is expected");
        return Err(refused(reason));
    }
    if fill.is_kept() {
        // A kept tensor is compared as it is.
        if fill.dtype() == stored.dtype() {
            return Ok(fill);
        }
        let (found, kept) = (stored.dtype(), fill.dtype());
        return Err(refused(format!("has dtype {found}, but {kept} is kept")));
    }
    let fill = fill.with_dtype(stored.dtype());
    match fill.check() {
        Ok(()) => Ok(fill),
        Err(error) => Err(refused(error.fault().to_string())),
    }
}

/// The largest difference, across devices, of an element of an orthogonal matrix of gain 1, as
/// promised in docs/STREAM.md.
const ORTHOGONAL_TOLERANCE: f64 = 1e-5;

/// The tolerances of a fill's elements, which only orthogonal matrices have.
struct Tolerances {
    /// That of the tensor itself, then those of its parts.
    all: Vec<Option<f64>>,
    /// The owners of the elements, if there are parts.
    parts: Option<Parts>,
}

impl Tolerances {
    fn new(fill: &Fill) -> Self {
        let parts = fill.parts().iter().map(FillPart::distribution);
        let all = std::iter::once(fill.distribution()).chain(parts);
        Tolerances {
            all: all.map(tolerance).collect(),
            parts: (!fill.parts().is_empty()).then(|| Parts::new(fill)),
        }
    }

    fn largest(&self) -> Option<f64> {
        self.all.iter().flatten().copied().reduce(f64::max)
    }

    /// Returns the tolerance of the element at this position of the fill.
    fn at(&self, position: u64) -> Option<f64> {
        // This runs for differing elements only, so the search costs nothing where all are the same.
        let owner = match &self.parts {
            None => 0,
            Some(parts) => parts.pieces(position..position + 1).next()?.owner,
        };
        self.all[owner]
    }
}

/// Returns the tolerance of a distribution.
fn tolerance(distribution: &Distribution) -> Option<f64> {
    match distribution.kind() {
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
        DType::F16 => (f16::EPSILON.into(), f16::MIN_POSITIVE_SUBNORMAL.into()),
        DType::BF16 => (bf16::EPSILON.into(), bf16::MIN_POSITIVE_SUBNORMAL.into()),
        DType::F8E4M3 => (2f32.powi(-3), 2f32.powi(-9)),
        DType::F8E5M2 => (2f32.powi(-2), 2f32.powi(-16)),
        // f64 too: it is made as f32. Whole numbers are no orthogonal matrix.
        _ => (f32::EPSILON, f32::from_bits(1)),
    };
    let (a, b) = (stored.value(), expected.value());
    // Epsilon times |b| is between one and two units in the last place of b.
    let unit = (f64::from(relative) * b.abs()).max(smallest.into());
    // False if the file's number is not finite: every comparison with NaN is false.
    (a - b).abs() <= tolerance + unit
}

/// The bytes that one task compares, about.
const TASK_BYTES: usize = 1 << 18;

impl VerifiedTensor {
    /// Compares some elements and counts those that differ. Returns the first one that does, as its
    /// number in `stored` and its values in both.
    ///
    /// `tolerance` returns the tolerance of an element, by its number in `stored`.
    fn compare(
        &mut self,
        stored: &[u8],
        made: &[u8],
        tolerance: &(dyn Fn(u64) -> Option<f64> + Sync),
    ) -> Option<(u64, StoredValue, StoredValue)> {
        let dtype = self.dtype;
        let size = dtype.size() as usize;
        // Elements of 6 bits fill three bytes by fours.
        let task_elements = dtype.elements_in(TASK_BYTES as u64);
        let task_bytes = dtype.bytes_of(task_elements) as usize;
        let has_whole_bytes = dtype.bits() >= 8;
        let value = |bytes, i| StoredValue::new(dtype, bytes, i);
        let tasks = stored
            .par_chunks(task_bytes)
            .zip(made.par_chunks(task_bytes));
        let found: Vec<(u64, u64, Option<usize>)> = tasks
            .enumerate()
            .map(|(task, (stored, made))| {
                let (mut differing, mut close, mut first) = (0, 0, None);
                // Comparing whole tasks first is the fast path: usually nothing differs.
                if stored == made {
                    return (differing, close, first);
                }
                for element in 0..stored.len() * 8 / dtype.bits() as usize {
                    let is_same = if has_whole_bytes {
                        let bytes = element * size..(element + 1) * size;
                        stored[bytes.clone()] == made[bytes]
                    } else {
                        value(stored, element) == value(made, element)
                    };
                    if is_same {
                        continue;
                    }
                    let (stored, made) = (value(stored, element), value(made, element));
                    let near = |tolerance| is_close(stored, made, tolerance);
                    let number = task as u64 * task_elements + element as u64;
                    if self
                        .tolerance
                        .and_then(|_| tolerance(number))
                        .is_some_and(near)
                    {
                        close += 1;
                    } else {
                        differing += 1;
                        first.get_or_insert(element);
                    }
                }
                (differing, close, first)
            })
            .collect();
        // The tasks are in the order of the elements, so the first one with a difference has the earliest.
        let mut earliest = None;
        for (task, (differing, close, first)) in found.into_iter().enumerate() {
            self.differing += differing;
            self.close += close;
            if let (None, Some(element)) = (earliest, first) {
                earliest = Some(task * task_elements as usize + element);
            }
        }
        let element = earliest?;
        let value = |bytes| StoredValue::new(dtype, bytes, element);
        Some((element as u64, value(stored), value(made)))
    }
}

/// Returns the index of an element, a number for each dimension, from its index in row-major order.
fn index(flat: u64, shape: &[u64]) -> Vec<u64> {
    let mut left = flat;
    let mut index = vec![0; shape.len()];
    for (at, &dim) in index.iter_mut().zip(shape).rev() {
        // No dimension is 0, because the tensor has this element.
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
            bits: x.to_bits().into(),
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
        let half = StoredValue::new(DType::F16, &[0x00, 0x04], 0);
        assert_eq!(half.to_string(), "6.1035156e-5 (0x0400)");
        let nan = StoredValue::new(DType::F32, &0x7fc0_0001u32.to_le_bytes(), 0);
        assert_eq!(nan.to_string(), "NaN (0x7fc00001)");
        assert_eq!(
            serde_json::to_string(&[half, nan]).unwrap(),
            r#"[{"value":0.000061035156,"bits":"0x0400"},{"value":null,"bits":"0x7fc00001"}]"#
        );
    }
}
