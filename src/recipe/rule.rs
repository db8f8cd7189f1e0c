//! One rule of a recipe, as its file has it.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::expression::Template;
use crate::tensor::{DType, FanAxes, Layout};

/// `[[rule]]`: the tensors it speaks of, and what they get.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    #[serde(rename = "match")]
    pub globs: Globs,
    pub rank: Option<usize>,
    pub sibling_rank: Option<usize>,
    pub init: Template,
    pub dtype: Option<DType>,
    pub layout: Option<Layout>,
    pub groups: Option<u64>,
    pub in_axis: Option<Axes>,
    pub out_axis: Option<Axes>,
    pub batch_axis: Option<Axes>,
}

/// One axis or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Axes {
    One(i64),
    Many(Vec<i64>),
}

impl Rule {
    /// The axes that the rule names: JAX' defaults are -2, -1 and none.
    pub fn fan_axes(&self) -> Option<FanAxes> {
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

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Template::parse(&text).map_err(D::Error::custom)
    }
}

/// One glob or several, of which one must match the whole name.
#[derive(Clone, Debug)]
pub(crate) struct Globs(GlobSet);

impl Globs {
    /// A single glob, as an expression has it.
    pub fn one(text: &str) -> Result<Self, String> {
        Globs::new::<serde::de::value::Error>(&[text.to_owned()]).map_err(|error| error.to_string())
    }

    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }

    /// Globs in which `*` crosses every separator: names of tensors are no paths.
    fn new<E: serde::de::Error>(texts: &[String]) -> Result<Self, E> {
        let mut set = GlobSetBuilder::new();
        for text in texts {
            let glob = GlobBuilder::new(text)
                .literal_separator(false)
                .backslash_escape(true)
                .build();
            set.add(
                glob.map_err(|error| {
                    E::custom(format!("{text:?} is not a glob: {}", error.kind()))
                })?,
            );
        }
        // What is sound glob by glob may still be too much to compile.
        let set = set.build();
        set.map(Globs)
            .map_err(|error| E::custom(format!("cannot be used: {}", error.kind())))
    }
}

impl<'de> Deserialize<'de> for Globs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Globs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a glob, or a list of at least one glob")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Globs, E> {
                Globs::new(&[text.to_owned()])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Globs, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    texts.push(text);
                }
                if texts.is_empty() {
                    return Err(A::Error::invalid_length(0, &self));
                }
                Globs::new(&texts)
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

#[cfg(test)]
mod tests {
    use super::Globs;

    fn globs(text: &str) -> Result<Globs, serde::de::value::Error> {
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
        let error = globs(&"?".repeat(500_000)).unwrap_err().to_string();
        assert!(error.contains("cannot be used"), "{error:.300}");
    }
}
