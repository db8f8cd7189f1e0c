//! Which part of a tensor a rank holds, in the terms of `torch.distributed`.
//!
//! The ranks of a training run form a [`Mesh`]; a tensor has one [`Placement`] for each of the
//! mesh's dimensions, as `torch.distributed.tensor.DTensor` has. [`Mesh::local`] says what a rank
//! holds then, index by index as torch would cut it, and how many elements it is short of the
//! largest rank (its padding). Since any part of a tensor can be filled on its own, a rank fills
//! what it holds, and all ranks together hold one model, whatever the mesh.
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
//! # Which placements make which part
//!
//! | placements | the part |
//! |---|---|
//! | `Replicate`, `Shard` | one [`Slice`](crate::Slice) |
//! | `StridedShard`, then `Shard` of the same dimension, evenly divided | one slice too |
//! | `StridedShard` otherwise | several slices, put together along the dimension |
//! | `Flat` | a run of elements |
//!
//! Several slices are one [`Fill`], and one tensor in a file, where they lie one after the other in
//! memory, as blocks of rows do: see [`Local::fill`].
//!
//! [`FlatParameter`] is the other way to shard flat: many tensors as one.

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

pub use flat::{FlatParameter, FlatPart, FlatShard};
#[cfg(feature = "recipe")]
pub use shard_spec::{LocalPart, ShardSpec};

/// Ranks of a mesh at most, and the largest split factor: 2^20.
const MAX_RANKS: u64 = 1 << 20;

