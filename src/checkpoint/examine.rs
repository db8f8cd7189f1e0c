//! Examination: statistics of weights, compared with the expected ones, and flags for differences
//! that are too large for chance.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::expected::{Check, Expected, Flag, Grain};
use super::json::listed;
use super::numbers::{FileArray, Numbers};
use super::part_of::narrowed;
use super::stats::{Moments, Seen, SeenTensor, TensorStats, read_all};
use super::write::{Progress, silent};
use crate::error::Result;
use crate::fill::{Fill, FillPart};
use crate::init::{DistributionKind, Law};
use crate::job::Parts;
use crate::read::format_error;
use crate::tensor::TensorList;
use crate::text::quoted;

/// The probability that [`examine`] flags anything in a file of weights that follow their recipe.
///
/// It is divided evenly among the comparisons (Bonferroni), six of each tensor. Each comparison
/// uses an inequality that holds for every number of elements, not an approximation for many.
pub const FALSE_ALARMS: f64 = 1e-6;

/// The number of comparisons of a tensor: mean, std, min, max, kurtosis, zeros.
const COMPARISONS: f64 = 6.0;

/// The statistics of one tensor, the expected ones, and flags.
#[derive(Clone, Debug, Serialize)]
pub struct Examined {
    /// The statistics.
    #[serde(flatten)]
    pub stats: TensorStats,
    /// The expected statistics, if they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
    /// The differences that are too large for chance, those of parts included. It is empty if there are
    /// none.
    pub flags: Vec<Flag>,
    /// The parts of the tensor that have initializers of their own, and the rest of it, named
    /// `NAME[SLICE]` and `NAME[rest]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Examined>,
}

/// Returns the tensors of a file that a recipe can describe: those in floats that fanin fills.
/// `path` leads to a file as for [`stats`](super::stats). If it holds parts of tensors, the list
/// has the shapes of the whole tensors, which a recipe needs for the fans.
///
/// # Errors
///
/// As [`stats`](super::stats), and [`Error::Format`](crate::Error::Format) for a file that holds a
/// slice of each tensor and does not give the shapes of the whole ones.
pub fn float_tensors(path: impl AsRef<Path>) -> Result<TensorList> {
    let path = path.as_ref();
    let numbers = Numbers::open(path)?;
    if let Some(slice) = numbers.slice_of_unknown() {
        let reason = format!(
            "holds slice {} of each tensor by its metadata, which does not give the shapes of \
             the whole tensors: a recipe needs them",
            quoted(slice)
        );
        return Err(format_error(path, None, reason));
    }
    let floats = numbers.arrays().iter().filter_map(|array| {
        let dtype = array.made_as?;
        Some(listed(
            path,
            array.name.clone(),
            array.whole_shape().to_vec(),
            Some(&dtype.to_string()),
        ))
    });
    Ok(TensorList::new(floats.collect::<Result<_>>()?)?.of_weights())
}

/// Returns the bytes of the tensors of floats that fanin fills: those that [`examine_with`] reads.
///
/// # Errors
///
/// As [`stats`](super::stats).
pub fn float_bytes(path: impl AsRef<Path>) -> Result<u64> {
    let numbers = Numbers::open(path.as_ref())?;
    let read = |&i: &usize| numbers.arrays()[i].decoder.is_some();
    let arrays = (0..numbers.arrays().len()).filter(read);
    Ok(arrays.map(|i| numbers.bytes(i)).sum())
}

/// Computes statistics as [`stats`](super::stats) does, and compares them with those that these
/// fills should have. A fill belongs to the tensor of its name and shape. If the file holds a part
/// of the tensor, the part of the fill is expected.
///
/// Each statistic has bounds. The probability that weights of the fills' initializers exceed any
/// bound in the file is at most [`FALSE_ALARMS`], whichever library drew them. The bounds of mean,
/// std and kurtosis follow from Bennett's inequality ("Probability inequalities for the sum of
/// independent random variables", 1962), those of the extremes and the zeros from their
/// distribution. All bounds allow for rounding to the file's dtype. The kurtosis k is compared by
/// the fourth moment minus 2 k times the second, because a small change of the std does not change
/// it. Initializers that draw no number (constants, diagonals, tables) are compared with the
/// weights that they make. For an orthogonal matrix, the sum of squares is known, and the mean and
/// the largest element have bounds.
///
/// The parts of a tensor that have initializers of their own are examined one by one
/// ([`Examined::parts`]).
///
/// A tensor that is kept from a file has no expected statistics, and is flagged only for NaN and
/// infinities. A tensor without a fill is flagged for properties that no initializer gives: NaN and
/// infinities, an element further from the mean than the largest of as many normal numbers (unless
/// most elements are zeros), and a tensor of rank 2 or more with elements that are all 0, which
/// passes no signal on, or all equal and not 1, which keeps its units identical.
///
/// ```
/// use fanin::{Recipe, checkpoint};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("model.safetensors");
/// # let w = fanin::Tensor::new("fc.weight", [64, 64])?;
/// # let fills = [fanin::Fill::new(&w, &fanin::Init::normal(0.0, 0.5), 1)?];
/// # let contents = checkpoint::Contents::safetensors(&fills, &[])?;
/// # checkpoint::save(&path, &contents, &mut fanin::cpu::fill_range, &mut checkpoint::silent)?;
/// let list = checkpoint::float_tensors(&path)?;
/// // Statistics do not depend on the seed.
/// let plan = Recipe::preset("xavier")?.resolve(&list, Some(0), None)?;
/// let rows = checkpoint::examine(&path, &plan.fills())?;
/// assert_eq!(rows[0].flags[0].text, "std too large");
/// # Ok::<(), fanin::Error>(())
/// ```
///
/// # Errors
///
/// As [`stats`](super::stats).
pub fn examine(path: impl AsRef<Path>, fills: &[Fill]) -> Result<Vec<Examined>> {
    examine_with(path, fills, &mut silent)
}

