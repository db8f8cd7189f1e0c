//! Arguments from Python, with errors that say what is accepted.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use fanin::checkpoint::{Weights, read_tensor_list};
use fanin::text::one_line;
use fanin::{DType, Fill, ListedTensor, Shape, Slice, TensorList};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyInt, PyList, PySequence, PyString, PyTuple, PyType,
};

use crate::error::{ArgumentError, raised, with_tensors};

/// Defines arguments that are read by a function of their name, which messages give, and the value.
macro_rules! arguments {
    ($($(#[$doc:meta])* $type:ident($inner:ty) = $read:ident($name:literal);)*) => {$(
        $(#[$doc])*
        pub struct $type(pub $inner);

        impl<'py> FromPyObject<'_, 'py> for $type {
            type Error = PyErr;

            fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
                $read($name, &object).map($type)
            }
        }
    )*};
}

arguments! {
    /// A 64-bit seed.
    Seed(u64) = whole_number("seed");
    /// A 64-bit stream id.
    Stream(u64) = whole_number("stream");
    /// The groups of a grouped convolution.
    Groups(u64) = whole_number("groups");
    /// A process of several.
    Rank(u64) = whole_number("rank");
    /// A number of processes.
    WorldSize(u64) = whole_number("world_size");
    /// An address of memory.
    Address(u64) = whole_number("address");
    /// The bytes of memory at an address.
    Bytes(u64) = whole_number("nbytes");
    /// A number of threads.
    Threads(usize) = threads("threads");
    /// The memory for buffers, in bytes.
    Memory(u64) = size("memory");
    /// The largest size of a shard in bytes.
    MaxShardSize(u64) = size("max_shard_size");
    /// The axes of the inputs of a weight.
    InAxis(Vec<i64>) = axes("in_axis");
    /// The axes of the outputs of a weight.
    OutAxis(Vec<i64>) = axes("out_axis");
    /// The axes along which independent weights are stacked.
    BatchAxis(Vec<i64>) = axes("batch_axis");
    /// The name of a tensor or of a preset.
    Name(String) = text("name");
    /// The text of an initializer.
    InitText(String) = text("init");
    /// The text of a layout.
    LayoutText(String) = text("layout");
    /// A text of TOML.
    Toml(String) = text("text");
}

/// Reads a number of threads.
fn threads(what: &str, object: &Bound<'_, PyAny>) -> PyResult<usize> {
    // The largest number is that of the command line. More than the machine has cores only cost memory.
    let accepted = "use 1 to 1024, or None for all cores";
    whole_number_in(what, object, 1..=1024, accepted).map(|threads| threads as usize)
}

/// Reads a number of bytes: a whole number, or text such as `5GB`.
fn size(what: &str, object: &Bound<'_, PyAny>) -> PyResult<u64> {
    let text = match object.cast::<PyString>() {
        Ok(text) => text.to_string(),
        Err(_) => whole_number(what, object)?.to_string(),
    };
    fanin_cli::size(&text)
        .map_err(|accepted| ArgumentError::new_err(format!("{what} {}: {accepted}", shown(object))))
}

/// Reads an axis, or several.
fn axes(what: &str, object: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let axis = |object: &Bound<'_, PyAny>| match is_whole(object) {
        true => object.extract::<i64>().ok(),
        false => None,
    };
    let several = || {
        let objects = object.cast::<PySequence>().ok()?.try_iter().ok()?;
        objects.map(|object| axis(&object.ok()?)).collect()
    };
    axis(object)
        .map(|axis| vec![axis])
        .or_else(several)
        .ok_or_else(|| {
            ArgumentError::new_err(format!(
                "{what} {}: use the number of an axis, such as -1, or a sequence of them",
                shown(object)
            ))
        })
}

/// Reads text.
fn text(what: &str, object: &Bound<'_, PyAny>) -> PyResult<String> {
    let Ok(text) = object.cast::<PyString>() else {
        let message = format!("{what} {} is not text: use a str", shown(object));
        return Err(PyTypeError::new_err(message));
    };
    let text = text.to_cow().map(Cow::into_owned);
    text.map_err(|_| {
        ArgumentError::new_err(format!(
            "{what} {} is not text: it has a lone surrogate, which UTF-8 cannot encode",
            shown(object)
        ))
    })
}

/// The dimensions of a shape: whole numbers, or a single one.
pub struct Dims(pub Vec<u64>);

