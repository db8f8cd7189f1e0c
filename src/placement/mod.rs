//! The part of a tensor that a rank holds, in the terms of `torch.distributed`.
//!
//! The ranks of a training run form a [`Mesh`]. A tensor has one [`Placement`] for each of the
//! mesh's dimensions, as in `torch.distributed.tensor.DTensor`. [`Mesh::local`] gives the indices
//! that a rank holds then, the same ones as in torch, and its padding: the elements that it has
//! less than the largest rank. Any part of a tensor can be filled on its own. So each rank fills
//! its part, and all ranks together hold the same model for every mesh.
//!
//! ```
//! use fanin::{Fill, Init, Mesh, Placement, Tensor, cpu};
//!
//! // Fully sharded over 2 groups of ranks, tensor-parallel over the 2 ranks of each.
//! let mesh = Mesh::new([("fsdp", 2), ("tp", 2)])?;
//! let placements = [Placement::Shard { dim: 0 }, Placement::Shard { dim: 1 }];
//! let tensor = Tensor::new("layers.0.weight", [512, 784])?;
//! let local = mesh.local(tensor.shape(), &placements, 3)?;
//! assert_eq!((local.dims(), local.offsets()), (vec![256, 392], vec![256, 392]));
//!
//! let fill = local.fill(Fill::new(&tensor, &Init::kaiming_normal(), 42)?)?;
//! let mut weights = vec![0f32; 256 * 392];
//! cpu::fill_slice(&fill, &mut weights)?;
//! # Ok::<(), fanin::Error>(())
//! ```
//!
//! # The parts that placements make
//!
//! | placements | part |
//! |---|---|
//! | `Replicate`, `Shard` | one [`Slice`](crate::Slice) |
//! | `StridedShard`, then `Shard` of the same dimension, evenly divided | one slice |
//! | other uses of `StridedShard` | several slices, concatenated along the dimension |
//! | `Flat` | a run of elements |
//!
//! Several slices are one [`Fill`], and one tensor in a file, if they follow each other in memory,
//! as blocks of rows do: see [`Local::fill`].
//!
//! [`FlatParameter`] shards many tensors together, as one flat vector.

mod flat;
#[cfg(feature = "recipe")]
mod shard_spec;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::iter::once;
use std::ops::Range;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::tensor::{Shape, check_rank, chunk};
use crate::text::quoted;

pub use flat::{FlatParameter, FlatPart, FlatShard};
#[cfg(feature = "recipe")]
pub use shard_spec::{LocalPart, ShardSpec};

/// The most ranks of a mesh, and the largest split factor. The limit bounds the work for untrusted
/// input.
const MAX_RANKS: u64 = 1 << 20;

/// The ranks of a training run, in a grid of named dimensions. The first dimension is the
/// outermost: rank numbers are row-major, as in torch's `init_device_mesh`.
///
/// ```
/// use fanin::Mesh;
///
/// let mesh = Mesh::new([("dp", 2), ("tp", 4)])?;
/// assert_eq!(mesh.ranks(), 8);
/// assert_eq!(mesh.coordinate(6)?, [1, 2]);
/// assert_eq!(mesh.to_string(), "dp=2,tp=4");
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mesh(Vec<(String, u64)>);

