//! `fanin recipe`: a preset, to read or to start from.

use fanin::Recipe;

use super::Failure;
use super::args::RecipeArguments;
use super::output::print;

pub fn run(arguments: &RecipeArguments) -> Result<(), Failure> {
    let recipe = Recipe::preset(&arguments.name).map_err(Failure::usage)?;
    print(recipe.text())
}
