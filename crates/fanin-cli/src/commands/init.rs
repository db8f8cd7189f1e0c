//! `fanin init`: a whole model.

use std::io;
use std::path::{Path, PathBuf};

use fanin::checkpoint::{self, Contents, RankParts, Shards, Share, Writer};
use fanin::{Fill, ShardSpec};

use crate::Failure;
use crate::args::InitArguments;
use crate::backend::Backend;
use crate::distributed::World;
use crate::format::count;
use crate::model::{metadata, recipe, resolve};
use crate::output::{Target, status, work, write};

/// Where a model goes, as `--out` says it.
enum Destination {
    File(PathBuf),
    Folder(PathBuf),
    Null,
}

pub fn run(arguments: &InitArguments) -> Result<(), Failure> {
    let destination = destination(arguments)?;
    let world = World::find(&arguments.distributed)?;
    if let (Some(_), Destination::File(_)) = (&world, &destination) {
        return Err(Failure::Usage(format!(
            "--out {:?}: several processes write to a folder, each its own files: give one",
            arguments.out
        )));
    }
    let recipe = recipe(&arguments.recipe)?;
    let list = checkpoint::read_tensor_list(&arguments.tensors)?;
    let plan = resolve(&recipe, &list, arguments.seed, arguments.dtype)?;
    let metadata = metadata(&recipe, plan.seed);
    let writer = Writer::default()
        .with_memory(arguments.memory)
        .with_resume(arguments.resume);
    let local_rank = world.as_ref().and_then(|world| world.local_rank);
    let choose = || Backend::choose(&arguments.backend, local_rank.unwrap_or(0));
    let what = format!(
        "{} in {}",
        count(plan.elements(), "parameter"),
        count(plan.entries.len() as u128, "tensor")
    );
    let fills = plan.into_fills();
    if let Some(spec) = &arguments.shard_spec {
        let spec = ShardSpec::load(spec)?;
        let folder = match &destination {
            Destination::Folder(folder) => Some(folder.as_path()),
            Destination::Null => None,
            Destination::File(_) => {
                return Err(Failure::Usage(format!(
                    "--out {:?}: the ranks of --shard-spec have a file each: give a folder",
                    arguments.out
                )));
            }
        };
        let ranks = Ranks {
            spec,
            fills,
            metadata,
        };
        return ranks.write(&choose()?, &writer, folder, world.as_ref(), &what);
    }
    match destination {
        Destination::File(path) => {
            let contents = Contents::safetensors(&fills, &metadata)?;
            let target = Target::Safetensors(path);
            write(&choose()?, &writer, &target, &contents, &what)
        }
        Destination::Null if world.is_none() => {
            let contents = Contents::bare(&fills);
            write(&choose()?, &writer, &Target::Null, &contents, &what)
        }
        Destination::Null => {
            let shards = shards(arguments, &fills, &metadata)?;
            to_folder(&choose()?, &writer, None, &shards, world.as_ref(), &what)
        }
        Destination::Folder(folder) => {
            let shards = shards(arguments, &fills, &metadata)?;
            let (backend, folder) = (choose()?, Some(folder.as_path()));
            to_folder(&backend, &writer, folder, &shards, world.as_ref(), &what)
        }
    }
}

fn destination(arguments: &InitArguments) -> Result<Destination, Failure> {
    let out = arguments.out.as_str();
    let path = Path::new(out);
    let refused = |what: &str| Err(Failure::Usage(format!("--out {out:?}: {what}")));
    let destination = match path.extension().and_then(|extension| extension.to_str()) {
        _ if out == "null:" => Destination::Null,
        _ if out.ends_with(['/', std::path::MAIN_SEPARATOR]) || path.is_dir() => {
            Destination::Folder(path.to_owned())
        }
        Some("safetensors") => Destination::File(path.to_owned()),
        None if path.file_name().is_some_and(|name| name != "-") => {
            Destination::Folder(path.to_owned())
        }
        _ => {
            return refused(
                "a model is written to a .safetensors file, to a folder (end its name with /), \
                 or to null:",
            );
        }
    };
    match destination {
        Destination::File(_) if arguments.max_shard_size.is_some() => {
            refused("--max-shard-size is for a folder of files: end its name with /")
        }
        Destination::Folder(_)
            if arguments.max_shard_size.is_some() && arguments.shard_spec.is_some() =>
        {
            refused("--shard-spec gives each rank one file: --max-shard-size has no say")
        }
        Destination::Null if arguments.resume => {
            refused("--resume goes on with what is on a disk: there is nothing")
        }
        destination => Ok(destination),
    }
}

