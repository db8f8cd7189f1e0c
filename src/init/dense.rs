//! Parameters of fully connected networks, made from the sizes of the layers.

use super::{Init, Missing};
use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::tensor::Tensor;

/// The parameters of one fully connected layer, ready to be filled.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseLayer {
    /// The weight, of shape `[outputs, inputs]`.
    pub weight: Fill,
    /// The bias, of shape `[outputs]`.
    pub bias: Fill,
}

/// Returns the fully connected layers between consecutive sizes: weights `layers.{i}.weight` and
/// biases `layers.{i}.bias`, for i from 0.
///
/// Biases are usually [`Init::zeros`]. `Init::normal(0.0, 0.01)` gives small random biases, and
/// `"bias_uniform".parse()?` gives the biases of torch, with the fan_in of each layer.
///
/// ```
/// use fanin::{Init, init};
///
/// let sizes = [784, 512, 10];
/// let layers = init::dense_layers(&sizes, &Init::kaiming_normal(), &Init::zeros(), 42)?;
/// assert_eq!(layers.len(), 2);
/// assert_eq!(layers[1].weight.name(), "layers.1.weight");
/// assert_eq!(layers[1].weight.shape().dims(), [10, 512]);
/// # Ok::<(), fanin::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Parameter`] for fewer than two sizes; [`Error::Shape`] for sizes whose product is more
/// than [`MAX_ELEMENTS`](crate::MAX_ELEMENTS); the errors of [`Fill::new`] for the initializers.
pub fn dense_layers(
    sizes: &[u64],
    weights: &Init,
    biases: &Init,
    seed: u64,
) -> Result<Vec<DenseLayer>> {
    if sizes.len() < 2 {
        return Err(Error::parameter(
            "number of layer sizes",
            sizes.len() as f64,
            "it must be at least 2: the inputs and the outputs",
        ));
    }
    let layers = sizes.windows(2).enumerate().map(|(i, size)| {
        let names = [format!("layers.{i}.weight"), format!("layers.{i}.bias")];
        layer(names, size[0], size[1], weights, biases, seed)
    });
    layers.collect()
}

/// The parameters of a network with one hidden layer, with the names that tutorials use.
#[derive(Clone, Debug, PartialEq)]
pub struct TwoLayers {
    /// `W1`, of shape `[hidden_size, input_size]`.
    pub w1: Fill,
    /// `b1`, of shape `[hidden_size]`.
    pub b1: Fill,
    /// `W2`, of shape `[output_size, hidden_size]`.
    pub w2: Fill,
    /// `b2`, of shape `[output_size]`.
    pub b2: Fill,
}

/// Returns the parameters of a network with one hidden layer: `W1`, `b1`, `W2`, `b2`.
///
/// Tutorials use these rules, for a layer with n inputs:
///
/// | variance | `weights` |
/// |---|---|
/// | 1/n, "LeCun" | `Init::variance_scaling(1.0, FanMode::FanIn, Family::Normal)` |
/// | 2/n, "He" | [`Init::kaiming_normal`] |
/// | 2/(inputs + outputs), "Xavier" | [`Init::xavier_normal`] |
///
/// [`Init::lecun_normal`], [`Init::he_normal`] and [`Init::glorot_normal`] have the same variances
/// and are truncated at two standard deviations, as in Keras and JAX. [`dense_layers`] describes the
/// usual biases.
///
/// ```
/// use fanin::{Init, init};
///
/// let weights = Init::kaiming_normal();
/// let network = init::initialize_parameters(784, 128, 10, &weights, &Init::zeros(), 42)?;
/// let mut w1 = vec![0f32; 128 * 784];
/// fanin::cpu::fill_slice(&network.w1, &mut w1)?;
/// let variance = w1.iter().map(|w| w * w).sum::<f32>() / w1.len() as f32;
/// assert!((variance * 784.0 / 2.0 - 1.0).abs() < 0.02);
/// # Ok::<(), fanin::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Shape`] for sizes whose product is more than [`MAX_ELEMENTS`](crate::MAX_ELEMENTS);
/// the errors of [`Fill::new`] for the initializers.
pub fn initialize_parameters(
    input_size: u64,
    hidden_size: u64,
    output_size: u64,
    weights: &Init,
    biases: &Init,
    seed: u64,
) -> Result<TwoLayers> {
    let layer = |names: [&str; 2], inputs, outputs| {
        layer(
            names.map(str::to_owned),
            inputs,
            outputs,
            weights,
            biases,
            seed,
        )
    };
    let first = layer(["W1", "b1"], input_size, hidden_size)?;
    let second = layer(["W2", "b2"], hidden_size, output_size)?;
    Ok(TwoLayers {
        w1: first.weight,
        b1: first.bias,
        w2: second.weight,
        b2: second.bias,
    })
}

fn layer(
    [weight, bias]: [String; 2],
    inputs: u64,
    outputs: u64,
    weights: &Init,
    biases: &Init,
    seed: u64,
) -> Result<DenseLayer> {
    // The sizes give the fan_in that text leaves out. In a model, only a recipe can find it.
    let biases = match biases.missing() {
        Some(Missing::FanIn) if inputs > 0 => biases.completed(Missing::FanIn, inputs),
        // As torch.nn.Linear.reset_parameters: biases are 0 if fan_in is 0.
        Some(Missing::FanIn) => Init::zeros(),
        _ => *biases,
    };
    Ok(DenseLayer {
        weight: Fill::new(&Tensor::new(weight, [outputs, inputs])?, weights, seed)?,
        bias: Fill::new(&Tensor::new(bias, [outputs])?, &biases, seed)?,
    })
}
