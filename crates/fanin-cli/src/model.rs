//! Recipes, plans and lists of tensors for the commands.

use std::path::Path;

use fanin::checkpoint::{self, Weights};
use fanin::text::{excerpt, quoted_list};
use fanin::{DType, Error, Fill, Plan, Recipe, ShardSpec, Slice, TensorList};

use crate::Failure;
use crate::args::ModelArguments;
use crate::output::status;

/// Returns the recipe and the plan of the model that the arguments describe.
pub fn plan(arguments: &ModelArguments) -> Result<(Recipe, Plan), Failure> {
    let recipe = recipe(&arguments.recipe)?;
    let list = tensor_list(arguments.source(&recipe)?)?;
    let plan = resolve(&recipe, &list, arguments.seed, arguments.dtype)?;
    report_unused(&plan, arguments.strict)?;
    Ok((recipe, plan))
}

/// Reads a list of tensors, and warns of those that an index does not list.
pub fn tensor_list(source: &Path) -> Result<TensorList, Failure> {
    match index(source) {
        Some(weights) => {
            warn_of_unlisted(&weights);
            Ok(weights.tensor_list()?)
        }
        None => Ok(checkpoint::read_tensor_list(source)?),
    }
}

/// Warns of tensors that the shards of an index hold and that it does not list.
pub fn warn_of_unlisted(weights: &Weights) {
    if let Some(message) = weights.unlisted_message() {
        status(&format!("warning: {message}"));
    }
}

/// Opens the weights of an index or of a folder. It is `None` for other files, and for an index that
/// cannot be read, whose reader reports it.
fn index(path: &Path) -> Option<Weights> {
    // Only a regular file: a pipe can be read once.
    let is_json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    let is_index = path.is_dir() || is_json && path.is_file();
    is_index.then(|| Weights::open(path).ok()).flatten()
}

/// Warns about rules that apply to no tensor. With `strict`, the first one is an error.
pub fn report_unused(plan: &Plan, strict: bool) -> Result<(), Failure> {
    for rule in &plan.unused {
        let message = plan.unused_message(rule);
        if strict {
            return Err(Failure::Run(message));
        }
        status(&format!("warning: {message}"));
    }
    Ok(())
}

/// The most globs of a rule that a message shows.
const GLOBS_SHOWN: usize = 8;

/// Warns about rules of a shard spec that apply to no tensor. With `strict`, the first one is an error.
pub fn report_unused_placements(
    spec: &ShardSpec,
    fills: &[Fill],
    strict: bool,
) -> Result<(), Failure> {
    for globs in spec.unused(fills.iter().map(Fill::name)) {
        let globs = quoted_list(globs, GLOBS_SHOWN);
        let message = format!(
            "{}: the rule with match = {globs} applies to no tensor",
            excerpt(spec.name())
        );
        if strict {
            return Err(Failure::Run(message));
        }
        status(&format!("warning: {message}"));
    }
    Ok(())
}

/// Resolves the recipe. A missing seed is an error of usage, because `--seed` can give it.
pub fn resolve(
    recipe: &Recipe,
    list: &TensorList,
    seed: Option<u64>,
    dtype: Option<DType>,
) -> Result<Plan, Failure> {
    recipe
        .resolve(list, seed, dtype)
        .map_err(|error| match error {
            Error::NoSeed { .. } if recipe.is_preset() => {
                Failure::Usage("no seed: give --seed N".to_owned())
            }
            Error::NoSeed { recipe } => Failure::Usage(format!(
                "no seed: give --seed N, or write `seed = N` in {}",
                excerpt(&recipe)
            )),
            error => Failure::from(error),
        })
}

impl ModelArguments {
    /// Returns the source of the list of tensors: `--tensors`, or else the one that the recipe names.
    pub fn source<'a>(&'a self, recipe: &'a Recipe) -> Result<&'a Path, Failure> {
        let source = self.tensors.as_deref().or(recipe.tensors());
        source.ok_or_else(|| {
            Failure::Usage(match recipe.is_preset() {
                true => "no list of tensors: give --tensors SOURCE".to_owned(),
                false => format!(
                    "no list of tensors: give --tensors SOURCE, or write `tensors = \"FILE\"` in {}",
                    excerpt(recipe.name())
                ),
            })
        })
    }
}

/// Loads a recipe from a .toml file, or returns the preset of this name.
pub fn recipe(text: &str) -> Result<Recipe, Failure> {
    if text.ends_with(".toml") {
        return Ok(Recipe::load(text)?);
    }
    Recipe::preset(text).map_err(|error| Failure::Usage(format!("{error}, or a .toml file")))
}

/// Returns the recipe that the metadata of weights name. A recipe file is looked for in the working
/// directory and beside the weights.
pub fn recipe_of(weights: &Weights) -> fanin::Result<Recipe> {
    let path = weights.path();
    let beside = match path.is_dir() {
        true => path,
        false => path.parent().unwrap_or(Path::new("")),
    };
    checkpoint::recipe_of(weights, &[Path::new(""), beside])
}

/// Returns the recipe and the seed that the metadata of weights name, and says so. A given seed comes
/// first.
pub fn of_metadata(
    weights: &Weights,
    given: Option<u64>,
) -> Result<(Recipe, Option<u64>), Failure> {
    let recipe = recipe_of(weights).map_err(Failure::usage)?;
    let named = weights.metadata("seed").and_then(|seed| seed.parse().ok());
    let seed = given.or(named);
    let of_seed = match (given, seed) {
        (None, Some(seed)) => format!(" and seed {seed}"),
        _ => String::new(),
    };
    status(&format!(
        "recipe {}{of_seed}, which the file's metadata name",
        excerpt(recipe.name())
    ));
    Ok((recipe, seed))
}

/// Returns the recipe that a file is compared with, and the fills that it gives the file's tensors. It is the
/// given recipe, or else the one that the metadata of the file name. It is `None` if they name none, or one
/// that is not here, and, with a warning, if that one does not suit the tensors.
pub fn compared_with(
    file: &Path,
    given: Option<&str>,
) -> Result<(Option<Recipe>, Vec<Fill>), Failure> {
    // A .npy file has no metadata. The reader of the numbers reports a file that cannot be read.
    let weights = Weights::open(file).ok();
    if let Some(weights) = &weights {
        warn_of_unlisted(weights);
    }
    if let Some(given) = given {
        let recipe = recipe(given)?;
        let fills = expected_fills(file, &recipe)?;
        return Ok((Some(recipe), fills));
    }
    let Some(Ok(recipe)) = weights.as_ref().map(recipe_of) else {
        return Ok((None, Vec::new()));
    };
    match expected_fills(file, &recipe) {
        Ok(fills) => Ok((Some(recipe), fills)),
        Err(Failure::Run(reason) | Failure::Usage(reason)) => {
            status(&format!(
                "warning: not compared with recipe {}, which the file's metadata name: {reason}",
                excerpt(recipe.name())
            ));
            Ok((None, Vec::new()))
        }
        Err(failure) => Err(failure),
    }
}

/// Returns the slice of the fill that the text describes.
pub fn narrowed(fill: Fill, slice: &str) -> fanin::Result<Fill> {
    let slice = Slice::parse(slice, fill.shape()).map_err(|error| error.named(fill.name()))?;
    fill.slice(slice)
}

/// Returns the fills that a recipe gives the tensors of a file, for their distributions, which do
/// not depend on the seed.
fn expected_fills(file: &Path, recipe: &Recipe) -> Result<Vec<Fill>, Failure> {
    let list = checkpoint::float_tensors(file)?;
    Ok(resolve(recipe, &list, Some(0), None)?.into_fills())
}
