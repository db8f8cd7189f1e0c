//! The helpers that most tutorials start from: layer sizes in, parameters out.

use super::Init;
use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::tensor::Tensor;

/// The parameters of one fully connected layer, ready to be filled.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseLayer {
    /// The weight, of shape `[outputs, inputs]`.
    pub weight: Fill,
    /// The bias, of shape `[outputs]`: zeros.
    pub bias: Fill,
}

/// The fully connected layers between consecutive sizes: weights `layers.{i}.weight` by
/// `init`, biases `layers.{i}.bias` zero, for i from 0.
///
/// ```
/// use fanin::{Init, init};
///
/// let layers = init::dense_layers(&[784, 512, 10], &Init::kaiming_normal(), 42)?;
/// assert_eq!(layers.len(), 2);
/// assert_eq!(layers[1].weight.name(), "layers.1.weight");
/// assert_eq!(layers[1].weight.shape().dims(), [10, 512]);
/// # Ok::<(), fanin::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Parameter`] for fewer than two sizes; [`Error::Shape`] for sizes that multiply to more
/// than [`MAX_ELEMENTS`](crate::MAX_ELEMENTS); what [`Fill::new`] finds wrong with `init`.
pub fn dense_layers(sizes: &[u64], init: &Init, seed: u64) -> Result<Vec<DenseLayer>> {
    if sizes.len() < 2 {
        return Err(Error::Parameter {
            tensor: None,
            parameter: "number of layer sizes",
            value: sizes.len() as f64,
            accepted: "it must be at least 2, the inputs and the outputs",
        });
    }
    sizes
        .windows(2)
        .enumerate()
        .map(|(i, size)| {
            let weight = format!("layers.{i}.weight");
            let bias = format!("layers.{i}.bias");
            layer(weight, bias, size[0], size[1], init, seed)
        })
        .collect()
}

/// The parameters of a network with one hidden layer, under the names that tutorials give
/// them.
#[derive(Clone, Debug, PartialEq)]
pub struct TwoLayers {
    /// `W1`, of shape `[hidden_size, input_size]`.
    pub w1: Fill,
    /// `b1`, of shape `[hidden_size]`: zeros.
    pub b1: Fill,
    /// `W2`, of shape `[output_size, hidden_size]`.
    pub w2: Fill,
    /// `b2`, of shape `[output_size]`: zeros.
    pub b2: Fill,
}

/// The parameters of a network with one hidden layer: `W1`, `b1`, `W2`, `b2`.
///
/// The rules that tutorials give, n being the inputs of the layer:
///
/// | variance | `init` |
/// |---|---|
/// | 1/n, "LeCun" | `Init::variance_scaling(1.0, FanMode::FanIn, Family::Normal)` |
/// | 2/n, "He" | [`Init::kaiming_normal`] |
/// | 2/(inputs + outputs), "Xavier" | [`Init::xavier_normal`] |
///
/// [`Init::lecun_normal`], [`Init::he_normal`] and [`Init::glorot_normal`] have the same variances
/// and are cut off at two standard deviations, as in Keras and JAX.
///
/// ```
/// use fanin::{Init, init};
///
/// let network = init::initialize_parameters(784, 128, 10, &Init::kaiming_normal(), 42)?;
/// let mut w1 = vec![0f32; 128 * 784];
/// fanin::cpu::fill_slice(&network.w1, &mut w1)?;
/// let variance = w1.iter().map(|w| w * w).sum::<f32>() / w1.len() as f32;
/// assert!((variance * 784.0 / 2.0 - 1.0).abs() < 0.02);
/// # Ok::<(), fanin::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Shape`] for sizes that multiply to more than [`MAX_ELEMENTS`](crate::MAX_ELEMENTS); what
/// [`Fill::new`] finds wrong with `init`.
pub fn initialize_parameters(
    input_size: u64,
    hidden_size: u64,
    output_size: u64,
    init: &Init,
    seed: u64,
) -> Result<TwoLayers> {
    let first = layer("W1", "b1", input_size, hidden_size, init, seed)?;
    let second = layer("W2", "b2", hidden_size, output_size, init, seed)?;
    Ok(TwoLayers {
        w1: first.weight,
        b1: first.bias,
        w2: second.weight,
        b2: second.bias,
    })
}

fn layer(
    weight: impl Into<String>,
    bias: impl Into<String>,
    inputs: u64,
    outputs: u64,
    init: &Init,
    seed: u64,
) -> Result<DenseLayer> {
    Ok(DenseLayer {
        weight: Fill::new(&Tensor::new(weight, [outputs, inputs])?, init, seed)?,
        bias: Fill::new(&Tensor::new(bias, [outputs])?, &Init::zeros(), seed)?,
    })
}
