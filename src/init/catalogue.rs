//! Every initializer by name: what `Init`'s text accepts, `fanin inits` prints and
//! `docs/INITIALIZERS.md` shows.

/// One initializer of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Entry {
    /// The name, as text has it.
    pub name: &'static str,
    /// Other names of the same rule.
    pub aliases: &'static [&'static str],
    /// Keys and their defaults: `-` where one must be given, `auto` where a recipe can find it,
    /// words where what stands there depends on something else.
    pub keys: &'static [(&'static str, &'static str)],
    /// What an element is drawn from, or is.
    pub formula: &'static str,
    /// What frameworks call it.
    pub frameworks: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// When to use it.
    pub when: &'static str,
}

impl Entry {
    /// `name(key=default,...)`, as it could be written.
    #[must_use]
    pub fn signature(&self) -> String {
        if self.keys.is_empty() {
            return self.name.to_owned();
        }
        let keys: Vec<String> = self
            .keys
            .iter()
            .map(|(key, default)| match *default {
                "-" => (*key).to_owned(),
                "auto" | "none" => format!("[{key}]"),
                default if default.contains(' ') => format!("[{key}]"),
                default => format!("{key}={default}"),
            })
            .collect();
        format!("{}({})", self.name, keys.join(","))
    }

    /// What is promised of its bits.
    #[must_use]
    pub fn exactness(&self) -> &'static str {
        if self.name.ends_with("orthogonal") {
            "1e-5 across devices; same bits on one device; a slice makes the whole"
        } else {
            "same bits everywhere, any slice"
        }
    }
}

