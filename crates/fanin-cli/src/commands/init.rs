//! `fanin init` initializes all tensors of a model.

use std::io;
use std::path::{Path, PathBuf};

use fanin::ShardSpec;
use fanin::checkpoint::{
    Contents, Make, ModelFiles, Progress, Shards, Share, Sources, WithSources, Writer,
    recipe_metadata,
};
use fanin::text::{quoted, shown};

use crate::Failure;
use crate::args::InitArguments;
use crate::backend::Backend;
use crate::distributed::ProcessRank;
use crate::format::count;
use crate::model::{plan, report_unused_placements};
use crate::output::{
    NULL, Output, amount, check_folder, check_not_source, check_overwritten, check_sources, status,
    timed, work, write,
};

pub fn run(arguments: &InitArguments) -> Result<(), Failure> {
    let process = ProcessRank::find(&arguments.distributed)?;
    let output = ModelOutput::parse(arguments, process.as_ref())?;
    let (recipe, plan) = plan(&arguments.model)?;
    let list = arguments.model.source(&recipe)?;
    let metadata = recipe_metadata(&recipe, plan.seed);
    let writer = Writer::default()
        .with_memory(arguments.memory)
        .with_resume(arguments.resume)
        .with_overwrite(arguments.overwrite);
    let local_rank = process.as_ref().and_then(|process| process.local_rank);
    let backend = || Backend::choose(&arguments.backend, local_rank.unwrap_or(0));
    let what = format!(
        "{} in {}",
        count(plan.elements(), "parameter"),
        count(plan.entries.len() as u128, "tensor")
    );
    let sources = Sources::of_plan(&plan, Some(list))?;
    if let Some(path) = output.path() {
        check_sources(&sources, path)?;
        check_not_source(list, path)?;
        if arguments.overwrite {
            check_overwritten(&sources, list, path)?;
        }
    }
    let mut fills = plan.into_fills();
    sources.apply(&mut fills)?;
    let folder = match output {
        ModelOutput::One(output) => {
            let contents = match output {
                Output::Null => Contents::bare(&fills),
                _ => Contents::safetensors(&fills, &metadata)?,
            };
            let Output::Safetensors(path) = &output else {
                return write(&backend()?, &writer, &output, &contents, &sources, &what);
            };
            let ((), amount) = work(&backend()?, contents.weight_bytes(), |make, progress| {
                let make = &mut WithSources::new(make, &sources);
                writer.save_single(path, &contents, make, progress)
            })?;
            status(&format!("{what}: {amount}, to {}", output.name()));
            return Ok(());
        }
        ModelOutput::Several { folder } => folder,
    };
    let share = process.as_ref().map_or(Share::ALL, |process| process.share);
    let files = match &arguments.shard_spec {
        Some(spec) => {
            let spec = ShardSpec::load(spec)?;
            report_unused_placements(&spec, &fills, arguments.model.strict)?;
            ModelFiles::ranks(&spec, &fills, share, &metadata)?
        }
        None => {
            let size = arguments.max_shard_size.unwrap_or(Shards::MAX_BYTES);
            ModelFiles::shards(&fills, size, &metadata)?
        }
    };
    let backend = backend()?;
    let about = files.weight_bytes(share)?;
    let ((bytes, missing), seconds) = timed(&backend, about, |make, progress| {
        let make = &mut WithSources::new(make, &sources);
        match &folder {
            Some(folder) => {
                let saved = files.save(&writer, folder, share, make, progress)?;
                Ok((saved.bytes, saved.missing))
            }
            None => Ok((discard(&files, &writer, share, make, progress)?, Vec::new())),
        }
    })?;
    let amount = amount(&backend, bytes, seconds);
    let to = folder.map_or_else(|| NULL.to_owned(), |folder| shown(&folder));
    let who = process.map_or_else(String::new, |process| process.describe() + ": ");
    status(&match &files {
        ModelFiles::Shards(shards) if who.is_empty() => {
            let all = count(shards.files().len() as u128, "file");
            format!("{what}: {amount}, to {all} in {to}")
        }
        _ => format!(
            "{who}{} of {what}: {amount}, to {to}",
            portion(&files, share)
        ),
    });
    if let [first, ..] = missing.as_slice() {
        status(&format!(
            "{who}other ranks have yet to write {}, such as {first}; the process that writes the \
             last file also writes the index",
            count(missing.len() as u128, "file"),
        ));
    }
    Ok(())
}

