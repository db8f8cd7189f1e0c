//! The part of a tensor as runs of contiguous elements.

use std::ops::Range;

use crate::part::Part;
use crate::tensor::Shape;

/// A rectangular slice as rows: runs of elements that are contiguous in the whole tensor.
/// A position counts the elements of the slice in its own row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// Index in the whole tensor of the slice's first element.
    pub base: u64,
    /// Elements of a row.
    pub row_length: u64,
    /// The dimensions that count the rows, innermost first, merged as far as possible.
    pub outer: Vec<OuterDimension>,
}

/// An outer dimension of a [`Region`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OuterDimension {
    pub size: u64,
    /// Elements of the whole tensor from one index to the next.
    pub stride: u64,
}

impl Region {
    /// Returns the region of the slice `ranges` of a tensor with dimensions `dims`. Both have the
    /// same length, and each range lies in its dimension.
    pub fn new(dims: &[u64], ranges: &[Range<u64>]) -> Region {
        let mut region = Region {
            base: 0,
            row_length: 1,
            outer: Vec::new(),
        };
        let mut stride = 1;
        for (&dim, range) in dims.iter().zip(ranges).rev() {
            let size = range.end - range.start;
            region.base += range.start * stride;
            // All inner dimensions are taken whole, so the row stays contiguous as it grows.
            if region.outer.is_empty() && region.row_length == stride {
                region.row_length *= size;
            } else if size != 1 {
                // A dimension with a single index counts no rows. It only moves the base.
                match region.outer.last_mut() {
                    // The dimension before is whole, so a step along this one continues its steps.
                    Some(last) if last.size * last.stride == stride => last.size *= size,
                    _ => region.outer.push(OuterDimension { size, stride }),
                }
            }
            stride *= dim;
        }
        if ranges.iter().any(Range::is_empty) {
            region.row_length = 0;
        }
        region
    }

    /// Returns the number of elements of the slice.
    pub fn elements(&self) -> u64 {
        self.row_length * self.outer.iter().map(|d| d.size).product::<u64>()
    }

    /// Returns the index in the whole tensor of a row's first element.
    pub fn row_start(&self, row: u64) -> u64 {
        let mut rest = row;
        let mut start = self.base;
        for dimension in &self.outer {
            start += rest % dimension.size * dimension.stride;
            rest /= dimension.size;
        }
        start
    }

    /// Returns the runs of contiguous elements that make up the positions `range`: the index of
    /// each run's first element in the whole tensor, and the run's length.
    pub fn runs(&self, range: Range<u64>) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut position = range.start;
        std::iter::from_fn(move || {
            if position >= range.end {
                return None;
            }
            let column = position % self.row_length;
            let length = (self.row_length - column).min(range.end - position);
            let start = self.row_start(position / self.row_length) + column;
            position += length;
            Some((start, length))
        })
    }
}

/// The regions that a part of a tensor consists of, one after the other. Empty regions are left
/// out. A position counts the elements of the part in its own row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Regions {
    /// Each with the position of its first element.
    parts: Vec<(u64, Region)>,
}

impl Regions {
    /// Returns the regions of a part. Elements are always numbered in the whole tensor, so a flat
    /// part is a slice of the tensor with its dimensions merged into one.
    pub fn new(shape: &Shape, part: &Part) -> Regions {
        let regions: Vec<Region> = match part.flat() {
            Some(range) => vec![Region::new(&[shape.elements()], &[range])],
            None => part
                .slices()
                .iter()
                .map(|slice| Region::new(shape.dims(), slice.ranges()))
                .collect(),
        };
        let mut position = 0;
        let mut parts = Vec::with_capacity(regions.len());
        for region in regions.into_iter().filter(|region| region.elements() > 0) {
            let start = position;
            position += region.elements();
            parts.push((start, region));
        }
        Regions { parts }
    }

    /// Returns the index in `parts` of the region that holds a position below the end.
    fn index(&self, position: u64) -> usize {
        let after = self.parts.partition_point(|(start, _)| *start <= position);
        after.saturating_sub(1)
    }

    /// Returns the number of elements of the part.
    #[cfg(feature = "checkpoint")]
    pub fn elements(&self) -> u64 {
        let last = self.parts.last();
        last.map_or(0, |(start, region)| start + region.elements())
    }

    /// Returns the index in the whole tensor of the element at a position below the end.
    #[cfg(feature = "checkpoint")]
    pub fn whole(&self, position: u64) -> u64 {
        let (start, region) = &self.parts[self.index(position)];
        let position = position - start;
        region.row_start(position / region.row_length) + position % region.row_length
    }

