//! Initializers: the rules that papers and frameworks name, and what they come to for a shape.
//!
//! [`Init`] is the rule as a user writes it, with numbers in binary64. [`Init::resolve`] turns
//! it, for one tensor, into a [`Distribution`]: numbers only, rounded once to binary32.

mod dense;
mod distribution;
mod fans;
mod gain;
mod spec;

use crate::error::{Error, Result};
use crate::tensor::Tensor;

pub use dense::{DenseLayer, TwoLayers, dense_layers, initialize_parameters};
pub use distribution::Distribution;
pub use fans::{FanMode, Fans};
pub use gain::Nonlinearity;

/// A rule that initializes a tensor.
///
/// Build one with the constructors, which carry the names and defaults of the frameworks, or
/// read it from text.
///
/// # As text
///
/// `name` or `name(key=value,...)`, the same on the command line and in recipes. Blanks around
/// the parts are allowed; every key may be given once; numbers are decimal. What stands after
/// `=` below is the default, a key without one must be given.
///
/// | text | what it is |
/// |---|---|
/// | `zeros`, `ones`, `constant(value)` | every element the same |
/// | `normal(mean=0,std=1)` | normal, as `torch.nn.init.normal_` |
/// | `uniform(low=0,high=1)` | uniform on [low, high), as `torch.nn.init.uniform_` |
/// | `xavier_uniform(gain=1)`, `xavier_normal(gain=1)` | [`Init::xavier_uniform`]; also `glorot_...` |
/// | `kaiming_uniform(a=0,mode=fan_in,nonlinearity=leaky_relu)`, `kaiming_normal(...)` | [`Init::kaiming_uniform`]; also `he_...`; `gain` in place of `a` and `nonlinearity` |
/// | `lecun_uniform(mode=fan_in)`, `lecun_normal(mode=fan_in)` | [`Init::lecun_uniform`] |
/// | `variance_scaling(scale=1,mode=fan_in,distribution)` | what all of these come to: [`Init::VarianceScaling`] |
/// | `bias_uniform(fan_in)` | torch's default bias: [`Init::BiasUniform`]; a recipe finds `fan_in` itself |
/// | `residual_normal(std,layers)` | GPT-2's residual projections: [`Init::ResidualNormal`]; a recipe counts `layers` itself |
///
/// `mode` is `fan_in`, `fan_out` or `fan_avg`; `nonlinearity` is one of torch's names, see
/// [`Nonlinearity`]; `distribution` is `normal` or `uniform`.
///
/// ```
/// use fanin::{Init, Tensor, init::{Distribution, FanMode, Nonlinearity}};
///
/// let init: Init = "kaiming_normal(mode=fan_out, nonlinearity=relu)".parse()?;
/// assert_eq!(init, Init::kaiming_normal_with(FanMode::FanOut, Nonlinearity::Relu));
///
/// let weight = Tensor::new("layer1.0.conv1.weight", [64, 64, 3, 3])?;
/// let std = (2.0f64 / (64.0 * 9.0)).sqrt() as f32;
/// assert_eq!(init.resolve(&weight)?, Distribution::Normal { mean: 0.0, std });
/// # Ok::<(), fanin::Error>(())
/// ```
///
/// # Normal means normal
///
/// Nothing here truncates. Keras' and JAX' `glorot_normal`, `he_normal` and `lecun_normal` cut
/// their normal distribution off at two standard deviations and widen it to make up for that;
/// torch's `xavier_normal_` and `kaiming_normal_` do not, and the rules here are torch's under
/// whichever of the names. The uniform rules are the same everywhere.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// Every element is `value`.
    Constant {
        /// The value; finite in binary32.
        value: f64,
    },
    /// Normal of this mean and standard deviation.
    Normal {
        /// The mean; finite in binary32.
        mean: f64,
        /// The standard deviation; at least 0, finite in binary32.
        std: f64,
    },
    /// Uniform on `[low, high)`.
    Uniform {
        /// The lower end, included; finite in binary32, below `high` there.
        low: f64,
        /// The upper end, not included; finite in binary32.
        high: f64,
    },
    /// Variance `scale / fan`: normal with `std = sqrt(scale / fan)`, or uniform on
    /// `[-bound, bound)` with `bound = sqrt(3 * scale / fan)`.
    ///
    /// `keras.initializers.VarianceScaling` and `jax.nn.initializers.variance_scaling`, except
    /// for their truncated normal, which is not built yet.
    VarianceScaling {
        /// The variance times the fan: the square of torch's gain; above 0, finite.
        scale: f64,
        /// Which fan divides the scale.
        mode: FanMode,
        /// What is drawn.
        distribution: Family,
    },
    /// Uniform on `[-1/sqrt(fan_in), 1/sqrt(fan_in))`: the default of torch's biases
    /// (`torch.nn.Linear.reset_parameters` and `torch.nn.Conv2d`'s alike), `fan_in` being that
    /// of the layer's weight.
    BiasUniform {
        /// fan_in of the layer's weight, at least 1. `None`: a recipe takes it from the tensor
        /// `<prefix>.weight` that stands beside `<prefix>.bias`.
        fan_in: Option<u64>,
    },
    /// Normal with mean 0 and `std / sqrt(2 * layers)`: the projections that add to the
    /// residual stream of a transformer, of which every layer has two.
    ///
    /// Radford et al., "Language Models are Unsupervised Multitask Learners" (GPT-2), 2019,
    /// section 2.3; `GPT2PreTrainedModel._init_weights` in Hugging Face transformers.
    ResidualNormal {
        /// The standard deviation of the other weights; at least 0, finite in binary32.
        std: f64,
        /// The number of layers, at least 1. `None`: a recipe counts them in the tensor list.
        layers: Option<u64>,
    },
}

