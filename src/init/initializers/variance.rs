//! Rules whose scale is computed from the fans.

use crate::error::{Error, Result};
use crate::init::key::{Key, Range, Value};
use crate::init::rule::{Definition, Missing};
use crate::init::{Computation, Distribution, Family, FanMode, Init, Nonlinearity};

const HE: &str = "He, Zhang, Ren, Sun 2015, arXiv:1502.01852";
const GLOROT: &str = "Glorot, Bengio 2010, AISTATS";
const LECUN: &str = "LeCun, Bottou, Orr, Müller 1998, Efficient BackProp";

const SCALE: Key = Key::number("scale", Range::POSITIVE, 1.0);
const MODE: Key = Key::word("mode", &["fan_in", "fan_out", "fan_avg"], "fan_in");
const KAIMING_KEYS: &[Key] = &[
    Key::number("a", Range::FINITE, 0.0),
    MODE,
    Key::word("nonlinearity", Nonlinearity::NAMES, "leaky_relu"),
    Key::number("gain", Range::POSITIVE, 1.0).optional(),
];
/// The families of Keras' `VarianceScaling`, whose `untruncated_normal` is `normal`.
const FAMILIES: &[&str] = &[
    "truncated_normal",
    "normal",
    "untruncated_normal",
    "uniform",
];

