//! State space models.

use crate::error::{Error, Result};
use crate::init::key::{Key, Range, Value};
use crate::init::rule::Definition;
use crate::init::{Computation, Distribution, Init};
use crate::tensor::Tensor;

pub(in crate::init) static STATE_SPACE: &[Definition] = &[
    Definition {
        name: "mamba_a_log",
        aliases: &["s4d_real"],
        keys: &[],
        formula: "ln(c + 1) in column c",
        frameworks: "mamba_ssm Mamba: A_log",
        source: "Gu, Dao 2023, arXiv:2312.00752",
        when: "state matrices of Mamba and S4D",
        compute: |_| Ok(Computation::OfShape(log_ramp)),
    },
    Definition {
        name: "mamba2_a_log",
        aliases: &["log_uniform"],
        keys: &[
            Key::number("low", Range::ANY, 1.0),
            Key::number("high", Range::ANY, 16.0),
        ],
        formula: "ln U[low, high)",
        frameworks: "mamba_ssm Mamba2: A_log",
        source: "Dao, Gu 2024, arXiv:2405.21060",
        when: "the state matrix of each head of Mamba-2, a scalar",
        compute: |init| {
            Ok(Computation::Fixed(Distribution::log_uniform(
                init.number("low"),
                init.number("high"),
            )?))
        },
    },
    Definition {
        name: "mamba_dt_bias",
        aliases: &[],
        keys: &[
            Key::number("min", Range::ANY, 0.001),
            Key::number("max", Range::ANY, 0.1),
            Key::number("floor", Range::ANY, 1e-4),
        ],
        formula: "ln(e^dt - 1), dt = max(floor, exp U[ln min, ln max))",
        frameworks: "mamba_ssm Mamba: dt_proj.bias",
        source: "Gu, Dao 2023, arXiv:2312.00752",
        when: "time steps of Mamba and S4",
        compute: |init| {
            let [min, max, floor] = ["min", "max", "floor"].map(|key| init.number(key));
            Ok(Computation::Fixed(Distribution::time_step(
                min, max, floor,
            )?))
        },
    },
];

/// Returns the distribution with `ln(c + 1)` in column c.
fn log_ramp(_: &Init, tensor: &Tensor) -> Result<Distribution> {
    match tensor.shape().dims() {
        &[.., columns] => Distribution::log_ramp(columns),
        [] => Err(Error::shape(
            tensor.shape(),
            "is a scalar: mamba_a_log needs rank 1 or more",
        )),
    }
}

impl Init {
    /// `ln(c + 1)` in column c: Mamba's `A_log` (S4D-Real).
    ///
    /// Gu and Dao, "Mamba", 2023; Gu et al., "On the parameterization and initialization of
    /// diagonal state space models", 2022.
    #[must_use]
    pub fn mamba_a_log() -> Self {
        Init::named(STATE_SPACE, "mamba_a_log", &[])
    }

    /// The logarithm of a number drawn uniformly from `[low, high)`, with 0 < low < high: Mamba-2's
    /// `A_log`, where the numbers are 1 and 16.
    ///
    /// Dao and Gu, "Transformers are SSMs", 2024; `Mamba2.__init__` in mamba_ssm.
    #[must_use]
    pub fn mamba2_a_log(low: f64, high: f64) -> Self {
        let values = [("low", Value::Number(low)), ("high", Value::Number(high))];
        Init::named(STATE_SPACE, "mamba2_a_log", &values)
    }

    /// The bias that softplus turns into a time step. The step is drawn log-uniformly from
    /// `[min, max)`, and is at least `floor`. 0 < min < max <= 500 and 0 < floor < max.
    ///
    /// `dt_proj.bias` of `Mamba.__init__` in mamba_ssm, where the numbers are 0.001, 0.1 and 0.0001.
    #[must_use]
    pub fn mamba_dt_bias(min: f64, max: f64, floor: f64) -> Self {
        let values = [("min", min), ("max", max), ("floor", floor)];
        let values = values.map(|(key, value)| (key, Value::Number(value)));
        Init::named(STATE_SPACE, "mamba_dt_bias", &values)
    }
}
