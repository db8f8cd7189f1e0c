//! The Python exception of each error of the library.

use std::io::{self, ErrorKind};

use fanin::Error;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

pyo3::import_exception!(fanin._errors, ArgumentError);
pyo3::import_exception!(fanin._errors, FileError);
pyo3::import_exception!(fanin._errors, FormatError);
pyo3::import_exception!(fanin._errors, MissingFileError);
pyo3::import_exception!(fanin._errors, RecipeError);
pyo3::import_exception!(fanin._errors, UnknownTensorError);

/// Converts an error of the library to a Python exception with the same message.
///
/// It is a function for `map_err`, because neither type is of this crate, so `From` cannot be
/// implemented.
#[expect(clippy::needless_pass_by_value)]
pub fn raised(error: Error) -> PyErr {
    let message = shortened(error.to_string());
    match &error {
        Error::Interrupted => PyKeyboardInterrupt::new_err(()),
        Error::Recipe { .. }
        | Error::Rule { .. }
        | Error::Unmatched { .. }
        | Error::NoSeed { .. }
        | Error::Kept { .. } => with_tensors(RecipeError::new_err(message), &tensors_of(&error)),
        Error::Format { .. } | Error::Unsupported { .. } | Error::Duplicate { .. } => {
            FormatError::new_err(message)
        }
        Error::Io { path, source, .. } => {
            let raised = match source.kind() {
                ErrorKind::NotFound => MissingFileError::new_err(message),
                _ => FileError::new_err(message),
            };
            with_file(raised, path, source)
        }
        _ => ArgumentError::new_err(message),
    }
}

/// Returns the names of the tensors that an error of a recipe is about, the first ones of many.
fn tensors_of(error: &Error) -> Vec<&str> {
    match error {
        Error::Unmatched { tensors, .. } => tensors.iter().map(|(name, _)| &**name).collect(),
        Error::Rule { fault, .. } => tensors_of(fault),
        Error::Tensor { name, .. } => vec![name],
        _ => Vec::new(),
    }
}

/// Sets the attribute `_tensors` of `FaninError`, for the code of the package.
pub fn with_tensors(error: PyErr, names: &[&str]) -> PyErr {
    let set = Python::attach(|py| error.value(py).setattr("_tensors", names));
    set.map_or_else(|failed| failed, |()| error)
}

/// Cuts the middle out of a message that quotes a very long text.
fn shortened(message: String) -> String {
    const KEPT: usize = 1000;
    let count = message.chars().count();
    if count <= 2 * KEPT {
        return message;
    }
    let start: String = message.chars().take(KEPT).collect();
    let end: String = message.chars().skip(count - KEPT).collect();
    format!("{start}...{end}")
}

/// Sets the attributes of `OSError`, which a single argument leaves empty.
fn with_file(error: PyErr, path: &str, source: &io::Error) -> PyErr {
    let set = Python::attach(|py| {
        let value = error.value(py);
        value.setattr("filename", path)?;
        match (source.raw_os_error(), source.kind()) {
            // The library compares the free space before the operating system does.
            (None, ErrorKind::StorageFull) => {
                value.setattr("errno", py.import("errno")?.getattr("ENOSPC")?)
            }
            (errno, _) => value.setattr("errno", errno),
        }
    });
    set.map_or_else(|failed| failed, |()| error)
}