impl Mesh {
    /// Makes a mesh of dimensions with these names and sizes, the first outermost.
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] for no dimension, a size of 0, more than 2^20 ranks, an empty name and
    /// a name that is used twice.
    pub fn new<N: Into<String>>(dims: impl IntoIterator<Item = (N, u64)>) -> Result<Self> {
        let dims = dims.into_iter().map(|(name, size)| (name.into(), size));
        let mesh = Mesh(dims.collect());
        let refused = |reason: String| Error::Placement {
            placement: format!("mesh {}", quoted(&mesh.to_string())),
            reason,
        };
        if mesh.0.is_empty() {
            return Err(refused("has no dimension: it needs at least one".into()));
        }
        let mut names = HashSet::new();
        for (name, _) in &mesh.0 {
            if name.is_empty() || !names.insert(name) {
                return Err(refused(format!(
                    "has dimension {}: each needs a name of its own, which is not empty",
                    quoted(name)
                )));
            }
        }
        let sizes = mesh.0.iter().map(|(_, size)| *size);
        let ranks = sizes.clone().try_fold(1u64, u64::checked_mul);
        match ranks {
            // This case comes first: a product with 0 would pass as a small mesh.
            _ if sizes.clone().any(|size| size == 0) => Err(refused(
                "has a dimension of 0 ranks: every size must be at least 1".into(),
            )),
            Some(ranks) if ranks <= MAX_RANKS => Ok(mesh),
            _ => Err(refused(format!("has more than {MAX_RANKS} ranks"))),
        }
    }

    /// The names and sizes of the dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[(String, u64)] {
        &self.0
    }

    /// The number of ranks, from 1 to 2^20.
    #[must_use]
    pub fn ranks(&self) -> u64 {
        self.0.iter().map(|(_, size)| size).product()
    }

    /// Returns the position of a rank along each dimension.
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] for a rank that the mesh does not have.
    pub fn coordinate(&self, rank: u64) -> Result<Vec<u64>> {
        check_rank(rank, self.ranks())?;
        let mut rest = rank;
        let mut coordinate: Vec<u64> = self
            .0
            .iter()
            .rev()
            .map(|(_, size)| {
                let digit = rest % size;
                rest /= size;
                digit
            })
            .collect();
        coordinate.reverse();
        Ok(coordinate)
    }

    /// Returns the part of a tensor of this shape that a rank holds, with one placement for each
    /// dimension of the mesh.
    ///
    /// Placements are applied from the first to the last, as DTensor does: each one cuts the part
    /// that the ones before it have left. [`Placement::Flat`] is applied after all others.
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] for a rank that the mesh does not have, for another number of
    /// placements than the mesh has dimensions, for a dimension that the shape does not have, for a
    /// split factor of 0 or above 2^20, for more than one `Flat`, and for a `Flat` if the other
    /// placements leave elements that do not follow each other in the whole tensor.
    pub fn local(&self, shape: &Shape, placements: &[Placement], rank: u64) -> Result<Local> {
        let coordinate = self.coordinate(rank)?;
        self.check_count(placements)?;
        let dims = shape.dims();
        let mut indices: Vec<Vec<Range<u64>>> =
            dims.iter().map(|&dim| once(0..dim).collect()).collect();
        // All sizes that any rank has along each dimension: the largest one gives the padding.
        // Sizes of one cut take few values, so this stays small for 2^20 ranks.
        let mut sizes: Vec<BTreeSet<u64>> = dims.iter().map(|&dim| once(dim).collect()).collect();
        let mut flat = None;
        let cuts = placements.iter().zip(&coordinate).zip(&self.0);
        for ((placement, &at), (_, ranks)) in cuts {
            let refused = |reason: String| Error::Placement {
                placement: placement.to_string(),
                reason,
            };
            let (dim, split_factor) = match *placement {
                Placement::Replicate => continue,
                Placement::Flat => {
                    // Only noted here, because it applies to the elements that all other placements leave.
                    if flat.replace((at, *ranks)).is_some() {
                        return Err(refused(
                            "is used twice: a tensor can be flattened over one dimension of the \
                             mesh only"
                                .into(),
                        ));
                    }
                    continue;
                }
                Placement::Shard { dim } => (dim, 1),
                Placement::StridedShard { dim, split_factor } => (dim, split_factor),
            };
            if !(1..=MAX_RANKS).contains(&split_factor) {
                return Err(refused(format!(
                    "has a split factor out of range: use 1 to {MAX_RANKS}"
                )));
            }
            let axis = shape
                .axis(dim)
                .ok_or_else(|| refused(shape.has_no_axis()))?;
            // One rank holds all chunks. A mesh may have any number of such dimensions, and each would walk
            // all chunks.
            if *ranks == 1 {
                continue;
            }
            let cut = Cut {
                split_factor,
                ranks: *ranks,
            };
            let held = length(&indices[axis]);
            indices[axis] = select(&indices[axis], cut.ranges(held, at), dims[axis]);
            let all = sizes[axis].iter();
            sizes[axis] = all.flat_map(|&size| cut.sizes(size)).collect();
        }
        let padding = indices.iter().zip(&sizes).map(|(held, sizes)| {
            // The sets are sorted, so this is the largest size that any rank has.
            let largest = sizes.last().copied().unwrap_or(0);
            largest - length(held)
        });
        let local = Local {
            flat: false,
            padding: padding.collect(),
            indices,
        };
        match flat {
            None => Ok(local),
            Some((at, ranks)) => local.flattened(shape, at, ranks),
        }
    }

    /// Checks that there is one placement for each dimension.
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] if there is not.
    pub(crate) fn check_count(&self, placements: &[Placement]) -> Result<()> {
        if placements.len() == self.0.len() {
            return Ok(());
        }
        let shown: Vec<String> = placements.iter().map(Placement::to_string).collect();
        Err(Error::Placement {
            placement: format!("[{}]", shown.join(", ")),
            reason: format!(
                "has {} placements, mesh {} needs {}, one for each dimension",
                placements.len(),
                quoted(&self.to_string()),
                self.0.len()
            ),
        })
    }
}

