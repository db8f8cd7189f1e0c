//! One rule of a recipe: the condition that selects tensors, and the weights that it gives them.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::glob::{GlobTexts, Globs};
use super::names::Names;
use super::slice::SliceTemplate;
use super::template::Template;
use super::values::Values;
use crate::tensor::{DType, FanAxes, Layout, Tensor};

/// The keys of a `[[rule]]` as the file has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    #[serde(rename = "match")]
    pub globs: Spanned<GlobTexts>,
    rank: Option<usize>,
    sibling_rank: Option<usize>,
    bias_rank: Option<usize>,
    with: Option<Spanned<GlobTexts>>,
    without: Option<Spanned<GlobTexts>>,
    init: Option<Spanned<Template>>,
    tied_to: Option<Spanned<Names>>,
    same_as: Option<Spanned<Names>>,
    values: Option<Spanned<Values>>,
    keep: Option<Spanned<RawKeep>>,
    skip: Option<Spanned<bool>>,
    parts: Option<Spanned<Vec<RawPart>>>,
    seed: Option<u64>,
    dtype: Option<DType>,
    layout: Option<Layout>,
    groups: Option<u64>,
    in_axis: Option<Axes>,
    out_axis: Option<Axes>,
    batch_axis: Option<Axes>,
}

/// The keys of one of a rule's `parts` as the file has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPart {
    slice: Spanned<SliceTemplate>,
    init: Option<Spanned<Template>>,
    values: Option<Spanned<Values>>,
    layout: Option<Layout>,
    groups: Option<u64>,
    in_axis: Option<Axes>,
    out_axis: Option<Axes>,
    batch_axis: Option<Axes>,
}

/// `keep = true`, or `keep = "buffers.safetensors"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum RawKeep {
    Source(bool),
    File(String),
}

/// A checked rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub globs: Globs,
    /// The globs as text.
    pub texts: Vec<String>,
    pub rank: Option<usize>,
    pub sibling_rank: Option<usize>,
    pub bias_rank: Option<usize>,
    /// The list must have a tensor that matches these globs.
    pub with: Option<Globs>,
    /// The list must have no tensor that matches these globs.
    pub without: Option<Globs>,
    pub assignment: Assignment,
    pub parts: Vec<RulePart>,
    pub seed: Option<u64>,
    pub dtype: Option<DType>,
    pub fans: FanKeys,
}

/// The weights that a rule assigns to its tensors.
#[derive(Clone, Debug)]
pub(super) enum Assignment {
    /// Weights of an initializer.
    Init(Template),
    /// The weights of another tensor.
    Other {
        names: Names,
        /// True if the framework stores one tensor under both names.
        tied: bool,
    },
    /// Numbers of the recipe.
    Values(Values),
    /// The parts cover the whole tensor.
    Parts,
    /// The tensor of the same name of a file: the list's own, or the one with this name beside the
    /// recipe.
    Keep(Option<PathBuf>),
    /// The tensor is left out.
    Skip,
}

/// One of a rule's `parts`.
#[derive(Clone, Debug)]
pub(super) struct RulePart {
    /// The position in the file, in bytes.
    pub at: usize,
    pub slice: SliceTemplate,
    pub content: PartContent,
    pub fans: FanKeys,
}

/// The weights of a part.
#[derive(Clone, Debug)]
pub(super) enum PartContent {
    Init(Template),
    Values(Values),
}

/// The keys that fans depend on.
#[derive(Clone, Debug, Default)]
pub(super) struct FanKeys {
    pub layout: Option<Layout>,
    pub groups: Option<u64>,
    pub axes: Option<FanAxes>,
}

impl FanKeys {
    /// Returns the tensor with the keys that are given.
    pub fn of(&self, mut tensor: Tensor) -> Tensor {
        if let Some(layout) = self.layout {
            tensor = tensor.with_layout(layout);
        }
        if let Some(groups) = self.groups {
            tensor = tensor.with_groups(groups);
        }
        match &self.axes {
            Some(axes) => tensor.with_fan_axes(axes.clone()),
            None => tensor,
        }
    }