/// The ranks of a training run in a grid of named dimensions, the first outermost: rank numbers
/// are row-major, as in torch's `init_device_mesh`.
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
    /// A mesh of these names and sizes, the first outermost.
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] for no dimension, a size of 0, more than 2^20 ranks, an empty name and
    /// one that stands twice.
    pub fn new<N: Into<String>>(dims: impl IntoIterator<Item = (N, u64)>) -> Result<Self> {
        let dims = dims.into_iter().map(|(name, size)| (name.into(), size));
        let mesh = Mesh(dims.collect());
        let refused = |reason: String| Error::Placement {
            tensor: None,
            placement: format!("mesh {:?}", mesh.to_string()),
            reason,
        };
        if mesh.0.is_empty() {
            return Err(refused("has no dimension: it needs at least one".into()));
        }
        let mut names = HashSet::new();
        for (name, _) in &mesh.0 {
            if name.is_empty() || !names.insert(name) {
                return Err(refused(format!(
                    "has dimension {name:?}: names must not be empty, and differ"
                )));
            }
        }
        let sizes = mesh.0.iter().map(|(_, size)| *size);
        let ranks = sizes.clone().try_fold(1u64, u64::checked_mul);
        match ranks {
            _ if sizes.clone().any(|size| size == 0) => Err(refused(
                "has a dimension of 0 ranks: every size must be at least 1".into(),
            )),
            Some(ranks) if ranks <= MAX_RANKS => Ok(mesh),
            _ => Err(refused(format!("has more than {MAX_RANKS} ranks"))),
        }
    }

    /// Names and sizes of the dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[(String, u64)] {
        &self.0
    }

    /// The number of ranks, from 1 to 2^20.
    #[must_use]
    pub fn ranks(&self) -> u64 {
        self.0.iter().map(|(_, size)| size).product()
    }

    /// Where a rank stands along each dimension.
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] for a rank that the mesh has not.
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

    /// What a rank holds of a tensor of this shape, with one placement for each dimension of the
    /// mesh.
    ///
    /// Placements are applied from the first to the last, each to what the ones before have left,
    /// as DTensor does; [`Placement::Flat`] comes after all others.
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] for a rank that the mesh has not, for another number of placements than
    /// the mesh has dimensions, for a dimension that the shape has not, for a split factor of 0 or
    /// beyond 2^20, for more than one `Flat`, and for one of which the other placements leave
    /// elements that are not a run of the whole tensor's.
    pub fn local(&self, shape: &Shape, placements: &[Placement], rank: u64) -> Result<Local> {
        let coordinate = self.coordinate(rank)?;
        self.check_count(placements)?;
        let dims = shape.dims();
        let mut indices: Vec<Vec<Range<u64>>> =
            dims.iter().map(|&dim| once(0..dim).collect()).collect();
        // All sizes that any rank has along each dimension, for the largest of them.
        let mut sizes: Vec<BTreeSet<u64>> = dims.iter().map(|&dim| once(dim).collect()).collect();
        let mut flat = None;
        let cuts = placements.iter().zip(&coordinate).zip(&self.0);
        for ((placement, &at), (_, ranks)) in cuts {
            let refused = |reason: String| Error::Placement {
                tensor: None,
                placement: placement.to_string(),
                reason,
            };
            let (dim, split_factor) = match *placement {
                Placement::Replicate => continue,
                Placement::Flat => {
                    if flat.replace((at, *ranks)).is_some() {
                        return Err(refused(
                            "stands twice: a tensor is flattened once, over one dimension of the \
                             mesh"
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
            let cut = Cut {
                split_factor,
                ranks: *ranks,
            };
            let held = length(&indices[axis]);
            indices[axis] = select(&indices[axis], cut.ranges(held, at), dims[axis]);
            let all = sizes[axis].iter();
            sizes[axis] = all
                .flat_map(|&size| (0..*ranks).map(move |rank| cut.size(size, rank)))
                .collect();
        }
        let padding = indices.iter().zip(&sizes).map(|(held, sizes)| {
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

    /// # Errors
    ///
    /// [`Error::Placement`] unless there is a placement for each dimension.
    pub(crate) fn check_count(&self, placements: &[Placement]) -> Result<()> {
        if placements.len() == self.0.len() {
            return Ok(());
        }
        let shown: Vec<String> = placements.iter().map(Placement::to_string).collect();
        Err(Error::Placement {
            tensor: None,
            placement: format!("[{}]", shown.join(", ")),
            reason: format!(
                "has {} placements, mesh {:?} needs {}, one for each dimension",
                placements.len(),
                self.to_string(),
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

/// What the ranks along one dimension of a mesh hold of a tensor: the placements of
/// `torch.distributed.tensor`, and the flat shards of `FullyShardedDataParallel`.
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
    /// `Replicate()`: every rank the whole.
    Replicate,
    /// `Shard(dim)`: a piece of one dimension each, as `torch.chunk` cuts it. See
    /// [`Slice::tensor_parallel`](crate::Slice::tensor_parallel).
    Shard {
        /// The dimension that is cut.
        dim: i64,
    },
    /// `_StridedShard(dim, split_factor)`: the dimension is first cut into `split_factor` chunks,
    /// then each of them into one for each rank; a rank holds its piece of every chunk.
    ///
    /// It says in a mesh whose first dimension is fully sharded and whose last is tensor-parallel
    /// that tensor parallelism cuts first: `[strided_shard(0,split_factor=T), shard(0)]` with T the
    /// ranks of the tensor-parallel dimension.
    StridedShard {
        /// The dimension that is cut.
        dim: i64,
        /// Chunks that are cut first, from 1 to 2^20.
        split_factor: u64,
    },
    /// What FSDP1 does with a tensor on its own: what the other placements leave is flattened and
    /// cut as `torch.chunk` does, and the last ranks are padded to the length of the first.
    ///
    /// The other placements must leave a run of the tensor's elements: the whole, or a piece of
    /// the first dimension.
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
            tensor: None,
            kind: "placement",
            value: text.to_owned(),
            accepted: "use replicate, shard(DIM), strided_shard(DIM,split_factor=N) or flat"
                .to_owned(),
        })
    }
}

/// What a rank holds of a tensor: [`Mesh::local`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    flat: bool,
    /// At least one range a dimension: an empty one where there are no others.
    indices: Vec<Vec<Range<u64>>>,
    padding: Vec<u64>,
}

impl Local {
    /// Whether the part is a run of elements: then it has one dimension, the elements in row-major
    /// order.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.flat
    }

    /// The indices that the rank holds along each dimension of the tensor, ascending ranges that
    /// do not touch; one range except where [`Placement::StridedShard`] makes several. A dimension
    /// of which the rank holds nothing has one empty range, at the dimension's end.
    ///
    /// The rank holds the elements all of whose indices are in these ranges, with the ranges of a
    /// dimension put together.
    #[must_use]
    pub fn indices(&self) -> &[Vec<Range<u64>>] {
        &self.indices
    }

    /// The dimensions of the rank's part, without padding; one of them is 0 where it holds nothing.
    #[must_use]
    pub fn dims(&self) -> Vec<u64> {
        self.indices.iter().map(|held| length(held)).collect()
    }

    /// The first index along each dimension: the global offset, as torch's
    /// `compute_local_shape_and_global_offset` gives it. That of a dimension of which the rank
    /// holds nothing is the dimension itself.
    #[must_use]
    pub fn offsets(&self) -> Vec<u64> {
        let first = |held: &Vec<Range<u64>>| held.first().map_or(0, |range| range.start);
        self.indices.iter().map(first).collect()
    }

    /// How many indices the part is short of the largest rank's along each dimension: what torch
    /// appends in zeros before collectives that need equal sizes. For [`Placement::Flat`] the
    /// elements that it is short of those of the first rank that shares its other coordinates.
    #[must_use]
    pub fn padding(&self) -> &[u64] {
        &self.padding
    }

    /// Narrows a fill to this part.
    ///
    /// # Errors
    ///
    /// [`Error::Slice`], naming the tensor, for a fill of another shape. [`Error::Placement`],
    /// naming it, where [`Placement::StridedShard`] makes several slices that do not lie one after
    /// the other in memory, since dimensions further out have more than one index: there,
    /// [`Local::indices`] says what to fill, slice by slice.
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
                tensor: Some(fill.name().to_owned()),
                placement: format!("slice {:?}", shown(&self.indices)),
                reason: "is several slices that do not lie one after the other: use strided \
                         shards along the first dimension, or a split that leaves one slice"
                    .to_owned(),
            });
        }
        fill.blocks(self.indices[axis].iter().map(|range| {
            let mut slice = firsts.clone();
            slice[axis] = range.clone();
            slice
        }))
    }

    /// What rank `at` of `ranks` holds of this part if it is flattened and cut again.
    fn flattened(self, shape: &Shape, at: u64, ranks: u64) -> Result<Local> {
        let dims = self.dims();
        let elements: u64 = dims.iter().product();
        let mut stride = 1;
        let mut start = 0;
        // Inside of the outermost dimension with several indices, all must be whole.
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
                tensor: None,
                placement: Placement::Flat.to_string(),
                reason: format!(
                    "needs a run of elements, but the other placements leave {} of shape {shape}: \
                     cut the first dimension, or use no flat",
                    shown(&self.indices)
                ),
            });
        }
        let cut = chunk(elements, at, ranks);
        let padding = chunk(elements, 0, ranks).end - (cut.end - cut.start);
        Ok(Local {
            flat: true,
            indices: vec![once(start + cut.start..start + cut.end).collect()],
            padding: vec![padding],
        })
    }
}

