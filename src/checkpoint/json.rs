//! The two kinds of JSON files that list the tensors of a model.

use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::foreign::{self, FIRST_BYTES};
use super::header::{MAX_HEADER_BYTES, Pairs};
use crate::error::{Error, Result};
use crate::read::{BOM, format_error, read_limited};
use crate::tensor::{DType, ListedTensor, Shape};
use crate::text::excerpt;

/// The longest name of a tensor in bytes, far longer than any sensible one.
const MAX_NAME_BYTES: usize = 1 << 16;
/// The longest text of a shape in bytes, blanks included.
pub(super) const MAX_SHAPE_BYTES: usize = 4096;

/// A JSON file that lists tensors.
pub(super) enum Json {
    /// A list: `{"tensors": [...]}`, or the array alone.
    List(Vec<ListedTensor>),
    /// An index: the names of tensors with the names of their shards, in the file's order.
    Index(Vec<(String, String)>),
}

/// A file of either kind. Its keys decide which kind it is.
#[derive(Deserialize)]
struct JsonFile<'a> {
    #[serde(borrow)]
    tensors: Option<Vec<JsonTensor<'a>>>,
    weight_map: Option<Pairs>,
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
    let refused = |error: serde_json::Error| {
        let reason = format!("is refused: {}", excerpt(&error.to_string()));
        format_error(path, None, reason)
    };
    let list = |tensors: Vec<JsonTensor<'_>>| {
        let tensors = tensors.into_iter().enumerate();
        tensors
            .map(|(index, tensor)| json_tensor(path, index, &tensor))
            .collect::<Result<_>>()
            .map(Json::List)
    };
    if bytes.trim_ascii_start().starts_with(b"[") {
        return list(serde_json::from_slice(bytes).map_err(refused)?);
    }
    let json: JsonFile<'_> = serde_json::from_slice(bytes).map_err(refused)?;
    match (json.tensors, json.weight_map) {
        (Some(tensors), None) => list(tensors),
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

fn json_tensor(path: &Path, index: usize, tensor: &JsonTensor<'_>) -> Result<ListedTensor> {
    let string = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
    let Some(name) = tensor.name.and_then(string) else {
        let reason = format!("entry {index} of its tensors has no \"name\" that is a string");
        return Err(format_error(path, None, reason));
    };
    let shape = tensor.shape.map(RawValue::get);
    let dims = shape
        .filter(|text| text.len() <= MAX_SHAPE_BYTES)
        .and_then(|text| serde_json::from_str(text).ok());
    let Some(dims) = dims else {
        let given = match shape {
            Some(text) if text.len() > MAX_SHAPE_BYTES => {
                format!("has a shape of {} characters", text.len())
            }
            Some(text) => format!("has shape {}", excerpt(text)),
            None => "has no shape".to_owned(),
        };
        let reason = format!("{given}: give a list of whole numbers from 0");
        return Err(format_error(path, Some(&excerpt(&name)), reason));
    };
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
            Err(format_error(path, Some(&excerpt(&name)), reason))
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
        let reason = format!(
            "has a tensor whose name has {} bytes: at most {MAX_NAME_BYTES} are read",
            name.len()
        );
        return Err(format_error(path, None, reason));
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
    // Untrusted text can be long.
    let text = excerpt(text);
    text.parse()
        .map_err(|error: Error| format_error(path, Some(name), error.to_string()))
}
