//! Comparison: how far trained weights have moved from their start.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;

use super::json::listed;
use super::numbers::{Decoder, decoder};
use super::part_of::{PartOf, narrowed};
use super::reader::{Reader, TensorPiece, pieces, read_pieces_ahead};
use super::stats::nan_wins;
use super::weights::{StoredTensor, Weights};
use super::write::{Make, PIECE_BYTES, Progress};
use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::job::Regions;
use crate::read::format_error;
use crate::tensor::{DType, TensorList};
use crate::text::{dims_text, excerpt};

/// The weights at the start of training.
pub enum Start<'a, 'b> {
    /// Weights on disk.
    Weights(&'a Weights),
    /// Weights that can be made again: the fills of a [`Plan`](crate::Plan), and the backend that
    /// makes them.
    Fills(&'a [Fill], &'a mut (dyn Make + 'b)),
}

/// The result of [`diff`].
///
/// In JSON, a number that is not finite is `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Diff {
    /// The tensors that are in both, in the order of the trained weights.
    pub tensors: Vec<TensorDiff>,
    /// All these tensors as one vector.
    pub total: Change,
    /// The tensors of the start that the trained weights lack.
    pub only_in_start: Vec<String>,
    /// The tensors of the trained weights that the start lacks.
    pub only_in_trained: Vec<String>,
    /// The tensors that are in both, but not as floats that fanin fills: counters, for
    /// example; those that are kept from a file that is not given; and those that the recipe skips.
    pub not_compared: Vec<String>,
}

/// One tensor of a [`Diff`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TensorDiff {
    /// The tensor's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Its dtype at the start, in lower case.
    pub start_dtype: String,
    /// Its dtype after training, in lower case.
    pub dtype: String,
    /// Its change.
    #[serde(flatten)]
    pub change: Change,
}

/// The change of a vector, in binary64.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// The number of elements.
    pub elements: u64,
    /// The elements whose value has the same bits: +0 and -0 differ.
    pub untouched: u64,
    /// `untouched / elements`, from 0 to 1, or NaN without elements.
    pub untouched_share: f64,
    /// The L2 norm of the start. Infinities that are the same in both count as 0, here and below.
    pub start_norm: f64,
    /// The L2 norm of the trained weights.
    pub trained_norm: f64,
    /// The L2 norm of the change, trained minus start.
    pub change_norm: f64,
    /// `change_norm / start_norm`, or `None` if the start is all zeros.
    pub relative: Option<f64>,
    /// The cosine of the angle between start and trained weights, from -1 to 1, or `None` if one of
    /// them is all zeros.
    pub cosine: Option<f64>,
    /// The largest absolute change of an element, or 0 without elements.
    pub max_change: f64,
}

/// Compares trained weights with their start, tensor by tensor, as values.
///
/// Sums are computed in binary64, in an order that depends on the tensors only. So the result is
/// the same for any number of threads. A thread reads the files ahead. The memory is at most five
/// pieces of 32 MiB for every model.
///
/// If the trained weights hold parts of tensors, as the file of a rank does, each is compared with
/// the same part of the start, which may be recipes' fills, weights of the whole tensors, or a file
/// with the same parts.
///
/// Tensors that are in only one of the two are listed, but not compared. Dtypes may differ. If the
/// start is f32 and the model is stored in bf16, the rounding counts as a change.
///
/// `progress` gets the bytes of the trained weights.
///
/// # Errors
///
/// [`Error::Format`], naming the tensor, if shapes or parts differ, and for files that are cut short
/// while they are read. [`Error::Io`] if they cannot be read, [`Error::Interrupted`] if `progress` stops
/// it, and the errors of the start's `make`.
///
/// ```
/// use fanin::checkpoint::{self, Contents, Start, Weights, silent};
/// use fanin::{Fill, Init, Tensor, cpu};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("trained.safetensors");
/// let tensor = Tensor::new("w", [30, 20])?;
/// // Training has doubled the weights.
/// let trained = [Fill::new(&tensor, &Init::normal(0.0, 0.04), 42)?];
/// let contents = Contents::safetensors(&trained, &[])?;
/// checkpoint::save(&path, &contents, &mut cpu::fill_range, &mut silent)?;
///
/// let start = [Fill::new(&tensor, &Init::normal(0.0, 0.02), 42)?];
/// let start = Start::Fills(&start, &mut cpu::fill_range);
/// let diff = checkpoint::diff(start, &Weights::open(&path)?, &mut silent)?;
/// let change = diff.tensors[0].change;
/// assert!((change.relative.unwrap() - 1.0).abs() < 1e-6);
/// assert!((change.cosine.unwrap() - 1.0).abs() < 1e-6);
/// # Ok::<(), fanin::Error>(())
/// ```
pub fn diff(start: Start<'_, '_>, trained: &Weights, progress: &mut Progress<'_>) -> Result<Diff> {
    diff_some(start, trained, &[], progress)
}

