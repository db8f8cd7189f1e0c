//! What a tensor is to the generator: a name, a shape, a layout; and parts of it.
//!
//! The name picks the stream, the position in the row-major order of the whole tensor picks
//! the element of that stream. So a weight depends on nothing but what stands here, the seed
//! and the initializer: not on other tensors, and not on the order in which they are filled.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The most elements that a tensor can have: 2^50, the 48-bit block counter times 4 lanes.
pub const MAX_ELEMENTS: u64 = 1 << 50;

/// The stream id of a tensor name: the first 8 bytes, read little-endian, of the SHA-256 of
/// the name in UTF-8.
///
/// ```
/// assert_eq!(fanin::stream_id("w"), 17_734_696_886_724_432);
/// ```
#[must_use]
pub fn stream_id(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(id)
}

/// The type of a stored element.
///
/// f16 and bf16 are the binary32 value rounded to nearest, ties to even: initializing in
/// 16 bits equals initializing in f32 and casting.
///
/// As text: `f32`, `f16`, `bf16`; also read are safetensors' `F32`, `F16`, `BF16` and torch's
/// `float32`, `float16`, `bfloat16` (and `half`, `float`).
///
/// ```
/// use fanin::DType;
///
/// assert_eq!("bfloat16".parse::<DType>()?, DType::BF16);
/// assert_eq!(DType::BF16.to_string(), "bf16");
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 binary32.
    #[default]
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: the upper half of a binary32.
    BF16,
}

impl DType {
    /// Bytes of an element.
    #[must_use]
    pub const fn size(self) -> u64 {
        match self {
            DType::F32 => 4,
            DType::F16 | DType::BF16 => 2,
        }
    }

    /// `f32`, `f16` or `bf16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" | "F32" | "float32" | "float" => Ok(DType::F32),
            "f16" | "F16" | "float16" | "half" => Ok(DType::F16),
            "bf16" | "BF16" | "bfloat16" => Ok(DType::BF16),
            _ => Err(Error::Unknown {
                tensor: None,
                kind: "dtype",
                value: text.to_owned(),
                accepted: "use f32, f16 or bf16".to_owned(),
            }),
        }
    }
}

/// Which axes of a weight are its inputs and outputs: only fans depend on it, never the order
/// in which elements are stored or numbered.
///
/// As text: `out_in`, `in_out`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// torch: `[out, in / groups, k...]`, as in `torch.nn.Linear` and `torch.nn.Conv2d`.
    #[default]
    OutIn,
    /// Keras, JAX, numpy: `[k..., in / groups, out]`, as in `keras.layers.Dense` and
    /// `flax.linen.Conv`.
    InOut,
}

impl Layout {
    /// `out_in` or `in_out`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Layout::OutIn => "out_in",
            Layout::InOut => "in_out",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "out_in" => Ok(Layout::OutIn),
            "in_out" => Ok(Layout::InOut),
            _ => Err(Error::Unknown {
                tensor: None,
                kind: "layout",
                value: text.to_owned(),
                accepted: "use out_in (torch) or in_out (Keras, JAX, numpy)".to_owned(),
            }),
        }
    }
}

