//! Small files from elsewhere: reading them within limits, and saying what is wrong with them.

use std::fs::{self, File, FileType};
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::text::shown;

/// Makes the error for a file that is not as it should be, naming the tensor at fault if there is
/// one.
pub(crate) fn format_error(path: &Path, tensor: Option<&str>, reason: impl Into<String>) -> Error {
    Error::Format {
        path: path.to_string_lossy().into_owned(),
        tensor: tensor.map(str::to_owned),
        reason: reason.into(),
    }
}

/// Opens a regular file. Nothing else is opened: a pipe would wait for a program that writes it, and
/// has no length.
///
/// # Errors
///
/// [`Error::Io`] if there is no such file, [`Error::Format`] if it is not a regular one.
pub(crate) fn open_regular(path: &Path) -> Result<File> {
    let (file, kind) = open_at_once(path)?;
    match kind.is_file() {
        true => Ok(file),
        false => Err(irregular(path, kind)),
    }
}

/// Reads a file of at most `limit` bytes, or a pipe that a program writes, such as the `<(program)` of
/// a shell. Reading a pipe waits for its program.
///
/// # Errors
///
/// [`Error::Io`] if the file cannot be read. [`Error::Format`] if it is larger, for a pipe that no
/// program has open for writing, and for folders, devices and sockets.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let (mut file, kind) = open_at_once(path)?;
    let mut bytes = Vec::new();
    if is_pipe(kind) {
        #[cfg(unix)]
        pipe::begin(path, &mut file, &mut bytes)?;
    } else if !kind.is_file() {
        return Err(irregular(path, kind));
    }
    // One byte past the limit tells a file that is too large from one that just fits. The length
    // that the file system reports is not used, because a pipe has none.
    file.by_ref()
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io(path, "read"))?;
    if bytes.len() as u64 > limit {
        let reason = format!("is larger than {limit} bytes, the most that is read");
        return Err(format_error(path, None, reason));
    }
    Ok(bytes)
}

/// Opens a regular file or a pipe, and returns its kind. It does not wait for the other end of a pipe.
fn open_at_once(path: &Path) -> Result<(File, FileType)> {
    let metadata = fs::metadata(path).map_err(Error::io(path, "open"))?;
    let kind = metadata.file_type();
    // A socket cannot be opened, and opening a device can have effects.
    if !kind.is_file() && !is_pipe(kind) {
        return Err(irregular(path, kind));
    }
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    pipe::do_not_wait(&mut options);
    let file = options.open(path).map_err(Error::io(path, "open"))?;
    // Another file may have taken the place since.
    let metadata = file.metadata().map_err(Error::io(path, "open"))?;
    Ok((file, metadata.file_type()))
}

fn is_pipe(kind: FileType) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::FileTypeExt::is_fifo(&kind);
    #[cfg(not(unix))]
    return false;
}

/// Makes the error for something other than a regular file.
fn irregular(path: &Path, kind: FileType) -> Error {
    let what = match kind {
        _ if kind.is_dir() => "a folder",
        _ if is_pipe(kind) => "a pipe",
        #[cfg(unix)]
        _ if std::os::unix::fs::FileTypeExt::is_socket(&kind) => "a socket",
        _ => "a device",
    };
    format_error(path, None, format!("is not a regular file, but {what}"))
}

/// Pipes, which programs write while they are read.
#[cfg(unix)]
mod pipe {
    use std::fs::{File, OpenOptions};
    use std::io::{ErrorKind, Read};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    use super::format_error;
    use crate::error::{Error, Result};

    /// Opening a pipe would wait for a program that writes it.
    pub fn do_not_wait(options: &mut OpenOptions) {
        options.custom_flags(OFlags::NONBLOCK.bits() as i32);
    }

    /// Reads what a pipe holds already into `bytes`. From then on, reading waits for the program that
    /// writes it.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] if there is no such program, and nothing that one has written.
    pub fn begin(path: &Path, file: &mut File, bytes: &mut Vec<u8>) -> Result<()> {
        let mut first = [0; 4096];
        // Only if a program has the other end open, an empty pipe is an error. Else it is at its end.
        match file.read(&mut first) {
            Ok(0) => {
                let reason =
                    "is a pipe that no program writes: start the program first, or give a file";
                return Err(format_error(path, None, reason));
            }
            Ok(length) => bytes.extend_from_slice(&first[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(Error::io(path, "read")(error)),
        }
        let flags = fcntl_getfl(&*file).map_err(std::io::Error::from);
        let set = flags.and_then(|flags| Ok(fcntl_setfl(&*file, flags - OFlags::NONBLOCK)?));
        set.map_err(Error::io(path, "read"))
    }
}

/// The most bytes of a recipe or a shard spec. The presets have less than 2 KiB each. The parser takes
/// up to 75 times the memory of the text.
pub(crate) const MAX_TOML_BYTES: u64 = 3 << 20;

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
pub(crate) struct Positions<'a> {
    text: &'a str,
    byte: usize,
    line: usize,
    column: usize,
}

impl<'a> Positions<'a> {
    /// Starts at the beginning of a text.
    pub fn new(text: &'a str) -> Self {
        Positions {
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
            *self = Positions::new(self.text);
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
    use super::Positions;

    #[test]
    fn places_are_lines_and_characters() {
        let mut places = Positions::new("aé\nö b\n\nc");
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
