//! The parts of a tensor that have initializers of their own: which one applies to which element.

use std::ops::Range;

#[cfg(feature = "raw")]
use crate::error::Error;
use crate::error::Result;
use crate::fill::Fill;
#[cfg(feature = "raw")]
use crate::text::quoted;

use super::{Core, Job, Regions};

/// The jobs of a fill: one for the tensor itself, and one for each part with an initializer of its own.
#[derive(Clone, Debug)]
pub(crate) struct Jobs {
    /// The tensor's own job comes first.
    all: Vec<PartJob>,
    parts: Parts,
}

/// The job of a part, or of the tensor itself.
#[derive(Clone, Debug)]
pub(crate) struct PartJob {
    pub job: Job,
    /// The fill that the job belongs to.
    pub fill: Fill,
}

/// The most runs of elements with different initializers that a device fills at once. Their requests
/// take 64 MB.
#[cfg(feature = "raw")]
const MAX_RUNS: usize = 1 << 18;

/// The owner of each element of a fill: the tensor itself, or a part with an initializer of its own.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    dims: Vec<u64>,
    /// The elements of the fill.
    regions: Regions,
    boxes: Vec<PartBox>,
}

/// A part, in indices of the whole tensor.
#[derive(Clone, Debug)]
struct PartBox {
    ranges: Vec<Range<u64>>,
    /// True if the positions of the part's job are those of the fill, not those of the part.
    shares_positions: bool,
}

/// A run of elements of a fill with one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The owner: 0 for the tensor itself, and from 1 on its parts in order.
    pub owner: usize,
    /// The position of the first element in the owner's job.
    pub start: u64,
    /// The position of the first element in the fill.
    pub at: u64,
    /// The number of elements.
    pub length: u64,
}

impl Jobs {
    /// Returns the jobs of a fill.
    ///
    /// # Errors
    ///
    /// Those of [`Job::new`].
    pub fn new(fill: &Fill) -> Result<Jobs> {
        let parts = fill.parts().iter().map(|part| fill.of_part(part));
        let fills = std::iter::once(fill.without_parts()).chain(parts);
        Ok(Jobs {
            all: fills.map(PartJob::new).collect::<Result<_>>()?,
            parts: Parts::new(fill),
        })
    }

    /// Returns the jobs of a fill on a device, which packs f32, f16 and bf16 only.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Jobs::new), and [`Error::DType`] for other dtypes.
    #[cfg(feature = "raw")]
    pub fn for_device(fill: &Fill) -> Result<Jobs> {
        let jobs = Jobs::new(fill)?;
        if jobs.all[0].job.stored.is_none() {
            return Ok(jobs);
        }
        let reason = "is not filled on a device: fill it on the CPU or with gpu::ReadBack, or use \
                      f32, f16 or bf16";
        Err(Error::dtype(fill.dtype(), reason).named(fill.name()))
    }

    /// Checks that a device can take the runs that make up positions of a fill: each one needs a request
    /// of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] for more than [`MAX_RUNS`] of them.
    #[cfg(feature = "raw")]
    pub fn check_runs(&self, range: Range<u64>) -> Result<()> {
        // The iterator is lazy, so this stops at the limit, however many runs there are.
        if self.pieces(range).nth(MAX_RUNS).is_none() {
            return Ok(());
        }
        Err(Error::Device {
            context: format!("filling tensor {}", quoted(self.all[0].fill.name())),
            detail: format!(
                "its parts with initializers of their own are scattered over more than {MAX_RUNS} runs of \
                 elements: fill a slice of fewer rows at a time, or fill it on the CPU"
            ),
        })
    }

    /// The jobs. The tensor's own comes first.
    pub fn all(&self) -> &[PartJob] {
        &self.all
    }

    /// The jobs, to complete them.
    pub fn all_mut(&mut self) -> &mut [PartJob] {
        &mut self.all
    }

    /// Returns the runs that make up the positions `range` of the fill, in order.
    pub fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = Piece> + '_ {
        self.parts.pieces(range)
    }
}

impl Parts {
    /// Returns true if the runs of elements with one owner are so short that their requests would be as
    /// large as the elements. The first million elements decide.
    #[cfg(all(feature = "checkpoint", feature = "gpu"))]
    pub fn are_scattered(fill: &Fill) -> bool {
        const ELEMENTS: u64 = 1 << 20;
        /// The bytes of a request are those of 64 elements.
        const SHORT: u64 = 64;
        let looked_at = fill.elements().min(ELEMENTS);
        let most = (looked_at / SHORT) as usize;
        !fill.parts().is_empty()
            && Parts::new(fill)
                .pieces(0..looked_at)
                .nth(most.max(1024))
                .is_some()
    }

