//! Reading small files that others wrote.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result, shown};

/// The file's bytes, if it has no more than `limit`.
///
/// # Errors
///
/// [`Error::Io`] where it cannot be read, [`Error::Format`] where it is larger.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let mut bytes = Vec::new();
    // One byte past the limit tells too large from just large enough. The length that the
    // file system gives is not relied on: a pipe has none.
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io(path, "read"))?;
    if bytes.len() as u64 > limit {
        return Err(Error::Format {
            path: shown(path),
            tensor: None,
            reason: format!("is larger than {limit} bytes, the most that is read"),
        });
    }
    Ok(bytes)
}

/// Line and column of a byte, both from 1; columns count characters.
pub(crate) fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..byte.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |i| i + 1);
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    let column = String::from_utf8_lossy(&before[line_start..])
        .chars()
        .count()
        + 1;
    (line, column)
}
