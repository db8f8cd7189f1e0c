//! A rectangular part of a tensor.

use std::fmt;
use std::ops::Range;

use super::Shape;
use crate::error::{Error, Result};
use crate::text::quoted;

/// A rectangular part of a tensor: one range of indices for each dimension.
///
/// An empty range is allowed and makes an empty slice, such as the part of a rank beyond the end of
/// an axis.
///
/// As text, a slice is one range for each dimension. Either end may be left out, as in Python:
/// `0:100,0:512`, `:,5:`.
///
/// ```
/// use fanin::{Shape, Slice};
///
/// let shape = Shape::new([4096, 4096])?;
/// let rows = Slice::new([1024..2048, 0..4096], &shape)?;
/// assert_eq!(rows, Slice::parse("1024:2048,:", &shape)?);
/// assert_eq!(rows.elements(), 1024 * 4096);
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slice(Vec<Range<u64>>);

impl Slice {
    /// Returns the slice that is the whole tensor.
    #[must_use]
    pub fn full(shape: &Shape) -> Self {
        Slice(shape.dims().iter().map(|&dim| 0..dim).collect())
    }

    /// Makes the slice of these ranges of a tensor of this shape.
    ///
    /// # Errors
    ///
    /// [`Error::Slice`] if the number of ranges is not the shape's rank, or if a range ends before
    /// it starts or after its dimension. The error names no tensor: see [`Error::named`].
    pub fn new(ranges: impl Into<Vec<Range<u64>>>, shape: &Shape) -> Result<Self> {
        let slice = Slice(ranges.into());
        let refused = |reason: String| Error::Slice {
            slice: slice.to_string(),
            reason,
        };
        if slice.0.len() != shape.rank() {
            return Err(refused(format!(
                "has {} ranges, shape {shape} needs {}, one for each dimension",
                slice.0.len(),
                shape.rank()
            )));
        }
        for (axis, (range, dim)) in slice.0.iter().zip(shape.dims()).enumerate() {
            if range.start > range.end || range.end > *dim {
                return Err(refused(format!(
                    "does not lie within shape {shape}: dimension {axis} needs \
                     0 <= start <= end <= {dim}"
                )));
            }
        }
        Ok(slice)
    }

    /// Returns the part of rank `rank` of `size` if a tensor of this shape is cut along one
    /// dimension, as in tensor parallelism.
    ///
    /// The cut is `Shard(dim)` of `torch.distributed.tensor.placement_types`, which cuts as
    /// `torch.chunk` does: rank r holds indices `r * c` to `(r + 1) * c` with `c = ceil(n / size)`.
    /// The last ranks may hold less, or nothing. A negative `dim` counts from the last dimension.
    ///
    /// ```
    /// use fanin::{Shape, Slice};
    ///
    /// let shape = Shape::new([10, 4])?;
    /// let rows = |rank| Slice::tensor_parallel(&shape, 0, rank, 4).map(|slice| slice.to_string());
    /// assert_eq!(rows(0)?, "0:3,0:4");
    /// assert_eq!(rows(3)?, "9:10,0:4");
    /// let columns = Slice::tensor_parallel(&shape, -1, 1, 2)?;
    /// assert_eq!(columns.to_string(), "0:10,2:4");
    /// # Ok::<(), fanin::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] for a dimension that the shape does not have, and for a rank that is
    /// not below `size`.
    pub fn tensor_parallel(shape: &Shape, dim: i64, rank: u64, size: u64) -> Result<Self> {
        let axis = shape.axis(dim).ok_or_else(|| Error::Placement {
            placement: format!("shard({dim})"),
            reason: shape.has_no_axis(),
        })?;
        check_rank(rank, size)?;
        let mut slice = Slice::full(shape);
        slice.0[axis] = chunk(shape.dims()[axis], rank, size);
        Ok(slice)
    }