    /// The number of owners.
    #[cfg(feature = "checkpoint")]
    pub fn count(&self) -> usize {
        1 + self.boxes.len()
    }

    /// Returns the owners of a fill's elements.
    pub fn new(fill: &Fill) -> Parts {
        let boxes = fill.parts().iter().map(|part| PartBox {
            ranges: part.slice().ranges().to_vec(),
            shares_positions: part.distribution().is_elementwise(),
        });
        Parts {
            dims: fill.shape().dims().to_vec(),
            regions: Regions::new(fill.shape(), fill.local()),
            boxes: boxes.collect(),
        }
    }

    /// Returns the runs that make up the positions `range` of the fill, in order.
    pub fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = Piece> + '_ {
        let has_parts = !self.boxes.is_empty();
        // Without parts everything is one piece, however many runs it has.
        let whole = Piece {
            owner: 0,
            start: range.start,
            at: range.start,
            length: range.end.saturating_sub(range.start),
        };
        let whole = (!has_parts && whole.length > 0).then_some(whole);
        let pieces = has_parts.then(|| self.cut(range));
        whole.into_iter().chain(pieces.into_iter().flatten())
    }

    fn cut(&self, range: Range<u64>) -> impl Iterator<Item = Piece> + '_ {
        let mut position = range.start;
        let mut runs = self.regions.runs(range);
        let mut run = 0..0;
        let mut found = std::iter::from_fn(move || {
            if run.is_empty() {
                let (element, length) = runs.next()?;
                run = element..element + length;
            }
            let (owner, end) = self.owner(run.start);
            // The owner is found in the whole tensor, so its stretch can go on after the run of the slice.
            let end = end.min(run.end);
            let piece = Piece {
                owner,
                start: self.position(owner, run.start, position),
                at: position,
                length: end - run.start,
            };
            position += piece.length;
            run.start = end;
            Some(piece)
        });
        // Neighbours that one job makes in a row become one piece.
        let mut open: Option<Piece> = None;
        std::iter::from_fn(move || {
            loop {
                let next = found.next();
                match (&mut open, next) {
                    (Some(piece), Some(next))
                        // `at` is always continuous. `start` is not, for a part with positions of its own.
                        if next.owner == piece.owner
                            && next.start == piece.start + piece.length =>
                    {
                        piece.length += next.length;
                    }
                    (_, Some(next)) => match open.replace(next) {
                        None => {}
                        piece => return piece,
                    },
                    (_, None) => return open.take(),
                }
            }
        })
    }

    /// Returns the owner of an element of the whole tensor, and the end of the elements from there on that
    /// surely have the same owner.
    fn owner(&self, element: u64) -> (usize, u64) {
        let mut end = u64::MAX;
        for (owner, part) in (1..).zip(&self.boxes) {
            let (inside, part_end) = stretch(&self.dims, &part.ranges, element);
            // An earlier part that begins within the stretch applies from there on: the nearest end counts.
            end = end.min(part_end);
            if inside {
                return (owner, end);
            }
        }
        (0, end)
    }

    /// Returns the position, in the job of its owner, of an element that has this position in the fill.
    fn position(&self, owner: usize, element: u64, position: u64) -> u64 {
        let Some(part) = owner.checked_sub(1).map(|part| &self.boxes[part]) else {
            return position;
        };
        if part.shares_positions {
            return position;
        }
        let (mut rest, mut stride, mut at) = (element, 1, 0);
        for (&dim, range) in self.dims.iter().zip(&part.ranges).rev() {
            // No underflow: the owner of an element holds it.
            at += (rest % dim - range.start) * stride;
            rest /= dim;
            stride *= range.end - range.start;
        }
        at
    }
}

impl PartJob {
    /// Returns true if the elements are those of a matrix, which the backend makes.
    pub fn is_matrix(&self) -> bool {
        self.job.core == Core::Matrix
    }

    fn new(fill: Fill) -> Result<PartJob> {
        Ok(PartJob {
            job: Job::new(&fill)?,
            fill,
        })
    }
}