/// What [`Init::VarianceScaling`] draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Normal, not truncated.
    Normal,
    /// Uniform around 0, of the same variance.
    Uniform,
}

impl Init {
    /// Every element 0.
    #[must_use]
    pub const fn zeros() -> Self {
        Init::constant(0.0)
    }

    /// Every element 1.
    #[must_use]
    pub const fn ones() -> Self {
        Init::constant(1.0)
    }

    /// Every element `value`: `torch.nn.init.constant_`.
    #[must_use]
    pub const fn constant(value: f64) -> Self {
        Init::Constant { value }
    }

    /// Normal: `torch.nn.init.normal_`.
    #[must_use]
    pub const fn normal(mean: f64, std: f64) -> Self {
        Init::Normal { mean, std }
    }

    /// Uniform on `[low, high)`: `torch.nn.init.uniform_`.
    #[must_use]
    pub const fn uniform(low: f64, high: f64) -> Self {
        Init::Uniform { low, high }
    }

    /// Uniform with `bound = sqrt(6 / (fan_in + fan_out))`.
    ///
    /// Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    /// networks", AISTATS 2010; `torch.nn.init.xavier_uniform_`,
    /// `keras.initializers.GlorotUniform`.
    #[must_use]
    pub fn xavier_uniform() -> Self {
        Init::xavier_uniform_with(1.0)
    }

    /// [`Init::xavier_uniform`] with the bound times `gain`, which must be above 0.
    #[must_use]
    pub fn xavier_uniform_with(gain: f64) -> Self {
        Init::variance_scaling(square(gain), FanMode::FanAvg, Family::Uniform)
    }

    /// Normal with `std = sqrt(2 / (fan_in + fan_out))`.
    ///
    /// Glorot and Bengio 2010; `torch.nn.init.xavier_normal_`.
    #[must_use]
    pub fn xavier_normal() -> Self {
        Init::xavier_normal_with(1.0)
    }

    /// [`Init::xavier_normal`] with the std times `gain`, which must be above 0.
    #[must_use]
    pub fn xavier_normal_with(gain: f64) -> Self {
        Init::variance_scaling(square(gain), FanMode::FanAvg, Family::Normal)
    }

    /// [`Init::xavier_uniform`] by its other name.
    #[must_use]
    pub fn glorot_uniform() -> Self {
        Init::xavier_uniform()
    }

    /// [`Init::xavier_normal`] by its other name. Not truncated, as Keras' and JAX' are.
    #[must_use]
    pub fn glorot_normal() -> Self {
        Init::xavier_normal()
    }

    /// Uniform with `bound = sqrt(6 / fan_in)`.
    ///
    /// He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015;
    /// `torch.nn.init.kaiming_uniform_` with its defaults, `keras.initializers.HeUniform`.
    #[must_use]
    pub fn kaiming_uniform() -> Self {
        Init::kaiming_uniform_with(FanMode::default(), Nonlinearity::default())
    }

    /// Uniform with `bound = gain * sqrt(3 / fan)`, the gain being that of the nonlinearity:
    /// `torch.nn.init.kaiming_uniform_`.
    #[must_use]
    pub fn kaiming_uniform_with(mode: FanMode, nonlinearity: Nonlinearity) -> Self {
        Init::variance_scaling(nonlinearity.gain_squared(), mode, Family::Uniform)
    }

    /// Normal with `std = sqrt(2 / fan_in)`.
    ///
    /// He et al. 2015; `torch.nn.init.kaiming_normal_` with its defaults.
    #[must_use]
    pub fn kaiming_normal() -> Self {
        Init::kaiming_normal_with(FanMode::default(), Nonlinearity::default())
    }

