//! Gains: factors that compensate for the change of variance by a nonlinearity.

/// The nonlinearity that follows a layer. It sets the gain, as in `torch.nn.init.calculate_gain`.
///
/// | nonlinearity | gain |
/// |---|---|
/// | `linear`, `sigmoid`, `conv1d`, `conv2d`, `conv3d`, `conv_transpose1d` and so on | 1 |
/// | `tanh` | 5/3 |
/// | `relu` | sqrt(2) |
/// | `leaky_relu` | sqrt(2 / (1 + a^2)), where a is the slope for negative inputs |
/// | `selu` | 3/4 |
///
/// The default is the default of torch's `kaiming_uniform_` and `kaiming_normal_`: leaky ReLU with
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
    /// The identity, for a layer without a nonlinearity. torch's `conv...` names mean the same.
    Linear,
    /// The logistic function. torch uses gain 1 for it.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// The function max(0, x).
    Relu,
    /// The function that is x for x above 0, and `negative_slope * x` below.
    LeakyRelu {
        /// The slope below 0, torch's `a`. Its default is 0 in torch's `kaiming_...` functions, and
        /// 0.01 in torch's `calculate_gain` and `LeakyReLU`.
        negative_slope: f64,
    },
    /// The scaled exponential linear unit: Klambauer et al., "Self-Normalizing Neural Networks",
    /// 2017. torch uses gain 3/4 for it.
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
    /// Returns the gain of `torch.nn.init.calculate_gain`.
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

    /// Returns the square of the gain. It is exactly 2 for ReLU: no root is taken and squared again.
    #[must_use]
    pub fn gain_squared(self) -> f64 {
        match self {
            Nonlinearity::Relu => 2.0,
            Nonlinearity::LeakyRelu { negative_slope: a } => 2.0 / (1.0 + a * a),
            _ => self.gain() * self.gain(),
        }
    }

    /// All names in text. The names of torch's convolutions mean `linear`.
    pub(super) const NAMES: &'static [&'static str] = &[
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "sigmoid",
        "tanh",
        "relu",
        "leaky_relu",
        "selu",
    ];

    /// Returns the nonlinearity of one of the [`NAMES`](Self::NAMES). A leaky ReLU gets the slope `a`.
    pub(super) fn from_name(name: &str, a: f64) -> Self {
        match name {
            "sigmoid" => Nonlinearity::Sigmoid,
            "tanh" => Nonlinearity::Tanh,
            "relu" => Nonlinearity::Relu,
            "leaky_relu" => Nonlinearity::LeakyRelu { negative_slope: a },
            "selu" => Nonlinearity::Selu,
            // `linear` and the convolutions. `Key::read` has refused words that are not in `NAMES`.
            _ => Nonlinearity::Linear,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Nonlinearity::Linear => "linear",
            Nonlinearity::Sigmoid => "sigmoid",
            Nonlinearity::Tanh => "tanh",
            Nonlinearity::Relu => "relu",
            Nonlinearity::LeakyRelu { .. } => "leaky_relu",
            Nonlinearity::Selu => "selu",
        }
    }

    /// Returns the slope of a leaky ReLU for negative inputs, or 0 for another nonlinearity.
    pub(super) fn slope(self) -> f64 {
        match self {
            Nonlinearity::LeakyRelu { negative_slope } => negative_slope,
            _ => 0.0,
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
            let nonlinearity = Nonlinearity::from_name(name, a);
            assert!((nonlinearity.gain() - gain).abs() < 4e-16, "{name}");
        }
    }
}