pub(in crate::init) static VARIANCE: &[Definition] = &[
    Definition {
        name: "xavier_uniform",
        aliases: &["glorot_uniform"],
        keys: &[Key::number("gain", Range::POSITIVE, 1.0)],
        formula: "U(±gain sqrt(6 / (fan_in + fan_out)))",
        frameworks: "torch xavier_uniform_, Keras GlorotUniform, JAX glorot_uniform",
        source: GLOROT,
        when: "tanh, sigmoid, linear layers; attention projections",
        compute: |init| {
            variance(
                square(init.number("gain")),
                FanMode::FanAvg,
                Family::Uniform,
            )
        },
    },
    Definition {
        name: "xavier_normal",
        aliases: &[],
        keys: &[Key::number("gain", Range::POSITIVE, 1.0)],
        formula: "N(0, gain^2 2 / (fan_in + fan_out)), not truncated",
        frameworks: "torch xavier_normal_",
        source: GLOROT,
        when: "tanh, sigmoid, linear layers",
        compute: |init| variance(square(init.number("gain")), FanMode::FanAvg, Family::Normal),
    },
    Definition {
        name: "glorot_normal",
        aliases: &[],
        keys: &[Key::number("gain", Range::POSITIVE, 1.0)],
        formula: "normal, truncated at 2 std, with variance gain^2 2 / (fan_in + fan_out)",
        frameworks: "Keras GlorotNormal, JAX glorot_normal (and its xavier_normal)",
        source: GLOROT,
        when: "tanh, sigmoid, linear layers, as in Keras and JAX",
        compute: |init| {
            variance(
                square(init.number("gain")),
                FanMode::FanAvg,
                Family::TruncatedNormal,
            )
        },
    },
    Definition {
        name: "kaiming_uniform",
        aliases: &["he_uniform"],
        keys: KAIMING_KEYS,
        formula: "U(±gain sqrt(3 / fan))",
        frameworks: "torch kaiming_uniform_, Keras HeUniform, JAX he_uniform",
        source: HE,
        when: "ReLU and similar nonlinearities",
        compute: |init| variance(kaiming_scale(init)?, mode(init), Family::Uniform),
    },
    Definition {
        name: "kaiming_normal",
        aliases: &[],
        keys: KAIMING_KEYS,
        formula: "N(0, gain^2 / fan), not truncated",
        frameworks: "torch kaiming_normal_",
        source: HE,
        when: "ReLU and similar nonlinearities; convolutions with mode=fan_out",
        compute: |init| variance(kaiming_scale(init)?, mode(init), Family::Normal),
    },
    Definition {
        name: "he_normal",
        aliases: &[],
        keys: KAIMING_KEYS,
        formula: "normal, truncated at 2 std, with variance gain^2 / fan",
        frameworks: "Keras HeNormal, JAX he_normal (and its kaiming_normal)",
        source: HE,
        when: "ReLU and similar nonlinearities, as in Keras and JAX",
        compute: |init| variance(kaiming_scale(init)?, mode(init), Family::TruncatedNormal),
    },
    Definition {
        name: "lecun_uniform",
        aliases: &[],
        keys: &[MODE],
        formula: "U(±sqrt(3 / fan))",
        frameworks: "Keras LecunUniform, JAX lecun_uniform",
        source: LECUN,
        when: "SELU, linear layers",
        compute: |init| variance(1.0, mode(init), Family::Uniform),
    },
    Definition {
        name: "lecun_normal",
        aliases: &[],
        keys: &[MODE],
        formula: "normal, truncated at 2 std, with variance 1 / fan",
        frameworks: "Keras LecunNormal, JAX lecun_normal, the default of Flax",
        source: LECUN,
        when: "SELU, linear layers",
        compute: |init| variance(1.0, mode(init), Family::TruncatedNormal),
    },
    Definition {
        name: "variance_scaling",
        aliases: &[],
        keys: &[
            SCALE,
            MODE,
            Key::word("distribution", FAMILIES, "truncated_normal"),
        ],
        formula: "drawn from distribution, with variance scale / fan and mean 0; truncated_normal is truncated at 2 std",
        frameworks: "Keras VarianceScaling (untruncated_normal), JAX variance_scaling",
        source: "keras.initializers.VarianceScaling",
        when: "other rules of variance scale / fan",
        compute: |init| variance(init.number("scale"), mode(init), family(init)),
    },
    Definition {
        name: "inverse_fan",
        aliases: &[],
        keys: &[
            SCALE,
            MODE,
            Key::word(
                "distribution",
                &["truncated_normal", "normal", "uniform"],
                "normal",
            ),
        ],
        formula: "drawn from distribution, with std (normal, truncated_normal) or bound (uniform) scale / fan",
        frameworks: "-",
        source: "-",
        when: "other rules in 1 / fan, such as siren_first and the output of mup",
        compute: |init| inverse_fan(init.number("scale"), mode(init), family(init)),
    },
    Definition {
        name: "torch_linear",
        aliases: &["lora_a"],
        keys: &[],
        formula: "U(±1 / sqrt(fan_in))",
        frameworks: "torch Linear and Conv: kaiming_uniform_(a=sqrt(5)); peft's lora_A",
        source: "torch.nn.Linear.reset_parameters; LoRA: Hu et al. 2021, arXiv:2106.09685",
        when: "PyTorch's default weights",
        // The squared gain of a leaky ReLU with a = sqrt(5) is 2 / (1 + 5).
        compute: |_| variance(1.0 / 3.0, FanMode::FanIn, Family::Uniform),
    },
    Definition {
        name: "bias_uniform",
        aliases: &[],
        keys: &[Key::count("fan_in", 1, 1).optional()],
        formula: "U(±1 / sqrt(fan_in of the weight))",
        frameworks: "torch Linear and Conv biases",
        source: "torch.nn.Linear.reset_parameters",
        when: "PyTorch's default biases",
        compute: |init| match init.count_if_given("fan_in") {
            Some(fan_in) => Ok(Computation::Fixed(Distribution::around_zero(
                1.0 / (fan_in as f64).sqrt(),
            )?)),
            None => Ok(Computation::Incomplete(Missing::FanIn)),
        },
    },
];

/// Returns the rule of variance `scale / fan`.
pub(super) fn variance(scale: f64, mode: FanMode, family: Family) -> Result<Computation> {
    Ok(Computation::Variance {
        scale,
        mode,
        family,
    })
}

/// Returns the rule of standard deviation or bound `scale / fan`.
pub(super) fn inverse_fan(scale: f64, mode: FanMode, family: Family) -> Result<Computation> {
    Ok(Computation::InverseFan {
        scale,
        mode,
        family,
    })
}

/// Returns the square of a gain.
pub(super) fn square(gain: f64) -> f64 {
    gain * gain
}

fn mode(init: &Init) -> FanMode {
    match init.word("mode") {
        "fan_out" => FanMode::FanOut,
        "fan_avg" => FanMode::FanAvg,
        _ => FanMode::FanIn,
    }
}

fn family(init: &Init) -> Family {
    match init.word("distribution") {
        "truncated_normal" => Family::TruncatedNormal,
        "uniform" => Family::Uniform,
        _ => Family::Normal,
    }
}