/// The output of a model that `--out` names.
enum ModelOutput {
    /// One safetensors file, or `null:`.
    One(Output),
    /// Several files in a folder. Without a folder, they are made and not written.
    Several { folder: Option<PathBuf> },
}

impl ModelOutput {
    /// Returns the path of the file or folder, if there is one.
    fn path(&self) -> Option<&Path> {
        match self {
            ModelOutput::One(output) => output.path(),
            ModelOutput::Several { folder } => folder.as_deref(),
        }
    }

    /// Reads `--out`, and checks the options that depend on it.
    fn parse(arguments: &InitArguments, process: Option<&ProcessRank>) -> Result<Self, Failure> {
        let out = arguments.out.as_str();
        let path = Path::new(out);
        let refused = |what: &str| Err(Failure::Usage(format!("--out {}: {what}", quoted(out))));
        let has_spec = arguments.shard_spec.is_some();
        let has_shard_size = arguments.max_shard_size.is_some();
        if out == NULL {
            if arguments.resume {
                return refused("--resume needs an output on disk, not null:");
            }
            return Ok(match has_spec || process.is_some() {
                true => ModelOutput::Several { folder: None },
                false => ModelOutput::One(Output::Null),
            });
        }
        let has_name = path.file_name().is_some_and(|name| name != "-");
        if out.ends_with(['/', std::path::MAIN_SEPARATOR])
            || path.is_dir()
            || has_name && path.extension().is_none()
        {
            if has_spec && has_shard_size {
                return refused("--max-shard-size cannot be combined with --shard-spec");
            }
            return Ok(ModelOutput::Several {
                folder: Some(path.to_owned()),
            });
        }
        if path.extension().is_none_or(|it| it != "safetensors") {
            return refused("use a .safetensors file, a folder (end its name with /), or null:");
        }
        if has_spec {
            return refused("--shard-spec writes a file for each rank: give a folder");
        }
        if has_shard_size {
            return refused("--max-shard-size needs a folder: end its name with /");
        }
        if process.is_some() {
            return refused("several processes write several files: give a folder");
        }
        check_folder(path)?;
        Ok(ModelOutput::One(Output::Safetensors(path.to_owned())))
    }
}

/// Returns the number of files or ranks in a process' share and the number of all, such as
/// `2 files of 5`.
fn portion(files: &ModelFiles<'_>, share: Share) -> String {
    let (unit, all) = match files {
        ModelFiles::Shards(shards) => ("file", shards.files().len() as u64),
        ModelFiles::Ranks(files) => ("rank", files.ranks()),
    };
    let mine = files.paths(Path::new(""), share).len();
    format!("{} of {all}", count(mine as u128, unit))
}

/// Makes the files of a process' share without writing them. Returns the bytes of their weights.
fn discard(
    files: &ModelFiles<'_>,
    writer: &Writer,
    share: Share,
    make: &mut dyn Make,
    progress: &mut Progress<'_>,
) -> fanin::Result<u128> {
    let sink = &mut io::sink();
    let mut bytes = 0;
    match files {
        ModelFiles::Shards(shards) => {
            for file in shards.of(share) {
                writer.write_to(sink, file.name(), file.contents(), make, progress)?;
                bytes += file.contents().weight_bytes();
            }
        }
        ModelFiles::Ranks(files) => {
            for part in files.parts() {
                let part = part?;
                writer.write_to(sink, part.file_name(), &part.contents()?, make, progress)?;
                bytes += part.weight_bytes();
            }
        }
    }
    Ok(bytes)
}
