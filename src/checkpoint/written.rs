//! Files that fanin wrote: whether their headers and indices are still as fanin writes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::header::{self, Header};
use super::json::Pairs;
use super::metadata::Metadata;
use super::of_recipe::recipe_metadata;
use super::part_of::{FANIN, SHAPE, SLICE};
use super::shards::index_text;
use super::weights::{StoredTensor, Weights};
use crate::error::{Error, Result};
use crate::init::Init;
use crate::part::Part;
use crate::recipe::Recipe;
use crate::tensor::Shape;
use crate::text::quoted;

/// The versions of fanin that wrote the headers that this version writes.
const VERSIONS: [&str; 1] = [env!("CARGO_PKG_VERSION")];

/// The keys of metadata that only some files have.
const OTHER_KEYS: [&str; 7] = [
    "init",
    "stream_id",
    "shape",
    "slice",
    "rank",
    "ranks",
    "mesh",
];

/// The most changes by which a text is taken for a damaged one. A changed bit changes one character, or
/// joins two to an escape.
const NEAR: usize = 2;

/// Returns a message for each fault of the headers and of the index of files that fanin wrote, such as a
/// bit that was flipped. For weights that have exactly the bits of `recipe` and `seed`, it tells whether
/// the rest of the files is as fanin writes it, too.
///
/// The bytes of a header must be those that fanin writes for its tensors and its metadata. The metadata
/// must name the format, the stream and the version of fanin, and the recipe and the seed. They may name
/// another recipe or seed which gives the same weights, but not one that differs by two characters or
/// less, as by damage. Tensors that a recipe gives the same constant have no other proof of their names
/// than the list of the model's tensors: give the fills of that list to [`verify`](super::verify).
///
/// A file is taken for one of fanin's if its metadata has two or more of the keys of
/// [`recipe_metadata`]. Nothing is compared for another file, and nothing else is told about one of
/// fanin's: the text `init` of a file of `fanin fill` must be an initializer, and the name of a mesh's
/// dimension in the file of a single rank can be any.
///
/// # Errors
///
/// [`Error::Io`] and [`Error::Format`] for files that cannot be read any more.
pub fn header_faults(weights: &Weights, recipe: &Recipe, seed: u64) -> Result<Vec<String>> {
    let expected = recipe_metadata(recipe, seed);
    let mut faults = Vec::new();
    for file in weights.files() {
        let file = &*file?;
        let mut paths: Vec<&Path> = file.tensors().iter().map(StoredTensor::file).collect();
        paths.extend(Some(file.path()).filter(|path| is_safetensors(path)));
        paths.sort_unstable();
        paths.dedup();
        for path in paths {
            let (text, data_bytes) = header::read_text(path)?;
            let header = header::parse(&text, data_bytes).map_err(|fault| fault.in_file(path))?;
            faults.extend(of_header(&text, &header, file, &expected));
        }
    }
    // The folder of rank files has no index, whatever its name is.
    let is_json = weights.path().extension().is_some_and(|it| it == "json");
    if is_json && !weights.path().is_dir() {
        faults.extend(of_index(weights)?);
    }
    Ok(faults)
}

fn is_safetensors(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "safetensors")
}

/// Returns true if at least two keys are those of [`recipe_metadata`], besides `format`, which other
/// programs write. One of them may be damaged.
pub(super) fn is_of_fanin<'a>(keys: impl Iterator<Item = &'a str>) -> bool {
    let known = [FANIN, "stream", "seed", "recipe", "recipe_sha256"];
    keys.filter(|key| known.contains(key)).count() >= 2
}

