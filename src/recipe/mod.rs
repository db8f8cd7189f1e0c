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
//! extends = "gpt2"       # optional: the rules of another recipe come after these
//!
//! [[rule]]               # the first rule that matches a tensor decides
//! match = "*.bias"       # a glob on the whole name, or a list of globs
//! rank = 1               # optional: only tensors of this rank
//! init = "zeros"         # see `Init` for the grammar
//!
//! [[rule]]
//! match = ["*.conv*.weight", "stem.weight"]
//! groups = 1             # optional, as are seed, dtype and layout, for what the rule matches, and
//!                        # in_axis, out_axis, batch_axis (a number or a list), as in JAX
//! init = "kaiming_normal(mode=fan_out,nonlinearity=relu)"
//!
//! [[rule]]
//! match = "lm_head.weight"
//! tied_to = "embed.weight"  # in place of init: the weights of another tensor
//! ```
//!
//! In a glob `*` stands for any text, dots included, `?` for one character, `[ab]` for one of
//! these, `{a,b}` for either; beyond ASCII `?` and `[ab]` stand for one byte of a character in UTF-8.
//! `sibling_rank = N` narrows a rule to tensors `<prefix>.bias`
//! beside a `<prefix>.weight` of that rank: 1 is the bias of a normalization.
//!
//! A tensor that no rule matches is an error, and so is a key that is not listed here.
//!
//! The seed of a rule is that of its tensors whatever seed the caller gives: what it matches stays
//! the same while the rest of the model is drawn again.
//!
//! # Extending a recipe
//!
//! `extends` names a preset, or a `.toml` file by its path from the folder of the file that extends
//! it (`../base.toml` will do, `/base.toml` will not). The extending recipe's rules are looked at
//! before the base's, so that they override it; its seed, dtype and layout stand in place of the
//! base's. It needs no rule of its own. A base may extend another one: 8 recipes at most, none of
//! them twice.
//!
//! # Tied weights
//!
//! A rule with `tied_to` gives its tensors the weights of the tensor that it names, which must be in
//! the list and have the same shape: they are made with that tensor's stream, seed and initializer,
//! and stored in a dtype of their own. That tensor must not be tied to another itself.
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
mod glob;
mod plan;
mod presets;
mod rule;
mod source;
mod template;

use std::path::Path;

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::{Fans, Init};
use crate::tensor::{DType, Layout, ListedTensor, TensorList, stream_id};
use context::Context;
use rule::Gives;
use source::{Chain, Source};

pub(crate) use glob::{GlobTexts, Globs};
pub use plan::{Plan, PlanEntry, PlanRule, select};

/// Rules that give each tensor of a model its initializer: see the [module](self).
#[derive(Clone, Debug)]
pub struct Recipe {
    chain: Chain,
}

