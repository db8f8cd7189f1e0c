//! `fanin recipe`: a preset, to read or to start from.

use fanin::Recipe;

use crate::Failure;
use crate::args::RecipeArguments;
use crate::output::print;

pub fn run(arguments: &RecipeArguments) -> Result<(), Failure> {
    let recipe = Recipe::preset(&arguments.name).map_err(Failure::usage)?;
    print(recipe.text())
}
