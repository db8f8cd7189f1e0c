//! Whole models: a [`Recipe`] is a list of rules that give each tensor its initializer. With a list of
//! tensors it resolves to a [`Plan`].
//!
//! # The file
//!
//! A recipe is TOML:
//!
//! ```toml
//! seed = 42              # optional, like dtype and layout; the caller's choice has precedence
//! dtype = "bf16"         # f32, f16 or bf16
//! layout = "out_in"      # out_in (torch) or in_out (Keras, JAX, numpy)
//! extends = "gpt2"       # optional: the rules of another recipe follow these
//!
//! [[rule]]               # the first rule that matches a tensor applies
//! match = "*.bias"       # a glob on the whole name, or a list of globs
//! rank = 1               # optional: only tensors of this rank
//! init = "zeros"         # see `Init` for the grammar
//!
//! [[rule]]
//! match = ["*.conv*.weight", "stem.weight"]
//! groups = 1             # optional keys of a rule: groups, seed, dtype, layout, and
//!                        # in_axis, out_axis, batch_axis (a number or a list), as in JAX
//! init = "kaiming_normal(mode=fan_out,nonlinearity=relu)"
//!
//! [[rule]]
//! match = "lm_head.weight"
//! tied_to = "embed.weight"  # instead of init: the weights of another tensor
//! ```
//!
//! In a glob `*` matches any text with any dots, `?` matches one character, `[ab]` matches one of the
//! characters in brackets, and `{a,b}` matches either text. Beyond ASCII, `?` and `[ab]` match one byte
//! of a character in UTF-8. `sibling_rank = N` limits a rule to tensors `<prefix>.bias` beside a
//! `<prefix>.weight` of this rank. Rank 1 selects the biases of normalization layers.
//!
//! A tensor that no rule matches is an error. A key that is not listed here is an error, too.
//!
//! The seed of a rule has precedence over the caller's seed. So the tensors of the rule stay the same
//! while another seed changes the rest of the model.
//!
//! # Extending a recipe
//!
//! `extends` names a preset, or a `.toml` file. The path of a file is relative to the folder of the
//! extending file: `../base.toml` is accepted, `/base.toml` is not. The rules of the extending recipe
//! are tried before the rules of the base, so they override them. Its seed, dtype and layout replace
//! those of the base. It needs no rules. A base may extend another recipe. A chain has at most 8
//! recipes, all of them different.
//!
//! # Tied weights
//!
//! A rule with `tied_to` gives its tensors the weights of the tensor that it names. This tensor must be
//! in the list, have the same shape, and not be tied itself. The tied tensors use its stream, seed and
//! initializer. They can have another dtype.
//!
//! # Numbers from the list of tensors
//!
//! `bias_uniform` without `fan_in` uses the fan_in of the tensor `<prefix>.weight` beside
//! `<prefix>.bias`. If this fan_in is 0, the bias is zeros, as in torch.
//!
//! `residual_normal` without `layers` counts the layers in the list. The first part of a tensor's name
//! that is a number is the number of its layer: 11 in `transformer.h.11.mlp.c_proj.weight`. The layers
//! are all different numbers that follow the same prefix, here `transformer.h.`. They must be 0, 1, 2
//! and so on without a gap, so a list that holds only the last layers of a model is refused. A list
//! that holds only the first layers looks like a smaller model. Write `layers=N` for such a list.
//!
//! # Computed numbers
//!
//! A number of an initializer can be an expression: `normal(std=0.02/sqrt(2*layers))`. It can contain
//! decimal numbers, `+ - * /`, parentheses, `sqrt(x)`, `min(x, y)`, `max(x, y)` and these variables:
//!
//! | variable | value |
//! |---|---|
//! | `layers`, `layer` | the number of layers, counted as above, and the tensor's own layer, from 0 |
//! | `fan_in`, `fan_out` | the tensor's fans, by layout, groups and axes |
//! | `rank`, `dim(k)` | the tensor's rank and dimension k; a negative k counts from the last |
//! | `size("glob", k)` | dimension k of the first tensor of the list that matches the glob |
//! | `sibling("name", k)` | dimension k of the tensor whose name differs in the last part only, which is `name` |
//! | `count("glob")` | the number of tensors that match the glob |
//!
//! The form of an expression is checked when the recipe is read. Its value is computed in binary64 for
//! each tensor.
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
use crate::read::without_bom;
use crate::tensor::{DType, Layout, ListedTensor, TensorList, stream_id};
use context::Context;
use rule::Assignment;
use source::{Chain, Source};

pub(crate) use glob::{GlobTexts, Globs};
pub use plan::{Plan, PlanEntry, PlanRule, select};

/// A list of rules that give each tensor of a model its initializer. The [module](self) describes the
/// file.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The recipe itself, and the recipes that it extends.
    chain: Chain,
}

impl Recipe {
    /// Returns the names that [`Recipe::preset`] accepts.
    ///
    /// | preset | weights |
    /// |---|---|
    /// | `bert` | BERT in every size, as Hugging Face transformers initializes it |
    /// | `burn` | burn's own defaults: Linear, Conv, Embedding, normalization, RNNs, attention |
    /// | `convnext` | ConvNeXt, as timm initializes it |
    /// | `gpt2` | GPT-2 in every size, as Hugging Face transformers initializes it |
    /// | `kaiming` | weights Kaiming normal for ReLU, biases 0, normalization 1 |
    /// | `lecun` | weights LeCun normal, biases 0, normalization 1 |
    /// | `llama` | Llama, Mistral, Qwen and similar models, as Hugging Face transformers initializes them |
    /// | `llama_torchtitan` | Llama 3, as Meta's torchtitan initializes it: truncated normals, scaled by depth |
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

    /// Returns the preset of a name.
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