/// In files, the names stand for the values: what `FromStr` reads is what serde reads.
macro_rules! serde_by_name {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_by_name!(DType, Layout);

/// The dimensions of a tensor, outermost first.
///
/// Rank 0 is a scalar: one element. A dimension of 0 makes an empty tensor, which has no element:
/// there is nothing to initialize, and every initializer will do.
///
/// ```
/// use fanin::Shape;
///
/// let shape = Shape::new([50257, 768])?;
/// assert_eq!(shape.elements(), 38_597_376);
/// assert_eq!(shape.to_string(), "[50257, 768]");
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape(Vec<u64>);

impl Shape {
    /// A shape of these dimensions.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for more than [`MAX_ELEMENTS`] elements. An empty tensor is held to the same
    /// limit with its zeros left out, as numpy holds one to its own: so no product of dimensions
    /// overflows. The error names no tensor: see [`Error::named`].
    pub fn new(dims: impl Into<Vec<u64>>) -> Result<Self> {
        let shape = Shape(dims.into());
        let refused = |reason: String| Error::Shape {
            tensor: None,
            shape: shape.to_string(),
            reason,
        };
        let mut nonzero = shape.0.iter().filter(|&&dim| dim > 0);
        let product = nonzero.try_fold(1u64, |product, &dim| product.checked_mul(dim));
        match product {
            Some(product) if product <= MAX_ELEMENTS => Ok(shape),
            _ if shape.0.contains(&0) => Err(refused(format!(
                "is empty, but its other dimensions multiply to more than 2^50 = {MAX_ELEMENTS}: \
                 they are held to what a tensor may have"
            ))),
            _ => Err(refused(format!(
                "has more than 2^50 = {MAX_ELEMENTS} elements, the most that one stream numbers"
            ))),
        }
    }

    /// The axis that a number means, negative ones counted from the last.
    pub(crate) fn axis(&self, dim: i64) -> Option<usize> {
        let rank = self.0.len() as i64;
        let axis = if dim < 0 { dim.checked_add(rank)? } else { dim };
        (0..rank).contains(&axis).then_some(axis as usize)
    }

    /// For messages: what numbers [`Shape::axis`] takes.
    pub(crate) fn has_no_axis(&self) -> String {
        match self.0.len() {
            0 => "cuts a dimension, but a scalar has none: use replicate or flat".to_owned(),
            rank => format!(
                "cuts no dimension of shape {self}: use 0 to {}, or -{rank} to -1",
                rank - 1
            ),
        }
    }

    /// The dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[u64] {
        &self.0
    }

    /// The number of dimensions.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The number of elements, from 0 to [`MAX_ELEMENTS`].
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.0.iter().product()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:?}", self.0))
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// What chunk `rank` of `size` holds of n indices, as `torch.chunk` cuts them: `ceil(n / size)` each
/// while there are so many, then what is left, then nothing.
pub(crate) fn chunk(n: u64, rank: u64, size: u64) -> Range<u64> {
    let length = n.div_ceil(size);
    let start = rank.saturating_mul(length).min(n);
    start..start.saturating_add(length).min(n)
}

/// # Errors
///
/// [`Error::Placement`] unless `rank` is one of `size`.
pub(crate) fn check_rank(rank: u64, size: u64) -> Result<()> {
    if rank < size {
        return Ok(());
    }
    Err(Error::Placement {
        tensor: None,
        placement: format!("rank {rank} of {size}"),
        reason: match size {
            0 => "is none: there must be at least 1".to_owned(),
            size => format!("is none of them: ranks are 0 to {}", size - 1),
        },
    })
}

/// A rectangular part of a tensor: one range of indices for each dimension.
///
/// An empty range is allowed and makes an empty slice: the part that a rank beyond the end of
/// an axis holds.
///
/// As text, a range a dimension, ends left out as in Python: `0:100,0:512`, `:,5:`.
///
/// ```
/// use fanin::{Shape, Slice};
///
/// let shape = Shape::new([4096, 4096])?;
/// let rows = Slice::new([1024..2048, 0..4096], &shape)?;
/// assert_eq!(rows, Slice::parse("1024:2048,:", &shape)?);
/// assert_eq!(rows.elements(), 1024 * 4096);
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slice(Vec<Range<u64>>);

impl Slice {
    /// The whole tensor.
    #[must_use]
    pub fn full(shape: &Shape) -> Self {
        Slice(shape.0.iter().map(|&dim| 0..dim).collect())
    }

    /// The part of a tensor of this shape that the ranges cut out.
    ///
    /// # Errors
    ///
    /// [`Error::Slice`] where the number of ranges is not the shape's rank, or a range ends
    /// before it starts or after its dimension. The error names no tensor: see
    /// [`Error::named`].
    pub fn new(ranges: impl Into<Vec<Range<u64>>>, shape: &Shape) -> Result<Self> {
        let slice = Slice(ranges.into());
        let refused = |reason: String| Error::Slice {
            tensor: None,
            slice: slice.to_string(),
            reason,
        };
        if slice.0.len() != shape.rank() {
            return Err(refused(format!(
                "has {} ranges, shape {shape} needs {}, one for each dimension",
                slice.0.len(),
                shape.rank()
            )));
        }
        for (axis, (range, dim)) in slice.0.iter().zip(shape.dims()).enumerate() {
            if range.start > range.end || range.end > *dim {
                return Err(refused(format!(
                    "does not lie within shape {shape}: dimension {axis} needs \
                     0 <= start <= end <= {dim}"
                )));
            }
        }
        Ok(slice)
    }

