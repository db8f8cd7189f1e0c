//! Recipes and plans.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use fanin::checkpoint::Sources;
use fanin::recipe::{PlanEntry, PlanPart};
use fanin::text::excerpt;
use fanin::{Fill, Plan, Recipe};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::arguments::{Address, Bytes, Name, Part, Seed, Tensors, Threads, Toml, Type};
use crate::error::{RecipeError, UnknownTensorError, raised};
use crate::fill::Memory;
use crate::program;

/// A recipe: rules that give each tensor of a model its initializer.
#[pyclass(name = "Recipe", frozen, module = "fanin._native")]
pub struct PyRecipe(pub Recipe);

#[pymethods]
impl PyRecipe {
    /// Returns the preset of a name.
    #[staticmethod]
    fn preset(name: Name) -> PyResult<Self> {
        Recipe::preset(&name.0).map(PyRecipe).map_err(raised)
    }

    /// Returns the names of the presets.
    #[staticmethod]
    fn presets() -> Vec<&'static str> {
        Recipe::presets().collect()
    }

    /// Reads a recipe from TOML.
    #[staticmethod]
    fn from_toml(text: Toml) -> PyResult<Self> {
        Recipe::from_toml(&text.0).map(PyRecipe).map_err(raised)
    }

    /// Reads a recipe from a file, and the recipes that it extends.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        // The path can lead to a pipe, which a thread of the caller writes.
        let loaded = py.detach(|| Recipe::load(path));
        loaded.map(PyRecipe).map_err(raised)
    }

    /// The name of the preset or of the file.
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    /// The TOML text, without the recipes that it extends.
    #[getter]
    fn text(&self) -> &str {
        self.0.text()
    }

    /// The SHA-256 of the recipe, in hexadecimal.
    #[getter]
    fn sha256(&self) -> String {
        self.0.sha256()
    }

    /// The seed that the recipe gives.
    #[getter]
    fn seed(&self) -> Option<u64> {
        self.0.seed()
    }

    /// The path of the list of tensors that the recipe names.
    #[getter]
    fn tensors(&self) -> Option<&Path> {
        self.0.tensors()
    }

    /// Resolves the recipe against tensors: a path, or a list of names, shapes and dtypes or None.
    #[pyo3(signature = (tensors=None, seed=None, dtype=None))]
    fn plan(
        &self,
        py: Python<'_>,
        tensors: Option<Tensors>,
        seed: Option<Seed>,
        dtype: Option<Type>,
    ) -> PyResult<PyPlan> {
        let tensors = self.tensors_or_own(tensors)?;
        py.detach(|| {
            let (list, path) = tensors.read()?;
            let seed = seed.map(|Seed(seed)| seed);
            let mut plan = self
                .0
                .resolve(&list, seed, dtype.map(|Type(dtype)| dtype))?;
            let sources = Sources::of_plan(&plan, path.as_deref())?;
            let kept = plan.entries.iter_mut().map(|entry| &mut entry.fill);
            // Without a file, the tensor can be planned but not filled.
            sources.apply(kept.filter(|fill| sources.has(fill)))?;
            Ok(PyPlan::new(plan, sources))
        })
        .map_err(raised)
    }
}

impl PyRecipe {
    /// Returns the tensors that are given, or else those that the recipe names.
    pub fn tensors_or_own(&self, tensors: Option<Tensors>) -> PyResult<Tensors> {
        let own = || self.0.tensors().map(|path| Tensors::Path(path.to_owned()));
        tensors.or_else(own).ok_or_else(|| {
            RecipeError::new_err(format!(
                "no list of tensors: give tensors, or write `tensors = \"FILE\"` in {}",
                self.0.name()
            ))
        })
    }
}

/// A recipe resolved against the tensors of a model.
#[pyclass(name = "Plan", frozen, module = "fanin._native")]
pub struct PyPlan {
    plan: Plan,
    sources: Sources,
    index: HashMap<String, usize>,
}

#[pymethods]
impl PyPlan {
    /// The names of the tensors, in the order of the list.
    #[getter]
    fn names(&self) -> Vec<&str> {
        self.plan.iter().map(Fill::name).collect()
    }

    /// The seed of all tensors whose rules have no seed.
    #[getter]
    fn seed(&self) -> u64 {
        self.plan.seed
    }

    /// The number of elements of all tensors together.
    #[getter]
    fn elements(&self) -> u128 {
        self.plan.elements()
    }

    /// The number of bytes of all tensors together.
    #[getter]
    fn bytes(&self) -> u128 {
        self.plan.bytes()
    }

    /// The names of the tensors that a rule leaves out.
    #[getter]
    fn skipped(&self) -> Vec<&str> {
        self.plan
            .skipped
            .iter()
            .map(|tensor| tensor.name.as_str())
            .collect()
    }

