//! What both backends work from: a [`Fill`] boiled down to the numbers that the kernels take.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::{
    Distribution, Quantile, Scaling, inverse_softplus_of_exp, ln, normal_table, position_table,
};
use crate::kernel::pattern::{MATRIX, MATRIX_TAPS_FIRST, MATRIX_TAPS_LAST, MATRIX_TRANSPOSED};
use crate::kernel::value::FLOAT_EXPONENTS;
use crate::part::Part;
use crate::tensor::{DType, Shape};

/// Numbers that belong to one fill, in the layout that the shaders bind.
pub(crate) type FillTable = Arc<Vec<[u32; 2]>>;

/// Where the random numbers of a distribution come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Core {
    /// None: every element is the constant.
    Constant,
    /// Uniform whole numbers.
    Uniform,
    /// Pairs of normals, from two words.
    Normal,
    /// A curve of one word.
    Quantile,
    /// Sine of an angle that the row and, by the table, the column give.
    Sine,
    /// None: every element is the number that the table holds for its column, as binary32 bits.
    Columns,
    /// None: every element is a binary32 of a matrix, which the table holds whole.
    Matrix,
}

/// Which elements are zero by their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mask {
    /// None.
    None,
    /// Those off a diagonal.
    Diagonal,
    /// Those of a range.
    Range,
    /// A number in each column.
    Sparse,
}

/// A fill as the numbers that the kernels take.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub key: [u32; 2],
    pub stream: [u32; 2],
    pub dtype: DType,
    pub core: Core,
    /// How drawn numbers become elements; of no meaning where none are drawn.
    pub scaling: Scaling,
    /// binary32 bits of every element, where the core is constant.
    pub constant: u32,
    /// The table of normal, quantile, sine and column fills, or the matrix.
    pub table: Option<FillTable>,
    pub mask: Mask,
    /// Elements of a row of the whole tensor, where rows and columns matter; else 0.
    pub columns: u32,
    /// Numbers of the mask: see `src/kernel/pattern.rs`.
    pub pattern: [u32; 4],
    pub regions: Regions,
}

impl Job {
    /// # Errors
    ///
    /// [`Error::Parameter`], naming the tensor, where no value of the fill's dtype lies within
    /// the bounds of its distribution, or nearly none of its values does.
    pub fn new(fill: &Fill) -> Result<Job> {
        let mut job = Job {
            key: words(fill.seed()),
            stream: words(fill.stream()),
            dtype: fill.dtype(),
            core: Core::Constant,
            scaling: Scaling::default(),
            constant: 0,
            table: None,
            mask: Mask::None,
            columns: 0,
            pattern: [0; 4],
            regions: Regions::new(fill.shape(), fill.local()),
        };
        job.draw(fill)?;
        Ok(job)
    }

    /// Sets what the distribution asks for.
    fn draw(&mut self, fill: &Fill) -> Result<()> {
        match *fill.distribution() {
            Distribution::Constant { value } => self.constant = value.to_bits(),
            Distribution::Normal { mean, std } => self.normal(mean, std),
            Distribution::Uniform { low, high } => {
                self.core = Core::Uniform;
                self.scaling = Scaling::uniform(low, high);
            }
            Distribution::TruncatedNormal {
                mean,
                std,
                lower,
                upper,
                width,
                low,
                high,
            } => {
                // Counted from the mean, or from the bound that is nearest to it.
                let anchor = if lower > 0.0 {
                    low
                } else if upper < 0.0 {
                    high
                } else {
                    mean
                };
                let quantile = Quantile::TruncatedNormal {
                    lower,
                    upper,
                    width,
                };
                let bounds = within(fill.dtype(), low, high);
                let bounds = bounds.ok_or_else(|| Error::Parameter {
                    tensor: Some(fill.name().to_owned()),
                    parameter: "lower bound",
                    value: low.into(),
                    accepted: "some number of the dtype must lie between the bounds",
                })?;
                self.quantile(fill, quantile, anchor, std, bounds)?;
            }
            Distribution::LogUniform { low, high } => {
                let bounds = [ln(low), ln(high)].map(|bound| bound as f32);
                self.quantile(fill, Quantile::LogUniform { low, high }, 0.0, 1.0, bounds)?;
            }
            Distribution::TimeStep { min, max, floor } => {
                // The bounds set the floor, so that the curve has no corner.
                let bounds = [min.max(floor), max];
                let bounds = bounds.map(|step| inverse_softplus_of_exp(ln(step)) as f32);
                self.quantile(fill, Quantile::TimeStep { min, max }, 0.0, 1.0, bounds)?;
            }
            Distribution::Diagonal {
                value,
                columns,
                rows,
                ones,
                stride,
                offset,
            } => {
                self.constant = value.to_bits();
                self.mask = Mask::Diagonal;
                self.columns = columns as u32;
                self.pattern = [rows, ones, stride, offset].map(|n| n as u32);
            }
            Distribution::NormalWithZeroRow {
                mean,
                std,
                columns,
                row,
            } => {
                self.normal(mean, std);
                self.mask = Mask::Range;
                let [start_low, start_high] = words(row.saturating_mul(columns));
                let [end_low, end_high] = words((row.saturating_add(1)).saturating_mul(columns));
                self.pattern = [start_low, start_high, end_low, end_high];
            }
            Distribution::Sparse {
                std,
                rows,
                columns,
                zeros,
            } => {
                self.normal(0.0, std);
                self.mask = Mask::Sparse;
                self.columns = columns as u32;
                // The bits of the largest row's number, at least one in each half.
                let bits = (64 - (rows - 1).leading_zeros()).max(2);
                self.pattern = [rows as u32, zeros as u32, bits / 2, bits - bits / 2];
            }
            Distribution::Sinusoid {
                columns,
                max_timescale,
                interleaved,
            } => {
                self.core = Core::Sine;
                self.columns = columns as u32;
                let table = position_table(columns, max_timescale, interleaved);
                self.table = Some(Arc::new(table));
            }
            Distribution::Orthogonal {
                rows,
                columns,
                taps,
                middle,
                taps_last,
                ..
            } => {
                self.core = Core::Matrix;
                let mode = match (taps, taps_last) {
                    (1, _) => MATRIX,
                    (_, true) => MATRIX_TAPS_LAST,
                    (_, false) => MATRIX_TAPS_FIRST,
                };
                self.columns = match mode {
                    MATRIX_TAPS_LAST => taps as u32,
                    _ => (rows * columns) as u32,
                };
                // The matrix is held tall; how wide its rows are there, the backend says.
                let transposed = if rows < columns { MATRIX_TRANSPOSED } else { 0 };
                self.pattern = [mode | transposed, middle as u32, columns as u32, 0];
            }
            Distribution::LogRamp { columns } => {
                self.core = Core::Columns;
                self.columns = columns as u32;
                self.table = Some(Arc::new(crate::init::log_table(columns)));
            }
        }
        Ok(())
    }

