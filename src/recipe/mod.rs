//! Whole models: a [`Recipe`] is a list of rules that give each tensor its initializer; with a
//! list of tensors it resolves to a [`Plan`].
//!
//! # The file
//!
//! A recipe is TOML:
//!
//! ```toml
//! seed = 42              # optional defaults; a caller's own choice wins
//! dtype = "bf16"         # f32, f16 or bf16
//! layout = "out_in"      # out_in (torch) or in_out (Keras, JAX, numpy)
//!
//! [[rule]]               # the first rule that matches a tensor decides
//! match = "*.bias"       # a glob on the whole name, or a list of globs
//! rank = 1               # optional: only tensors of this rank
//! init = "zeros"         # see `Init` for the grammar
//!
//! [[rule]]
//! match = ["*.conv*.weight", "stem.weight"]
//! groups = 1             # optional, as are dtype and layout, for what the rule matches, and
//!                        # in_axis, out_axis, batch_axis (a number or a list), as in JAX
//! init = "kaiming_normal(mode=fan_out,nonlinearity=relu)"
//! ```
//!
//! In a glob `*` stands for any text, dots included, `?` for one character, `[ab]` for one of
//! these, `{a,b}` for either. `sibling_rank = N` narrows a rule to tensors `<prefix>.bias`
//! beside a `<prefix>.weight` of that rank: 1 is the bias of a normalization.
//!
//! A tensor that no rule matches is an error, and so is a key that is not listed here.
//!
//! # What a recipe knows that a single tensor does not
//!
//! `bias_uniform` without `fan_in` takes that of the tensor `<prefix>.weight` beside it; where that
//! is 0, the bias is zeros, as in torch.
//!
//! `residual_normal` without `layers` counts the layers in the list. In
//! `transformer.h.11.mlp.c_proj.weight`, the first part of the name that is a number is the
//! layer's; the count is that of the numbers which follow the same prefix, here
//! `transformer.h.`. They must be 0, 1, 2 and so on without a gap: a list that holds only the
//! later part of a model is refused. One that holds only its first layers looks like a smaller
//! model; there, write `layers=N`.
//!
//! # Computed numbers
//!
//! A number of an initializer can be an expression: `normal(std=0.02/sqrt(2*layers))`. It may hold
//! decimal numbers, `+ - * /`, parentheses, `sqrt(x)`, `min(x, y)`, `max(x, y)` and
//!
//! | name | what it is |
//! |---|---|
//! | `layers`, `layer` | the layers, counted as above, and the tensor's own, from 0 |
//! | `fan_in`, `fan_out` | the tensor's fans, by layout, groups and axes |
//! | `rank`, `dim(k)` | its rank and dimension k; negative k count from the last |
//! | `size("glob", k)` | dimension k of the first tensor of the list that matches the glob |
//! | `sibling("name", k)` | dimension k of the tensor that has this name for the last part of its own |
//! | `count("glob")` | how many tensors match the glob |
//!
//! They are checked when the recipe is read and computed, in binary64, for each tensor.
//!
//! # Example
//!
//! ```
//! use fanin::{ListedTensor, Recipe, Shape, TensorList};
//!
//! let recipe = Recipe::from_toml(r#"
//!     [[rule]]
//!     match = "*.weight"
//!     init = "he_normal"
//!     [[rule]]
//!     match = "*.bias"
//!     init = "zeros"
//! "#)?;
//! let list = TensorList::new(vec![
//!     ListedTensor { name: "0.weight".into(), shape: Shape::new([512, 784])?, dtype: None },
//!     ListedTensor { name: "0.bias".into(), shape: Shape::new([512])?, dtype: None },
//! ])?;
//! let plan = recipe.resolve(&list, Some(42), None)?;
//! assert_eq!(plan.elements(), 512 * 784 + 512);
//! assert_eq!(plan.entries[1].init.to_string(), "zeros");
//! # Ok::<(), fanin::Error>(())
//! ```

