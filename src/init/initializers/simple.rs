//! Constants, and distributions whose numbers do not depend on the shape.

use crate::error::Result;
use crate::init::key::{Key, Range, Value};
use crate::init::rule::Definition;
use crate::init::{Computation, Distribution, Init};

pub(in crate::init) static SIMPLE: &[Definition] = &[
    Definition {
        name: "zeros",
        aliases: &["lora_b", "rezero"],
        keys: &[],
        formula: "0",
        frameworks: "torch zeros_, Keras Zeros, JAX zeros; LoRA's B, ReZero's gate",
        source: "LoRA: Hu et al. 2021, arXiv:2106.09685; ReZero: Bachlechner et al. 2020, arXiv:2003.04887",
        when: "biases; the last layer of a residual branch",
        compute: |_| Ok(Computation::Fixed(Distribution::constant(0.0)?)),
    },
    Definition {
        name: "ones",
        aliases: &[],
        keys: &[],
        formula: "1",
        frameworks: "torch ones_, Keras Ones, JAX ones",
        source: "torch.nn.init.ones_",
        when: "scales of normalization layers",
        compute: |_| Ok(Computation::Fixed(Distribution::constant(1.0)?)),
    },
    Definition {
        name: "constant",
        aliases: &[],
        keys: &[Key::number("value", Range::ANY, 0.0).required()],
        formula: "value",
        frameworks: "torch constant_ (val), Keras Constant, JAX constant",
        source: "torch.nn.init.constant_",
        when: "gates, temperatures, LayerScale",
        compute: |init| {
            Ok(Computation::Fixed(Distribution::constant(
                init.number("value"),
            )?))
        },
    },
    Definition {
        name: "normal",
        aliases: &[],
        keys: &[
            Key::number("mean", Range::ANY, 0.0),
            Key::number("std", Range::ANY, 1.0),
        ],
        formula: "N(mean, std^2)",
        frameworks: "torch normal_",
        source: "torch.nn.init.normal_",
        when: "a std that the model's authors chose",
        compute: normal,
    },
    Definition {
        name: "random_normal",
        aliases: &[],
        keys: &[
            Key::number("mean", Range::ANY, 0.0),
            Key::number("std", Range::ANY, 0.05),
        ],
        formula: "N(mean, std^2)",
        frameworks: "Keras RandomNormal (stddev); JAX normal has stddev 0.01",
        source: "keras.initializers.RandomNormal",
        when: "models that Keras initializes",
        compute: normal,
    },
    Definition {
        name: "uniform",
        aliases: &[],
        keys: &[
            Key::number("low", Range::ANY, 0.0),
            Key::number("high", Range::ANY, 1.0),
        ],
        formula: "U[low, high)",
        frameworks: "torch uniform_ (a, b)",
        source: "torch.nn.init.uniform_",
        when: "bounds that the model's authors chose; no f32 value is high, but f16 and bf16 round the \
               f32 value and can give high (0.2 % of the bf16 values of uniform(0, 1))",
        compute: uniform,
    },
    Definition {
        name: "random_uniform",
        aliases: &[],
        keys: &[
            Key::number("low", Range::ANY, -0.05),
            Key::number("high", Range::ANY, 0.05),
        ],
        formula: "U[low, high)",
        frameworks: "Keras RandomUniform (minval, maxval)",
        source: "keras.initializers.RandomUniform",
        when: "models that Keras initializes",
        compute: uniform,
    },
    Definition {
        name: "trunc_normal",
        aliases: &[],
        keys: &[
            Key::number("mean", Range::ANY, 0.0),
            Key::number("std", Range::ANY, 1.0),
            Key::number("a", Range::ANY, -2.0),
            Key::number("b", Range::ANY, 2.0),
        ],
        formula: "N(mean, std^2), truncated to [a, b]",
        frameworks: "torch trunc_normal_, timm trunc_normal_",
        source: "torch.nn.init.trunc_normal_; it has outliers for wide bounds (pytorch#155588), fanin has none",
        when: "vision transformers; Llama as in torchtitan",
        compute: |init| {
            let [mean, std, a, b] = ["mean", "std", "a", "b"].map(|key| init.number(key));
            Ok(Computation::Fixed(Distribution::truncated_normal(
                mean, std, a, b,
            )?))
        },
    },
    Definition {
        name: "truncated_normal",
        aliases: &[],
        keys: &[
            Key::number("mean", Range::ANY, 0.0),
            Key::number("std", Range::ANY, 1.0).keras(0.05),
            Key::number("lower", Range::ANY, -2.0),
            Key::number("upper", Range::ANY, 2.0),
        ],
        formula: "N(mean, std^2), truncated to mean + std * [lower, upper]",
        frameworks: "Keras TruncatedNormal (std 0.05), JAX truncated_normal (stddev 0.01), timm trunc_normal_tf_",
        source: "keras.initializers.TruncatedNormal",
        when: "models that Keras or JAX initializes; std is the one before the truncation",
        compute: |init| {
            let [mean, std, lower, upper] =
                ["mean", "std", "lower", "upper"].map(|key| init.number(key));
            Ok(Computation::Fixed(Distribution::truncated_normal_at(
                mean, std, lower, upper,
            )?))
        },
    },
];