/// The catalogue as a page of Markdown: `docs/INITIALIZERS.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = PREFACE.to_owned();
    for entry in CATALOGUE {
        page.push_str(&format!("### `{}`\n\n", entry.signature()));
        let mut line = |title: &str, text: &str| {
            if text != "-" {
                page.push_str(&format!("- {title}: {text}\n"));
            }
        };
        line("an element is", entry.formula);
        if !entry.aliases.is_empty() {
            line("also", &format!("`{}`", entry.aliases.join("`, `")));
        }
        line("known as", entry.frameworks);
        line("source", entry.source);
        line("use it for", entry.when);
        line("exactness", entry.exactness());
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

const PREFACE: &str = "\
# Initializers

Every name that `fanin fill --init`, recipes and `Init`'s `FromStr` accept. This page is what
`fanin inits --markdown` prints; a test keeps the two the same.

`name(key=default,...)`: a key without `=` must be given, one in brackets can be left out (a recipe
finds `layers` and the `fan_in` of a bias by itself).
Keras' class names (`HeNormal`) and torch's functions (`kaiming_normal_`) are accepted as they are
spelled there, and so are the keys `stddev`, `minval`, `maxval` and, for `uniform`, `a` and `b`.

`fan` is `fan_in`, `fan_out` or their mean, as `mode` says; in layout `out_in` (torch) of shape
`[out, in, k...]`, in layout `in_out` (Keras, JAX) of `[k..., in, out]`, times the taps of a
convolution. Gains are those of `torch.nn.init.calculate_gain`.

## Where names bite

- `xavier_normal` and `kaiming_normal` are normal, as in torch; `glorot_normal`, `he_normal` and
  `lecun_normal` are cut off at two standard deviations and widened to keep the variance (by
  1 / 0.87962566103423978), as in Keras and JAX. JAX uses the first two names for the second kind.
- `trunc_normal` has absolute bounds, as in torch; `truncated_normal` has bounds in standard
  deviations, as in Keras and JAX. In neither is the std made up for what the cut takes away.
- `normal` has torch's default std, 1. Keras' `RandomNormal` has 0.05, JAX' `normal` 0.01.
- `TruncatedNormal`, spelled as in Keras, has Keras' default std, 0.05.
- A `groups` of a tensor divides fan_out; torch itself does not know of groups there.

## The list

";

const KAIMING: &[(&str, &str)] = &[
    ("a", "0"),
    ("mode", "fan_in"),
    ("nonlinearity", "leaky_relu"),
    ("gain", "of the nonlinearity"),
];
const MODE: &[(&str, &str)] = &[("mode", "fan_in")];

const HE: &str = "He, Zhang, Ren, Sun 2015, arXiv:1502.01852";
const GLOROT: &str = "Glorot, Bengio 2010, AISTATS";
const LECUN: &str = "LeCun, Bottou, Orr, Müller 1998, Efficient BackProp";

/// The catalogue, in the order in which it is shown.
pub const CATALOGUE: &[Entry] = &[
    Entry {
        name: "zeros",
        aliases: &["lora_b", "rezero"],
        keys: &[],
        formula: "0",
        frameworks: "torch zeros_, Keras Zeros, JAX zeros; LoRA's B, ReZero's gate",
        source: "-",
        when: "biases; the last layer of a residual branch",
    },
    Entry {
        name: "ones",
        aliases: &[],
        keys: &[],
        formula: "1",
        frameworks: "torch ones_, Keras Ones, JAX ones",
        source: "-",
        when: "scales of normalizations",
    },
    Entry {
        name: "constant",
        aliases: &[],
        keys: &[("value", "-")],
        formula: "value",
        frameworks: "torch constant_ (val), Keras Constant, JAX constant",
        source: "-",
        when: "gates, temperatures, LayerScale",
    },
    Entry {
        name: "normal",
        aliases: &[],
        keys: &[("mean", "0"), ("std", "1")],
        formula: "N(mean, std^2)",
        frameworks: "torch normal_",
        source: "-",
        when: "a std that the model's authors chose",
    },
    Entry {
        name: "random_normal",
        aliases: &[],
        keys: &[("mean", "0"), ("std", "0.05")],
        formula: "N(mean, std^2)",
        frameworks: "Keras RandomNormal (stddev); JAX normal has stddev 0.01",
        source: "-",
        when: "as in Keras",
    },
    Entry {
        name: "uniform",
        aliases: &[],
        keys: &[("low", "0"), ("high", "1")],
        formula: "U[low, high)",
        frameworks: "torch uniform_ (a, b)",
        source: "-",
        when: "bounds that the model's authors chose; f32 never reaches high, f16 and bf16 round the \
               f32 value and can reach it (0.2 % of bf16 values of uniform(0, 1) do)",
    },
    Entry {
        name: "random_uniform",
        aliases: &[],
        keys: &[("low", "-0.05"), ("high", "0.05")],
        formula: "U[low, high)",
        frameworks: "Keras RandomUniform (minval, maxval)",
        source: "-",
        when: "as in Keras",
    },
    Entry {
        name: "trunc_normal",
        aliases: &[],
        keys: &[("mean", "0"), ("std", "1"), ("a", "-2"), ("b", "2")],
        formula: "N(mean, std^2) within [a, b]: absolute bounds",
        frameworks: "torch trunc_normal_, timm trunc_normal_",
        source: "exact for any bounds: pytorch#155588",
        when: "vision transformers, Llama as torchtitan trains it",
    },
    Entry {
        name: "truncated_normal",
        aliases: &[],
        keys: &[("mean", "0"), ("std", "1"), ("lower", "-2"), ("upper", "2")],
        formula: "N(mean, std^2) within mean + std * [lower, upper]",
        frameworks: "Keras TruncatedNormal (std 0.05), JAX truncated_normal (stddev 0.01), timm trunc_normal_tf_",
        source: "-",
        when: "as in Keras and JAX; the std is that before the cut",
    },
    Entry {
        name: "xavier_uniform",
        aliases: &["glorot_uniform"],
        keys: &[("gain", "1")],
        formula: "U(±gain sqrt(6 / (fan_in + fan_out)))",
        frameworks: "torch xavier_uniform_, Keras GlorotUniform, JAX glorot_uniform",
        source: GLOROT,
        when: "tanh, sigmoid, linear layers; attention projections",
    },
    Entry {
        name: "xavier_normal",
        aliases: &[],
        keys: &[("gain", "1")],
        formula: "N(0, gain^2 2 / (fan_in + fan_out)), not truncated",
        frameworks: "torch xavier_normal_",
        source: GLOROT,
        when: "tanh, sigmoid, linear layers",
    },
    Entry {
        name: "glorot_normal",
        aliases: &[],
        keys: &[("gain", "1")],
        formula: "truncated at 2 std, variance gain^2 2 / (fan_in + fan_out)",
        frameworks: "Keras GlorotNormal, JAX glorot_normal (and its xavier_normal)",
        source: GLOROT,
        when: "tanh, sigmoid, linear layers, as in Keras and JAX",
    },
    Entry {
        name: "kaiming_uniform",
        aliases: &["he_uniform"],
        keys: KAIMING,
        formula: "U(±gain sqrt(3 / fan))",
        frameworks: "torch kaiming_uniform_, Keras HeUniform, JAX he_uniform",
        source: HE,
        when: "ReLU and its kin",
    },
    Entry {
        name: "kaiming_normal",
        aliases: &[],
        keys: KAIMING,
        formula: "N(0, gain^2 / fan), not truncated",
        frameworks: "torch kaiming_normal_",
        source: HE,
        when: "ReLU and its kin; convolutions with mode=fan_out",
    },
    Entry {
        name: "he_normal",
        aliases: &[],
        keys: KAIMING,
        formula: "truncated at 2 std, variance gain^2 / fan",
        frameworks: "Keras HeNormal, JAX he_normal (and its kaiming_normal)",
        source: HE,
        when: "ReLU and its kin, as in Keras and JAX",
    },
    Entry {
        name: "lecun_uniform",
        aliases: &[],
        keys: MODE,
        formula: "U(±sqrt(3 / fan))",
        frameworks: "Keras LecunUniform, JAX lecun_uniform",
        source: LECUN,
        when: "SELU, linear layers",
    },
    Entry {
        name: "lecun_normal",
        aliases: &[],
        keys: MODE,
        formula: "truncated at 2 std, variance 1 / fan",
        frameworks: "Keras LecunNormal, JAX lecun_normal: Flax' default",
        source: LECUN,
        when: "SELU, linear layers",
    },
    Entry {
        name: "variance_scaling",
        aliases: &[],
        keys: &[
            ("scale", "1"),
            ("mode", "fan_in"),
            ("distribution", "truncated_normal"),
        ],
        formula: "variance scale / fan; distribution truncated_normal (at 2 std, corrected by 0.8796), normal or uniform",
        frameworks: "Keras VarianceScaling (untruncated_normal), JAX variance_scaling",
        source: "-",
        when: "what the rules above come to",
    },
    Entry {
        name: "inverse_fan",
        aliases: &[],
        keys: &[
            ("scale", "1"),
            ("mode", "fan_in"),
            ("distribution", "normal"),
        ],
        formula: "std (normal, truncated_normal) or bound (uniform) scale / fan",
        frameworks: "-",
        source: "-",
        when: "what siren_first and mup's output come to",
    },
    Entry {
        name: "torch_linear",
        aliases: &["lora_a"],
        keys: &[],
        formula: "U(±1 / sqrt(fan_in))",
        frameworks: "torch Linear and Conv: kaiming_uniform_(a=sqrt(5)); peft's lora_A",
        source: "LoRA: Hu et al. 2021, arXiv:2106.09685",
        when: "the weights that PyTorch makes by itself",
    },
    Entry {
        name: "bias_uniform",
        aliases: &[],
        keys: &[("fan_in", "auto")],
        formula: "U(±1 / sqrt(fan_in of the weight))",
        frameworks: "torch Linear and Conv biases",
        source: "torch.nn.Linear.reset_parameters",
        when: "the biases that PyTorch makes by itself",
    },
    Entry {
        name: "embedding",
        aliases: &[],
        keys: &[("mean", "0"), ("std", "1"), ("padding_idx", "none")],
        formula: "N(mean, std^2), row padding_idx 0",
        frameworks: "torch Embedding",
        source: "torch.nn.Embedding.reset_parameters",
        when: "embeddings with a padding token",
    },
    Entry {
        name: "eye",
        aliases: &[],
        keys: &[],
        formula: "1 on the diagonal, else 0",
        frameworks: "torch eye_",
        source: "Le, Jaitly, Hinton 2015, arXiv:1504.00941",
        when: "recurrent weights, adapters that start as nothing",
    },
    Entry {
        name: "identity",
        aliases: &[],
        keys: &[("gain", "1")],
        formula: "gain on the diagonal, else 0",
        frameworks: "Keras Identity",
        source: "-",
        when: "recurrent weights",
    },
    Entry {
        name: "dirac",
        aliases: &[],
        keys: &[("groups", "of the tensor")],
        formula: "the convolution that passes its inputs through",
        frameworks: "torch dirac_",
        source: "Zagoruyko, Komodakis 2017, arXiv:1706.00388",
        when: "very deep convolutional networks",
    },
    Entry {
        name: "orthogonal",
        aliases: &[],
        keys: &[("gain", "1")],
        formula: "a Haar-distributed orthogonal matrix times gain; convolutions are flattened",
        frameworks: "torch orthogonal_, Keras Orthogonal, JAX orthogonal",
        source: "Saxe, McClelland, Ganguli 2014, arXiv:1312.6120",
        when: "recurrent weights, very deep networks",
    },
    Entry {
        name: "delta_orthogonal",
        aliases: &[],
        keys: &[("gain", "1")],
        formula: "an orthogonal matrix times gain in the middle tap, else 0",
        frameworks: "JAX delta_orthogonal",
        source: "Xiao et al. 2018, arXiv:1806.05393",
        when: "very deep convolutional networks",
    },
    Entry {
        name: "sparse",
        aliases: &[],
        keys: &[("sparsity", "-"), ("std", "0.01")],
        formula: "ceil(sparsity rows) zeros in each column, else N(0, std^2)",
        frameworks: "torch sparse_",
        source: "Martens 2010, ICML",
        when: "units that must not all look alike",
    },
    Entry {
        name: "residual_normal",
        aliases: &[],
        keys: &[("std", "-"), ("layers", "auto")],
        formula: "N(0, std^2 / (2 layers))",
        frameworks: "transformers GPT2PreTrainedModel",
        source: "Radford et al. 2019 (GPT-2)",
        when: "projections that add to the residual stream",
    },
    Entry {
        name: "small_init",
        aliases: &[],
        keys: &[("dim", "-")],
        formula: "N(0, 2 / (5 dim))",
        frameworks: "GPT-NeoX small_init_init_method",
        source: "Nguyen, Salazar 2019, arXiv:1910.05895",
        when: "transformers, but for their residual projections",
    },
    Entry {
        name: "wang_init",
        aliases: &[],
        keys: &[("dim", "-"), ("layers", "-")],
        formula: "N(0, (2 / (layers sqrt(dim)))^2)",
        frameworks: "GPT-NeoX wang_init_method",
        source: "GPT-J; Black et al. 2022, arXiv:2204.06745",
        when: "residual projections beside small_init",
    },
    Entry {
        name: "mup",
        aliases: &[],
        keys: &[("role", "-"), ("std", "-"), ("base", "-")],
        formula: "N(0, s^2), s = std (input), std sqrt(base / fan_in) (hidden), std base / fan_in (output)",
        frameworks: "Microsoft mup",
        source: "Yang et al. 2022, arXiv:2203.03466, table 3",
        when: "settings tuned at one width, used at another",
    },
    Entry {
        name: "deepnorm",
        aliases: &[],
        keys: &[("layers", "-")],
        formula: "xavier_normal with gain (8 layers)^(-1/4)",
        frameworks: "TorchScale",
        source: "Wang et al. 2022, arXiv:2203.00555",
        when: "value, output and feed-forward weights of very deep post-norm transformers",
    },
    Entry {
        name: "fixup",
        aliases: &[],
        keys: &[("layers", "-"), ("m", "2")],
        formula: "kaiming_normal times layers^(-1 / (2 m - 2))",
        frameworks: "-",
        source: "Zhang, Dauphin, Ma 2019, arXiv:1901.09321",
        when: "residual branches without normalization; their last layer is zeros",
    },
    Entry {
        name: "t_fixup",
        aliases: &[],
        keys: &[("layers", "-"), ("side", "encoder")],
        formula: "xavier_uniform times 0.67 layers^(-1/4) (encoder) or (9 layers)^(-1/4) (decoder)",
        frameworks: "-",
        source: "Huang et al. 2020, ICML",
        when: "transformers without normalization or warm-up",
    },
    Entry {
        name: "layer_scale",
        aliases: &[],
        keys: &[("depth", "-")],
        formula: "0.1 up to depth 18, 1e-5 up to 24, 1e-6 beyond",
        frameworks: "timm LayerScale (init_values)",
        source: "Touvron et al. 2021, arXiv:2103.17239",
        when: "scales of residual branches; constant(value) for another value",
    },
    Entry {
        name: "siren_first",
        aliases: &[],
        keys: &[],
        formula: "U(±1 / fan_in)",
        frameworks: "-",
        source: "Sitzmann et al. 2020, arXiv:2006.09661",
        when: "the first layer of a network of sines",
    },
    Entry {
        name: "siren",
        aliases: &[],
        keys: &[("omega", "30")],
        formula: "U(±sqrt(6 / fan_in) / omega)",
        frameworks: "-",
        source: "Sitzmann et al. 2020, arXiv:2006.09661",
        when: "the other layers of a network of sines",
    },
    Entry {
        name: "sinusoids",
        aliases: &[],
        keys: &[("max_timescale", "10000")],
        formula: "sin(p f_k), then cos(p f_k), f_k = max_timescale^(-k / (d/2 - 1))",
        frameworks: "Whisper sinusoids",
        source: "Radford et al. 2022, arXiv:2212.04356",
        when: "position tables",
    },
    Entry {
        name: "sinusoidal",
        aliases: &[],
        keys: &[("base", "10000")],
        formula: "sin(p f_k), cos(p f_k) in turns, f_k = base^(-2k / d)",
        frameworks: "Transformer",
        source: "Vaswani et al. 2017, arXiv:1706.03762",
        when: "position tables",
    },
    Entry {
        name: "mamba_a_log",
        aliases: &["s4d_real"],
        keys: &[],
        formula: "ln(c + 1) in column c",
        frameworks: "mamba_ssm Mamba: A_log",
        source: "Gu, Dao 2023, arXiv:2312.00752",
        when: "state matrices of Mamba and S4D",
    },
    Entry {
        name: "mamba2_a_log",
        aliases: &["log_uniform"],
        keys: &[("low", "1"), ("high", "16")],
        formula: "ln U[low, high)",
        frameworks: "mamba_ssm Mamba2: A_log",
        source: "Dao, Gu 2024, arXiv:2405.21060",
        when: "state scalars of Mamba-2",
    },
    Entry {
        name: "mamba_dt_bias",
        aliases: &[],
        keys: &[("min", "0.001"), ("max", "0.1"), ("floor", "0.0001")],
        formula: "ln(e^dt - 1), dt = max(floor, exp U[ln min, ln max))",
        frameworks: "mamba_ssm Mamba: dt_proj.bias",
        source: "Gu, Dao 2023, arXiv:2312.00752",
        when: "time steps of Mamba and S4",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Init, Tensor};

    /// The page in the repository is the catalogue.
    #[test]
    fn the_page_is_the_catalogue() {
        let page = include_str!("../../docs/INITIALIZERS.md");
        assert!(
            page == markdown(),
            "docs/INITIALIZERS.md is out of date: fanin inits --markdown > docs/INITIALIZERS.md"
        );
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = CATALOGUE
            .iter()
            .flat_map(|entry| std::iter::once(entry.name).chain(entry.aliases.iter().copied()))
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    /// Every entry is implemented, and its defaults are the ones that stand there.
    #[test]
    fn defaults_are_what_stands_there() {
        for entry in CATALOGUE {
            let given = |wanted: &dyn Fn(&str) -> bool| {
                let keys: Vec<String> = entry
                    .keys
                    .iter()
                    .filter(|(_, default)| wanted(default))
                    .map(|(key, default)| match (*key, *default) {
                        ("role", "-") => "role=hidden".to_owned(),
                        (key, "-") if ["std", "sparsity"].contains(&key) => format!("{key}=0.5"),
                        (key, "-") => format!("{key}=4"),
                        (key, default) => format!("{key}={default}"),
                    })
                    .collect();
                format!("({})", keys.join(","))
            };
            let optional =
                |default: &str| default == "auto" || default == "none" || default.contains(' ');
            for name in std::iter::once(&entry.name).chain(entry.aliases) {
                let parse = |keys: String| {
                    let spec = format!("{name}{keys}");
                    spec.parse::<Init>()
                        .unwrap_or_else(|error| panic!("{error}"))
                };
                let spelled = parse(given(&|default| !optional(default)));
                let short = parse(given(&|default| default == "-"));
                assert_eq!(spelled, short, "{name}");
                // And it can be resolved, but for what only a recipe knows.
                let convolution = ["dirac", "delta_orthogonal"].contains(&entry.name);
                let dims: &[u64] = if convolution { &[4, 4, 3] } else { &[4, 4] };
                let tensor = Tensor::new("w", dims).unwrap();
                if entry.keys.iter().all(|(_, default)| *default != "auto") {
                    short.resolve(&tensor).unwrap();
                }
            }
        }
    }
}
