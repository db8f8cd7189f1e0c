//! A folder with a file for each rank of a training, read as one model.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::header;
use super::limits::MAX_HEADERS_BYTES;
use super::metadata::Metadata;
use super::part_of::{FANIN, SHAPE, SLICE};
use super::shards::{INDEX, SINGLE, rank_file_name, rank_of_file};
use super::weights::{Held, Place, StoredTensor, Weights};
use crate::error::{Error, Result};
use crate::job::Regions;
use crate::part::Part;
use crate::read::format_error;
use crate::tensor::{Shape, Slice};
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
    let mut files = Vec::new();
    let mut headers_bytes = 0;
    for rank in 0..ranks {
        let path = folder.join(rank_file_name(rank, ranks));
        let (file, header_bytes) = Weights::of_file_with_size(&path)?;
        headers_bytes += header_bytes;
        if headers_bytes > MAX_HEADERS_BYTES {
            return refused(format!(
                "holds rank files whose headers have more than {MAX_HEADERS_BYTES} bytes together, \
                 the most that is read: read single files"
            ));
        }
        check_rank(&file, rank, ranks)?;
        if let Some(first) = files.first() {
            same_model(first, &file)?;
        }
        files.push(file);
    }
    let Some(first) = files.first() else {
        return Ok(None);
    };
    let tensors = first
        .tensors()
        .iter()
        .map(|tensor| assemble(tensor, &files));
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    let mut metadata = Metadata::default();
    for (key, value) in model_metadata(first.all_metadata().iter()) {
        let refused = |reason| format_error(first.path(), None, reason);
        metadata.push(key, value).map_err(refused)?;
    }
    Weights::of_ranks(folder, tensors, metadata, files).map(Some)
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

/// Makes the whole tensor of the parts that the files hold.
fn assemble(first: &StoredTensor, files: &[Weights]) -> Result<StoredTensor> {
    let refused = |reason: &str| Err(format_error(first.file(), Some(first.name()), reason));
    let stored = files.iter().filter_map(|file| file.get(first.name()));
    // Every rank may hold the whole tensor. The first file is read then.
    if let Some(whole) = stored.clone().find(|stored| stored.part_of().is_none()) {
        return Ok(whole.clone());
    }
    if !first.dtype().bits().is_multiple_of(8) {
        return refused("is stored in parts, and its elements are not whole bytes");
    }
    let mut seen = HashSet::new();
    let mut held = Vec::new();
    let mut shape = None;
    for stored in stored {
        let (Some(of), Place::One(stretch)) = (stored.part_of(), stored.place()) else {
            continue;
        };
        shape.get_or_insert(&of.whole);
        // Ranks with the same part hold the same elements, of which the first file is read.
        if of.part.elements() == 0 || !seen.insert(&of.part) {
            continue;
        }
        held.push(Held {
            stretch: stretch.clone(),
            regions: Regions::new(&of.whole, &of.part),
        });
    }
    let Some(shape) = shape else {
        return refused("is in no file");
    };
    // The order of the files, so that messages do not depend on that of a hash.
    let parts: Vec<&Part> = seen.into_iter().collect();
    if !make_up(shape, &parts, files.len()) {
        return refused(&format!(
            "does not have every element of shape {shape} exactly once in the parts that the files \
             of all ranks hold"
        ));
    }
    Ok(first.assembled(shape, Arc::from(held)))
}