/// Returns the rule of the keys `mean` and `std`.
pub(super) fn normal(init: &Init) -> Result<Computation> {
    let distribution = Distribution::normal(init.number("mean"), init.number("std"))?;
    Ok(Computation::Fixed(distribution))
}

/// Returns the rule of the keys `low` and `high`.
fn uniform(init: &Init) -> Result<Computation> {
    let distribution = Distribution::uniform(init.number("low"), init.number("high"))?;
    Ok(Computation::Fixed(distribution))
}

impl Init {
    /// The constant 0.
    #[must_use]
    pub fn zeros() -> Self {
        Init::named(SIMPLE, "zeros", &[])
    }

    /// The constant 1.
    #[must_use]
    pub fn ones() -> Self {
        Init::named(SIMPLE, "ones", &[])
    }

    /// The constant `value`, which must be finite in binary32: `torch.nn.init.constant_`.
    #[must_use]
    pub fn constant(value: f64) -> Self {
        Init::named(SIMPLE, "constant", &[("value", Value::Number(value))])
    }

    /// Normal: `torch.nn.init.normal_`. Both numbers must be finite in binary32, and `std` at
    /// least 0.
    #[must_use]
    pub fn normal(mean: f64, std: f64) -> Self {
        let values = [("mean", Value::Number(mean)), ("std", Value::Number(std))];
        Init::named(SIMPLE, "normal", &values)
    }

    /// Uniform on `[low, high)`: `torch.nn.init.uniform_`. Both numbers must be finite in binary32,
    /// and `low` below `high` there.
    #[must_use]
    pub fn uniform(low: f64, high: f64) -> Self {
        let values = [("low", Value::Number(low)), ("high", Value::Number(high))];
        Init::named(SIMPLE, "uniform", &values)
    }

    /// Normal with this mean and standard deviation, truncated to the absolute bounds `[a, b]`:
    /// `torch.nn.init.trunc_normal_`. torch's defaults are 0, 1, -2 and 2.
    ///
    /// `std` must be above 0, and `a` must be below `b`. Both bounds can be infinite. Values are
    /// accurate for all bounds. torch's function has outliers for wide bounds (pytorch#155588) and
    /// loses precision in the tails.
    #[must_use]
    pub fn trunc_normal(mean: f64, std: f64, a: f64, b: f64) -> Self {
        let values = [("mean", mean), ("std", std), ("a", a), ("b", b)];
        Init::named(
            SIMPLE,
            "trunc_normal",
            &values.map(|(key, value)| (key, Value::Number(value))),
        )
    }

    /// Normal, truncated to bounds in standard deviations from the mean:
    /// `keras.initializers.TruncatedNormal` (with -2 and 2) and
    /// `jax.nn.initializers.truncated_normal`. `std` is the one before the truncation.
    #[must_use]
    pub fn truncated_normal(mean: f64, std: f64, lower: f64, upper: f64) -> Self {
        let values = [
            ("mean", mean),
            ("std", std),
            ("lower", lower),
            ("upper", upper),
        ];
        Init::named(
            SIMPLE,
            "truncated_normal",
            &values.map(|(key, value)| (key, Value::Number(value))),
        )
    }
}
