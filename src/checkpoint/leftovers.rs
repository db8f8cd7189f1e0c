//! Files of another model in the folder that a model is written into.
//!
//! A model that is written again with other sizes has files of other names. If the old ones
//! stayed, the folder would hold files of two models, and readers might take the wrong ones.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::file_names::{INDEX, SINGLE, is_shard_name, rank_of_file};
use super::header;
use super::json::Pairs;
use super::limits::MAX_HEADER_BYTES;
use super::part_of::FANIN;
use super::partial::{self, Partial};
use super::written::is_of_fanin;
use crate::error::{Error, Result};
use crate::read::{format_error, read_limited};

/// The files of a folder that belong to another model than the one that is to be written.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// Their names, in the order in which they are removed: the index last, so that it lists the
    /// others as long as any of them is there.
    names: Vec<String>,
    /// The first of them that fanin may not remove, the reason, and the number of others.
    foreign: Option<(String, &'static str, usize)>,
    /// The targets of incomplete files in the folder. A killed process has left them, or another one
    /// writes them.
    incomplete: Vec<String>,
    /// True if the index lists a file that the new model replaces.
    pub index_lists_new: bool,
    /// True if there is an index that fanin did not write, not even one with damage.
    pub index_is_foreign: bool,
}

impl Leftovers {
    /// Finds the files in a folder that belong to a model and are none of the new one's files.
    pub fn find(folder: &Path, is_new: impl Fn(&str) -> bool) -> Result<Self> {
        let io = || Error::io(folder, "read the folder");
        let mut there = HashSet::new();
        for entry in fs::read_dir(folder).map_err(io())? {
            // A name that is not UTF-8 is none of a model.
            there.extend(entry.map_err(io())?.file_name().into_string().ok());
        }
        let index = match there.contains(INDEX) {
            true => OldIndex::read(&folder.join(INDEX))?,
            false => OldIndex::default(),
        };
        let is_of_model =
            |name: &str| name == SINGLE || is_shard_name(name) || rank_of_file(name).is_some();
        let listed = index.files.iter().filter(|name| there.contains(*name));
        // Sorted, so that messages do not depend on the order of the folder.
        let old: BTreeSet<&String> = there
            .iter()
            .filter(|name| is_of_model(name))
            .chain(listed)
            .filter(|name| !is_new(name))
            .collect();
        let targets = there.iter().filter_map(|name| partial::target_name(name));
        let incomplete = targets.filter(|name| is_of_model(name) || *name == INDEX);
        let mut leftovers = Leftovers {
            incomplete: incomplete.map(str::to_owned).collect(),
            index_lists_new: index.files.iter().any(|name| is_new(name)),
            index_is_foreign: index.is_foreign,
            ..Leftovers::default()
        };
        for name in old {
            let needs_index = name != SINGLE && rank_of_file(name).is_none();
            let reason = if needs_index && !(index.is_ours && index.files.contains(name)) {
                Some("no index of fanin lists")
            } else if !is_ours(&folder.join(name))? {
                Some("fanin did not write")
            } else {
                None
            };
            leftovers.add(name, reason);
        }
        if there.contains(INDEX) && !is_new(INDEX) {
            leftovers.add(INDEX, (!index.is_ours).then_some("fanin did not write"));
        }
        Ok(leftovers)
    }

    fn add(&mut self, name: &str, foreign: Option<&'static str>) {
        match (&mut self.foreign, foreign) {
            (None, Some(reason)) => self.foreign = Some((name.to_owned(), reason, 0)),
            (Some((_, _, others)), Some(_)) => *others += 1,
            _ => {}
        }
        self.names.push(name.to_owned());
    }

    /// Returns true if there are no complete files of another model.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns true if [`remove`](Leftovers::remove) has nothing to remove.
    pub fn is_clean(&self) -> bool {
        self.names.is_empty() && self.incomplete.is_empty()
    }