impl fmt::Display for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, size)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{name}={size}")?;
        }
        Ok(())
    }
}

/// A way to divide a tensor among the ranks along one dimension of a mesh: a placement of
/// `torch.distributed.tensor`, or a flat shard of `FullyShardedDataParallel`.
///
/// As text: `replicate`, `shard(0)`, `strided_shard(0,split_factor=2)`, `flat`. A negative `dim`
/// counts from the tensor's last dimension.
///
/// ```
/// use fanin::Placement;
///
/// assert_eq!("shard(-1)".parse::<Placement>()?, Placement::Shard { dim: -1 });
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// `Replicate()`: every rank holds the whole.
    Replicate,
    /// `Shard(dim)`: each rank holds a piece of one dimension, cut as by `torch.chunk`. See
    /// [`Slice::tensor_parallel`](crate::Slice::tensor_parallel).
    Shard {
        /// The dimension that is cut.
        dim: i64,
    },
    /// `_StridedShard(dim, split_factor)`: the dimension is cut into `split_factor` chunks, and
    /// each chunk into one piece for each rank. A rank holds its piece of every chunk.
    ///
    /// It is for a mesh whose first dimension is fully sharded and whose last one is
    /// tensor-parallel, if tensor parallelism cuts first: `[strided_shard(0,split_factor=T),
    /// shard(0)]`, where T is the number of ranks of the tensor-parallel dimension.
    StridedShard {
        /// The dimension that is cut.
        dim: i64,
        /// The number of chunks of the first cut, from 1 to 2^20.
        split_factor: u64,
    },
    /// FSDP1's division of a single tensor: the part that the other placements leave is flattened
    /// and cut as by `torch.chunk`. The last ranks are padded to the length of the first.
    ///
    /// The other placements must leave elements that follow each other in the tensor: the whole, or
    /// a piece of the first dimension.
    Flat,
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Placement::Replicate => write!(f, "replicate"),
            Placement::Shard { dim } => write!(f, "shard({dim})"),
            Placement::StridedShard { dim, split_factor } => {
                write!(f, "strided_shard({dim},split_factor={split_factor})")
            }
            Placement::Flat => write!(f, "flat"),
        }
    }
}

impl FromStr for Placement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let spaceless: String = text.split_whitespace().collect();
        let arguments = |name: &str| {
            let inner = spaceless.strip_prefix(name)?.strip_prefix('(')?;
            inner.strip_suffix(')')
        };
        let placement = if spaceless == "replicate" {
            Some(Placement::Replicate)
        } else if spaceless == "flat" {
            Some(Placement::Flat)
        } else if let Some(dim) = arguments("shard") {
            dim.parse().ok().map(|dim| Placement::Shard { dim })
        } else {
            arguments("strided_shard").and_then(|inner| {
                let (dim, split_factor) = inner.split_once(",split_factor=")?;
                Some(Placement::StridedShard {
                    dim: dim.parse().ok()?,
                    split_factor: split_factor.parse().ok()?,
                })
            })
        };
        placement.ok_or_else(|| Error::Unknown {
            kind: "placement",
            value: text.to_owned(),
            accepted: "use replicate, shard(DIM), strided_shard(DIM,split_factor=N) or flat"
                .to_owned(),
        })
    }
}

/// The part of a tensor that a rank holds, from [`Mesh::local`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    flat: bool,
    /// The ranges of each dimension: at least one, which is empty if the rank holds nothing.
    indices: Vec<Vec<Range<u64>>>,
    padding: Vec<u64>,
}

