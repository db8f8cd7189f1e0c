//! Reading recipes: one file, and what it extends.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::Spanned;

use super::presets;
use super::rule::{Rule, Written};
use crate::error::{Error, Result};
use crate::read::{Places, read_text};
use crate::tensor::{DType, Layout};
use crate::text::{excerpt, shown};

/// The most bytes that a recipe file may have: far beyond any sensible one.
const MAX_BYTES: u64 = 4 << 20;
/// The most globs of a recipe and what it extends: each may be held against each tensor's name.
const MAX_GLOBS: usize = 10_000;
/// Recipes of a chain, the first one included.
const MAX_CHAIN: usize = 8;

/// A recipe as its file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    seed: Option<u64>,
    dtype: Option<DType>,
    layout: Option<Layout>,
    extends: Option<Spanned<String>>,
    #[serde(default)]
    rule: Vec<Spanned<Written>>,
}

/// A recipe's text, what messages call it, and where it lies if it is a file.
pub(super) struct Source {
    pub name: String,
    pub text: String,
    pub path: Option<PathBuf>,
}

impl Source {
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::Format`], as [`Recipe::load`](super::Recipe::load) says.
    pub fn read(path: &Path) -> Result<Self> {
        let (text, name) = read_text(path, MAX_BYTES, "a recipe is TOML")?;
        Ok(Source {
            name,
            text,
            path: Some(path.to_owned()),
        })
    }

    fn refused(&self, byte: Option<usize>, reason: impl Into<String>) -> Error {
        Error::Recipe {
            recipe: self.name.clone(),
            position: byte.map(|byte| Places::new(&self.text).line_and_column(byte)),
            reason: reason.into(),
        }
    }

    fn parse(&self) -> Result<File> {
        toml::from_str(&self.text).map_err(|error| {
            let at = error.span().map(|span| span.start);
            // The parser's words for it do not tell what would do.
            if error.message().contains("recurs") {
                return self.refused(at, "nests arrays or tables too deep: 80 levels are read");
            }
            self.refused(at, excerpt(error.message()))
        })
    }

    /// What this one extends.
    fn base(&self, extends: &Spanned<String>) -> Result<Source> {
        let name = extends.get_ref();
        let at = Some(extends.span().start);
        if !name.ends_with(".toml") {
            return match presets::text(name) {
                Some(text) => Ok(Source {
                    name: name.clone(),
                    text: text.to_owned(),
                    path: None,
                }),
                None => {
                    let presets = Vec::from_iter(presets::names()).join(", ");
                    let reason = format!(
                        "extends {name:?}, which is no preset: use one of {presets}, or the path of \
                         a .toml file"
                    );
                    Err(self.refused(at, reason))
                }
            };
        }
        let Some(path) = &self.path else {
            let reason = format!(
                "extends {name:?}, but only a recipe that is a file itself can extend one: use a \
                 preset's name"
            );
            return Err(self.refused(at, reason));
        };
        if Path::new(name).has_root() || Path::new(name).is_absolute() {
            let reason = format!(
                "extends {name:?}: give the path from the folder of this file, so that both can be \
                 moved together"
            );
            return Err(self.refused(at, reason));
        }
        let path = path.parent().unwrap_or(Path::new("")).join(name);
        // To open a pipe is to wait for who writes to it.
        let metadata = fs::metadata(&path).map_err(Error::io(&path, "open"))?;
        if !metadata.is_file() {
            return Err(Error::Format {
                path: shown(&path),
                tensor: None,
                reason: format!("is no regular file: {} extends it", self.name),
            });
        }
        Source::read(&path)
    }
}

/// One file of a chain that has been read.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub name: String,
    pub text: String,
}

/// Where a rule stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The recipe of the chain, from 0.
    pub layer: usize,
    /// Line and column of the rule, from 1.
    pub rule: (usize, usize),
    /// Line and column of its `init` or `tied_to`.
    pub gives: (usize, usize),
}

/// A recipe with those that it extends, read and checked.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// The recipe itself, then the one that it extends, and so on.
    pub layers: Vec<Layer>,
    pub seed: Option<u64>,
    pub dtype: Option<DType>,
    pub layout: Option<Layout>,
    /// All rules, in the order in which they are tried.
    pub rules: Vec<Rule>,
    /// The place of each rule.
    pub places: Vec<Place>,
}

impl Chain {
    /// Reads a recipe and those that it extends. The first one's rules come first, and its seed, dtype
    /// and layout win over those of the others.
    pub fn read(source: Source) -> Result<Self> {
        let mut chain = Chain {
            layers: Vec::new(),
            seed: None,
            dtype: None,
            layout: None,
            rules: Vec::new(),
            places: Vec::new(),
        };
        let mut globs = 0;
        let mut seen = Vec::new();
        let mut next = Some(source);
        while let Some(source) = next.take() {
            // Two paths may lead to one file.
            seen.extend(
                source
                    .path
                    .as_ref()
                    .and_then(|path| fs::canonicalize(path).ok()),
            );
            let file = source.parse()?;
            chain.seed = chain.seed.or(file.seed);
            chain.dtype = chain.dtype.or(file.dtype);
            chain.layout = chain.layout.or(file.layout);

            globs += file
                .rule
                .iter()
                .map(|rule| rule.get_ref().globs.get_ref().0.len())
                .sum::<usize>();
            if globs > MAX_GLOBS {
                let reason = format!(
                    "has {globs} globs, with what it extends: at most {MAX_GLOBS} are read"
                );
                return Err(source.refused(None, reason));
            }
            let mut places = Places::new(&source.text);
            for rule in file.rule {
                let start = rule.span().start;
                let (rule, gives) = rule
                    .into_inner()
                    .rule(start)
                    .map_err(|(byte, reason)| source.refused(Some(byte), reason))?;
                chain.rules.push(rule);
                chain.places.push(Place {
                    layer: chain.layers.len(),
                    rule: places.line_and_column(start),
                    gives: places.line_and_column(gives),
                });
            }
            if let Some(extends) = &file.extends {
                let at = Some(extends.span().start);
                if chain.layers.len() + 1 == MAX_CHAIN {
                    let reason = format!(
                        "is the last of {MAX_CHAIN} recipes that extend each other: more are not read"
                    );
                    return Err(source.refused(at, reason));
                }
                let base = source.base(extends)?;
                let canonical = base
                    .path
                    .as_ref()
                    .and_then(|path| fs::canonicalize(path).ok());
                if canonical.is_some_and(|path| seen.contains(&path)) {
                    let name = extends.get_ref();
                    let reason = format!(
                        "extends {name:?}, which extends this one in turn: one of them must stop"
                    );
                    return Err(source.refused(at, reason));
                }
                next = Some(base);
            } else if chain.rules.is_empty() {
                return Err(source.refused(None, "has no [[rule]]: it needs at least one"));
            }
            chain.layers.push(Layer {
                name: source.name,
                text: source.text,
            });
        }
        Ok(chain)
    }
}

/// The SHA-256 of a text, in hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