impl Recipe {
    /// The names that [`Recipe::preset`] knows.
    ///
    /// | preset | what it gives |
    /// |---|---|
    /// | `bert` | BERT in every size, as Hugging Face transformers initializes it |
    /// | `burn` | burn's own defaults: Linear, Conv, Embedding, normalization, RNNs, attention |
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
        presets::names()
    }

    /// A preset, by its name.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a name that is not in [`Recipe::presets`].
    pub fn preset(name: &str) -> Result<Self> {
        match presets::text(name) {
            Some(text) => Recipe::parse(name, text),
            None => Err(Error::Unknown {
                kind: "preset",
                value: name.to_owned(),
                accepted: format!(
                    "use one of {}",
                    Vec::from_iter(Recipe::presets()).join(", ")
                ),
            }),
        }
    }

    /// Reads a recipe from TOML. It may extend a preset, but no file: there is no folder to start
    /// from.
    ///
    /// # Errors
    ///
    /// [`Error::Recipe`] with line and column: for text that is not TOML, unknown keys, globs
    /// and initializers that are none, more than 10,000 globs.
    pub fn from_toml(text: &str) -> Result<Self> {
        Recipe::parse("recipe", text)
    }

    /// Reads a recipe from a file, and what it extends; it gets the file's name, without folders,
    /// for its name.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where a file cannot be read, [`Error::Format`] where it is not UTF-8 or larger
    /// than 4 MiB, or where one that is extended is no regular file; [`Error::Recipe`] as
    /// [`Recipe::from_toml`], and for more than 8 recipes that extend each other, or one that
    /// extends itself.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let chain = Chain::read(Source::read(path.as_ref())?)?;
        Ok(Recipe { chain })
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let chain = Chain::read(Source {
            name: name.to_owned(),
            text: text.to_owned(),
            path: None,
        })?;
        Ok(Recipe { chain })
    }

    /// The preset's name, or the file's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.chain.layers[0].name
    }

    /// The TOML that the recipe was read from, without what it extends.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.chain.layers[0].text
    }

    /// What tells this recipe from every other, in hexadecimal: the SHA-256 of its text.
    ///
    /// For a recipe that extends another it covers the whole chain: it is the SHA-256 of a line for
    /// each, that of the recipe itself first, with the SHA-256 of its text, as
    /// `sha256sum own.toml base.toml | cut -c -64 | sha256sum` has it.
    #[must_use]
    pub fn sha256(&self) -> String {
        match &self.chain.layers[..] {
            [own] => source::sha256(&own.text),
            layers => {
                let lines = layers
                    .iter()
                    .map(|layer| source::sha256(&layer.text) + "\n");
                source::sha256(&lines.collect::<String>())
            }
        }
    }

    /// The seed that the recipe itself gives.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        self.chain.seed
    }

    /// Gives each tensor of the list its initializer, resolved to numbers.
    ///
    /// `dtype` wins over what recipe and list say; without it, a tensor's dtype is the first that
    /// is given of: its rule's, the recipe's, the list's; else f32. `seed` wins over the recipe's,
    /// but the seed of a rule is that of its tensors whatever else is given.
    ///
    /// It takes time in proportion to the tensors and the rules: a million tensors take seconds.
    ///
    /// # Errors
    ///
    /// [`Error::NoSeed`] where neither the caller nor the recipe gives one,
    /// [`Error::Unmatched`] for a tensor without a rule, and [`Error::Rule`] for a tensor whose rule
    /// cannot be followed, with what [`Init::resolve`] finds wrong.
    pub fn resolve(
        &self,
        list: &TensorList,
        seed: Option<u64>,
        dtype: Option<DType>,
    ) -> Result<Plan> {
        self.resolve_with_layouts(list, seed, dtype, &|_| Layout::default())
    }

    /// As [`resolve`](Recipe::resolve), for tensors of which more than their names is known:
    /// `layout_of` says how a tensor is laid out where neither its rule nor the recipe does.
    ///
    /// ```
    /// use fanin::{Layout, ListedTensor, Recipe, Shape, TensorList};
    ///
    /// let recipe = Recipe::preset("kaiming")?;
    /// let list = TensorList::new(vec![ListedTensor {
    ///     name: "fc.weight".into(),
    ///     shape: Shape::new([784, 512])?,
    ///     dtype: None,
    /// }])?;
    /// let plan = recipe.resolve_with_layouts(&list, Some(42), None, &|_| Layout::InOut)?;
    /// assert_eq!(plan.entries[0].fans.map(|fans| fans.fan_in), Some(784));
    /// # Ok::<(), fanin::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`resolve`](Recipe::resolve).
    pub fn resolve_with_layouts(
        &self,
        list: &TensorList,
        seed: Option<u64>,
        dtype: Option<DType>,
        layout_of: &dyn Fn(&ListedTensor) -> Layout,
    ) -> Result<Plan> {
        let seed = seed.or(self.chain.seed).ok_or_else(|| Error::NoSeed {
            recipe: self.name().to_owned(),
        })?;
        let context = Context::new(&self.chain, list, layout_of);
        let tensors = list.tensors().iter();
        let entries = tensors.map(|listed| self.entry(&context, listed, seed, dtype));
        Ok(Plan {
            seed,
            entries: entries.collect::<Result<_>>()?,
            rules: self.plan_rules(),
        })
    }

    fn entry(
        &self,
        context: &Context<'_>,
        listed: &ListedTensor,
        seed: u64,
        dtype: Option<DType>,
    ) -> Result<PlanEntry> {
        let index = context.rule_of(listed).ok_or_else(|| Error::Unmatched {
            tensor: listed.name.clone(),
            shape: listed.shape.to_string(),
            recipe: self.name().to_owned(),
        })?;
        let rule = &self.chain.rules[index];
        let at_rule = |error: Error| self.at_rule(error.named(&listed.name), index);
        // What the weights are made as: the tensor itself, or what it is tied to.
        let (source, template, tied_to) = match &rule.gives {
            Gives::Init(template) => ((listed, index), template, None),
            Gives::TiedTo(name) => {
                let (source, template) = context.tied(listed, name).map_err(at_rule)?;
                (source, template, Some(name.clone()))
            }
        };
        let (made, by) = (source.0, &self.chain.rules[source.1]);
        let mut tensor = context.tensor(listed, by);
        if tied_to.is_some() {
            tensor = tensor.with_stream_id(stream_id(&made.name));
        }
        let init = match context.init(template, by, made) {
            Ok(init) => init,
            // Nothing is drawn for an empty tensor: a number that it lacks is no fault.
            Err(_) if made.shape.elements() == 0 => Init::zeros(),
            Err(error) => return Err(self.at_rule(error.named(&made.name), source.1)),
        };
        let fill = Fill::new(&tensor, &init, by.seed.unwrap_or(seed))
            .map_err(|error| self.at_rule(error, source.1))?;
        let fans = if init.fan_mode().is_some() || template.asks_for_fans() {
            // There are some, or the initializer had failed; but an empty tensor needs none.
            Fans::of(&tensor).ok()
        } else {
            None
        };
        let dtype = dtype.or(rule.dtype).or(self.chain.dtype).or(listed.dtype);
        Ok(PlanEntry {
            fill: fill.with_dtype(dtype.unwrap_or_default()),
            init,
            rule: index,
            seed_is_pinned: by.seed.is_some(),
            fans,
            tied_to,
        })
    }

    /// The same error, with the place of a rule.
    fn at_rule(&self, error: Error, rule: usize) -> Error {
        let place = &self.chain.places[rule];
        Error::Rule {
            recipe: self.chain.layers[place.layer].name.clone(),
            position: place.gives,
            fault: Box::new(error),
        }
    }

    fn plan_rules(&self) -> Vec<PlanRule> {
        self.chain
            .places
            .iter()
            .map(|place| PlanRule {
                recipe: self.chain.layers[place.layer].name.clone(),
                line: place.rule.0,
                column: place.rule.1,
            })
            .collect()
    }
}
