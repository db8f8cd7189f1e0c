//! Constructors for what modern models start from, beyond the classic rules.

use super::quantile::{exp, ln};
use super::{Family, FanMode, Init, square};

/// What a weight does in a network whose width is scaled by mu-P.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MupRole {
    /// Its inputs do not grow with the width: embeddings, the first layer, all biases.
    Input,
    /// Inputs and outputs grow with the width.
    Hidden,
    /// Its outputs do not grow with the width: the readout.
    Output,
}

/// The two halves of a transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransformerSide {
    /// The encoder.
    Encoder,
    /// The decoder.
    Decoder,
}

impl Init {
    /// Normal with `std = sqrt(2 / (5 dim))`, dim being the width of the model: "small init".
    ///
    /// Nguyen and Salazar, "Transformers without Tears", 2019; `small_init_init_method` of
    /// GPT-NeoX.
    #[must_use]
    pub fn small_init(dim: u64) -> Self {
        Init::normal(0.0, (2.0 / (5.0 * dim as f64)).sqrt())
    }

    /// Normal with `std = 2 / (layers sqrt(dim))`: for the projections that add to the residual
    /// stream.
    ///
    /// Ben Wang's rule for GPT-J: `wang_init_method` of GPT-NeoX.
    #[must_use]
    pub fn wang_init(dim: u64, layers: u64) -> Self {
        Init::normal(0.0, 2.0 / (layers as f64 * (dim as f64).sqrt()))
    }

    /// Xavier normal with gain `(8 layers)^(-1/4)`: the feed-forward, value and output weights of
    /// an encoder or a decoder of this many layers; query and key keep gain 1.
    ///
    /// Wang et al., "DeepNet: Scaling Transformers to 1,000 Layers", 2022, figure 2.
    #[must_use]
    pub fn deepnorm(layers: u64) -> Self {
        Init::xavier_normal_with(inverse_fourth_root(8.0 * layers as f64))
    }

    /// Kaiming normal times `layers^(-1 / (2 m - 2))`: the weights within `layers` residual
    /// branches of m weight layers each, m at least 2. The last one of each branch, and the
    /// classifier, are zeros.
    ///
    /// Zhang, Dauphin and Ma, "Fixup Initialization", ICLR 2019.
    #[must_use]
    pub fn fixup(layers: u64, m: u64) -> Self {
        let scale = 2.0 * exp(-ln(layers as f64) / (m as f64 - 1.0));
        Init::variance_scaling(scale, FanMode::FanIn, Family::Normal)
    }

    /// Xavier uniform times `0.67 layers^(-1/4)` in the encoder and `(9 layers)^(-1/4)` in the
    /// decoder: value, output and feed-forward weights of a transformer without normalization.
    ///
    /// Huang et al., "Improving Transformer Optimization Through Better Initialization"
    /// (T-Fixup), ICML 2020.
    #[must_use]
    pub fn t_fixup(layers: u64, side: TransformerSide) -> Self {
        let layers = layers as f64;
        Init::xavier_uniform_with(match side {
            TransformerSide::Encoder => 0.67 * inverse_fourth_root(layers),
            TransformerSide::Decoder => inverse_fourth_root(9.0 * layers),
        })
    }

    /// Zeros: the gate of a residual branch. Bachlechner et al., "ReZero is All You Need", 2020.
    #[must_use]
    pub const fn rezero() -> Self {
        Init::zeros()
    }

    /// The constant that a residual branch starts scaled by in a network of `depth` blocks: 0.1
    /// up to 18, 1e-5 up to 24, 1e-6 beyond.
    ///
    /// Touvron et al., "Going deeper with Image Transformers" (CaiT), 2021, section 2.
    #[must_use]
    pub const fn layer_scale(depth: u64) -> Self {
        Init::constant(match depth {
            0..=18 => 0.1,
            19..=24 => 1e-5,
            _ => 1e-6,
        })
    }

    /// Uniform on `[-1/fan_in, 1/fan_in)`: the first layer of a SIREN.
    ///
    /// Sitzmann et al., "Implicit Neural Representations with Periodic Activation Functions",
    /// 2020, and its authors' code.
    #[must_use]
    pub const fn siren_first() -> Self {
        Init::InverseFan {
            scale: 1.0,
            mode: FanMode::FanIn,
            distribution: Family::Uniform,
        }
    }

    /// Uniform with `bound = sqrt(6 / fan_in) / omega`: the other layers of a SIREN, omega being
    /// 30 in the paper.
    #[must_use]
    pub fn siren(omega: f64) -> Self {
        Init::variance_scaling(2.0 / square(omega), FanMode::FanIn, Family::Uniform)
    }

    /// Uniform with `bound = 1 / sqrt(fan_in)`, which torch writes
    /// `kaiming_uniform_(a=math.sqrt(5))`: the default weight of `torch.nn.Linear` and
    /// `torch.nn.Conv2d`. Their bias is [`Init::bias_uniform`].
    #[must_use]
    pub fn torch_linear() -> Self {
        Init::variance_scaling(1.0 / 3.0, FanMode::FanIn, Family::Uniform)
    }

    /// The matrix A of a low-rank adapter: [`Init::torch_linear`]; B is zeros.
    ///
    /// Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021; `LoraLayer` in
    /// Hugging Face peft.
    #[must_use]
    pub fn lora_a() -> Self {
        Init::torch_linear()
    }

    /// Normal, scaled with the width as mu-P asks, from a `std` that was tuned at the fan_in
    /// `base`: `std` for inputs and biases, `std sqrt(base / fan_in)` for hidden weights,
    /// `std base / fan_in` for the readout.
    ///
    /// Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot
    /// Hyperparameter Transfer", 2022, table 3.
    #[must_use]
    pub fn mup(role: MupRole, std: f64, base: u64) -> Self {
        let base = base as f64;
        match role {
            MupRole::Input => Init::normal(0.0, std),
            MupRole::Hidden => {
                Init::variance_scaling(square(std) * base, FanMode::FanIn, Family::Normal)
            }
            MupRole::Output => Init::InverseFan {
                scale: std * base,
                mode: FanMode::FanIn,
                distribution: Family::Normal,
            },
        }
    }

    /// Whisper's position table: all sines, then all cosines. [`Init::Sinusoid`].
    #[must_use]
    pub const fn sinusoids() -> Self {
        Init::Sinusoid {
            max_timescale: 10_000.0,
            interleaved: false,
        }
    }

    /// The position table of "Attention is all you need": sine and cosine in turns.
    /// [`Init::Sinusoid`].
    #[must_use]
    pub const fn sinusoidal() -> Self {
        Init::Sinusoid {
            max_timescale: 10_000.0,
            interleaved: true,
        }
    }
}

/// `x^(-1/4)` by square roots, which are the same everywhere; a platform's `pow` is not.
fn inverse_fourth_root(x: f64) -> f64 {
    1.0 / x.sqrt().sqrt()
}