    /// Reads a slice of a tensor of this shape from text.
    ///
    /// The text has a range `start:end` for each dimension, separated by commas. A missing start is
    /// 0, a missing end is the dimension. There are no negative indices and no steps.
    ///
    /// # Errors
    ///
    /// [`Error::Slice`] for text that is not a slice, and as [`Slice::new`].
    pub fn parse(text: &str, shape: &Shape) -> Result<Self> {
        let refused = |reason: String| Error::Slice {
            slice: text.to_owned(),
            reason,
        };
        // A scalar has no dimension, so its only slice is the empty text.
        let parts: Vec<&str> = match text.trim() {
            "" => Vec::new(),
            text => text.split(',').collect(),
        };
        if parts.len() != shape.rank() {
            return Err(refused(format!(
                "has {} ranges, shape {shape} needs {}, one for each dimension",
                parts.len(),
                shape.rank()
            )));
        }
        let mut ranges = Vec::with_capacity(parts.len());
        for (part, &dim) in parts.iter().zip(shape.dims()) {
            // `u64::from_str` accepts a plus sign, so the text is checked for digits first.
            let bound = |bound: &str, default: u64| match bound.trim() {
                "" => Some(default),
                digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
                _ => None,
            };
            let range = part
                .split_once(':')
                .and_then(|(start, end)| Some(bound(start, 0)?..bound(end, dim)?));
            ranges.push(range.ok_or_else(|| {
                refused(format!(
                    "has the range {}: write start:end with whole numbers from 0; either may be left \
                     out",
                    quoted(part.trim())
                ))
            })?);
        }
        Slice::new(ranges, shape)
    }

    /// The range of indices along each dimension, outermost first.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.0
    }

    /// The dimensions of the part itself. One of them is 0 if the slice is empty.
    #[must_use]
    pub fn dims(&self) -> Vec<u64> {
        self.0.iter().map(|range| range.end - range.start).collect()
    }

    /// The number of elements in the part, from 0 to [`MAX_ELEMENTS`](crate::MAX_ELEMENTS).
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).product()
    }
}

impl AsRef<[Range<u64>]> for Slice {
    fn as_ref(&self) -> &[Range<u64>] {
        &self.0
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (axis, range) in self.0.iter().enumerate() {
            let comma = if axis == 0 { "" } else { "," };
            write!(f, "{comma}{}:{}", range.start, range.end)?;
        }
        Ok(())
    }
}

/// Returns the indices of chunk `rank` of `size`, of n indices, as `torch.chunk` cuts them: each
/// chunk takes `ceil(n / size)` of the remaining indices, or fewer if fewer remain.
pub(crate) fn chunk(n: u64, rank: u64, size: u64) -> Range<u64> {
    let length = n.div_ceil(size);
    // Saturating, because a rank can be any 64-bit number. Both ends are held within n.
    let start = rank.saturating_mul(length).min(n);
    start..start.saturating_add(length).min(n)
}

/// Checks that a rank is below the number of ranks.
///
/// # Errors
///
/// [`Error::Placement`] if it is not.
pub(crate) fn check_rank(rank: u64, size: u64) -> Result<()> {
    if rank < size {
        return Ok(());
    }
    Err(Error::Placement {
        placement: format!("rank {rank}"),
        reason: match size {
            0 => "is out of range: there are 0 ranks, use at least 1".to_owned(),
            1 => "is out of range: with 1 rank use 0".to_owned(),
            size => format!("is out of range: with {size} ranks use 0 to {}", size - 1),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_parse_like_python() {
        let shape = Shape::new([10, 20]).unwrap();
        let parse = |text| Slice::parse(text, &shape).map(|s| s.to_string());
        assert_eq!(parse("0:10,0:20").unwrap(), "0:10,0:20");
        assert_eq!(parse(":,5:").unwrap(), "0:10,5:20");
        assert_eq!(parse(" 2:2 , :7").unwrap(), "2:2,0:7");
        for text in [
            "",
            "0:10",
            "0:10,0:20,0:1",
            "0:11,:",
            "3:2,:",
            "1,:",
            "-1:,:",
            "0:10:2,:",
            "a:,:",
            "+1:,:",
            "0:99999999999999999999,:",
        ] {
            let error = parse(text).unwrap_err();
            assert!(matches!(error, Error::Slice { .. }), "{text}: {error}");
        }
        assert_eq!(
            Slice::parse("", &Shape::new([]).unwrap())
                .unwrap()
                .elements(),
            1
        );
        assert_eq!(Slice::parse("2:2,:", &shape).unwrap().dims(), [0, 20]);
    }
}
