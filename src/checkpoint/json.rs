//! The two kinds of JSON files that list the tensors of a model.

use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::foreign::{self, FIRST_BYTES};
use super::header::read_dims;
use super::limits::{MAX_HEADER_BYTES, MAX_NAME_BYTES, MAX_TENSORS, long_name};
use super::metadata::{Text, read_pairs};
use crate::error::{Error, Result};
use crate::read::{BOM, format_error, read_limited};
use crate::tensor::{DType, ListedTensor, Shape};
use crate::text::{excerpt, one_line};

/// A JSON file that lists tensors.
pub(super) enum Json {
    /// A list: `{"tensors": [...]}`, or the array alone.
    List(Vec<ListedTensor>),
    /// An index: the names of tensors with the names of their shards, in the file's order.
    Index(Vec<(String, String)>),
}

/// A tensor of a list.
///
/// Its fields stay text at first. So a message about one can name the tensor, and untrusted input
/// takes no more memory than it has bytes.
#[derive(Deserialize)]
struct JsonTensor<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    shape: Option<&'a RawValue>,
    #[serde(borrow)]
    dtype: Option<&'a RawValue>,
}

/// A JSON object of texts as a list, in the file's order, with keys that are listed twice.
#[derive(Default)]
pub(super) struct Pairs(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut pairs = Vec::new();
        read_pairs(deserializer, |key, value| {
            if pairs.len() == MAX_TENSORS {
                return Err(too_many());
            }
            pairs.push((key.into_owned(), value.into_owned()));
            Ok(())
        })?;
        Ok(Pairs(pairs))
    }
}

/// Returns the reason to refuse a list that is too long.
fn too_many() -> String {
    format!("has more than {MAX_TENSORS} tensors, the most that are read")
}

/// Reads a JSON file of either kind.
pub(super) fn read_json(path: &Path) -> Result<Json> {
    // An index lists what the headers of its shards list, so the same limit fits it.
    let bytes = read_limited(path, MAX_HEADER_BYTES)?;
    parse_json(path, &bytes)
}

/// Parses JSON of either kind. Messages call it `path`.
pub(super) fn parse_json(path: &Path, bytes: &[u8]) -> Result<Json> {
    foreign::refuse(path, &bytes[..bytes.len().min(FIRST_BYTES)])?;
    // Editors on Windows begin a file with a byte order mark, which is not JSON.
    let bytes = bytes.strip_prefix(BOM.as_bytes()).unwrap_or(bytes);
    let refused = |reason: &str| format_error(path, None, format!("is refused: {reason}"));
    let mut reading = ListReading {
        path,
        tensors: None,
        weight_map: None,
        fault: None,
    };
    // A text would be quoted whole in serde's message.
    if bytes.trim_ascii_start().starts_with(b"\"") {
        return Err(refused("it is a text, not an object or a list"));
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let reason = format!("it is not UTF-8 from byte {} on", error.valid_up_to());
        refused(&reason)
    })?;
    let mut json = serde_json::Deserializer::from_str(text);
    let read = (&mut reading)
        .deserialize(&mut json)
        .and_then(|()| json.end());
    if let Some(fault) = reading.fault {
        return Err(fault);
    }
    read.map_err(|error| refused(&one_line(&error.to_string())))?;
    match (reading.tensors, reading.weight_map) {
        (Some(tensors), None) => Ok(Json::List(tensors)),
        (None, Some(Pairs(map))) => Ok(Json::Index(map)),
        (None, None) => Err(format_error(
            path,
            None,
            "has neither \"tensors\" nor \"weight_map\"",
        )),
        (Some(_), Some(_)) => Err(format_error(
            path,
            None,
            "has both \"tensors\" and \"weight_map\": remove one of them",
        )),
    }
}

/// A file of either kind while it is read: its keys decide which kind it is. An array is a list.
struct ListReading<'a> {
    path: &'a Path,
    tensors: Option<Vec<ListedTensor>>,
    weight_map: Option<Pairs>,
    /// A fault that ended the reading. An error of serde cannot name the tensor.
    fault: Option<Error>,
}