    /// Normal with `std = gain / sqrt(fan)`, the gain being that of the nonlinearity:
    /// `torch.nn.init.kaiming_normal_`.
    #[must_use]
    pub fn kaiming_normal_with(mode: FanMode, nonlinearity: Nonlinearity) -> Self {
        Init::variance_scaling(nonlinearity.gain_squared(), mode, Family::Normal)
    }

    /// [`Init::kaiming_uniform`] by its other name.
    #[must_use]
    pub fn he_uniform() -> Self {
        Init::kaiming_uniform()
    }

    /// [`Init::kaiming_normal`] by its other name. Not truncated, as Keras' and JAX' are.
    #[must_use]
    pub fn he_normal() -> Self {
        Init::kaiming_normal()
    }

    /// Uniform with `bound = sqrt(3 / fan_in)`.
    ///
    /// LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998, section 4.6;
    /// `keras.initializers.LecunUniform`.
    #[must_use]
    pub fn lecun_uniform() -> Self {
        Init::variance_scaling(1.0, FanMode::FanIn, Family::Uniform)
    }

    /// Normal with `std = sqrt(1 / fan_in)`: LeCun et al. 1998. Not truncated.
    #[must_use]
    pub fn lecun_normal() -> Self {
        Init::variance_scaling(1.0, FanMode::FanIn, Family::Normal)
    }

    /// Variance `scale / fan`: [`Init::VarianceScaling`].
    #[must_use]
    pub const fn variance_scaling(scale: f64, mode: FanMode, distribution: Family) -> Self {
        Init::VarianceScaling {
            scale,
            mode,
            distribution,
        }
    }

    /// torch's default bias of a layer whose weight has this fan_in: [`Init::BiasUniform`].
    #[must_use]
    pub const fn bias_uniform(fan_in: u64) -> Self {
        Init::BiasUniform {
            fan_in: Some(fan_in),
        }
    }

    /// GPT-2's residual projections in a model of `layers` layers: [`Init::ResidualNormal`].
    #[must_use]
    pub const fn residual_normal(std: f64, layers: u64) -> Self {
        Init::ResidualNormal {
            std,
            layers: Some(layers),
        }
    }

    /// What the rule comes to for this tensor's shape, layout and groups.
    ///
    /// The arithmetic is binary64; each result is rounded once to binary32.
    ///
    /// # Errors
    ///
    /// All of them name the tensor: [`Error::Parameter`] for a number out of range,
    /// [`Error::Fans`] where the rule needs fans and the shape has none, [`Error::Context`]
    /// where a number is missing that only a recipe could have filled in.
    pub fn resolve(&self, tensor: &Tensor) -> Result<Distribution> {
        self.check()
            .and_then(|()| self.resolve_unnamed(tensor))
            .map_err(|error| error.named(tensor.name()))
    }

    fn resolve_unnamed(&self, tensor: &Tensor) -> Result<Distribution> {
        match *self {
            Init::Constant { value } => Distribution::constant(value),
            Init::Normal { mean, std } => Distribution::normal(mean, std),
            Init::Uniform { low, high } => Distribution::uniform(low, high),
            Init::VarianceScaling {
                scale,
                mode,
                distribution,
            } => {
                let fan = Fans::of(tensor)?.get(mode);
                match distribution {
                    Family::Normal => Distribution::normal(0.0, (scale / fan).sqrt()),
                    Family::Uniform => around_zero((3.0 * scale / fan).sqrt()),
                }
            }
            Init::BiasUniform {
                fan_in: Some(fan_in),
            } => around_zero(1.0 / (fan_in as f64).sqrt()),
            Init::BiasUniform { fan_in: None } => Err(Error::Context {
                tensor: None,
                init: self.to_string(),
                reason: "needs the fan_in of the layer's weight: write bias_uniform(fan_in=N), \
                         or use it in a recipe, for a tensor <prefix>.bias beside a \
                         <prefix>.weight"
                    .to_owned(),
            }),
            Init::ResidualNormal {
                std,
                layers: Some(layers),
            } => Distribution::normal(0.0, std / (2.0 * layers as f64).sqrt()),
            Init::ResidualNormal { layers: None, .. } => Err(Error::Context {
                tensor: None,
                init: self.to_string(),
                reason: "needs the number of layers: write layers=N, or use it in a recipe, for \
                         tensors with their layer's number in their name"
                    .to_owned(),
            }),
        }
    }

