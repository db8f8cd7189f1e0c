//! `fanin init`: a whole model.

use std::io;
use std::path::{Path, PathBuf};

use fanin::checkpoint::{self, Contents, Shards, Share, Writer};
use fanin::{DType, Error, Fill, Plan, Recipe, STREAM_VERSION, TensorList};
use sha2::{Digest, Sha256};

use super::Failure;
use super::args::InitArguments;
use super::backend::Backend;
use super::distributed::World;
use super::output::{Target, count, say, work, write};

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
    let fills = plan.fills();
    let metadata = metadata(&recipe, plan.seed);
    let writer = Writer::default()
        .with_memory(arguments.memory)
        .with_resume(arguments.resume);
    let local_rank = world.as_ref().and_then(|world| world.local_rank);
    let choose = || Backend::choose(&arguments.backend, local_rank.unwrap_or(0));
    let what = format!(
        "{} in {}",
        count(plan.elements(), "parameter"),
        count(fills.len() as u128, "tensor")
    );
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
        Destination::Null if arguments.resume => {
            refused("--resume goes on with what is on a disk: there is nothing")
        }
        destination => Ok(destination),
    }
}

/// What a file says of itself. It decides the bits, and nothing else stands there: not when,
/// where or by which backend.
pub fn metadata(recipe: &Recipe, seed: u64) -> Vec<(&'static str, String)> {
    vec![
        ("format", "pt".to_owned()),
        ("fanin", env!("CARGO_PKG_VERSION").to_owned()),
        ("stream", STREAM_VERSION.to_string()),
        ("seed", seed.to_string()),
        ("recipe", recipe.name().to_owned()),
        ("recipe_sha256", sha256(recipe.text())),
    ]
}

/// The plan; a seed that is missing is one that the arguments lack.
pub fn resolve(
    recipe: &Recipe,
    list: &TensorList,
    seed: Option<u64>,
    dtype: Option<DType>,
) -> Result<Plan, Failure> {
    recipe
        .resolve(list, seed, dtype)
        .map_err(|error| match error {
            Error::NoSeed { recipe } => Failure::Usage(format!(
                "no seed: give --seed N, or write `seed = N` in {recipe}"
            )),
            error => Failure::from(error),
        })
}

/// A file if it is named like one, else a preset.
pub fn recipe(text: &str) -> Result<Recipe, Failure> {
    if text.ends_with(".toml") {
        return Ok(Recipe::load(text)?);
    }
    Recipe::preset(text).map_err(|error| Failure::Usage(format!("{error}, or a .toml file")))
}

pub fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shards<'a>(
    arguments: &InitArguments,
    fills: &'a [Fill],
    metadata: &[(&str, String)],
) -> Result<Shards<'a>, Failure> {
    let size = arguments.max_shard_size.unwrap_or(Shards::MAX_BYTES);
    Ok(Shards::split(fills, size, metadata)?)
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
        None => say(&format!(
            "{what}: {amount}, to {} in {to}",
            count(all, "file")
        )),
        Some(world) => say(&format!(
            "{}: {} of {all} of {what}: {amount}, to {to}",
            world.describe(),
            count(mine.len() as u128, "file"),
        )),
    }
    if let (Some(world), [first, ..]) = (world, missing.as_slice()) {
        say(&format!(
            "{}: {} of other ranks are not there yet, {first} the first; whoever writes the last \
             one writes the index",
            world.describe(),
            count(missing.len() as u128, "file"),
        ));
    }
    Ok(())
}