fn shards<'a>(
    arguments: &InitArguments,
    fills: &'a [Fill],
    metadata: &[(&str, String)],
) -> Result<Shards<'a>, Failure> {
    let size = arguments.max_shard_size.unwrap_or(Shards::MAX_BYTES);
    Ok(Shards::split(fills, size, metadata)?)
}

/// A model for the ranks of a training.
struct Ranks {
    spec: ShardSpec,
    fills: Vec<Fill>,
    metadata: Vec<(&'static str, String)>,
}

impl Ranks {
    /// Writes a file for each rank, or this process' share of them, to nowhere if there is no
    /// folder.
    fn write(
        &self,
        backend: &Backend,
        writer: &Writer,
        folder: Option<&Path>,
        world: Option<&World>,
        what: &str,
    ) -> Result<(), Failure> {
        let share = world.map_or(Share::ALL, |world| world.share);
        let ranks = self.spec.ranks();
        // As many processes as ranks: each writes its own.
        let mine = (share.rank..ranks).step_by(usize::try_from(share.size).unwrap_or(usize::MAX));
        let parts: Vec<RankParts> = mine
            .map(|rank| RankParts::new(&self.spec, &self.fills, rank, &self.metadata))
            .collect::<fanin::Result<_>>()?;
        let bytes = parts.iter().map(RankParts::weight_bytes).sum();
        let ((), amount) = work(backend, bytes, |make, progress| {
            parts.iter().try_for_each(|parts| match folder {
                Some(folder) => writer.save_rank(folder, parts, make, progress),
                None => {
                    let (sink, name) = (&mut io::sink(), parts.file_name());
                    writer.write_to(sink, name, &parts.contents()?, make, progress)
                }
            })
        })?;
        let to = match folder {
            Some(folder) => folder.display().to_string(),
            None => Target::Null.name(),
        };
        let who = world.map_or_else(String::new, |world| format!("{}: ", world.describe()));
        status(&format!(
            "{who}{} of {ranks} of {what}: {amount}, to {to}",
            count(parts.len() as u128, "rank")
        ));
        Ok(())
    }
}

/// Writes the process' share of the files, to nowhere if there is no folder.
fn to_folder(
    backend: &Backend,
    writer: &Writer,
    folder: Option<&Path>,
    shards: &Shards<'_>,
    world: Option<&World>,
    what: &str,
) -> Result<(), Failure> {
    let share = world.map_or(Share::ALL, |world| world.share);
    let mine = shards.of(share);
    let bytes = mine.iter().map(|file| file.contents().weight_bytes()).sum();
    let (missing, amount) = work(backend, bytes, |make, progress| match folder {
        Some(folder) => {
            let saved = writer.save_shards(folder, shards, share, make, progress)?;
            Ok(saved.missing)
        }
        None => {
            for file in &mine {
                let sink = &mut io::sink();
                writer.write_to(sink, file.name(), file.contents(), make, progress)?;
            }
            Ok(Vec::new())
        }
    })?;
    let to = match folder {
        Some(folder) => folder.display().to_string(),
        None => Target::Null.name(),
    };
    let all = shards.files().len() as u128;
    match world {
        None => status(&format!(
            "{what}: {amount}, to {} in {to}",
            count(all, "file")
        )),
        Some(world) => status(&format!(
            "{}: {} of {all} of {what}: {amount}, to {to}",
            world.describe(),
            count(mine.len() as u128, "file"),
        )),
    }
    if let (Some(world), [first, ..]) = (world, missing.as_slice()) {
        status(&format!(
            "{}: {} of other ranks are not there yet, {first} the first; whoever writes the last \
             one writes the index",
            world.describe(),
            count(missing.len() as u128, "file"),
        ));
    }
    Ok(())
}
