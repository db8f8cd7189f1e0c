//! The fan_in and the fan_out of a weight.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::tensor::{FanAxes, Layout, Tensor};

/// The fan that a rule divides by.
///
/// As text it is `fan_in`, `fan_out` or `fan_avg`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FanMode {
    /// fan_in, which keeps the variance of the activations in the forward pass.
    #[default]
    FanIn,
    /// fan_out, which keeps the variance of the gradients in the backward pass.
    FanOut,
    /// `(fan_in + fan_out) / 2`, the compromise of Glorot and Bengio.
    FanAvg,
}

impl FanMode {
    /// Returns `fan_in`, `fan_out` or `fan_avg`.
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

/// The number of inputs that feed one output of a layer, and the number of outputs that one input
/// feeds.
///
/// `k = prod(k...)` is the size of the receptive field. It is 1 for a matrix.
///
/// | layout | shape | fan_in | fan_out |
/// |---|---|---|---|
/// | [`Layout::OutIn`] | `[out, in / groups, k...]` | `in / groups * k` | `out / groups * k` |
/// | [`Layout::InOut`] | `[k..., in / groups, out]` | `in / groups * k` | `out / groups * k` |
///
/// If [`Tensor::with_fan_axes`] is set, its axes replace the layout.
///
/// For one group the fans are those of `torch.nn.init._calculate_fan_in_and_fan_out`, and of
/// `jax.nn.initializers` with its default axes. torch's function ignores groups and returns
/// `out * k` for fan_out. The fans here do the same unless [`Tensor::with_groups`] is set. Groups do
/// not change fan_in, because the shape already holds `in / groups`.
///
/// The rule for an embedding `[vocabulary, dimension]` is the rule for any matrix, as in torch: in
/// layout `OutIn` its fan_in is the dimension.
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
    /// The inputs that feed one output. An empty tensor can have 0.
    pub fan_in: u64,
    /// The outputs that one input feeds. An empty tensor can have 0.
    pub fan_out: u64,
}

impl Fans {
    /// Returns the fans of a tensor, by its shape, layout or axes, and groups.
    ///
    /// # Errors
    ///
    /// [`Error::Fans`], with the tensor's name, for a tensor of rank 0 or 1 in a [`Layout`], for
    /// axes that the shape does not have or that are named twice, and for groups that do not divide
    /// the outputs.
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
        // Products of dimensions cannot overflow: a shape has at most 2^50 elements.
        let (inputs, outputs, receptive) = match (tensor.fan_axes(), tensor.layout(), dims) {
            (Some(axes), ..) => sizes_of_axes(dims, axes).map_err(refused)?,
            (None, Layout::OutIn, &[outputs, inputs, ref receptive @ ..])
            | (None, Layout::InOut, &[ref receptive @ .., inputs, outputs]) => {
                (inputs, outputs, receptive.iter().product())
            }
            (None, layout, _) => {
                let wanted = match layout {
                    Layout::OutIn => "[out, in, k...]",
                    Layout::InOut => "[k..., in, out]",
                };
                return Err(refused(format!(
                    "has no fan_in and fan_out: a rule with fans needs rank 2 or more, {wanted} \
                     in layout {layout}; for a vector use zeros, ones, normal, uniform or \
                     bias_uniform"
                )));
            }
        };
        if groups == 0 || !outputs.is_multiple_of(groups) {
            return Err(refused(format!(
                "cannot have {groups} groups: they must be at least 1 and divide its {outputs} \
                 outputs"
            )));
        }
        Ok(Fans {
            fan_in: inputs * receptive,
            fan_out: outputs / groups * receptive,
        })
    }

    /// Returns the fan of a mode.
    #[must_use]
    pub fn get(self, mode: FanMode) -> f64 {
        match mode {
            FanMode::FanIn => self.fan_in as f64,
            FanMode::FanOut => self.fan_out as f64,
            // The sum is at most 2^51, so its half is exact.
            FanMode::FanAvg => (self.fan_in + self.fan_out) as f64 / 2.0,
        }
    }
}

/// Returns the sizes of the input axes, of the output axes, and of the axes without a name, as
/// `_compute_fans` of JAX' initializers does.
fn sizes_of_axes(dims: &[u64], axes: &FanAxes) -> Result<(u64, u64, u64), String> {
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
            // A taken axis is marked, so a second use is found, also under its negative number.
            let dim = slot.take().ok_or_else(|| {
                format!("has axis {axis} named twice: an axis is input, output or batch")
            })?;
            Ok::<u64, String>(size * dim)
        })
    };
    let inputs = size(&axes.inputs)?;
    let outputs = size(&axes.outputs)?;
    // The batch axes belong to no fan.
    size(&axes.batch)?;
    Ok((inputs, outputs, rest.into_iter().flatten().product()))
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
        // torch's own function ignores groups.
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
