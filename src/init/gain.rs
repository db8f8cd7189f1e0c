//! Gains: what a nonlinearity takes from the variance, to be given back by the weights.

use crate::error::{Error, Result};

/// The nonlinearity that follows a layer; it sets the gain, as `torch.nn.init.calculate_gain`.
///
/// | nonlinearity | gain |
/// |---|---|
/// | `linear`, `sigmoid`, `conv1d`, `conv2d`, `conv3d`, `conv_transpose1d` and so on | 1 |
/// | `tanh` | 5/3 |
/// | `relu` | sqrt(2) |
/// | `leaky_relu` | sqrt(2 / (1 + a^2)), a being the slope for negative inputs |
/// | `selu` | 3/4 |
///
/// The default is that of torch's `kaiming_uniform_` and `kaiming_normal_`: leaky ReLU of
/// slope 0, which is ReLU.
///
/// ```
/// use fanin::init::Nonlinearity;
///
/// assert_eq!(Nonlinearity::Relu.gain(), 2f64.sqrt());
/// assert_eq!(Nonlinearity::default().gain(), Nonlinearity::Relu.gain());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Nonlinearity {
    /// None: the identity. torch's `conv...` names mean the same.
    Linear,
    /// The logistic function; torch gives it gain 1.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// max(0, x).
    Relu,
    /// x above 0, `negative_slope * x` below.
    LeakyRelu {
        /// The slope below 0, torch's `a`. It is 0 unless given in torch's `kaiming_...`, but
        /// 0.01 in its `calculate_gain` and `LeakyReLU`.
        negative_slope: f64,
    },
    /// Klambauer et al., "Self-Normalizing Neural Networks", 2017; torch's gain for it is 3/4.
    Selu,
}

impl Default for Nonlinearity {
    fn default() -> Self {
        Nonlinearity::LeakyRelu {
            negative_slope: 0.0,
        }
    }
}

impl Nonlinearity {
    /// The gain, as `torch.nn.init.calculate_gain` returns it.
    #[must_use]
    pub fn gain(self) -> f64 {
        match self {
            Nonlinearity::Linear | Nonlinearity::Sigmoid => 1.0,
            Nonlinearity::Tanh => 5.0 / 3.0,
            Nonlinearity::Relu => 2f64.sqrt(),
            Nonlinearity::LeakyRelu { .. } => self.gain_squared().sqrt(),
            Nonlinearity::Selu => 0.75,
        }
    }

    /// The square of the gain, without the rounding of a root that is squared again: 2 for
    /// ReLU.
    #[must_use]
    pub fn gain_squared(self) -> f64 {
        match self {
            Nonlinearity::Relu => 2.0,
            Nonlinearity::LeakyRelu { negative_slope: a } => 2.0 / (1.0 + a * a),
            _ => self.gain() * self.gain(),
        }
    }

    /// The nonlinearity of this name, `a` being the slope where it takes one.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a name that torch does not know.
    pub(crate) fn from_name(name: &str, a: f64) -> Result<Self> {
        match name {
            "linear" | "conv1d" | "conv2d" | "conv3d" | "conv_transpose1d" | "conv_transpose2d"
            | "conv_transpose3d" => Ok(Nonlinearity::Linear),
            "sigmoid" => Ok(Nonlinearity::Sigmoid),
            "tanh" => Ok(Nonlinearity::Tanh),
            "relu" => Ok(Nonlinearity::Relu),
            "leaky_relu" => Ok(Nonlinearity::LeakyRelu { negative_slope: a }),
            "selu" => Ok(Nonlinearity::Selu),
            _ => Err(Error::Unknown {
                tensor: None,
                kind: "nonlinearity",
                value: name.to_owned(),
                accepted: "use linear, conv1d, conv2d, conv3d, conv_transpose1d, \
                           conv_transpose2d, conv_transpose3d, sigmoid, tanh, relu, leaky_relu \
                           or selu"
                    .to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_are_torchs() {
        // torch.nn.init.calculate_gain(name) and calculate_gain("leaky_relu", 0.2).
        for (name, a, gain) in [
            ("linear", 0.0, 1.0),
            ("conv_transpose2d", 0.0, 1.0),
            ("sigmoid", 0.0, 1.0),
            ("tanh", 0.0, 1.666_666_666_666_666_7),
            ("relu", 0.0, std::f64::consts::SQRT_2),
            ("leaky_relu", 0.01, 1.414_142_856_997_835_4),
            ("leaky_relu", 0.2, 1.386_750_490_563_073),
            ("selu", 0.0, 0.75),
        ] {
            let nonlinearity = Nonlinearity::from_name(name, a).unwrap();
            assert!((nonlinearity.gain() - gain).abs() < 4e-16, "{name}");
        }
    }
}