    /// Checks that the new model may be written: that there is nothing left, or that `overwrite`
    /// allows to remove all of it.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] for the folder, with what to do.
    pub fn check(&self, folder: &Path, overwrite: bool) -> Result<()> {
        let Some(first) = self.names.first() else {
            return Ok(());
        };
        let reason = match &self.foreign {
            Some((name, reason, others)) => {
                let (files, them) = match others {
                    0 => (name.clone(), "it"),
                    others => (format!("{name} and {others} more files"), "them"),
                };
                format!(
                    "holds {files} of another model, which {reason}: remove {them}, or use another folder"
                )
            }
            None if overwrite => return Ok(()),
            None => {
                let files = match self.names.len() {
                    1 => first.clone(),
                    all => format!("{all} files, such as {first},"),
                };
                format!(
                    "holds {files} of another model, which this one would not replace: set \
                     overwrite to have that removed once this model is complete, or use another \
                     folder"
                )
            }
        };
        Err(format_error(folder, None, reason))
    }

    /// Removes the files, and incomplete ones that nobody writes. Other processes may remove them at
    /// the same time.
    pub fn remove(&self, folder: &Path) -> Result<()> {
        for name in &self.incomplete {
            let path = folder.join(name);
            Partial::discard(&path).map_err(|(action, error)| Error::io(&path, action)(error))?;
        }
        for name in &self.names {
            let path = folder.join(name);
            // The file may be another one by now.
            if name != INDEX && !is_ours(&path)? {
                continue;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io(&path, "remove")(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns true if the metadata of a safetensors file say that fanin wrote it. A file that is not
/// there or is of another kind is not fanin's.
fn is_ours(path: &Path) -> Result<bool> {
    match header::read(path) {
        Ok(header) => Ok(header.metadata.get(FANIN).is_some()),
        Err(Error::Io { source, .. }) if source.kind() != ErrorKind::NotFound => {
            Err(Error::io(path, "read")(source))
        }
        Err(_) => Ok(false),
    }
}

/// The index of the model that a folder holds.
#[derive(Debug, Default)]
struct OldIndex {
    /// True if its metadata say that fanin wrote it.
    is_ours: bool,
    /// True if it is there, and its text has no trace of fanin's metadata. A damaged index of fanin's is
    /// neither ours nor foreign: it can be replaced, but removes nothing.
    is_foreign: bool,
    /// The names of the files that it lists, which lie beside it.
    files: HashSet<String>,
}

impl OldIndex {
    /// Reads an index. One that cannot be parsed lists nothing.
    fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct IndexFile<'a> {
            #[serde(borrow)]
            metadata: Option<&'a RawValue>,
            weight_map: Pairs,
        }
        #[derive(Deserialize)]
        struct FaninKey<'a> {
            #[serde(borrow)]
            fanin: Option<&'a RawValue>,
        }
        let mut old = OldIndex::default();
        let bytes = match read_limited(path, MAX_HEADER_BYTES) {
            Ok(bytes) => bytes,
            // Another process of the same run may have removed it since the folder was listed.
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(old);
            }
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(_) => {
                old.is_foreign = true;
                return Ok(old);
            }
        };
        // Keys and values of JSON lie between quotation marks. Damaged JSON cannot be parsed.
        old.is_foreign = !is_of_fanin(String::from_utf8_lossy(&bytes).split('"'));
        let Ok(index) = serde_json::from_slice::<IndexFile<'_>>(&bytes) else {
            return Ok(old);
        };
        let metadata = index.metadata.map(RawValue::get);
        let metadata: Option<FaninKey<'_>> =
            metadata.and_then(|text| serde_json::from_str(text).ok());
        // A name in an index must not lead out of its folder.
        let is_beside = |name: &String| {
            let mut components = Path::new(name).components();
            matches!(components.next(), Some(Component::Normal(_)))
                && components.next().is_none()
                && !name.contains(['/', '\\'])
        };
        let files = index.weight_map.0.into_iter().map(|(_, file)| file);
        old.files = files.filter(is_beside).collect();
        old.is_ours = metadata.is_some_and(|metadata| metadata.fanin.is_some());
        old.is_foreign &= !old.is_ours;
        Ok(old)
    }
}
