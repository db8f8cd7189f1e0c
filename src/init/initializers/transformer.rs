//! Transformers and other deep residual networks.

use super::variance::{inverse_fan, square, variance};
use crate::error::Result;
use crate::init::key::{Key, Range, Value};
use crate::init::quantile::{exp, ln};
use crate::init::rule::Definition;
use crate::init::rule::Missing;
use crate::init::{Computation, Distribution, Family, FanMode, Init};

pub(in crate::init) static TRANSFORMER: &[Definition] = &[
    Definition {
        name: "residual_normal",
        aliases: &[],
        keys: &[
            Key::number("std", Range::ANY, 0.0).required(),
            Key::count("layers", 1, 1).optional(),
        ],
        formula: "N(0, std^2 / (2 layers))",
        frameworks: "transformers GPT2PreTrainedModel",
        source: "Radford et al. 2019 (GPT-2), section 2.3",
        when: "projections that add to the residual stream",
        compute: |init| {
            let std = init.number("std");
            // Checked without the number of layers, which a recipe may find later.
            Distribution::normal(0.0, std)?;
            match init.count_if_given("layers") {
                Some(layers) => fixed_normal(std / (2.0 * layers as f64).sqrt()),
                None => Ok(Computation::Incomplete(Missing::Layers)),
            }
        },
    },
    Definition {
        name: "small_init",
        aliases: &[],
        keys: &[Key::count("dim", 1, 1).required()],
        formula: "N(0, 2 / (5 dim))",
        frameworks: "GPT-NeoX small_init_init_method",
        source: "Nguyen, Salazar 2019, arXiv:1910.05895",
        when: "weights of transformers, except projections that add to the residual stream",
        compute: |init| fixed_normal((2.0 / (5.0 * init.count("dim") as f64)).sqrt()),
    },
    Definition {
        name: "wang_init",
        aliases: &[],
        keys: &[
            Key::count("dim", 1, 1).required(),
            Key::count("layers", 1, 1).required(),
        ],
        formula: "N(0, (2 / (layers sqrt(dim)))^2)",
        frameworks: "GPT-NeoX wang_init_method",
        source: "GPT-J; Black et al. 2022, arXiv:2204.06745",
        when: "projections that add to the residual stream, with small_init for the other weights",
        compute: |init| {
            let (dim, layers) = (init.count("dim") as f64, init.count("layers") as f64);
            fixed_normal(2.0 / (layers * dim.sqrt()))
        },
    },
    Definition {
        name: "mup",
        aliases: &[],
        keys: &[
            Key::word("role", &["input", "hidden", "output"], "input").required(),
            Key::number("std", Range::POSITIVE, 0.0).required(),
            Key::count("base", 1, 1).required(),
        ],
        formula: "N(0, s^2), s = std (input), std sqrt(base / fan_in) (hidden), std base / fan_in (output)",
        frameworks: "Microsoft mup",
        source: "Yang et al. 2022, arXiv:2203.03466, table 3",
        when: "hyperparameters that are tuned at one width and used at another",
        compute: |init| {
            let (std, base) = (init.number("std"), init.count("base") as f64);
            match init.word("role") {
                "hidden" => variance(square(std) * base, FanMode::FanIn, Family::Normal),
                "output" => inverse_fan(std * base, FanMode::FanIn, Family::Normal),
                _ => fixed_normal(std),
            }
        },
    },
    Definition {
        name: "deepnorm",
        aliases: &[],
        keys: &[Key::count("layers", 1, 1).required()],
        formula: "xavier_normal with gain (8 layers)^(-1/4)",
        frameworks: "Microsoft TorchScale",
        source: "Wang et al. 2022, arXiv:2203.00555",
        when: "value, output and feed-forward weights of very deep post-norm transformers",
        compute: |init| {
            let gain = inverse_fourth_root(8.0 * init.count("layers") as f64);
            variance(square(gain), FanMode::FanAvg, Family::Normal)
        },
    },
    Definition {
        name: "fixup",
        aliases: &[],
        keys: &[Key::count("layers", 1, 1).required(), Key::count("m", 2, 2)],
        formula: "kaiming_normal times layers^(-1 / (2 m - 2))",
        frameworks: "-",
        source: "Zhang, Dauphin, Ma 2019, arXiv:1901.09321",
        when: "residual branches without normalization, with zeros for their last layer",
        compute: |init| {
            let (layers, m) = (init.count("layers") as f64, init.count("m") as f64);
            // 2 layers^(-1 / (m - 1)), by a logarithm that is the same on all platforms.
            let scale = 2.0 * exp(-ln(layers) / (m - 1.0));
            variance(scale, FanMode::FanIn, Family::Normal)
        },
    },
    Definition {
        name: "t_fixup",
        aliases: &[],
        keys: &[
            Key::count("layers", 1, 1).required(),
            Key::word("side", &["encoder", "decoder"], "encoder"),
        ],
        formula: "xavier_uniform times 0.67 layers^(-1/4) (encoder) or (9 layers)^(-1/4) (decoder)",
        frameworks: "-",
        source: "Huang et al. 2020, ICML",
        when: "transformers without normalization or warm-up",
        compute: |init| {
            let layers = init.count("layers") as f64;
            let gain = match init.word("side") {
                "decoder" => inverse_fourth_root(9.0 * layers),
                _ => 0.67 * inverse_fourth_root(layers),
            };
            variance(square(gain), FanMode::FanAvg, Family::Uniform)
        },
    },
    Definition {
        name: "layer_scale",
        aliases: &[],
        keys: &[Key::count("depth", 1, 1).required()],
        formula: "0.1 up to depth 18, 1e-5 up to 24, 1e-6 beyond",
        frameworks: "timm LayerScale (init_values)",
        source: "Touvron et al. 2021, arXiv:2103.17239",
        when: "scales of residual branches; constant(value) for another value",
        compute: |init| {
            let scale = match init.count("depth") {
                0..=18 => 0.1,
                19..=24 => 1e-5,
                _ => 1e-6,
            };
            Ok(Computation::Fixed(Distribution::constant(scale)?))
        },
    },
];