fn shown(indices: &[Vec<Range<u64>>]) -> String {
    let dimension = |held: &Vec<Range<u64>>| {
        let ranges = held.iter().map(|r| format!("{}:{}", r.start, r.end));
        ranges.collect::<Vec<_>>().join("+")
    };
    indices.iter().map(dimension).collect::<Vec<_>>().join(",")
}

/// How the ranks along one dimension of a mesh cut a dimension of a tensor: into `split_factor`
/// chunks, and each of them into `ranks`.
///
/// As `_StridedShard._split_tensor` of `torch.distributed.tensor.placement_types`; `Shard` is the
/// case of one chunk.
#[derive(Clone, Copy)]
struct Cut {
    split_factor: u64,
    ranks: u64,
}

impl Cut {
    /// The first cut's chunks of n indices that are not empty: how many are full, how long those
    /// are, and how long the one after them is.
    fn chunks(self, n: u64) -> (u64, u64, u64) {
        let full = n.div_ceil(self.split_factor).max(1);
        (n / full, full, n % full)
    }

    /// What a rank holds of n indices: ascending ranges.
    fn ranges(self, n: u64, rank: u64) -> impl Iterator<Item = Range<u64>> {
        let (count, full, rest) = self.chunks(n);
        (0..=count).map(move |i| {
            let length = if i < count { full } else { rest };
            let piece = chunk(length, rank, self.ranks);
            i * full + piece.start..i * full + piece.end
        })
    }

    /// How many indices that is.
    fn size(self, n: u64, rank: u64) -> u64 {
        let (count, full, rest) = self.chunks(n);
        let piece = |length| {
            let piece = chunk(length, rank, self.ranks);
            piece.end - piece.start
        };
        count * piece(full) + piece(rest)
    }
}

fn length(held: &[Range<u64>]) -> u64 {
    held.iter().map(|range| range.end - range.start).sum()
}

/// The indices at ascending `positions` of the ranges put together, neighbours merged; an empty
/// range at `end` if there are none.
fn select(
    held: &[Range<u64>],
    positions: impl Iterator<Item = Range<u64>>,
    end: u64,
) -> Vec<Range<u64>> {
    let mut selected: Vec<Range<u64>> = Vec::new();
    // Position of the first index of the range that is looked at.
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
