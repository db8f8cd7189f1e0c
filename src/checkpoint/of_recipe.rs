//! Files and recipes: the metadata that names a recipe, and the fills that stored weights are compared
//! with.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::file_names::SINGLE;
use super::sources::Sources;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::kernel::STREAM_VERSION;
use crate::recipe::{Plan, Recipe};
use crate::tensor::Slice;
use crate::text::{quoted, shown};

/// Returns the metadata of the files of a model: the versions, the seed, and the recipe's name and hash.
///
/// It holds only what determines the bits, so it has no time, place or backend, and equal requests give
/// equal files. `fanin init` writes it.
///
/// ```
/// use fanin::{Recipe, checkpoint};
///
/// let metadata = checkpoint::recipe_metadata(&Recipe::preset("gpt2")?, 42);
/// assert!(metadata.contains(&("recipe", "gpt2".to_owned())));
/// # Ok::<(), fanin::Error>(())
/// ```
#[must_use]
pub fn recipe_metadata(recipe: &Recipe, seed: u64) -> Vec<(&'static str, String)> {
    vec![
        ("format", "pt".to_owned()),
        ("fanin", env!("CARGO_PKG_VERSION").to_owned()),
        ("stream", STREAM_VERSION.to_string()),
        ("seed", seed.to_string()),
        ("recipe", recipe.name().to_owned()),
        ("recipe_sha256", recipe.sha256()),
    ]
}

/// Returns the recipe that the metadata of weights name: a preset, or a recipe file in one of `folders`
/// with the hash that the metadata give. The metadata are untrusted: nothing but the name of a file in
/// these folders is taken from them, and what is returned has the hash.
///
/// # Errors
///
/// [`Error::Unknown`] if the metadata name no recipe, or one that is not here with this hash, and the
/// errors of [`Recipe::load`].
pub fn recipe_of(weights: &Weights, folders: &[&Path]) -> Result<Recipe> {
    let unknown = |value: &str, accepted: String| Error::Unknown {
        kind: "recipe",
        value: value.to_owned(),
        accepted: format!("{accepted}; give the recipe"),
    };
    let (name, hash) = (
        weights.metadata("recipe"),
        weights.metadata("recipe_sha256"),
    );
    let (Some(name), Some(hash)) = (name, hash) else {
        return Err(unknown("", "the file's metadata name none".to_owned()));
    };
    let is_file_name = Path::new(name).file_name() == Some(OsStr::new(name));
    let mut other = None;
    if !name.ends_with(".toml") {
        match Recipe::preset(name) {
            Ok(preset) if preset.sha256() == hash => return Ok(preset),
            Ok(_) => other = Some("the preset of this version".to_owned()),
            Err(_) => {}
        }
    } else if is_file_name {
        for path in folders.iter().map(|folder| folder.join(name)) {
            if path.is_file() {
                let recipe = Recipe::load(&path)?;
                if recipe.sha256() == hash {
                    return Ok(recipe);
                }
                other = Some(shown(&path));
            }
        }
    }
    let found = match other {
        Some(other) => format!("{other} has another hash than the file's metadata say"),
        None => "the file's metadata name it, but it is not here".to_owned(),
    };
    Err(unknown(name, found))
}

/// Returns a message for each key of [`recipe_metadata`] that the files of weights have with another
/// value. Metadata proves nothing, but may explain differing weights.
#[must_use]
pub fn metadata_differences(weights: &Weights, recipe: &Recipe, seed: u64) -> Vec<String> {
    let compared = ["seed", "recipe", "recipe_sha256", "stream"];
    let given = recipe_metadata(recipe, seed);
    let messages = compared.into_iter().filter_map(|key| {
        let (_, given) = given.iter().find(|(known, _)| *known == key)?;
        let value = weights.metadata(key).filter(|value| value != given)?;
        Some(format!(
            "its metadata has {key} {}, not {}",
            quoted(value),
            quoted(given)
        ))
    });
    messages.collect()
}

