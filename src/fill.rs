//! The request that every backend takes: elements, their distribution and their stream.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::init::{Distribution, DistributionKind, Init};
use crate::part::Part;
use crate::tensor::{DType, Shape, Slice, Tensor};

/// A fill: a tensor, or a part of it, with its distribution, seed and dtype.
///
/// A `Fill` is only numbers and a name; it allocates no weights. Hand it to
/// [`cpu::fill`](crate::cpu::fill), or to a GPU, any number of times: the bits are the same.
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
    local: Part,
    distribution: Distribution,
    /// Shared, because backends copy fills.
    parts: Option<Arc<Vec<FillPart>>>,
    seed: u64,
    dtype: DType,
}

/// A part of a tensor that has an initializer of its own, from [`Fill::with_part`].
#[derive(Clone, Debug, PartialEq)]
pub struct FillPart {
    slice: Slice,
    /// The part as a tensor by itself: its shape and fans, and the stream of initializers that depend
    /// on rows and columns.
    tensor: Tensor,
    distribution: Distribution,
}

impl FillPart {
    /// Returns the part, in indices of the whole tensor.
    #[must_use]
    pub fn slice(&self) -> &Slice {
        &self.slice
    }

    /// Returns the distribution of the part's elements.
    #[must_use]
    pub fn distribution(&self) -> &Distribution {
        &self.distribution
    }
}

impl Fill {
    /// Makes a fill of the whole tensor in f32, initialized by `init` from `seed`.
    ///
    /// # Errors
    ///
    /// The errors of [`Init::resolve`], naming the tensor: a parameter out of range, fans of a shape
    /// that has none, a number that only a recipe can fill in.
    pub fn new(tensor: &Tensor, init: &Init, seed: u64) -> Result<Self> {
        Ok(Fill::from_distribution(tensor, init.resolve(tensor)?, seed))
    }

    /// Makes a fill of the whole tensor in f32, with a distribution that is already resolved.
    #[must_use]
    pub fn from_distribution(tensor: &Tensor, distribution: Distribution, seed: u64) -> Self {
        Fill {
            local: Part::slice(Slice::full(tensor.shape())),
            tensor: tensor.clone(),
            distribution,
            parts: None,
            seed,
            dtype: DType::F32,
        }
    }

    /// Gives a part of the tensor an initializer of its own. `ranges` are in indices of the whole
    /// tensor.
    ///
    /// The fans are those of the part's shape, with the tensor's layout, groups and axes. If several
    /// parts hold an element, the first one applies. Elements outside of all parts keep the tensor's
    /// own initializer.
    ///
    /// An initializer that draws each element by itself (normal, uniform, truncated, and constants)
    /// gives an element the bits that it would give it in the whole tensor. An initializer that
    /// depends on rows and columns (identity, orthogonal, sparse, tables, ...) treats the part as a
    /// tensor by itself, with a stream of its own (`docs/STREAM.md`).
    ///
    /// ```
    /// use fanin::{Fill, Init, Tensor, cpu};
    ///
    /// // The biases of an LSTM of 4 units: the forget gate starts at 1.
    /// let bias = Tensor::new("lstm.bias_ih_l0", [16])?;
    /// let fill = Fill::new(&bias, &Init::zeros(), 42)?.with_part([4..8], &Init::ones())?;
    /// let mut values = vec![0f32; 16];
    /// cpu::fill_slice(&fill, &mut values)?;
    /// assert_eq!(values[3..9], [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    /// # Ok::<(), fanin::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`Slice::new`], and those of [`Init::resolve`] for the part. They name the tensor.
    pub fn with_part(self, ranges: impl AsRef<[Range<u64>]>, init: &Init) -> Result<Self> {
        let slice = Slice::new(ranges.as_ref(), self.tensor.shape())
            .map_err(|error| error.named(self.tensor.name()))?;
        let tensor = self.tensor.part(&slice)?;
        let distribution = init.resolve(&tensor)?;
        Ok(self.with_part_of(slice, tensor, distribution))
    }

