//! A folder with a file for each rank of a training, read as one model.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use super::assembly::Assembly;
use super::file_names::{INDEX, SINGLE, rank_file_name, rank_of_file};
use super::header;
use super::limits::MAX_RANK_HEADER_BYTES;
use super::metadata::Metadata;
use super::part_of::{FANIN, SHAPE, SLICE};
use super::weights::{StoredTensor, Weights};
use crate::error::{Error, Result};
use crate::read::format_error;
use crate::text::{dims_text, excerpt, quoted};

/// Checks that a folder with rank files has no model in another form beside them, which would hide them.
///
/// # Errors
///
/// [`Error::Format`] if it has one. [`Error::Io`] if the folder cannot be read.
pub(super) fn check_alone(folder: &Path) -> Result<()> {
    let other = [SINGLE, INDEX]
        .into_iter()
        .find(|name| folder.join(name).exists());
    let Some(other) = other else {
        return Ok(());
    };
    let Some((&ranks, _)) = sets(folder)?.iter().next() else {
        return Ok(());
    };
    let reason = format!(
        "holds {other} and files of {ranks} ranks: remove one of the two models, or give the path of a file"
    );
    Err(format_error(folder, None, reason))
}

/// Checks that a file with the name of a rank's file tells which parts it holds.
///
/// # Errors
///
/// [`Error::Format`] if its metadata has no rank, as after a program has written it anew, or that of another
/// file.
pub(super) fn check_name(file: &Weights) -> Result<()> {
    let path = file.path();
    let name = path.file_name().and_then(|name| name.to_str());
    let Some((rank, ranks)) = name.and_then(rank_of_file) else {
        return Ok(());
    };
    if file.metadata("rank").is_some() {
        return check_rank(file, rank, ranks);
    }
    let reason = "has the name of a rank's file, but its metadata does not tell the parts that it holds: \
                  save it with the metadata of the file that fanin wrote, or rename it to read its \
                  tensors as whole ones";
    Err(format_error(path, None, reason))
}

/// Opens the rank files of a folder, or returns `None` if it has none.
///
/// # Errors
///
/// [`Error::Format`] for a set of files that is not complete, and for files that do not belong
/// together: those of several sets, of different metadata, tensors, dtypes or shapes, and parts
/// that do not make up the whole tensors. [`Error::Io`] for files that cannot be read.
pub(super) fn open(folder: &Path) -> Result<Option<Weights>> {
    let refused = |reason: String| Err(format_error(folder, None, reason));
    let sets = sets(folder)?;
    let Some((&ranks, found)) = sets.iter().next() else {
        return Ok(None);
    };
    if sets.len() > 1 {
        let sets: Vec<String> = sets.keys().map(u64::to_string).collect();
        return refused(format!(
            "holds rank files of several models, of {} ranks: remove those of all but one",
            sets.join(" and of ")
        ));
    }
    if let Some(missing) = (0..ranks).find(|rank| !found.contains(rank)) {
        return refused(format!(
            "holds {} of the files of {ranks} ranks: {} is missing",
            found.len(),
            rank_file_name(missing, ranks)
        ));
    }
    let first = open_rank(folder, 0, ranks)?;
    let mut model = Assembly::new(folder, first.tensors().len());
    model.add(&first, &first)?;
    // One file at a time: a folder can have thousands, and each lists all tensors.
    for rank in 1..ranks {
        let file = open_rank(folder, rank, ranks)?;
        same_model(&first, &file)?;
        model.add(&first, &file)?;
    }
    let bytes = model.bytes;
    let tensors = model.into_tensors(&first, ranks)?;
    let mut metadata = Metadata::default();
    for (key, value) in model_metadata(first.all_metadata().iter()) {
        let refused = |reason| format_error(first.path(), None, reason);
        metadata.push(key, value).map_err(refused)?;
    }
    Weights::of_ranks(folder, tensors, metadata, ranks, bytes).map(Some)
}

/// Opens the file of a rank, which is read together with those of all ranks.
fn open_rank(folder: &Path, rank: u64, ranks: u64) -> Result<Weights> {
    let path = folder.join(rank_file_name(rank, ranks));
    let (text, data_bytes) = header::read_text(&path)?;
    if text.len() > MAX_RANK_HEADER_BYTES {
        let reason = format!(
            "has a header of {} bytes: of the files of all ranks, at most {MAX_RANK_HEADER_BYTES} are read: \
             give the path of a file",
            text.len()
        );
        return Err(format_error(&path, None, reason));
    }
    let header = header::parse(&text, data_bytes).map_err(|fault| fault.in_file(&path))?;
    drop(text);
    let file = Weights::of_header(&path, header)?;
    check_rank(&file, rank, ranks)?;
    Ok(file)
}

