//! Stored weights: verification, statistics and comparison. Results are JSON, as the command line prints
//! it.

use std::path::{Path, PathBuf};

use fanin::checkpoint::{
    self, Compared, Start, Verification, Weights, WithSources, header_faults, metadata_differences,
};
use fanin::{Recipe, cpu};
use pyo3::prelude::*;
use serde::Serialize;

use crate::arguments::{Seed, Tensors, Threads, Type};
use crate::error::{ArgumentError, FormatError, raised};
use crate::model::warn;
use crate::pool::pool;
use crate::recipe::PyRecipe;
use crate::work;

/// Opens weights, and warns of tensors that their index does not list.
fn open(py: Python<'_>, path: &Path) -> PyResult<Weights> {
    let weights = py.detach(|| Weights::open(path)).map_err(raised)?;
    if let Some(message) = weights.unlisted_message() {
        warn(py, &message)?;
    }
    Ok(weights)
}

/// Returns the given tensors, or those that the recipe names, if either is there.
fn listed(recipe: &PyRecipe, tensors: Option<Tensors>) -> Option<Tensors> {
    let own = || {
        recipe
            .0
            .tensors()
            .map(|path| Tensors::Path(path.to_owned()))
    };
    tensors.or_else(own)
}

fn json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| FormatError::new_err(error.to_string()))
}

/// The result of `verify`.
#[derive(Serialize)]
struct Report<'a> {
    recipe: &'a str,
    seed: u64,
    same: bool,
    hints: Vec<String>,
    header: &'a [String],
    #[serde(flatten)]
    found: &'a Verification,
}

/// Compares stored weights with those of a recipe and a seed. Returns JSON, and the file of the first
/// difference of each tensor: JSON cannot hold paths that are not UTF-8.
#[pyfunction]
#[pyo3(signature = (path, recipe, seed=None, tensors=None, *, threads=None, progress=None))]
pub fn verify(
    py: Python<'_>,
    path: PathBuf,
    recipe: &PyRecipe,
    seed: Option<Seed>,
    tensors: Option<Tensors>,
    threads: Option<Threads>,
    progress: Option<Py<PyAny>>,
) -> PyResult<(String, Vec<Option<PathBuf>>)> {
    let weights = open(py, &path)?;
    let tensors = listed(recipe, tensors);
    if let (None, Some(slice)) = (&tensors, weights.slice_of_unknown()) {
        return Err(ArgumentError::new_err(format!(
            "{} has metadata slice {slice:?}: give tensors, the list of the whole tensors with their \
             shapes",
            path.display()
        )));
    }
    let seed = seed.map(|Seed(seed)| seed);
    let planned = py.detach(|| {
        let (list, source) = match tensors {
            Some(tensors) => tensors.read()?,
            None => (weights.tensor_list()?, None),
        };
        let plan = recipe.0.resolve(&list, seed, None)?;
        let seed = plan.seed;
        let compared = Compared::new(plan, source.as_deref())?;
        Ok((seed, compared.narrowed_to(&weights)?))
    });
    let (seed, compared) = planned.map_err(raised)?;
    let (pool, total) = (pool(py, threads)?, weights.stored_bytes().into());
    let found = work::run(py, &pool, progress.as_ref(), total, |progress| {
        let mut make = cpu::fill_range;
        let make = &mut WithSources::new(&mut make, &compared.sources);
        checkpoint::verify_some(&weights, &compared.fills, &compared.skipped, make, progress)
    })?;
    if found.tensors.is_empty() && !found.passed_over.is_empty() {
        return Err(FormatError::new_err(format!(
            "{}: nothing was compared: {} tensors are kept from a source or skipped (tensors = SOURCE \
             compares with the source)",
            path.display(),
            found.passed_over.len()
        )));
    }
    let faults = py
        .detach(|| header_faults(&weights, &recipe.0, seed))
        .map_err(raised)?;
    let files = found.tensors.iter();
    let files = files.map(|tensor| tensor.first.as_ref().map(|first| first.file.clone()));
    let report = json(&Report {
        recipe: recipe.0.name(),
        seed,
        same: found.is_same() && faults.is_empty(),
        header: &faults,
        hints: metadata_differences(&weights, &recipe.0, seed),
        found: &found,
    })?;
    Ok((report, files.collect()))
}

/// Computes statistics of stored weights, and compares them with those of a recipe.
#[pyfunction]
#[pyo3(signature = (path, recipe=None, *, threads=None, progress=None))]
pub fn stats(
    py: Python<'_>,
    path: PathBuf,
    recipe: Option<&PyRecipe>,
    threads: Option<Threads>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    // A .npy file holds one array, and is no index.
    if path.extension().is_none_or(|extension| extension != "npy") {
        open(py, &path)?;
    }
    let total = py
        .detach(|| checkpoint::float_bytes(&path))
        .map_err(raised)?;
    let fills = match recipe {
        Some(PyRecipe(recipe)) => py.detach(|| expected(&path, recipe)).map_err(raised)?,
        None => Vec::new(),
    };
    let pool = pool(py, threads)?;
    let rows = work::run(py, &pool, progress.as_ref(), total.into(), |progress| {
        checkpoint::examine_with(&path, &fills, progress)
    })?;
    json(&rows)
}

/// Returns the fills of a file's tensors. Their distributions do not depend on the seed.
fn expected(path: &Path, recipe: &Recipe) -> fanin::Result<Vec<fanin::Fill>> {
    let list = checkpoint::float_tensors(path)?;
    Ok(recipe.resolve(&list, Some(0), None)?.into_fills())
}

/// Compares trained weights with those that training started from: stored ones, or those of a recipe.
#[pyfunction]
#[pyo3(signature = (start, trained, seed=None, tensors=None, dtype=None, *, threads=None, progress=None))]
#[expect(clippy::too_many_arguments)]
pub fn diff(
    py: Python<'_>,
    start: &Bound<'_, PyAny>,
    trained: PathBuf,
    seed: Option<Seed>,
    tensors: Option<Tensors>,
    dtype: Option<Type>,
    threads: Option<Threads>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let trained = open(py, &trained)?;
    let (pool, total) = (pool(py, threads)?, trained.total_bytes().into());
    let Ok(recipe) = start.cast::<PyRecipe>() else {
        let start = open(py, &start.extract::<PathBuf>()?)?;
        let found = work::run(py, &pool, progress.as_ref(), total, |progress| {
            checkpoint::diff(Start::Weights(&start), &trained, progress)
        })?;
        return json(&found);
    };
    let recipe = recipe.get();
    let tensors = listed(recipe, tensors);
    let compared = py.detach(|| {
        let (list, source) = match tensors {
            Some(tensors) => tensors.read()?,
            None => (checkpoint::start_list(&trained)?, None),
        };
        let (seed, dtype) = (seed.map(|Seed(seed)| seed), dtype.map(|Type(dtype)| dtype));
        Compared::new(recipe.0.resolve(&list, seed, dtype)?, source.as_deref())
    });
    let compared = compared.map_err(raised)?;
    let found = work::run(py, &pool, progress.as_ref(), total, |progress| {
        let mut make = cpu::fill_range;
        let make = &mut WithSources::new(&mut make, &compared.sources);
        let start = Start::Fills(&compared.fills, make);
        checkpoint::diff_some(start, &trained, &compared.skipped, progress)
    })?;
    json(&found)
}
