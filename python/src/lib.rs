//! The native part of the Python package `fanin`: the library `fanin` for Python.

use fanin::checkpoint::{Make, Sources, WithSources};
use fanin::{
    DType, Fill, Init, ListedTensor, Mesh, Placement, Plan, Recipe, Shape, Tensor, TensorList, cpu,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

fn error(error: fanin::Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A recipe: rules that give each tensor of a model its initializer.
#[pyclass(name = "Recipe", frozen, module = "fanin")]
struct PyRecipe(Recipe);

#[pymethods]
impl PyRecipe {
    #[staticmethod]
    fn preset(name: &str) -> PyResult<Self> {
        Recipe::preset(name).map(PyRecipe).map_err(error)
    }

    #[staticmethod]
    fn from_toml(text: &str) -> PyResult<Self> {
        Recipe::from_toml(text).map(PyRecipe).map_err(error)
    }

    #[staticmethod]
    fn load(path: std::path::PathBuf) -> PyResult<Self> {
        Recipe::load(path).map(PyRecipe).map_err(error)
    }

    #[getter]
    fn text(&self) -> &str {
        self.0.text()
    }

    /// Resolves the recipe against tensors, each a name, a shape and a dtype or None.
    #[pyo3(signature = (tensors, seed=None, dtype=None))]
    fn plan(
        &self,
        tensors: Vec<(String, Vec<u64>, Option<String>)>,
        seed: Option<u64>,
        dtype: Option<&str>,
    ) -> PyResult<PyPlan> {
        let tensors = tensors.into_iter().map(|(name, dims, dtype)| {
            Ok(ListedTensor {
                name,
                shape: Shape::new(dims)?,
                dtype: dtype.map(|dtype| dtype.parse()).transpose()?,
            })
        });
        let list = tensors.collect::<fanin::Result<Vec<_>>>();
        let list = list.and_then(TensorList::new).map_err(error)?;
        let dtype: Option<DType> = dtype.map(str::parse).transpose().map_err(error)?;
        let plan = self.0.resolve(&list, seed, dtype).map_err(error)?;
        let sources = Sources::of_plan(&plan, None).map_err(error)?;
        let index = (plan.entries.iter().enumerate())
            .map(|(i, entry)| (entry.fill.name().to_owned(), i))
            .collect();
        Ok(PyPlan { plan, sources, index })
    }
}

/// A recipe resolved against the tensors of a model.
#[pyclass(name = "Plan", frozen, module = "fanin")]
struct PyPlan {
    plan: Plan,
    sources: Sources,
    index: std::collections::HashMap<String, usize>,
}

#[pymethods]
impl PyPlan {
    #[getter]
    fn names(&self) -> Vec<&str> {
        self.plan.iter().map(Fill::name).collect()
    }

    /// Fills memory with a tensor of the plan, or with a slice of it.
    #[pyo3(signature = (name, address, nbytes, *, dtype=None, slice=None, threads=None))]
    #[expect(clippy::too_many_arguments)]
    fn fill_at(
        &self,
        py: Python<'_>,
        name: &str,
        address: usize,
        nbytes: usize,
        dtype: Option<&str>,
        slice: Option<Vec<(u64, u64)>>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let Some(&i) = self.index.get(name) else {
            return Err(PyValueError::new_err(format!("{name:?} is not in the plan")));
        };
        let mut fill = self.plan.entries[i].fill.clone();
        if let Some(dtype) = dtype {
            fill = fill.with_dtype(dtype.parse().map_err(error)?);
        }
        fill_at(py, fill, address, nbytes, slice, threads, &self.sources)
    }
}

fn fill_at(
    py: Python<'_>,
    mut fill: Fill,
    address: usize,
    nbytes: usize,
    slice: Option<Vec<(u64, u64)>>,
    threads: Option<usize>,
    sources: &Sources,
) -> PyResult<()> {
    if let Some(slice) = slice {
        let ranges: Vec<_> = slice.into_iter().map(|(start, end)| start..end).collect();
        fill = fill.slice(ranges).map_err(error)?;
    }
    if fill.bytes() != nbytes as u64 {
        return Err(PyValueError::new_err(format!(
            "tensor {:?}: {nbytes} bytes given, {} needed",
            fill.name(),
            fill.bytes()
        )));
    }
    if nbytes == 0 {
        return Ok(());
    }
    // SAFETY: the caller promises that these bytes are its own until this returns.
    let out = unsafe { std::slice::from_raw_parts_mut(address as *mut u8, nbytes) };
    py.detach(|| {
        let mut cpu = cpu::fill_range;
        let mut work = || WithSources::new(&mut cpu, sources).make(&fill, 0, out);
        match threads {
            None => work(),
            Some(threads) => {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                pool.expect("threads").install(|| {
                    WithSources::new(&mut cpu::fill_range, sources).make(&fill, 0, out)
                })
            }
        }
    })
    .map_err(error)
}

/// Fills memory with a tensor, or with a slice of it.
#[pyfunction(name = "fill_at")]
#[pyo3(signature = (init, shape, address, nbytes, *, name, seed, dtype, layout=None, slice=None, threads=None))]
#[expect(clippy::too_many_arguments)]
fn fill_tensor_at(
    py: Python<'_>,
    init: &str,
    shape: Vec<u64>,
    address: usize,
    nbytes: usize,
    name: &str,
    seed: u64,
    dtype: &str,
    layout: Option<&str>,
    slice: Option<Vec<(u64, u64)>>,
    threads: Option<usize>,
) -> PyResult<()> {
    let init: Init = init.parse().map_err(error)?;
    let mut tensor = Tensor::new(name, shape).map_err(error)?;
    if let Some(layout) = layout {
        tensor = tensor.with_layout(layout.parse().map_err(error)?);
    }
    let fill = Fill::new(&tensor, &init, seed).map_err(error)?;
    let fill = fill.with_dtype(dtype.parse().map_err(error)?);
    fill_at(py, fill, address, nbytes, slice, threads, &Sources::new())
}

/// Returns the ranges of indices that a rank holds along each dimension of a tensor.
#[pyfunction]
fn local_indices(
    shape: Vec<u64>,
    mesh: Vec<u64>,
    placements: Vec<String>,
    rank: u64,
) -> PyResult<Vec<Vec<(u64, u64)>>> {
    let dims = mesh.iter().enumerate().map(|(i, &size)| (i.to_string(), size));
    let placements = placements.iter().map(|text| text.parse());
    let local = (|| {
        let placements = placements.collect::<fanin::Result<Vec<Placement>>>()?;
        Mesh::new(dims)?.local(&Shape::new(shape)?, &placements, rank)
    })()
    .map_err(error)?;
    let pairs = |held: &Vec<std::ops::Range<u64>>| held.iter().map(|r| (r.start, r.end)).collect();
    Ok(local.indices().iter().map(pairs).collect())
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyRecipe>()?;
    module.add_class::<PyPlan>()?;
    module.add_function(wrap_pyfunction!(fill_tensor_at, module)?)?;
    module.add_function(wrap_pyfunction!(local_indices, module)?)?;
    Ok(())
}
