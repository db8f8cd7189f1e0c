//! The safetensors header: 8 bytes of length, little-endian, then JSON that gives the dtype, the
//! shape and the byte range of each tensor.
//!
//! <https://huggingface.co/docs/safetensors>. The file is untrusted input: every number is checked
//! before it is used, and no size that the file claims is allocated before it is checked against
//! the file's length.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::foreign::{self, FIRST_BYTES};
use super::limits::{
    MAX_HEADER_BYTES, MAX_NAME_BYTES, MAX_SHAPE_BYTES, MAX_TENSORS, long_name, long_shape,
};
use super::metadata::{Metadata, Text};
use crate::error::{Error, Result};
use crate::read::{format_error, open_regular};
use crate::tensor::DType;
use crate::text::{dims_text, excerpt, one_line, quoted};

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
    pub metadata: Metadata,
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
    let (header, data_bytes) = read_text(path)?;
    parse(&header, data_bytes).map_err(|fault| fault.in_file(path))
}

/// Reads the JSON of a file's header. Returns it with the number of bytes of data that follow it.
pub(super) fn read_text(path: &Path) -> Result<(Vec<u8>, u64)> {
    let mut file: File = open_regular(path)?;
    let io = || Error::io(path, "read");
    let file_bytes = file.metadata().map_err(io())?.len();
    let mut first = Vec::new();
    file.by_ref()
        .take(FIRST_BYTES as u64)
        .read_to_end(&mut first)
        .map_err(io())?;
    // Before the size is checked, so that a short file of another format is named as such.
    foreign::refuse(path, &first)?;
    check_size(file_bytes).map_err(|fault| fault.in_file(path))?;
    let in_file = |fault: HeaderFault| fault.in_file(path);
    let (length, rest) = first.split_first_chunk().ok_or_else(|| cut_short(path))?;
    let (length, data_bytes) = lengths(*length, file_bytes).map_err(in_file)?;
    // `lengths` has checked the length against the limit and the file, so it is safe to allocate.
    let mut header = vec![0; length];
    let known = rest.len().min(length);
    header[..known].copy_from_slice(&rest[..known]);
    file.read_exact(&mut header[known..]).map_err(io())?;
    Ok((header, data_bytes))
}

/// Makes the error for a file that has become shorter while it is read.
fn cut_short(path: &Path) -> Error {
    HeaderFault::new("was cut short while it was read").in_file(path)
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
    let mut reading = HeaderReading::new(data_bytes);
    let mut json = serde_json::Deserializer::from_str(text);
    let read = (&mut reading)
        .deserialize(&mut json)
        .and_then(|()| json.end());
    // The error of serde says only that the reading was stopped, so the fault comes first.
    if let Some(fault) = reading.fault {
        return Err(fault);
    }
    read.map_err(|error| refused(&error))?;
    let (entries, metadata) = (reading.entries, reading.metadata);

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
    // By start, then by end: an empty tensor comes before the one that begins at the same byte.
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

/// Returns the JSON of a tensor in a header.
pub(super) fn member(name: &str, dtype: DType, dims: &[u64], bytes: Range<u64>) -> String {
    let dims: Vec<String> = dims.iter().map(u64::to_string).collect();
    format!(
        "{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
        json_text(name),
        dtype.safetensors_name(),
        dims.join(","),
        bytes.start,
        bytes.end
    )
}

/// Returns the JSON of a header: metadata, if there are any, and the [`member`] of each tensor. It is
/// written by hand, because a map of serde_json would not keep the order.
pub(super) fn json<'a>(
    metadata: impl Iterator<Item = (&'a str, &'a str)>,
    tensors: impl Iterator<Item = String>,
) -> String {
    let pairs = metadata.map(|(key, value)| format!("{}:{}", json_text(key), json_text(value)));
    let pairs: Vec<String> = pairs.collect();
    let metadata =
        (!pairs.is_empty()).then(|| format!("{}:{{{}}}", json_text(METADATA), pairs.join(",")));
    let members: Vec<String> = metadata.into_iter().chain(tensors).collect();
    let mut json = format!("{{{}}}", members.join(","));
    // After the 8 bytes of the length, the data begin at a multiple of 8, the largest element size.
    let padded = json.len().next_multiple_of(8);
    json.extend(std::iter::repeat_n(' ', padded - json.len()));
    json
}

/// Returns a text in the quotes and with the escapes of JSON.
pub(super) fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Makes the fault of JSON that cannot be read.
fn refused(error: &serde_json::Error) -> HeaderFault {
    HeaderFault::new(format!(
        "its header is refused: {}",
        one_line(&error.to_string())
    ))
}

/// The JSON of one tensor. Its values stay text at first: so a message about one can name the tensor,
/// and an untrusted header takes little more memory than it has bytes.
#[derive(Deserialize)]
struct Info<'a> {
    #[serde(borrow)]
    dtype: &'a RawValue,
    #[serde(borrow)]
    shape: &'a RawValue,
    #[serde(borrow)]
    data_offsets: &'a RawValue,
}

/// The longest text of a dtype or of two offsets that is read, in bytes.
const MAX_VALUE_BYTES: usize = 256;

