//! One rule of a recipe: the condition that selects tensors, and their initializer.

use serde::Deserialize;
use toml::Spanned;

use super::glob::{GlobTexts, Globs};
use super::template::Template;
use crate::tensor::{DType, FanAxes, Layout};

/// The keys of a `[[rule]]` as the file has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    #[serde(rename = "match")]
    pub globs: Spanned<GlobTexts>,
    rank: Option<usize>,
    sibling_rank: Option<usize>,
    init: Option<Spanned<Template>>,
    tied_to: Option<Spanned<String>>,
    seed: Option<u64>,
    dtype: Option<DType>,
    layout: Option<Layout>,
    groups: Option<u64>,
    in_axis: Option<Axes>,
    out_axis: Option<Axes>,
    batch_axis: Option<Axes>,
}

/// A checked rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub globs: Globs,
    pub rank: Option<usize>,
    pub sibling_rank: Option<usize>,
    pub assignment: Assignment,
    pub seed: Option<u64>,
    pub dtype: Option<DType>,
    pub layout: Option<Layout>,
    pub groups: Option<u64>,
    pub fan_axes: Option<FanAxes>,
}

/// The weights that a rule assigns to its tensors.
#[derive(Clone, Debug)]
pub(super) enum Assignment {
    /// Weights of an initializer.
    Init(Template),
    /// The weights of the tensor of this name.
    TiedTo(String),
}

/// One axis or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Axes {
    One(i64),
    Many(Vec<i64>),
}

impl RawRule {
    /// Returns the rule, and the byte offset of its `init` or `tied_to` in the file. `start` is the
    /// offset of the rule itself.
    ///
    /// # Errors
    ///
    /// A byte offset and a message.
    pub fn rule(self, start: usize) -> Result<(Rule, usize), (usize, String)> {
        let fan_axes = self.fan_axes();
        let (assignment, at) = match (self.init, self.tied_to) {
            (Some(init), None) => {
                let at = init.span().start;
                (Assignment::Init(init.into_inner()), at)
            }
            (None, Some(name)) => {
                let at = name.span().start;
                // A tied tensor has the stream, seed and fans of the other one.
                let taken = [
                    ("seed", self.seed.is_some()),
                    ("layout", self.layout.is_some()),
                    ("groups", self.groups.is_some()),
                    ("in_axis, out_axis or batch_axis", fan_axes.is_some()),
                ];
                if let Some((key, _)) = taken.iter().find(|(_, given)| *given) {
                    let reason = format!(
                        "tied_to takes {key} from the tensor that it names: leave it out here"
                    );
                    return Err((at, reason));
                }
                (Assignment::TiedTo(name.into_inner()), at)
            }
            (Some(_), Some(name)) => {
                let reason = "has both init and tied_to: use only one of them".to_owned();
                return Err((name.span().start, reason));
            }
            (None, None) => {
                let reason = "missing field `init`, or `tied_to` in its place".to_owned();
                return Err((start, reason));
            }
        };
        let match_at = self.globs.span().start;
        let globs = Globs::new(&self.globs.into_inner().0).map_err(|reason| (match_at, reason))?;
        let rule = Rule {
            globs,
            rank: self.rank,
            sibling_rank: self.sibling_rank,
            assignment,
            seed: self.seed,
            dtype: self.dtype,
            layout: self.layout,
            groups: self.groups,
            fan_axes,
        };
        Ok((rule, at))
    }

    /// Returns the axes, if the rule names any. The defaults are those of
    /// `jax.nn.initializers.variance_scaling`: -2, -1 and none.
    fn fan_axes(&self) -> Option<FanAxes> {
        if self.in_axis.is_none() && self.out_axis.is_none() && self.batch_axis.is_none() {
            return None;
        }
        let list = |axes: &Option<Axes>, default: &[i64]| match axes {
            None => default.to_vec(),
            Some(Axes::One(axis)) => vec![*axis],
            Some(Axes::Many(axes)) => axes.clone(),
        };
        Some(FanAxes {
            inputs: list(&self.in_axis, &[-2]),
            outputs: list(&self.out_axis, &[-1]),
            batch: list(&self.batch_axis, &[]),
        })
    }
}
