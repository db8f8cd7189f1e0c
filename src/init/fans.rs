//! fan_in and fan_out of a weight.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::tensor::{FanAxes, Layout, Tensor};

/// Which fan a rule divides by.
///
/// As text: `fan_in`, `fan_out`, `fan_avg`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FanMode {
    /// fan_in: keeps the variance of the activations in the forward pass.
    #[default]
    FanIn,
    /// fan_out: keeps the variance of the gradients in the backward pass.
    FanOut,
    /// `(fan_in + fan_out) / 2`: the compromise of Glorot and Bengio.
    FanAvg,
}

impl FanMode {
    /// `fan_in`, `fan_out` or `fan_avg`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            FanMode::FanIn => "fan_in",
            FanMode::FanOut => "fan_out",
            FanMode::FanAvg => "fan_avg",
        }
    }
}

impl fmt::Display for FanMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for FanMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "fan_in" => Ok(FanMode::FanIn),
            "fan_out" => Ok(FanMode::FanOut),
            "fan_avg" => Ok(FanMode::FanAvg),
            _ => Err(Error::Unknown {
                kind: "mode",
                value: text.to_owned(),
                accepted: "use fan_in, fan_out or fan_avg".to_owned(),
            }),
        }
    }
}

/// How many inputs feed an output of a layer, and how many outputs an input feeds.
///
/// With the receptive field `k = prod(k...)`, 1 where there is none:
///
/// | layout | shape | fan_in | fan_out |
/// |---|---|---|---|
/// | [`Layout::OutIn`] | `[out, in / groups, k...]` | `in / groups * k` | `out / groups * k` |
/// | [`Layout::InOut`] | `[k..., in / groups, out]` | `in / groups * k` | `out / groups * k` |
///
/// [`Tensor::with_fan_axes`] takes the place of the layout where it is set.
///
/// For one group this is `torch.nn.init._calculate_fan_in_and_fan_out`, and
/// `jax.nn.initializers` with its default axes. torch does not know of groups there and gives
/// fan_out as `out * k`; so does this unless [`Tensor::with_groups`] is set. fan_in needs no such
/// care: the shape already holds `in / groups`.
///
/// An embedding `[vocabulary, dimension]` follows the same rule as any matrix, as it does in
/// torch: in layout `OutIn` its fan_in is the dimension.
///
/// ```
/// use fanin::{Layout, Tensor, init::Fans};
///
/// let torch = Fans::of(&Tensor::new("conv.weight", [64, 16, 3, 3])?)?;
/// let keras = Fans::of(&Tensor::new("conv.kernel", [3, 3, 16, 64])?.with_layout(Layout::InOut))?;
/// assert_eq!((torch.fan_in, torch.fan_out), (16 * 9, 64 * 9));
/// assert_eq!(torch, keras);
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fans {
    /// Inputs that feed one output; 0 in an empty tensor that has none.
    pub fan_in: u64,
    /// Outputs that one input feeds; 0 in an empty tensor that has none.
    pub fan_out: u64,
}

impl Fans {
    /// The fans of this tensor's shape, layout and groups.
    ///
    /// # Errors
    ///
    /// [`Error::Fans`] for a tensor of rank 0 or 1 in a [`Layout`], for axes that the shape does
    /// not have or that are named twice, and for groups that do not divide the outputs; it names
    /// the tensor.
    pub fn of(tensor: &Tensor) -> Result<Self> {
        let dims = tensor.shape().dims();
        let groups = tensor.groups();
        let refused = |reason: String| {
            Error::Fans {
                shape: tensor.shape().to_string(),
                reason,
            }
            .named(tensor.name())
        };
        if let Some(axes) = tensor.fan_axes() {
            return Fans::of_axes(dims, axes, groups).map_err(refused);
        }
        let (inputs, outputs, receptive) = match (tensor.layout(), dims) {
            (Layout::OutIn, [outputs, inputs, receptive @ ..]) => (inputs, outputs, receptive),
            (Layout::InOut, [receptive @ .., inputs, outputs]) => (inputs, outputs, receptive),
            _ => {
                let wanted = match tensor.layout() {
                    Layout::OutIn => "[out, in, k...]",
                    Layout::InOut => "[k..., in, out]",
                };
                return Err(refused(format!(
                    "has no fan_in and fan_out: a rule with fans needs rank 2 or more, {wanted} \
                     in layout {}; for a vector use zeros, ones, normal, uniform or bias_uniform",
                    tensor.layout()
                )));
            }
        };
        if groups == 0 || !outputs.is_multiple_of(groups) {
            return Err(refused(format!(
                "cannot have {groups} groups: they must be at least 1 and divide its {outputs} \
                 outputs"
            )));
        }
        // Products of dimensions of a shape, which has at most 2^50 elements.
        let receptive: u64 = receptive.iter().product();
        Ok(Fans {
            fan_in: inputs * receptive,
            fan_out: outputs / groups * receptive,
        })
    }