/// Checks one tensor without regard to the others.
fn entry(name: &str, value: &RawValue, data_bytes: u64) -> Result<HeaderEntry, HeaderFault> {
    let fault = |reason: String| HeaderFault::of(name, reason);
    if name.len() > MAX_NAME_BYTES {
        return Err(HeaderFault::new(long_name(name.len())));
    }
    if !value.get().starts_with('{') {
        let value = excerpt(value.get());
        return Err(fault(format!(
            "is {value}, not an object with dtype, shape and data_offsets"
        )));
    }
    let info: Info<'_> = serde_json::from_str(value.get())
        .map_err(|error| fault(format!("is refused: {}", one_line(&error.to_string()))))?;
    // A text in a header can have 100 MB, which parsing would copy.
    let short = |raw: &'_ RawValue| raw.get().len() <= MAX_VALUE_BYTES;
    let dtype = Some(info.dtype).filter(|raw| short(raw));
    let dtype = dtype.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    let Some(dtype) = dtype.as_deref().and_then(DType::of_safetensors) else {
        let shown = match &dtype {
            Some(text) => quoted(text),
            None => excerpt(info.dtype.get()),
        };
        return Err(fault(format!(
            "has dtype {shown}, which is not one of safetensors"
        )));
    };
    let shape = read_dims(info.shape)
        .map_err(|reason| fault(format!("{reason}: give a list of whole numbers from 0")))?;
    let offsets = Some(info.data_offsets).filter(|raw| short(raw));
    let offsets = offsets.and_then(|raw| serde_json::from_str::<(u64, u64)>(raw.get()).ok());
    let Some((start, end)) = offsets else {
        let shown = excerpt(info.data_offsets.get());
        return Err(fault(format!(
            "has data_offsets {shown}: give two whole numbers from 0"
        )));
    };
    if start > end || end > data_bytes {
        return Err(fault(format!(
            "bytes {start}..{end} are out of range: the file has {data_bytes} bytes of data"
        )));
    }
    // In bits, because the smallest dtypes have fewer than 8.
    let bits = shape
        .iter()
        .try_fold(dtype.bits(), |bits, &dim| bits.checked_mul(dim));
    if bits.is_none_or(|bits| !bits.is_multiple_of(8) || bits / 8 != end - start) {
        return Err(fault(format!(
            "bytes {start}..{end} are {}, shape {} of {} needs {}",
            end - start,
            dims_text(&shape),
            dtype.safetensors_name(),
            match bits {
                Some(bits) if bits.is_multiple_of(8) => (bits / 8).to_string(),
                Some(bits) => format!("{bits} bits, no whole number of bytes"),
                None => "more than 2^64 bits".to_owned(),
            }
        )));
    }
    Ok(HeaderEntry {
        name: name.to_owned(),
        dtype,
        shape,
        bytes: start..end,
    })
}

/// Reads dimensions.
///
/// # Errors
///
/// A message that goes on after the tensor's name, if it is not a list of whole numbers, or too long.
pub(super) fn read_dims(raw: &RawValue) -> Result<Vec<u64>, String> {
    let text = raw.get();
    if text.len() > MAX_SHAPE_BYTES {
        return Err(long_shape(text.len()));
    }
    serde_json::from_str(text).map_err(|_| format!("has shape {}", excerpt(text)))
}

/// The contents of a header while it is read. The tensors are a list, because a map would hide a name
/// that is listed twice.
struct HeaderReading {
    data_bytes: u64,
    entries: Vec<HeaderEntry>,
    metadata: Metadata,
    /// A fault that ended the reading. An error of serde cannot name the tensor.
    fault: Option<HeaderFault>,
}

impl HeaderReading {
    fn new(data_bytes: u64) -> Self {
        HeaderReading {
            data_bytes,
            entries: Vec::new(),
            metadata: Metadata::default(),
            fault: None,
        }
    }

    /// Adds a key of the header with its value.
    fn add(&mut self, name: &str, value: &RawValue) -> Result<(), HeaderFault> {
        if name == METADATA {
            // The format allows texts only; its own library reads null as none, too.
            return match value.get().chars().next() {
                Some('n') => Ok(()),
                Some('{') => {
                    let pairs: Metadata =
                        serde_json::from_str(value.get()).map_err(|error| refused(&error))?;
                    self.metadata.extend(&pairs).map_err(HeaderFault::new)
                }
                _ => Err(HeaderFault::new(format!(
                    "its header is refused: __metadata__ is {}, not an object",
                    excerpt(value.get())
                ))),
            };
        }
        if self.entries.len() == MAX_TENSORS {
            let reason = format!("has more than {MAX_TENSORS} tensors, the most that are read");
            return Err(HeaderFault::new(reason));
        }
        self.entries.push(entry(name, value, self.data_bytes)?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut HeaderReading {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut HeaderReading {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a key for each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((Text(name), value)) = map.next_entry::<Text<'_>, &RawValue>()? {
            if let Err(fault) = self.add(&name, value) {
                self.fault = Some(fault);
                return Err(A::Error::custom("a fault"));
            }
        }
        Ok(())
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
        assert_eq!(metadata.iter().collect::<Vec<_>>(), [("a", "b")]);
        assert_eq!(data_start, 8 + header.len() as u64);
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["b", "a", "e"]);
        assert_eq!(entries[1].dtype, DType::BF16);
        assert_eq!(entries[1].bytes, 0..4);
        assert_eq!(parse(b"{}", 0).unwrap().entries, []);
        let without = parse(br#"{"__metadata__": null}"#, 0).unwrap();
        assert_eq!(without.metadata, Metadata::default());
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
                "w: has shape [-2]: give a list of whole numbers from 0",
            ),
            (one("F32", "[2.5]", "[0, 8]"), 8, "w: has shape [2.5]: give"),
            (
                one("F32", "[2]", "[0, 8, 9]"),
                8,
                "w: has data_offsets [0, 8, 9]: give two whole numbers",
            ),
            (
                one("F32", "[2]", "[0, 99999999999999999999999]"),
                8,
                "w: has data_offsets [0, 99999999999999999999999]",
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
