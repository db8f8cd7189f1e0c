//! Small files from elsewhere: reading them within limits, and saying what is wrong with them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::text::shown;

/// Makes the error for a file that is not as it should be, naming the tensor at fault if there is
/// one.
pub(crate) fn format_error(path: &Path, tensor: Option<&str>, reason: impl Into<String>) -> Error {
    Error::Format {
        path: shown(path),
        tensor: tensor.map(str::to_owned),
        reason: reason.into(),
    }
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
///
/// [`Error::Io`] if the file cannot be read, [`Error::Format`] if it is larger.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let mut bytes = Vec::new();
    // One byte past the limit tells a file that is too large from one that just fits. The length
    // that the file system reports is not used, because a pipe has none.
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io(path, "read"))?;
    if bytes.len() as u64 > limit {
        let reason = format!("is larger than {limit} bytes, the most that is read");
        return Err(format_error(path, None, reason));
    }
    Ok(bytes)
}

/// The byte order mark, which editors on Windows write at the beginning of a text in UTF-8. It is
/// no part of the text.
pub(crate) const BOM: &str = "\u{feff}";

/// Returns a text without a byte order mark at its beginning.
pub(crate) fn without_bom(text: &str) -> &str {
    text.strip_prefix(BOM).unwrap_or(text)
}

/// Reads a text of at most `limit` bytes of UTF-8, without a byte order mark. Returns it with the file's name without folders,
/// as messages show it. `expected` describes the file for messages: "a recipe is TOML".
///
/// # Errors
///
/// Those of [`read_limited`], and [`Error::Format`] for a file that is not UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64, expected: &str) -> Result<(String, String)> {
    let mut text = String::from_utf8(read_limited(path, limit)?).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        format_error(
            path,
            None,
            format!("is not UTF-8 from byte {valid} on: {expected}"),
        )
    })?;
    if text.starts_with(BOM) {
        text.drain(..BOM.len());
    }
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok((text, shown(Path::new(name))))
}

/// Finds the lines and columns of bytes of a text, both counted from 1. Columns count characters.
///
/// Asking for ascending bytes takes one pass over the text in all.
pub(crate) struct Places<'a> {
    text: &'a str,
    byte: usize,
    line: usize,
    column: usize,
}

impl<'a> Places<'a> {
    /// Starts at the beginning of a text.
    pub fn new(text: &'a str) -> Self {
        Places {
            text,
            byte: 0,
            line: 1,
            column: 1,
        }
    }

    /// Returns the line and the column of a byte.
    pub fn line_and_column(&mut self, byte: usize) -> (usize, usize) {
        let byte = byte.min(self.text.len());
        if byte < self.byte {
            *self = Places::new(self.text);
        }
        for b in &self.text.as_bytes()[self.byte..byte] {
            (self.line, self.column) = match b {
                b'\n' => (self.line + 1, 1),
                // A continuation byte of UTF-8: its character is counted already.
                0x80..0xc0 => (self.line, self.column),
                _ => (self.line, self.column + 1),
            };
        }
        self.byte = byte;
        (self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn places_are_lines_and_characters() {
        let mut places = Places::new("aé\nö b\n\nc");
        let bytes = [0, 1, 3, 4, 6, 8, 9, 10, 100, 0, 1];
        let expected = [
            (1, 1),
            (1, 2),
            (1, 3),
            (2, 1),
            (2, 2),
            (2, 4),
            (3, 1),
            (4, 1),
            (4, 2),
            (1, 1),
            (1, 2),
        ];
        for (byte, place) in bytes.into_iter().zip(expected) {
            assert_eq!(places.line_and_column(byte), place, "byte {byte}");
        }
    }
}