    /// Reads a recipe from TOML. It may extend a preset, but not a file, because it has no folder to
    /// which a path could be relative.
    ///
    /// # Errors
    ///
    /// [`Error::Recipe`] with line and column, for text that is not TOML, for unknown keys, for
    /// malformed globs and initializers, and for more than 10,000 globs.
    pub fn from_toml(text: &str) -> Result<Self> {
        Recipe::parse("recipe", text)
    }

    /// Reads a recipe from a file, and the recipes that it extends. The file's name, without folders,
    /// is the name of the recipe.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a file cannot be read. [`Error::Format`] if a file is not UTF-8 or is larger
    /// than 4 MiB, or if an extended file is not a regular file. [`Error::Recipe`] as in
    /// [`Recipe::from_toml`], and for a chain of more than 8 recipes or one with a cycle.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let chain = Chain::read(Source::read(path.as_ref())?)?;
        Ok(Recipe { chain })
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let chain = Chain::read(Source {
            name: name.to_owned(),
            text: without_bom(text).to_owned(),
            path: None,
        })?;
        Ok(Recipe { chain })
    }

    /// Returns the name of the preset or of the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.chain.files[0].name
    }

    /// Returns the TOML text of the recipe, without the recipes that it extends.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.chain.files[0].text
    }

    /// Returns the SHA-256 of the recipe's text, in hexadecimal. It identifies the recipe.
    ///
    /// The hash of a recipe that extends others covers the whole chain. It is the SHA-256 of the lines
    /// with the SHA-256 of each text, the recipe itself first, like the output of
    /// `sha256sum own.toml base.toml | cut -c -64 | sha256sum`.
    #[must_use]
    pub fn sha256(&self) -> String {
        match &self.chain.files[..] {
            [own] => source::sha256(&own.text),
            chain => {
                let lines = chain.iter().map(|file| source::sha256(&file.text) + "\n");
                source::sha256(&lines.collect::<String>())
            }
        }
    }

    /// Returns the seed that the recipe gives.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        self.chain.seed
    }

    /// Returns the plan that gives each tensor of the list its initializer, resolved to numbers.
    ///
    /// The dtype of a tensor is `dtype`. If it is `None`, the dtype is the first that is given by the
    /// rule, the recipe or the list, else f32. A tensor of whole numbers, by its rule or the list,
    /// stays one: `dtype` and the recipe's are for floats. The seed of a tensor is the seed of its rule. If the
    /// rule has none, the seed is `seed`, else the seed of the recipe.
    ///
    /// The time is proportional to the number of tensors and to the number of rules. A million tensors
    /// take seconds.
    ///
    /// # Errors
    ///
    /// [`Error::NoSeed`] if neither the caller nor the recipe gives a seed, [`Error::Unmatched`] for a
    /// tensor without a rule, and [`Error::Rule`] for a tensor that its rule cannot initialize, with
    /// the error of [`Init::resolve`] or [`Fill::check`].
    pub fn resolve(
        &self,
        list: &TensorList,
        seed: Option<u64>,
        dtype: Option<DType>,
    ) -> Result<Plan> {
        self.resolve_with_layouts(list, seed, dtype, &|_| Layout::default())
    }

    /// Returns the same plan as [`resolve`](Recipe::resolve), but `layout_of` gives the layout of a
    /// tensor if neither its rule nor the recipe does. It is for callers that know more than names,
    /// such as the types of layers.
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
    /// The errors of [`resolve`](Recipe::resolve).
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

    /// Returns the entry of a tensor.
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
        // The tensor that defines the weights, and its rule: the tensor itself unless it is tied.
        let (source, source_index, template, tied_to) = match &rule.assignment {
            Assignment::Init(template) => (listed, index, template, None),
            Assignment::TiedTo(name) => {
                let (source, index, template) = context.tied(listed, name).map_err(at_rule)?;
                (source, index, template, Some(name.clone()))
            }
        };
        let source_rule = &self.chain.rules[source_index];
        let mut tensor = context.tensor(listed, source_rule);
        if tied_to.is_some() {
            tensor = tensor.with_stream_id(stream_id(&source.name));
        }
        let init = match context.init(template, source_rule, source) {
            Ok(init) => init,
            // An empty tensor has no elements, so a missing number does not matter.
            Err(_) if source.shape.elements() == 0 => Init::zeros(),
            Err(error) => return Err(self.at_rule(error.named(&source.name), source_index)),
        };
        let fill = Fill::new(&tensor, &init, source_rule.seed.unwrap_or(seed))
            .map_err(|error| self.at_rule(error, source_index))?;
        let fans = if init.fan_mode().is_some() || template.uses_fans() {
            // Only the fans of an empty tensor can fail here. It needs none.
            Fans::of(&tensor).ok()
        } else {
            None
        };
        let dtype = DType::chosen(dtype, rule.dtype, self.chain.dtype, listed.dtype);
        let fill = fill.with_dtype(dtype);
        fill.check()
            .map_err(|error| self.at_rule(error, source_index))?;
        Ok(PlanEntry {
            fill,
            init,
            rule: index,
            seed_is_pinned: source_rule.seed.is_some(),
            fans,
            tied_to,
        })
    }

    /// Returns the same error with the position of a rule.
    fn at_rule(&self, error: Error, rule: usize) -> Error {
        let place = &self.chain.places[rule];
        Error::Rule {
            recipe: self.chain.files[place.file].name.clone(),
            position: place.assignment,
            fault: Box::new(error),
        }
    }

    fn plan_rules(&self) -> Vec<PlanRule> {
        self.chain
            .places
            .iter()
            .map(|place| PlanRule {
                recipe: self.chain.files[place.file].name.clone(),
                line: place.rule.0,
                column: place.rule.1,
            })
            .collect()
    }
}
