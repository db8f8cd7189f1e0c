//! The table of initializers. Text, recipes, `fanin inits` and `docs/INITIALIZERS.md` are made from it.

use std::sync::LazyLock;

use super::initializers::{
    buffers::BUFFERS, matrix::MATRIX, positions::POSITIONS, simple::SIMPLE, siren::SIREN,
    state_space::STATE_SPACE, transformer::TRANSFORMER, variance::VARIANCE,
};
use super::rule::Definition;

/// All initializers, in the order of `docs/INITIALIZERS.md`.
pub static CATALOGUE: LazyLock<Vec<&'static Definition>> = LazyLock::new(|| {
    let families = [
        SIMPLE,
        VARIANCE,
        MATRIX,
        TRANSFORMER,
        SIREN,
        POSITIONS,
        STATE_SPACE,
        BUFFERS,
    ];
    families.into_iter().flatten().collect()
});

/// Returns the initializer of this name or alias.
pub(super) fn find(name: &str) -> Option<&'static Definition> {
    let mut all = CATALOGUE.iter();
    all.find(|definition| definition.names().any(|known| known == name))
        .copied()
}

/// Returns the table as a page of Markdown, `docs/INITIALIZERS.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = PREFACE.to_owned();
    for entry in CATALOGUE.iter() {
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

This page lists the initializers that `fanin fill --init`, recipes and `Init`'s `FromStr` accept.
`fanin inits --markdown` prints it, and a test compares the two.

A title is `name(key=default,...)`. A key without `=` must be given, with its name or as
in `constant(1e-5)`. A key in brackets can be left out: a recipe finds `layers` and the `fan_in` of a bias, `gain` follows from `nonlinearity`, `groups`
are those of the tensor, and without `padding_idx` no row is 0.

The class names of Keras (`HeNormal`) and the function names of torch (`kaiming_normal_`) are
accepted, too. The keys `stddev`, `minval` and `maxval` are accepted for `std`, `low` and `high`.
`uniform` also accepts `a` and `b`.

`N(m, s^2)` is the normal distribution, `U[a, b)` is the uniform distribution, and `U(±b)` is
`U[-b, b)`. `fan` is `fan_in`, `fan_out` or their mean, depending on `mode`. A tensor in layout
`out_in` (torch) has shape `[out, in, k...]`. A tensor in layout `in_out` (Keras, JAX) has shape
`[k..., in, out]`. Its fans are `in` and `out` times the product of `k...`, the kernel of a
convolution. Gains are those of `torch.nn.init.calculate_gain`.

## Names with different meanings

- `xavier_normal` and `kaiming_normal` are not truncated, as in torch. `glorot_normal`, `he_normal`
  and `lecun_normal` are truncated at two standard deviations and widened by
  1 / 0.87962566103423978 to keep the variance, as in Keras and JAX. (JAX also has the names
  `xavier_normal` and `kaiming_normal`. There they are truncated.)
- `trunc_normal` has absolute bounds, as in torch. `truncated_normal` has bounds in standard
  deviations, as in Keras and JAX. In both, `std` is the one before the truncation.
- `normal` has torch's default std, 1. Keras' `RandomNormal` has 0.05, and JAX' `normal` has 0.01.
- `TruncatedNormal`, spelled as in Keras, has Keras' default std, 0.05.
- If a tensor has `groups`, fan_out is divided by them. torch's own function ignores groups.

## The list

";

#[cfg(test)]
mod tests {
    use super::super::key::MAX_KEYS;
    use super::*;
    use crate::{Init, Tensor};

    #[test]
    fn the_page_is_up_to_date() {
        let page = include_str!("../../docs/INITIALIZERS.md");
        assert!(
            page == markdown(),
            "docs/INITIALIZERS.md is out of date: fanin inits --markdown > docs/INITIALIZERS.md"
        );
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = CATALOGUE.iter().flat_map(|d| d.names()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    /// Each name reads back, and resolves for a tensor unless it needs a recipe.
    #[test]
    fn every_definition_works() {
        for definition in CATALOGUE.iter() {
            assert!(definition.keys.len() <= MAX_KEYS, "{}", definition.name);
            let given = definition.keys.iter().filter(|key| key.required);
            let given: Vec<String> = given
                .map(|key| match key.name {
                    "role" => "role=hidden".to_owned(),
                    "std" | "sparsity" | "partial_rotary_factor" => format!("{}=0.5", key.name),
                    name => format!("{name}=4"),
                })
                .collect();
            let convolution = ["dirac", "delta_orthogonal"].contains(&definition.name);
            let dims: &[u64] = if convolution { &[4, 4, 3] } else { &[4, 4] };
            let tensor = Tensor::new("w", dims).unwrap();
            for name in definition.names() {
                let text = format!("{name}({})", given.join(","));
                let init: Init = text.parse().unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(init.to_string().parse::<Init>().unwrap(), init, "{text}");
                if init.missing().is_none() {
                    init.resolve(&tensor).unwrap();
                }
            }
        }
    }

    /// The table has the names and keys of all constructors.
    #[test]
    fn every_constructor_works() {
        use crate::init::{Family, FanMode, MupRole, Nonlinearity, TransformerSide};

        for init in [
            Init::zeros(),
            Init::ones(),
            Init::constant(1.0),
            Init::normal(0.0, 1.0),
            Init::uniform(0.0, 1.0),
            Init::trunc_normal(0.0, 1.0, -2.0, 2.0),
            Init::truncated_normal(0.0, 1.0, -2.0, 2.0),
            Init::xavier_uniform_with(2.0),
            Init::xavier_normal_with(2.0),
            Init::glorot_uniform(),
            Init::glorot_normal(),
            Init::kaiming_uniform_with(FanMode::FanOut, Nonlinearity::Selu),
            Init::kaiming_normal_with(FanMode::FanAvg, Nonlinearity::default()),
            Init::he_uniform(),
            Init::he_normal(),
            Init::lecun_uniform(),
            Init::lecun_normal(),
            Init::variance_scaling(2.0, FanMode::FanIn, Family::Normal),
            Init::inverse_fan(2.0, FanMode::FanIn, Family::Uniform),
            Init::torch_linear(),
            Init::lora_a(),
            Init::bias_uniform(4),
            Init::eye(),
            Init::identity(2.0),
            Init::orthogonal(),
            Init::orthogonal_with(2.0),
            Init::sparse(0.5, 0.01),
            Init::embedding(0),
            Init::arange(1.0, 2.0),
            Init::causal_mask(1.0),
            Init::inv_freq(1e6),
            Init::residual_normal(0.02, 12),
            Init::small_init(64),
            Init::wang_init(64, 12),
            Init::mup(MupRole::Hidden, 0.02, 64),
            Init::deepnorm(12),
            Init::fixup(12, 2),
            Init::t_fixup(12, TransformerSide::Decoder),
            Init::rezero(),
            Init::layer_scale(24),
            Init::siren_first(),
            Init::siren(30.0),
            Init::sinusoids(),
            Init::sinusoidal(),
            Init::mamba_a_log(),
            Init::mamba2_a_log(1.0, 16.0),
            Init::mamba_dt_bias(0.001, 0.1, 1e-4),
        ] {
            let text = init.to_string();
            assert_eq!(text.parse::<Init>().unwrap(), init, "{text}");
            init.resolve(&Tensor::new("w", [8, 4]).unwrap()).unwrap();
        }
        for init in [Init::dirac(2), Init::delta_orthogonal()] {
            init.resolve(&Tensor::new("w", [4, 4, 3]).unwrap()).unwrap();
        }
    }
}
