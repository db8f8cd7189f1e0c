//! The part of a whole tensor that a file holds, as the file's metadata gives it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::header::HeaderEntry;
use super::limits::{MAX_FILE_PARTS, MAX_SHAPE_BYTES};
use super::metadata::Metadata;
use crate::error::Result;
use crate::fill::Fill;
use crate::part::Part;
use crate::read::format_error;
use crate::tensor::{Shape, Slice};
use crate::text::{dims_text, excerpt, quoted};

/// The key that every file which fanin writes has in its metadata: the version of fanin.
pub(super) const FANIN: &str = "fanin";

/// The prefixes of the keys that give the whole shape of a tensor and its part.
pub(super) const SHAPE: &str = "shape:";
pub(super) const SLICE: &str = "slice:";

/// A whole tensor, and the part of it that a file holds, which can be the whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PartOf {
    /// The shape of the whole tensor.
    pub whole: Shape,
    /// The part.
    pub part: Part,
}

impl PartOf {
    /// Narrows a fill of a whole tensor to this part. A fill that is narrowed already stays as it
    /// is. Returns the reason if the fill is one of another shape.
    pub fn narrow(&self, fill: &Fill) -> Result<Fill, String> {
        if !fill.is_whole() {
            return Ok(fill.clone());
        }
        if *fill.shape() != self.whole {
            return Err(format!(
                "is part {} of shape {}, but shape {} is expected",
                self.part,
                self.whole,
                fill.shape()
            ));
        }
        Ok(fill.clone().narrowed(self.part.clone()))
    }
}

/// Returns the fill that a file's tensor, whole or a part, is compared with.
pub(super) fn narrowed(fill: &Fill, part: Option<&Arc<PartOf>>) -> Result<Fill, String> {
    match part {
        Some(part) => part.narrow(fill),
        None => Ok(fill.clone()),
    }
}

/// The metadata of a file, in which the parts of its tensors are looked up.
pub(super) struct PartMetadata<'a> {
    path: &'a Path,
    metadata: &'a Metadata,
    /// The indices of the pairs about parts, sorted by key. A file can have a million.
    by_key: Vec<usize>,
    /// The parts by the texts of their whole shape and their slice. Tensors of one shape share a part,
    /// because a model has far more tensors than shapes.
    known: HashMap<(&'a str, &'a str), Arc<PartOf>>,
    /// True if `shape` and `slice` describe the file's only tensor, as `fanin fill` writes them.
    of_only_tensor: bool,
}

impl<'a> PartMetadata<'a> {
    /// Looks at the metadata of a file with this number of tensors.
    pub fn new(path: &'a Path, metadata: &'a Metadata, tensors: usize) -> Self {
        let is_about_parts = |key: &str| {
            [FANIN, "shape", "slice"].contains(&key)
                || key.starts_with(SHAPE)
                || key.starts_with(SLICE)
        };
        let pairs = metadata.iter().enumerate();
        let pairs = pairs.filter(|(_, (key, _))| is_about_parts(key));
        let mut by_key: Vec<usize> = pairs.map(|(index, _)| index).collect();
        // Stable: as for all metadata, the first of several equal keys holds.
        by_key.sort_by_key(|&index| metadata.pair(index).0);
        let mut parts = PartMetadata {
            path,
            metadata,
            by_key,
            known: HashMap::new(),
            of_only_tensor: false,
        };
        // The keys are common words, which other programs may use for other things.
        let mut keys = [FANIN, "shape", "slice"].iter();
        parts.of_only_tensor = tensors == 1 && keys.all(|key| parts.get(key).is_some());
        parts
    }

    /// Returns the value of a key about parts.
    fn get(&self, key: &str) -> Option<&'a str> {
        let metadata = self.metadata;
        let first = self
            .by_key
            .partition_point(|&index| metadata.pair(index).0 < key);
        let (found, value) = metadata.pair(*self.by_key.get(first)?);
        (found == key).then_some(value)
    }

    /// Returns the metadata's `slice` if it is all that is known of the parts that a file holds,
    /// without the shapes of the whole tensors.
    pub fn slice_alone(&self) -> Option<&'a str> {
        let mut keys = self.by_key.iter().map(|&index| self.metadata.pair(index).0);
        let shapes = keys.any(|key| key.starts_with(SHAPE));
        let slice = self.get("slice");
        slice.filter(|_| !shapes && !self.of_only_tensor)
    }

    /// Returns the part that the file holds of a tensor, or `None` if it holds the whole.
    ///
    /// The metadata is untrusted input: the part must lie within the whole shape, and have the
    /// dimensions that the header gives.
    ///
    /// # Errors
    ///
    /// [`Error::Format`](crate::Error::Format), naming the tensor, if it does not.
    pub fn part_of(&mut self, entry: &HeaderEntry) -> Result<Option<Arc<PartOf>>> {
        let path = self.path;
        let refused = |reason: String| Err(format_error(path, Some(&entry.name), reason));
        let text = |prefix: &str, alone: &str| {
            let own = self.get(&format!("{prefix}{}", entry.name));
            own.or_else(|| self.get(alone).filter(|_| self.of_only_tensor))
        };
        let (shape, slice) = match (text(SHAPE, "shape"), text(SLICE, "slice")) {
            (None, None) => return Ok(None),
            (Some(shape), Some(slice)) => (shape, slice),
            (given, _) => {
                let (given, lacking) = match given {
                    Some(_) => (SHAPE, SLICE),
                    None => (SLICE, SHAPE),
                };
                return refused(format!(
                    "has metadata {given}NAME without {lacking}NAME: a part of a tensor needs both"
                ));
            }
        };
        let of = match self.known.get(&(shape, slice)) {
            Some(known) => Arc::clone(known),
            None if self.known.len() == MAX_FILE_PARTS => {
                return refused(format!(
                    "is one of more than {MAX_FILE_PARTS} different parts, the most that are read of a file"
                ));
            }
            None => {
                let of = parse(shape, slice);
                let of = of.map_err(|reason| format_error(path, Some(&entry.name), reason))?;
                let of = Arc::new(of);
                self.known.insert((shape, slice), Arc::clone(&of));
                of
            }
        };
        if of.part.dims() != entry.shape {
            return refused(format!(
                "has shape {}, but the part {} that its metadata names has {}",
                dims_text(&entry.shape),
                excerpt(&of.part.to_string()),
                dims_text(&of.part.dims())
            ));
        }
        let is_whole = of.part == Part::slice(Slice::full(&of.whole));
        Ok((!is_whole).then_some(of))
    }
}

/// Reads the texts of a whole shape and of a slice. Returns the reason if they are invalid.
fn parse(shape: &str, slice: &str) -> Result<PartOf, String> {
    let dims: Option<Vec<u64>> = Some(shape)
        .filter(|shape| shape.len() <= MAX_SHAPE_BYTES)
        .and_then(|shape| serde_json::from_str(shape).ok());
    let dims = dims.ok_or_else(|| {
        format!(
            "has metadata of shape {}: it must be a list of whole numbers, as in [4096, 4096]",
            quoted(shape)
        )
    })?;
    let whole = Shape::new(dims).map_err(|error| error.to_string())?;
    let part = Part::parse(slice, &whole).map_err(|error| error.to_string())?;
    Ok(PartOf { whole, part })
}