    /// What rank `rank` of `size` holds of a tensor of this shape that is cut along one dimension,
    /// as by tensor parallelism.
    ///
    /// The cut is `Shard(dim)` of `torch.distributed.tensor.placement_types`, which is that of
    /// `torch.chunk`: rank r holds indices `r * c` to `(r + 1) * c` with `c = ceil(n / size)`, so
    /// the last ranks may hold less, or nothing. A negative `dim` counts from the last dimension.
    ///
    /// ```
    /// use fanin::{Shape, Slice};
    ///
    /// let shape = Shape::new([10, 4])?;
    /// let rows = |rank| Slice::tensor_parallel(&shape, 0, rank, 4).map(|slice| slice.to_string());
    /// assert_eq!(rows(0)?, "0:3,0:4");
    /// assert_eq!(rows(3)?, "9:10,0:4");
    /// let columns = Slice::tensor_parallel(&shape, -1, 1, 2)?;
    /// assert_eq!(columns.to_string(), "0:10,2:4");
    /// # Ok::<(), fanin::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] for a dimension that the shape has not, and for a rank that is not
    /// below `size`.
    pub fn tensor_parallel(shape: &Shape, dim: i64, rank: u64, size: u64) -> Result<Self> {
        let axis = shape.axis(dim).ok_or_else(|| Error::Placement {
            tensor: None,
            placement: format!("shard({dim})"),
            reason: shape.has_no_axis(),
        })?;
        check_rank(rank, size)?;
        let mut slice = Slice::full(shape);
        slice.0[axis] = chunk(shape.0[axis], rank, size);
        Ok(slice)
    }

    /// Reads a slice of a tensor of this shape from text.
    ///
    /// A range `start:end` for each dimension, separated by commas; a missing start is 0, a
    /// missing end is the dimension. There are no negative indices and no steps.
    ///
    /// # Errors
    ///
    /// [`Error::Slice`] for text that is no slice, and as [`Slice::new`].
    pub fn parse(text: &str, shape: &Shape) -> Result<Self> {
        let refused = |reason: String| Error::Slice {
            tensor: None,
            slice: text.to_owned(),
            reason,
        };
        // A scalar has no dimension to cut: its only slice is the empty text.
        let parts: Vec<&str> = match text.trim() {
            "" => Vec::new(),
            text => text.split(',').collect(),
        };
        if parts.len() != shape.rank() {
            return Err(refused(format!(
                "has {} ranges, shape {shape} needs {}, one for each dimension",
                parts.len(),
                shape.rank()
            )));
        }
        let mut ranges = Vec::with_capacity(parts.len());
        for (part, &dim) in parts.iter().zip(shape.dims()) {
            let bound = |bound: &str, default: u64| match bound.trim() {
                "" => Some(default),
                digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
                _ => None,
            };
            let range = part
                .split_once(':')
                .and_then(|(start, end)| Some(bound(start, 0)?..bound(end, dim)?));
            ranges.push(range.ok_or_else(|| {
                refused(format!(
                    "has {:?} for a range: write start:end with whole numbers from 0, \
                     either of which may be left out",
                    part.trim()
                ))
            })?);
        }
        Slice::new(ranges, shape)
    }

    /// The range of indices along each dimension, outermost first.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.0
    }

    /// The dimensions of the part itself; one of them is 0 where the slice is empty.
    #[must_use]
    pub fn dims(&self) -> Vec<u64> {
        self.0.iter().map(|range| range.end - range.start).collect()
    }

    /// The number of elements in the part, from 0 to [`MAX_ELEMENTS`].
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).product()
    }
}

impl AsRef<[Range<u64>]> for Slice {
    fn as_ref(&self) -> &[Range<u64>] {
        &self.0
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (axis, range) in self.0.iter().enumerate() {
            let comma = if axis == 0 { "" } else { "," };
            write!(f, "{comma}{}:{}", range.start, range.end)?;
        }
        Ok(())
    }
}

/// A tensor to be initialized: its name, which picks its stream, its whole (global) shape, and
/// how its axes are meant.
///
/// ```
/// use fanin::{Layout, Tensor};
///
/// let linear = Tensor::new("encoder.weight", [512, 784])?;
/// let conv = Tensor::new("stem.kernel", [3, 3, 16, 64])?.with_layout(Layout::InOut).with_groups(2);
/// assert_eq!(linear.stream(), fanin::stream_id("encoder.weight"));
/// assert_eq!(conv.groups(), 2);
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tensor {
    name: String,
    shape: Shape,
    layout: Layout,
    /// Boxed: few tensors have them, and a list may have a million.
    fan_axes: Option<Box<FanAxes>>,
    groups: u64,
    stream: u64,
}