/// Compares trained weights as [`diff`] does. The tensors that are named in `skipped`, those that
/// a recipe skips, are not compared.
///
/// # Errors
///
/// As [`diff`].
pub fn diff_some(
    start: Start<'_, '_>,
    trained: &Weights,
    skipped: &[String],
    progress: &mut Progress<'_>,
) -> Result<Diff> {
    let skipped: HashSet<&str> = skipped.iter().map(String::as_str).collect();
    match start {
        Start::Weights(weights) => {
            let matched =
                Matched::of(trained, weights.tensors().iter().map(of_stored), |tensor| {
                    skipped.contains(tensor.name())
                })?;
            let mut reader = Reader::new();
            let read = |pair: &Pair<'_>, piece: &TensorPiece, buffer: &mut Vec<u8>| {
                let Some(tensor) = weights.get(pair.trained.name()) else {
                    return Ok(());
                };
                let size = pair.start.size as u64;
                buffer.resize((piece.elements * size) as usize, 0);
                match &pair.cut_out {
                    Some(regions) => reader.read_part(tensor, regions, piece.start, buffer),
                    None => reader.read(tensor, piece.start * size, buffer),
                }
            };
            matched.compare(read, |_, _, _| Ok(()), progress)
        }
        Start::Fills(fills, make) => {
            let parts: Vec<Fill> = fills
                .iter()
                .map(|fill| {
                    let Some(tensor) = trained.get(fill.name()) else {
                        return Ok(fill.clone());
                    };
                    narrowed(fill, tensor.part_of())
                        .map_err(|reason| format_error(tensor.file(), Some(fill.name()), reason))
                })
                .collect::<Result<_>>()?;
            let by_name: HashMap<&str, &Fill> =
                parts.iter().map(|fill| (fill.name(), fill)).collect();
            let start = parts.iter().map(|fill| of_fill(fill, make.makes(fill)));
            // A recipe's plan may leave out what is not compared anyway.
            let matched = Matched::of(trained, start, |tensor| {
                skipped.contains(tensor.name()) || decoder(tensor.dtype()).is_none()
            })?;
            let make = |pair: &Pair<'_>, piece: &TensorPiece, buffer: &mut Vec<u8>| {
                let Some(fill) = by_name.get(pair.trained.name()) else {
                    return Ok(());
                };
                buffer.resize((piece.elements * fill.dtype().size()) as usize, 0);
                make.make(fill, piece.start, buffer)
            };
            matched.compare(|_, _, _| Ok(()), make, progress)
        }
    }
}

/// Returns the tensors of trained weights whose numbers are compared: those of floats that fanin
/// fills, with the shapes of the whole tensors. Tensors of other dtypes, such as counters, are left
/// out.
///
/// # Errors
///
/// [`Error::Format`], naming the tensor, for a shape with too many elements.
pub fn start_list(trained: &Weights) -> Result<TensorList> {
    let tensors = trained.tensors().iter();
    let floats = tensors.filter(|tensor| decoder(tensor.dtype()).is_some());
    let listed = floats.map(|tensor| {
        listed(
            tensor.file(),
            tensor.name().to_owned(),
            tensor.whole_shape().to_vec(),
            Some(tensor.dtype().name()),
        )
    });
    Ok(TensorList::new(listed.collect::<Result<_>>()?)?.of_weights())
}