/// Returns true if every element of a tensor is in exactly one of the parts, which have elements.
/// `ranks` is the number of files, which bounds the work for untrusted metadata.
fn make_up(shape: &Shape, parts: &[&Part], ranks: usize) -> bool {
    if parts.iter().any(|part| part.flat().is_some()) {
        let runs = parts.iter().map(|part| part.flat());
        let Some(mut runs) = runs.collect::<Option<Vec<_>>>() else {
            return false;
        };
        runs.sort_unstable_by_key(|run| run.start);
        let mut end = 0;
        for run in runs {
            if run.start != end {
                return false;
            }
            end = run.end;
        }
        return end == shape.elements();
    }
    let boxes: Vec<&Slice> = parts.iter().flat_map(|part| part.slices()).collect();
    // Only dimensions that some box cuts have to be compared.
    let dims = shape.dims().iter().enumerate();
    let cut: Vec<(usize, u64)> = dims
        .map(|(axis, &dim)| (axis, dim))
        .filter(|&(axis, dim)| boxes.iter().any(|it| it.ranges()[axis] != (0..dim)))
        .collect();
    // The ranks form a grid, which cuts each of its dimensions at least once.
    if cut.len() >= usize::BITS as usize || 1 << cut.len() > ranks.max(1) {
        return false;
    }
    // The number of boxes around each element is 1 everywhere if its differences are those of the
    // whole. The differences of a box along all dimensions are at its corners: +1 or -1, as the
    // number of its upper ends is even or odd.
    let mut corners: HashMap<Vec<u64>, i64> = HashMap::new();
    let mut add = |ends: &[[u64; 2]], sign: i64| {
        for corner in 0..1usize << ends.len() {
            let is_upper = |axis: usize| corner >> axis & 1;
            let at = ends.iter().enumerate().map(|(i, ends)| ends[is_upper(i)]);
            let odd = corner.count_ones() % 2 == 1;
            *corners.entry(at.collect()).or_default() += if odd { -sign } else { sign };
        }
    };
    for ranges in boxes.iter().map(|it| it.ranges()) {
        let ends: Vec<[u64; 2]> = cut
            .iter()
            .map(|&(axis, _)| [ranges[axis].start, ranges[axis].end])
            .collect();
        if ends.iter().all(|[start, end]| start < end) {
            add(&ends, 1);
        }
    }
    let whole: Vec<[u64; 2]> = cut.iter().map(|&(_, dim)| [0, dim]).collect();
    if shape.elements() > 0 {
        add(&whole, -1);
    }
    corners.values().all(|&sum| sum == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_up_a_tensor_exactly_once() {
        let shape = Shape::new([4, 6]).unwrap();
        let holds = |texts: &[&str]| {
            let parts: Vec<Part> = texts
                .iter()
                .map(|text| Part::parse(text, &shape).unwrap())
                .collect();
            make_up(&shape, &parts.iter().collect::<Vec<_>>(), 5)
        };
        assert!(holds(&["0:2,:", "2:4,:"]));
        assert!(holds(&["0:1,:;2:3,:", "1:2,:;3:4,:"]));
        assert!(holds(&["0:2,0:3", "0:2,3:6", "2:4,0:1", "2:4,1:6"]));
        assert!(holds(&["flat 0:5", "flat 20:24", "flat 5:20"]));
        // A pinwheel around the middle.
        assert!(holds(&[
            "0:1,0:4", "0:3,4:6", "3:4,2:6", "1:4,0:2", "1:3,2:4"
        ]));
        for wrong in [
            &[][..],
            &["0:2,:"],
            &["0:2,:", "1:4,:"],
            &["0:2,:", "3:4,:"],
            // As many elements as the whole has: two twice, two missing.
            &["0:2,:", "1:3,:"],
            &["0:2,0:3", "2:4,3:6", "0:2,3:6", "1:3,0:3"],
            &["flat 0:5", "flat 6:24"],
            &["flat 0:12", "2:4,:"],
        ] {
            assert!(!holds(wrong), "{wrong:?}");
        }
        // Fewer ranks than a grid with two cut dimensions has.
        let quarters = ["0:2,0:3", "0:2,3:6", "2:4,0:3", "2:4,3:6"];
        let parts = quarters.map(|text| Part::parse(text, &shape).unwrap());
        assert!(!make_up(&shape, &parts.iter().collect::<Vec<_>>(), 3));
    }
}
