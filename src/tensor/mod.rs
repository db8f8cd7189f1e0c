//! Tensors as the generator sees them: a name, a shape, a layout; and parts of them.
//!
//! The name selects the stream. The position of an element in the row-major order of the whole
//! tensor selects a number of that stream. So a weight depends on its tensor, the seed and the
//! initializer only: not on other tensors, and not on the order in which tensors are filled.

mod dtype;
mod float8;
mod layout;
mod list;
#[cfg(feature = "serde")]
mod serialize;
mod shape;
mod slice;

use sha2::{Digest, Sha256};

use crate::error::Result;

pub(crate) use dtype::DRAWN;
pub use dtype::DType;
pub(crate) use float8::{E4M3, E5M2, Float8};
pub use layout::{FanAxes, Layout};
pub use list::{ListedTensor, TensorList};
pub use shape::{MAX_ELEMENTS, Shape};
pub use slice::Slice;
pub(crate) use slice::{check_rank, chunk};

/// Returns the stream id of a tensor name: the first 8 bytes, read little-endian, of the SHA-256 of
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

/// A tensor to be initialized: its name, which selects its stream, its whole (global) shape, and
/// the meaning of its axes.
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
    /// Boxed, because few tensors have them and a list may have a million tensors.
    fan_axes: Option<Box<FanAxes>>,
    groups: u64,
    stream: u64,
}

impl Tensor {
    /// Makes an ungrouped tensor in torch's layout, with the stream that its name selects.
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

    /// Makes a tensor as [`Tensor::new`] does, of a shape that was checked before.
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

    /// Sets the layout, for the fans.
    #[must_use]
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets the axes of inputs and outputs one by one, for the fans. The layout is ignored then.
    ///
    /// Computing the fans checks that they are axes of the shape, each named once.
    #[must_use]
    pub fn with_fan_axes(mut self, axes: FanAxes) -> Self {
        self.fan_axes = Some(Box::new(axes));
        self
    }

    /// Sets the number of groups of a grouped convolution, for the fans. 1 is ungrouped.
    ///
    /// It must be at least 1 and divide the number of outputs. Computing the fans checks that.
    #[must_use]
    pub fn with_groups(mut self, groups: u64) -> Self {
        self.groups = groups;
        self
    }

    /// Sets the stream id, in place of the one that the name selects.
    ///
    /// Two tensors with the same seed and the same stream id get the same numbers, so give each
    /// tensor its own id.
    #[must_use]
    pub fn with_stream_id(mut self, stream: u64) -> Self {
        self.stream = stream;
        self
    }

    /// Returns a part of the tensor as a tensor by itself, with the same layout, groups and axes.
    ///
    /// Its stream id is that of the text `ID[SLICE]`, with the tensor's own stream id in decimal
    /// digits, as in `17734696886724432[0:512,0:512]` (docs/STREAM.md).
    pub(crate) fn part(&self, slice: &Slice) -> Result<Tensor> {
        Ok(Tensor {
            name: format!("{}[{slice}]", self.name),
            shape: Shape::new(slice.dims())?,
            layout: self.layout,
            fan_axes: self.fan_axes.clone(),
            groups: self.groups,
            // From the id, not the name: a renamed tensor keeps the streams of its parts.
            stream: stream_id(&format!("{}[{slice}]", self.stream)),
        })
    }

    /// Returns the same tensor under another name. The stream id is not changed.
    #[cfg(feature = "recipe")]
    pub(crate) fn renamed(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole shape, even if only a slice will be filled.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The layout: which axes are inputs and outputs.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The axes that [`Tensor::with_fan_axes`] set.
    #[must_use]
    pub fn fan_axes(&self) -> Option<&FanAxes> {
        self.fan_axes.as_deref()
    }

    /// The number of groups, 1 unless it was set.
    #[must_use]
    pub fn groups(&self) -> u64 {
        self.groups
    }

    /// The stream id: that of the name unless it was set.
    #[must_use]
    pub fn stream(&self) -> u64 {
        self.stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_ids_are_the_names_sha256() {
        assert_eq!(stream_id("w"), 0x003f_019c_e421_e750);
        assert_eq!(
            stream_id(""),
            u64::from_le_bytes([0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14])
        );
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
