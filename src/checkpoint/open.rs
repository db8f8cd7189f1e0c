//! Finds and opens the files of a model: one file, the shards of an index, or the files of all ranks.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Component, Path};
use std::sync::Arc;

use super::file_names::{INDEX, SINGLE};
use super::foreign;
use super::header;
use super::json::{Json, read_json};
use super::limits::{MAX_HEADERS_BYTES, MAX_TENSORS};
use super::metadata::Metadata;
use super::part_of::PartMetadata;
use super::ranks;
use super::weights::{StoredTensor, Weights, stored};
use crate::error::{Error, Result};
use crate::read::format_error;
use crate::text::quoted;

impl Weights {
    /// Opens weights: finds the files, reads their headers and closes them again.
    ///
    /// | path | what is read |
    /// |---|---|
    /// | `*.safetensors` | that file |
    /// | `*.json` with a `weight_map`, as `model.safetensors.index.json` | the shards that it names, which lie beside it, without tensors that it does not name |
    /// | a folder | its `model.safetensors`, or else its `model.safetensors.index.json`, as in transformers, or else its `model-rank-00000-of-0000N.safetensors` and the files of all other ranks, whose parts make up whole tensors |
    ///
    /// A single file may hold parts of tensors, as the files of ranks do. The metadata gives the
    /// parts then: see [`StoredTensor::part`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a file that cannot be read. [`Error::Format`] for a file of another kind
    /// or one that is damaged, for an index whose shards are not there, for metadata of parts that
    /// do not agree with the tensors, and for files of ranks that are not one complete model.
    /// [`Error::Duplicate`] for a name that an index lists twice.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() {
            ranks::check_alone(path)?;
            let mut inside = [SINGLE, INDEX].map(|name| path.join(name)).into_iter();
            return match inside.find(|path| path.exists()) {
                // A folder of that name is not searched in turn.
                Some(path) if !path.is_dir() => Weights::open(path),
                _ => match ranks::open(path)? {
                    Some(weights) => Ok(weights),
                    None => Err(format_error(
                        path,
                        None,
                        format!(
                            "is a folder that holds neither {SINGLE} nor {INDEX} nor files of \
                             ranks (model-rank-00000-of-0000N.safetensors)"
                        ),
                    )),
                },
            };
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => {
                let weights = Weights::of_file(path)?;
                ranks::check_name(&weights)?;
                Ok(weights)
            }
            Some("json") => match read_json(path)? {
                Json::Index(map) => Weights::of_index(path, &map),
                Json::List(_) => Err(format_error(
                    path,
                    None,
                    "is a list of tensors without their weights: use an index with a \
                     \"weight_map\", or a .safetensors file",
                )),
            },
            _ => {
                foreign::refuse_file(path)?;
                Err(format_error(
                    path,
                    None,
                    format!(
                        "has an unsupported file type: use a .safetensors file, a {INDEX} or a folder \
                     that holds one"
                    ),
                ))
            }
        }
    }

    /// Finds the tensors that an index names in the headers of its shards.
    pub(super) fn of_index(path: &Path, map: &[(String, String)]) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut files: Vec<&str> = Vec::new();
        let mut known: HashSet<&str> = HashSet::new();
        for (name, file) in map {
            if !known.insert(file) {
                continue;
            }
            // The index is untrusted input: a path in it must not lead out of its folder.
            let mut components = Path::new(file).components();
            let plain = matches!(components.next(), Some(Component::Normal(_)))
                && components.next().is_none()
                && !file.contains(['/', '\\']);
            if !plain {
                let reason = format!(
                    "is listed in shard {}: a shard must lie beside its index",
                    quoted(file)
                );
                return Err(format_error(path, Some(name), reason));
            }
            files.push(file);
        }
        // Before the first header is read, so that the error counts all missing shards.
        shards_are_there(path, folder, &files)?;
        // A name that is listed twice would leave its first place without a tensor.
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(map.len());
        for (place, (name, _)) in map.iter().enumerate() {
            if places.insert(name, place).is_some() {
                return Err(Error::Duplicate {
                    tensor: name.clone(),
                });
            }
        }
        let mut found: Vec<Option<StoredTensor>> = vec![None; map.len()];
        let mut unlisted = Vec::new();
        let mut metadata = Metadata::default();
        let (mut headers_bytes, mut tensors) = (0, 0);
        let mut slice_alone = None;
        for file in files {
            let shard_path = folder.join(file);
            let header = header::read(&shard_path)?;
            headers_bytes += header.data_start;
            tensors += header.entries.len();
            let refused = |reason: String| Err(format_error(path, None, reason));
            // Checked after each header, so at most one header beyond the limit is read.
            if headers_bytes > MAX_HEADERS_BYTES {
                return refused(format!(
                    "names shards whose headers have more than {MAX_HEADERS_BYTES} bytes \
                     together, the most that is read"
                ));
            }
            if tensors > MAX_TENSORS {
                return refused(format!(
                    "names shards with more than {MAX_TENSORS} tensors together, the most that are \
                     read"
                ));
            }
            let mut parts = PartMetadata::new(&shard_path, &header.metadata, header.entries.len());
            let alone = parts.slice_alone();
            slice_alone = slice_alone.or(alone.map(str::to_owned));
            let stored_in: Arc<Path> = Arc::from(shard_path.as_path());
            for entry in header.entries {
                match places.get(entry.name.as_str()) {
                    Some(&place) if map[place].1 == file => {
                        let tensor = stored(entry, &stored_in, header.data_start, &mut parts)?;
                        found[place] = Some(tensor);
                    }
                    // The index lists the tensor of another shard.
                    Some(_) => {}
                    None => unlisted.push(entry.name),
                }
            }
            let added = metadata.extend(&header.metadata);
            added.map_err(|reason| format_error(path, None, format!("its shards: {reason}")))?;
        }
        let tensors = found.into_iter().zip(map).map(|(found, (name, file))| {
            found.ok_or_else(|| {
                let reason = format!("is listed in shard {}, which lacks it", quoted(file));
                format_error(path, Some(name), reason)
            })
        });
        let mut weights = Weights::new(path, tensors.collect::<Result<_>>()?, metadata)?;
        weights.slice_alone = slice_alone;
        weights.unlisted = unlisted;
        Ok(weights)
    }
}

/// Checks that all shards of an index are files.
///
/// # Errors
///
/// [`Error::Format`] for the index, with the number of shards and the first one that is missing:
/// often only the index was downloaded.
fn shards_are_there(path: &Path, folder: &Path, files: &[&str]) -> Result<()> {
    let is_there = |file: &str| match folder.join(file).metadata() {
        Err(error) => error.kind() != ErrorKind::NotFound,
        // Reading reports every other fault.
        Ok(_) => true,
    };
    let missing: Vec<&str> = files.iter().copied().filter(|it| !is_there(it)).collect();
    let [first, ..] = missing.as_slice() else {
        return Ok(());
    };
    let found = match files.len() - missing.len() {
        0 => "was found without its shards".to_owned(),
        found => format!("was found with {found} of its {} shards", files.len()),
    };
    let shards = match files.len() {
        1 => "1 shard".to_owned(),
        all => format!("{all} shards"),
    };
    Err(format_error(
        path,
        None,
        format!(
            "{found}: it names {shards}, and {} is not beside it; download the shards into the same \
             folder, or give a list of tensors with their shapes, {{\"tensors\": [{{\"name\": ..., \
             \"shape\": [...]}}]}}",
            quoted(first)
        ),
    ))
}
