//! The safetensors header: 8 bytes of length, little-endian, then JSON that gives the dtype, the
//! shape and the byte range of each tensor.
//!
//! <https://huggingface.co/docs/safetensors>. The file is untrusted input: every number is checked
//! before it is used, and no size that the file claims is allocated before it is checked against
//! the file's length.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::foreign;
use crate::error::{Error, Result};
use crate::read::format_error;
use crate::tensor::DType;
use crate::text::excerpt;

/// The longest header in bytes: the limit of the safetensors library, so that no file that others
/// read is refused here.
pub(super) const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The one key of a header that does not name a tensor.
pub(super) const METADATA: &str = "__metadata__";

/// One tensor in a header. Its shape may hold zeros: the format allows empty tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeaderEntry {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<u64>,
    /// Its bytes, counted from the end of the header.
    pub bytes: Range<u64>,
}

/// The contents of a header that passed all checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// The tensors, in the header's order.
    pub entries: Vec<HeaderEntry>,
    /// The keys and texts of `__metadata__`, in the header's order.
    pub metadata: Vec<(String, String)>,
    /// The start of the data, in bytes from the start of the file.
    pub data_start: u64,
}

/// A fault of a header, with the tensor that has it. The file is added later, since bytes in memory
/// have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeaderFault {
    tensor: Option<String>,
    reason: String,
}

impl HeaderFault {
    fn new(reason: impl Into<String>) -> Self {
        HeaderFault {
            tensor: None,
            reason: reason.into(),
        }
    }

    fn of(tensor: &str, reason: impl Into<String>) -> Self {
        HeaderFault {
            tensor: Some(tensor.to_owned()),
            reason: reason.into(),
        }
    }

    /// Makes the error for a fault in this file.
    pub fn in_file(self, path: &Path) -> Error {
        format_error(path, self.tensor.as_deref(), self.reason)
    }
}

/// The bytes before the header, which give its length.
const LENGTH_BYTES: u64 = 8;

/// Reads and checks the header of a file.
pub(super) fn read(path: &Path) -> Result<Header> {
    // Opening a pipe would wait for a writer, and a pipe has no length to check the header against.
    let metadata = fs::metadata(path).map_err(Error::io(path, "open"))?;
    if !metadata.is_file() {
        return Err(HeaderFault::new("is not a regular file").in_file(path));
    }
    foreign::refuse_file(path)?;
    let mut file = File::open(path).map_err(Error::io(path, "open"))?;
    let io = || Error::io(path, "read");
    let file_bytes = file.metadata().map_err(io())?.len();
    check_size(file_bytes).map_err(|fault| fault.in_file(path))?;
    let mut length = [0; LENGTH_BYTES as usize];
    file.read_exact(&mut length).map_err(io())?;
    let (length, data_bytes) = lengths(length, file_bytes).map_err(|fault| fault.in_file(path))?;
    let mut header = vec![0; length];
    file.read_exact(&mut header).map_err(io())?;
    parse(&header, data_bytes).map_err(|fault| fault.in_file(path))
}

/// Reads and checks the header of a file in memory.
pub(super) fn parse_file(file: &[u8]) -> Result<Header, HeaderFault> {
    check_size(file.len() as u64)?;
    let (length, rest) = file.split_at(LENGTH_BYTES as usize);
    let mut bytes = [0; LENGTH_BYTES as usize];
    bytes.copy_from_slice(length);
    let (length, data_bytes) = lengths(bytes, file.len() as u64)?;
    parse(&rest[..length], data_bytes)
}

/// Checks that a file has room for the length of its header.
fn check_size(file_bytes: u64) -> Result<(), HeaderFault> {
    if file_bytes >= LENGTH_BYTES {
        return Ok(());
    }
    Err(HeaderFault::new(format!(
        "has {file_bytes} bytes: a safetensors file begins with 8 that give its header's length"
    )))
}

/// Returns the lengths of the header and of the data, from the first 8 bytes of a file and its
/// length, which is at least 8.
fn lengths(
    first: [u8; LENGTH_BYTES as usize],
    file_bytes: u64,
) -> Result<(usize, u64), HeaderFault> {
    let length = u64::from_le_bytes(first);
    if length > MAX_HEADER_BYTES {
        return Err(HeaderFault::new(format!(
            "claims a header of {length} bytes: at most {MAX_HEADER_BYTES} are read; is it a \
             safetensors file?"
        )));
    }
    match (file_bytes - LENGTH_BYTES).checked_sub(length) {
        Some(data_bytes) => Ok((length as usize, data_bytes)),
        None => Err(HeaderFault::new(format!(
            "claims a header of {length} bytes, but only {} follow: the file is cut short",
            file_bytes - LENGTH_BYTES
        ))),
    }
}

