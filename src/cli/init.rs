//! `fanin init`: a whole model.

use fanin::checkpoint::{self, Contents};
use fanin::{DType, Error, Plan, Recipe, STREAM_VERSION, TensorList};
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
    let plan = resolve(&recipe, &list, arguments.seed, arguments.dtype)?;
    let fills = plan.fills();
    let contents = match target {
        Target::Null => Contents::bare(&fills),
        _ => Contents::safetensors(&fills, &metadata(&recipe, plan.seed))?,
    };
    let backend = Backend::choose(&arguments.backend)?;
    let what = format!(
        "{} in {}",
        count(plan.elements(), "parameter"),
        count(fills.len() as u128, "tensor")
    );
    write(&backend, &target, &contents, &what)
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