/// A tensor of the start.
#[derive(Clone)]
struct StartTensor<'a> {
    name: &'a str,
    shape: Vec<u64>,
    /// Its dtype, if its elements are there.
    dtype: Option<DType>,
    /// The stored tensor, or `None` for a fill, which is narrowed to the part that is compared.
    stored: Option<&'a StoredTensor>,
}

fn of_stored(tensor: &StoredTensor) -> StartTensor<'_> {
    StartTensor {
        name: tensor.name(),
        shape: tensor.shape().to_vec(),
        dtype: Some(tensor.dtype()),
        stored: Some(tensor),
    }
}

fn of_fill(fill: &Fill, is_made: bool) -> StartTensor<'_> {
    StartTensor {
        name: fill.name(),
        shape: fill.local().dims(),
        dtype: Some(fill.dtype()).filter(|_| is_made),
        stored: None,
    }
}

impl StartTensor<'_> {
    /// Returns the part of a start of whole tensors that a trained tensor is compared with, or
    /// `None` if it is compared with all of it. Returns the reason if the two cannot be compared.
    fn part_for(&self, trained: &StoredTensor) -> Result<Option<Regions>, String> {
        let start = self.stored.and_then(StoredTensor::part_of);
        match (self.stored, trained.part_of(), start) {
            (Some(_), Some(part), None) if self.shape == part.whole.dims() => {
                Ok(Some(Regions::new(&part.whole, &part.part)))
            }
            (Some(_), part, start) if part != start => {
                let what = |part: Option<&Arc<PartOf>>, shape: &[u64]| match part {
                    Some(of) => format!(
                        "part {} of shape {}",
                        excerpt(&of.part.to_string()),
                        dims_text(of.whole.dims())
                    ),
                    None => format!("the whole of shape {}", dims_text(shape)),
                };
                Err(format!(
                    "is {}, but {} at the start: compare it with a file of the same parts, or with \
                     the whole tensors",
                    what(part, trained.shape()),
                    what(start, &self.shape)
                ))
            }
            _ if self.shape != trained.shape() => Err(format!(
                "has shape {}, but {} at the start",
                dims_text(trained.shape()),
                dims_text(&self.shape)
            )),
            _ => Ok(None),
        }
    }
}

/// A tensor that is in both, in dtypes that can be compared.
struct Pair<'a> {
    trained: &'a StoredTensor,
    start_dtype: DType,
    /// The part of the start, if that is a larger tensor.
    cut_out: Option<Regions>,
    /// The decoders of the start and of the trained weights.
    start: Decoder,
    end: Decoder,
}

/// The tensors of both, matched by name.
struct Matched<'a> {
    weights: &'a Weights,
    pairs: Vec<Pair<'a>>,
    only_in_start: Vec<String>,
    only_in_trained: Vec<String>,
    not_compared: Vec<String>,
}