/// Which axes hold the inputs, the outputs and a batch, where no [`Layout`] says it: the
/// `in_axis`, `out_axis` and `batch_axis` of `jax.nn.initializers.variance_scaling`. Negative
/// numbers count from the last axis; the axes that are not named are the receptive field.
///
/// ```
/// use fanin::{FanAxes, Tensor, init::Fans};
///
/// // The query projection of 12 heads at once: [model, heads, head].
/// let query = Tensor::new("query.kernel", [768, 12, 64])?.with_fan_axes(FanAxes {
///     inputs: vec![0],
///     outputs: vec![1, 2],
///     batch: vec![],
/// });
/// assert_eq!(Fans::of(&query)?, Fans { fan_in: 768, fan_out: 768 });
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FanAxes {
    /// Axes of the inputs.
    pub inputs: Vec<i64>,
    /// Axes of the outputs.
    pub outputs: Vec<i64>,
    /// Axes along which stand independent weights, as of the experts of a mixture: they do not
    /// count.
    pub batch: Vec<i64>,
}

impl Tensor {
    /// A tensor in torch's layout, ungrouped, whose stream its name picks.
    ///
    /// # Errors
    ///
    /// As [`Shape::new`], naming the tensor.
    pub fn new(name: impl Into<String>, dims: impl Into<Vec<u64>>) -> Result<Self> {
        let name = name.into();
        match Shape::new(dims) {
            Ok(shape) => Ok(Tensor::with_shape(name, shape)),
            Err(error) => Err(error.named(&name)),
        }
    }

    /// As [`Tensor::new`], of a shape that is known to be good.
    #[must_use]
    pub fn with_shape(name: impl Into<String>, shape: Shape) -> Self {
        let name = name.into();
        let stream = stream_id(&name);
        Tensor {
            name,
            shape,
            layout: Layout::OutIn,
            fan_axes: None,
            groups: 1,
            stream,
        }
    }

    /// Sets which axes are inputs and outputs, for fans.
    #[must_use]
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets which axes are inputs and outputs one by one, for fans; the layout has no say then.
    ///
    /// That they are axes of the shape, and each named once, is checked where fans are computed.
    #[must_use]
    pub fn with_fan_axes(mut self, axes: FanAxes) -> Self {
        self.fan_axes = Some(Box::new(axes));
        self
    }

    /// Sets the number of groups of a grouped convolution, for fans; 1 is ungrouped.
    ///
    /// It must be at least 1 and divide the number of outputs; that is checked where fans are
    /// computed.
    #[must_use]
    pub fn with_groups(mut self, groups: u64) -> Self {
        self.groups = groups;
        self
    }

    /// Sets the stream id in place of the one that the name picks.
    ///
    /// Two tensors of one seed and one stream share their numbers: ids must differ.
    #[must_use]
    pub fn with_stream_id(mut self, stream: u64) -> Self {
        self.stream = stream;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole shape, also where only a slice will be filled.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Which axes are inputs and outputs.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The axes that [`Tensor::with_fan_axes`] set.
    #[must_use]
    pub fn fan_axes(&self) -> Option<&FanAxes> {
        self.fan_axes.as_deref()
    }

    /// The number of groups; 1 unless set.
    #[must_use]
    pub fn groups(&self) -> u64 {
        self.groups
    }

    /// The stream id: that of the name unless set.
    #[must_use]
    pub fn stream(&self) -> u64 {
        self.stream
    }
}

/// One line of a [`TensorList`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTensor {
    /// The tensor's name.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// Its dtype, where the list gives one.
    pub dtype: Option<DType>,
}

/// The tensors of a model: what a recipe is resolved against.
///
/// ```
/// use fanin::{ListedTensor, Shape, TensorList};
///
/// let list = TensorList::new(vec![
///     ListedTensor { name: "0.weight".into(), shape: Shape::new([512, 784])?, dtype: None },
///     ListedTensor { name: "0.bias".into(), shape: Shape::new([512])?, dtype: None },
/// ])?;
/// assert_eq!(list.elements(), 512 * 784 + 512);
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TensorList(Vec<ListedTensor>);

