//! `fanin recipe` prints a preset, to read, or as a starting point for your own.

use fanin::Recipe;

use crate::Failure;
use crate::args::RecipeArguments;
use crate::output::print;

pub fn run(arguments: &RecipeArguments) -> Result<(), Failure> {
    let recipe = Recipe::preset(&arguments.name).map_err(Failure::usage)?;
    print(recipe.text())
}
