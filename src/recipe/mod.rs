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
//! tensors = "model.json" # optional: the list of the model's tensors, if the caller gives none
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
//! A rule has one of these keys:
//!
//! | key | weights |
//! |---|---|
//! | `init = "normal(std=0.02)"` | those of an initializer |
//! | `tied_to = "embed.weight"` | those of another tensor, which the framework stores once |
//! | `same_as = "layers.0.*"` | those of another tensor at the start, in a tensor of its own |
//! | `values = [0.5, 1, -1]` | these numbers in row-major order, one for each element. Nested lists have the tensor's shape |
//! | `keep = true` | the tensor of the same name of the file that the list was read from, bit for bit |
//! | `keep = "buffers.safetensors"` | the tensor of the same name of a .safetensors file. The path is relative to the folder of the recipe |
//! | `skip = true` | none: the tensor is left out |
//! | `parts = [...]` | those of the parts, which must hold every element. `init` and `values` can have parts, too |
//!
//! In a glob `*` matches any text with any dots, `?` matches one character, `[ab]` matches one of the
//! characters in brackets, and `{a,b}` matches either text. Beyond ASCII, `?` and `[ab]` match one byte
//! of a character in UTF-8. `sibling_rank = N` limits a rule to tensors `<prefix>.bias` beside a
//! `<prefix>.weight` of this rank. Rank 1 selects the biases of normalization layers. `bias_rank = N` limits
//! it to tensors beside a `<prefix>.bias` of this rank, such as the kernels of convolutions (1). `with = "*.wi_0.*"`
//! limits a rule to lists that have a tensor of such a name, and `without` to lists that have none.
//!
//! A tensor that no rule matches is an error, unless it is carried over: a tensor of whole numbers, or
//! of a dtype that cannot be made, whose list was read from a file with weights. It is copied from
//! there, bit for bit. So is one whose rule gives it an initializer for floats. A key that is not listed
//! here is an error, too.
//!
//! The seed of a rule has precedence over the caller's seed. So the tensors of the rule stay the same
//! while another seed changes the rest of the model.
//!
//! # The list of tensors
//!
//! `tensors` names the list of tensors that the recipe is for: any file or folder that
//! [`read_tensor_list`](crate::checkpoint::read_tensor_list) reads. The path is relative to the folder of
//! the recipe. [`Recipe::tensors`] returns it, and the caller reads it. The command line does so if
//! `--tensors` is not given. The hash of the recipe does not cover the contents of the list.
//!
//! # Extending a recipe
//!
//! `extends` names a preset, or a `.toml` file. The path of a file is relative to the folder of the
//! extending file: `../base.toml` is accepted, `/base.toml` is not. The rules of the extending recipe
//! are tried before the rules of the base, so they override them. Its seed, dtype, layout and
//! tensors replace those of the base. It needs no rules. A base may extend another recipe. A chain has at most 8
//! recipes, all of them different.
//!
//! # Tied weights
//!
//! A rule with `tied_to` gives its tensors the weights of the tensor that it names. This tensor must be
//! in the list, have the same shape, and not be tied itself. The tied tensors use its stream, seed and
//! initializer. They can have another dtype. `same_as` does the same for tensors that are equal at the
//! start but not tied, such as the copies of a layer by `copy.deepcopy` in `torch.nn.TransformerEncoder`.
//!
//! Both keys take a list of names, too. The first name that is in the list of tensors counts. A `*` in a
//! name stands for the text that the `*` at the same place of the rule's glob matches:
//!
//! ```toml
//! [[rule]]
//! match = "layers.[1-9].*"
//! same_as = "layers.0.*"
//! ```
//!
//! # Parts of a tensor
//!
//! `parts` gives parts of a tensor initializers of their own. Elements outside of all parts have the
//! `init` of the rule. If several parts hold an element, the first one applies.
//!
//! ```toml
//! [[rule]]                      # query, key and value in one matrix, each with its own fans
//! match = "*.in_proj_weight"
//! parts = [
//!     { slice = "0:dim(0)/3", init = "xavier_uniform" },
//!     { slice = "dim(0)/3:2*dim(0)/3", init = "xavier_uniform" },
//!     { slice = "2*dim(0)/3:", init = "xavier_uniform" },
//! ]
//!
//! [[rule]]                      # the forget gate of an LSTM starts at 1
//! match = "*.bias_ih_l*"
//! init = "zeros"
//! parts = [{ slice = "dim(0)/4:dim(0)/2", init = "ones" }]
//!
//! [[rule]]                      # rows that pad the vocabulary
//! match = "embed.weight"
//! init = "normal(std=0.02)"
//! parts = [{ slice = "50257:", init = "zeros" }]
//! ```
//!
//! A slice has a range `start:end` or an index for each dimension, as in Python. Negative numbers count
//! from the end. Dimensions that are left out are whole. Each number can be an expression. A part can
//! have `values` instead of `init`, and the keys `layout`, `groups`, `in_axis`, `out_axis` and
//! `batch_axis`. The fans of a part are those of its own shape. In its `init`, the variables `fan_in`,
//! `fan_out`, `rank` and `dim(k)` are those of the part.
//! [`Fill::with_part`](crate::Fill::with_part) describes the bits.
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
mod names;
mod plan;
mod presets;
mod rule;
mod slice;
mod source;
mod template;
mod unused;
mod values;

