//! The native part of the Python package `fanin`. The modules of `python/fanin` wrap it, and document
//! it for users.

mod arguments;
mod error;
mod fill;
mod placement;
mod pool;
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
    module.add_function(wrap_pyfunction!(placement::local_indices, module)?)?;
    Ok(())
}