    /// `jax.nn.initializers._compute_fans`: the sizes of the input and of the output axes, each
    /// times the axes that are not named.
    fn of_axes(dims: &[u64], axes: &FanAxes, groups: u64) -> Result<Self, String> {
        let rank = dims.len() as i64;
        let mut rest: Vec<Option<u64>> = dims.iter().copied().map(Some).collect();
        let mut size = |axes: &[i64]| {
            axes.iter().try_fold(1u64, |size, &axis| {
                let index = if axis < 0 { axis + rank } else { axis };
                let slot = usize::try_from(index)
                    .ok()
                    .and_then(|index| rest.get_mut(index))
                    .ok_or_else(|| {
                        format!("has no axis {axis}: its axes are {} to {}", -rank, rank - 1)
                    })?;
                let dim = slot.take().ok_or_else(|| {
                    format!("has axis {axis} named twice: an axis is input, output or batch")
                })?;
                Ok::<u64, String>(size * dim)
            })
        };
        let inputs = size(&axes.inputs)?;
        let outputs = size(&axes.outputs)?;
        size(&axes.batch)?;
        if groups == 0 || !outputs.is_multiple_of(groups) {
            return Err(format!(
                "cannot have {groups} groups: they must be at least 1 and divide its {outputs} \
                 outputs"
            ));
        }
        let receptive: u64 = rest.into_iter().flatten().product();
        Ok(Fans {
            fan_in: inputs * receptive,
            fan_out: outputs / groups * receptive,
        })
    }

    /// The fan of this mode.
    #[must_use]
    pub fn get(self, mode: FanMode) -> f64 {
        match mode {
            FanMode::FanIn => self.fan_in as f64,
            FanMode::FanOut => self.fan_out as f64,
            FanMode::FanAvg => (self.fan_in + self.fan_out) as f64 / 2.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fans(tensor: Tensor) -> (u64, u64) {
        let fans = Fans::of(&tensor).unwrap();
        (fans.fan_in, fans.fan_out)
    }

    fn tensor(dims: &[u64]) -> Tensor {
        Tensor::new("t.weight", dims).unwrap()
    }

    #[test]
    fn torch_shapes() {
        // torch.nn.init._calculate_fan_in_and_fan_out of Linear(784, 512), Conv1d(8, 16, 5),
        // Conv2d(16, 64, 3), Conv3d(3, 8, (2, 3, 4)), Embedding(50257, 768).
        assert_eq!(fans(tensor(&[512, 784])), (784, 512));
        assert_eq!(fans(tensor(&[16, 8, 5])), (40, 80));
        assert_eq!(fans(tensor(&[64, 16, 3, 3])), (144, 576));
        assert_eq!(fans(tensor(&[8, 3, 2, 3, 4])), (72, 192));
        assert_eq!(fans(tensor(&[50257, 768])), (768, 50257));
    }

    #[test]
    fn keras_shapes() {
        let tensor = |dims: &[u64]| tensor(dims).with_layout(Layout::InOut);
        assert_eq!(fans(tensor(&[784, 512])), (784, 512));
        assert_eq!(fans(tensor(&[5, 8, 16])), (40, 80));
        assert_eq!(fans(tensor(&[2, 3, 4, 3, 8])), (72, 192));
    }

    #[test]
    fn axes_are_jaxs() {
        // jax._src.nn.initializers._compute_fans(shape, in_axis, out_axis, batch_axis).
        let of = |dims: &[u64], inputs: &[i64], outputs: &[i64], batch: &[i64]| {
            fans(tensor(dims).with_fan_axes(FanAxes {
                inputs: inputs.to_vec(),
                outputs: outputs.to_vec(),
                batch: batch.to_vec(),
            }))
        };
        assert_eq!(of(&[3, 3, 16, 64], &[-2], &[-1], &[]), (144, 576));
        assert_eq!(of(&[768, 12, 64], &[0], &[1, 2], &[]), (768, 768));
        assert_eq!(of(&[12, 64, 768], &[0, 1], &[2], &[]), (768, 768));
        assert_eq!(of(&[8, 512, 2048], &[1], &[2], &[0]), (512, 2048));
        assert_eq!(of(&[5, 8, 512, 2048], &[-2], &[-1], &[0]), (4096, 16384));
        assert_eq!(of(&[7], &[], &[0], &[]), (1, 7));
        for (inputs, outputs, expected) in [
            (vec![3], vec![0], "has no axis 3: its axes are -3 to 2"),
            (vec![-4], vec![0], "has no axis -4"),
            (vec![1], vec![-2], "has axis -2 named twice"),
        ] {
            let axes = FanAxes {
                inputs,
                outputs,
                batch: vec![],
            };
            let tensor = tensor(&[4, 5, 6]).with_fan_axes(axes);
            let error = Fans::of(&tensor).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn groups_divide_the_outputs() {
        // Conv2d(16, 64, 3, groups=4): each input feeds the 16 outputs of its group.
        assert_eq!(fans(tensor(&[64, 4, 3, 3]).with_groups(4)), (36, 144));
        assert_eq!(
            fans(
                tensor(&[3, 3, 4, 64])
                    .with_layout(Layout::InOut)
                    .with_groups(4)
            ),
            (36, 144)
        );
        // torch's own rule knows of no groups.
        assert_eq!(fans(tensor(&[64, 4, 3, 3])), (36, 576));
        for groups in [0, 3, 128] {
            let error = Fans::of(&tensor(&[64, 4, 3, 3]).with_groups(groups)).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains(&format!("cannot have {groups} groups")),
                "{error}"
            );
            assert!(
                error.contains("t.weight") && error.contains("64 outputs"),
                "{error}"
            );
        }
    }

    #[test]
    fn vectors_and_scalars_have_no_fans() {
        for (dims, layout, wanted) in [
            (&[768][..], Layout::OutIn, "[out, in, k...]"),
            (&[], Layout::OutIn, "[out, in, k...]"),
            (&[768], Layout::InOut, "[k..., in, out]"),
        ] {
            let error = Fans::of(&tensor(dims).with_layout(layout))
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("tensor \"t.weight\": shape ["), "{error}");
            assert!(
                error.contains("needs rank 2 or more") && error.contains(wanted),
                "{error}"
            );
        }
    }
}
