//! Tensor lists: what tensors a model has, from wherever that is written down.

use std::collections::HashMap;
use std::fmt;
use std::path::{Component, Path};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::header::{self, MAX_HEADER_BYTES};
use crate::error::{Error, Result, one_line, shown};
use crate::read::read_limited;
use crate::tensor::{ListedTensor, Shape, TensorList};

/// Reads the tensors of a model: names, shapes and, where given, dtypes.
///
/// | file | what is read |
/// |---|---|
/// | `*.safetensors` | its header |
/// | `*.json` with a `weight_map`, as `model.safetensors.index.json` | the headers of the shards it names, which lie beside it; tensors in the map's order |
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
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    let tensors = match extension {
        "safetensors" => read_safetensors(path)?,
        "json" => read_json(path)?,
        _ => {
            return Err(fault(
                path,
                None,
                "is no tensor list: use a .safetensors file, a model.safetensors.index.json, or \
                 a .json list {\"tensors\": [{\"name\": ..., \"shape\": [...]}]}",
            ));
        }
    };
    TensorList::new(tensors)
}

fn fault(path: &Path, tensor: Option<&str>, reason: impl Into<String>) -> Error {
    Error::Format {
        path: shown(path),
        tensor: tensor.map(str::to_owned),
        reason: reason.into(),
    }
}

fn read_safetensors(path: &Path) -> Result<Vec<ListedTensor>> {
    let (_, entries) = header::read(path)?;
    entries
        .into_iter()
        .map(|entry| {
            listed(
                path,
                entry.name,
                entry.shape,
                Some(&entry.dtype.to_string()),
            )
        })
        .collect()
}

/// Checks what every kind of list gives.
fn listed(path: &Path, name: String, shape: Vec<u64>, dtype: Option<&str>) -> Result<ListedTensor> {
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

/// The two kinds of JSON, told apart by what they hold.
#[derive(Deserialize)]
struct Json {
    tensors: Option<Vec<JsonTensor>>,
    weight_map: Option<WeightMap>,
}

/// Fields as loose values, so that what is wrong can be told by the tensor's name.
#[derive(Deserialize)]
struct JsonTensor {
    name: Option<Value>,
    shape: Option<Value>,
    dtype: Option<Value>,
}

fn read_json(path: &Path) -> Result<Vec<ListedTensor>> {
    let bytes = read_limited(path, MAX_HEADER_BYTES)?;
    let json: Json = serde_json::from_slice(&bytes).map_err(|error| {
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
            .collect(),
        (None, Some(map)) => read_shards(path, map),
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

/// The tensors that an index names, each as its shard's header has it.
fn read_shards(path: &Path, WeightMap(map): WeightMap) -> Result<Vec<ListedTensor>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut shards: HashMap<&str, HashMap<String, ListedTensor>> = HashMap::new();
    for (name, file) in &map {
        // An index is data: it may name files beside it, and no others.
        let mut components = Path::new(file).components();
        let plain = matches!(components.next(), Some(Component::Normal(_)))
            && components.next().is_none()
            && !file.contains(['/', '\\']);
        if !plain {
            let reason = format!("is said to be in {file:?}: a shard must lie beside its index");
            return Err(fault(path, Some(name), reason));
        }
        if !shards.contains_key(file.as_str()) {
            let tensors = read_safetensors(&folder.join(file))?;
            let by_name = tensors.into_iter().map(|t| (t.name.clone(), t)).collect();
            shards.insert(file, by_name);
        }
    }
    map.iter()
        .map(|(name, file)| {
            let tensor = shards.get(file.as_str()).and_then(|shard| shard.get(name));
            tensor.cloned().ok_or_else(|| {
                fault(
                    path,
                    Some(name),
                    format!("is said to be in {file:?}, which lacks it"),
                )
            })
        })
        .collect()
}

/// Tensor names with their shards, in the file's order; twins are left for [`TensorList`] to
/// find.
struct WeightMap(Vec<(String, String)>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensor names and file names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(WeightMap(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}
