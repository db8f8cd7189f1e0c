//! Initializers: the rules that papers and frameworks name, and what they come to for a shape.
//!
//! [`Init`] is the rule as a user writes it, with numbers in binary64. [`Init::resolve`] turns
//! it, for one tensor, into a [`Distribution`]: numbers only, rounded once to binary32.

mod box_muller;
mod catalogue;
mod dense;
mod distribution;
mod fans;
mod gain;
mod law;
mod models;
mod position;
mod quantile;
mod scaling;
mod spec;

use crate::error::{Error, Result};
use crate::tensor::{Layout, Tensor};

pub use box_muller::normal_table;
pub use catalogue::{CATALOGUE, Entry, markdown};
pub use dense::{DenseLayer, TwoLayers, dense_layers, initialize_parameters};
pub use distribution::Distribution;
pub use fans::{FanMode, Fans};
pub use gain::Nonlinearity;
pub use law::Law;
pub use models::{MupRole, TransformerSide};
pub(crate) use position::{log_table, position_table};
pub(crate) use quantile::{Quantile, inverse_softplus_of_exp, ln};
pub(crate) use scaling::Scaling;
#[cfg(feature = "recipe")]
pub(crate) use spec::check_call;

/// A rule that initializes a tensor.
///
/// Build one with the constructors, which carry the names and defaults of the frameworks, or
/// read it from text.
///
/// # As text
///
/// `name` or `name(key=value,...)`, the same on the command line and in recipes. Blanks around
/// the parts are allowed; every key may be given once; numbers are decimal. Every name, with its
/// keys, defaults, formula and source, is in [`CATALOGUE`], in `docs/INITIALIZERS.md` of the
/// repository and in what `fanin inits` prints. Keras' class names (`HeNormal`) and torch's
/// functions (`kaiming_normal_`) are understood as they are spelled there.
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
/// # The same name, or not the same
///
/// `xavier_normal` and `kaiming_normal` are torch's names, and normal as they are there.
/// `glorot_normal`, `he_normal` and `lecun_normal` are Keras' and JAX' names, and truncated as
/// they are there: cut off at two standard deviations and widened to keep the variance. The
/// uniform rules are the same everywhere, whatever the name. (JAX also has `xavier_normal` and
/// `kaiming_normal`, as other names of its truncated ones.)
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
    /// `keras.initializers.VarianceScaling` and `jax.nn.initializers.variance_scaling`.
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
    /// Normal of this mean and standard deviation, given that it lies in `[a, b]`:
    /// `torch.nn.init.trunc_normal_`, whose bounds are absolute, as here.
    ///
    /// The distribution is exact for any bounds, where torch's has outliers for wide ones
    /// (pytorch#155588) and loses its precision in the tails.
    TruncNormal {
        /// The mean before the cut; finite in binary32.
        mean: f64,
        /// The standard deviation before the cut; above 0, finite in binary32.
        std: f64,
        /// The lower bound, or minus infinity.
        a: f64,
        /// The upper bound, or infinity; above `a`.
        b: f64,
    },
    /// The same, with the bounds counted in standard deviations from the mean:
    /// `keras.initializers.TruncatedNormal` (with -2 and 2) and
    /// `jax.nn.initializers.truncated_normal`.
    TruncatedNormal {
        /// The mean before the cut; finite in binary32.
        mean: f64,
        /// The standard deviation before the cut, which is not made up for; above 0.
        std: f64,
        /// The lower bound.
        lower: f64,
        /// The upper bound, above `lower`.
        upper: f64,
    },
    /// `scale / fan` for the standard deviation (normal) or the bound (uniform): weights that
    /// fall with the width itself, not with its square root.
    InverseFan {
        /// The standard deviation or bound times the fan; above 0, finite.
        scale: f64,
        /// Which fan divides the scale.
        mode: FanMode,
        /// What is drawn.
        distribution: Family,
    },
    /// `gain` on the diagonal of a matrix, 0 elsewhere: `keras.initializers.Identity`, and with
    /// gain 1 `torch.nn.init.eye_`.
    Identity {
        /// The value on the diagonal.
        gain: f64,
    },
    /// A convolution that passes its inputs through: `torch.nn.init.dirac_`. Rank 3 to 5, layout
    /// [`OutIn`](crate::Layout::OutIn).
    Dirac {
        /// Groups, each of which passes its inputs through; they must divide the outputs. `None`:
        /// those of the tensor.
        groups: Option<u64>,
    },
    /// A random orthogonal matrix times `gain`: orthonormal rows where there are no more rows than
    /// columns, else orthonormal columns, distributed as Haar's measure has it. The matrix is the
    /// tensor flattened: `[out, in * k...]` in layout `OutIn`, `[k... * in, out]` in layout
    /// `InOut`.
    ///
    /// Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in
    /// deep linear neural networks", 2014; `torch.nn.init.orthogonal_`,
    /// `keras.initializers.Orthogonal`, `jax.nn.initializers.orthogonal`.
    ///
    /// This one is made in floating point: the same bits on one device, within 1e-5 across
    /// devices; and a slice makes the whole.
    Orthogonal {
        /// The factor; finite, at least 0.
        gain: f64,
    },
    /// A convolution that is an orthogonal matrix in its middle tap and 0 elsewhere. Rank 3 to 5,
    /// no more inputs than outputs.
    ///
    /// Xiao et al., "Dynamical Isometry and a Mean Field Theory of CNNs", 2018;
    /// `jax.nn.initializers.delta_orthogonal`. Made as [`Init::Orthogonal`] is.
    DeltaOrthogonal {
        /// The factor; finite, at least 0.
        gain: f64,
    },
    /// Normal of mean 0, with exactly `ceil(sparsity * rows)` zeros in each column of a matrix:
    /// `torch.nn.init.sparse_`; Martens, "Deep learning via Hessian-free optimization", ICML
    /// 2010.
    Sparse {
        /// The share of zeros, 0 to 1.
        sparsity: f64,
        /// The standard deviation of the rest; above 0.
        std: f64,
    },
    /// Normal, but for one row of zeros: `torch.nn.Embedding` with a `padding_idx`.
    Embedding {
        /// The mean of the other rows.
        mean: f64,
        /// The standard deviation of the other rows; above 0.
        std: f64,
        /// The row of zeros.
        padding_idx: u64,
    },
    /// Sines and cosines of the position times frequencies from 1 down to `1 / max_timescale`;
    /// positions are rows, the last dimension is the columns.
    ///
    /// Vaswani et al., "Attention is all you need", 2017, section 3.5 (interleaved); Whisper's
    /// `sinusoids` (not interleaved), which counts the frequencies up to and including the last.
    Sinusoid {
        /// The base of the frequencies, 10000 in both papers; at least 1.
        max_timescale: f64,
        /// Sine and cosine in turns, as in the paper; else all sines, then all cosines.
        interleaved: bool,
    },
    /// `ln(c + 1)` for column c: Mamba's `A_log` (S4D-Real). Gu and Dao, "Mamba", 2023; Gu et
    /// al., "On the parameterization and initialization of diagonal state space models", 2022.
    LogRamp,
    /// The logarithm of a number drawn uniformly from `[low, high)`: Mamba-2's `A_log`. Dao and
    /// Gu, "Transformers are SSMs", 2024; `Mamba2.__init__` in mamba_ssm.
    LogUniform {
        /// The lower end, above 0.
        low: f64,
        /// The upper end, above `low`.
        high: f64,
    },
    /// The bias that softplus turns into a time step drawn log-uniformly from `[min, max)`, but
    /// no smaller than `floor`: `dt_proj.bias` of `Mamba.__init__` in mamba_ssm.
    TimeStep {
        /// The smallest step, above 0.
        min: f64,
        /// The largest step, at most 500.
        max: f64,
        /// No step is below it.
        floor: f64,
    },
}