/// The fills of a plan that stored weights are compared with, for
/// [`verify_some`](super::verify_some) and [`diff_some`](super::diff_some).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Compared {
    /// The fills. Kept tensors whose files are known have the dtypes of these files.
    pub fills: Vec<Fill>,
    /// The files of the fills that are kept.
    pub sources: Sources,
    /// The names of the tensors that the recipe skips.
    pub skipped: Vec<String>,
}

impl Compared {
    /// Finds the files of kept tensors. Without `list`, the source of the list of tensors, those that
    /// are kept from there have none.
    ///
    /// # Errors
    ///
    /// The errors of [`Sources::of_plan`] and [`Sources::apply`].
    pub fn new(plan: Plan, list: Option<&Path>) -> Result<Self> {
        let sources = Sources::of_plan(&plan, list)?;
        let skipped = plan.skipped.iter().map(|tensor| tensor.name.clone());
        let skipped = skipped.collect();
        let mut fills = plan.into_fills();
        sources.apply(fills.iter_mut().filter(|fill| sources.has(fill)))?;
        Ok(Compared {
            fills,
            sources,
            skipped,
        })
    }

    /// Narrows the fills to the slice that weights hold of each tensor by their metadata, if these do
    /// not give the shapes of the whole tensors ([`Weights::slice_of_unknown`]). Fills of other tensors
    /// are left out then.
    ///
    /// The metadata need not be trusted: at another slice, the bits differ.
    ///
    /// # Errors
    ///
    /// [`Error::Slice`](crate::Error::Slice), naming the tensor, for a slice that a tensor does not have.
    pub fn narrowed_to(mut self, weights: &Weights) -> Result<Self> {
        let Some(slice) = weights.slice_of_unknown() else {
            return Ok(self);
        };
        let held = self.fills.into_iter();
        let held = held.filter(|fill| weights.get(fill.name()).is_some());
        let narrowed = held.map(|fill| {
            let slice =
                Slice::parse(slice, fill.shape()).map_err(|error| error.named(fill.name()))?;
            fill.slice(slice)
        });
        self.fills = narrowed.collect::<Result<_>>()?;
        Ok(self)
    }
}

impl Sources {
    /// Returns a file from which tensors are kept that is `out`, or lies in the folder `out`. A model
    /// cannot be written there: the file would be written while it is read.
    #[must_use]
    pub fn read_in(&self, out: &Path) -> Option<PathBuf> {
        // A path that does not exist yet is none of them.
        let out = out.canonicalize().ok()?;
        self.find_read(None, |file| file == out || file.parent() == Some(&out))
    }

    /// Returns true if a file that is read, from which tensors are kept or `list` comes, is `out`.
    #[must_use]
    pub fn reads(&self, list: &Path, out: &Path) -> bool {
        let out = out.canonicalize();
        out.is_ok_and(|out| self.find_read(Some(list), |file| file == out).is_some())
    }

    /// Returns the first file that is read, from which tensors are kept or `list` comes, for whose path
    /// without links this is true.
    fn find_read(&self, list: Option<&Path>, is_it: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        let weights = list.and_then(|list| Weights::open(list).ok());
        let of_list = weights.iter().flat_map(Weights::paths);
        let mut files = self.files().chain(of_list);
        files.find(|file| file.canonicalize().is_ok_and(|file| is_it(&file)))
    }

    /// Returns a file that is read, from which tensors are kept or `list` comes, and that
    /// [`Writer::with_overwrite`](super::Writer::with_overwrite) could replace or remove. `out` is a
    /// file or a folder. A file that readers take for the model of its folder counts as a folder.
    #[must_use]
    pub fn read_beside(&self, list: Option<&Path>, out: &Path) -> Option<PathBuf> {
        let is_alone = !out.is_dir() && out.file_name() != Some(OsStr::new(SINGLE));
        let folder = match out.is_dir() {
            true => out,
            false => out
                .parent()
                .filter(|parent| *parent != Path::new(""))
                .unwrap_or(Path::new(".")),
        };
        let replaced = if is_alone { out } else { folder }.canonicalize().ok()?;
        self.find_read(list, |file| match is_alone {
            true => file == replaced,
            false => file.parent() == Some(&replaced),
        })
    }
}