    /// Adds a part, given also as a tensor by itself.
    pub(crate) fn with_part_of(
        mut self,
        slice: Slice,
        tensor: Tensor,
        distribution: Distribution,
    ) -> Self {
        let part = FillPart {
            slice,
            tensor,
            distribution,
        };
        // Copied, because clones of this fill share the list.
        Arc::make_mut(self.parts.get_or_insert_default()).push(part);
        self
    }

    /// Sets the dtype of the elements.
    #[must_use]
    pub fn with_dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Narrows the fill to a part of the tensor, given in indices of the whole tensor.
    ///
    /// The part holds the bits that the whole would hold there. A second call, of this or of
    /// [`Fill::blocks`] or [`Fill::flat`], replaces the first.
    ///
    /// # Errors
    ///
    /// The errors of [`Slice::new`], naming the tensor.
    pub fn slice(mut self, ranges: impl AsRef<[Range<u64>]>) -> Result<Self> {
        self.local = Slice::new(ranges.as_ref(), self.tensor.shape())
            .map(Part::slice)
            .map_err(|error| error.named(self.tensor.name()))?;
        Ok(self)
    }

    /// Narrows the fill to several slices of the tensor, put together along the one dimension in
    /// which they differ.
    ///
    /// A rank holds such a part if two dimensions of the mesh cut an axis, the later one first (see
    /// [`Placement::StridedShard`](crate::Placement::StridedShard)). The part is a tensor of its own,
    /// and each slice has the bits that it has in the whole. Along the dimensions outside of the one
    /// in which they differ, the slices must have a single index, so that they lie one after the other
    /// in memory. Blocks of rows always do.
    ///
    /// ```
    /// use fanin::{Fill, Init, Tensor};
    ///
    /// let tensor = Tensor::new("w", [8, 4])?;
    /// let fill = Fill::new(&tensor, &Init::normal(0.0, 0.02), 42)?;
    /// let fill = fill.blocks([[0..2, 0..4], [5..6, 0..4]])?;
    /// assert_eq!(fill.local().dims(), [3, 4]);
    /// # Ok::<(), fanin::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Slice`], naming the tensor, for a slice that [`Slice::new`] refuses, for no slice, and
    /// for slices that differ along several dimensions, overlap, are out of order or do not lie one
    /// after the other.
    pub fn blocks<S: AsRef<[Range<u64>]>>(
        mut self,
        slices: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let slices: Result<Vec<Slice>> = slices
            .into_iter()
            .map(|ranges| Slice::new(ranges.as_ref(), self.tensor.shape()))
            .collect();
        self.local = slices
            .and_then(Part::blocks)
            .map_err(|error| error.named(self.tensor.name()))?;
        Ok(self)
    }

    /// Narrows the fill to the elements `range` of the tensor's row-major order, as one dimension.
    ///
    /// A rank holds such a part if the tensor is flattened before it is cut (see
    /// [`FlatParameter`](crate::placement::FlatParameter)).
    ///
    /// ```
    /// use fanin::{Fill, Init, Tensor, cpu};
    ///
    /// let tensor = Tensor::new("w", [3, 5])?;
    /// let whole = Fill::new(&tensor, &Init::normal(0.0, 0.02), 42)?;
    /// let mut weights = vec![0f32; 15];
    /// cpu::fill_slice(&whole, &mut weights)?;
    ///
    /// let mut part = vec![0f32; 4];
    /// cpu::fill_slice(&whole.flat(8..12)?, &mut part)?;
    /// assert_eq!(part, weights[8..12]);
    /// # Ok::<(), fanin::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Slice`], naming the tensor, for a range that ends before it
    /// starts or after the last element.
    pub fn flat(mut self, range: Range<u64>) -> Result<Self> {
        self.local = Part::run(range, self.tensor.shape())
            .map_err(|error| error.named(self.tensor.name()))?;
        Ok(self)
    }

    /// Narrows the fill to a part that was made for the shape of its tensor.
    #[cfg(feature = "checkpoint")]
    pub(crate) fn narrowed(mut self, part: Part) -> Self {
        self.local = part;
        self
    }

