//! Checks that fills do not overlap, and turns for those that share a word.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::fill::Fill;

/// The bytes of a buffer that a fill writes.
pub(super) struct WrittenBytes<'a, B> {
    pub fill: &'a Fill,
    pub buffer: B,
    pub bytes: Range<u64>,
}

impl<'a, B> WrittenBytes<'a, B> {
    /// Returns the bytes that `length` elements of a fill write, from element `offset` on, to a buffer
    /// of `size` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::BufferTooSmall`] if the buffer ends before they do, rounded up to whole words.
    pub fn new(fill: &'a Fill, length: u64, buffer: B, offset: u64, size: u64) -> Result<Self> {
        let element = fill.dtype().size();
        let end = offset
            .checked_add(length)
            .and_then(|elements| elements.checked_mul(element));
        let needed = end.and_then(|end| end.checked_next_multiple_of(4));
        if length > 0 && needed.is_none_or(|needed| needed > size) {
            return Err(Error::BufferTooSmall {
                tensor: fill.name().to_owned(),
                needed: needed.unwrap_or(u64::MAX),
                available: size,
            });
        }
        // An empty fill writes nothing, so its offset can be any number, even one that overflows.
        let bytes = match end {
            Some(end) if length > 0 => offset * element..end,
            _ => 0..0,
        };
        Ok(WrittenBytes {
            fill,
            buffer,
            bytes,
        })
    }
}

/// Assigns fills that share a 32-bit word of a buffer to different turns. Turns run in separate
/// dispatches, which avoids a race.
///
/// # Errors
///
/// [`Error::Overlap`] for two fills that share a byte.
pub(super) fn turns<B: Ord>(written: &[WrittenBytes<'_, B>]) -> Result<Vec<bool>> {
    let mut turns = vec![false; written.len()];
    let mut order: Vec<usize> = (0..written.len())
        .filter(|&i| !written[i].bytes.is_empty())
        .collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&written[a], &written[b]);
        (&a.buffer, a.bytes.start).cmp(&(&b.buffer, b.bytes.start))
    });
    // In this order, an overlap of any two shows between two neighbours.
    for pair in order.windows(2) {
        let (before, after) = (&written[pair[0]], &written[pair[1]]);
        if before.buffer != after.buffer {
            continue;
        }
        let (end, start) = (before.bytes.end, after.bytes.start);
        if start < end {
            return Err(Error::Overlap {
                tensor: after.fill.name().to_owned(),
                other: before.fill.name().to_owned(),
                start,
                end: end.min(after.bytes.end),
            });
        }
        turns[pair[1]] = start / 4 < end.div_ceil(4) && !turns[pair[0]];
    }
    Ok(turns)
}