    /// Returns the name of a key that is given.
    fn given(&self) -> Option<&'static str> {
        let keys = [
            ("layout", self.layout.is_some()),
            ("groups", self.groups.is_some()),
            ("in_axis, out_axis or batch_axis", self.axes.is_some()),
        ];
        keys.iter().find(|(_, given)| *given).map(|(key, _)| *key)
    }
}

/// One axis or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Axes {
    One(i64),
    Many(Vec<i64>),
}

/// The most parts of a rule. Each run of elements may be compared with each part, so the limit bounds the
/// time for an untrusted recipe.
const MAX_PARTS: usize = 1024;

/// The position of a fault, in bytes, and a message.
type Fault = (usize, String);

impl RawRule {
    /// Returns the rule, and the byte offset of its assignment (`init`, `tied_to`, ...) in the file.
    /// `start` is the offset of the rule itself.
    ///
    /// # Errors
    ///
    /// A byte offset and a message.
    pub fn rule(self, start: usize) -> Result<(Rule, usize), Fault> {
        let fans = FanKeys {
            layout: self.layout,
            groups: self.groups,
            axes: fan_axes(&self.in_axis, &self.out_axis, &self.batch_axis),
        };
        let seed = self.seed.map(|_| "seed");
        let dtype = self.dtype.map(|_| "dtype");
        let match_at = self.globs.span().start;
        let texts = self.globs.into_inner().0;
        let globs = Globs::new(&texts).map_err(|reason| (match_at, reason))?;

        // The assignments that the rule has, each with its key.
        let mut given: Vec<(&str, usize, Assignment)> = Vec::new();
        if let Some(init) = self.init {
            let at = init.span().start;
            given.push(("init", at, Assignment::Init(init.into_inner())));
        }
        for (key, names, tied) in [
            ("tied_to", self.tied_to, true),
            ("same_as", self.same_as, false),
        ] {
            let Some(names) = names else { continue };
            let at = names.span().start;
            let names = names.into_inner();
            names
                .check(&texts)
                .map_err(|reason| (at, format!("{key} {reason}")))?;
            // The tensor has the stream, seed and fans of the other one.
            if let Some(taken) = seed.or(fans.given()) {
                let reason =
                    format!("{key} takes {taken} from the tensor that it names: leave it out here");
                return Err((at, reason));
            }
            given.push((key, at, Assignment::Other { names, tied }));
        }
        if let Some(values) = self.values {
            let at = values.span().start;
            given.push(("values", at, Assignment::Values(values.into_inner())));
        }
        if let Some(keep) = self.keep {
            let at = keep.span().start;
            let from = match keep.into_inner() {
                RawKeep::Source(true) => None,
                RawKeep::File(name) => Some(PathBuf::from(name)),
                RawKeep::Source(false) => {
                    let reason = "keep = false has no effect: use true, the path of a .safetensors \
                                  file, or leave it out";
                    return Err((at, reason.to_owned()));
                }
            };
            given.push(("keep", at, Assignment::Keep(from)));
        }
        if let Some(skip) = self.skip {
            let at = skip.span().start;
            if !skip.into_inner() {
                let reason = "skip = false has no effect: use true, or leave it out";
                return Err((at, reason.to_owned()));
            }
            given.push(("skip", at, Assignment::Skip));
        }
        let parts_at = self.parts.as_ref().map(|parts| parts.span().start);
        let parts = self
            .parts
            .map_or_else(Vec::new, Spanned::into_inner)
            .into_iter();
        if let Some(at) = parts_at.filter(|_| parts.len() > MAX_PARTS) {
            let count = parts.len();
            return Err((
                at,
                format!("has {count} parts: at most {MAX_PARTS} are read"),
            ));
        }
        let parts: Vec<RulePart> = parts.map(RawPart::part).collect::<Result<_, _>>()?;

        let (key, at, assignment) = match (given.len(), parts_at) {
            // An empty list of parts gives no element a value, so it is the same as no list.
            (0, Some(at)) if !parts.is_empty() => ("parts", at, Assignment::Parts),
            (0, _) => {
                let reason = "missing field `init`, or `tied_to`, `same_as`, `values`, `parts`, `keep` \
                              or `skip` in its place";
                return Err((start, reason.to_owned()));
            }
            (1, _) => given.remove(0),
            _ => {
                let (second, at, _) = given[1];
                let reason = format!("has both {} and {second}: use only one of them", given[0].0);
                return Err((at, reason));
            }
        };
        let has_content = matches!(key, "init" | "parts" | "values");
        if let (Some(at), false) = (parts_at, has_content) {
            return Err((
                at,
                format!("has both {key} and parts: use only one of them"),
            ));
        }
        // Values that are not drawn and not computed from fans need none of these keys.
        let unused = match key {
            "values" => seed.or(fans.given()),
            "keep" | "skip" => seed.or(fans.given()).or(dtype),
            _ => None,
        };
        if let (Some(unused), true) = (unused, parts.is_empty()) {
            let reason = format!("{key} does not use {unused}: leave it out here");
            return Err((at, reason));
        }
        let condition = |globs: Option<Spanned<GlobTexts>>| {
            let compiled = globs.map(|globs| {
                let at = globs.span().start;
                Globs::new(&globs.into_inner().0).map_err(|reason| (at, reason))
            });
            compiled.transpose()
        };
        let rule = Rule {
            globs,
            texts,
            rank: self.rank,
            sibling_rank: self.sibling_rank,
            bias_rank: self.bias_rank,
            with: condition(self.with)?,
            without: condition(self.without)?,
            assignment,
            parts,
            seed: self.seed,
            dtype: self.dtype,
            fans,
        };
        Ok((rule, at))
    }