impl TensorList {
    /// A list of these tensors, in this order.
    ///
    /// # Errors
    ///
    /// [`Error::Duplicate`] where two have the same name: they would get the same weights.
    pub fn new(tensors: Vec<ListedTensor>) -> Result<Self> {
        let mut seen = HashSet::with_capacity(tensors.len());
        for tensor in &tensors {
            if !seen.insert(tensor.name.as_str()) {
                return Err(Error::Duplicate {
                    tensor: tensor.name.clone(),
                });
            }
        }
        Ok(TensorList(tensors))
    }

    /// The tensors, in the list's order.
    #[must_use]
    pub fn tensors(&self) -> &[ListedTensor] {
        &self.0
    }

    /// The number of elements of all tensors together: the model's parameters.
    ///
    /// 128 bits, since each tensor alone may have [`MAX_ELEMENTS`].
    #[must_use]
    pub fn elements(&self) -> u128 {
        self.0.iter().map(|t| u128::from(t.shape.elements())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[u64]) -> Shape {
        Shape::new(dims).expect("a good shape")
    }

    #[test]
    fn stream_ids_are_the_names_sha256() {
        assert_eq!(stream_id("w"), 0x003f_019c_e421_e750);
        assert_eq!(
            stream_id(""),
            u64::from_le_bytes([0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14])
        );
    }

    #[test]
    fn shapes_up_to_the_counter_are_accepted() {
        assert_eq!(shape(&[]).elements(), 1);
        assert_eq!(shape(&[MAX_ELEMENTS]).elements(), MAX_ELEMENTS);
        for dims in [
            &[MAX_ELEMENTS + 1][..],
            &[1 << 32, 1 << 32],
            &[u64::MAX, u64::MAX, u64::MAX],
        ] {
            let error = Shape::new(dims).unwrap_err().to_string();
            assert!(error.contains("more than 2^50"), "{error}");
        }
        let error = Tensor::new("a.weight", [1 << 51]).unwrap_err().to_string();
        assert_eq!(
            error,
            "tensor \"a.weight\": shape [2251799813685248] has more than 2^50 = 1125899906842624 \
             elements, the most that one stream numbers"
        );
    }

    #[test]
    fn empty_shapes_are_shapes_with_the_same_limit() {
        for dims in [
            &[0][..],
            &[3, 0],
            &[0, 0],
            &[MAX_ELEMENTS, 0],
            &[0, 1 << 25, 1 << 25],
        ] {
            let shape = shape(dims);
            assert_eq!(shape.elements(), 0, "{shape}");
            assert_eq!(Slice::full(&shape).elements(), 0, "{shape}");
        }
        assert_eq!(
            Slice::parse("0:0,:", &shape(&[0, 5])).unwrap().dims(),
            [0, 5]
        );
        // numpy refuses zeros((0, 2**40, 2**40)) too: what is left out of the count must fit.
        for dims in [
            &[0, MAX_ELEMENTS + 1][..],
            &[1 << 40, 0, 1 << 40],
            &[u64::MAX, u64::MAX, 0],
        ] {
            let error = Shape::new(dims).unwrap_err().to_string();
            assert!(
                error.contains("is empty, but its other dimensions"),
                "{error}"
            );
        }
    }

    #[test]
    fn slices_parse_like_python() {
        let shape = shape(&[10, 20]);
        let parse = |text| Slice::parse(text, &shape).map(|s| s.to_string());
        assert_eq!(parse("0:10,0:20").unwrap(), "0:10,0:20");
        assert_eq!(parse(":,5:").unwrap(), "0:10,5:20");
        assert_eq!(parse(" 2:2 , :7").unwrap(), "2:2,0:7");
        for text in [
            "",
            "0:10",
            "0:10,0:20,0:1",
            "0:11,:",
            "3:2,:",
            "1,:",
            "-1:,:",
            "0:10:2,:",
            "a:,:",
            "+1:,:",
            "0:99999999999999999999,:",
        ] {
            let error = parse(text).unwrap_err();
            assert!(matches!(error, Error::Slice { .. }), "{text}: {error}");
        }
        assert_eq!(
            Slice::parse("", &Shape::new([]).unwrap())
                .unwrap()
                .elements(),
            1
        );
        assert_eq!(Slice::parse("2:2,:", &shape).unwrap().dims(), [0, 20]);
    }

    #[test]
    fn names_are_escaped_in_messages() {
        let error = Tensor::new("a\nb\u{1b}[2J", [u64::MAX])
            .unwrap_err()
            .to_string();
        assert!(
            !error.contains('\n') && !error.contains('\u{1b}'),
            "{error}"
        );
    }
}
