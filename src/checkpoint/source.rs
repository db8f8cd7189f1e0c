//! Tensor lists: what tensors a model has, from wherever that is written down.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::header::{MAX_HEADER_BYTES, Pairs};
use super::weights::Weights;
use crate::error::{Error, Result, one_line, shown};
use crate::read::read_limited;
use crate::tensor::{ListedTensor, Shape, TensorList};

/// Reads the tensors of a model: names, shapes and, where given, dtypes.
///
/// | file | what is read |
/// |---|---|
/// | `*.safetensors` | its header |
/// | `*.json` with a `weight_map`, as `model.safetensors.index.json` | the headers of the shards it names, which lie beside it; tensors in the map's order |
/// | a folder | `model.safetensors.index.json` in it, else `model.safetensors` |
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
    let dtype = dtype.map(str::parse).transpose().map_err(|_| {
        let dtype = dtype.unwrap_or_default();
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
struct JsonFile {
    tensors: Option<Vec<JsonTensor>>,
    weight_map: Option<Pairs>,
}

/// Fields as loose values, so that what is wrong can be told by the tensor's name.
#[derive(Deserialize)]
struct JsonTensor {
    name: Option<Value>,
    shape: Option<Value>,
    dtype: Option<Value>,
}

pub(super) fn read_json(path: &Path) -> Result<Json> {
    let bytes = read_limited(path, MAX_HEADER_BYTES)?;
    let json: JsonFile = serde_json::from_slice(&bytes).map_err(|error| {
        fault(
            path,
            None,
            format!("is refused: {}", one_line(&error.to_string())),
        )
    })?;
    match (json.tensors, json.weight_map) {
        (Some(tensors), None) => tensors
            .into_iter()
            .enumerate()
            .map(|(index, tensor)| json_tensor(path, index, tensor))
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

fn json_tensor(path: &Path, index: usize, tensor: JsonTensor) -> Result<ListedTensor> {
    let Some(Value::String(name)) = tensor.name else {
        let reason = format!("entry {index} of \"tensors\" has no \"name\" that is a string");
        return Err(fault(path, None, reason));
    };
    let dims = tensor
        .shape
        .as_ref()
        .and_then(Value::as_array)
        .and_then(|dims| dims.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>());
    let Some(dims) = dims else {
        let given = match &tensor.shape {
            Some(shape) => format!("has shape {}", one_line(&shape.to_string())),
            None => "has no shape".to_owned(),
        };
        let reason = format!("{given}: give a list of whole numbers from 0");
        return Err(fault(path, Some(&name), reason));
    };
    match tensor.dtype {
        None | Some(Value::Null) => listed(path, name, dims, None),
        Some(Value::String(dtype)) => listed(path, name, dims, Some(&dtype)),
        Some(other) => {
            let reason = format!(
                "has dtype {}: use f32, f16 or bf16",
                one_line(&other.to_string())
            );
            Err(fault(path, Some(&name), reason))
        }
    }
}
