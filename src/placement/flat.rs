//! Many tensors as one: the flat parameter of `FullyShardedDataParallel`.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::tensor::{check_rank, chunk};

/// Several tensors, flattened and put one after the other, to be cut into equal chunks: the
/// `FlatParameter` of `torch.distributed.fsdp` (FSDP1).
///
/// The last chunks are padded with zeros to the length of the first. A rank makes its chunk by
/// filling the elements that [`FlatPart::range`] gives of each tensor ([`Fill::flat`]) at
/// [`FlatPart::offset`] of a buffer of zeros.
///
/// ```
/// use fanin::{Fill, Init, Tensor, cpu};
/// use fanin::placement::FlatParameter;
///
/// let fills = [
///     Fill::new(&Tensor::new("weight", [3, 5])?, &Init::normal(0.0, 0.02), 42)?,
///     Fill::new(&Tensor::new("bias", [3])?, &Init::ones(), 42)?,
/// ];
/// let flat = FlatParameter::new([15, 3], 0)?;
/// // Rank 3 of 4 holds elements 15 to 18 of the 18, and 2 zeros.
/// let shard = flat.shard(3, 4)?;
/// assert_eq!((shard.elements, shard.padding), (5, 2));
/// let mut chunk = vec![0f32; shard.elements as usize];
/// for (fill, part) in fills.into_iter().zip(&shard.parts) {
///     let fill = fill.flat(part.range.clone())?;
///     let out = &mut chunk[part.offset as usize..][..fill.elements() as usize];
///     cpu::fill_slice(&fill, out)?;
/// }
/// assert_eq!(chunk, [1.0, 1.0, 1.0, 0.0, 0.0]);
/// # Ok::<(), fanin::Error>(())
/// ```
///
/// [`Fill::flat`]: crate::Fill::flat
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatParameter {
    /// Where each tensor lies.
    tensors: Vec<Range<u64>>,
}

/// A rank's chunk of a [`FlatParameter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatShard {
    /// Elements of the chunk, padding included: the same for all ranks.
    pub elements: u64,
    /// The zeros at its end that lie past the last element of the flat parameter.
    pub padding: u64,
    /// What of each tensor is in it, in the order of the tensors.
    pub parts: Vec<FlatPart>,
}

/// What of one tensor lies in a [`FlatShard`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatPart {
    /// The elements in the tensor's row-major order; empty where none are in the chunk.
    pub range: Range<u64>,
    /// Where in the chunk the first of them stands; 0 where there is none.
    pub offset: u64,
}

impl FlatParameter {
    /// The flat parameter of tensors with so many elements, in this order.
    ///
    /// With `use_orig_params=True`, FSDP1 has each tensor start at a multiple of 16 bytes and the
    /// whole divisible by the number of ranks: then `align` is 16 by the bytes of an element (4 for
    /// f32, 8 for 16 bits). Without, it is 0. What lies between the tensors is in no
    /// [`FlatPart`]; torch never reads it.
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] if all of it has 2^63 elements or more.
    pub fn new(numels: impl IntoIterator<Item = u64>, align: u64) -> Result<Self> {
        let mut end = 0u64;
        let mut tensors = Vec::new();
        for numel in numels {
            let start = end.checked_next_multiple_of(align.max(1));
            let range = start.and_then(|start| Some(start..start.checked_add(numel)?));
            let range = range.filter(|range| range.end < 1 << 63);
            let range = range.ok_or_else(|| Error::Placement {
                tensor: None,
                placement: "flat parameter".to_owned(),
                reason: "has more than 2^63 elements: make several of its tensors".to_owned(),
            })?;
            end = range.end;
            tensors.push(range);
        }
        Ok(FlatParameter { tensors })
    }

    /// The elements of all tensors and what lies between them.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.tensors.last().map_or(0, |range| range.end)
    }

    /// The chunk of rank `rank` of `size`.
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] for a rank that is not below `size`.
    pub fn shard(&self, rank: u64, size: u64) -> Result<FlatShard> {
        check_rank(rank, size)?;
        let total = self.elements();
        let elements = total.div_ceil(size);
        let held = chunk(total, rank, size);
        let parts = self.tensors.iter().map(|tensor| {
            let start = held.start.max(tensor.start);
            let end = held.end.min(tensor.end);
            if start >= end {
                return FlatPart {
                    range: 0..0,
                    offset: 0,
                };
            }
            FlatPart {
                range: start - tensor.start..end - tensor.start,
                offset: start - held.start,
            }
        });
        Ok(FlatShard {
            elements,
            padding: elements - (held.end - held.start),
            parts: parts.collect(),
        })
    }
}