/// Parses and checks a header that `data_bytes` bytes of data follow.
pub(super) fn parse(header: &[u8], data_bytes: u64) -> Result<Header, HeaderFault> {
    let text = std::str::from_utf8(header).map_err(|error| {
        HeaderFault::new(format!(
            "its header is not UTF-8 from byte {} on",
            error.valid_up_to()
        ))
    })?;
    if !text.starts_with('{') {
        return Err(HeaderFault::new("its header does not begin with \"{\""));
    }
    let HeaderObject { tensors, metadata } = serde_json::from_str(text).map_err(|error| {
        HeaderFault::new(format!(
            "its header is refused: {}",
            excerpt(&error.to_string())
        ))
    })?;

    let entries: Vec<HeaderEntry> = tensors
        .into_iter()
        .map(|(name, info)| entry(name, info, data_bytes))
        .collect::<Result<_, _>>()?;

    // Sorting makes these checks O(n log n): equal names become neighbours when sorted by name,
    // overlaps and gaps when sorted by place.
    let mut by_name: Vec<&HeaderEntry> = entries.iter().collect();
    by_name.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = by_name.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(HeaderFault::of(
            &pair[0].name,
            "is listed twice: names must differ",
        ));
    }
    let mut by_offset = by_name;
    by_offset.sort_by_key(|entry| (entry.bytes.start, entry.bytes.end));
    let mut end = 0;
    for entry in by_offset {
        if entry.bytes.start != end {
            let fault = if entry.bytes.start < end {
                "overlap"
            } else {
                "leave a gap after"
            };
            return Err(HeaderFault::of(
                &entry.name,
                format!(
                    "bytes {}..{} {fault} those before it, which end at {end}",
                    entry.bytes.start, entry.bytes.end
                ),
            ));
        }
        end = entry.bytes.end;
    }
    if end != data_bytes {
        return Err(HeaderFault::new(format!(
            "its tensors end at byte {end} of the data, which has {data_bytes}"
        )));
    }
    Ok(Header {
        entries,
        metadata,
        data_start: LENGTH_BYTES + header.len() as u64,
    })
}

/// Checks one tensor without regard to the others.
fn entry(name: String, info: Info, data_bytes: u64) -> Result<HeaderEntry, HeaderFault> {
    let Some(dtype) = DType::of_safetensors(&info.dtype) else {
        return Err(HeaderFault::of(
            &name,
            format!(
                "has dtype {:?}, which is not one of safetensors",
                info.dtype
            ),
        ));
    };
    let (start, end) = info.data_offsets;
    if start > end || end > data_bytes {
        return Err(HeaderFault::of(
            &name,
            format!(
                "bytes {start}..{end} are out of range: the file has {data_bytes} bytes of data"
            ),
        ));
    }
    // In bits, because the smallest dtypes have fewer than 8.
    let bits = info
        .shape
        .iter()
        .try_fold(dtype.bits(), |bits, &dim| bits.checked_mul(dim));
    if bits.is_none_or(|bits| !bits.is_multiple_of(8) || bits / 8 != end - start) {
        return Err(HeaderFault::of(
            &name,
            format!(
                "bytes {start}..{end} are {}, shape {:?} of {} needs {}",
                end - start,
                info.shape,
                dtype.safetensors_name(),
                match bits {
                    Some(bits) if bits.is_multiple_of(8) => (bits / 8).to_string(),
                    Some(bits) => format!("{bits} bits, no whole number of bytes"),
                    None => "more than 2^64 bits".to_owned(),
                }
            ),
        ));
    }
    Ok(HeaderEntry {
        name,
        dtype,
        shape: info.shape,
        bytes: start..end,
    })
}

/// The JSON of one tensor.
#[derive(Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The JSON of a header. The tensors are a list, because a map would hide a name that is listed
/// twice.
struct HeaderObject {
    tensors: Vec<(String, Info)>,
    metadata: Vec<(String, String)>,
}

impl<'de> Deserialize<'de> for HeaderObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tensors;
        impl<'de> Visitor<'de> for Tensors {
            type Value = HeaderObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a key for each tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderObject, A::Error> {
                let mut tensors = Vec::new();
                let mut metadata = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        // The format allows texts only; its own library reads null as none, too.
                        let Pairs(pairs) = map.next_value::<Option<Pairs>>()?.unwrap_or_default();
                        metadata.extend(pairs);
                    } else {
                        tensors.push((name, map.next_value()?));
                    }
                }
                Ok(HeaderObject { tensors, metadata })
            }
        }
        deserializer.deserialize_map(Tensors)
    }
}

