//! A model on the command line: its recipe, its plan and the metadata of its files.

use std::path::Path;

use fanin::checkpoint;
use fanin::{DType, Error, Fill, Plan, Recipe, STREAM_VERSION, Slice, TensorList};

use crate::Failure;

/// What a file says of itself. It decides the bits, and nothing else stands there: not when,
/// where or by which backend.
pub fn metadata(recipe: &Recipe, seed: u64) -> Vec<(&'static str, String)> {
    vec![
        ("format", "pt".to_owned()),
        ("fanin", env!("CARGO_PKG_VERSION").to_owned()),
        ("stream", STREAM_VERSION.to_string()),
        ("seed", seed.to_string()),
        ("recipe", recipe.name().to_owned()),
        ("recipe_sha256", recipe.sha256()),
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

/// The fill, narrowed to a slice that is given as text.
pub fn narrowed(fill: Fill, slice: &str) -> fanin::Result<Fill> {
    let slice = Slice::parse(slice, fill.shape()).map_err(|error| error.named(fill.name()))?;
    fill.slice(slice)
}

/// What a recipe makes of the tensors of a file; of their distributions, no seed is part.
pub fn expected_fills(file: &Path, name: &str) -> Result<Vec<Fill>, Failure> {
    let recipe = recipe(name)?;
    let list = checkpoint::float_tensors(file)?;
    Ok(resolve(&recipe, &list, Some(0), None)?.into_fills())
}