/// Returns the square of the key `gain`, or of the gain of the nonlinearity as torch's `kaiming_...`
/// functions compute it.
fn kaiming_scale(init: &Init) -> Result<f64> {
    let (a, name) = (init.number("a"), init.word("nonlinearity"));
    let refused = |reason: &str| Error::context(init.to_string(), reason);
    if let Some(gain) = init.number_if_given("gain") {
        if a != 0.0 || name != "leaky_relu" {
            return Err(refused(
                "has gain and also a or nonlinearity, which set the gain too: use one or the other",
            ));
        }
        return Ok(square(gain));
    }
    if a != 0.0 && name != "leaky_relu" {
        return Err(refused(&format!(
            "has a, the slope of leaky_relu, but {name} has no slope: leave a out"
        )));
    }
    Ok(Nonlinearity::from_name(name, a).gain_squared())
}

/// Returns a Kaiming initializer with the keys of torch's functions.
fn kaiming(name: &str, mode: FanMode, nonlinearity: Nonlinearity) -> Init {
    let values = [
        ("a", Value::Number(nonlinearity.slope())),
        ("mode", Value::Word(mode.name())),
        ("nonlinearity", Value::Word(nonlinearity.name())),
    ];
    Init::named(VARIANCE, name, &values)
}

/// Returns `variance_scaling` or `inverse_fan` with these values.
fn scaled(name: &str, scale: f64, mode: FanMode, family: Family) -> Init {
    let values = [
        ("scale", Value::Number(scale)),
        ("mode", Value::Word(mode.name())),
        (
            "distribution",
            Value::Word(match family {
                Family::Normal => "normal",
                Family::Uniform => "uniform",
                Family::TruncatedNormal => "truncated_normal",
            }),
        ),
    ];
    Init::named(VARIANCE, name, &values)
}

impl Init {
    /// Uniform with `bound = sqrt(6 / (fan_in + fan_out))`.
    ///
    /// Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    /// networks", AISTATS 2010; `torch.nn.init.xavier_uniform_`,
    /// `keras.initializers.GlorotUniform`.
    #[must_use]
    pub fn xavier_uniform() -> Self {
        Init::named(VARIANCE, "xavier_uniform", &[])
    }

    /// [`Init::xavier_uniform`] with the bound times `gain`, which must be above 0.
    #[must_use]
    pub fn xavier_uniform_with(gain: f64) -> Self {
        Init::named(VARIANCE, "xavier_uniform", &[("gain", Value::Number(gain))])
    }

    /// Normal with `std = sqrt(2 / (fan_in + fan_out))`.
    ///
    /// Glorot and Bengio 2010; `torch.nn.init.xavier_normal_`.
    #[must_use]
    pub fn xavier_normal() -> Self {
        Init::named(VARIANCE, "xavier_normal", &[])
    }

    /// [`Init::xavier_normal`] with the std times `gain`, which must be above 0.
    #[must_use]
    pub fn xavier_normal_with(gain: f64) -> Self {
        Init::named(VARIANCE, "xavier_normal", &[("gain", Value::Number(gain))])
    }

    /// Another name of [`Init::xavier_uniform`].
    #[must_use]
    pub fn glorot_uniform() -> Self {
        Init::xavier_uniform()
    }

    /// Truncated normal with variance `2 / (fan_in + fan_out)`: `keras.initializers.GlorotNormal`
    /// and `jax.nn.initializers.glorot_normal`. torch's rule is [`Init::xavier_normal`].
    #[must_use]
    pub fn glorot_normal() -> Self {
        Init::named(VARIANCE, "glorot_normal", &[])
    }

    /// Uniform with `bound = sqrt(6 / fan_in)`.
    ///
    /// He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015;
    /// `torch.nn.init.kaiming_uniform_` with its defaults, `keras.initializers.HeUniform`.
    #[must_use]
    pub fn kaiming_uniform() -> Self {
        Init::named(VARIANCE, "kaiming_uniform", &[])
    }

    /// Uniform with `bound = gain * sqrt(3 / fan)`, with the gain of the nonlinearity:
    /// `torch.nn.init.kaiming_uniform_`.
    #[must_use]
    pub fn kaiming_uniform_with(mode: FanMode, nonlinearity: Nonlinearity) -> Self {
        kaiming("kaiming_uniform", mode, nonlinearity)
    }