    /// Returns the tensor's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.tensor.name()
    }

    /// Returns the seed: the generator's 64-bit key.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the stream id: the upper half of the generator's counter.
    #[must_use]
    pub fn stream(&self) -> u64 {
        self.tensor.stream()
    }

    /// Returns the shape of the whole tensor.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        self.tensor.shape()
    }

    /// Returns the part that is filled: the whole tensor unless [`Fill::slice`], [`Fill::blocks`] or
    /// [`Fill::flat`] narrowed it.
    #[must_use]
    pub fn local(&self) -> &Part {
        &self.local
    }

    /// Returns the dtype of the elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns the distribution of the elements, of those outside of all [`parts`](Fill::parts).
    #[must_use]
    pub fn distribution(&self) -> &Distribution {
        &self.distribution
    }

    /// Returns the parts that have an initializer of their own. The first one that holds an element
    /// applies to it.
    #[must_use]
    pub fn parts(&self) -> &[FillPart] {
        self.parts.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Returns the fill of the elements that the tensor's own initializer makes, as if there were no
    /// parts.
    pub(crate) fn without_parts(&self) -> Fill {
        Fill {
            parts: None,
            ..self.clone()
        }
    }

    /// Returns the fill of a part's elements. Elements that are drawn one by one have the same
    /// positions as in this fill. Others have those of the part as a tensor by itself.
    pub(crate) fn of_part(&self, part: &FillPart) -> Fill {
        if part.distribution.is_elementwise() {
            return Fill {
                distribution: part.distribution.clone(),
                ..self.without_parts()
            };
        }
        // Whole, even if this fill is narrowed: the job of such a part counts positions within the part.
        Fill::from_distribution(&part.tensor, part.distribution.clone(), self.seed)
            .with_dtype(self.dtype)
    }

    /// Returns the same fill for a tensor of another name. It keeps the stream.
    #[cfg(feature = "recipe")]
    pub(crate) fn renamed(mut self, name: &str) -> Self {
        self.tensor = self.tensor.renamed(name);
        self
    }

    /// Returns whether the whole tensor is filled, in its own shape.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.local == Part::slice(Slice::full(self.tensor.shape()))
    }

    /// Returns the number of elements of the part.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.local.elements()
    }

    /// Returns the number of bytes of the part.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.dtype.bytes_of(self.elements())
    }

    /// Returns the size in bytes of a buffer for the part on a GPU: [`bytes`](Fill::bytes), rounded up
    /// to whole 32-bit words, and at least one word, because wgpu has no empty buffers.
    ///
    /// ```
    /// use fanin::{DType, Fill, Init, Tensor};
    ///
    /// let tensor = Tensor::new("scale", [3])?;
    /// let fill = Fill::new(&tensor, &Init::ones(), 0)?.with_dtype(DType::BF16);
    /// assert_eq!((fill.bytes(), fill.buffer_size()), (6, 8));
    /// # Ok::<(), fanin::Error>(())
    /// ```
    #[must_use]
    pub fn buffer_size(&self) -> u64 {
        buffer_size(self.bytes())
    }

    /// Returns true if the elements are not made but copied from a file
    /// ([`Distribution::kept`]).
    #[must_use]
    pub fn is_kept(&self) -> bool {
        matches!(self.distribution.kind(), DistributionKind::Kept)
    }

    /// Checks that `bytes` bytes are a whole number of elements of the part, from its element
    /// `start` on.
    pub(crate) fn check_range(&self, start: u64, bytes: u64) -> Result<()> {
        let bits = self.dtype.bits();
        let available = self.elements().saturating_sub(start);
        // Saturation is safe: 2^64 bits are more than any tensor has, so such a length is refused.
        let elements = bytes.saturating_mul(8) / bits;
        let is_whole = bytes.saturating_mul(8).is_multiple_of(bits);
        // Elements of 4 and 6 bits may start within a byte, which no piece can.
        let starts_a_byte = start.saturating_mul(bits % 8).is_multiple_of(8);
        if is_whole && starts_a_byte && elements <= available {
            return Ok(());
        }
        Err(Error::LengthMismatch {
            tensor: self.name().to_owned(),
            expected: available,
            got: elements,
        })
    }
}
/// Returns the size of a buffer on a GPU for these bytes: whole 32-bit words, at least one.
pub(crate) fn buffer_size(bytes: u64) -> u64 {
    bytes.next_multiple_of(4).max(4)
}