impl<'py> FromPyObject<'_, 'py> for Dims {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        // Text and bytes are sequences, too.
        let is_text = object.cast::<PyString>().is_ok()
            || object.cast::<PyBytes>().is_ok()
            || object.cast::<PyByteArray>().is_ok();
        if is_text {
            return Err(not_a_shape(&object));
        }
        let is_sequence = object.cast::<PySequence>().is_ok();
        // An array of numpy is no sequence, and one of no dimensions is a number.
        let is_array = object
            .getattr("ndim")
            .is_ok_and(|rank| rank.is_truthy().unwrap_or(false));
        if !is_sequence && !is_array {
            let one = whole_number("shape", &object).map_err(|_| not_a_shape(&object))?;
            return Ok(Dims(vec![one]));
        }
        let dims = object.try_iter()?.map(|dim| whole_number("shape", &dim?));
        let dims: PyResult<Vec<u64>> = dims.collect();
        dims.map(Dims).map_err(|_| not_a_shape(&object))
    }
}

fn not_a_shape(object: &Bound<'_, PyAny>) -> PyErr {
    ArgumentError::new_err(format!(
        "shape {}: use whole numbers from 0, one for each dimension",
        shown(object)
    ))
}

/// A dtype: its name, or a dtype of numpy, torch, JAX or ml_dtypes. The byte order of a dtype of numpy
/// does not count.
pub struct Type(pub DType);

impl<'py> FromPyObject<'_, 'py> for Type {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let unknown = |_| {
            let message = format!("dtype {}: use a name or a dtype", shown(&object));
            ArgumentError::new_err(message)
        };
        let text = if object.cast::<PyType>().is_ok() {
            // A class of numpy or ml_dtypes, such as numpy.float32, or one of Python.
            let name = object.getattr("__name__")?.str()?;
            match &*name.to_string_lossy() {
                // As numpy takes them.
                "float" => PyString::new(object.py(), "float64"),
                "int" => PyString::new(object.py(), "int64"),
                _ => name,
            }
        } else if object.hasattr("newbyteorder")? {
            // A dtype of numpy.
            object.getattr("name")?.str()?
        } else if object.cast::<PyString>().is_err() && object.hasattr("dtype")? {
            // A type of JAX, such as jax.numpy.float32.
            object.getattr("dtype")?.str()?
        } else {
            object.str().map_err(unknown)?
        };
        text.to_string().parse().map(Type).map_err(raised)
    }
}

/// The tensors of a model: a list of names, shapes and dtypes, or the path of a file.
pub enum Tensors {
    List(TensorList),
    Path(PathBuf),
}

impl<'py> FromPyObject<'_, 'py> for Tensors {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if object.cast::<PyList>().is_err() {
            return Ok(Tensors::Path(object.extract()?));
        }
        let listed = object.try_iter()?.map(|tensor| listed_tensor(&tensor?));
        let listed = listed.collect::<PyResult<Vec<_>>>()?;
        TensorList::new(listed).map(Tensors::List).map_err(raised)
    }
}

