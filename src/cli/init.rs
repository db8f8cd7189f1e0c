//! `fanin init`: a whole model.

use fanin::checkpoint::{self, Contents};
use fanin::{Error, Recipe, STREAM_VERSION};
use sha2::{Digest, Sha256};

use super::Failure;
use super::args::InitArguments;
use super::backend::Backend;
use super::output::{Target, count, write};

pub fn run(arguments: &InitArguments) -> Result<(), Failure> {
    let target = Target::parse(&arguments.out)
        .filter(|target| matches!(target, Target::Safetensors(_) | Target::Null));
    let Some(target) = target else {
        return Err(Failure::Usage(format!(
            "--out {:?}: a model is written to a .safetensors file, or to null:",
            arguments.out
        )));
    };
    let recipe = recipe(&arguments.recipe)?;
    let list = checkpoint::read_tensor_list(&arguments.tensors)?;
    let plan = recipe
        .resolve(&list, arguments.seed, arguments.dtype)
        .map_err(|error| match error {
            Error::NoSeed { recipe } => Failure::Usage(format!(
                "no seed: give --seed N, or write `seed = N` in {recipe}"
            )),
            error => Failure::from(error),
        })?;
    let fills = plan.fills();
    let contents = match target {
        Target::Null => Contents::bare(&fills),
        // What decides the bits, and nothing else: not when, where or by which backend.
        _ => Contents::safetensors(
            &fills,
            &[
                ("format", "pt".to_owned()),
                ("fanin", env!("CARGO_PKG_VERSION").to_owned()),
                ("stream", STREAM_VERSION.to_string()),
                ("seed", plan.seed.to_string()),
                ("recipe", recipe.name().to_owned()),
                ("recipe_sha256", sha256(recipe.text())),
            ],
        )?,
    };
    let backend = Backend::choose(&arguments.backend)?;
    let what = format!(
        "{} in {}",
        count(plan.elements(), "parameter"),
        count(fills.len() as u128, "tensor")
    );
    write(&backend, &target, &contents, &what)
}

/// A file if it is named like one, else a preset.
pub fn recipe(text: &str) -> Result<Recipe, Failure> {
    if text.ends_with(".toml") {
        return Ok(Recipe::load(text)?);
    }
    Recipe::preset(text).map_err(|error| Failure::Usage(format!("{error}, or a .toml file")))
}

fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
