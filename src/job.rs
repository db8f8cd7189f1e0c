//! What both backends work from: a [`Fill`] boiled down to the numbers that the kernels take.

use std::ops::Range;

use crate::fill::Fill;
use crate::init::Distribution;
use crate::kernel::scale::Scale;
use crate::tensor::DType;

/// Fraction bits of the uniform core.
const UNIFORM_FRACTION_BITS: i32 = 28;
/// Fraction bits of the normal core.
const NORMAL_FRACTION_BITS: i32 = 26;

/// Where the random numbers of a distribution come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Core {
    /// None: every element is the mean.
    Constant,
    /// Uniform on (-1, 1).
    Uniform,
    /// Standard normal.
    Normal,
}

/// `value = clamp(mean + scale * core)`, all parameters as binary32 bits.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub key: [u32; 2],
    pub stream: [u32; 2],
    pub dtype: DType,
    pub core: Core,
    /// Any value where the core is constant.
    pub scale: Scale,
    pub mean: u32,
    /// Lowest and highest value.
    pub clamp: Option<[u32; 2]>,
    pub region: Region,
}

impl Job {
    pub fn new(fill: &Fill) -> Job {
        let no_scale = Scale {
            mantissa: 0,
            exponent: 0,
        };
        let (core, scale, mean, clamp) = match *fill.distribution() {
            Distribution::Constant { value } => (Core::Constant, no_scale, value, None),
            Distribution::Normal { mean, std } => (
                Core::Normal,
                Scale::new(std, NORMAL_FRACTION_BITS),
                mean,
                None,
            ),
            Distribution::Uniform {
                low,
                high,
                mean,
                scale,
            } => (
                Core::Uniform,
                Scale::new(scale, UNIFORM_FRACTION_BITS),
                mean,
                Some([low.to_bits(), high.next_down().to_bits()]),
            ),
        };
        Job {
            key: words(fill.seed()),
            stream: words(fill.stream()),
            dtype: fill.dtype(),
            core,
            scale,
            mean: mean.to_bits(),
            clamp,
            region: Region::new(fill.shape().dims(), fill.local().ranges()),
        }
    }

    /// Whether the mean is neither +0 nor -0: only then is the outer addition made.
    pub fn shifted(&self) -> bool {
        self.mean << 1 != 0
    }
}

fn words(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// A rectangular slice as rows: runs of elements that are contiguous in the whole tensor.
/// "Position" counts the elements of the slice in its own row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// Index in the whole tensor of the slice's first element.
    pub base: u64,
    /// Elements of a row.
    pub row_length: u64,
    /// What the rows are counted by, innermost first. Dimensions that can be merged are.
    pub outer: Vec<Dimension>,
}

/// An outer dimension of a [`Region`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dimension {
    pub size: u64,
    /// Elements of the whole tensor from one digit to the next.
    pub stride: u64,
}

impl Region {
    /// The slice `ranges` of a tensor with dimensions `dims`; both have the same length, and
    /// each range lies in its dimension.
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
            // Contiguous so far, all of what lies inside being taken whole: the row grows.
            if region.outer.is_empty() && region.row_length == stride {
                region.row_length *= size;
            } else if size != 1 {
                match region.outer.last_mut() {
                    Some(last) if last.size * last.stride == stride => last.size *= size,
                    _ => region.outer.push(Dimension { size, stride }),
                }
            }
            stride *= dim;
        }
        if ranges.iter().any(Range::is_empty) {
            region.row_length = 0;
        }
        region
    }

    /// Elements of the slice.
    #[cfg(test)]
    pub fn elements(&self) -> u64 {
        self.row_length * self.outer.iter().map(|d| d.size).product::<u64>()
    }

    /// Index in the whole tensor of a row's first element.
    pub fn row_start(&self, row: u64) -> u64 {
        let mut rest = row;
        let mut start = self.base;
        for dimension in &self.outer {
            start += rest % dimension.size * dimension.stride;
            rest /= dimension.size;
        }
        start
    }

    /// The runs of contiguous elements that make up the positions `range`: the index of each
    /// run's first element in the whole tensor, and its length.
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

#[cfg(test)]
mod tests {
    use super::*;
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
        let merged = Dimension {
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
        let dimension = (1u64..6).prop_flat_map(|dim| {
            (0..=dim).prop_flat_map(move |a| {
                (Just(dim), (0..=dim).prop_map(move |b| a.min(b)..a.max(b)))
            })
        });
        proptest::collection::vec(dimension, 0..6)
    }

    proptest! {
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
