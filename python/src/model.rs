//! Models written to files.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use fanin::checkpoint::{
    Contents, ModelFiles, Shards, Share, Sources, WithSources, Writer, recipe_metadata,
};
use fanin::{Fill, Plan, ShardSpec, cpu};
use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rayon::ThreadPool;

use crate::arguments::{MaxShardSize, Memory, Rank, Seed, Tensors, Threads, Type, WorldSize};
use crate::error::{ArgumentError, RecipeError, raised};
use crate::pool::pool;
use crate::recipe::PyRecipe;
use crate::work;

/// Writes the files of a model, as `fanin init` does.
#[pyfunction]
#[pyo3(signature = (recipe, tensors, seed, out, *, dtype=None, max_shard_size=None, shard_spec=None,
                    rank=None, world_size=None, memory=None, resume=false, overwrite=false,
                    strict=false, threads=None, progress=None))]
#[expect(clippy::too_many_arguments)]
pub fn init_model<'py>(
    py: Python<'py>,
    recipe: &PyRecipe,
    tensors: Option<Tensors>,
    seed: Option<Seed>,
    out: PathBuf,
    dtype: Option<Type>,
    max_shard_size: Option<MaxShardSize>,
    shard_spec: Option<PathBuf>,
    rank: Option<Rank>,
    world_size: Option<WorldSize>,
    memory: Option<Memory>,
    resume: bool,
    overwrite: bool,
    strict: bool,
    threads: Option<Threads>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let spec = py
        .detach(|| shard_spec.map(ShardSpec::load).transpose())
        .map_err(raised)?;
    let share = share(rank, world_size, spec.as_ref())?;
    let folder = is_folder(&out, share, spec.is_some(), max_shard_size.is_some())?;
    let tensors = recipe.tensors_or_own(tensors)?;
    let planned = py
        .detach(|| Planned::new(recipe, tensors, seed, dtype))
        .map_err(raised)?;
    planned.warn(py, strict)?;
    planned.check(&out, overwrite)?;
    let Planned { plan, sources, .. } = planned;
    let metadata = recipe_metadata(&recipe.0, plan.seed);
    let (elements, tensors) = (plan.elements(), plan.entries.len());
    let mut fills = plan.into_fills();
    sources.apply(&mut fills).map_err(raised)?;
    if let Some(spec) = &spec {
        warn_of_placements(py, spec, &fills, strict)?;
    }
    let writer = Writer::default()
        .with_memory(memory.map_or(Writer::MEMORY, |Memory(bytes)| bytes))
        .with_resume(resume)
        .with_overwrite(overwrite);
    let pool = pool(py, threads)?;
    let written = match (folder, spec) {
        (false, _) => save_single(
            py, &pool, progress, &writer, &out, &fills, &metadata, &sources,
        )?,
        (true, spec) => {
            let max_bytes = max_shard_size.map_or(Shards::MAX_BYTES, |MaxShardSize(bytes)| bytes);
            let files = match spec {
                Some(spec) => ModelFiles::ranks(&spec, &fills, share, &metadata),
                None => ModelFiles::shards(&fills, max_bytes, &metadata),
            };
            let files = files.map_err(raised)?;
            save_folder(py, &pool, progress, &writer, &out, &files, share, &sources)?
        }
    };
    let dict = PyDict::new(py);
    dict.set_item("out", out)?;
    dict.set_item("files", written.files)?;
    dict.set_item("missing", written.missing)?;
    dict.set_item("tensors", tensors)?;
    dict.set_item("elements", elements)?;
    dict.set_item("bytes", written.bytes)?;
    Ok(dict)
}

/// The files that a process has written.
struct Written {
    files: Vec<PathBuf>,
    /// The names of files that other processes have yet to write.
    missing: Vec<String>,
    bytes: u128,
}

#[expect(clippy::too_many_arguments)]
fn save_single(
    py: Python<'_>,
    pool: &ThreadPool,
    progress: Option<Py<PyAny>>,
    writer: &Writer,
    out: &Path,
    fills: &[Fill],
    metadata: &[(&str, String)],
    sources: &Sources,
) -> PyResult<Written> {
    let contents = Contents::safetensors(fills, metadata).map_err(raised)?;
    let bytes = contents.weight_bytes();
    work::run(py, pool, progress.as_ref(), bytes, |progress| {
        let mut make = cpu::fill_range;
        writer.save_single(
            out,
            &contents,
            &mut WithSources::new(&mut make, sources),
            progress,
        )
    })?;
    Ok(Written {
        files: vec![out.to_owned()],
        missing: Vec::new(),
        bytes,
    })
}

#[expect(clippy::too_many_arguments)]
fn save_folder(
    py: Python<'_>,
    pool: &ThreadPool,
    progress: Option<Py<PyAny>>,
    writer: &Writer,
    out: &Path,
    files: &ModelFiles<'_>,
    share: Share,
    sources: &Sources,
) -> PyResult<Written> {
    let bytes = files.weight_bytes(share).map_err(raised)?;
    let saved = work::run(py, pool, progress.as_ref(), bytes, |progress| {
        let mut make = cpu::fill_range;
        files.save(
            writer,
            out,
            share,
            &mut WithSources::new(&mut make, sources),
            progress,
        )
    })?;
    Ok(Written {
        files: files.paths(out, share),
        missing: saved.missing,
        bytes: saved.bytes,
    })
}