    /// The table; empty where there is none.
    pub fn table(&self) -> &[[u32; 2]] {
        self.table.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Whether elements are subnormal or overflow, which devices may not do in floats.
    pub fn has_extremes(&self) -> bool {
        !FLOAT_EXPONENTS.contains(&self.scaling.exponent)
    }

    /// Sets how many elements lie between two rows of the matrix in the table.
    #[cfg(any(feature = "gpu", feature = "orthogonal"))]
    pub fn set_stride(&mut self, stride: u32) {
        self.pattern[3] = stride;
    }

    fn normal(&mut self, mean: f32, std: f32) {
        self.core = Core::Normal;
        self.table = Some(normal_table());
        self.scaling = Scaling::normal(mean, std);
    }

    fn quantile(
        &mut self,
        fill: &Fill,
        quantile: Quantile,
        anchor: f32,
        scale: f32,
        bounds: [f32; 2],
    ) -> Result<()> {
        let table = quantile.table();
        let scaling = Scaling::quantile(&table, anchor, scale, bounds);
        self.scaling = scaling.ok_or_else(|| Error::Parameter {
            tensor: Some(fill.name().to_owned()),
            parameter: "std",
            value: scale.into(),
            accepted: "it must be small enough that values fit the dtype",
        })?;
        self.core = Core::Quantile;
        self.table = Some(Arc::clone(&table.entries));
        Ok(())
    }
}

/// The lowest and the highest binary32 that are numbers of a dtype and lie within bounds, so that
/// rounding to the dtype cannot lead outside.
fn within(dtype: DType, low: f32, high: f32) -> Option<[f32; 2]> {
    let (low, high) = match dtype {
        DType::F32 => (low, high),
        DType::F16 | DType::BF16 => (not_below(dtype, low), -not_below(dtype, -high)),
    };
    (low <= high).then_some([low, high])
}

/// The lowest number of a 16-bit dtype that is not below a number.
fn not_below(dtype: DType, bound: f32) -> f32 {
    let half = dtype == DType::F16;
    let bits = if half {
        half::f16::from_f32(bound).to_bits()
    } else {
        half::bf16::from_f32(bound).to_bits()
    };
    let from = |bits| {
        if half {
            half::f16::from_bits(bits).to_f32()
        } else {
            half::bf16::from_bits(bits).to_f32()
        }
    };
    if from(bits) >= bound && from(bits) != f32::NEG_INFINITY {
        return from(bits);
    }
    // The next one up: towards 0 for negative numbers, and from -0 to the smallest above 0.
    from(match bits {
        0x8000 => 1,
        bits if bits & 0x8000 != 0 => bits - 1,
        bits => bits + 1,
    })
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

/// The regions that a part of a tensor consists of, one after the other, those without elements
/// left out. "Position" counts the elements of the part in its own row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Regions {
    /// Each with the position of its first element.
    parts: Vec<(u64, Region)>,
}

impl Regions {
    /// Elements are numbered by the whole tensor, whatever the part: a flat one is a slice of the
    /// same elements in one dimension.
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

    /// Index in `parts` of the region that a position below the end lies in.
    fn index(&self, position: u64) -> usize {
        let after = self.parts.partition_point(|(start, _)| *start <= position);
        after.saturating_sub(1)
    }

    /// The region that a position below the end lies in, and the position of its first element.
    #[cfg(feature = "raw")]
    pub fn at(&self, position: u64) -> (&Region, u64) {
        let (start, region) = &self.parts[self.index(position)];
        (region, *start)
    }

    /// As [`Region::runs`], through all regions.
    pub fn runs(&self, range: Range<u64>) -> impl Iterator<Item = (u64, u64)> + '_ {
        let parts = self.parts[self.index(range.start)..].iter();
        parts
            .take_while(move |(start, _)| *start < range.end)
            .flat_map(move |(start, region)| {
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
