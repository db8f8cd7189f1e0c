//! Whole tensors, put together from the parts that the files of ranks hold.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::limits::{MAX_DIFFERENT_RANK_PARTS, MAX_RANK_PARTS};
use super::part_of::PartOf;
use super::weights::{Held, Place, StoredTensor, Stretch, Weights};
use crate::error::Result;
use crate::job::Regions;
use crate::part::Part;
use crate::read::format_error;
use crate::tensor::Slice;
use crate::text::dims_text;

/// The places of the tensors of a model in the files of its ranks.
pub(super) struct Assembly<'a> {
    folder: &'a Path,
    /// The places of each tensor of the first file, in its order.
    tensors: Vec<Places>,
    /// The different parts.
    parts: Vec<Arc<PartOf>>,
    /// Their indices.
    indices: HashMap<Arc<PartOf>, u32>,
    /// The parts that each tensor has: its index, and that of the part.
    known: HashSet<(u32, u32)>,
    /// The files.
    files: Vec<Arc<Path>>,
    /// The bytes of all tensors in all files.
    pub bytes: u64,
}

/// The places of a tensor.
#[derive(Clone, Default)]
struct Places {
    /// The first file that has the whole tensor.
    whole: Option<Stretch>,
    /// The parts with elements.
    parts: Vec<PlaceOfPart>,
}

/// The place of a part. It is small, because a folder can have millions.
#[derive(Clone, Copy)]
struct PlaceOfPart {
    /// The index of the part.
    part: u32,
    /// The index of the file.
    file: u32,
    /// The first byte in the file.
    start: u64,
}