/// The plan of a model, with the files that it reads.
struct Planned {
    plan: Plan,
    sources: Sources,
    /// The source of the list of tensors.
    list: Option<PathBuf>,
    /// A warning about the list.
    unlisted: Option<String>,
}

impl Planned {
    fn new(
        recipe: &PyRecipe,
        tensors: Tensors,
        seed: Option<Seed>,
        dtype: Option<Type>,
    ) -> fanin::Result<Self> {
        let unlisted = tensors.unlisted_message();
        let (tensors, list) = tensors.read()?;
        let seed = seed.map(|Seed(seed)| seed);
        let plan = recipe
            .0
            .resolve(&tensors, seed, dtype.map(|Type(dtype)| dtype))?;
        let sources = Sources::of_plan(&plan, list.as_deref())?;
        Ok(Planned {
            plan,
            sources,
            list,
            unlisted,
        })
    }

    /// Warns about the list, and about rules that apply to no tensor, which are an error if `strict`.
    fn warn(&self, py: Python<'_>, strict: bool) -> PyResult<()> {
        if let Some(message) = &self.unlisted {
            warn(py, message)?;
        }
        for rule in &self.plan.unused {
            warn_or_fail(py, self.plan.unused_message(rule), strict)?;
        }
        Ok(())
    }

    /// Refuses an output that would replace a file which is read.
    fn check(&self, out: &Path, overwrite: bool) -> PyResult<()> {
        if let Some(file) = self.sources.read_in(out) {
            return Err(ArgumentError::new_err(format!(
                "out {out:?}: tensors are kept from {}: use another path",
                file.display()
            )));
        }
        if overwrite && let Some(file) = self.sources.read_beside(self.list.as_deref(), out) {
            return Err(ArgumentError::new_err(format!(
                "overwrite = True: {} is read, and would be replaced or removed: use another folder \
                 for out",
                file.display()
            )));
        }
        Ok(())
    }
}

/// Warns about rules of a shard spec that apply to no tensor, which are an error if `strict`.
fn warn_of_placements(
    py: Python<'_>,
    spec: &ShardSpec,
    fills: &[Fill],
    strict: bool,
) -> PyResult<()> {
    for globs in spec.unused(fills.iter().map(Fill::name)) {
        let name = spec.name();
        let message = format!("{name}: the rule with match = {globs:?} applies to no tensor");
        warn_or_fail(py, message, strict)?;
    }
    Ok(())
}

fn warn_or_fail(py: Python<'_>, message: String, strict: bool) -> PyResult<()> {
    match strict {
        true => Err(RecipeError::new_err(message)),
        false => warn(py, &message),
    }
}

/// Issues a Python warning at the caller of the function of the package.
pub fn warn(py: Python<'_>, message: &str) -> PyResult<()> {
    // Messages are one line of printable text, so no NUL is lost.
    let message = CString::new(message.replace('\0', "")).unwrap_or_default();
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &message, 2)
}

/// Returns the share of a process. With a shard spec, a rank alone is one of the ranks of the mesh.
fn share(
    rank: Option<Rank>,
    world_size: Option<WorldSize>,
    spec: Option<&ShardSpec>,
) -> PyResult<Share> {
    let rank = rank.map(|Rank(rank)| rank);
    let world_size = world_size.map(|WorldSize(size)| size);
    let size = world_size.or(spec.filter(|_| rank.is_some()).map(ShardSpec::ranks));
    match (rank, size) {
        (None, None) => Ok(Share::ALL),
        (_, Some(0)) => Err(ArgumentError::new_err(
            "world_size 0 is out of range: use the number of processes, 1 or more",
        )),
        (Some(rank), Some(size)) if rank < size => Ok(Share { rank, size }),
        (Some(rank), Some(size)) => Err(ArgumentError::new_err(format!(
            "rank {rank} is out of range: with {size} ranks use 0 to {}",
            size - 1
        ))),
        _ => Err(ArgumentError::new_err(
            "rank and world_size: give both, or none of them",
        )),
    }
}

/// Returns true if the output is a folder, and refuses other arguments that do not fit it.
fn is_folder(out: &Path, share: Share, has_spec: bool, has_size: bool) -> PyResult<bool> {
    let refused = |what: &str| Err(ArgumentError::new_err(format!("out {out:?}: {what}")));
    let text = out.as_os_str().to_string_lossy();
    let is_folder = text.ends_with(['/', std::path::MAIN_SEPARATOR])
        || out.is_dir()
        || out.file_name().is_some() && out.extension().is_none();
    if is_folder && out.file_name().is_some_and(|name| name == ".safetensors") && !out.is_dir() {
        return refused("the file's name is missing before .safetensors");
    }
    if is_folder {
        return match has_spec && has_size {
            true => refused("max_shard_size cannot be combined with shard_spec"),
            false => Ok(true),
        };
    }
    if out
        .extension()
        .is_none_or(|extension| extension != "safetensors")
    {
        return refused("use a .safetensors file, or a folder");
    }
    if has_spec {
        return refused("shard_spec writes a file for each rank: give a folder");
    }
    if has_size {
        return refused("max_shard_size needs a folder: end its name with /");
    }
    if share != Share::ALL {
        return refused("several processes write several files: give a folder");
    }
    Ok(false)
}