    /// Returns the number of elements of the part that lie before an index of the whole tensor.
    #[cfg(feature = "checkpoint")]
    pub fn before(&self, index: u64) -> u64 {
        // Indices ascend with positions: slices of a part are one after the other in memory.
        let (mut low, mut high) = (0, self.elements());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.whole(middle) < index {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Returns the region that holds a position below the end, and the position of the region's
    /// first element.
    #[cfg(feature = "raw")]
    pub fn at(&self, position: u64) -> (&Region, u64) {
        let (start, region) = &self.parts[self.index(position)];
        (region, *start)
    }

    /// Returns the runs of contiguous elements at the positions `range`, as [`Region::runs`], across
    /// all regions.
    pub fn runs(&self, range: Range<u64>) -> impl Iterator<Item = (u64, u64)> + '_ {
        let parts = self.parts[self.index(range.start)..].iter();
        parts
            .take_while(move |(start, _)| *start < range.end)
            .flat_map(move |(start, region)| {
                // No underflow: `take_while` leaves only regions that start before `range.end`.
                let end = region.elements().min(range.end - start);
                region.runs(range.start.saturating_sub(*start)..end)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Slice;
    use proptest::prelude::*;

    #[test]
    fn whole_tensors_and_leading_slices_are_one_row() {
        let whole = Region::new(&[3, 4, 5], &[0..3, 0..4, 0..5]);
        assert_eq!((whole.base, whole.row_length), (0, 60));
        assert!(whole.outer.is_empty());
        let rows = Region::new(&[30, 4], &[10..20, 0..4]);
        assert_eq!((rows.base, rows.row_length), (40, 40));
        assert!(rows.outer.is_empty());
    }

    #[test]
    fn dimensions_that_are_taken_whole_are_merged() {
        let region = Region::new(&[6, 5, 4, 3], &[1..3, 0..5, 0..4, 1..2]);
        assert_eq!(region.row_length, 1);
        let merged = OuterDimension {
            size: 40,
            stride: 3,
        };
        assert_eq!(region.outer, [merged]);
    }

    #[test]
    fn scalars_have_one_element_and_empty_slices_none() {
        assert_eq!(Region::new(&[], &[]).elements(), 1);
        let empty = Region::new(&[4, 4], &[0..4, 2..2]);
        assert_eq!(empty.elements(), 0);
        assert_eq!(empty.runs(0..0).count(), 0);
    }

    fn dims_and_ranges() -> impl Strategy<Value = Vec<(u64, Range<u64>)>> {
        let dimension = (0u64..6).prop_flat_map(|dim| {
            (0..=dim).prop_flat_map(move |a| {
                (Just(dim), (0..=dim).prop_map(move |b| a.min(b)..a.max(b)))
            })
        });
        proptest::collection::vec(dimension, 0..6)
    }

    proptest! {
        #[test]
        fn runs_of_blocks_visit_one_after_the_other(
            sizes in proptest::collection::vec((0u64..4, 0u64..3), 1..6),
            a in 0.0..1.0,
            b in 0.0..1.0,
        ) {
            let mut rows = 0;
            let mut slices = Vec::new();
            let mut expected = Vec::new();
            for (size, gap) in sizes {
                slices.push([rows..rows + size, 1..4]);
                expected.extend((rows..rows + size).flat_map(|row| row * 5 + 1..row * 5 + 4));
                rows += size + gap;
            }
            let shape = Shape::new([rows.max(1), 5]).unwrap();
            let slices: Vec<Slice> = slices
                .into_iter()
                .map(|ranges| Slice::new(ranges, &shape).unwrap())
                .collect();
            let part = Part::blocks(slices).unwrap();
            let regions = Regions::new(&shape, &part);
            let at = |share: f64| (share * expected.len() as f64) as usize;
            let (start, end) = (at(a).min(at(b)), at(a).max(at(b)));
            let visited: Vec<u64> = regions
                .runs(start as u64..end as u64)
                .flat_map(|(first, length)| first..first + length)
                .collect();
            prop_assert_eq!(&visited, &expected[start..end]);
            prop_assert_eq!(regions.elements(), expected.len() as u64);
            for (position, &index) in expected.iter().enumerate() {
                prop_assert_eq!(regions.whole(position as u64), index);
            }
            for index in 0..=shape.elements() {
                let before = expected.iter().filter(|&&other| other < index).count();
                prop_assert_eq!(regions.before(index), before as u64);
            }
        }

        #[test]
        fn runs_visit_the_indices_of_nested_loops(parts in dims_and_ranges()) {
            let (dims, ranges): (Vec<u64>, Vec<Range<u64>>) = parts.into_iter().unzip();
            let mut expected = vec![0u64];
            for (&dim, range) in dims.iter().zip(&ranges) {
                expected = expected
                    .iter()
                    .flat_map(|&outer| range.clone().map(move |i| outer * dim + i))
                    .collect();
            }
            let region = Region::new(&dims, &ranges);
            prop_assert_eq!(region.elements(), expected.len() as u64);
            let visited: Vec<u64> = region
                .runs(0..region.elements())
                .flat_map(|(start, length)| start..start + length)
                .collect();
            prop_assert_eq!(visited, expected);
        }
    }
}