/// What [`Init::VarianceScaling`] draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Normal, not truncated. Keras calls it `untruncated_normal`.
    Normal,
    /// Uniform around 0, of the same variance.
    Uniform,
    /// Normal, cut off at two standard deviations and widened so that the variance is the same:
    /// its standard deviation before the cut is that after it over 0.87962566103423978, as in
    /// Keras and JAX.
    TruncatedNormal,
}

/// The standard deviation of a standard normal that is cut off at -2 and 2. Keras' and JAX'
/// constant.
const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

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

    /// Truncated normal with variance `2 / (fan_in + fan_out)`: `keras.initializers.GlorotNormal`
    /// and `jax.nn.initializers.glorot_normal`. torch's is [`Init::xavier_normal`].
    #[must_use]
    pub const fn glorot_normal() -> Self {
        Init::variance_scaling(1.0, FanMode::FanAvg, Family::TruncatedNormal)
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

    /// Truncated normal with variance `2 / fan_in`: `keras.initializers.HeNormal` and
    /// `jax.nn.initializers.he_normal`. torch's is [`Init::kaiming_normal`].
    #[must_use]
    pub const fn he_normal() -> Self {
        Init::variance_scaling(2.0, FanMode::FanIn, Family::TruncatedNormal)
    }

    /// Uniform with `bound = sqrt(3 / fan_in)`.
    ///
    /// LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998, section 4.6;
    /// `keras.initializers.LecunUniform`.
    #[must_use]
    pub fn lecun_uniform() -> Self {
        Init::variance_scaling(1.0, FanMode::FanIn, Family::Uniform)
    }

    /// Truncated normal with variance `1 / fan_in`: LeCun et al. 1998;
    /// `keras.initializers.LecunNormal`, `jax.nn.initializers.lecun_normal`. Not truncated it is
    /// `Init::variance_scaling(1.0, FanMode::FanIn, Family::Normal)`.
    #[must_use]
    pub const fn lecun_normal() -> Self {
        Init::variance_scaling(1.0, FanMode::FanIn, Family::TruncatedNormal)
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

    /// Normal cut off at the absolute bounds `a` and `b`: [`Init::TruncNormal`]. torch's defaults
    /// are 0, 1, -2 and 2.
    #[must_use]
    pub const fn trunc_normal(mean: f64, std: f64, a: f64, b: f64) -> Self {
        Init::TruncNormal { mean, std, a, b }
    }

    /// Normal cut off at bounds in standard deviations: [`Init::TruncatedNormal`]. Keras' bounds,
    /// and JAX' defaults, are -2 and 2.
    #[must_use]
    pub const fn truncated_normal(mean: f64, std: f64, lower: f64, upper: f64) -> Self {
        Init::TruncatedNormal {
            mean,
            std,
            lower,
            upper,
        }
    }

    /// Ones on the diagonal: `torch.nn.init.eye_`.
    #[must_use]
    pub const fn eye() -> Self {
        Init::Identity { gain: 1.0 }
    }

    /// `gain` on the diagonal: [`Init::Identity`].
    #[must_use]
    pub const fn identity(gain: f64) -> Self {
        Init::Identity { gain }
    }

    /// A convolution that passes its inputs through, in this many groups: [`Init::Dirac`].
    #[must_use]
    pub const fn dirac(groups: u64) -> Self {
        Init::Dirac {
            groups: Some(groups),
        }
    }

    /// A random orthogonal matrix: [`Init::Orthogonal`] with gain 1.
    #[must_use]
    pub const fn orthogonal() -> Self {
        Init::Orthogonal { gain: 1.0 }
    }

    /// A random orthogonal matrix times `gain`: [`Init::Orthogonal`].
    #[must_use]
    pub const fn orthogonal_with(gain: f64) -> Self {
        Init::Orthogonal { gain }
    }

    /// An orthogonal matrix in a convolution's middle tap: [`Init::DeltaOrthogonal`] with gain 1.
    #[must_use]
    pub const fn delta_orthogonal() -> Self {
        Init::DeltaOrthogonal { gain: 1.0 }
    }

    /// Zeros strewn over each column: [`Init::Sparse`]. torch's default std is 0.01.
    #[must_use]
    pub const fn sparse(sparsity: f64, std: f64) -> Self {
        Init::Sparse { sparsity, std }
    }

    /// `N(0, 1)` but for a row of zeros: [`Init::Embedding`], torch's default.
    #[must_use]
    pub const fn embedding(padding_idx: u64) -> Self {
        Init::Embedding {
            mean: 0.0,
            std: 1.0,
            padding_idx,
        }
    }

    /// Which fan of its tensor the rule is computed from; `None` where it needs none.
    #[must_use]
    pub const fn fan_mode(&self) -> Option<FanMode> {
        match self {
            Init::VarianceScaling { mode, .. } | Init::InverseFan { mode, .. } => Some(*mode),
            _ => None,
        }
    }

    /// What the rule comes to for this tensor's shape, layout and groups.
    ///
    /// The arithmetic is binary64; each result is rounded once to binary32. For an empty tensor,
    /// which draws nothing, it is a constant 0, whatever the rule: as in torch, initializing one is
    /// no fault.
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
        // Fans may be 0 there, and matrices have no row.
        if tensor.shape().elements() == 0 {
            return Distribution::constant(0.0);
        }
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
                    Family::TruncatedNormal => two_stds((scale / fan).sqrt()),
                }
            }
            Init::InverseFan {
                scale,
                mode,
                distribution,
            } => {
                let size = scale / Fans::of(tensor)?.get(mode);
                match distribution {
                    Family::Normal => Distribution::normal(0.0, size),
                    Family::Uniform => around_zero(size),
                    Family::TruncatedNormal => two_stds(size),
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
            Init::TruncNormal { mean, std, a, b } => {
                Distribution::truncated_normal(mean, std, a, b)
            }
            Init::TruncatedNormal {
                mean,
                std,
                lower,
                upper,
            } => Distribution::truncated_normal_at(mean, std, lower, upper),
            Init::LogUniform { low, high } => Distribution::log_uniform(low, high),
            Init::TimeStep { min, max, floor } => Distribution::time_step(min, max, floor),
            Init::Identity { .. }
            | Init::Dirac { .. }
            | Init::Sparse { .. }
            | Init::Embedding { .. }
            | Init::Sinusoid { .. }
            | Init::LogRamp
            | Init::Orthogonal { .. }
            | Init::DeltaOrthogonal { .. } => self.resolve_by_place(tensor),
        }
    }

    fn resolve_by_place(&self, tensor: &Tensor) -> Result<Distribution> {
        let dims = tensor.shape().dims();
        let refused = |reason: String| {
            Err(Error::Shape {
                tensor: None,
                shape: tensor.shape().to_string(),
                reason,
            })
        };
        let distribution = match (self, dims) {
            (&Init::Identity { gain }, &[rows, columns]) => Distribution::Diagonal {
                value: gain as f32,
                columns,
                rows,
                ones: rows.min(columns),
                stride: 1,
                offset: 0,
            },
            (&Init::Dirac { groups }, &[outputs, inputs, ref kernel @ ..])
                if (1..=3).contains(&kernel.len()) && tensor.layout() == Layout::OutIn =>
            {
                let groups = groups.unwrap_or(tensor.groups());
                if groups == 0 || !outputs.is_multiple_of(groups) {
                    return refused(format!(
                        "cannot have {groups} groups: they must be at least 1 and divide its \
                         {outputs} outputs"
                    ));
                }
                let taps = kernel.iter().product::<u64>();
                let rows = outputs / groups;
                Distribution::Diagonal {
                    value: 1.0,
                    columns: inputs * taps,
                    rows,
                    ones: rows.min(inputs),
                    stride: taps,
                    offset: kernel.iter().fold(0, |at, &size| at * size + size / 2),
                }
            }
            (&Init::Dirac { .. }, _) => {
                return refused(
                    "is no convolution that dirac can fill: it needs rank 3 to 5, [out, in, k...] \
                     in layout out_in"
                        .to_owned(),
                );
            }
            (&Init::Sparse { sparsity, std }, &[rows, columns]) => Distribution::Sparse {
                std: std as f32,
                rows,
                columns,
                // At most the rows: the share is at most 1.
                zeros: (sparsity * rows as f64).ceil() as u64,
            },
            (
                &Init::Embedding {
                    mean,
                    std,
                    padding_idx,
                },
                &[rows, columns],
            ) => {
                if padding_idx >= rows {
                    return refused(format!(
                        "has no row {padding_idx} for padding: its rows are 0 to {}",
                        rows - 1
                    ));
                }
                Distribution::NormalWithZeroRow {
                    mean: mean as f32,
                    std: std as f32,
                    columns,
                    row: padding_idx,
                }
            }
            (
                &Init::Sinusoid {
                    max_timescale,
                    interleaved,
                },
                &[.., _, columns],
            ) => {
                if !interleaved && !columns.is_multiple_of(2) {
                    return refused(
                        "has an odd last dimension, which sinusoids cannot halve into sines and \
                         cosines"
                            .to_owned(),
                    );
                }
                Distribution::Sinusoid {
                    columns,
                    max_timescale,
                    interleaved,
                }
            }
            (&Init::Orthogonal { gain }, &[first, .., last]) => {
                let elements = tensor.shape().elements();
                let (rows, columns) = match tensor.layout() {
                    Layout::OutIn => (first, elements / first),
                    Layout::InOut => (elements / last, last),
                };
                Distribution::Orthogonal {
                    gain: gain as f32,
                    rows,
                    columns,
                    taps: 1,
                    middle: 0,
                    taps_last: false,
                }
            }
            (&Init::DeltaOrthogonal { gain }, dims) if (3..=5).contains(&dims.len()) => {
                let taps_last = tensor.layout() == Layout::OutIn;
                let (kernel, rows, columns) = match (tensor.layout(), dims) {
                    (Layout::OutIn, &[rows, columns, ref kernel @ ..])
                    | (Layout::InOut, &[ref kernel @ .., rows, columns]) => (kernel, rows, columns),
                    _ => return refused("is no convolution".to_owned()),
                };
                let (inputs, outputs) = if taps_last {
                    (columns, rows)
                } else {
                    (rows, columns)
                };
                if inputs > outputs {
                    return refused(format!(
                        "has {inputs} inputs and {outputs} outputs: delta_orthogonal needs no \
                         more inputs than outputs"
                    ));
                }
                Distribution::Orthogonal {
                    gain: gain as f32,
                    rows,
                    columns,
                    taps: kernel.iter().product(),
                    // JAX' own choice: (k - 1) // 2.
                    middle: kernel
                        .iter()
                        .fold(0, |at, &size| at * size + (size - 1) / 2),
                    taps_last,
                }
            }
            (Init::Orthogonal { .. }, _) => {
                return refused("is no matrix: orthogonal needs rank 2 or more".to_owned());
            }
            (Init::DeltaOrthogonal { .. }, _) => {
                return refused("is no convolution: delta_orthogonal needs rank 3 to 5".to_owned());
            }
            (Init::LogRamp, &[.., columns]) => Distribution::LogRamp { columns },
            (Init::LogRamp, _) => {
                return refused("is a scalar: mamba_a_log needs rank 1 or more".to_owned());
            }
            (Init::Sinusoid { .. }, _) => {
                return refused(
                    "is no position table: it needs rank 2 or more, [..., positions, columns]"
                        .to_owned(),
                );
            }
            (init, _) => {
                return refused(format!("is no matrix: {init} needs rank 2"));
            }
        };
        distribution.check()?;
        Ok(distribution)
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
            Init::TruncNormal { mean, std, a, b } => {
                Distribution::truncated_normal(mean, std, a, b).map(drop)
            }
            Init::TruncatedNormal {
                mean,
                std,
                lower,
                upper,
            } => Distribution::truncated_normal_at(mean, std, lower, upper).map(drop),
            Init::InverseFan { scale, .. } => positive("scale", scale).map(drop),
            Init::Identity { gain } => Distribution::constant(gain).map(drop),
            Init::Orthogonal { gain } | Init::DeltaOrthogonal { gain } => {
                if gain < 0.0 {
                    return Err(Error::Parameter {
                        tensor: None,
                        parameter: "gain",
                        value: gain,
                        accepted: "it must be at least 0",
                    });
                }
                Distribution::constant(gain).map(drop)
            }
            Init::Dirac { groups } => at_least_1("groups", groups),
            Init::Sparse { sparsity, std } => {
                if !(0.0..=1.0).contains(&sparsity) {
                    return Err(Error::Parameter {
                        tensor: None,
                        parameter: "sparsity",
                        value: sparsity,
                        accepted: "it must be between 0 and 1",
                    });
                }
                Distribution::truncated_normal(0.0, std, -1.0, 1.0).map(drop)
            }
            Init::Embedding { mean, std, .. } => {
                let unbounded = f64::INFINITY;
                Distribution::truncated_normal(mean, std, -unbounded, unbounded).map(drop)
            }
            Init::Sinusoid { max_timescale, .. } => {
                distribution::at_least_one("max_timescale", max_timescale).map(drop)
            }
            Init::LogRamp => Ok(()),
            Init::LogUniform { low, high } => Distribution::log_uniform(low, high).map(drop),
            Init::TimeStep { min, max, floor } => {
                Distribution::time_step(min, max, floor).map(drop)
            }
        }
    }
}

/// Uniform on `[-bound, bound)`.
fn around_zero(bound: f64) -> Result<Distribution> {
    Distribution::uniform(-bound, bound)
}

/// Truncated normal around 0, cut off at two standard deviations, of this standard deviation
/// after the cut.
fn two_stds(std: f64) -> Result<Distribution> {
    Distribution::truncated_normal_at(0.0, std / TRUNCATED_STD, -2.0, 2.0)
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

    fn two_stds(std: f64) -> Distribution {
        let std = std / 0.879_625_661_034_239_8;
        Distribution::truncated_normal_at(0.0, std, -2.0, 2.0).unwrap()
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
        assert_eq!(
            resolve("glorot_normal", &dims),
            two_stds((2.0 / sum).sqrt())
        );
        assert_eq!(
            resolve("xavier_normal(gain=2)", &dims),
            normal(2.0 * (2.0 / sum).sqrt())
        );
        assert_eq!(resolve("he_normal", &dims), two_stds((2.0 / fan_in).sqrt()));
        assert_eq!(
            resolve("kaiming_normal", &dims),
            normal((2.0 / fan_in).sqrt())
        );
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
            two_stds((1.0 / fan_in).sqrt())
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