    /// Checks what can be checked without a shape.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`], naming no tensor.
    fn check(&self) -> Result<()> {
        let at_least_1 = |parameter, count: Option<u64>| match count {
            Some(0) => Err(Error::Parameter {
                tensor: None,
                parameter,
                value: 0.0,
                accepted: "it must be at least 1",
            }),
            _ => Ok(()),
        };
        match *self {
            Init::Constant { value } => Distribution::constant(value).map(drop),
            Init::Normal { mean, std } => Distribution::normal(mean, std).map(drop),
            Init::Uniform { low, high } => Distribution::uniform(low, high).map(drop),
            Init::VarianceScaling { scale, .. } => positive("scale", scale).map(drop),
            Init::BiasUniform { fan_in } => at_least_1("fan_in", fan_in),
            Init::ResidualNormal { std, layers } => {
                Distribution::normal(0.0, std).and(at_least_1("layers", layers))
            }
        }
    }
}

/// Uniform on `[-bound, bound)`.
fn around_zero(bound: f64) -> Result<Distribution> {
    Distribution::uniform(-bound, bound)
}

/// The square of a gain; that of a negative one stays negative, so that it is refused and not
/// quietly taken for its opposite.
fn square(gain: f64) -> f64 {
    gain * gain.abs()
}

/// Refuses what is not a finite number above 0.
fn positive(parameter: &'static str, value: f64) -> Result<f64> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(Error::Parameter {
            tensor: None,
            parameter,
            value,
            accepted: "it must be a finite number above 0",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(spec: &str, dims: &[u64]) -> Distribution {
        let tensor = Tensor::new("t.weight", dims).unwrap();
        spec.parse::<Init>().unwrap().resolve(&tensor).unwrap()
    }

    fn normal(std: f64) -> Distribution {
        Distribution::normal(0.0, std).unwrap()
    }

    fn bound(bound: f64) -> Distribution {
        Distribution::uniform(-bound, bound).unwrap()
    }

    #[test]
    fn rules_are_their_papers_formulas() {
        let dims = [512, 784];
        let (fan_in, fan_out) = (784.0f64, 512.0f64);
        let sum = fan_in + fan_out;
        assert_eq!(resolve("xavier_uniform", &dims), bound((6.0 / sum).sqrt()));
        assert_eq!(resolve("glorot_normal", &dims), normal((2.0 / sum).sqrt()));
        assert_eq!(
            resolve("xavier_normal(gain=2)", &dims),
            normal(2.0 * (2.0 / sum).sqrt())
        );
        assert_eq!(resolve("he_normal", &dims), normal((2.0 / fan_in).sqrt()));
        assert_eq!(
            resolve("kaiming_uniform", &dims),
            bound((6.0 / fan_in).sqrt())
        );
        assert_eq!(
            resolve("he_uniform(mode=fan_out)", &dims),
            bound((6.0 / fan_out).sqrt())
        );
        assert_eq!(
            resolve("kaiming_normal(mode=fan_avg,nonlinearity=selu)", &dims),
            normal(0.75 * (2.0 / sum).sqrt())
        );
        assert_eq!(
            resolve("lecun_normal", &dims),
            normal((1.0 / fan_in).sqrt())
        );
        assert_eq!(
            resolve("lecun_uniform", &dims),
            bound((3.0 / fan_in).sqrt())
        );
        // torch.nn.Linear's default weight, and the bias beside it.
        assert_eq!(
            resolve("kaiming_uniform(a=2.23606797749979)", &dims),
            bound(1.0 / 28.0)
        );
        assert_eq!(
            resolve("bias_uniform(fan_in=784)", &[512]),
            bound(1.0 / 28.0)
        );
        assert_eq!(
            resolve("residual_normal(std=0.02,layers=12)", &dims),
            normal(0.02 / 24f64.sqrt())
        );
    }

    #[test]
    fn a_bad_rule_names_tensor_value_and_what_would_do() {
        let tensor = Tensor::new("enc.weight", [4, 4]).unwrap();
        for (init, expected) in [
            (
                Init::normal(0.0, f64::NAN),
                "std = NaN is out of range: it must be a number",
            ),
            (
                Init::normal(0.0, -1.0),
                "std = -1 is out of range: it must be at least 0",
            ),
            (
                Init::uniform(1.0, 0.0),
                "low = 1 is out of range: it must be below high",
            ),
            (
                Init::xavier_normal_with(-1.0),
                "scale = -1 is out of range: it must be a finite",
            ),
            (
                Init::bias_uniform(0),
                "fan_in = 0 is out of range: it must be at least 1",
            ),
            (
                Init::BiasUniform { fan_in: None },
                "bias_uniform needs the fan_in of the layer",
            ),
            (
                Init::ResidualNormal {
                    std: 0.02,
                    layers: None,
                },
                "residual_normal(std=0.02) needs the number of layers",
            ),
        ] {
            let error = init.resolve(&tensor).unwrap_err().to_string();
            let expected = format!("tensor \"enc.weight\": {expected}");
            assert!(error.starts_with(&expected), "{error}");
        }
    }
}
