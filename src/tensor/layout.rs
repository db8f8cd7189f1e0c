//! The meaning of a weight's axes, which only its fans depend on.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The axes of a weight that hold its inputs and outputs.
///
/// Only the fans depend on the layout. The order in which elements are stored and numbered does
/// not.
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
    /// The name: `out_in` or `in_out`.
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
                kind: "layout",
                value: text.to_owned(),
                accepted: "use out_in (torch) or in_out (Keras, JAX, numpy)".to_owned(),
            }),
        }
    }
}

/// The axes of the inputs, the outputs and a batch, for weights that no [`Layout`] describes.
///
/// They are `in_axis`, `out_axis` and `batch_axis` of `jax.nn.initializers.variance_scaling`.
/// Negative numbers count from the last axis. Axes that are not named are the receptive field.
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
    /// The axes of the inputs.
    pub inputs: Vec<i64>,
    /// The axes of the outputs.
    pub outputs: Vec<i64>,
    /// The axes along which independent weights are stacked, such as the experts of a mixture. The
    /// fans leave them out.
    pub batch: Vec<i64>,
}
