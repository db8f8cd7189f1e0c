//! The command line.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the command line with the arguments of a process, the name of the program first, and returns the
/// exit status.
///
/// It belongs to a process of its own: it writes to standard output and standard error, and may set the
/// handlers of signals.
#[pyfunction]
pub fn command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| fanin_cli::run(arguments))
}