/// Returns the rule of a normal distribution around 0.
fn fixed_normal(std: f64) -> Result<Computation> {
    Ok(Computation::Fixed(Distribution::normal(0.0, std)?))
}

/// Returns `x^(-1/4)` by square roots, which are the same on all platforms. `pow` is not.
fn inverse_fourth_root(x: f64) -> f64 {
    1.0 / x.sqrt().sqrt()
}

/// The role of a weight in a network whose width is scaled by the rules of mu-P.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MupRole {
    /// A weight whose inputs do not grow with the width: embeddings, the first layer, all biases.
    Input,
    /// A weight whose inputs and outputs grow with the width.
    Hidden,
    /// A weight whose outputs do not grow with the width: the readout.
    Output,
}

/// One half of a transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransformerSide {
    /// The encoder.
    Encoder,
    /// The decoder.
    Decoder,
}

impl Init {
    /// Normal with mean 0 and `std / sqrt(2 * layers)`: the projections that add to the residual
    /// stream of a transformer. Every layer has two of them. `layers` must be at least 1. In text,
    /// `layers` can be left out. A recipe then counts the layers.
    ///
    /// Radford et al., "Language Models are Unsupervised Multitask Learners" (GPT-2), 2019,
    /// section 2.3; `GPT2PreTrainedModel._init_weights` in Hugging Face transformers.
    #[must_use]
    pub fn residual_normal(std: f64, layers: u64) -> Self {
        let values = [
            ("std", Value::Number(std)),
            ("layers", Value::Count(layers)),
        ];
        Init::named(TRANSFORMER, "residual_normal", &values)
    }

