//! Measures how an initialization changes the signal of a deep network before any training: the
//! variance of activations in the forward pass and of gradients in the backward pass, in each
//! layer.
//!
//! The network is fully connected. All layers have the same width, and biases are 0. The input
//! `a[0]` is standard normal, and
//!
//! ```text
//! z[l] = W[l] a[l-1]        a[l] = f(z[l])                                l = 1, ..., depth
//! d[depth] = g * f'(z[depth])        d[l] = (W[l+1]^T d[l+1]) * f'(z[l])
//! ```
//!
//! where `d[l]` is the gradient of a loss with respect to the pre-activations `z[l]`. Its gradient
//! `g` with respect to the last activations is drawn from the standard normal distribution.
//!
//! Let the weights be independent with mean 0 and variance `v`, and let a layer have n inputs. On
//! average over seeds, a layer multiplies
//!
//! - the mean square of the activations by `n v E[f(z)^2] / E[z^2]`. For ReLU this is `n v / 2`,
//!   so He et al. choose `v = 2 / n` ("Delving Deep into Rectifiers", ICCV 2015). For functions
//!   that are linear around 0 it is about `n v`, so LeCun et al. choose `v = 1 / n` ("Efficient
//!   BackProp", 1998, section 4.6);
//! - the mean square of the gradients by `n v E[f'(z)^2]`, where n is the number of outputs. If the
//!   numbers of inputs and outputs differ, Glorot and Bengio choose `v = 2 / (fan_in + fan_out)`
//!   ("Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010).
//!
//! The signal vanishes or explodes as these factors to the power of the depth. Schoenholz, Gilmer,
//! Ganguli and Sohl-Dickstein derive the depth that a signal reaches ("Deep Information
//! Propagation", ICLR 2017). Saxe, McClelland and Ganguli explain why orthogonal weights carry it
//! further than others of the same variance ("Exact solutions to the nonlinear dynamics of learning
//! in deep linear neural networks", ICLR 2014). Klambauer et al. explain why SELU restores mean 0
//! and variance 1 ("Self-Normalizing Neural Networks", NeurIPS 2017).
//!
//! ```
//! use fanin::Init;
//! use fanin_signal::{Activation, Network, Verdict};
//!
//! let network = Network { depth: 30, width: 64, ..Network::default() };
//! let he = network.propagate(Activation::Relu, &Init::kaiming_normal())?;
//! assert_eq!(he.forward().verdict, Verdict::Keeps);
//!
//! // Half of the variance is lost in each layer.
//! let lecun = network.propagate(Activation::Relu, &Init::lecun_normal())?;
//! assert_eq!(lecun.forward().verdict, Verdict::Vanishes);
//! # Ok::<(), fanin::Error>(())
//! ```

mod activation;
mod statistics;

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};
use serde::Serialize;

use fanin::{Error, Fill, Init, Result, Tensor, cpu};

pub use activation::Activation;
pub use statistics::{Level, Trend, Verdict};

/// The maximum depth. In deeper networks, most initializations that explode or vanish leave the
/// range of binary64.
const MAX_DEPTH: usize = 1000;
/// The maximum number of weights, and of derivatives: 2 GiB each.
const MAX_NUMBERS: usize = 1 << 28;

/// A deep, fully connected network and its input.
///
/// fanin draws all numbers from the seed. The weights of layer i, counted from 0, are the tensor
/// `layers.{i}.weight` of shape `[width, width]`. The inputs and the gradients at the last layer
/// are standard normal: the tensors `input` and `gradient` of shape `[batch, width]`. So the
/// weights are those that `fanin fill` writes for these names.
///
/// The arithmetic is binary64, whose range ends at 1.8e308, so a signal can explode for tens of
/// layers without overflowing. On one machine the same network gives the same bits with any number
/// of threads. Machines with other vector units may add in another order, and differ in the last
/// digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// The number of layers, 2 to 1000.
    pub depth: usize,
    /// The number of neurons of each layer, and of elements of an input: at least 1, with
    /// `depth * width^2` at most 2^28.
    pub width: usize,
    /// The number of inputs: at least 2, with `depth * width * batch` at most 2^28. Statistics are
    /// taken over inputs and neurons.
    pub batch: usize,
    /// The seed of weights, inputs and gradients.
    pub seed: u64,
}

impl Default for Network {
    /// Returns a network of 50 layers of 256 neurons with 128 inputs and seed 42.
    fn default() -> Self {
        Network {
            depth: 50,
            width: 256,
            batch: 128,
            seed: 42,
        }
    }
}

impl Network {
    /// Draws weights by `init`, and runs the forward and the backward pass.
    ///
    /// # Errors
    ///
    /// The errors of [`Network::start`].
    pub fn propagate(&self, activation: Activation, init: &Init) -> Result<Signal> {
        Ok(self.start(init)?.propagate(activation))
    }

    /// Draws weights by `init`, for use with several activations.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if depth, width or batch is out of range, and the errors of
    /// [`Fill::new`] if the initializer does not apply to square matrices.
    pub fn start(&self, init: &Init) -> Result<Started> {
        self.check()?;
        let (depth, width, batch) = (self.depth, self.width, self.batch);
        let draw = |name: &str, rows: usize, init: &Init| -> Result<Vec<f64>> {
            let tensor = Tensor::new(name, [rows as u64, width as u64])?;
            let mut values = vec![0f32; rows * width];
            cpu::fill_slice(&Fill::new(&tensor, init, self.seed)?, &mut values)?;
            Ok(values.into_iter().map(f64::from).collect())
        };
        let standard_normal = Init::normal(0.0, 1.0);
        let weights = (0..depth).map(|i| draw(&format!("layers.{i}.weight"), width, init));
        Ok(Started {
            width,
            batch,
            weights: weights.collect::<Result<_>>()?,
            input: draw("input", batch, &standard_normal)?,
            gradient: draw("gradient", batch, &standard_normal)?,
        })
    }