impl Local {
    /// Returns true if the part is a run of elements. It has one dimension then: the elements in
    /// row-major order.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.flat
    }

    /// The indices that the rank holds along each dimension of the tensor.
    ///
    /// A dimension has one range, or several if [`Placement::StridedShard`] makes them. Ranges
    /// ascend and do not touch. If the rank holds nothing of a dimension, it has one empty range,
    /// at the dimension's end. The rank holds an element if all its indices are in these ranges.
    #[must_use]
    pub fn indices(&self) -> &[Vec<Range<u64>>] {
        &self.indices
    }

    /// The dimensions of the rank's part, without padding. One of them is 0 if it holds nothing.
    #[must_use]
    pub fn dims(&self) -> Vec<u64> {
        self.indices.iter().map(|held| length(held)).collect()
    }

    /// The first index along each dimension: the global offset of torch's
    /// `compute_local_shape_and_global_offset`. If the rank holds nothing of a dimension, the
    /// offset is the dimension itself.
    #[must_use]
    pub fn offsets(&self) -> Vec<u64> {
        let first = |held: &Vec<Range<u64>>| held.first().map_or(0, |range| range.start);
        self.indices.iter().map(first).collect()
    }

    /// The padding along each dimension: the indices that the part has less than the largest
    /// rank's.
    ///
    /// torch appends as many zeros before collectives that need equal sizes. With
    /// [`Placement::Flat`], the padding is the elements that the part has less than that of the
    /// first rank with the same other coordinates.
    #[must_use]
    pub fn padding(&self) -> &[u64] {
        &self.padding
    }

    /// Narrows a fill to this part.
    ///
    /// # Errors
    ///
    /// [`Error::Slice`], naming the tensor, for a fill whose shape does not hold the part. It must be of the
    /// shape that [`Mesh::local`] got: another one that holds the part is not noticed. [`Error::Placement`],
    /// naming the tensor, if [`Placement::StridedShard`] makes several slices that do not follow
    /// each other in memory, because an outer dimension has more than one index. Fill such a part
    /// slice by slice, as [`Local::indices`] gives it.
    pub fn fill(&self, fill: Fill) -> Result<Fill> {
        let firsts: Vec<Range<u64>> = self
            .indices
            .iter()
            .map(|held| held.first().cloned().unwrap_or(0..0))
            .collect();
        if self.flat {
            return fill.flat(firsts.into_iter().next().unwrap_or(0..0));
        }
        let several = |axis: &usize| self.indices[*axis].len() > 1;
        let Some(axis) = (0..firsts.len()).find(several) else {
            return fill.slice(firsts);
        };
        let inner = (axis + 1..firsts.len()).any(|axis| several(&axis));
        if inner || self.dims()[..axis].iter().any(|&dim| dim > 1) {
            return Err(Error::Placement {
                placement: format!("slice {}", quoted(&shown(&self.indices))),
                reason: "has several slices that do not follow each other in memory: use strided \
                         shards along the first dimension, or a split that leaves one slice"
                    .to_owned(),
            }
            .named(fill.name()));
        }
        fill.blocks(self.indices[axis].iter().map(|range| {
            let mut slice = firsts.clone();
            slice[axis] = range.clone();
            slice
        }))
    }

    /// Flattens this part, cuts it again, and returns the piece of rank `at` of `ranks`.
    fn flattened(self, shape: &Shape, at: u64, ranks: u64) -> Result<Local> {
        let dims = self.dims();
        let elements: u64 = dims.iter().product();
        let mut stride = 1;
        let mut start = 0;
        // The elements follow each other in the whole tensor if every dimension within the
        // outermost one with several indices is whole.
        let outermost = dims.iter().position(|&dim| dim != 1);
        let mut run = true;
        for (axis, &dim) in shape.dims().iter().enumerate().rev() {
            let held = &self.indices[axis];
            run &= held.len() == 1 && (dims[axis] == dim || outermost.is_none_or(|o| axis <= o));
            start += held.first().map_or(0, |range| range.start) * stride;
            stride *= dim;
        }
        if elements == 0 {
            start = shape.elements();
        } else if !run {
            return Err(Error::Placement {
                placement: Placement::Flat.to_string(),
                reason: format!(
                    "needs a run of elements, but the other placements leave {} of shape {shape}: \
                     cut the first dimension, or do not use flat",
                    shown(&self.indices)
                ),
            });
        }
        let cut = chunk(elements, at, ranks);
        // The first rank has the longest piece.
        let padding = chunk(elements, 0, ranks).end - (cut.end - cut.start);
        Ok(Local {
            flat: true,
            indices: vec![once(start + cut.start..start + cut.end).collect()],
            padding: vec![padding],
        })
    }
}

/// Returns the ranges as text for messages: `0:10,3:5+7:9`.
fn shown(indices: &[Vec<Range<u64>>]) -> String {
    let dimension = |held: &Vec<Range<u64>>| {
        let ranges = held.iter().map(|r| format!("{}:{}", r.start, r.end));
        ranges.collect::<Vec<_>>().join("+")
    };
    indices.iter().map(dimension).collect::<Vec<_>>().join(",")
}

/// The cut of a tensor's dimension by the ranks along one dimension of a mesh: into `split_factor`
/// chunks, and each chunk into `ranks` pieces.
///
/// It is that of `_StridedShard._split_tensor` in `torch.distributed.tensor.placement_types`.
/// `Shard` is the case of one chunk.
#[derive(Clone, Copy)]
struct Cut {
    split_factor: u64,
    ranks: u64,
}

