//! Buffers that checkpoints hold beside the weights: rotary frequencies, positions, causal masks.

use crate::error::{Error, Result};
use crate::init::distribution::FrequencyScaling;
use crate::init::key::{Key, Range, Value};
use crate::init::rule::Definition;
use crate::init::{Computation, Distribution, Init};
use crate::tensor::Tensor;

/// The base of the frequencies, and the number of rotated dimensions of a head.
const THETA: Key = Key::number("theta", Range::BASE, 10_000.0);
const DIM: Key = Key::count("dim", 1, 1).optional();
/// The names of these keys are those of `rope_parameters` in a `config.json`.
const FACTOR: Key = Key::number("factor", Range::FACTOR, 1.0);
const ORIGINAL: Key = Key::number("original_max_position_embeddings", Range::FACTOR, 8192.0);

pub(in crate::init) static BUFFERS: &[Definition] = &[
    Definition {
        name: "arange",
        aliases: &[],
        keys: &[
            Key::number("start", Range::FINITE, 0.0),
            Key::number("step", Range::FINITE, 1.0),
        ],
        formula: "start + step c in column c",
        frameworks: "torch arange, as in position_ids of transformers",
        source: "torch.arange",
        when: "position_ids and other counters",
        compute: |_| {
            Ok(Computation::OfShape(|init, tensor| {
                let [start, step] = ["start", "step"].map(|key| init.number(key));
                Distribution::arange(start, step, columns(init, tensor)?)
            }))
        },
    },
    Definition {
        name: "causal_mask",
        aliases: &["tril"],
        keys: &[Key::number("value", Range::ANY, 1.0)],
        formula: "value if column <= row in the last two axes, else 0",
        frameworks: "torch tril, as in attn.bias of transformers GPT2Attention",
        source: "Radford et al. 2019 (GPT-2), model.py, attention_mask",
        when: "masks of causal attention",
        compute: |init| {
            // Checks the value as soon as the rule is read, without a tensor.
            Distribution::constant(init.number("value"))?;
            Ok(Computation::OfShape(causal_mask))
        },
    },
    Definition {
        name: "inv_freq",
        aliases: &[],
        keys: &[THETA, DIM],
        formula: "theta^(-2c / dim) in column c; dim is twice the number of columns if it is not given",
        frameworks: "transformers rope_type default, and dynamic up to the original length",
        source: "Su et al. 2021, arXiv:2104.09864",
        when: "inv_freq of rotary position embeddings",
        compute: |_| {
            Ok(Computation::OfShape(|init, tensor| {
                rotary(init, FrequencyScaling::None, tensor)
            }))
        },
    },
    Definition {
        name: "inv_freq_linear",
        aliases: &[],
        keys: &[FACTOR.required(), THETA, DIM],
        formula: "inv_freq / factor",
        frameworks: "transformers rope_type linear",
        source: "Chen et al. 2023, arXiv:2306.15595",
        when: "inv_freq of models with linear scaling",
        compute: |_| {
            Ok(Computation::OfShape(|init, tensor| {
                let scaling = FrequencyScaling::Linear {
                    factor: init.number("factor"),
                };
                rotary(init, scaling, tensor)
            }))
        },
    },
    Definition {
        name: "inv_freq_dynamic",
        aliases: &["inv_freq_ntk"],
        keys: &[
            FACTOR.required(),
            Key::number("length", Range::FACTOR, 1.0),
            THETA,
            DIM,
        ],
        formula: "inv_freq with theta (factor length - factor + 1)^(dim / (dim - 2)) for theta; length counts \
                  in original lengths, at least 1",
        frameworks: "transformers rope_type dynamic, at seq_len = length * max_position_embeddings",
        source: "transformers.modeling_rope_utils, NTK-aware scaling",
        when: "inv_freq of models with dynamic NTK scaling",
        compute: |init| {
            let [factor, length] = ["factor", "length"].map(|key| init.number(key));
            if length < 1.0 {
                let accepted = "it must be at least 1, the original length";
                return Err(Error::parameter("length", length, accepted));
            }
            // At least 1 without rounding. The difference of two large numbers can be 0, which has no
            // logarithm.
            if factor * length - (factor - 1.0) < 1e-30 {
                let accepted = "factor * length - factor + 1 must be above 0";
                return Err(Error::parameter("factor", factor, accepted));
            }
            Ok(Computation::OfShape(|init, tensor| {
                let [factor, length] = ["factor", "length"].map(|key| init.number(key));
                let scaling = FrequencyScaling::Dynamic {
                    stretch: factor * length - (factor - 1.0),
                };
                rotary(init, scaling, tensor)
            }))
        },
    },
    Definition {
        name: "inv_freq_llama3",
        aliases: &[],
        keys: &[
            FACTOR.required(),
            Key::number("low_freq_factor", Range::FACTOR, 1.0),
            Key::number("high_freq_factor", Range::FACTOR, 4.0),
            ORIGINAL,
            Key::number("theta", Range::BASE, 500_000.0),
            DIM,
        ],
        formula: "inv_freq where the wave is shorter than original / high_freq_factor, inv_freq / factor where it \
                  is longer than original / low_freq_factor, and a linear mix between",
        frameworks: "transformers rope_type llama3",
        source: "Dubey et al. 2024, arXiv:2407.21783; transformers.modeling_rope_utils",
        when: "inv_freq of Llama 3.1 and later",
        compute: |init| {
            let [low, high] = ["low_freq_factor", "high_freq_factor"].map(|key| init.number(key));
            if low >= high {
                let accepted = "it must be below high_freq_factor";
                return Err(Error::parameter("low_freq_factor", low, accepted));
            }
            Ok(Computation::OfShape(|init, tensor| {
                let scaling = FrequencyScaling::Llama3 {
                    factor: init.number("factor"),
                    low: init.number("low_freq_factor"),
                    high: init.number("high_freq_factor"),
                    original: init.number("original_max_position_embeddings"),
                };
                rotary(init, scaling, tensor)
            }))
        },
    },
    Definition {
        name: "inv_freq_yarn",
        aliases: &[],
        keys: &[
            FACTOR.required(),
            ORIGINAL.required(),
            Key::number("beta_fast", Range::FACTOR, 32.0),
            Key::number("beta_slow", Range::FACTOR, 1.0),
            Key::word("truncate", &["true", "false"], "true"),
            THETA,
            DIM,
        ],
        formula: "inv_freq where a wave turns more than beta_fast times in the original length, inv_freq / factor \
                  where it turns less than beta_slow times, and a ramp over the columns between",
        frameworks: "transformers rope_type yarn",
        source: "Peng et al. 2023, arXiv:2309.00071; transformers.modeling_rope_utils",
        when: "inv_freq of models with YaRN scaling, as Qwen, DeepSeek and gpt-oss",
        compute: |_| {
            Ok(Computation::OfShape(|init, tensor| {
                let scaling = FrequencyScaling::Yarn {
                    factor: init.number("factor"),
                    original: init.number("original_max_position_embeddings"),
                    beta_fast: init.number("beta_fast"),
                    beta_slow: init.number("beta_slow"),
                    truncate: init.word("truncate") != "false",
                };
                rotary(init, scaling, tensor)
            }))
        },
    },
    Definition {
        name: "inv_freq_proportional",
        aliases: &[],
        keys: &[
            Key::number("partial_rotary_factor", Range::SHARE, 1.0).required(),
            FACTOR,
            THETA,
            DIM,
        ],
        formula: "inv_freq / factor in the first partial_rotary_factor dim / 2 columns, 0 in the others",
        frameworks: "transformers rope_type proportional",
        source: "transformers.modeling_rope_utils",
        when: "inv_freq of models that rotate a part of each head",
        compute: |_| {
            Ok(Computation::OfShape(|init, tensor| {
                let scaling = FrequencyScaling::Proportional {
                    factor: init.number("factor"),
                    rotated: init.number("partial_rotary_factor"),
                };
                rotary(init, scaling, tensor)
            }))
        },
    },
];