/// Returns the faults of a header, given as bytes and as what they say.
fn of_header(
    text: &[u8],
    header: &Header,
    weights: &Weights,
    expected: &[(&str, String)],
) -> Vec<String> {
    let metadata = &header.metadata;
    if !is_of_fanin(metadata.iter().map(|(key, _)| key)) {
        return Vec::new();
    }
    let tensors = header.entries.iter().map(|entry| {
        let (start, end) = (entry.bytes.start, entry.bytes.end);
        header::member(&entry.name, entry.dtype, &entry.shape, start..end)
    });
    let written = header::json(metadata.iter(), tensors);
    let mut faults = Vec::new();
    if let Some(at) = first_difference(text, written.as_bytes()) {
        faults.push(format!("byte {at} of its header is not as fanin writes it"));
    }
    faults.extend(of_recipe(metadata, expected));
    faults.extend(
        metadata
            .iter()
            .filter_map(|(key, value)| of_key(key, value, weights)),
    );
    faults
}

/// Returns the faults of the metadata that name the recipe.
fn of_recipe(metadata: &Metadata, expected: &[(&str, String)]) -> Vec<String> {
    let given = |key: &str| {
        expected
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, text)| text)
    };
    let hash = "recipe_sha256";
    // Another recipe can give the same weights. Its hash has nothing in common with the given one.
    let is_other = match (metadata.get(hash), given(hash)) {
        (Some(found), Some(given)) => is_hash(found) && !is_near(found, given),
        _ => false,
    };
    let of_fill = metadata.get("init").is_some();
    let keys = expected
        .iter()
        .filter(|(key, _)| !(of_fill && key.starts_with("recipe")));
    let faults = keys.filter_map(|(key, given)| {
        let Some(found) = metadata.get(key) else {
            return Some(format!("its metadata lacks {key}"));
        };
        let is_right = match *key {
            FANIN => VERSIONS.contains(&found),
            "recipe" | "recipe_sha256" if is_other => true,
            "recipe" | "seed" => found == given || !is_near(found, given),
            _ => found == given,
        };
        (!is_right).then(|| {
            format!(
                "its metadata has {key} {}, not {}",
                quoted(found),
                quoted(given)
            )
        })
    });
    faults.collect()
}

/// Returns the fault of a pair of metadata besides those of the recipe.
fn of_key(key: &str, value: &str, weights: &Weights) -> Option<String> {
    let about_tensor = key.strip_prefix(SHAPE).or_else(|| key.strip_prefix(SLICE));
    if let Some(name) = about_tensor {
        let lacks = weights.get(name).is_none();
        return lacks.then(|| {
            format!(
                "its metadata has {}, but it has no such tensor",
                quoted(key)
            )
        });
    }
    let is_right = match key {
        "init" => value.parse::<Init>().is_ok(),
        "slice" => weights
            .tensors()
            .iter()
            .all(|tensor| is_slice(value, tensor)),
        "mesh" => {
            let ranks = ranks_of(value).map(|ranks| ranks.to_string());
            weights.metadata("ranks").map(str::to_owned) == ranks
        }
        _ => true,
    };
    if !is_right {
        return Some(format!("its metadata has {key} {}", quoted(value)));
    }
    let mut own = recipe_keys().chain(OTHER_KEYS);
    if own.clone().any(|known| known == key) {
        return None;
    }
    let meant = own.find(|known| is_near(key, known))?;
    Some(format!(
        "its metadata has the key {}, not {meant}",
        quoted(key)
    ))
}

/// The keys of [`recipe_metadata`].
fn recipe_keys() -> impl Iterator<Item = &'static str> + Clone {
    ["format", FANIN, "stream", "seed", "recipe", "recipe_sha256"].into_iter()
}

/// Returns true if a text is the slice that a file has of a tensor, or if the file does not tell it.
fn is_slice(text: &str, tensor: &StoredTensor) -> bool {
    let (Some(part), Ok(whole)) = (tensor.part(), Shape::new(tensor.whole_shape())) else {
        return true;
    };
    Part::parse(text, &whole).is_ok_and(|given| given == *part)
}

/// Returns the number of ranks of a mesh, or `None` for a text that is none: `dp=2,tp=4`.
fn ranks_of(mesh: &str) -> Option<u64> {
    let mut sizes = mesh
        .rsplit(',')
        .map(|dimension| dimension.rsplit_once('=')?.1.parse().ok());
    sizes.try_fold(1u64, |ranks, size: Option<u64>| ranks.checked_mul(size?))
}

