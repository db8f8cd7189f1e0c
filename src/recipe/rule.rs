//! One rule of a recipe, as its file has it.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};
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
pub(super) struct Globs(Vec<GlobMatcher>);

impl Globs {
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|glob| glob.is_match(name))
    }
}

/// A glob in which `*` crosses every separator: names of tensors are no paths.
fn glob<E: serde::de::Error>(text: &str) -> Result<GlobMatcher, E> {
    GlobBuilder::new(text)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| E::custom(format!("{text:?} is not a glob: {}", error.kind())))
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
                Ok(Globs(vec![glob(text)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Globs, A::Error> {
                let mut globs = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    globs.push(glob(&text)?);
                }
                if globs.is_empty() {
                    return Err(A::Error::invalid_length(0, &self));
                }
                Ok(Globs(globs))
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