/// Computes and compares statistics as [`examine`] does. `progress` gets the bytes that are read.
///
/// # Errors
///
/// As [`examine`], and [`Error::Interrupted`](crate::Error::Interrupted) if `progress` stops it.
pub fn examine_with(
    path: impl AsRef<Path>,
    fills: &[Fill],
    progress: &mut Progress<'_>,
) -> Result<Vec<Examined>> {
    let mut numbers = Numbers::open(path.as_ref())?;
    let by_name: HashMap<&str, &Fill> = fills.iter().map(|fill| (fill.name(), fill)).collect();
    let fills = numbers
        .arrays()
        .iter()
        .map(|array| fill_of(array, &by_name));
    let fills: Vec<Option<Fill>> = fills.collect();
    let parts = |(fill, array): (&Option<Fill>, &FileArray)| {
        let fill = fill.as_ref().filter(|fill| !fill.parts().is_empty());
        match fill {
            Some(_) if array.is_column_major => {
                let reason = "has fortran_order True, and the recipe gives parts of the tensor their own \
                              initializers: save it row by row (numpy.ascontiguousarray)";
                Err(format_error(path.as_ref(), None, reason))
            }
            fill => Ok(fill.map(Parts::new)),
        }
    };
    let parts = fills.iter().zip(numbers.arrays()).map(parts);
    let parts: Vec<Option<Parts>> = parts.collect::<Result<_>>()?;
    let seen = read_all(&mut numbers, &parts, progress)?;
    let owners = parts
        .iter()
        .map(|parts| parts.as_ref().map_or(1, Parts::count));
    // A tensor without a fill counts as one owner, because it can be flagged, too.
    let alpha = FALSE_ALARMS / (COMPARISONS * owners.sum::<usize>().max(1) as f64);
    let rows: Result<Vec<Examined>> = numbers
        .arrays()
        .par_iter()
        .zip(&seen)
        .zip(&fills)
        .map(|((array, seen), fill)| examined(array, seen.as_ref(), fill.as_ref(), alpha))
        .collect();
    rows
}

/// Returns the fill of the elements that a file holds of a tensor.
fn fill_of(array: &FileArray, fills: &HashMap<&str, &Fill>) -> Option<Fill> {
    let fill = fills.get(array.name.as_str());
    // The part that the file holds, of the fill of the whole.
    let fill = fill.filter(|fill| fill.shape().dims() == array.whole_shape())?;
    let fill = narrowed(fill, array.part_of.as_ref()).ok()?;
    (fill.local().dims() == array.shape).then_some(fill)
}

/// Examines one tensor. `alpha` is the probability of a false alarm of one comparison.
fn examined(
    array: &FileArray,
    seen: Option<&SeenTensor>,
    fill: Option<&Fill>,
    alpha: f64,
) -> Result<Examined> {
    let mut row = Examined {
        stats: TensorStats::new(array, seen.map(|seen| &seen.all)),
        expected: None,
        flags: Vec::new(),
        parts: Vec::new(),
    };
    let Some(SeenTensor { all: seen, owners }) = seen.filter(|seen| seen.all.moments.n() > 0)
    else {
        return Ok(row);
    };
    let expects_infinity = fill.is_some_and(expects_infinity);
    row.flags
        .extend(not_finite(&seen.moments, expects_infinity));
    // What a kept tensor should hold is not known.
    let is_kept = fill.is_some_and(Fill::is_kept);
    let fill = fill.filter(|_| !is_kept);
    if let (Some(fill), Some(dtype)) = (fill, array.made_as) {
        let fill = fill.clone().with_dtype(dtype);
        // NaN or an infinity spoils the other statistics, so its flag stays alone.
        let is_finite = row.flags.is_empty();
        if owners.is_empty() {
            let (expected, flags) = compare(&fill, array, seen, alpha)?;
            row.expected = Some(expected);
            if is_finite {
                row.flags = flags;
            }
        } else {
            row.parts = examined_parts(&fill, array, owners, alpha)?;
            let parts = row.parts.iter().filter(|_| is_finite);
            row.flags.extend(parts.flat_map(|part| {
                // The name of a part is that of the tensor with the slice.
                let slice = &part.stats.name[array.name.len()..];
                let flags = part.flags.iter();
                flags.map(move |flag| Flag {
                    statistic: flag.statistic,
                    text: format!("{slice} {}", flag.text),
                })
            }));
        }
    } else if row.flags.is_empty() && !is_kept {
        row.flags = no_initializer(&array.shape, &seen.moments, alpha);
    }
    Ok(row)
}

