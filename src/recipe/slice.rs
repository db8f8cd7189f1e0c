//! The part of a tensor that one of a rule's `parts` names: `0:dim(0)/4, -1:`.

use std::ops::Range;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::expression::{Expression, Variable};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Slice};
use crate::text::quoted;

/// The longest text in bytes. It bounds the time and memory for an untrusted recipe.
const MAX_LENGTH: usize = 4096;

/// A slice whose ends may be expressions. Axes that it does not name are whole.
#[derive(Clone, Debug)]
pub(super) struct SliceTemplate {
    text: String,
    ranges: Vec<RangeTemplate>,
}

#[derive(Clone, Debug)]
enum RangeTemplate {
    /// `start:end`. A missing start is 0, a missing end is the dimension.
    Range(Option<Expression>, Option<Expression>),
    /// A single index.
    Index(Expression),
}

impl SliceTemplate {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!(
                "slice has {} bytes, where at most {MAX_LENGTH} are read",
                text.len()
            ));
        }
        let expression = |text: &str| {
            Expression::parse(text).map_err(|reason| format!("slice {}: {reason}", quoted(text)))
        };
        let end = |text: &str| match text.trim() {
            "" => Ok(None),
            text => expression(text).map(Some),
        };
        let ranges = split(text, ',').into_iter().map(|range| {
            Ok(match split(range, ':')[..] {
                [index] => RangeTemplate::Index(expression(index)?),
                [start, stop] => RangeTemplate::Range(end(start)?, end(stop)?),
                _ => {
                    return Err(format!(
                        "slice has the range {}: write start:end, or an index",
                        quoted(range)
                    ));
                }
            })
        });
        Ok(SliceTemplate {
            text: text.to_owned(),
            ranges: ranges.collect::<std::result::Result<_, String>>()?,
        })
    }

    /// Returns the globs of the expressions.
    pub fn globs(&self) -> Vec<&str> {
        let mut globs = Vec::new();
        for range in &self.ranges {
            let ends = match range {
                RangeTemplate::Range(start, end) => [start.as_ref(), end.as_ref()],
                RangeTemplate::Index(at) => [Some(at), None],
            };
            for expression in ends.into_iter().flatten() {
                expression.add_globs(&mut globs);
            }
        }
        globs
    }

    /// Returns the slice of a tensor of this shape. `look_up` gives the values of variables.
    ///
    /// # Errors
    ///
    /// The errors of `look_up`, and [`Error::Slice`] for a slice that the tensor does not have.
    pub fn slice(
        &self,
        shape: &Shape,
        look_up: &impl Fn(&Variable) -> Result<f64>,
    ) -> Result<Slice> {
        let refused = |reason: String| Error::Slice {
            slice: self.text.clone(),
            reason,
        };
        if self.ranges.len() > shape.rank() {
            return Err(refused(format!(
                "has {} ranges, but shape {shape} has {} dimensions",
                self.ranges.len(),
                shape.rank()
            )));
        }
        let mut ranges = Slice::full(shape).ranges().to_vec();
        for (axis, template) in self.ranges.iter().enumerate() {
            let dim = shape.dims()[axis];
            // Negative numbers count from the end, as in Python.
            let index = |expression: &Expression| {
                let value = expression.value(look_up)?;
                let index = if value < 0.0 {
                    value + dim as f64
                } else {
                    value
                };
                // binary64 holds every index up to 2^50. The fraction of NaN and infinity is NaN.
                if index.fract() == 0.0 && (0.0..=dim as f64).contains(&index) {
                    return Ok(index as u64);
                }
                Err(refused(format!(
                    "has {value} along dimension {axis} of shape {shape}: use a whole number from -{dim} \
                     to {dim}"
                )))
            };
            ranges[axis] = match template {
                RangeTemplate::Range(start, end) => {
                    let start = start.as_ref().map_or(Ok(0), index)?;
                    let end = end.as_ref().map_or(Ok(dim), index)?;
                    if start > end {
                        return Err(refused(format!(
                            "has a range from {start} to {end} along dimension {axis}: it must not end \
                             before it starts"
                        )));
                    }
                    start..end
                }
                RangeTemplate::Index(at) => {
                    let at = index(at)?;
                    if at == dim {
                        return Err(refused(format!(
                            "has index {at} along dimension {axis} of shape {shape}: use -{dim} to {}",
                            dim.saturating_sub(1)
                        )));
                    }
                    at..at + 1
                }
            };
        }
        Slice::new(ranges, shape)
    }
}

