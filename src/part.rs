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

/// The beginning of the text of a run.
const FLAT: &str = "flat ";

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

    /// Reads a part of a tensor of this shape from text, as its `Display` writes it: a [`Slice`],
    /// several of them with semicolons between, or `flat START:END`.
    ///
    /// ```
    /// use fanin::{Part, Shape};
    ///
    /// let shape = Shape::new([8, 4])?;
    /// let part = Part::parse("0:2,0:4;5:6,0:4", &shape)?;
    /// assert_eq!(part.dims(), [3, 4]);
    /// assert_eq!(part.to_string(), "0:2,0:4;5:6,0:4");
    /// assert_eq!(Part::parse("flat 10:20", &shape)?.flat(), Some(10..20));
    /// # Ok::<(), fanin::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Slice`] for text that is not a part, ranges that do not lie within the shape, and
    /// several slices that are not one after the other in memory, as for
    /// [`Fill::blocks`](crate::Fill::blocks).
    pub fn parse(text: &str, shape: &Shape) -> Result<Part> {
        let Some(run) = text.trim().strip_prefix(FLAT) else {
            let slices = text.split(';').map(|slice| Slice::parse(slice, shape));
            return Part::blocks(slices.collect::<Result<_>>()?);
        };
        // `u64::from_str` accepts a sign.
        let number = |text: &str| match text.trim() {
            text if text.starts_with('+') => None,
            text => text.parse().ok(),
        };
        let ends = run.split_once(':');
        let ends = ends.and_then(|(start, end)| Some((number(start)?, number(end)?)));
        let Some((start, end)) = ends else {
            return Err(Error::Slice {
                slice: text.to_owned(),
                reason: "is not a run of elements: write flat START:END, with whole numbers from 0"
                    .to_owned(),
            });
        };
        Part::run(start..end, shape)
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
            PartKind::Flat(range) => write!(f, "{FLAT}{}:{}", range.start, range.end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(dims: &[u64]) -> Shape {
        Shape::new(dims).expect("a good shape")
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, expected) in [
            ("", "has 0 ranges"),
            ("0:9,:", "does not lie within"),
            ("0:2,:;1:3,:", "overlap or are out of order"),
            ("0:2,0:2;2:4,2:4", "differ along several dimensions"),
            ("0:2,0:1;0:2,2:3", "not one after the other in memory"),
            ("0:2,:;", "has 0 ranges"),
            ("flat 0:33", "0 <= start <= end <= 32"),
            ("flat 9:8", "0 <= start <= end <= 32"),
            ("flat :8", "write flat START:END"),
            ("flat 1", "write flat START:END"),
            ("flat +1:8", "write flat START:END"),
            ("flat 0:99999999999999999999", "write flat START:END"),
        ] {
            let error = Part::parse(text, &shape(&[8, 4])).unwrap_err();
            assert!(matches!(error, Error::Slice { .. }), "{text}: {error}");
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
        // A scalar has a slice without ranges.
        assert_eq!(Part::parse("", &shape(&[])).unwrap().elements(), 1);
    }

    /// A dimension with sorted cut points in it.
    fn cuts() -> impl Strategy<Value = (u64, Vec<u64>)> {
        (0u64..9).prop_flat_map(|dim| {
            let cuts = proptest::collection::vec(0..=dim, 8);
            let sorted = cuts.prop_map(|mut cuts| {
                cuts.sort_unstable();
                cuts
            });
            (Just(dim), sorted)
        })
    }

    proptest! {
        #[test]
        fn text_gives_the_same_part(
            dims in proptest::collection::vec(cuts(), 0..4),
            blocks in 1usize..4,
            flat: bool,
        ) {
            let sizes: Vec<u64> = dims.iter().map(|(dim, _)| *dim).collect();
            let shape = shape(&sizes);
            let part = if flat {
                let end = shape.elements();
                Part::run(end / 3..end - end / 4, &shape).unwrap()
            } else {
                // Blocks of the first dimension; all have the same ranges of the others.
                let slice = |block: usize| {
                    let ranges = dims.iter().enumerate().map(|(axis, (_, cuts))| {
                        let at = if axis == 0 { 2 * block } else { 0 };
                        cuts[at]..cuts[at + 1]
                    });
                    Slice::new(ranges.collect::<Vec<_>>(), &shape).unwrap()
                };
                let blocks = if dims.is_empty() { 1 } else { blocks };
                match Part::blocks((0..blocks).map(slice).collect()) {
                    Ok(part) => part,
                    // Empty blocks at the same place.
                    Err(_) => return Ok(()),
                }
            };
            prop_assert_eq!(Part::parse(&part.to_string(), &shape).unwrap(), part);
        }
    }
}
