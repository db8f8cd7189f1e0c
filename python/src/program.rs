//! Fills as numbers, for the arithmetic of other packages.

use std::sync::Arc;

use fanin::Fill;
use fanin::init::normal_table;
use fanin::program::{Matrix, Program, programs};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

use crate::arguments::{
    BatchAxis, Dims, Groups, InAxis, InitText, LayoutText, Name, OutAxis, Seed, Stream, Type,
};
use crate::error::raised;
use crate::fill::{Axes, request, tensor};

/// Returns the numbers of a tensor's fill that has no plan. See `Plan.program`.
#[pyfunction]
#[pyo3(signature = (init, shape, *, name, seed, dtype, layout=None, groups=Groups(1), in_axis=None,
                    out_axis=None, batch_axis=None, stream=None))]
#[expect(clippy::too_many_arguments)]
pub fn program<'py>(
    py: Python<'py>,
    init: InitText,
    shape: Dims,
    name: Name,
    seed: Seed,
    dtype: Type,
    layout: Option<LayoutText>,
    groups: Groups,
    in_axis: Option<InAxis>,
    out_axis: Option<OutAxis>,
    batch_axis: Option<BatchAxis>,
    stream: Option<Stream>,
) -> PyResult<Vec<Bound<'py, PyDict>>> {
    let axes = Axes(in_axis, out_axis, batch_axis);
    let tensor = tensor(&name.0, shape, layout, groups, axes, stream).map_err(raised)?;
    let fill = request(&tensor, init, seed, dtype, None).map_err(raised)?;
    dicts(py, &fill)
}

/// Returns the programs of a fill as dicts, whose keys are the fields of [`Program`].
pub fn dicts<'py>(py: Python<'py>, fill: &Fill) -> PyResult<Vec<Bound<'py, PyDict>>> {
    let programs = programs(fill).map_err(raised)?;
    programs.iter().map(|program| dict(py, program)).collect()
}

fn dict<'py>(py: Python<'py>, program: &Program) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let ranges = program.ranges.iter().map(|range| (range.start, range.end));
    dict.set_item("ranges", ranges.collect::<Vec<_>>())?;
    dict.set_item("dims", &program.dims)?;
    dict.set_item("key", program.key)?;
    dict.set_item("stream", program.stream)?;
    dict.set_item("core", program.core)?;
    dict.set_item("exponent", program.exponent)?;
    dict.set_item("multiplier", program.multiplier)?;
    dict.set_item("shift", program.shift)?;
    dict.set_item("offset", program.offset)?;
    dict.set_item("clamp", program.clamp)?;
    dict.set_item("constant", program.constant)?;
    dict.set_item("table", table(py, &program.table))?;
    dict.set_item("mask", program.mask)?;
    dict.set_item("pattern", program.pattern)?;
    dict.set_item("columns", program.columns)?;
    let matrix = program.matrix.map(|matrix| {
        let Matrix {
            rows,
            columns,
            taps,
            middle,
            taps_last,
        } = matrix;
        (rows, columns, taps, middle, taps_last)
    });
    dict.set_item("matrix", matrix)?;
    dict.set_item("bounds", program.bounds)?;
    Ok(dict)
}

/// Returns the bytes of a table. All normal fills share one object, because a model has many of them.
fn table<'py>(py: Python<'py>, table: &Arc<Vec<[u32; 2]>>) -> Bound<'py, PyBytes> {
    static NORMAL: PyOnceLock<Py<PyBytes>> = PyOnceLock::new();
    let bytes = || {
        let words = table.as_flattened().iter();
        let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        PyBytes::new(py, &bytes)
    };
    if Arc::ptr_eq(table, &normal_table()) {
        return NORMAL.get_or_init(py, || bytes().unbind()).bind(py).clone();
    }
    bytes()
}