/// Checks that slices hold every element of a tensor of this shape.
///
/// # Errors
///
/// [`Error::Shape`], which names elements that no slice holds.
pub(super) fn check_cover<'a>(
    shape: &Shape,
    slices: impl Iterator<Item = &'a Slice>,
) -> Result<()> {
    /// The most boxes that are looked at. Slices of real models leave a few.
    const MAX_BOXES: usize = 10_000;
    let mut left = vec![Slice::full(shape).ranges().to_vec()];
    left.retain(|ranges| !ranges.iter().any(Range::is_empty));
    for slice in slices {
        let mut rest = Vec::new();
        for mut open in left {
            // An empty slice has no element of a box that it lies in.
            let mut cut = open.iter().zip(slice.ranges());
            if cut.any(|(a, b)| a.end <= b.start || b.end <= a.start || b.is_empty()) {
                rest.push(open);
                continue;
            }
            // What is before and after the slice along each axis, the axes before it within the slice.
            for (axis, taken) in slice.ranges().iter().enumerate() {
                let range = open[axis].clone();
                for outside in [range.start..taken.start, taken.end..range.end] {
                    if !outside.is_empty() {
                        let mut piece = open.clone();
                        piece[axis] = outside;
                        rest.push(piece);
                    }
                }
                // The pieces of later axes stay within the slice along this one, so pieces do not overlap.
                open[axis] = range.start.max(taken.start)..range.end.min(taken.end);
            }
        }
        left = rest;
        if left.len() > MAX_BOXES {
            return Err(Error::shape(
                shape,
                "has too many parts to see whether they hold every element: give the rule an init",
            ));
        }
    }
    match left.first() {
        None => Ok(()),
        Some(ranges) => Err(Error::shape(
            shape,
            format!(
                "has elements in none of the parts, such as {}: give the rule an init for them",
                Slice::new(ranges.clone(), shape)?
            ),
        )),
    }
}

/// Splits at a separator outside of parentheses and quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0u32, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if c == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

impl<'de> Deserialize<'de> for SliceTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        SliceTemplate::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slice(text: &str, dims: &[u64]) -> std::result::Result<String, String> {
        let shape = Shape::new(dims).unwrap();
        let dim = |variable: &Variable| match variable {
            Variable::Dim(axis) => Ok(dims[*axis as usize] as f64),
            _ => Ok(1.0),
        };
        let slice = SliceTemplate::parse(text)?.slice(&shape, &dim);
        slice
            .map(|slice| slice.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn slices_are_read_as_in_python() {
        for (text, expected) in [
            ("0:dim(0)/4", "0:3,0:5"),
            ("dim(0)/4 : dim(0)/2, :", "3:6,0:5"),
            ("-1", "11:12,0:5"),
            ("-2:, 1:-1", "10:12,1:4"),
            (":, 2", "0:12,2:3"),
            ("size(\"a,b:*\", 0):2", "1:2,0:5"),
            ("12:", "12:12,0:5"),
        ] {
            assert_eq!(slice(text, &[12, 5]).unwrap(), expected, "{text}");
        }
        for (text, expected) in [
            (
                "0:13",
                "has 13 along dimension 0 of shape [12, 5]: use a whole number from -12 to 12",
            ),
            ("-13:", "has -13 along dimension 0"),
            (
                "12",
                "has index 12 along dimension 0 of shape [12, 5]: use -12 to 11",
            ),
            ("0:dim(1)/2", "has 2.5 along dimension 0"),
            ("3:2", "must not end before it starts"),
            (":,:,:", "has 3 ranges, but shape [12, 5] has 2 dimensions"),
            ("0:1:2", "write start:end, or an index"),
            ("0:x", "unknown name \"x\""),
        ] {
            let error = slice(text, &[12, 5]).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-+*/().,:=a-z0-9 \"]{0,60}") {
            let _ = slice(&text, &[12, 5]);
        }
    }
}