impl ListReading<'_> {
    /// Adds a tensor, given by its JSON.
    fn add(&mut self, raw: &RawValue) -> Result<()> {
        let tensors = self.tensors.get_or_insert_default();
        let index = tensors.len();
        let refused = |reason: String| Err(format_error(self.path, None, reason));
        if index == MAX_TENSORS {
            return refused(too_many());
        }
        if !raw.get().starts_with('{') {
            return refused(format!(
                "is refused: entry {index} of its tensors is {}, not an object",
                excerpt(raw.get())
            ));
        }
        match serde_json::from_str(raw.get()) {
            Ok(tensor) => tensors.push(json_tensor(self.path, index, &tensor)?),
            Err(error) => {
                let error = one_line(&error.to_string());
                return refused(format!("is refused: entry {index} of its tensors: {error}"));
            }
        }
        Ok(())
    }

    /// Returns a value of JSON, which must begin with this character.
    fn check<E: serde::de::Error>(key: &str, raw: &RawValue, first: char) -> Result<(), E> {
        let kind = if first == '[' { "a list" } else { "an object" };
        match raw.get().starts_with(first) {
            true => Ok(()),
            false => Err(E::custom(format!(
                "{key} is {}, not {kind}",
                excerpt(raw.get())
            ))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for &mut ListReading<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut ListReading<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with \"tensors\" or \"weight_map\", or a list of tensors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.tensors = Some(Vec::new());
        while let Some(raw) = list.next_element::<&RawValue>()? {
            if let Err(fault) = self.add(raw) {
                self.fault = Some(fault);
                return Err(A::Error::custom("a fault"));
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "tensors" if self.tensors.is_some() => {
                    return Err(A::Error::duplicate_field("tensors"));
                }
                "weight_map" if self.weight_map.is_some() => {
                    return Err(A::Error::duplicate_field("weight_map"));
                }
                "tensors" => {
                    // Taken as text first, because serde quotes a value of the
                    // wrong kind whole in its message.
                    let raw: &RawValue = map.next_value()?;
                    ListReading::check(&key, raw, '[')?;
                    let mut json = serde_json::Deserializer::from_str(raw.get());
                    (&mut *self)
                        .deserialize(&mut json)
                        .map_err(A::Error::custom)?;
                }
                "weight_map" => {
                    let raw: &RawValue = map.next_value()?;
                    ListReading::check(&key, raw, '{')?;
                    let pairs = serde_json::from_str(raw.get());
                    self.weight_map = Some(pairs.map_err(A::Error::custom)?);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

fn json_tensor(path: &Path, index: usize, tensor: &JsonTensor<'_>) -> Result<ListedTensor> {
    let string = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
    // An escape takes at most 6 bytes for one of the text.
    if let Some(raw) = tensor
        .name
        .filter(|raw| raw.get().len() > 6 * MAX_NAME_BYTES + 2)
    {
        return Err(format_error(path, None, long_name(raw.get().len() - 2)));
    }
    let Some(name) = tensor.name.and_then(string) else {
        let reason = format!("entry {index} of its tensors has no \"name\" that is a string");
        return Err(format_error(path, None, reason));
    };
    let dims = match tensor.shape {
        Some(raw) => read_dims(raw),
        None => Err("has no shape".to_owned()),
    };
    let dims = dims.map_err(|given| {
        let reason = format!("{given}: give a list of whole numbers from 0");
        format_error(path, Some(&name), reason)
    })?;
    let Some(raw) = tensor.dtype else {
        return listed(path, name, dims, None);
    };
    match string(raw) {
        Some(dtype) => listed(path, name, dims, Some(&dtype)),
        None => {
            let reason = format!(
                "has dtype {}: use the name of a dtype, such as \"bf16\", \"torch.float32\" or \"I64\"",
                excerpt(raw.get())
            );
            Err(format_error(path, Some(&name), reason))
        }
    }
}

/// Checks the name, the shape and the dtype of a tensor in a list of any kind.
pub(super) fn listed(
    path: &Path,
    name: String,
    shape: Vec<u64>,
    dtype: Option<&str>,
) -> Result<ListedTensor> {
    if name.len() > MAX_NAME_BYTES {
        return Err(format_error(path, None, long_name(name.len())));
    }
    let dtype = dtype
        .map(|text| parse_dtype(path, &name, text))
        .transpose()?;
    let shape =
        Shape::new(shape).map_err(|error| format_error(path, Some(&name), error.to_string()))?;
    Ok(ListedTensor { name, shape, dtype })
}

/// Reads the dtype of a listed tensor.
fn parse_dtype(path: &Path, name: &str, text: &str) -> Result<DType> {
    text.parse()
        .map_err(|error: Error| format_error(path, Some(name), error.to_string()))
}
