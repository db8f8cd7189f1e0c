//! Many tensors as one vector: the flat parameter of `FullyShardedDataParallel`.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::tensor::{check_rank, chunk};

/// Several tensors, flattened and concatenated, then cut into equal chunks: the `FlatParameter` of
/// `torch.distributed.fsdp` (FSDP1).
///
/// The last chunks are padded with zeros to the length of the first. To make its chunk, a rank
/// takes a buffer of zeros and fills the elements [`FlatPart::range`] of each tensor
/// ([`Fill::flat`]) at [`FlatPart::offset`].
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
    /// The elements of each tensor in the flat parameter.
    tensors: Vec<Range<u64>>,
}

/// A rank's chunk of a [`FlatParameter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatShard {
    /// The elements of the chunk, padding included: the same for all ranks.
    pub elements: u64,
    /// The zeros at the end of the chunk, past the last element of the flat parameter.
    pub padding: u64,
    /// The parts of the tensors in the chunk, one for each tensor, in their order.
    pub parts: Vec<FlatPart>,
}

/// The part of one tensor in a [`FlatShard`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatPart {
    /// The elements, in the tensor's row-major order. The range is empty if none is in the chunk.
    pub range: Range<u64>,
    /// The position of the first of them in the chunk, or 0 if there is none.
    pub offset: u64,
}

impl FlatParameter {
    /// Makes the flat parameter of tensors with these numbers of elements, in this order.
    ///
    /// With `use_orig_params=True`, FSDP1 aligns each tensor to 16 bytes and makes the whole
    /// divisible by the number of ranks. Give 16 divided by the bytes of an element for `align`
    /// then: 4 for f32, 8 for 16 bits. Give 0 without it. The gaps between tensors are in no
    /// [`FlatPart`]; torch never reads them.
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] if the whole has 2^63 elements or more.
    pub fn new(numels: impl IntoIterator<Item = u64>, align: u64) -> Result<Self> {
        let mut end = 0u64;
        let mut tensors = Vec::new();
        for numel in numels {
            // `checked_next_multiple_of` has no result for 0.
            let start = end.checked_next_multiple_of(align.max(1));
            let range = start.and_then(|start| Some(start..start.checked_add(numel)?));
            let range = range.filter(|range| range.end < 1 << 63);
            let range = range.ok_or_else(|| Error::Placement {
                placement: "flat parameter".to_owned(),
                reason: "has 2^63 elements or more: divide the tensors among several".to_owned(),
            })?;
            end = range.end;
            tensors.push(range);
        }
        Ok(FlatParameter { tensors })
    }

    /// The elements of all tensors, and of the gaps between them.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.tensors.last().map_or(0, |range| range.end)
    }

    /// Returns the chunk of rank `rank` of `size`.
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