/// Returns the ranks whose files a folder holds, by the number of ranks in their names.
pub(super) fn sets(folder: &Path) -> Result<BTreeMap<u64, HashSet<u64>>> {
    let io = || Error::io(folder, "read the folder");
    let mut sets: BTreeMap<u64, HashSet<u64>> = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(io())? {
        let name = entry.map_err(io())?.file_name();
        if let Some((rank, ranks)) = name.to_str().and_then(rank_of_file) {
            sets.entry(ranks).or_default().insert(rank);
        }
    }
    Ok(sets)
}

/// Checks that a file is that of the rank in its name.
fn check_rank(file: &Weights, rank: u64, ranks: u64) -> Result<()> {
    for (key, expected) in [("rank", rank), ("ranks", ranks)] {
        let found = file.metadata(key);
        if found != Some(expected.to_string().as_str()) {
            let found = found.map_or("no".to_owned(), |text| format!("{} as", quoted(text)));
            return Err(format_error(
                file.path(),
                None,
                format!(
                    "has {found} {key} in its metadata, but its name says {expected}: as a part of \
                     the folder, it must be a file that was written with a shard spec"
                ),
            ));
        }
    }
    Ok(())
}

/// Returns the metadata that all rank files of a model share.
fn model_metadata<'a>(
    metadata: impl Iterator<Item = (&'a str, &'a str)>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    metadata.filter(|(key, _)| *key != "rank" && !key.starts_with(SHAPE) && !key.starts_with(SLICE))
}

/// Returns true if the files of all ranks are in a folder, and are those of the model with this
/// metadata, in which one rank's own keys are ignored.
pub(super) fn are_complete(
    folder: &Path,
    ranks: u64,
    metadata: &[(String, String)],
) -> Result<bool> {
    let sets = sets(folder)?;
    let found = sets.get(&ranks).map_or(0, HashSet::len);
    // `rank_of_file` refuses ranks that are too large, so as many files as ranks are all of them.
    if found as u64 != ranks {
        return Ok(false);
    }
    for rank in 0..ranks {
        match header::read(&folder.join(rank_file_name(rank, ranks))) {
            Ok(header)
                if model_metadata(header.metadata.iter()).eq(model_metadata(pairs(metadata))) => {}
            Ok(_) | Err(Error::Format { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Returns pairs of texts.
fn pairs(metadata: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    let all = metadata.iter();
    all.map(|(key, value)| (key.as_str(), value.as_str()))
}

/// Checks that two rank files are of the same model: with the same metadata and the same tensors.
fn same_model<'a>(first: &'a Weights, file: &'a Weights) -> Result<()> {
    let refused = |tensor: Option<&str>, reason| Err(format_error(file.path(), tensor, reason));
    let name = first.path().file_name().unwrap_or_default();
    let name = excerpt(&name.to_string_lossy());
    // Another version of fanin makes the same bits: the key `stream` tells whether it does.
    let shared = |file: &'a Weights| -> BTreeMap<&'a str, &'a str> {
        model_metadata(file.all_metadata().iter())
            .filter(|(key, _)| *key != FANIN)
            .collect()
    };
    let (a, b) = (shared(first), shared(file));
    let keys = a.keys().chain(b.keys());
    if let Some(key) = keys.into_iter().find(|key| a.get(*key) != b.get(*key)) {
        let shown = |value: Option<&&str>| match value {
            Some(text) => quoted(text),
            None => "none".to_owned(),
        };
        return refused(
            None,
            format!(
                "is of another model than {name}: its metadata has {} as {}, not {}",
                excerpt(key),
                shown(b.get(key)),
                shown(a.get(key))
            ),
        );
    }
    if let Some(tensor) = file
        .tensors()
        .iter()
        .find(|t| first.get(t.name()).is_none())
    {
        return refused(Some(tensor.name()), format!("is not in {name}"));
    }
    for tensor in first.tensors() {
        let Some(other) = file.get(tensor.name()) else {
            let reason = format!("is in {name} and missing here");
            return refused(Some(tensor.name()), reason);
        };
        if (tensor.dtype(), tensor.whole_shape()) != (other.dtype(), other.whole_shape()) {
            let of = |tensor: &StoredTensor| {
                format!(
                    "{} of shape {}",
                    tensor.dtype_name(),
                    dims_text(tensor.whole_shape())
                )
            };
            let reason = format!("is {}, but {} in {name}", of(other), of(tensor));
            return refused(Some(tensor.name()), reason);
        }
    }
    Ok(())
}