/// Returns the number of columns, the last dimension.
fn columns(init: &Init, tensor: &Tensor) -> Result<u64> {
    match tensor.shape().dims() {
        &[.., columns] => Ok(columns),
        [] => Err(Error::shape(
            tensor.shape(),
            format!(
                "is a scalar: {} needs rank 1 or more",
                init.definition().name
            ),
        )),
    }
}

/// Returns the distribution of rotary frequencies with this scaling. A dimension of a head has a half
/// frequency: `arange(0, dim, 2)` of the frameworks.
fn rotary(init: &Init, scaling: FrequencyScaling, tensor: &Tensor) -> Result<Distribution> {
    let columns = columns(init, tensor)?;
    let name = init.definition().name;
    let dim = init
        .count_if_given("dim")
        .unwrap_or(columns.saturating_mul(2));
    if columns > dim.div_ceil(2) {
        return Err(Error::shape(
            tensor.shape(),
            format!(
                "has {columns} columns, but {name} with dim={dim} has only {}",
                dim.div_ceil(2)
            ),
        ));
    }
    // The exponent of the scaled base is dim / (dim - 2).
    if matches!(scaling, FrequencyScaling::Dynamic { .. }) && dim <= 2 {
        return Err(Error::shape(
            tensor.shape(),
            format!("is too small: {name} needs a dim above 2, not {dim}"),
        ));
    }
    Distribution::inverse_frequencies(init.number("theta"), dim, columns, scaling)
}

/// Returns the distribution with the value in the lower triangle of each matrix of the last two axes.
fn causal_mask(init: &Init, tensor: &Tensor) -> Result<Distribution> {
    let &[ref outer @ .., rows, columns] = tensor.shape().dims() else {
        return Err(Error::shape(
            tensor.shape(),
            "is not a mask: causal_mask needs rank 2 or more, [..., rows, columns]",
        ));
    };
    let matrices = outer.iter().product();
    Distribution::lower_triangle(init.number("value"), matrices, rows, columns)
}

impl Init {
    /// `start + step * c` in column c: `torch.arange`, as in `position_ids`.
    ///
    /// Each number is computed in binary64 and rounded once to binary32. Whole numbers are exact: a
    /// tensor whose whole numbers binary32 does not hold is refused.
    #[must_use]
    pub fn arange(start: f64, step: f64) -> Self {
        let values = [
            ("start", Value::Number(start)),
            ("step", Value::Number(step)),
        ];
        Init::named(BUFFERS, "arange", &values)
    }

    /// `value` where the column is at most the row in the last two axes, and 0 above: the mask of causal
    /// attention, `torch.tril`.
    #[must_use]
    pub fn causal_mask(value: f64) -> Self {
        Init::named(BUFFERS, "causal_mask", &[("value", Value::Number(value))])
    }

    /// The inverse frequencies of rotary position embeddings, `theta^(-2c / dim)` in column c, with dim
    /// twice the number of columns. Text has the scaled forms: `inv_freq_llama3(factor=8)`.
    ///
    /// Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.
    #[must_use]
    pub fn inv_freq(theta: f64) -> Self {
        Init::named(BUFFERS, "inv_freq", &[("theta", Value::Number(theta))])
    }
}
