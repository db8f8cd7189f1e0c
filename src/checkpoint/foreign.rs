//! Files of other formats, told by their first bytes, so that a message can say what such a file is
//! and what to do with it.

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::read::{format_error, open_regular};

/// The bytes that tell a format: enough for the name of a zip archive's first entry.
pub(super) const FIRST_BYTES: usize = 512;

/// The remedy for files that only Python code of their framework reads.
const SAVE_AS_SAFETENSORS: &str = "save it as safetensors (in Python: safetensors.torch.save_file)";

/// A format that is not read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Foreign {
    /// The name of the format, with an article.
    what: &'static str,
    /// The action that gives an accepted file.
    remedy: &'static str,
}

impl Foreign {
    const fn new(what: &'static str, remedy: &'static str) -> Self {
        Foreign { what, remedy }
    }
}

/// Recognizes a format by the first bytes of a file.
fn identify(first: &[u8]) -> Option<Foreign> {
    // The length of a safetensors header is below 2^32, so bytes 4 to 7 are 0, and "{" follows.
    // That is none of the formats below, even where the length reads like the name of one.
    if first.len() > 8 && first[4..9] == *b"\0\0\0\0{" {
        return None;
    }
    let starts = |magic: &[u8]| first.starts_with(magic);
    if starts(b"version https://git-lfs") {
        return Some(Foreign::new(
            "a git-lfs pointer, not the file itself",
            "run `git lfs pull`",
        ));
    }
    if starts(b"GGUF") {
        return Some(Foreign::new(
            "a GGUF file",
            "use the safetensors files that it was converted from",
        ));
    }
    if starts(b"PK\x03\x04") {
        return Some(zip(first));
    }
    if starts(b"\x89HDF\r\n\x1a\n") {
        return Some(Foreign::new(
            "an HDF5 file (.h5, .keras.h5)",
            "save the weights as safetensors (in Python: safetensors.numpy.save_file)",
        ));
    }
    // Protocols 2 to 5 begin with their number. torch.save wrote pickles until version 1.6.
    if matches!(first, [0x80, 2..=5, ..]) {
        return Some(Foreign::new("a Python pickle", SAVE_AS_SAFETENSORS));
    }
    if starts(b"\x93NUMPY") {
        return Some(Foreign::new(
            "a numpy .npy file, which has one array without a name",
            "save the model as safetensors; statistics and plots read files that end in .npy",
        ));
    }
    if starts(b"\x1f\x8b") {
        return Some(Foreign::new("a gzip archive", "unpack it"));
    }
    if starts(b"\x28\xb5\x2f\xfd") {
        return Some(Foreign::new("a Zstandard archive", "unpack it"));
    }
    if first.get(257..262) == Some(b"ustar") {
        return Some(Foreign::new("a tar archive", "unpack it"));
    }
    let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first);
    let text = text.trim_ascii_start();
    let is_tag = |tag: &[u8]| {
        let start = text.get(..tag.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(tag))
    };
    if is_tag(b"<!doctype html") || is_tag(b"<html") {
        return Some(Foreign::new(
            "a web page, perhaps that of an error",
            "download the file again",
        ));
    }
    if starts(b"\xff\xfe") || starts(b"\xfe\xff") {
        return Some(Foreign::new("UTF-16 text", "save it as UTF-8"));
    }
    None
}

/// Tells what is in a zip archive by the name of its first entry.
fn zip(first: &[u8]) -> Foreign {
    // A local file header: the name's length in bytes 26 and 27, the name from byte 30 on.
    let name = match first.get(26..28) {
        Some(&[low, high]) => {
            let length = usize::from(u16::from_le_bytes([low, high]));
            first.get(30..).map(|rest| &rest[..length.min(rest.len())])
        }
        _ => None,
    };
    let name = name.unwrap_or_default();
    if name.ends_with(b".npy") {
        Foreign::new(
            "a numpy .npz archive",
            "save the arrays as safetensors (in Python: safetensors.numpy.save_file)",
        )
    } else if name.ends_with(b"/data.pkl") || name.ends_with(b"/.format_version") {
        Foreign::new(
            "a file of torch.save (.pt, .pth, .bin)",
            SAVE_AS_SAFETENSORS,
        )
    } else if name == b"metadata.json" || name == b"config.json" {
        Foreign::new(
            "a Keras archive (.keras)",
            "save the weights as safetensors (in Python: safetensors.numpy.save_file)",
        )
    } else {
        Foreign::new(
            "a zip archive, as torch.save writes .pt and .bin files",
            SAVE_AS_SAFETENSORS,
        )
    }
}

/// Refuses bytes that a file of another format begins with.
///
/// # Errors
///
/// [`Error::Format`], which names the format and what to do.
pub(super) fn refuse(path: &Path, first: &[u8]) -> Result<()> {
    match identify(first) {
        None => Ok(()),
        Some(Foreign { what, remedy }) => {
            Err(format_error(path, None, format!("is {what}: {remedy}")))
        }
    }
}

/// Refuses a file of another format.
///
/// # Errors
///
/// As [`refuse`] and [`first_bytes`].
pub(super) fn refuse_file(path: &Path) -> Result<()> {
    refuse(path, &first_bytes(path)?)
}

/// Returns the bytes that tell the format of a file.
///
/// # Errors
///
/// [`Error::Io`] if there is no such file, or if it cannot be read. [`Error::Format`] for a pipe or a device,
/// which is not read.
pub(super) fn first_bytes(path: &Path) -> Result<Vec<u8>> {
    let mut first = Vec::new();
    open_regular(path)?
        .take(FIRST_BYTES as u64)
        .read_to_end(&mut first)
        .map_err(Error::io(path, "read"))?;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(first: &[u8]) -> &'static str {
        identify(first).map_or("", |foreign| foreign.what)
    }

    /// Returns the beginning of an archive whose first entry has this name.
    fn archive(name: &str) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.resize(26, 0);
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(name.as_bytes());
        bytes
    }

    #[test]
    fn archives_are_told_by_their_first_entry() {
        assert_eq!(what(&archive("w.npy")), "a numpy .npz archive");
        assert!(what(&archive("archive/data.pkl")).starts_with("a file of torch.save"));
        assert!(what(&archive("metadata.json")).starts_with("a Keras archive"));
        assert!(what(&archive("other")).starts_with("a zip archive"));
        // Cut short, in the header and in the name.
        assert!(what(b"PK\x03\x04").starts_with("a zip archive"));
        assert!(what(&archive("archive/data.pkl")[..33]).starts_with("a zip archive"));
    }

    #[test]
    fn headers_and_json_are_not_foreign() {
        for first in [
            &b""[..],
            b"{\"tensors\": []}",
            b" [1]",
            b"\xef\xbb\xbf{}",
            b"\x02\0\0\0\0\0\0\0{}",
            // A header of 67324752 bytes reads like a zip archive.
            b"PK\x03\x04\0\0\0\0{\"a\"",
            b"\x80\x02\0\0\0\0\0\0{\"a\"",
        ] {
            assert_eq!(identify(first), None, "{first:?}");
        }
    }
}