mod context;
mod expression;
mod plan;
mod rule;

use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result, shown};
use crate::init::Init;
use crate::tensor::{DType, Layout, TensorList};
use context::Context;
use rule::Rule;

pub use plan::{Plan, PlanEntry};

/// The presets: each is a recipe file within the crate.
const PRESETS: [(&str, &str); 15] = [
    ("bert", include_str!("presets/bert.toml")),
    ("convnext", include_str!("presets/convnext.toml")),
    ("gpt2", include_str!("presets/gpt2.toml")),
    ("kaiming", include_str!("presets/kaiming.toml")),
    ("lecun", include_str!("presets/lecun.toml")),
    ("llama", include_str!("presets/llama.toml")),
    (
        "llama_torchtitan",
        include_str!("presets/llama_torchtitan.toml"),
    ),
    ("mixtral", include_str!("presets/mixtral.toml")),
    ("mobilenet_v3", include_str!("presets/mobilenet_v3.toml")),
    ("resnet", include_str!("presets/resnet.toml")),
    ("t5", include_str!("presets/t5.toml")),
    ("torch", include_str!("presets/torch.toml")),
    ("vit", include_str!("presets/vit.toml")),
    ("whisper", include_str!("presets/whisper.toml")),
    ("xavier", include_str!("presets/xavier.toml")),
];

/// The most bytes that a recipe file may have: far beyond any sensible one.
const MAX_BYTES: u64 = 16 << 20;

/// Rules that give each tensor of a model its initializer: see the [module](self).
#[derive(Clone, Debug)]
pub struct Recipe {
    name: String,
    text: String,
    rules: File,
}

/// A recipe as its file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    seed: Option<u64>,
    dtype: Option<DType>,
    layout: Option<Layout>,
    rule: Vec<Rule>,
}

impl Recipe {
    /// The names that [`Recipe::preset`] knows.
    ///
    /// | preset | what it gives |
    /// |---|---|
    /// | `bert` | BERT in every size, as Hugging Face transformers initializes it |
    /// | `convnext` | ConvNeXt, as timm initializes it |
    /// | `gpt2` | GPT-2 in every size, as Hugging Face transformers initializes it |
    /// | `kaiming` | weights Kaiming normal for ReLU, biases 0, normalization 1 |
    /// | `lecun` | weights LeCun normal, biases 0, normalization 1 |
    /// | `llama` | Llama and its kin (Mistral, Qwen), as Hugging Face transformers initializes them |
    /// | `llama_torchtitan` | Llama 3, as Meta's torchtitan initializes it: truncated, scaled with the depth |
    /// | `mixtral` | Mixtral, as Hugging Face transformers initializes it |
    /// | `mobilenet_v3` | MobileNetV3, as torchvision initializes it |
    /// | `resnet` | ResNet, as torchvision initializes it |
    /// | `t5` | T5 and T5 v1.1, as Hugging Face transformers initializes them |
    /// | `torch` | PyTorch's own defaults: Linear, Conv, Embedding, normalization, RNNs, attention |
    /// | `vit` | vision transformers, as timm initializes them |
    /// | `whisper` | Whisper, as Hugging Face transformers initializes it |
    /// | `xavier` | weights Xavier uniform, biases 0, normalization 1 |
    #[must_use]
    pub fn presets() -> impl ExactSizeIterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// A preset, by its name.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a name that is not in [`Recipe::presets`].
    pub fn preset(name: &str) -> Result<Self> {
        match PRESETS.iter().find(|(known, _)| *known == name) {
            Some((name, text)) => Recipe::parse(name, text),
            None => Err(Error::Unknown {
                tensor: None,
                kind: "preset",
                value: name.to_owned(),
                accepted: format!(
                    "use one of {}",
                    Vec::from_iter(Recipe::presets()).join(", ")
                ),
            }),
        }
    }

