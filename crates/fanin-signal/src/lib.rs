//! What a start does to the signal of a deep network: the variance of activations on their way
//! up, and of gradients on their way down, layer by layer, before any training.
//!
//! The network is fully connected, all layers of one width, biases 0. With `a[0]` a standard
//! normal input,
//!
//! ```text
//! z[l] = W[l] a[l-1]        a[l] = f(z[l])                                l = 1, ..., depth
//! d[depth] = g * f'(z[depth])        d[l] = (W[l+1]^T d[l+1]) * f'(z[l])
//! ```
//!
//! where `d[l]` is the gradient of a loss with respect to the pre-activations `z[l]`, and `g`, its
//! gradient with respect to the last activations, is drawn from the standard normal.
//!
//! For independent weights of mean 0 and variance `v`, and n inputs a layer, a layer
//! multiplies, on average over starts,
//!
//! - the mean square of the activations by `n v E[f(z)^2] / E[z^2]`: for ReLU by `n v / 2`, which is
//!   why He et al. take `v = 2 / n` ("Delving Deep into Rectifiers", ICCV 2015); for what is linear
//!   around 0 by about `n v`, which is why LeCun et al. take `v = 1 / n` ("Efficient BackProp", 1998,
//!   section 4.6);
//! - the mean square of the gradients by `n v E[f'(z)^2]`, n being the number of outputs here. Where
//!   inputs and outputs differ in number, Glorot and Bengio take the mean of both: `v = 2 / (fan_in +
//!   fan_out)` ("Understanding the difficulty of training deep feedforward neural networks", AISTATS
//!   2010).
//!
//! Both factors to the power of the depth is what vanishes or explodes. How deep a signal gets is the
//! subject of Schoenholz, Gilmer, Ganguli and Sohl-Dickstein, "Deep Information Propagation", ICLR 2017;
//! why orthogonal weights carry it further than others of the same variance, of Saxe, McClelland and
//! Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks", ICLR
//! 2014; why SELU brings it back to mean 0 and variance 1, of Klambauer et al., "Self-Normalizing
//! Neural Networks", NeurIPS 2017.
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

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use serde::Serialize;

use fanin::{Error, Fill, Init, Result, Tensor, cpu};

pub use activation::Activation;
pub use statistics::{Level, Trend, Verdict};

/// Layers at most: beyond, binary64 itself ends for most starts that are not right.
const MAX_DEPTH: usize = 1000;
/// Numbers that the weights, and the derivatives, may come to: 2 GiB each.
const MAX_NUMBERS: usize = 1 << 28;

/// A deep, fully connected network, and what is sent through it.
///
/// All is drawn by fanin from the seed: layer i's weights, counted from 0, as the tensor
/// `layers.{i}.weight` of shape `[width, width]`; the inputs and the gradients at the top, standard
/// normal, as the tensors `input` and `gradient` of shape `[batch, width]`. So the weights are those
/// that `fanin fill` writes for these names.
///
/// The arithmetic is that of binary64, up to 1.8e308: what explodes does so without overflowing, for
/// tens of layers. The same network gives the same bits on one machine, whatever the number of
/// threads; machines with other vector units may add in other orders, and differ in last digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// The number of layers, 2 to 1000.
    pub depth: usize,
    /// Neurons of each layer, and numbers of an input; at least 1, with `depth * width^2` at most
    /// 2^28.
    pub width: usize,
    /// Inputs, over which statistics are taken as over neurons; at least 2, with `depth * width *
    /// batch` at most 2^28.
    pub batch: usize,
    /// The seed of all that is drawn.
    pub seed: u64,
}

impl Default for Network {
    /// 50 layers of 256 neurons, 128 inputs, seed 42.
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
    /// Draws weights by `init`, and sends a signal up and a gradient down.
    ///
    /// # Errors
    ///
    /// Those of [`Network::start`].
    pub fn propagate(&self, activation: Activation, init: &Init) -> Result<Signal> {
        Ok(self.start(init)?.propagate(activation))
    }

    /// Draws weights by `init`, to be used under several activations.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a depth, width or batch that is out of range; those of
    /// [`Fill::new`] for an initializer that square matrices cannot have.
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
                tensor: None,
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

/// A [`Network`] whose weights, input and gradient at the top are drawn.
///
/// All of it is independent of the activation, so that activations are compared under the same
/// weights.
#[derive(Clone, Debug)]
pub struct Started {
    width: usize,
    batch: usize,
    /// A matrix a layer, row-major, a row an output.
    weights: Vec<Vec<f64>>,
    /// Input after input, as all that goes through the network is kept.
    input: Vec<f64>,
    gradient: Vec<f64>,
}

impl Started {
    /// Sends the signal up and the gradient down.
    ///
    /// On the calling thread alone: several activations may be asked for at once.
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

    /// `out = W values`, or `W^T values`, for every input.
    fn times(&self, weights: &[f64], transposed: Transposed, values: &[f64], out: &mut [f64]) {
        let n = self.width;
        let weights = MatRef::from_row_major_slice(weights, n, n);
        let weights = match transposed {
            Transposed::No => weights,
            Transposed::Yes => weights.transpose(),
        };
        // A column an input. On one thread: so no order of sums depends on their number.
        matmul(
            MatMut::from_column_major_slice_mut(out, n, self.batch),
            Accum::Replace,
            weights,
            MatRef::from_column_major_slice(values, n, self.batch),
            1.0,
            Par::Seq,
        );
    }
}

#[derive(Clone, Copy)]
enum Transposed {
    No,
    Yes,
}

/// What arrived at each layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Signal {
    /// What stands between the layers.
    pub activation: Activation,
    /// From the one after the input to the last.
    pub layers: Vec<Layer>,
}

/// One layer's activations and gradients, over all neurons and inputs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// The activations.
    pub activation: Level,
    /// The part of their variance that is a difference between inputs, 0 to 1: the variance over
    /// inputs, averaged over neurons, as a share of the variance over both. The rest is a difference
    /// between neurons that all inputs have in common. Near 0 the layer says nothing about its
    /// input, however large the variance; not a number where the variance is 0.
    pub across_inputs: f64,
    /// The gradient with respect to the pre-activations.
    pub gradient: Level,
}

impl Signal {
    /// The variance of the activations, from the first layer to the last.
    #[must_use]
    pub fn forward(&self) -> Trend {
        Trend::of(self.layers.iter().map(|layer| layer.activation.variance))
    }

    /// The variance of the gradients, from the last layer to the first.
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