/// A JSON object of texts as a list, in the file's order, with keys that are listed twice.
#[derive(Default)]
pub(super) struct Pairs(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object whose values are texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(header: &str, data_bytes: u64) -> String {
        let fault = parse(header.as_bytes(), data_bytes).unwrap_err();
        format!("{}: {}", fault.tensor.unwrap_or_default(), fault.reason)
    }

    #[test]
    fn order_is_the_headers() {
        let header = r#"{"__metadata__": {"a": "b"},
            "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
            "a": {"dtype": "BF16", "shape": [2, 1], "data_offsets": [0, 4], "other": [[1]]},
            "e": {"dtype": "F32", "shape": [0], "data_offsets": [12, 12]}}   "#;
        let Header {
            entries,
            metadata,
            data_start,
        } = parse(header.as_bytes(), 12).unwrap();
        assert_eq!(metadata, [("a".to_owned(), "b".to_owned())]);
        assert_eq!(data_start, 8 + header.len() as u64);
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["b", "a", "e"]);
        assert_eq!(entries[1].dtype, DType::BF16);
        assert_eq!(entries[1].bytes, 0..4);
        assert_eq!(parse(b"{}", 0).unwrap().entries, []);
        let without = parse(br#"{"__metadata__": null}"#, 0).unwrap();
        assert!(without.metadata.is_empty());
    }

    #[test]
    fn false_headers_are_refused() {
        let one = |dtype: &str, shape: &str, offsets: &str| {
            format!(
                r#"{{"w": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}"#
            )
        };
        for (header, data_bytes, expected) in [
            (
                one("F32", "[2]", "[0, 4]"),
                4,
                "w: bytes 0..4 are 4, shape [2] of F32 needs 8",
            ),
            (
                one("F32", "[2]", "[0, 8]"),
                4,
                "w: bytes 0..8 are out of range: the file has 4",
            ),
            (
                one("F32", "[2]", "[8, 0]"),
                8,
                "w: bytes 8..0 are out of range",
            ),
            (
                one("F32", "[2]", "[4, 12]"),
                12,
                "w: bytes 4..12 leave a gap after those before",
            ),
            (
                one("F32", "[2]", "[0, 8]"),
                9,
                "its tensors end at byte 8 of the data, which has 9",
            ),
            (
                one("F32", "[4294967296, 4294967296]", "[0, 0]"),
                0,
                "needs more than 2^64 bits",
            ),
            (
                one("F4", "[3]", "[0, 1]"),
                1,
                "needs 12 bits, no whole number of bytes",
            ),
            (
                one("F33", "[2]", "[0, 8]"),
                8,
                "w: has dtype \"F33\", which is not",
            ),
            (
                one("F32", "[-2]", "[0, 8]"),
                8,
                "invalid value: integer `-2`",
            ),
            (one("F32", "[2.5]", "[0, 8]"), 8, "floating point `2.5`"),
            (one("F32", "[2]", "[0, 8, 9]"), 8, "header is refused"),
            (
                one("F32", "[2]", "[0, 99999999999999999999999]"),
                8,
                "header is refused",
            ),
            (
                r#"{"w": {"dtype": "F32"}}"#.into(),
                0,
                "missing field `shape`",
            ),
            (
                r#"{"__metadata__": {"seed": 42}}"#.into(),
                0,
                "invalid type: integer `42`, expected a string",
            ),
            ("[]".into(), 0, "does not begin with \"{\""),
            (String::new(), 0, "does not begin with \"{\""),
            ("{".into(), 0, "header is refused: EOF"),
            ("{} x".into(), 0, "header is refused: trailing"),
            (
                format!(r#"{{"__metadata__": {}}}"#, "[".repeat(100_000)),
                0,
                "header is refused",
            ),
        ] {
            let fault = fault(&header, data_bytes);
            assert!(fault.contains(expected), "{header:.200}: {fault}");
        }
        let not_utf8 = parse(b"{\"\xff\": 1}", 0).unwrap_err();
        assert_eq!(not_utf8.reason, "its header is not UTF-8 from byte 2 on");
    }

    #[test]
    fn duplicates_and_overlaps_are_refused() {
        let pair = |name: &str, first: &str, second: &str| {
            format!(
                r#"{{"a": {{"dtype": "F16", "shape": [2], "data_offsets": {first}}},
                    "{name}": {{"dtype": "F16", "shape": [2], "data_offsets": {second}}}}}"#
            )
        };
        assert!(parse(pair("b", "[4, 8]", "[0, 4]").as_bytes(), 8).is_ok());
        assert_eq!(
            fault(&pair("b", "[0, 4]", "[2, 6]"), 6),
            "b: bytes 2..6 overlap those before it, which end at 4"
        );
        assert!(fault(&pair("b", "[0, 4]", "[0, 4]"), 4).contains("overlap"));
        assert!(fault(&pair("a", "[0, 4]", "[4, 8]"), 8).starts_with("a: is listed twice"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>, data_bytes: u64) {
            let _ = parse(&bytes, data_bytes);
        }

        /// Text that resembles a header gets further into the parser than random bytes.
        #[test]
        fn any_near_header_is_parsed_or_refused(
            names in proptest::collection::vec(".{0,3}", 0..4),
            dtype in "(F32|BF16|F4|I64|.{0,4})",
            shape in proptest::collection::vec(prop_oneof![0u64..5, any::<u64>()], 0..3),
            offsets: (u8, u8),
            data_bytes in 0u64..300,
        ) {
            let tensors: Vec<String> = names
                .iter()
                .map(|name| format!(
                    r#"{name:?}: {{"dtype": {dtype:?}, "shape": {shape:?}, "data_offsets": [{}, {}]}}"#,
                    offsets.0, offsets.1
                ))
                .collect();
            let header = format!("{{{}}}", tensors.join(","));
            if let Ok(header) = parse(header.as_bytes(), data_bytes) {
                let total: u64 = header.entries.iter().map(|e| e.bytes.end - e.bytes.start).sum();
                prop_assert_eq!(total, data_bytes);
            }
        }
    }
}
