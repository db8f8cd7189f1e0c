//! One rule of a recipe: the condition that selects tensors, and their initializer.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::template::Template;
use crate::tensor::{DType, FanAxes, Layout};

/// The longest glob: far beyond any sensible one.
const MAX_GLOB: usize = 4096;
/// Braces of a glob that may stand within each other: globset goes down into them by recursion.
const MAX_BRACES: usize = 16;

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

/// The globs of a rule as text: compiled once it is known that there are not too many.
#[derive(Clone, Debug)]
pub(crate) struct GlobTexts(pub Vec<String>);

/// One glob or several, of which one must match the whole name.
#[derive(Clone, Debug)]
pub(crate) struct Globs(GlobSet);

impl Globs {
    /// # Errors
    ///
    /// Which one is no glob, or why they cannot be used.
    pub fn new(texts: &[String]) -> Result<Self, String> {
        let mut set = GlobSetBuilder::new();
        for text in texts {
            set.add(glob(text)?);
        }
        // What is sound glob by glob may still be too much to compile.
        let set = set.build();
        set.map(Globs)
            .map_err(|error| format!("cannot be used: {}", error.kind()))
    }

    /// Whether the text is a glob.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub fn check(text: &str) -> Result<(), String> {
        glob(text).map(drop)
    }

    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// A glob in which `*` crosses every separator: names of tensors are no paths.
fn glob(text: &str) -> Result<globset::Glob, String> {
    if text.len() > MAX_GLOB {
        return Err(format!(
            "cannot be used: a glob of {} bytes, where at most {MAX_GLOB} are read",
            text.len()
        ));
    }
    let (mut depth, mut escaped) = (0usize, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_BRACES {
            return Err(format!(
                "cannot be used: a glob with more than {MAX_BRACES} braces within each other"
            ));
        }
    }
    let glob = GlobBuilder::new(text)
        .literal_separator(false)
        .backslash_escape(true)
        .build();
    glob.map_err(|error| format!("{text:?} is not a glob: {}", error.kind()))
}

impl<'de> Deserialize<'de> for GlobTexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = GlobTexts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a glob, or a list of at least one glob")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<GlobTexts, E> {
                Ok(GlobTexts(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<GlobTexts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    texts.push(text);
                }
                if texts.is_empty() {
                    return Err(A::Error::invalid_length(0, &self));
                }
                Ok(GlobTexts(texts))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

#[cfg(test)]
mod tests {
    use super::Globs;

    fn globs(text: &str) -> Result<Globs, String> {
        Globs::new(&[text.to_owned()])
    }

    #[test]
    fn globs_match_whole_names_across_separators() {
        for (glob, name, matches) in [
            ("*.weight", "a.b/c.weight", true),
            ("*.weight", ".weight", true),
            ("*.weight", "weight", false),
            ("*.weight", "a.weight.x", false),
            ("*weight", "weight", true),
            ("*.weight", "a/b.weight/", false),
            ("h.*.w", "h.1/2.3.w", true),
            ("*", "", true),
            ("*", "a/b.", true),
            ("*.", "a.", true),
            ("a/*", "a/", true),
            ("**/w", "a/b/w", true),
            ("h.?.w", "h.1.w", true),
            ("h.[0-3].w", "h.4.w", false),
            ("{a,b}.w", "b.w", true),
            ("a", "A", false),
        ] {
            assert_eq!(globs(glob).unwrap().matches(name), matches, "{glob} {name}");
        }
    }

    #[test]
    fn a_glob_too_large_to_compile_is_refused() {
        let error = globs(&"?".repeat(500_000)).unwrap_err();
        assert!(error.contains("cannot be used"), "{error:.300}");
    }

    #[test]
    fn globs_that_would_exhaust_the_stack_are_refused() {
        for text in [
            "{".repeat(2000),
            format!("{}a{}", "{".repeat(17), "}".repeat(17)),
        ] {
            let error = globs(&text).unwrap_err();
            assert!(error.contains("braces within each other"), "{error:.300}");
        }
        let deepest = format!("{}a{}", "{".repeat(16), "}".repeat(16));
        assert!(globs(&deepest).unwrap().matches("a"));
        assert!(globs(&"\\{".repeat(100)).unwrap().matches(&"{".repeat(100)));
    }

    /// No backtracking: what would take 2^20 steps elsewhere is done at once.
    #[test]
    fn many_stars_match_in_linear_time() {
        let glob = globs(&"*a".repeat(1000)).unwrap();
        assert!(!glob.matches(&format!("{}b", "a".repeat(20_000))));
        assert!(glob.matches(&"a".repeat(20_000)));
    }
}