use std::path::Path;

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::{Distribution, Fans, Init};
use crate::read::without_bom;
use crate::tensor::{DType, Layout, ListedTensor, Tensor, TensorList};
use crate::text::excerpt;
use context::Context;
use rule::{Assignment, PartContent};
use source::{Chain, RecipeText};
use template::Template;
use values::Values;

pub(crate) use glob::{GlobCount, GlobTexts, Globs};
pub use plan::{Assigned, Plan, PlanEntry, PlanPart, PlanRule, SkippedTensor, select};
pub use unused::UnusedRule;

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
    /// | `buffers` | buffers of PyTorch checkpoints: BatchNorm, position_ids, inv_freq, causal masks; most presets extend it |
    /// | `burn` | burn's own defaults: Linear, Conv, Embedding, normalization, RNNs, attention |
    /// | `convnext` | ConvNeXt, as timm initializes it |
    /// | `flax` | Flax' own defaults, Linen and NNX: Dense, Conv, Embed, attention, recurrent cells, normalization |
    /// | `gemma` | Gemma, Gemma 2 and 3, as Hugging Face transformers initializes them |
    /// | `gpt2` | GPT-2 in every size, as Hugging Face transformers initializes it |
    /// | `kaiming` | weights Kaiming normal for ReLU, biases 0, normalization 1 |
    /// | `keras` | Keras 3's own defaults: Dense, Conv, Embedding, attention, recurrent layers, normalization |
    /// | `lecun` | weights LeCun normal, biases 0, normalization 1 |
    /// | `llama` | Llama, Mistral, Qwen, DeepSeek and similar models, as Hugging Face transformers initializes them |
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
            Some(text) => Recipe::parse(name, text, true),
            None => Err(Error::Unknown {
                kind: "preset",
                value: name.to_owned(),
                accepted: presets::accepted(name),
            }),
        }
    }

    /// Returns true for a preset.
    #[must_use]
    pub fn is_preset(&self) -> bool {
        self.chain.files[0].is_preset
    }

    /// Reads a recipe from TOML. It may extend a preset, but not a file, because it has no folder to
    /// which a path could be relative.
    ///
    /// # Errors
    ///
    /// [`Error::Recipe`] with line and column, for text that is not TOML, for unknown keys, for
    /// malformed globs and initializers, for more than 10,000 globs, and for globs of
    /// more than 512 KiB together.
    pub fn from_toml(text: &str) -> Result<Self> {
        Recipe::parse("recipe", text, false)
    }

    /// Reads a recipe from a file, and the recipes that it extends. The file's name, without folders,
    /// is the name of the recipe.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a file cannot be read. [`Error::Format`] if a file is not UTF-8 or is larger
    /// than 3 MiB, or if an extended file is not a regular file. [`Error::Recipe`] as in
    /// [`Recipe::from_toml`], and for a chain of more than 8 recipes or one with a cycle.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let chain = Chain::read(RecipeText::read(path.as_ref())?)?;
        Ok(Recipe { chain })
    }

    fn parse(name: &str, text: &str, is_preset: bool) -> Result<Self> {
        let chain = Chain::read(RecipeText {
            name: name.to_owned(),
            text: without_bom(text).to_owned(),
            path: None,
            is_preset,
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
    /// The hash of a recipe that extends others, or keeps tensors from files, covers all of them. It is
    /// the SHA-256 of the lines with the SHA-256 of each text and then of each file, the recipe itself
    /// first, like the output of
    /// `sha256sum own.toml base.toml buffers.safetensors | cut -c -64 | sha256sum`.
    #[must_use]
    pub fn sha256(&self) -> String {
        match (&self.chain.files[..], &self.chain.kept_files[..]) {
            ([own], []) => source::sha256(&own.text),
            (texts, files) => {
                let texts = texts.iter().map(|file| source::sha256(&file.text));
                let hashes = texts.chain(files.iter().map(|(_, hash)| hash.clone()));
                let lines = hashes.map(|hash| hash + "\n");
                source::sha256(&lines.collect::<String>())
            }
        }
    }

    /// Returns the seed that the recipe gives.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        self.chain.seed
    }

    /// Returns the path of the list of tensors that the recipe names with the key `tensors`. It begins
    /// with the path of the recipe's folder. It need not exist.
    ///
    /// ```
    /// use fanin::{Recipe, checkpoint};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("model.toml");
    /// # std::fs::write(folder.path().join("list.json"), r#"[{"name": "fc.weight", "shape": [8, 8]}]"#).unwrap();
    /// std::fs::write(&path, "extends = 'kaiming'\ntensors = 'list.json'").unwrap();
    /// let recipe = Recipe::load(&path)?;
    /// let list = checkpoint::read_tensor_list(recipe.tensors().expect("the key is there"))?;
    /// assert_eq!(recipe.resolve(&list, Some(42), None)?.elements(), 64);
    /// # Ok::<(), fanin::Error>(())
    /// ```
    #[must_use]
    pub fn tensors(&self) -> Option<&Path> {
        self.chain.tensors.as_deref()
    }

    /// Returns the plan that gives each tensor of the list its initializer, resolved to numbers.
    ///
    /// The dtype of a tensor is `dtype`. If it is `None`, the dtype is the first that is given by the
    /// rule, the recipe or the list, else f32. A tensor of whole numbers, by its rule or the list,
    /// stays one: `dtype` and the recipe's are for floats. The seed of a tensor is the seed of its rule.
    /// If the rule has none, the seed is `seed`, else the seed of the recipe.
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
        let tensors = list.tensors();
        let rules: Vec<Option<usize>> = tensors
            .iter()
            .map(|listed| context.rule_of(listed))
            .collect();
        let parts = rules.iter().flatten();
        let parts: usize = parts.map(|&rule| self.chain.rules[rule].parts.len()).sum();
        if parts > MAX_PLAN_PARTS {
            return Err(Error::Recipe {
                recipe: self.name().to_owned(),
                position: None,
                reason: format!(
                    "gives the tensors of the list {parts} parts: at most {MAX_PLAN_PARTS} are made"
                ),
            });
        }
        // Returns the entry of a tensor with this rule, or `None` if it is skipped.
        let made = |listed: &ListedTensor, rule: Option<usize>| match rule {
            None => Ok(Some(carried_over(listed, seed))),
            Some(rule) => match self.chain.rules[rule].assignment {
                Assignment::Skip => Ok(None),
                _ => self.entry(&context, listed, rule, seed, dtype).map(Some),
            },
        };
        let listed = || tensors.iter().zip(rules.iter().copied());
        let is_unmatched = |&(listed, rule): &(&ListedTensor, Option<usize>)| {
            rule.is_none() && !is_carried_over(list, listed)
        };
        let matched = listed().take_while(|listed| !is_unmatched(listed));
        // A list that is refused at its end must not take the memory of a plan. The entries of a long one are
        // made twice: first without keeping them.
        if tensors.len() > LONG || listed().any(|listed| is_unmatched(&listed)) {
            for (listed, rule) in matched {
                made(listed, rule)?;
            }
            let unmatched = listed().filter(is_unmatched);
            let unmatched = unmatched.map(|(listed, _)| (listed.name.as_str(), &listed.shape));
            let key = "an init, or skip = true to leave them out";
            Error::refuse_unmatched(unmatched, self.name(), key)?;
        }

        let mut plan = Plan {
            seed,
            entries: Vec::with_capacity(tensors.len()),
            skipped: Vec::new(),
            rules: self.plan_rules(),
            unused: unused::rules(&self.chain, &context, list, &rules),
        };
        for (listed, rule) in listed() {
            match made(listed, rule)? {
                Some(entry) => plan.entries.push(entry),
                None => plan.skipped.extend(rule.map(|rule| SkippedTensor {
                    name: listed.name.clone(),
                    rule,
                })),
            }
        }
        Ok(plan)
    }

    /// Returns the entry of a tensor, whose rule has this index.
    fn entry(
        &self,
        context: &Context<'_>,
        listed: &ListedTensor,
        index: usize,
        seed: u64,
        dtype: Option<DType>,
    ) -> Result<PlanEntry> {
        let rule = &self.chain.rules[index];
        let at_rule = |error: Error| self.at_rule(error.named(&listed.name), index);
        // A rule for floats may also match counters and codes, which it cannot initialize.
        let can_carry_over = rule.dtype.is_none()
            && matches!(rule.assignment, Assignment::Init(_) | Assignment::Parts)
            && is_carried_over(context.list(), listed);
        let mut entry = match &rule.assignment {
            Assignment::Other { names, tied } => {
                let other = context.other(listed, rule, names, *tied);
                let (source, source_index) = other.map_err(at_rule)?;
                // One level of recursion: `other` refuses tensors that have the weights of another one.
                let entry = self.entry(context, source, source_index, seed, dtype)?;
                if entry.fill.is_kept() {
                    let key = if *tied { "tied_to" } else { "same_as" };
                    return Err(at_rule(context::kept(key, &source.name)));
                }
                let name = Some(source.name.clone());
                let (tied_to, same_as) = if *tied { (name, None) } else { (None, name) };
                PlanEntry {
                    // The renamed fill keeps its stream, so both tensors have the same bits.
                    fill: entry.fill.renamed(&listed.name),
                    rule: Some(index),
                    tied_to,
                    same_as,
                    ..entry
                }
            }
            _ => match self.content(context, listed, index, seed) {
                Err(_) if can_carry_over => return Ok(carried_over(listed, seed)),
                content => content?,
            },
        };
        if entry.fill.is_kept() {
            // A kept tensor is copied bit for bit, so the dtype that the caller asks for does not count.
            entry.fill = entry.fill.with_dtype(listed.dtype.unwrap_or_default());
            return Ok(entry);
        }
        let dtype = DType::chosen(dtype, rule.dtype, self.chain.dtype, listed.dtype);
        entry.fill = entry.fill.with_dtype(dtype);
        match entry.fill.check() {
            Ok(()) => Ok(entry),
            Err(_) if can_carry_over => Ok(carried_over(listed, seed)),
            Err(error) => Err(self.at_rule(error, index)),
        }
    }

    /// Returns the entry of a tensor by a rule that makes weights of its own.
    fn content(
        &self,
        context: &Context<'_>,
        listed: &ListedTensor,
        index: usize,
        seed: u64,
    ) -> Result<PlanEntry> {
        let rule = &self.chain.rules[index];
        let at_rule = |error: Error| self.at_rule(error.named(&listed.name), index);
        let tensor = context.tensor(listed, rule);
        let made = match &rule.assignment {
            Assignment::Init(template) => Made::by(context, template, &tensor, listed),
            Assignment::Values(values) => Made::values(values, &tensor),
            Assignment::Keep(None) if !context.list().has_weights() => Err(Error::context(
                "keep = true",
                "needs a list that was read from a file with weights: use such a file, keep = \
                 \"FILE.safetensors\", or skip = true",
            )),
            Assignment::Keep(from) => Ok(Made {
                assigned: Assigned::Kept { from: from.clone() },
                distribution: Distribution::kept(),
                fans: None,
            }),
            // No element has this value: the parts hold all.
            _ => Ok(Made::zeros(Assigned::Parts)),
        };
        let made = made.map_err(at_rule)?;
        let seed_is_pinned = rule.seed.is_some();
        let seed = rule.seed.unwrap_or(seed);
        let mut fill = Fill::from_distribution(&tensor, made.distribution, seed);
        let mut parts = Vec::with_capacity(rule.parts.len());
        let look_up = |variable: &_| context.look_up(variable, &tensor, listed);
        for (number, part) in rule.parts.iter().enumerate() {
            let at_part = |error: Error, name: &str| self.at_part(error.named(name), index, number);
            let slice = part.slice.slice(tensor.shape(), &look_up);
            let slice = slice.map_err(|error| at_part(error, &listed.name))?;
            let whole = part.fans.of(tensor.part(&slice)?);
            let made = match &part.content {
                PartContent::Init(template) => Made::by(context, template, &whole, listed),
                PartContent::Values(values) => Made::values(values, &whole),
            };
            let made = made.map_err(|error| at_part(error, whole.name()))?;
            fill = fill.with_part_of(slice.clone(), whole, made.distribution);
            parts.push(PlanPart {
                slice,
                init: made.assigned,
                fans: made.fans,
            });
        }
        if let Assignment::Parts = rule.assignment {
            let slices = parts.iter().map(|part| &part.slice);
            slice::check_cover(tensor.shape(), slices).map_err(at_rule)?;
        }
        Ok(PlanEntry {
            fill,
            init: made.assigned,
            parts,
            rule: Some(index),
            seed_is_pinned,
            fans: made.fans,
            tied_to: None,
            same_as: None,
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

    /// Returns the same error with the position of one of a rule's parts.
    fn at_part(&self, error: Error, rule: usize, part: usize) -> Error {
        let place = &self.chain.places[rule];
        Error::Rule {
            recipe: self.chain.files[place.file].name.clone(),
            position: place.parts[part],
            fault: Box::new(error),
        }
    }

    fn plan_rules(&self) -> Vec<PlanRule> {
        self.chain
            .places
            .iter()
            .zip(&self.chain.rules)
            .map(|(place, rule)| PlanRule {
                recipe: self.chain.files[place.file].name.clone(),
                line: place.rule.0,
                column: place.rule.1,
                init: match &rule.assignment {
                    Assignment::Init(init) => Some(init.text()),
                    _ => None,
                },
            })
            .collect()
    }
}

/// The most parts of all tensors of a plan. A part takes half a kilobyte, and a rule can have a thousand, for
/// each tensor that it matches.
const MAX_PLAN_PARTS: usize = 1 << 18;

/// The most tensors of a list whose plan, at 1 kB a tensor, takes less than the 300 MB that a refused file may.
const LONG: usize = 250_000;

/// Returns true if a tensor that no rule can initialize is copied from the file of the list: one of
/// whole numbers, or of a dtype that is not made at all.
fn is_carried_over(list: &TensorList, listed: &ListedTensor) -> bool {
    list.has_weights() && listed.dtype.is_some_and(|dtype| !dtype.is_drawn())
}

/// Returns the entry of a tensor that is copied from the file of the list.
fn carried_over(listed: &ListedTensor, seed: u64) -> PlanEntry {
    let tensor = Tensor::with_shape(&listed.name, listed.shape.clone());
    let fill = Fill::from_distribution(&tensor, Distribution::kept(), seed);
    PlanEntry {
        fill: fill.with_dtype(listed.dtype.unwrap_or_default()),
        init: Assigned::Kept { from: None },
        parts: Vec::new(),
        rule: None,
        seed_is_pinned: false,
        fans: None,
        tied_to: None,
        same_as: None,
    }
}

/// The weights that a rule gives a tensor or a part of one.
struct Made {
    assigned: Assigned,
    distribution: Distribution,
    fans: Option<Fans>,
}

impl Made {
    fn zeros(assigned: Assigned) -> Self {
        Made {
            assigned,
            distribution: Distribution::zeros(),
            fans: None,
        }
    }

    /// Returns the weights of an initializer. `tensor` is the tensor of the list or a part of it.
    fn by(
        context: &Context<'_>,
        template: &Template,
        tensor: &Tensor,
        listed: &ListedTensor,
    ) -> Result<Self> {
        let init = match context.init(template, tensor, listed) {
            Ok(init) => init,
            // An empty tensor has no elements, so a missing number does not matter.
            Err(_) if tensor.shape().elements() == 0 => Init::zeros(),
            Err(error) => return Err(error),
        };
        let fans = if init.fan_mode().is_some() || template.uses_fans() {
            // Only the fans of an empty tensor can fail here. It needs none.
            Fans::of(tensor).ok()
        } else {
            None
        };
        Ok(Made {
            distribution: init.resolve(tensor)?,
            assigned: Assigned::Init(init),
            fans,
        })
    }

    /// Returns the numbers of a recipe.
    fn values(values: &Values, tensor: &Tensor) -> Result<Self> {
        let (count, elements) = (values.count(), tensor.shape().elements());
        // Dimensions of 1 may be left out.
        let longer =
            |dims: &[u64]| -> Vec<u64> { dims.iter().copied().filter(|&n| n != 1).collect() };
        if values.dims().len() > 1 && longer(values.dims()) != longer(tensor.shape().dims()) {
            return Err(Error::shape(
                tensor.shape(),
                format!(
                    "is not that of the rule's values, {}: nest them as the tensor's dimensions, or \
                     give one list",
                    excerpt(&format!("{:?}", values.dims()))
                ),
            ));
        }
        if count != elements {
            return Err(Error::shape(
                tensor.shape(),
                format!(
                    "has {elements} elements, but the rule gives {count} values: give one for each"
                ),
            ));
        }
        Ok(Made {
            assigned: Assigned::Values { count },
            distribution: Distribution::values(values.bits())?,
            fans: None,
        })
    }
}