    fn check(&self) -> Result<()> {
        let out_of_range = |parameter, value: usize, accepted| {
            Err(Error::Parameter {
                parameter,
                value: value as f64,
                accepted,
            })
        };
        let numbers = |rows: usize| {
            let product = self.width.checked_mul(rows)?.checked_mul(self.depth)?;
            (product <= MAX_NUMBERS).then_some(product)
        };
        if !(2..=MAX_DEPTH).contains(&self.depth) {
            return out_of_range("depth", self.depth, "use 2 to 1000 layers");
        }
        if self.width == 0 || numbers(self.width).is_none() {
            let accepted = "use at least 1, and at most 2^28 for depth * width * width";
            return out_of_range("width", self.width, accepted);
        }
        if self.batch < 2 || numbers(self.batch).is_none() {
            let accepted = "use at least 2, and at most 2^28 for depth * width * batch";
            return out_of_range("batch", self.batch, accepted);
        }
        Ok(())
    }
}

/// A [`Network`] whose weights, input and last gradient are drawn.
///
/// None of them depends on the activation, so activations can be compared with the same weights.
#[derive(Clone, Debug)]
pub struct Started {
    width: usize,
    batch: usize,
    /// The matrix of each layer, row-major, with a row for each output.
    weights: Vec<Vec<f64>>,
    /// One input after the other. Activations and gradients are stored alike.
    input: Vec<f64>,
    gradient: Vec<f64>,
}

impl Started {
    /// Runs the forward and the backward pass.
    ///
    /// It uses only the calling thread, so that a caller can run several activations in parallel.
    #[must_use]
    pub fn propagate(&self, activation: Activation) -> Signal {
        let mut derivatives = Vec::with_capacity(self.weights.len());
        let mut layers = Vec::with_capacity(self.weights.len());
        let mut values = self.input.clone();
        let mut products = vec![0.0; values.len()];
        for weights in &self.weights {
            self.times(weights, Transposed::No, &values, &mut products);
            for (value, &z) in values.iter_mut().zip(&products) {
                *value = activation.value(z);
            }
            let slopes: Vec<f64> = products.iter().map(|&z| activation.derivative(z)).collect();
            derivatives.push(slopes);
            layers.push(Layer {
                activation: Level::of(&values),
                across_inputs: statistics::across_inputs(&values, self.width),
                gradient: Level::default(),
            });
        }
        let mut gradients = self.gradient.clone();
        for (l, layer) in layers.iter_mut().enumerate().rev() {
            if let Some(above) = self.weights.get(l + 1) {
                self.times(above, Transposed::Yes, &gradients, &mut products);
                std::mem::swap(&mut gradients, &mut products);
            }
            for (gradient, slope) in gradients.iter_mut().zip(&derivatives[l]) {
                *gradient *= slope;
            }
            layer.gradient = Level::of(&gradients);
        }
        Signal { activation, layers }
    }

    /// Computes `out = W values`, or `out = W^T values`, for every input.
    fn times(&self, weights: &[f64], transposed: Transposed, values: &[f64], out: &mut [f64]) {
        let (n, batch) = (self.width, self.batch);
        let of = "a matrix has rows times columns numbers";
        let weights = ArrayView2::from_shape((n, n), weights).expect(of);
        let weights = match transposed {
            Transposed::No => weights,
            Transposed::Yes => weights.reversed_axes(),
        };
        // Each input is a column.
        let values = ArrayView2::from_shape((n, batch).f(), values).expect(of);
        let mut out = ArrayViewMut2::from_shape((n, batch).f(), out).expect(of);
        general_mat_mul(1.0, &weights, &values, 0.0, &mut out);
    }
}

#[derive(Clone, Copy)]
enum Transposed {
    No,
    Yes,
}

/// Statistics of the activations and gradients of every layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Signal {
    /// The activation function of every layer.
    pub activation: Activation,
    /// The layers, from the first after the input to the last.
    pub layers: Vec<Layer>,
}

/// Statistics of one layer's activations and gradients, over all neurons and inputs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// The activations.
    pub activation: Level,
    /// The share of the activations' variance that is a difference between inputs, 0 to 1: the
    /// variance over inputs, averaged over neurons, divided by the variance over both. The rest is
    /// a difference between neurons that all inputs have in common. Near 0, the layer carries no
    /// information about its input, even if the variance is large. NaN if the variance is 0.
    pub across_inputs: f64,
    /// The gradient with respect to the pre-activations.
    pub gradient: Level,
}

impl Signal {
    /// Returns the trend of the activations' variance, from the first layer to the last.
    #[must_use]
    pub fn forward(&self) -> Trend {
        Trend::of(self.layers.iter().map(|layer| layer.activation.variance))
    }

    /// Returns the trend of the gradients' variance, from the last layer to the first.
    #[must_use]
    pub fn backward(&self) -> Trend {
        let layers = self.layers.iter().rev();
        Trend::of(layers.map(|layer| layer.gradient.variance))
    }
}

/// The example of docs/WHY.md.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/WHY.md")]
pub struct Why;

/// The example of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
