//! Parts of a tensor: a slice, blocks of rows, or a run of elements.

use std::fmt;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::tensor::{Shape, Slice};

/// The part of a tensor that a [`Fill`](crate::Fill) makes: the whole, a [`Slice`], several of
/// them one after the other, or a run of its elements in row-major order.
///
/// In text a slice is written as [`Slice`] writes it, several slices are separated by semicolons, and
/// a run is `flat 10:20`.
///
/// ```
/// use fanin::{Fill, Init, Tensor};
///
/// let tensor = Tensor::new("w", [8, 4])?;
/// let whole = Fill::new(&tensor, &Init::normal(0.0, 0.02), 42)?;
/// assert_eq!(whole.local().dims(), [8, 4]);
/// let run = whole.flat(10..20)?;
/// assert_eq!(run.local().dims(), [10]);
/// assert_eq!(run.local().to_string(), "flat 10:20");
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Part(PartKind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum PartKind {
    /// At least one slice, and the dimension along which they differ, if there are several.
    Blocks(Vec<Slice>, usize),
    /// A run of elements in row-major order.
    Flat(Range<u64>),
}

impl Part {
    /// Returns the slices that the part consists of, in the order in which they are stored. A run of
    /// elements has none.
    #[must_use]
    pub fn slices(&self) -> &[Slice] {
        match &self.0 {
            PartKind::Blocks(slices, _) => slices,
            PartKind::Flat(_) => &[],
        }
    }

    /// Returns the range of elements, in the row-major order of the whole tensor, if the part is a run.
    #[must_use]
    pub fn flat(&self) -> Option<Range<u64>> {
        match &self.0 {
            PartKind::Blocks(..) => None,
            PartKind::Flat(range) => Some(range.clone()),
        }
    }

    /// Returns the dimensions of the part itself: those of the slice, of the slices put together, or
    /// the one of a run. An empty part has a dimension of 0.
    #[must_use]
    pub fn dims(&self) -> Vec<u64> {
        match &self.0 {
            PartKind::Blocks(slices, axis) => {
                let mut dims = slices.first().map(Slice::dims).unwrap_or_default();
                if let Some(dim) = dims.get_mut(*axis) {
                    *dim = slices.iter().map(|slice| slice.dims()[*axis]).sum();
                }
                dims
            }
            PartKind::Flat(range) => vec![range.end - range.start],
        }
    }

    /// Returns the number of elements in the part, from 0 to [`MAX_ELEMENTS`](crate::MAX_ELEMENTS).
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.dims().iter().product()
    }

    /// Makes a part of one slice.
    pub(crate) fn slice(slice: Slice) -> Part {
        Part(PartKind::Blocks(vec![slice], 0))
    }

    /// Makes a run of the elements of a tensor of this shape.
    ///
    /// # Errors
    ///
    /// [`Error::Slice`] for a range that ends before it starts or after the last element.
    pub(crate) fn run(range: Range<u64>, shape: &Shape) -> Result<Part> {
        let elements = shape.elements();
        let part = Part(PartKind::Flat(range.clone()));
        if range.start <= range.end && range.end <= elements {
            return Ok(part);
        }
        Err(Error::Slice {
            slice: part.to_string(),
            reason: format!(
                "does not lie within shape {shape}: it needs 0 <= start <= end <= {elements}"
            ),
        })
    }

    /// Makes a part of slices of one tensor, one after the other along the dimension in which they
    /// differ.
    ///
    /// # Errors
    ///
    /// [`Error::Slice`] for no slice, for slices that differ along several dimensions, overlap or are
    /// out of order, and for several indices along an outer dimension, because such slices are not one
    /// after the other in memory.
    pub(crate) fn blocks(slices: Vec<Slice>) -> Result<Part> {
        let refused = |reason: &str| {
            let shown: Vec<String> = slices.iter().map(Slice::to_string).collect();
            Err(Error::Slice {
                slice: shown.join(";"),
                reason: reason.to_owned(),
            })
        };
        let Some((first, rest)) = slices.split_first() else {
            return refused("has no blocks: give at least one");
        };
        let rank = first.ranges().len();
        let Some(last) = rest.last() else {
            return Ok(Part(PartKind::Blocks(slices, 0)));
        };
        // Slices in order have a last one that differs from the first, so these two give the axis.
        let mut ends = first.ranges().iter().zip(last.ranges());
        let axis = ends.position(|(a, b)| a != b).unwrap_or(0);
        for pair in slices.windows(2) {
            let (a, b) = (pair[0].ranges(), pair[1].ranges());
            let same = |axis: usize| a[axis] == b[axis];
            if a.len() != b.len() || !(0..rank).all(|other| other == axis || same(other)) {
                return refused(
                    "has blocks that differ along several dimensions: use blocks that differ along one",
                );
            }
            if rank == 0 || a[axis].end > b[axis].start {
                return refused(
                    "has blocks that overlap or are out of order: give them in the order of the tensor",
                );
            }
        }
        if first.dims()[..axis].iter().any(|&dim| dim > 1) {
            return refused(
                "has blocks that are not one after the other in memory: use a single index along \
                 every dimension outside of the one in which they differ",
            );
        }
        Ok(Part(PartKind::Blocks(slices, axis)))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            PartKind::Blocks(slices, _) => {
                for (i, slice) in slices.iter().enumerate() {
                    let separator = if i == 0 { "" } else { ";" };
                    write!(f, "{separator}{slice}")?;
                }
                Ok(())
            }
            PartKind::Flat(range) => write!(f, "flat {}:{}", range.start, range.end),
        }
    }
}