    /// A message for each rule that applies to no tensor, without those of presets.
    #[getter]
    fn unused(&self) -> Vec<String> {
        self.plan
            .unused
            .iter()
            .map(|rule| self.plan.unused_message(rule))
            .collect()
    }

    fn __len__(&self) -> usize {
        self.plan.entries.len()
    }

    fn __contains__(&self, name: &Bound<'_, PyString>) -> bool {
        // No tensor has a name with a lone surrogate.
        let name = name.to_cow();
        name.is_ok_and(|name| self.index.contains_key(&*name))
    }

    /// Returns the entry of a tensor as the keyword arguments of `fanin.PlanEntry`.
    fn entry<'py>(&self, py: Python<'py>, name: Name) -> PyResult<Bound<'py, PyDict>> {
        self.dict(py, self.find(&name.0)?)
    }

    /// Returns the numbers of a tensor's fill, and of its parts.
    #[pyo3(signature = (name, dtype=None))]
    fn program<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        dtype: Option<Type>,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let mut fill = self.find(name)?.fill.clone();
        if let Some(Type(dtype)) = dtype {
            fill = fill.with_dtype(dtype);
        }
        program::dicts(py, &fill)
    }

    /// Fills the memory at an address with a tensor of the plan, or with a slice of it.
    ///
    /// The conditions are those of `fill_at`.
    #[pyo3(signature = (name, address, nbytes, *, dtype=None, slice=None, threads=None, progress=None))]
    #[expect(clippy::too_many_arguments)]
    fn fill_at(
        &self,
        py: Python<'_>,
        name: Name,
        address: Address,
        nbytes: Bytes,
        dtype: Option<Type>,
        slice: Option<Part>,
        threads: Option<Threads>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let mut fill = self.find(&name.0)?.fill.clone();
        if let Some(Type(dtype)) = dtype {
            fill = fill.with_dtype(dtype);
        }
        if let Some(slice) = slice {
            fill = slice.of(fill).map_err(raised)?;
        }
        let memory = Memory::new(address, nbytes)?;
        memory.fill(py, &fill, &self.sources, threads, progress.as_ref())
    }
}

impl PyPlan {
    fn new(plan: Plan, sources: Sources) -> Self {
        let names = plan.iter().map(|fill| fill.name().to_owned());
        let index = names.zip(0..).collect();
        PyPlan {
            plan,
            sources,
            index,
        }
    }

    fn find(&self, name: &str) -> PyResult<&PlanEntry> {
        match self.index.get(name) {
            Some(&i) => Ok(&self.plan.entries[i]),
            None => Err(UnknownTensorError::new_err(self.unknown(name))),
        }
    }

    fn unknown(&self, name: &str) -> String {
        let skipped = self.plan.skipped.iter().any(|tensor| tensor.name == name);
        let name = excerpt(name);
        match self.plan.iter().next() {
            _ if skipped => {
                format!("tensor {name:?} is skipped by the recipe, so it has no weights")
            }
            None => format!("tensor {name:?} is not in the plan, which is empty"),
            Some(first) => format!(
                "tensor {name:?} is not in the plan, which has {} tensors, such as {:?}",
                self.plan.entries.len(),
                excerpt(first.name())
            ),
        }
    }

    fn dict<'py>(&self, py: Python<'py>, entry: &PlanEntry) -> PyResult<Bound<'py, PyDict>> {
        let fill = &entry.fill;
        let dict = PyDict::new(py);
        dict.set_item("name", fill.name())?;
        dict.set_item("shape", fill.shape().dims())?;
        dict.set_item("dtype", fill.dtype().name())?;
        dict.set_item("init", entry.init.to_string())?;
        let parts = entry.parts.iter().map(|PlanPart { slice, init, .. }| {
            let ranges = slice.ranges().iter().map(|range| (range.start, range.end));
            (ranges.collect::<Vec<_>>(), init.to_string())
        });
        dict.set_item("parts", parts.collect::<Vec<_>>())?;
        dict.set_item("fan_in", entry.fans.map(|fans| fans.fan_in))?;
        dict.set_item("fan_out", entry.fans.map(|fans| fans.fan_out))?;
        dict.set_item("tied_to", entry.tied_to.as_deref())?;
        dict.set_item("same_as", entry.same_as.as_deref())?;
        dict.set_item("is_kept", fill.is_kept())?;
        dict.set_item("seed", fill.seed())?;
        dict.set_item("stream", fill.stream())?;
        let rule = entry.rule.map(|rule| &self.plan.rules[rule]);
        let rule = rule.map(|rule| (rule.recipe.as_str(), rule.line, rule.column));
        dict.set_item("rule", rule)?;
        Ok(dict)
    }
}
