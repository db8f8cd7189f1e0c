//! The dimensions of a tensor.

use std::fmt;

use crate::error::{Error, Result};

/// The largest number of elements of a tensor: 2^50, the 48-bit block counter times 4 lanes.
pub const MAX_ELEMENTS: u64 = 1 << 50;

/// The dimensions of a tensor, outermost first.
///
/// Rank 0 is a scalar: one element. A dimension of 0 makes an empty tensor, which has no element.
/// Every initializer accepts an empty tensor.
///
/// ```
/// use fanin::Shape;
///
/// let shape = Shape::new([50257, 768])?;
/// assert_eq!(shape.elements(), 38_597_376);
/// assert_eq!(shape.to_string(), "[50257, 768]");
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape(Vec<u64>);

impl Shape {
    /// Makes a shape of these dimensions.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for more than [`MAX_ELEMENTS`] elements. An empty tensor must keep the same
    /// limit with its zeros left out, as in numpy, so that no product of dimensions overflows. The
    /// error names no tensor: see [`Error::named`].
    pub fn new(dims: impl Into<Vec<u64>>) -> Result<Self> {
        let shape = Shape(dims.into());
        let refused = |reason: String| Error::shape(&shape, reason);
        let mut nonzero = shape.0.iter().filter(|&&dim| dim > 0);
        let product = nonzero.try_fold(1u64, |product, &dim| product.checked_mul(dim));
        match product {
            Some(product) if product <= MAX_ELEMENTS => Ok(shape),
            _ if shape.0.contains(&0) => Err(refused(format!(
                "is empty, but its other dimensions multiply to more than 2^50 = {MAX_ELEMENTS}, \
                 the limit for every tensor"
            ))),
            _ => Err(refused(format!(
                "has more than 2^50 = {MAX_ELEMENTS} elements, the limit of one stream"
            ))),
        }
    }

    /// Returns the axis of a number, of which negative ones count from the last axis.
    pub(crate) fn axis(&self, dim: i64) -> Option<usize> {
        let rank = self.0.len() as i64;
        let axis = if dim < 0 { dim.checked_add(rank)? } else { dim };
        (0..rank).contains(&axis).then_some(axis as usize)
    }

    /// Returns an error's reason for a number that [`Shape::axis`] refuses.
    pub(crate) fn has_no_axis(&self) -> String {
        match self.0.len() {
            0 => "cuts a dimension, but a scalar has none: use replicate or flat".to_owned(),
            rank => format!(
                "cuts a dimension that shape {self} does not have: use 0 to {}, or -{rank} to -1",
                rank - 1
            ),
        }
    }

    /// The dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[u64] {
        &self.0
    }

    /// The number of dimensions.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The number of elements, from 0 to [`MAX_ELEMENTS`].
    #[must_use]
    pub fn elements(&self) -> u64 {
        // No overflow before a 0 is reached: `Shape::new` bounds the product of the other dimensions.
        self.0.iter().product()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:?}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Slice, Tensor};
    use super::*;

    fn shape(dims: &[u64]) -> Shape {
        Shape::new(dims).expect("a good shape")
    }

    #[test]
    fn shapes_up_to_the_counter_are_accepted() {
        assert_eq!(shape(&[]).elements(), 1);
        assert_eq!(shape(&[MAX_ELEMENTS]).elements(), MAX_ELEMENTS);
        for dims in [
            &[MAX_ELEMENTS + 1][..],
            &[1 << 32, 1 << 32],
            &[u64::MAX, u64::MAX, u64::MAX],
        ] {
            let error = Shape::new(dims).unwrap_err().to_string();
            assert!(error.contains("more than 2^50"), "{error}");
        }
        let error = Tensor::new("a.weight", [1 << 51]).unwrap_err().to_string();
        assert_eq!(
            error,
            "tensor \"a.weight\": shape [2251799813685248] has more than 2^50 = 1125899906842624 \
             elements, the limit of one stream"
        );
    }

    #[test]
    fn empty_shapes_are_shapes_with_the_same_limit() {
        for dims in [
            &[0][..],
            &[3, 0],
            &[0, 0],
            &[MAX_ELEMENTS, 0],
            &[0, 1 << 25, 1 << 25],
        ] {
            let shape = shape(dims);
            assert_eq!(shape.elements(), 0, "{shape}");
            assert_eq!(Slice::full(&shape).elements(), 0, "{shape}");
        }
        assert_eq!(
            Slice::parse("0:0,:", &shape(&[0, 5])).unwrap().dims(),
            [0, 5]
        );
        // numpy refuses zeros((0, 2**40, 2**40)) too: what is left out of the count must fit.
        for dims in [
            &[0, MAX_ELEMENTS + 1][..],
            &[1 << 40, 0, 1 << 40],
            &[u64::MAX, u64::MAX, 0],
        ] {
            let error = Shape::new(dims).unwrap_err().to_string();
            assert!(
                error.contains("is empty, but its other dimensions"),
                "{error}"
            );
        }
    }
}
