//! The part of a whole tensor that a file holds, as the file's metadata gives it.

use std::collections::HashMap;
use std::path::Path;

use super::header::HeaderEntry;
use super::limits::MAX_SHAPE_BYTES;
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

/// A whole tensor, and the part of it that a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartOf {
    /// The shape of the whole tensor.
    pub whole: Shape,
    /// The part, which is not the whole.
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
pub(super) fn narrowed(fill: &Fill, part: Option<&PartOf>) -> Result<Fill, String> {
    match part {
        Some(part) => part.narrow(fill),
        None => Ok(fill.clone()),
    }
}

/// The metadata of a file, in which the parts of its tensors are looked up.
pub(super) struct PartMetadata<'a> {
    path: &'a Path,
    by_key: HashMap<&'a str, &'a str>,
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
        let mut by_key = HashMap::new();
        for (key, value) in metadata.iter().filter(|(key, _)| is_about_parts(key)) {
            // As for all metadata, the first of several equal keys holds.
            by_key.entry(key).or_insert(value);
        }
        // The keys are common words, which other programs may use for other things.
        let of_only_tensor = tensors == 1
            && [FANIN, "shape", "slice"]
                .iter()
                .all(|key| by_key.contains_key(key));
        PartMetadata {
            path,
            by_key,
            of_only_tensor,
        }
    }

    /// Returns the metadata's `slice` if it is all that is known of the parts that a file holds,
    /// without the shapes of the whole tensors.
    pub fn slice_alone(&self) -> Option<&'a str> {
        let shapes = self.by_key.keys().any(|key| key.starts_with(SHAPE));
        let slice = self.by_key.get("slice").copied();
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
    pub fn part_of(&self, entry: &HeaderEntry) -> Result<Option<PartOf>> {
        let refused = |reason: String| Err(format_error(self.path, Some(&entry.name), reason));
        let text = |prefix: &str, alone: &str| {
            let own = self.by_key.get(format!("{prefix}{}", entry.name).as_str());
            let own = own.or_else(|| self.by_key.get(alone).filter(|_| self.of_only_tensor));
            own.copied()
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
        let dims: Option<Vec<u64>> = Some(shape)
            .filter(|shape| shape.len() <= MAX_SHAPE_BYTES)
            .and_then(|shape| serde_json::from_str(shape).ok());
        let Some(dims) = dims else {
            return refused(format!(
                "has metadata of shape {}: it must be a list of whole numbers, as in [4096, 4096]",
                quoted(shape)
            ));
        };
        let whole = Shape::new(dims)
            .map_err(|error| format_error(self.path, Some(&entry.name), error.to_string()))?;
        let part = Part::parse(slice, &whole)
            .map_err(|error| format_error(self.path, Some(&entry.name), error.to_string()))?;
        if part.dims() != entry.shape {
            return refused(format!(
                "has shape {}, but the part {} that its metadata names has {}",
                dims_text(&entry.shape),
                excerpt(&part.to_string()),
                dims_text(&part.dims())
            ));
        }
        if part == Part::slice(Slice::full(&whole)) {
            return Ok(None);
        }
        Ok(Some(PartOf { whole, part }))
    }
}