fn compare(
    fill: &Fill,
    array: &FileArray,
    seen: &Seen,
    alpha: f64,
) -> Result<(Expected, Vec<Flag>)> {
    let check = Check {
        n: seen.moments.n() as f64,
        alpha,
        grain: Grain::of(fill.dtype()),
    };
    check.compare(fill, &array.dtype, seen)
}

/// Examines the parts of a tensor that have initializers of their own, and the rest of the tensor. A
/// part without elements in the file is left out.
fn examined_parts(
    fill: &Fill,
    array: &FileArray,
    owners: &[Seen],
    alpha: f64,
) -> Result<Vec<Examined>> {
    let own = (None, fill.without_parts());
    let parts = fill.parts().iter();
    let parts = parts.map(|part| (Some(part.slice()), fill.of_part(part)));
    let all = std::iter::once(own).chain(parts).zip(owners);
    let rows = all.filter(|(_, seen)| seen.moments.n() > 0);
    rows.map(|((slice, fill), seen)| {
        let n = seen.moments.n();
        let text = slice.map_or_else(|| "rest".to_owned(), ToString::to_string);
        let shape = slice.map_or_else(|| array.shape.clone(), |slice| slice.dims());
        let expected = if fill.distribution().is_elementwise() {
            // These do not depend on the place, so that any elements of that number will do.
            Some(fill.flat(0..n)?)
        } else {
            // Of a part that depends on rows and columns, the whole must be there.
            Some(fill).filter(|fill| slice.is_some() && fill.elements() == n)
        };
        let compared = expected.map(|fill| compare(&fill, array, seen, alpha));
        let (expected, flags) = compared.transpose()?.unzip();
        Ok(Examined {
            stats: TensorStats {
                n,
                ..TensorStats::of(format!("{}[{text}]", array.name), shape, array, Some(seen))
            },
            expected,
            flags: flags.unwrap_or_default(),
            parts: Vec::new(),
        })
    })
    .collect()
}

/// Returns true if a recipe gives an infinity as a value, as masks have them.
fn expects_infinity(fill: &Fill) -> bool {
    let parts = fill.parts().iter().map(FillPart::distribution);
    let mut all = std::iter::once(fill.distribution()).chain(parts);
    all.any(|distribution| match distribution.kind() {
        DistributionKind::Values { values } => values
            .iter()
            .any(|&bits| f32::from_bits(bits).is_infinite()),
        _ => false,
    })
}

/// Flags NaN, and infinities that are not expected.
fn not_finite(seen: &Moments, expects_infinity: bool) -> Option<Flag> {
    let text = if seen.min().is_nan() {
        "not a number among them"
    } else if !expects_infinity && (seen.min().is_infinite() || seen.max().is_infinite()) {
        "infinite ones among them"
    } else {
        return None;
    };
    Some(Flag {
        statistic: "values",
        text: text.to_owned(),
    })
}

/// Flags properties that no initializer gives.
fn no_initializer(shape: &[u64], seen: &Moments, alpha: f64) -> Vec<Flag> {
    let mut flags = Vec::new();
    let is_matrix = shape.iter().filter(|&&dim| dim > 1).count() >= 2;
    if seen.min() == seen.max() {
        let text = match seen.min() {
            _ if !is_matrix => return flags,
            0.0 => "all zero: passes nothing on",
            1.0 => return flags,
            _ => "all equal: its units stay alike",
        };
        flags.push(Flag {
            statistic: "values",
            text: text.to_owned(),
        });
        return flags;
    }
    let n = seen.n() as f64;
    // A diagonal or a sparse matrix is mostly zeros, and its other elements are far from the mean.
    if seen.zeros() as f64 > 0.5 * n {
        return flags;
    }
    let most = Law::normal(0.0, 1.0).quantile_above(0.5 * alpha / n);
    for (statistic, far) in [("min", seen.reach()[0]), ("max", seen.reach()[1])] {
        if far > most {
            flags.push(Flag {
                statistic,
                text: format!(
                    "{statistic} {far:.1} std from the mean: of so many normal ones none is \
                     beyond {most:.1}"
                ),
            });
        }
    }
    flags
}
