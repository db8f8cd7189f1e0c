//! The request that every backend takes: which elements, of what distribution, from which
//! stream.

use std::ops::Range;

use crate::error::Result;
use crate::init::{Distribution, Init};
use crate::tensor::{DType, Shape, Slice, Tensor};

/// One fill: a tensor, or a slice of it, with its distribution, seed and dtype.
///
/// A `Fill` is only numbers and a name; it allocates no weights. Hand it to
/// [`cpu::fill`](crate::cpu::fill), or to a GPU, as often as wanted: the bits are the same.
///
/// ```
/// use fanin::{DType, Fill, Init, Tensor};
///
/// let weight = Tensor::new("encoder.weight", [512, 784])?;
/// let fill = Fill::new(&weight, &Init::kaiming_normal(), 42)?
///     .with_dtype(DType::BF16)
///     .slice([128..256, 0..784])?;
/// assert_eq!(fill.elements(), 128 * 784);
/// assert_eq!(fill.bytes(), 2 * 128 * 784);
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Fill {
    tensor: Tensor,
    local: Slice,
    distribution: Distribution,
    seed: u64,
    dtype: DType,
}

impl Fill {
    /// The whole tensor in f32, initialized by `init` from `seed`.
    ///
    /// # Errors
    ///
    /// What [`Init::resolve`] finds wrong, naming the tensor: a parameter out of range, fans
    /// of a shape that has none, a number that only a recipe could have filled in.
    pub fn new(tensor: &Tensor, init: &Init, seed: u64) -> Result<Self> {
        Fill::from_distribution(tensor, init.resolve(tensor)?, seed)
    }

    /// The whole tensor in f32, of a distribution that is already resolved.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`](crate::Error::Parameter), naming the tensor, for a distribution
    /// that its own constructors would refuse.
    pub fn from_distribution(
        tensor: &Tensor,
        distribution: Distribution,
        seed: u64,
    ) -> Result<Self> {
        distribution
            .check()
            .map_err(|error| error.named(tensor.name()))?;
        Ok(Fill {
            local: Slice::full(tensor.shape()),
            tensor: tensor.clone(),
            distribution,
            seed,
            dtype: DType::F32,
        })
    }

    /// Sets the dtype of the elements.
    #[must_use]
    pub fn with_dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Narrows the fill to a part of the tensor, given in indices of the whole tensor.
    ///
    /// The part holds the bits that the whole would hold there. A second call replaces the
    /// first.
    ///
    /// # Errors
    ///
    /// As [`Slice::new`], naming the tensor.
    pub fn slice(mut self, ranges: impl AsRef<[Range<u64>]>) -> Result<Self> {
        self.local = Slice::new(ranges.as_ref(), self.tensor.shape())
            .map_err(|error| error.named(self.tensor.name()))?;
        Ok(self)
    }

    /// The tensor's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.tensor.name()
    }

    /// The seed: the generator's 64-bit key.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The stream id: the upper half of the generator's counter.
    #[must_use]
    pub fn stream(&self) -> u64 {
        self.tensor.stream()
    }

    /// The shape of the whole tensor.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        self.tensor.shape()
    }

    /// The part that is filled; the whole tensor unless [`Fill::slice`] narrowed it.
    #[must_use]
    pub fn local(&self) -> &Slice {
        &self.local
    }

    /// The dtype of the elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// What the elements are drawn from.
    #[must_use]
    pub fn distribution(&self) -> &Distribution {
        &self.distribution
    }

    /// The number of elements to be filled: those of the slice.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.local.elements()
    }

    /// The number of bytes to be filled.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.elements() * self.dtype.size()
    }

    /// Checks that `bytes` bytes are a whole number of elements of the slice, from its element
    /// `start` on.
    pub(crate) fn check_range(&self, start: u64, bytes: u64) -> Result<()> {
        let size = self.dtype.size();
        let available = self.elements().saturating_sub(start);
        if bytes.is_multiple_of(size) && bytes / size <= available {
            return Ok(());
        }
        Err(crate::Error::LengthMismatch {
            tensor: self.name().to_owned(),
            expected: available,
            got: bytes / size,
        })
    }
}
