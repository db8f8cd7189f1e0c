//! Tensor lists: what tensors a model has, from wherever that is written down.

use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::header::{self, MAX_HEADER_BYTES, Pairs};
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::read::read_limited;
use crate::tensor::{ListedTensor, Shape, TensorList};
use crate::text::{excerpt, shown};

/// The longest name of a tensor: far beyond any sensible one.
const MAX_NAME_BYTES: usize = 1 << 16;
/// The longest text of a shape, blanks and all.
const MAX_SHAPE_BYTES: usize = 4096;

/// Reads the tensors of a model: names, shapes and, where given, dtypes.
///
/// | file | what is read |
/// |---|---|
/// | `*.safetensors` | its header |
/// | `*.json` with a `weight_map`, as `model.safetensors.index.json` | the headers of the shards it names, which lie beside it; tensors in the map's order |
/// | a folder | `model.safetensors` in it, else `model.safetensors.index.json`, as transformers has it |
/// | `*.json` with `tensors` | `{"tensors": [{"name": ..., "shape": [...], "dtype": optional}]}`; other keys are ignored |
///
/// # Errors
///
/// [`Error::Io`] for a file that cannot be read, [`Error::Format`] for one that is none of
/// these or not sound, naming the tensor where one is at fault: a shape with too many elements, a
/// dtype other than f32, f16 and bf16; [`Error::Duplicate`] for a name that stands
/// twice.
pub fn read_tensor_list(path: impl AsRef<Path>) -> Result<TensorList> {
    let path = path.as_ref();
    let extension = path.extension().and_then(|e| e.to_str());
    match extension {
        Some("safetensors") => Weights::open(path)?.tensor_list(),
        _ if path.is_dir() => Weights::open(path)?.tensor_list(),
        Some("json") => match read_json(path)? {
            Json::List(tensors) => TensorList::new(tensors),
            Json::Index(map) => Weights::of_index(path, &map)?.tensor_list(),
        },
        _ => Err(fault(
            path,
            None,
            "is no tensor list: use a .safetensors file, a model.safetensors.index.json, a folder \
             that holds one of these, or a .json list {\"tensors\": [{\"name\": ..., \"shape\": \
             [...]}]}",
        )),
    }
}

/// Reads a tensor list from JSON in memory: `{"tensors": [...]}`, as [`read_tensor_list`] does from a
/// file. A million tensors take a second or so.
///
/// ```
/// let json = br#"{"tensors": [{"name": "fc.weight", "shape": [512, 784]}]}"#;
/// let list = fanin::checkpoint::parse_tensor_list(json)?;
/// assert_eq!(list.elements(), 512 * 784);
/// # Ok::<(), fanin::Error>(())
/// ```
///
/// # Errors
///
/// As [`read_tensor_list`], and [`Error::Format`] for an index: it names files, which only one that
/// is a file itself can.
pub fn parse_tensor_list(json: &[u8]) -> Result<TensorList> {
    let path = Path::new(IN_MEMORY);
    match parse_json(path, json)? {
        Json::List(tensors) => TensorList::new(tensors),
        Json::Index(_) => Err(fault(
            path,
            None,
            "has a \"weight_map\" that names files: read it with read_tensor_list",
        )),
    }
}

/// Reads the tensors of a .safetensors file in memory, data and all, in the header's order.
///
/// # Errors
///
/// As [`read_tensor_list`].
pub fn parse_safetensors(file: &[u8]) -> Result<TensorList> {
    let path = Path::new(IN_MEMORY);
    let header = header::parse_file(file).map_err(|fault| fault.in_file(path))?;
    let tensors = header
        .entries
        .into_iter()
        .map(|entry| listed(path, entry.name, entry.shape, Some(entry.dtype.name())));
    TensorList::new(tensors.collect::<Result<_>>()?)
}

/// What messages call a list that is no file.
const IN_MEMORY: &str = "tensor list";

/// What is wrong with a file, and with which of its tensors.
pub(super) fn fault(path: &Path, tensor: Option<&str>, reason: impl Into<String>) -> Error {
    Error::Format {
        path: shown(path),
        tensor: tensor.map(str::to_owned),
        reason: reason.into(),
    }
}

/// Checks what every kind of list gives.
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
        return Err(fault(path, None, reason));
    }
    let dtype = dtype.map(str::parse).transpose().map_err(|_| {
        let dtype = excerpt(dtype.unwrap_or_default());
        let reason = format!(
            "has dtype {dtype:?}: only f32, f16 and bf16 can be initialized; leave the tensor out \
             of the list"
        );
        fault(path, Some(&name), reason)
    })?;
    let shape = Shape::new(shape).map_err(|error| fault(path, Some(&name), error.to_string()))?;
    Ok(ListedTensor { name, shape, dtype })
}

/// The two kinds of JSON.
pub(super) enum Json {
    List(Vec<ListedTensor>),
    /// Tensor names with the shards that they are in, in the file's order.
    Index(Vec<(String, String)>),
}

/// Told apart by what they hold.
#[derive(Deserialize)]
struct JsonFile<'a> {
    #[serde(borrow)]
    tensors: Option<Vec<JsonTensor<'a>>>,
    weight_map: Option<Pairs>,
}

/// Fields as the text that stands there, so that what is wrong can be told by the tensor's name, and
/// that nothing takes more room than it does in the file.
#[derive(Deserialize)]
struct JsonTensor<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    shape: Option<&'a RawValue>,
    #[serde(borrow)]
    dtype: Option<&'a RawValue>,
}

pub(super) fn read_json(path: &Path) -> Result<Json> {
    let bytes = read_limited(path, MAX_HEADER_BYTES)?;
    parse_json(path, &bytes)
}

fn parse_json(path: &Path, bytes: &[u8]) -> Result<Json> {
    let json: JsonFile<'_> = serde_json::from_slice(bytes).map_err(|error| {
        let reason = format!("is refused: {}", excerpt(&error.to_string()));
        fault(path, None, reason)
    })?;
    match (json.tensors, json.weight_map) {
        (Some(tensors), None) => tensors
            .into_iter()
            .enumerate()
            .map(|(index, tensor)| json_tensor(path, index, &tensor))
            .collect::<Result<_>>()
            .map(Json::List),
        (None, Some(Pairs(map))) => Ok(Json::Index(map)),
        (None, None) => Err(fault(
            path,
            None,
            "has neither \"tensors\" nor \"weight_map\"",
        )),
        (Some(_), Some(_)) => Err(fault(
            path,
            None,
            "has both \"tensors\" and \"weight_map\": one of them must go",
        )),
    }
}

fn json_tensor(path: &Path, index: usize, tensor: &JsonTensor<'_>) -> Result<ListedTensor> {
    let string = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
    let Some(name) = tensor.name.and_then(string) else {
        let reason = format!("entry {index} of \"tensors\" has no \"name\" that is a string");
        return Err(fault(path, None, reason));
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
        return Err(fault(path, Some(&excerpt(&name)), reason));
    };
    let Some(raw) = tensor.dtype else {
        return listed(path, name, dims, None);
    };
    match string(raw) {
        Some(dtype) => listed(path, name, dims, Some(&dtype)),
        None => {
            let reason = format!("has dtype {}: use f32, f16 or bf16", excerpt(raw.get()));
            Err(fault(path, Some(&excerpt(&name)), reason))
        }
    }
}