impl<'a> Matched<'a> {
    fn of<'s>(
        trained: &'a Weights,
        start: impl Iterator<Item = StartTensor<'s>> + Clone,
        may_lack: impl Fn(&StoredTensor) -> bool,
    ) -> Result<Self> {
        let lacking = start
            .clone()
            .filter(|tensor| trained.get(tensor.name).is_none());
        let mut matched = Matched {
            weights: trained,
            pairs: Vec::new(),
            only_in_start: lacking.map(|tensor| tensor.name.to_owned()).collect(),
            only_in_trained: Vec::new(),
            not_compared: Vec::new(),
        };
        let by_name: HashMap<&str, StartTensor<'s>> =
            start.map(|tensor| (tensor.name, tensor)).collect();
        for tensor in trained.tensors() {
            let Some(start) = by_name.get(tensor.name()) else {
                let list = match may_lack(tensor) {
                    true => &mut matched.not_compared,
                    false => &mut matched.only_in_trained,
                };
                list.push(tensor.name().to_owned());
                continue;
            };
            let cut_out = start
                .part_for(tensor)
                .map_err(|reason| format_error(tensor.file(), Some(tensor.name()), reason))?;
            let decoders = (start.dtype.and_then(decoder), decoder(tensor.dtype()));
            match (start.dtype, decoders) {
                (Some(dtype), (Some(first), Some(end))) => matched.pairs.push(Pair {
                    trained: tensor,
                    start_dtype: dtype,
                    cut_out,
                    start: first,
                    end,
                }),
                _ => matched.not_compared.push(tensor.name().to_owned()),
            }
        }
        Ok(matched)
    }

    /// Compares all pairs, with the trained weights read from front to back.
    ///
    /// Either `read`, which runs ahead on a thread, or `make` puts the start's elements into a
    /// buffer. The other one does nothing.
    fn compare(
        self,
        mut read: impl FnMut(&Pair<'_>, &TensorPiece, &mut Vec<u8>) -> Result<()> + Send,
        mut make: impl FnMut(&Pair<'_>, &TensorPiece, &mut Vec<u8>) -> Result<()>,
        progress: &mut Progress<'_>,
    ) -> Result<Diff> {
        let pairs = &self.pairs;
        let place: HashMap<&str, usize> = pairs
            .iter()
            .enumerate()
            .map(|(i, pair)| (pair.trained.name(), i))
            .collect();
        let order = self.weights.front_to_back().into_iter();
        let order = order.filter_map(|i| place.get(self.weights.tensors()[i].name()).copied());
        let cut = pieces(order.map(|i| {
            let pair = &pairs[i];
            // By the larger element, so that neither buffer exceeds a piece.
            let largest = pair.start.size.max(pair.end.size);
            (i, pair.trained.elements(), (PIECE_BYTES / largest) as u64)
        }));
        let mut reader = Reader::new();
        let read_both = |piece: &TensorPiece, [start, trained]: &mut [Vec<u8>; 2]| {
            let pair = &pairs[piece.tensor];
            read(pair, piece, start)?;
            let size = pair.end.size as u64;
            trained.resize((piece.elements * size) as usize, 0);
            reader.read(pair.trained, piece.start * size, trained)
        };
        let mut sums = vec![Sums::default(); pairs.len()];
        let mut made = Vec::new();
        read_pieces_ahead(cut, read_both, |piece, [start, trained]| {
            let pair = &pairs[piece.tensor];
            make(pair, piece, &mut made)?;
            // `read` leaves its buffer empty where `make` makes the start.
            let start = if start.is_empty() { &made } else { start };
            sums[piece.tensor].add(pair, start, trained);
            if progress(trained.len() as u64).is_break() {
                return Err(Error::Interrupted);
            }
            Ok(())
        })?;

        let mut total = Sums::default();
        let tensors = pairs.iter().zip(&sums).map(|(pair, sums)| {
            total.merge(sums);
            TensorDiff {
                name: pair.trained.name().to_owned(),
                shape: pair.trained.shape().to_vec(),
                start_dtype: pair.start_dtype.name().to_owned(),
                dtype: pair.trained.dtype_name(),
                change: sums.change(),
            }
        });
        Ok(Diff {
            tensors: tensors.collect(),
            total: total.change(),
            only_in_start: self.only_in_start,
            only_in_trained: self.only_in_trained,
            not_compared: self.not_compared,
        })
    }
}

/// The elements whose sums one task computes. Sums are then merged in the tensor's order. Pieces
/// are multiples of it, so that no sum depends on the division into pieces.
const CHUNK: usize = 1 << 14;

/// The number of independent sums: a single one would wait for the latency of each addition.
const LANES: usize = 8;

/// Sums over some elements.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    elements: u64,
    untouched: u64,
    /// The sums of the squares of start, trained weights and change, and of start times trained.
    start: f64,
    trained: f64,
    change: f64,
    product: f64,
    max_change: f64,
}

