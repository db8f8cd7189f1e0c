//! What of a tensor a fill makes: a slice, blocks of rows, or a run of elements.

use std::fmt;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::tensor::{Shape, Slice};

/// The part of a tensor that a [`Fill`](crate::Fill) makes: the whole, a [`Slice`], several of
/// them one after the other, or a run of its elements in row-major order.
///
/// As text a slice is as [`Slice`] has it, several of them are separated by semicolons, and a run
/// is `flat 10:20`.
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
pub struct Part(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// At least one; they differ along this dimension, if at all.
    Blocks(Vec<Slice>, usize),
    Flat(Range<u64>),
}

impl Part {
    /// The slices of the tensor's dimensions that the part consists of, in the order in which they
    /// are stored; none where it is a run of elements.
    #[must_use]
    pub fn slices(&self) -> &[Slice] {
        match &self.0 {
            Kind::Blocks(slices, _) => slices,
            Kind::Flat(_) => &[],
        }
    }

    /// The elements, in the row-major order of the whole tensor, where the part is a run of them.
    #[must_use]
    pub fn flat(&self) -> Option<Range<u64>> {
        match &self.0 {
            Kind::Blocks(..) => None,
            Kind::Flat(range) => Some(range.clone()),
        }
    }

    /// The dimensions of the part itself: those of the slice, of the slices put together, or the
    /// one of a run. One of them is 0 where the part is empty.
    #[must_use]
    pub fn dims(&self) -> Vec<u64> {
        match &self.0 {
            Kind::Blocks(slices, axis) => {
                let mut dims = slices.first().map(Slice::dims).unwrap_or_default();
                if let Some(dim) = dims.get_mut(*axis) {
                    *dim = slices.iter().map(|slice| slice.dims()[*axis]).sum();
                }
                dims
            }
            Kind::Flat(range) => vec![range.end - range.start],
        }
    }

    /// The number of elements in the part, from 0 to [`MAX_ELEMENTS`](crate::MAX_ELEMENTS).
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.dims().iter().product()
    }

    /// One slice of the tensor.
    pub(crate) fn slice(slice: Slice) -> Part {
        Part(Kind::Blocks(vec![slice], 0))
    }

    /// A run of the elements of a tensor of this shape.
    ///
    /// # Errors
    ///
    /// [`Error::Slice`] for a range that ends before it starts or after the last element.
    pub(crate) fn run(range: Range<u64>, shape: &Shape) -> Result<Part> {
        let elements = shape.elements();
        let part = Part(Kind::Flat(range.clone()));
        if range.start <= range.end && range.end <= elements {
            return Ok(part);
        }
        Err(Error::Slice {
            tensor: None,
            slice: part.to_string(),
            reason: format!(
                "does not lie within shape {shape}: it needs 0 <= start <= end <= {elements}"
            ),
        })
    }

    /// Slices of one tensor, one after the other along the dimension in which they differ.
    ///
    /// # Errors
    ///
    /// [`Error::Slice`] for no slice, for slices that differ along several dimensions, overlap or
    /// go back, and where an outer dimension has several indices: put together along an inner
    /// dimension, slices are not one after the other in memory.
    pub(crate) fn blocks(slices: Vec<Slice>) -> Result<Part> {
        let refused = |reason: &str| {
            let shown: Vec<String> = slices.iter().map(Slice::to_string).collect();
            Err(Error::Slice {
                tensor: None,
                slice: shown.join(";"),
                reason: reason.to_owned(),
            })
        };
        let Some((first, rest)) = slices.split_first() else {
            return refused("is none: give at least one");
        };
        let rank = first.ranges().len();
        let Some(last) = rest.last() else {
            return Ok(Part(Kind::Blocks(slices, 0)));
        };
        // Slices that go forward end elsewhere than they began.
        let mut ends = first.ranges().iter().zip(last.ranges());
        let axis = ends.position(|(a, b)| a != b).unwrap_or(0);
        for pair in slices.windows(2) {
            let (a, b) = (pair[0].ranges(), pair[1].ranges());
            let same = |axis: usize| a[axis] == b[axis];
            if a.len() != b.len() || !(0..rank).all(|other| other == axis || same(other)) {
                return refused(
                    "differ along several dimensions: use slices that differ along one",
                );
            }
            if rank == 0 || a[axis].end > b[axis].start {
                return refused("overlap or go back: give them in the order of the tensor");
            }
        }
        if first.dims()[..axis].iter().any(|&dim| dim > 1) {
            return refused(
                "are not one after the other in memory: put together along a dimension, slices \
                 need a single index along all that are further out",
            );
        }
        Ok(Part(Kind::Blocks(slices, axis)))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Blocks(slices, _) => {
                for (i, slice) in slices.iter().enumerate() {
                    let separator = if i == 0 { "" } else { ";" };
                    write!(f, "{separator}{slice}")?;
                }
                Ok(())
            }
            Kind::Flat(range) => write!(f, "flat {}:{}", range.start, range.end),
        }
    }
}