/// Reads a name, a shape, and a dtype or None.
fn listed_tensor(tensor: &Bound<'_, PyAny>) -> PyResult<ListedTensor> {
    type Object<'py> = Bound<'py, PyAny>;
    let (name, shape, dtype): (Object<'_>, Object<'_>, Object<'_>) = tensor.extract()?;
    let name = text("the name of a tensor", &name)?;
    let named = |error: PyErr| {
        let message = error.value(tensor.py()).to_string();
        let error = ArgumentError::new_err(format!("tensor {name:?}: {message}"));
        with_tensors(error, &[&name])
    };
    let Dims(dims) = shape.extract().map_err(named)?;
    let dtype: Option<Type> = dtype.extract().map_err(named)?;
    Ok(ListedTensor {
        shape: Shape::new(dims).map_err(|error| raised(error.named(&name)))?,
        dtype: dtype.map(|Type(dtype)| dtype),
        name,
    })
}

impl Tensors {
    /// Returns a warning if the list is an index that leaves out tensors of its shards.
    pub fn unlisted_message(&self) -> Option<String> {
        let Tensors::Path(path) = self else {
            return None;
        };
        // Only what is surely an index: a pipe can be read once, and the reader reports damaged files.
        let is_json = path
            .extension()
            .is_some_and(|extension| extension == "json");
        let is_index = path.is_dir() || is_json && path.is_file();
        let weights = is_index.then(|| Weights::open(path).ok()).flatten();
        weights?.unlisted_message()
    }

    /// Returns the list, and the path of the file that it was read from.
    pub fn read(self) -> fanin::Result<(TensorList, Option<PathBuf>)> {
        match self {
            Tensors::List(list) => Ok((list, None)),
            Tensors::Path(path) => Ok((read_tensor_list(&path)?, Some(path))),
        }
    }
}

/// The part of a tensor: text such as `0:10,:`, or a start and an end for each dimension.
pub enum Part {
    Text(String),
    Ranges(Vec<(u64, u64)>),
}

impl<'py> FromPyObject<'_, 'py> for Part {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(text) = object.cast::<PyString>() {
            return Ok(Part::Text(text.to_string()));
        }
        let range = |pair: PyResult<Bound<'py, PyAny>>| {
            let (start, end): (Bound<'py, PyAny>, Bound<'py, PyAny>) = pair?.extract()?;
            Ok((whole_number("slice", &start)?, whole_number("slice", &end)?))
        };
        let ranges: PyResult<_> = object
            .try_iter()
            .and_then(|pairs| pairs.map(range).collect());
        ranges.map(Part::Ranges).map_err(|_| {
            ArgumentError::new_err(format!(
                "slice {}: use a start and an end, both whole numbers from 0, for each dimension",
                shown(&object)
            ))
        })
    }
}

impl Part {
    /// Narrows a fill to the part.
    pub fn of(self, fill: Fill) -> fanin::Result<Fill> {
        match self {
            Part::Text(text) => {
                let slice = Slice::parse(&text, fill.shape());
                let slice = slice.map_err(|error| error.named(fill.name()))?;
                fill.slice(slice)
            }
            Part::Ranges(ranges) => {
                let ranges: Vec<_> = ranges.into_iter().map(|(start, end)| start..end).collect();
                fill.slice(ranges)
            }
        }
    }
}

/// Reads an int, or a whole number of numpy, from 0 to 2^64 - 1. `what` is the argument's name.
fn whole_number(what: &str, object: &Bound<'_, PyAny>) -> PyResult<u64> {
    let accepted = "use a whole number from 0 to 18446744073709551615";
    whole_number_in(what, object, 0..=u64::MAX, accepted)
}

/// Reads a whole number of a range, which `accepted` describes.
fn whole_number_in(
    what: &str,
    object: &Bound<'_, PyAny>,
    range: RangeInclusive<u64>,
    accepted: &str,
) -> PyResult<u64> {
    if !is_whole(object) {
        let message = format!("{what} {} is not a whole number: {accepted}", shown(object));
        return Err(PyTypeError::new_err(message));
    }
    let number = object
        .extract()
        .ok()
        .filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let message = format!("{what} {} is out of range: {accepted}", shown(object));
        ArgumentError::new_err(message)
    })
}

/// Returns true for an int and for whole numbers of numpy. A bool is none: it is an int in Python, but
/// hardly ever meant as one.
fn is_whole(object: &Bound<'_, PyAny>) -> bool {
    let is_whole = object.cast::<PyInt>().is_ok() || object.hasattr("__index__").unwrap_or(false);
    is_whole && object.cast::<PyBool>().is_err()
}

/// Returns an object as Python shows it, on one line and shortened.
fn shown(object: &Bound<'_, PyAny>) -> String {
    const MOST: usize = 60;
    // Python refuses to show ints of thousands of digits, and other classes can refuse, too.
    let Ok(text) = object.repr().map(|text| one_line(&text.to_string_lossy())) else {
        let kind = object.get_type().name();
        return kind.map_or_else(|_| "?".to_owned(), |kind| format!("of type {kind}"));
    };
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Returns the dimensions of a shape.
#[pyfunction]
pub fn shape<'py>(py: Python<'py>, shape: Dims) -> PyResult<Bound<'py, PyTuple>> {
    let shape = Shape::new(shape.0).map_err(raised)?;
    PyTuple::new(py, shape.dims())
}

/// Returns fanin's name of a dtype, and its number of bits.
#[pyfunction]
pub fn dtype(dtype: Type) -> (&'static str, u64) {
    (dtype.0.name(), dtype.0.bits())
}