    /// Normal with `std = sqrt(2 / fan_in)`.
    ///
    /// He et al. 2015; `torch.nn.init.kaiming_normal_` with its defaults.
    #[must_use]
    pub fn kaiming_normal() -> Self {
        Init::named(VARIANCE, "kaiming_normal", &[])
    }

    /// Normal with `std = gain / sqrt(fan)`, with the gain of the nonlinearity:
    /// `torch.nn.init.kaiming_normal_`.
    #[must_use]
    pub fn kaiming_normal_with(mode: FanMode, nonlinearity: Nonlinearity) -> Self {
        kaiming("kaiming_normal", mode, nonlinearity)
    }

    /// Another name of [`Init::kaiming_uniform`].
    #[must_use]
    pub fn he_uniform() -> Self {
        Init::kaiming_uniform()
    }

    /// Truncated normal with variance `2 / fan_in`: `keras.initializers.HeNormal` and
    /// `jax.nn.initializers.he_normal`. torch's rule is [`Init::kaiming_normal`].
    #[must_use]
    pub fn he_normal() -> Self {
        Init::named(VARIANCE, "he_normal", &[])
    }

    /// Uniform with `bound = sqrt(3 / fan_in)`.
    ///
    /// LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998, section 4.6;
    /// `keras.initializers.LecunUniform`.
    #[must_use]
    pub fn lecun_uniform() -> Self {
        Init::named(VARIANCE, "lecun_uniform", &[])
    }

    /// Truncated normal with variance `1 / fan_in`.
    ///
    /// LeCun et al. 1998; `keras.initializers.LecunNormal`, `jax.nn.initializers.lecun_normal`. The
    /// rule without truncation is `Init::variance_scaling(1.0, FanMode::FanIn, Family::Normal)`.
    #[must_use]
    pub fn lecun_normal() -> Self {
        Init::named(VARIANCE, "lecun_normal", &[])
    }

    /// A rule of variance `scale / fan`: normal with `std = sqrt(scale / fan)`, truncated or not, or
    /// uniform on `[-bound, bound)` with `bound = sqrt(3 * scale / fan)`. The scale is the square of
    /// torch's gain. It must be finite and above 0.
    ///
    /// `keras.initializers.VarianceScaling` and `jax.nn.initializers.variance_scaling`.
    #[must_use]
    pub fn variance_scaling(scale: f64, mode: FanMode, family: Family) -> Self {
        scaled("variance_scaling", scale, mode, family)
    }

    /// A rule of standard deviation (normal) or bound (uniform) `scale / fan`. The scale must be finite
    /// and above 0.
    #[must_use]
    pub fn inverse_fan(scale: f64, mode: FanMode, family: Family) -> Self {
        scaled("inverse_fan", scale, mode, family)
    }

    /// Uniform with `bound = 1 / sqrt(fan_in)`: the default weight of `torch.nn.Linear` and
    /// `torch.nn.Conv2d`, which torch writes as `kaiming_uniform_(a=math.sqrt(5))`. The default bias
    /// is [`Init::bias_uniform`].
    #[must_use]
    pub fn torch_linear() -> Self {
        Init::named(VARIANCE, "torch_linear", &[])
    }

    /// Another name of [`Init::torch_linear`]: the matrix A of a low-rank adapter. The matrix B is
    /// zeros.
    ///
    /// Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021; `LoraLayer` in
    /// Hugging Face peft.
    #[must_use]
    pub fn lora_a() -> Self {
        Init::torch_linear()
    }

    /// Uniform on `[-1/sqrt(fan_in), 1/sqrt(fan_in))`: torch's default bias of a layer whose weight has
    /// this fan_in (`torch.nn.Linear.reset_parameters`). It must be at least 1. In text, it can be left
    /// out. A recipe then takes the fan_in of the tensor `<prefix>.weight` beside `<prefix>.bias`.
    #[must_use]
    pub fn bias_uniform(fan_in: u64) -> Self {
        Init::named(
            VARIANCE,
            "bias_uniform",
            &[("fan_in", Value::Count(fan_in))],
        )
    }
}
