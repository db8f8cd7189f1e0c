//! Tensor lists, read from every kind of file that holds one.

use std::path::Path;

use super::foreign::{self, FIRST_BYTES};
use super::header;
use super::json::{Json, listed, parse_json, read_json};
use super::weights::Weights;
use crate::error::Result;
use crate::read::format_error;
use crate::tensor::TensorList;

/// Reads the tensors of a model: names, shapes and, where given, dtypes.
///
/// | file | what is read |
/// |---|---|
/// | `*.safetensors` | its header |
/// | `*.json` with a `weight_map`, as `model.safetensors.index.json` | the headers of the shards that it names, which lie beside it; tensors in the map's order |
/// | a folder | its `model.safetensors`, or else its `model.safetensors.index.json`, as in transformers, or else its files of all ranks |
/// | `*.json` with `tensors` | `{"tensors": [{"name": ..., "shape": [...], "dtype": optional}]}`, or the array alone; other keys are ignored |
///
/// A file that holds parts of tensors, as that of a rank does, gives the shapes of the whole
/// tensors.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io) for a file that cannot be read.
/// [`Error::Format`](crate::Error::Format) for a file of another kind, or one that is damaged, has
/// a shape with too many elements or an unknown dtype; it names the tensor at fault.
/// [`Error::Duplicate`](crate::Error::Duplicate) for a name that is listed twice.
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
        _ => {
            foreign::refuse_file(path)?;
            Err(format_error(
                path,
                None,
                "is not a tensor list: use a .safetensors file, a model.safetensors.index.json, a \
             folder that holds one of these, or a .json list {\"tensors\": [{\"name\": ..., \
             \"shape\": [...]}]}",
            ))
        }
    }
}

/// Reads a tensor list from JSON in memory: `{"tensors": [...]}`, as [`read_tensor_list`] does from
/// a file.
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
/// As [`read_tensor_list`], and [`Error::Format`](crate::Error::Format) for an index: it names
/// files beside itself, and JSON in memory has none.
pub fn parse_tensor_list(json: &[u8]) -> Result<TensorList> {
    let path = Path::new(IN_MEMORY);
    match parse_json(path, json)? {
        Json::List(tensors) => TensorList::new(tensors),
        Json::Index(_) => Err(format_error(
            path,
            None,
            "has a \"weight_map\" that names files: read it with read_tensor_list",
        )),
    }
}

/// Reads the tensors of a .safetensors file in memory, data included, in the header's order.
///
/// # Errors
///
/// As [`read_tensor_list`].
pub fn parse_safetensors(file: &[u8]) -> Result<TensorList> {
    let path = Path::new(IN_MEMORY);
    foreign::refuse(path, &file[..file.len().min(FIRST_BYTES)])?;
    let header = header::parse_file(file).map_err(|fault| fault.in_file(path))?;
    let tensors = header.entries.into_iter().map(|entry| {
        let dtype = entry.dtype.name();
        listed(path, entry.name, entry.shape, Some(dtype))
    });
    TensorList::new(tensors.collect::<Result<_>>()?)
}

/// The name that messages give to a list in memory.
const IN_MEMORY: &str = "tensor list";