    /// Returns all globs, those of expressions included: each one takes memory, and time for each
    /// tensor.
    pub fn all_globs(&self) -> impl Iterator<Item = &str> {
        let conditions = [&self.with, &self.without].into_iter().flatten();
        let texts = std::iter::once(&self.globs).chain(conditions);
        let texts = texts.flat_map(|globs| globs.get_ref().iter());
        let parts = self.parts.iter().flat_map(|parts| parts.get_ref());
        let inits = parts.clone().filter_map(|part| part.init.as_ref());
        let inits = inits.chain(&self.init).map(Spanned::get_ref);
        let slices = parts.map(|part| part.slice.get_ref());
        texts
            .chain(inits.flat_map(Template::globs))
            .chain(slices.flat_map(SliceTemplate::globs))
    }
}

impl RawPart {
    fn part(self) -> Result<RulePart, Fault> {
        let at = self.slice.span().start;
        let content = match (self.init, self.values) {
            (Some(init), None) => PartContent::Init(init.into_inner()),
            (None, Some(values)) => PartContent::Values(values.into_inner()),
            (Some(_), Some(_)) => {
                let reason = "has both init and values: use only one of them";
                return Err((at, reason.to_owned()));
            }
            (None, None) => {
                let reason = "missing field `init`, or `values` in its place";
                return Err((at, reason.to_owned()));
            }
        };
        Ok(RulePart {
            at,
            slice: self.slice.into_inner(),
            content,
            fans: FanKeys {
                layout: self.layout,
                groups: self.groups,
                axes: fan_axes(&self.in_axis, &self.out_axis, &self.batch_axis),
            },
        })
    }
}

/// Returns the axes, if any is named. The defaults are those of
/// `jax.nn.initializers.variance_scaling`: -2, -1 and none.
fn fan_axes(
    inputs: &Option<Axes>,
    outputs: &Option<Axes>,
    batch: &Option<Axes>,
) -> Option<FanAxes> {
    if inputs.is_none() && outputs.is_none() && batch.is_none() {
        return None;
    }
    let list = |axes: &Option<Axes>, default: &[i64]| match axes {
        None => default.to_vec(),
        Some(Axes::One(axis)) => vec![*axis],
        Some(Axes::Many(axes)) => axes.clone(),
    };
    Some(FanAxes {
        inputs: list(inputs, &[-2]),
        outputs: list(outputs, &[-1]),
        batch: list(batch, &[]),
    })
}