impl Cut {
    /// Cuts n indices into chunks. Returns the number of full chunks, their length, and the length
    /// of the last, shorter one.
    fn chunks(self, n: u64) -> (u64, u64, u64) {
        // At least 1, because it divides. With n = 0 there is no full chunk.
        let full = n.div_ceil(self.split_factor).max(1);
        (n / full, full, n % full)
    }

    /// Returns the ranges, of n indices, that a rank holds. They ascend.
    fn ranges(self, n: u64, rank: u64) -> impl Iterator<Item = Range<u64>> {
        let (count, full, rest) = self.chunks(n);
        (0..=count).map(move |i| {
            let length = if i < count { full } else { rest };
            let piece = chunk(length, rank, self.ranks);
            i * full + piece.start..i * full + piece.end
        })
    }

    /// Returns the number of indices in these ranges.
    fn size(self, n: u64, rank: u64) -> u64 {
        let (count, full, rest) = self.chunks(n);
        let piece = |length| {
            let piece = chunk(length, rank, self.ranks);
            piece.end - piece.start
        };
        count * piece(full) + piece(rest)
    }

    /// Returns all numbers of indices, of n, that ranks hold, some of them more than once.
    ///
    /// The pieces of a chunk are full up to a rank, whose piece may be shorter, and empty after it. So
    /// the numbers change at few ranks.
    fn sizes(self, n: u64) -> impl Iterator<Item = u64> {
        let (_, full, rest) = self.chunks(n);
        let changes = [full, rest].into_iter().flat_map(move |length| {
            // The number of full pieces is the first rank without one. The number of indices changes only at
            // this rank and at the next one.
            let shorter = length / length.div_ceil(self.ranks).max(1);
            [shorter, shorter + 1]
        });
        once(0)
            .chain(changes)
            .filter(move |&rank| rank < self.ranks)
            .map(move |rank| self.size(n, rank))
    }
}

/// Returns the number of indices in ranges.
fn length(held: &[Range<u64>]) -> u64 {
    held.iter().map(|range| range.end - range.start).sum()
}

/// Returns the indices at ascending `positions` of the concatenated ranges, with adjacent ranges
/// merged, or an empty range at `end` if there are none.
fn select(
    held: &[Range<u64>],
    positions: impl Iterator<Item = Range<u64>>,
    end: u64,
) -> Vec<Range<u64>> {
    let mut selected: Vec<Range<u64>> = Vec::new();
    // The position of the first index of the current range.
    let mut passed = 0;
    let mut rest = held.iter().peekable();
    for wanted in positions {
        while let Some(range) = rest.peek() {
            let after = passed + (range.end - range.start);
            let (from, to) = (wanted.start.max(passed), wanted.end.min(after));
            if from < to {
                let piece = range.start + (from - passed)..range.start + (to - passed);
                match selected.last_mut() {
                    Some(last) if last.end == piece.start => last.end = piece.end,
                    _ => selected.push(piece),
                }
            }
            // The range may also hold positions of the next wanted range, so it stays the current one.
            if wanted.end < after {
                break;
            }
            passed = after;
            rest.next();
        }
    }
    if selected.is_empty() {
        selected.push(end..end);
    }
    selected
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mesh may have thousands of dimensions of one rank, which cut nothing.
    #[test]
    fn dimensions_of_one_rank_take_no_time() {
        let names: Vec<String> = (0..20_000).map(|i| format!("d{i}")).collect();
        let mesh = Mesh::new(names.iter().map(|name| (name.as_str(), 1))).unwrap();
        let placements = vec![
            Placement::StridedShard {
                dim: 0,
                split_factor: MAX_RANKS
            };
            names.len()
        ];
        let shape = Shape::new([2 * MAX_RANKS]).unwrap();
        let local = mesh.local(&shape, &placements, 0).unwrap();
        assert_eq!(
            local.indices().concat(),
            crate::Slice::full(&shape).ranges()
        );
    }

    #[test]
    fn sizes_are_those_of_all_ranks() {
        for split_factor in [1, 2, 3, 7] {
            for ranks in 1..12 {
                let cut = Cut {
                    split_factor,
                    ranks,
                };
                for n in 0..50 {
                    let all: BTreeSet<u64> = (0..ranks).map(|rank| cut.size(n, rank)).collect();
                    let sizes: BTreeSet<u64> = cut.sizes(n).collect();
                    assert_eq!(sizes, all, "{n} over {ranks}, {split_factor}");
                }
            }
        }
    }
}