impl<'a> Assembly<'a> {
    /// An assembly of a number of tensors, without files.
    pub fn new(folder: &'a Path, tensors: usize) -> Self {
        Assembly {
            folder,
            tensors: vec![Places::default(); tensors],
            parts: Vec::new(),
            indices: HashMap::new(),
            known: HashSet::new(),
            files: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds the tensors of a file, which are those of the first file.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] for the folder, if it has too many parts.
    pub fn add(&mut self, first: &Weights, file: &Weights) -> Result<()> {
        self.bytes += file.total_bytes();
        // No overflow of any index below: the limits of all are below 2^32.
        let number = self.files.len() as u32;
        self.files.push(Arc::from(file.path()));
        for (tensor, listed) in first.tensors().iter().enumerate() {
            let Some(stored) = file.get(listed.name()) else {
                continue;
            };
            let Place::One(stretch) = stored.place() else {
                continue;
            };
            let Some(of) = stored.part_of() else {
                self.tensors[tensor]
                    .whole
                    .get_or_insert_with(|| stretch.clone());
                continue;
            };
            if of.part.elements() == 0 {
                continue;
            }
            let part = self.index_of(of)?;
            // Ranks with the same part hold the same elements, of which the first file is read.
            if self.known.insert((tensor as u32, part)) {
                self.check(self.known.len(), MAX_RANK_PARTS, "parts of tensors")?;
                self.tensors[tensor].parts.push(PlaceOfPart {
                    part,
                    file: number,
                    start: stretch.bytes.start,
                });
            }
        }
        Ok(())
    }

    /// Returns the index of a part, which is a new one if the part is.
    fn index_of(&mut self, of: &Arc<PartOf>) -> Result<u32> {
        if let Some(&index) = self.indices.get(of) {
            return Ok(index);
        }
        let index = self.parts.len() as u32;
        self.parts.push(Arc::clone(of));
        self.indices.insert(Arc::clone(of), index);
        self.check(
            self.parts.len(),
            MAX_DIFFERENT_RANK_PARTS,
            "different parts of tensors",
        )?;
        Ok(index)
    }

    fn check(&self, number: usize, limit: usize, what: &str) -> Result<()> {
        if number <= limit {
            return Ok(());
        }
        let reason = format!(
            "holds rank files with more than {limit} {what} together, the most that are read: give the \
             path of a file"
        );
        Err(format_error(self.folder, None, reason))
    }

    /// Makes the whole tensors, which must have every element exactly once in the files of this number of
    /// ranks.
    pub fn into_tensors(self, first: &Weights, ranks: u64) -> Result<Vec<StoredTensor>> {
        let regions = self.parts.iter();
        let regions = regions.map(|of| Arc::new(Regions::new(&of.whole, &of.part)));
        let regions: Vec<Arc<Regions>> = regions.collect();
        let tensors = first.tensors().iter().zip(self.tensors);
        let tensors = tensors.map(|(tensor, places)| {
            let refused = |reason: String| {
                Err(format_error(tensor.file(), Some(tensor.name()), reason))
            };
            // Every rank may hold the whole tensor. The first file is read then.
            if let Some(whole) = places.whole {
                return Ok(tensor.whole_at(Place::One(whole)));
            }
            if !tensor.dtype().bits().is_multiple_of(8) {
                return refused(
                    "is stored in parts, and its elements are not whole bytes".to_owned(),
                );
            }
            let parts = places.parts.iter();
            let part_of = |place: &PlaceOfPart| &self.parts[place.part as usize].part;
            let parts: Vec<&Part> = parts.map(part_of).collect();
            let whole = tensor.whole_shape();
            if !make_up(whole, &parts, ranks) {
                return refused(format!(
                    "does not have every element of shape {} exactly once in the parts that the files of all \
                     ranks hold",
                    dims_text(whole)
                ));
            }
            let held = places.parts.iter().map(|place| {
                let bytes = tensor.dtype().bytes_of(part_of(place).elements());
                Held {
                    stretch: Stretch {
                        file: Arc::clone(&self.files[place.file as usize]),
                        bytes: place.start..place.start + bytes,
                    },
                    regions: Arc::clone(&regions[place.part as usize]),
                }
            });
            Ok(tensor.whole_at(Place::Parts(held.collect())))
        });
        tensors.collect()
    }
}

/// Returns true if every element of a tensor is in exactly one of the parts, which have elements.
/// `ranks` is the number of files, which bounds the work for untrusted metadata.
fn make_up(shape: &[u64], parts: &[&Part], ranks: u64) -> bool {
    let elements: u64 = shape.iter().product();
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
        return end == elements;
    }
    let boxes: Vec<&Slice> = parts.iter().flat_map(|part| part.slices()).collect();
    // Only dimensions that some box cuts have to be compared.
    let dims = shape.iter().enumerate();
    let cut: Vec<(usize, u64)> = dims
        .map(|(axis, &dim)| (axis, dim))
        .filter(|&(axis, dim)| boxes.iter().any(|it| it.ranges()[axis] != (0..dim)))
        .collect();
    // The ranks form a grid, which cuts each of its dimensions at least once.
    // The limit also keeps the corners of a box, 2^cut, within the number of files.
    if cut.len() >= u64::BITS as usize || 1 << cut.len() > ranks {
        return false;
    }
    // The number of boxes around each element is 1 everywhere if its differences are those of the
    // whole. The differences of a box along all dimensions are at its corners: +1 or -1, as the
    // number of its upper ends is even or odd.
    // Sums over the differences give the counts back, so equal differences mean equal counts.
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
    if elements > 0 {
        add(&whole, -1);
    }
    corners.values().all(|&sum| sum == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;

    #[test]
    fn parts_make_up_a_tensor_exactly_once() {
        let shape = Shape::new([4, 6]).unwrap();
        let holds = |texts: &[&str]| {
            let parts: Vec<Part> = texts
                .iter()
                .map(|text| Part::parse(text, &shape).unwrap())
                .collect();
            make_up(shape.dims(), &parts.iter().collect::<Vec<_>>(), 5)
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
        assert!(!make_up(shape.dims(), &parts.iter().collect::<Vec<_>>(), 3));
    }
}