impl Sums {
    /// Computes the sums of elements at the same positions of both.
    fn of(start: &[f64], trained: &[f64]) -> Self {
        let mut lanes = [Sums::default(); LANES];
        for (start, trained) in start.chunks(LANES).zip(trained.chunks(LANES)) {
            for ((lane, &a), &b) in lanes.iter_mut().zip(start).zip(trained) {
                lane.elements += 1;
                lane.untouched += u64::from(a.to_bits() == b.to_bits());
                // An infinity that stays is no change, and no norm could hold it.
                let stays = a == b && a.is_infinite();
                let (a, b) = if stays { (0.0, 0.0) } else { (a, b) };
                lane.start += a * a;
                lane.trained += b * b;
                lane.change += (b - a) * (b - a);
                lane.product += a * b;
                lane.max_change = nan_wins(f64::max, lane.max_change, (b - a).abs());
            }
        }
        // The lanes are added in a fixed order, because a sum of rounded numbers depends on it.
        let mut sums = Sums::default();
        for lane in &lanes {
            sums.merge(lane);
        }
        sums
    }

    /// Adds the elements of one piece of a tensor.
    fn add(&mut self, pair: &Pair<'_>, start: &[u8], trained: &[u8]) {
        let starts = start.par_chunks(CHUNK * pair.start.size);
        let chunks: Vec<Sums> = starts
            .zip(trained.par_chunks(CHUNK * pair.end.size))
            .map(|(start, trained)| {
                let [mut a, mut b] = [Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK)];
                (pair.start.decode)(start, &mut a);
                (pair.end.decode)(trained, &mut b);
                Sums::of(&a, &b)
            })
            .collect();
        for chunk in &chunks {
            self.merge(chunk);
        }
    }

    fn merge(&mut self, other: &Sums) {
        self.elements += other.elements;
        self.untouched += other.untouched;
        self.start += other.start;
        self.trained += other.trained;
        self.change += other.change;
        self.product += other.product;
        self.max_change = nan_wins(f64::max, self.max_change, other.max_change);
    }

    fn change(&self) -> Change {
        let (start, trained) = (self.start.sqrt(), self.trained.sqrt());
        let change_norm = self.change.sqrt();
        Change {
            elements: self.elements,
            untouched: self.untouched,
            untouched_share: self.untouched as f64 / self.elements as f64,
            start_norm: start,
            trained_norm: trained,
            change_norm,
            relative: (start != 0.0).then(|| change_norm / start),
            // Clamped, because rounding can carry it past 1. NaN stays NaN.
            cosine: (start != 0.0 && trained != 0.0)
                .then(|| (self.product / (start * trained)).clamp(-1.0, 1.0)),
            max_change: self.max_change,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_chunks() {
        for size in [2, 4, 8] {
            assert_eq!((PIECE_BYTES / size) % CHUNK, 0);
        }
    }

    #[test]
    fn sums_are_those_of_the_elements() {
        let start: Vec<f64> = (0..1001).map(|i| f64::from(i) - 500.0).collect();
        let mut trained = start.clone();
        trained[3] += 3.0;
        trained[1000] -= 4.0;
        let change = Sums::of(&start, &trained).change();
        assert_eq!((change.elements, change.untouched), (1001, 999));
        assert_eq!((change.change_norm, change.max_change), (5.0, 4.0));
        // 2 * (1 + 4 + ... + 500^2).
        assert_eq!(
            change.start_norm,
            (2.0 * 500.0 * 501.0 * 1001.0 / 6.0f64).sqrt()
        );
    }

    #[test]
    fn a_zero_vector_has_no_cosine() {
        let change = Sums::of(&[0.0, 0.0], &[3.0, -0.0]).change();
        assert_eq!((change.relative, change.cosine), (None, None));
        assert_eq!((change.untouched, change.untouched_share), (0, 0.0));
        let back = Sums::of(&[0.1; 100], &[-0.1; 100]).change();
        assert_eq!(back.cosine, Some(-1.0));
        let wrong = Sums::of(&[1.0, 1.0], &[f64::NAN, 1.0]).change();
        assert!(wrong.change_norm.is_nan() && wrong.max_change.is_nan());
        assert!(wrong.cosine.unwrap().is_nan());
        assert!(Sums::default().change().untouched_share.is_nan());
    }
}