fn is_hash(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 64 && text.bytes().all(is_digit)
}

/// Returns true for texts that differ by so little that damage may be the reason.
fn is_near(a: &str, b: &str) -> bool {
    // The distance takes time in proportion to the product of the lengths.
    a.len().max(b.len()) <= 512 && strsim::levenshtein(a, b) <= NEAR
}

/// Returns the first place at which two texts differ.
fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let differing = a.iter().zip(b).position(|(a, b)| a != b);
    differing.or((a.len() != b.len()).then_some(a.len().min(b.len())))
}

/// Returns the fault of an index that fanin wrote.
fn of_index(weights: &Weights) -> Result<Option<String>> {
    let path = weights.path();
    let text = fs::read(path).map_err(Error::io(path, "read"))?;
    // Whatever the name of its metadata has become.
    type Values<'a> = BTreeMap<String, &'a RawValue>;
    type Keys = BTreeMap<String, IgnoredAny>;
    let Ok(values) = serde_json::from_slice::<Values<'_>>(&text) else {
        return Ok(Some("its index has become another file".to_owned()));
    };
    let mut keys = values
        .values()
        .filter_map(|raw| serde_json::from_str::<Keys>(raw.get()).ok());
    if !keys.any(|keys| is_of_fanin(keys.keys().map(String::as_str))) {
        return Ok(None);
    }
    let map = values
        .get("weight_map")
        .map(|raw| serde_json::from_str(raw.get()));
    let Some(Ok(Pairs(map))) = map else {
        return Ok(Some("its index has become another file".to_owned()));
    };
    let metadata: Vec<(&str, &str)> = recipe_keys()
        .filter_map(|key| Some((key, weights.metadata(key)?)))
        .collect();
    let tensors = weights.tensors().iter();
    let parameters = tensors
        .clone()
        .map(|tensor| u128::from(tensor.elements()))
        .sum();
    let bytes = tensors.map(|tensor| u128::from(tensor.total_bytes())).sum();
    let map = map.iter();
    let map = map.map(|(name, file)| (name.as_str(), file.as_str()));
    let written = index_text(parameters, bytes, metadata.into_iter(), map);
    let at = first_difference(&text, written.as_bytes());
    Ok(at.map(|at| format!("byte {at} of its index is not as fanin writes it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Releases before the last change of the headers. `VERSIONS` has all later ones.
    const OTHER_HEADERS: [&str; 0] = [];

    #[test]
    fn every_release_is_known() {
        let changelog = concat!(env!("CARGO_MANIFEST_DIR"), "/CHANGELOG.md");
        let changelog = fs::read_to_string(changelog).unwrap();
        let headings = changelog
            .lines()
            .filter_map(|line| line.strip_prefix("## "));
        for heading in headings.filter(|heading| *heading != "Unreleased") {
            let version = heading.split(' ').next().unwrap_or_default();
            assert!(
                VERSIONS.contains(&version) != OTHER_HEADERS.contains(&version),
                "{version}: add it to VERSIONS if it writes headers as this version does, or else to \
                 OTHER_HEADERS"
            );
        }
    }

    #[test]
    fn damage_is_told_from_other_texts() {
        assert!(is_near("torch", "uorch") && is_near("42", "43") && is_near("a\n", "aXn"));
        assert!(!is_near("torch", "own.toml") && !is_near("42", "7100"));
        assert_eq!(ranks_of("dp=2,tp=4"), Some(8));
        assert_eq!((ranks_of("dp=2,tp"), ranks_of("dp=x")), (None, None));
        assert!(is_hash(&"0a".repeat(32)) && !is_hash(&"0A".repeat(32)));
        assert_eq!(first_difference(b"abc", b"abx"), Some(2));
        assert_eq!(first_difference(b"abc", b"ab"), Some(2));
        assert_eq!(first_difference(b"abc", b"abc"), None);
    }
}
