//! Reading of recipes: a file, and the recipes that it extends.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::Spanned;

use super::glob::GlobCount;
use super::presets;
use super::rule::{Assignment, RawRule, Rule};
use crate::error::{Error, Result};
use crate::read::{MAX_TOML_BYTES, Positions, format_error, open_regular, read_text};
use crate::tensor::{DType, Layout};
use crate::text::{excerpt, one_line, quoted};

/// The most recipes of a chain, the first one included.
const MAX_CHAIN: usize = 8;

/// The keys of a recipe as the file has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecipe {
    seed: Option<u64>,
    dtype: Option<DType>,
    layout: Option<Layout>,
    extends: Option<Spanned<String>>,
    tensors: Option<Spanned<String>>,
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
}

/// A recipe's text, its name in messages, and its path if it is a file.
pub(super) struct RecipeText {
    pub name: String,
    pub text: String,
    pub path: Option<PathBuf>,
    pub is_preset: bool,
}

impl RecipeText {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::Format`], as for [`Recipe::load`](super::Recipe::load).
    pub fn read(path: &Path) -> Result<Self> {
        let (text, name) = read_text(path, MAX_TOML_BYTES, "a recipe is TOML")?;
        Ok(RecipeText {
            name,
            text,
            path: Some(path.to_owned()),
            is_preset: false,
        })
    }

    /// Returns an error at a byte offset of the text, or for the whole recipe.
    fn refused(&self, byte: Option<usize>, reason: impl Into<String>) -> Error {
        Error::Recipe {
            recipe: self.name.clone(),
            position: byte.map(|byte| Positions::new(&self.text).line_and_column(byte)),
            reason: reason.into(),
        }
    }

    /// Reads the TOML.
    fn parse(&self) -> Result<RawRecipe> {
        toml::from_str(&self.text).map_err(|error| {
            let at = error.span().map(|span| span.start);
            // The parser's own message does not name the limit, which is 80 in the crate `toml`.
            if error.message().contains("recurs") {
                return self.refused(at, "nests arrays or tables too deep: 80 levels are read");
            }
            self.refused(at, one_line(error.message()))
        })
    }

    /// Returns the recipe that this one extends.
    fn base(&self, extends: &Spanned<String>) -> Result<RecipeText> {
        let name = extends.get_ref();
        let at = Some(extends.span().start);
        if !name.ends_with(".toml") {
            return match presets::text(name) {
                Some(text) => Ok(RecipeText {
                    name: name.clone(),
                    text: text.to_owned(),
                    path: None,
                    is_preset: true,
                }),
                None => {
                    let reason = format!(
                        "extends {}, which is not a preset: {}, or the path of a .toml file",
                        quoted(name),
                        presets::accepted(name)
                    );
                    Err(self.refused(at, reason))
                }
            };
        }
        if self.path.is_none() {
            let reason = format!(
                "extends {}, but only a recipe that is a file itself can extend one: use a preset's \
                 name",
                quoted(name)
            );
            return Err(self.refused(at, reason));
        }
        RecipeText::read(&self.file_beside(name, extends.span().start, "extends")?)
    }

    /// Returns the path of a file that this recipe names, relative to its own folder. `verb` says what
    /// the recipe does with it.
    fn beside(&self, name: &str, byte: usize, verb: &str) -> Result<PathBuf> {
        let refused =
            |reason: String| self.refused(Some(byte), format!("{verb} {}{reason}", quoted(name)));
        let Some(path) = &self.path else {
            let reason = ", but only a recipe that is a file itself has a folder with other files";
            return Err(refused(reason.to_owned()));
        };
        // On Windows, a path such as `\x` has a root but is not absolute.
        if Path::new(name).has_root() || Path::new(name).is_absolute() {
            let reason = ": the path must be relative to the folder of this file, so that both can be \
                          moved together";
            return Err(refused(reason.to_owned()));
        }
        Ok(path.parent().unwrap_or(Path::new("")).join(name))
    }

    /// Returns the path as [`RecipeText::beside`], and checks that it leads to a regular file.
    fn file_beside(&self, name: &str, byte: usize, verb: &str) -> Result<PathBuf> {
        let path = self.beside(name, byte, verb)?;
        // `read_text` also reads pipes and waits for their writers, so a path from a recipe is checked first.
        let metadata = fs::metadata(&path).map_err(Error::io(&path, "open"))?;
        if !metadata.is_file() {
            let reason = format!("is not a regular file: {} {verb} it", excerpt(&self.name));
            return Err(format_error(&path, None, reason));
        }
        Ok(path)
    }
}

/// A recipe of a chain.
#[derive(Clone, Debug)]
pub(super) struct ChainFile {
    pub name: String,
    pub text: String,
    /// True for a recipe that comes with the crate.
    pub is_preset: bool,
}

/// The position of a rule.
#[derive(Clone, Debug)]
pub(super) struct RulePosition {
    /// The index of its recipe in the chain.
    pub file: usize,
    /// The line and column of the rule, from 1.
    pub rule: (usize, usize),
    /// The line and column of its `init`, `tied_to` and so on.
    pub assignment: (usize, usize),
    /// The line and column of each of its parts.
    pub parts: Vec<(usize, usize)>,
}

/// A recipe with the recipes that it extends, read and checked.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// The recipe itself, then the recipe that it extends, and so on.
    pub files: Vec<ChainFile>,
    pub seed: Option<u64>,
    pub dtype: Option<DType>,
    pub layout: Option<Layout>,
    /// The list of tensors.
    pub tensors: Option<PathBuf>,
    /// The files from which rules keep tensors, each with its SHA-256.
    pub kept_files: Vec<(PathBuf, String)>,
    /// The rules of the whole chain, in the order in which they are tried.
    pub rules: Vec<Rule>,
    /// The position of each rule in its file.
    pub places: Vec<RulePosition>,
}

impl Chain {
    /// Reads a recipe and the recipes that it extends. The rules of an extending recipe come before the
    /// rules of its base, and its seed, dtype, layout and tensors have
    /// precedence.
    pub fn read(source: RecipeText) -> Result<Self> {
        let mut chain = Chain {
            files: Vec::new(),
            seed: None,
            dtype: None,
            layout: None,
            tensors: None,
            kept_files: Vec::new(),
            rules: Vec::new(),
            places: Vec::new(),
        };
        let mut globs = GlobCount::default();
        let mut seen = Vec::new();
        let mut next = Some(source);
        while let Some(source) = next.take() {
            // Canonical, because different paths can name the same file.
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
            if let Some(tensors) = &file.tensors {
                // Checked also if the list of an extending recipe is taken. The reader of the list
                // reports a file that is missing.
                let path =
                    source.beside(tensors.get_ref(), tensors.span().start, "lists tensors in")?;
                chain.tensors.get_or_insert(path);
            }

            for rule in &file.rule {
                let counted = globs.add(rule.get_ref().all_globs());
                counted.map_err(|reason| source.refused(None, reason))?;
            }
            let mut places = Positions::new(&source.text);
            for rule in file.rule {
                let start = rule.span().start;
                let (mut rule, assignment) = rule
                    .into_inner()
                    .rule(start)
                    .map_err(|(byte, reason)| source.refused(Some(byte), reason))?;
                if let Assignment::Keep(Some(path)) = &mut rule.assignment {
                    let name = path.to_string_lossy();
                    // Another kind of file, such as an index, names files that the recipe's hash would
                    // not cover.
                    if !name.ends_with(".safetensors") {
                        let reason = format!(
                            "keeps tensors of {}, which is not a .safetensors file: use one, as in \
                             keep = \"buffers.safetensors\", and a rule for each of several shards",
                            quoted(&name)
                        );
                        return Err(source.refused(Some(assignment), reason));
                    }
                    *path = source.file_beside(&name, assignment, "keeps tensors of")?;
                    // Many rules can keep tensors of the same file, which may be large, so it is hashed once.
                    if !chain.kept_files.iter().any(|(known, _)| known == path) {
                        let hash = sha256_of_file(path)?;
                        chain.kept_files.push((path.clone(), hash));
                    }
                }
                let parts = rule.parts.iter().map(|part| part.at);
                chain.places.push(RulePosition {
                    file: chain.files.len(),
                    rule: places.line_and_column(start),
                    assignment: places.line_and_column(assignment),
                    parts: parts.map(|at| places.line_and_column(at)).collect(),
                });
                chain.rules.push(rule);
            }
            if let Some(extends) = &file.extends {
                let at = Some(extends.span().start);
                // This recipe is not yet in `files`, hence the + 1.
                if chain.files.len() + 1 == MAX_CHAIN {
                    let name = quoted(extends.get_ref());
                    let reason =
                        format!("extends {name}, but a chain has at most {MAX_CHAIN} recipes");
                    return Err(source.refused(at, reason));
                }
                let base = source.base(extends)?;
                let canonical = base
                    .path
                    .as_ref()
                    .and_then(|path| fs::canonicalize(path).ok());
                if canonical.is_some_and(|path| seen.contains(&path)) {
                    let name = quoted(extends.get_ref());
                    let reason = format!(
                        "extends {name}, which extends this one: remove one of the two `extends`"
                    );
                    return Err(source.refused(at, reason));
                }
                next = Some(base);
            } else if chain.rules.is_empty() {
                return Err(source.refused(None, "has no [[rule]]: it needs at least one"));
            }
            chain.files.push(ChainFile {
                name: source.name,
                text: source.text,
                is_preset: source.is_preset,
            });
        }
        Ok(chain)
    }
}

/// Returns the SHA-256 of a text, in hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    hexadecimal(&Sha256::digest(text.as_bytes()))
}

/// Returns the SHA-256 of a file's contents, in hexadecimal.
fn sha256_of_file(path: &Path) -> Result<String> {
    let mut file = open_regular(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let length = file.read(&mut piece).map_err(Error::io(path, "read"))?;
        if length == 0 {
            return Ok(hexadecimal(&hash.finalize()));
        }
        hash.update(&piece[..length]);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