    /// Normal with `std = sqrt(2 / (5 dim))` for a model of width `dim`: "small init".
    ///
    /// Nguyen and Salazar, "Transformers without Tears", 2019; `small_init_init_method` of
    /// GPT-NeoX.
    #[must_use]
    pub fn small_init(dim: u64) -> Self {
        Init::named(TRANSFORMER, "small_init", &[("dim", Value::Count(dim))])
    }

    /// Normal with `std = 2 / (layers sqrt(dim))`: the projections that add to the residual stream.
    ///
    /// Ben Wang's rule for GPT-J: `wang_init_method` of GPT-NeoX.
    #[must_use]
    pub fn wang_init(dim: u64, layers: u64) -> Self {
        let values = [("dim", Value::Count(dim)), ("layers", Value::Count(layers))];
        Init::named(TRANSFORMER, "wang_init", &values)
    }

    /// Normal, scaled with the width by the rules of mu-P. `std` was tuned at the fan_in `base`. The
    /// result is `std` for inputs and biases, `std sqrt(base / fan_in)` for hidden weights, and
    /// `std base / fan_in` for the readout.
    ///
    /// Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot
    /// Hyperparameter Transfer", 2022, table 3.
    #[must_use]
    pub fn mup(role: MupRole, std: f64, base: u64) -> Self {
        let role = match role {
            MupRole::Input => "input",
            MupRole::Hidden => "hidden",
            MupRole::Output => "output",
        };
        let values = [
            ("role", Value::Word(role)),
            ("std", Value::Number(std)),
            ("base", Value::Count(base)),
        ];
        Init::named(TRANSFORMER, "mup", &values)
    }

    /// Xavier normal with gain `(8 layers)^(-1/4)`: the feed-forward, value and output weights of an
    /// encoder or a decoder with this number of layers. Query and key weights have gain 1.
    ///
    /// Wang et al., "DeepNet: Scaling Transformers to 1,000 Layers", 2022, figure 2.
    #[must_use]
    pub fn deepnorm(layers: u64) -> Self {
        Init::named(TRANSFORMER, "deepnorm", &[("layers", Value::Count(layers))])
    }

    /// Kaiming normal times `layers^(-1 / (2 m - 2))`: the weights within `layers` residual branches
    /// of m weight layers each. m must be at least 2. The last layer of each branch and the classifier
    /// are zeros.
    ///
    /// Zhang, Dauphin and Ma, "Fixup Initialization", ICLR 2019.
    #[must_use]
    pub fn fixup(layers: u64, m: u64) -> Self {
        Init::named(
            TRANSFORMER,
            "fixup",
            &[("layers", Value::Count(layers)), ("m", Value::Count(m))],
        )
    }

    /// Xavier uniform times `0.67 layers^(-1/4)` in the encoder and `(9 layers)^(-1/4)` in the
    /// decoder: value, output and feed-forward weights of a transformer without normalization.
    ///
    /// Huang et al., "Improving Transformer Optimization Through Better Initialization"
    /// (T-Fixup), ICML 2020.
    #[must_use]
    pub fn t_fixup(layers: u64, side: TransformerSide) -> Self {
        let side = match side {
            TransformerSide::Encoder => "encoder",
            TransformerSide::Decoder => "decoder",
        };
        let values = [
            ("layers", Value::Count(layers)),
            ("side", Value::Word(side)),
        ];
        Init::named(TRANSFORMER, "t_fixup", &values)
    }

    /// Zeros: the gate of a residual branch.
    ///
    /// Bachlechner et al., "ReZero is All You Need", 2020.
    #[must_use]
    pub fn rezero() -> Self {
        Init::zeros()
    }

    /// The constant that scales a residual branch at the start of a network of `depth` blocks: 0.1
    /// up to 18, 1e-5 up to 24, 1e-6 beyond.
    ///
    /// Touvron et al., "Going deeper with Image Transformers" (CaiT), 2021, section 2.
    #[must_use]
    pub fn layer_scale(depth: u64) -> Self {
        Init::named(
            TRANSFORMER,
            "layer_scale",
            &[("depth", Value::Count(depth))],
        )
    }
}