    /// Reads a recipe from TOML.
    ///
    /// # Errors
    ///
    /// [`Error::Recipe`] with line and column: for text that is not TOML, unknown keys, globs
    /// and initializers that are none.
    pub fn from_toml(text: &str) -> Result<Self> {
        Recipe::parse("recipe", text)
    }

    /// Reads a recipe from a file; it gets the file's name, without folders, for its name.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it is not UTF-8 or
    /// larger than 16 MiB, and as [`Recipe::from_toml`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = crate::read::read_limited(path, MAX_BYTES)?;
        let text = String::from_utf8(bytes).map_err(|error| Error::Format {
            path: shown(path),
            tensor: None,
            reason: format!(
                "is not UTF-8 from byte {} on: a recipe is TOML",
                error.utf8_error().valid_up_to()
            ),
        })?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        Recipe::parse(&shown(Path::new(name)), &text)
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let refused = |position, reason| Error::Recipe {
            recipe: name.to_owned(),
            position,
            reason,
        };
        let rules: File = toml::from_str(text).map_err(|error| {
            let position = error.span().map(|span| line_and_column(text, span.start));
            // What the parser says may quote the file: it must not break the line.
            let words: Vec<_> = error.message().split_whitespace().collect();
            refused(position, words.join(" "))
        })?;
        if rules.rule.is_empty() {
            return Err(refused(
                None,
                "has no [[rule]]: it needs at least one".into(),
            ));
        }
        Ok(Recipe {
            name: name.to_owned(),
            text: text.to_owned(),
            rules,
        })
    }

    /// The preset's name, or the file's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The TOML that the recipe was read from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The seed that the recipe itself gives.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        self.rules.seed
    }

    /// Gives each tensor of the list its initializer, resolved to numbers.
    ///
    /// `seed` and `dtype` win over what recipe and list say. Without `dtype`, a tensor's dtype
    /// is the first that is given of: its rule's, the recipe's, the list's; else f32.
    ///
    /// # Errors
    ///
    /// [`Error::NoSeed`] where neither the caller nor the recipe gives one,
    /// [`Error::Unmatched`] for a tensor without a rule, and what [`Init::resolve`] finds wrong
    /// for one of the tensors.
    ///
    /// [`Init::resolve`]: crate::Init::resolve
    pub fn resolve(
        &self,
        list: &TensorList,
        seed: Option<u64>,
        dtype: Option<DType>,
    ) -> Result<Plan> {
        let seed = seed.or(self.rules.seed).ok_or_else(|| Error::NoSeed {
            recipe: self.name.clone(),
        })?;
        let context = Context::new(self, list);
        let entries = list
            .tensors()
            .iter()
            .map(|listed| {
                let index = context.rule_of(listed).ok_or_else(|| Error::Unmatched {
                    tensor: listed.name.clone(),
                    shape: listed.shape.to_string(),
                    recipe: self.name.clone(),
                })?;
                let rule = &self.rules.rule[index];
                let init = match context.init(rule, listed) {
                    Ok(init) => init,
                    // Nothing is drawn for an empty tensor: a number that it lacks is no fault.
                    Err(_) if listed.shape.elements() == 0 => Init::zeros(),
                    Err(error) => return Err(error.named(&listed.name)),
                };
                let dtype = dtype.or(rule.dtype).or(self.rules.dtype).or(listed.dtype);
                let tensor = context.tensor(listed, rule);
                Ok(PlanEntry {
                    fill: crate::Fill::new(&tensor, &init, seed)?
                        .with_dtype(dtype.unwrap_or_default()),
                    init,
                    rule: index,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Plan { seed, entries })
    }
}

/// Line and column of a byte, both from 1; columns count characters.
fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..byte.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |i| i + 1);
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    let column = String::from_utf8_lossy(&before[line_start..])
        .chars()
        .count()
        + 1;
    (line, column)
}
