//! One rule of a recipe, as its file has it.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::init::Init;
use crate::tensor::{DType, Layout};

/// `[[rule]]`: the tensors it speaks of, and what they get.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    #[serde(rename = "match")]
    pub globs: Globs,
    pub rank: Option<usize>,
    pub sibling_rank: Option<usize>,
    #[serde(deserialize_with = "from_text")]
    pub init: Init,
    pub dtype: Option<DType>,
    pub layout: Option<Layout>,
    pub groups: Option<u64>,
}

/// One glob or several, of which one must match the whole name.
#[derive(Clone, Debug)]
pub(super) struct Globs(GlobSet);

impl Globs {
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

/// Anything that reads itself from text.
fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
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
