//! Reading small files that others wrote.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::text::shown;

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

/// The text of a file, if it has no more than `limit` bytes of UTF-8, and the file's name without
/// folders, as messages show it. `what` says what the file is: "a recipe is TOML".
///
/// # Errors
///
/// Those of [`read_limited`]; [`Error::Format`] where it is not UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64, what: &str) -> Result<(String, String)> {
    let text = String::from_utf8(read_limited(path, limit)?).map_err(|error| Error::Format {
        path: shown(path),
        tensor: None,
        reason: format!(
            "is not UTF-8 from byte {} on: {what}",
            error.utf8_error().valid_up_to()
        ),
    })?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok((text, shown(Path::new(name))))
}

/// Tells lines and columns, both from 1, of bytes that come in the text's order; columns count
/// characters.
pub(crate) struct Places<'a> {
    text: &'a str,
    byte: usize,
    line: usize,
    column: usize,
}

impl<'a> Places<'a> {
    pub fn new(text: &'a str) -> Self {
        Places {
            text,
            byte: 0,
            line: 1,
            column: 1,
        }
    }

    pub fn line_and_column(&mut self, byte: usize) -> (usize, usize) {
        let byte = byte.min(self.text.len());
        if byte < self.byte {
            *self = Places::new(self.text);
        }
        for b in &self.text.as_bytes()[self.byte..byte] {
            (self.line, self.column) = match b {
                b'\n' => (self.line + 1, 1),
                // Not the first byte of its character.
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
