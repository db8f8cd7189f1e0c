//! The native part of the Python package `fanin`. The modules of `python/fanin` wrap it, and document
//! it for users.

mod arguments;
mod checkpoint;
mod command;
mod error;
mod fill;
mod model;
mod placement;
mod pool;
mod program;
mod recipe;
mod work;

use pyo3::prelude::*;

// The library writes little-endian elements, which arrays of other machines would read wrongly.
#[cfg(target_endian = "big")]
compile_error!("the Python package needs a little-endian processor");

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<recipe::PyRecipe>()?;
    module.add_class::<recipe::PyPlan>()?;
    module.add_function(wrap_pyfunction!(fill::fill_at, module)?)?;
    module.add_function(wrap_pyfunction!(program::program, module)?)?;
    module.add_function(wrap_pyfunction!(placement::local_indices, module)?)?;
    module.add_function(wrap_pyfunction!(arguments::shape, module)?)?;
    module.add_function(wrap_pyfunction!(arguments::dtype, module)?)?;
    module.add_function(wrap_pyfunction!(model::init_model, module)?)?;
    module.add_function(wrap_pyfunction!(checkpoint::verify, module)?)?;
    module.add_function(wrap_pyfunction!(checkpoint::stats, module)?)?;
    module.add_function(wrap_pyfunction!(checkpoint::diff, module)?)?;
    module.add_function(wrap_pyfunction!(command::command, module)?)?;
    module.add("STREAM_VERSION", fanin::STREAM_VERSION)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
