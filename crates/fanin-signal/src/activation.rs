//! Activation functions and their derivatives.

use std::f64::consts::{FRAC_1_SQRT_2, PI, SQRT_2};
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use fanin::{Error, Result};

/// SELU's constants, with the digits that torch and Keras use. Klambauer et al. 2017, equation 14,
/// derive them from a stable fixed point at mean 0 and variance 1.
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

/// An elementwise activation function.
///
/// Values and derivatives are computed in binary64 by the crate `libm`, whose results are the same
/// on every machine. The formulas keep the digits of small results: the derivative of tanh at 20
/// is 1.7e-17, whereas `1 - tanh(20)^2` rounds to 0.
///
/// The names are `linear`, `tanh`, `sigmoid`, `relu`, `gelu` and `selu`.
///
/// ```
/// use fanin_signal::Activation;
///
/// let gelu: Activation = "gelu".parse()?;
/// assert_eq!(gelu.value(0.0), 0.0);
/// assert_eq!(gelu.derivative(0.0), 0.5);
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// The identity, `x`.
    Linear,
    /// The hyperbolic tangent.
    Tanh,
    /// The logistic function `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `max(0, x)`. Its derivative at 0 is defined as 0, as in torch, Keras and JAX.
    Relu,
    /// `x * Phi(x)`, where `Phi` is the normal distribution function. This is the exact form,
    /// torch's default, not the approximation by tanh. Hendrycks and Gimpel, "Gaussian Error Linear
    /// Units", 2016.
    Gelu,
    /// `scale * x` above 0 and `scale * alpha * (exp(x) - 1)` elsewhere, with scale 1.0507... and
    /// alpha 1.6732.... Klambauer, Unterthiner, Mayr and Hochreiter, "Self-Normalizing Neural
    /// Networks", NeurIPS 2017.
    Selu,
}

impl Activation {
    /// All activations.
    pub const ALL: [Activation; 6] = [
        Activation::Linear,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Relu,
        Activation::Gelu,
        Activation::Selu,
    ];

    /// Returns the name, as [`FromStr`] reads it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Activation::Linear => "linear",
            Activation::Tanh => "tanh",
            Activation::Sigmoid => "sigmoid",
            Activation::Relu => "relu",
            Activation::Gelu => "gelu",
            Activation::Selu => "selu",
        }
    }

    /// Returns the function's value at `x`.
    #[must_use]
    pub fn value(self, x: f64) -> f64 {
        match self {
            Activation::Linear => x,
            Activation::Tanh => libm::tanh(x),
            Activation::Sigmoid => sigmoid(x),
            // `f64::max` would map NaN to 0.
            Activation::Relu if x <= 0.0 => 0.0,
            Activation::Relu => x,
            Activation::Gelu => x * normal_cdf(x),
            Activation::Selu if x > 0.0 => SELU_SCALE * x,
            Activation::Selu => SELU_SCALE * SELU_ALPHA * libm::expm1(x),
        }
    }

    /// Returns the derivative at `x`.
    #[must_use]
    pub fn derivative(self, x: f64) -> f64 {
        match self {
            Activation::Linear => 1.0,
            Activation::Tanh => {
                let cosh = libm::cosh(x);
                1.0 / (cosh * cosh)
            }
            Activation::Sigmoid => sigmoid(x) * sigmoid(-x),
            Activation::Relu if x <= 0.0 => 0.0,
            Activation::Relu if x > 0.0 => 1.0,
            Activation::Relu => f64::NAN,
            Activation::Gelu => {
                let density = libm::exp(-x * x / 2.0) * FRAC_1_SQRT_2 / PI.sqrt();
                normal_cdf(x) + x * density
            }
            Activation::Selu if x > 0.0 => SELU_SCALE,
            Activation::Selu => SELU_SCALE * SELU_ALPHA * libm::exp(x),
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn normal_cdf(x: f64) -> f64 {
    libm::erfc(-x / SQRT_2) / 2.0
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Activation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Activation::ALL.into_iter().find(|a| a.name() == name);
        found.ok_or_else(|| Error::Unknown {
            kind: "activation",
            value: name.to_owned(),
            accepted: "use linear, tanh, sigmoid, relu, gelu or selu".to_owned(),
        })
    }
}

impl Serialize for Activation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for activation in Activation::ALL {
            assert_eq!(
                activation.to_string().parse::<Activation>().unwrap(),
                activation
            );
        }
        let error = "swish".parse::<Activation>().unwrap_err().to_string();
        for activation in Activation::ALL {
            assert!(error.contains(activation.name()), "{error}");
        }
    }

    #[test]
    fn saturated_derivatives_keep_their_digits() {
        // 4 exp(-40) (1 - 2 exp(-40)) and exp(-40) (1 - 2 exp(-40)), to binary64.
        for (activation, x, exact) in [
            (Activation::Tanh, 20.0, 4.0 * (-40f64).exp()),
            (Activation::Sigmoid, 40.0, (-40f64).exp()),
        ] {
            for x in [x, -x] {
                let relative = activation.derivative(x) / exact - 1.0;
                assert!(relative.abs() < 1e-14, "{activation} at {x}: {relative:e}");
            }
        }
    }
}