/// Returns whether an element of a tensor lies in a box, and the end of the elements from there on of
/// which the same is true.
fn stretch(dims: &[u64], ranges: &[Range<u64>], element: u64) -> (bool, u64) {
    // The search below would find a first element even in an empty box.
    if ranges.iter().any(Range::is_empty) {
        return (false, u64::MAX);
    }
    // The axis whose range makes a run: all axes within it are whole.
    let mut stride = 1;
    let mut axis = dims.len();
    while axis > 0 && ranges[axis - 1] == (0..dims[axis - 1]) {
        axis -= 1;
        stride *= dims[axis];
    }
    if axis == 0 {
        return (true, u64::MAX);
    }
    let row = element / stride;
    let mut rest = row;
    let mut index = vec![0; axis];
    for (at, &dim) in index.iter_mut().zip(&dims[..axis]).rev() {
        *at = rest % dim;
        rest /= dim;
    }
    let outside = (0..axis).find(|&axis| !ranges[axis].contains(&index[axis]));
    let Some(outside) = outside else {
        let last = axis - 1;
        return (true, (row + ranges[last].end - index[last]) * stride);
    };
    // The first element of the box after this one: the axes up to `changed` have these indices, and the
    // axes after it start anew.
    let mut changed = outside;
    if index[outside] < ranges[outside].start {
        index[outside] = ranges[outside].start;
    } else {
        // The box has no further index along this axis, so its next element has a larger outer index.
        let next = (0..outside)
            .rev()
            .find(|&axis| index[axis] + 1 < ranges[axis].end);
        let Some(next) = next else {
            return (false, u64::MAX);
        };
        index[next] += 1;
        changed = next;
    }
    for axis in changed + 1..axis {
        index[axis] = ranges[axis].start;
    }
    let start = index
        .iter()
        .zip(dims)
        .fold(0, |at, (&index, &dim)| at * dim + index);
    (false, start * stride)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use crate::tensor::Tensor;
    use proptest::prelude::*;

    fn index(element: u64, dims: &[u64]) -> Vec<u64> {
        let mut rest = element;
        let mut index = vec![0; dims.len()];
        for (at, &dim) in index.iter_mut().zip(dims).rev() {
            *at = rest % dim;
            rest /= dim;
        }
        index
    }

    fn inside(element: u64, dims: &[u64], ranges: &[Range<u64>]) -> bool {
        index(element, dims)
            .iter()
            .zip(ranges)
            .all(|(i, range)| range.contains(i))
    }

    fn range(dim: u64) -> impl Strategy<Value = Range<u64>> {
        (0..=dim, 0..=dim).prop_map(|(a, b)| a.min(b)..a.max(b))
    }

    fn dims_and_ranges(count: usize) -> impl Strategy<Value = (Vec<u64>, Vec<Vec<Range<u64>>>)> {
        proptest::collection::vec(1u64..5, 1..5).prop_flat_map(move |dims| {
            let ranges: Vec<_> = dims.iter().map(|&dim| range(dim)).collect();
            (Just(dims), proptest::collection::vec(ranges, count))
        })
    }

    proptest! {
        #[test]
        fn stretches_end_where_a_box_begins_or_ends((dims, ranges) in dims_and_ranges(1)) {
            let ranges = &ranges[0];
            let elements: u64 = dims.iter().product();
            for element in 0..elements {
                let (is_inside, end) = stretch(&dims, ranges, element);
                prop_assert_eq!(is_inside, inside(element, &dims, ranges));
                prop_assert!(end > element);
                for element in element..end.min(elements) {
                    prop_assert_eq!(is_inside, inside(element, &dims, ranges));
                }
                // Outside of a box, a stretch lasts until the box begins.
                if !is_inside && end < elements {
                    prop_assert!(inside(end, &dims, ranges));
                }
            }
        }

        #[test]
        fn pieces_cover_a_slice_in_order((dims, ranges) in dims_and_ranges(4)) {
            let tensor = Tensor::new("w", dims.clone()).unwrap();
            let mut fill = Fill::new(&tensor, &Init::zeros(), 1).unwrap();
            // The second one depends on rows and columns, so it has positions of its own.
            let table: Init = "mamba_a_log".parse().unwrap();
            for (ranges, init) in ranges.iter().zip([Init::ones(), table, Init::normal(0.0, 1.0)]) {
                fill = fill.with_part(ranges, &init).unwrap();
            }
            let local = &ranges[3];
            let fill = fill.slice(local).unwrap();
            let jobs = Jobs::new(&fill).unwrap();
            let elements: Vec<u64> = (0..tensor.shape().elements())
                .filter(|&element| inside(element, &dims, local))
                .collect();
            let mut at = 0;
            for piece in jobs.pieces(0..fill.elements()) {
                prop_assert_eq!(piece.at, at);
                for i in 0..piece.length {
                    let element = elements[(at + i) as usize];
                    let owner = (1..4).find(|&k| inside(element, &dims, &ranges[k - 1]));
                    prop_assert_eq!(piece.owner, owner.unwrap_or(0));
                    let expected = match piece.owner {
                        2 => (0..element).filter(|&e| inside(e, &dims, &ranges[1])).count() as u64,
                        _ => at + i,
                    };
                    prop_assert_eq!(piece.start + i, expected);
                }
                at += piece.length;
            }
            prop_assert_eq!(at, fill.elements());
        }
    }
}
