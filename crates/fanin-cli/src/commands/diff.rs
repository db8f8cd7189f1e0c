//! `fanin diff` shows how far trained weights have moved from their start.

use std::ops::ControlFlow;
use std::path::Path;

use fanin::Recipe;
use fanin::checkpoint::{self, Change, Compared, Diff, Start, Weights, WithSources};
use fanin::text::quoted;

use crate::Failure;
use crate::args::DiffArguments;
use crate::backend::Backend;
use crate::format::number_text;
use crate::model::{of_metadata, recipe, resolve, tensor_list, warn_of_unlisted};
use crate::output::{bytes_bar, print_json};
use crate::table::{Column, print_table};

pub fn run(arguments: &DiffArguments) -> Result<(), Failure> {
    let trained = Weights::open(arguments.trained())?;
    warn_of_unlisted(&trained);
    let bar = bytes_bar(trained.total_bytes());
    let mut progress = |bytes| {
        bar.inc(bytes);
        ControlFlow::Continue(())
    };
    let diff = match start(arguments, &trained)? {
        Origin::Recipe(recipe, seed) => {
            let compared = compared(arguments, &trained, &recipe, seed)?;
            let backend = Backend::choose(&arguments.backend, 0)?;
            let mut make = backend.maker();
            let make = &mut WithSources::new(&mut *make, &compared.sources);
            let start = Start::Fills(&compared.fills, make);
            checkpoint::diff_some(start, &trained, &compared.skipped, &mut progress)
        }
        Origin::Weights(start) => {
            refuse_recipe_options(arguments, start)?;
            let start = Weights::open(start)?;
            warn_of_unlisted(&start);
            checkpoint::diff(Start::Weights(&start), &trained, &mut progress)
        }
    };
    bar.finish_and_clear();
    let diff = diff?;
    if arguments.json {
        return print_json(&diff);
    }
    print_table(&COLUMNS, &rows(&diff), arguments.table.width())
}

/// The start of training.
enum Origin<'a> {
    /// The weights that a recipe gives, and the seed, if it is known.
    Recipe(Box<Recipe>, Option<u64>),
    /// The path of stored weights.
    Weights(&'a str),
}

/// Returns the start that the arguments give, or else the recipe that the metadata of the trained
/// weights name.
fn start<'a>(arguments: &'a DiffArguments, trained: &Weights) -> Result<Origin<'a>, Failure> {
    let (recipe, seed) = match arguments.start() {
        None => of_metadata(trained, arguments.seed)?,
        Some(start) if is_recipe(start) => (recipe(start)?, arguments.seed),
        Some(start) => return Ok(Origin::Weights(start)),
    };
    Ok(Origin::Recipe(Box::new(recipe), seed))
}

/// Returns true if the start is a recipe: a preset's name or a .toml file. A folder that has a
/// preset's name is given as a path, such as `./gpt2`. A text that neither exists nor looks like a
/// path counts as a misspelled preset, so that the error lists the presets.
fn is_recipe(start: &str) -> bool {
    let looks_like_path = start.contains(['/', '\\', '.']);
    start.ends_with(".toml")
        || Recipe::presets().any(|preset| preset == start)
        || !(looks_like_path || Path::new(start).exists())
}

/// Returns the fills of the recipe that training started from.
fn compared(
    arguments: &DiffArguments,
    trained: &Weights,
    recipe: &Recipe,
    seed: Option<u64>,
) -> Result<Compared, Failure> {
    let source = arguments.tensors.as_deref().or(recipe.tensors());
    let list = match source {
        Some(source) => tensor_list(source)?,
        None => checkpoint::start_list(trained)?,
    };
    let plan = resolve(recipe, &list, seed, arguments.dtype)?;
    Ok(Compared::new(plan, source)?)
}

/// Refuses options that apply to a recipe, when the start is stored weights.
fn refuse_recipe_options(arguments: &DiffArguments, start: &str) -> Result<(), Failure> {
    let given = [
        ("--seed", arguments.seed.is_some()),
        ("--tensors", arguments.tensors.is_some()),
        ("--dtype", arguments.dtype.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(Failure::Usage(format!(
            "{name} needs a recipe, but {} is a file of weights: leave it out, or give a preset \
             or a .toml file",
            quoted(start)
        ))),
        None => Ok(()),
    }
}

const COLUMNS: [Column; 10] = [
    Column::left("name").name(),
    Column::left("shape").rank(6),
    Column::left("dtype").rank(8),
    Column::right("n").rank(7),
    Column::right("change").rank(2),
    Column::right("relative").rank(1),
    Column::right("cosine").rank(3),
    Column::right("untouched").rank(4),
    Column::right("largest").rank(5),
    Column::left("note").rank(1),
];

fn rows(diff: &Diff) -> Vec<Vec<String>> {
    let compared = diff.tensors.iter().map(|tensor| {
        let dtype = if tensor.start_dtype == tensor.dtype {
            tensor.dtype.clone()
        } else {
            format!("{} to {}", tensor.start_dtype, tensor.dtype)
        };
        let first = [tensor.name.clone(), format!("{:?}", tensor.shape), dtype];
        row(first, &tensor.change)
    });
    let noted = |names: &'_ [String], note: &'static str| -> Vec<Vec<String>> {
        let rows = names.iter().map(|name| {
            let mut row = vec![name.clone()];
            row.resize(COLUMNS.len() - 1, "-".to_owned());
            row.push(note.to_owned());
            row
        });
        rows.collect()
    };
    let mut rows: Vec<Vec<String>> = compared.collect();
    let total = ["total", "", ""].map(str::to_owned);
    rows.push(row(total, &diff.total));
    rows.extend(noted(&diff.only_in_start, "only in A"));
    rows.extend(noted(&diff.only_in_trained, "only in B"));
    rows.extend(noted(&diff.not_compared, "not compared"));
    rows
}

fn row(first: [String; 3], change: &Change) -> Vec<String> {
    // The relative change and the cosine of zeros are undefined, which is no fault.
    let number = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), number_text);
    let mut row = first.to_vec();
    row.extend([
        change.elements.to_string(),
        number_text(change.change_norm),
        number(change.relative),
        number(change.cosine),
        number(Some(change.untouched_share).filter(|share| !share.is_nan())),
        number_text(change.max_change),
        String::new(),
    ]);
    row
}
