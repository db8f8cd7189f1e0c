//! `fanin verify` checks that weights have exactly the bits that a recipe and a seed give.

use std::time::Instant;

use fanin::Recipe;
use fanin::checkpoint::{
    self, Compared, StoredValue, Verification, VerifiedTensor, Weights, WithSources, header_faults,
    metadata_differences,
};
use fanin::text::{excerpt, quoted, shown};
use serde::Serialize;

use crate::Failure;
use crate::args::VerifyArguments;
use crate::backend::Backend;
use crate::format::{count, speed};
use crate::model::{of_metadata, recipe, resolve, tensor_list, warn_of_unlisted};
use crate::output::{bytes_bar, print_json, printed_with_verdict, status};
use crate::table::{Column, print_table};

/// The output of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    file: String,
    recipe: &'a str,
    seed: u64,
    same: bool,
    /// Differences between the file's metadata and the arguments.
    hints: Vec<String>,
    /// Faults of the headers and the index of files that fanin wrote.
    header: Vec<String>,
    backend: String,
    seconds: f64,
    #[serde(flatten)]
    found: &'a Verification,
}

pub fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    let given = arguments.recipe.as_deref().map(recipe).transpose()?;
    let weights = Weights::open(&arguments.file)?;
    warn_of_unlisted(&weights);
    let (recipe, seed) = match given {
        Some(recipe) => (recipe, arguments.seed),
        None => of_metadata(&weights, arguments.seed)?,
    };
    let source = arguments.tensors.as_deref().or(recipe.tensors());
    let list = match (source, weights.slice_of_unknown()) {
        (Some(source), _) => tensor_list(source)?,
        // Files of older versions give a slice without the shapes of the whole tensors.
        (None, Some(slice)) => {
            return Err(Failure::Usage(format!(
                "{} has metadata slice {}: give --tensors, the list of the whole tensors with their \
                 shapes",
                shown(weights.path()),
                quoted(slice)
            )));
        }
        (None, None) => weights.tensor_list()?,
    };
    let plan = resolve(&recipe, &list, seed, None)?;
    let seed = plan.seed;
    // The file itself is no source for what it should hold.
    let compared = Compared::new(plan, source)?.narrowed_to(&weights)?;

    let backend = Backend::choose(&arguments.backend, 0)?;
    let bar = bytes_bar(weights.stored_bytes());
    let mut progress = |bytes| {
        bar.inc(bytes);
        std::ops::ControlFlow::Continue(())
    };
    let mut make = backend.maker();
    let make = &mut WithSources::new(&mut *make, &compared.sources);
    let start = Instant::now();
    let found = checkpoint::verify_some(
        &weights,
        &compared.fills,
        &compared.skipped,
        make,
        &mut progress,
    );
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let found = found?;

    let hints = metadata_differences(&weights, &recipe, seed);
    let faults = header_faults(&weights, &recipe, seed)?;
    let is_empty = found.passed_over.is_empty() && found.missing.is_empty();
    let nothing_compared = found.tensors.is_empty() && !is_empty;
    let printed = match arguments.json {
        true => print_json(&Report {
            file: weights.path().display().to_string(),
            recipe: recipe.name(),
            seed,
            same: found.is_same() && faults.is_empty() && !nothing_compared,
            hints: hints.clone(),
            header: faults.clone(),
            backend: backend.describe(),
            seconds,
            found: &found,
        }),
        false if !found.is_same() => print_table(&COLUMNS, &rows(&found), arguments.table.width()),
        false => Ok(()),
    };
    let judge = || {
        if nothing_compared {
            let reason = match found.passed_over.len() {
                0 => missing(&found),
                passed_over => format!(
                    "{} kept from a source or skipped (--tensors SOURCE compares with the source)",
                    count(passed_over as u128, "tensor")
                ),
            };
            return Err(Failure::Run(format!(
                "{}: nothing was compared: {reason}",
                shown(weights.path())
            )));
        }
        if let (true, [first, others @ ..]) = (found.is_same(), faults.as_slice()) {
            let others = match others.len() {
                0 => String::new(),
                others => format!("; and {}", count(others as u128, "more fault")),
            };
            return Err(Failure::Run(format!(
                "{}: it has {}, but is not as fanin wrote it: {first}{others}",
                shown(weights.path()),
                verdict(&found, &recipe, seed)
            )));
        }
        if found.is_same() {
            let tensors = count(found.tensors.len() as u128, "tensor");
            status(&format!(
                "{tensors}, {} on the {}: {}",
                speed(found.bytes as f64, seconds),
                backend.describe(),
                verdict(&found, &recipe, seed)
            ));
            if !found.missing.is_empty() {
                status(&missing(&found));
            }
            if !found.passed_over.is_empty() {
                let tensors = found.passed_over.len() as u128;
                let their = if tensors == 1 { "its" } else { "their" };
                status(&format!(
                    "{} kept from {their} source or skipped: not compared",
                    count(tensors, "tensor")
                ));
            }
            return Ok(());
        }
        Err(Failure::Run(message(
            &weights, &found, &hints, &recipe, seed,
        )))
    };
    printed_with_verdict(printed, judge)
}

/// Returns the message for weights that agree.
fn verdict(found: &Verification, recipe: &Recipe, seed: u64) -> String {
    let of = format!("the weights of {} with seed {seed}", excerpt(recipe.name()));
    let close: Vec<&VerifiedTensor> = found.tensors.iter().filter(|t| t.close > 0).collect();
    let [first, ..] = close.as_slice() else {
        return format!("{of}, to the bit");
    };
    let elements: u64 = close.iter().map(|tensor| tensor.close).sum();
    format!(
        "{of}, to the bit except for {} in {} (such as {}), made on another device and equal \
         within {:e}",
        count(elements.into(), "element"),
        count(close.len() as u128, "orthogonal tensor"),
        quoted(&first.name),
        first.tolerance.unwrap_or_default()
    )
}

/// Returns the message for tensors of the list that the file lacks.
fn missing(found: &Verification) -> String {
    let others = found.missing.len() - 1;
    let first = quoted(found.missing.first().map_or("", String::as_str));
    match others {
        0 => format!("tensor {first} is not in the file"),
        _ => format!(
            "tensor {first} and {} more of the list are not in the file",
            count(others as u128, "tensor")
        ),
    }
}

/// Returns the error message for weights that differ.
fn message(
    weights: &Weights,
    found: &Verification,
    hints: &[String],
    recipe: &Recipe,
    seed: u64,
) -> String {
    let Some((tensor, difference)) = found.first_difference() else {
        return String::new();
    };
    // A folder of files of ranks has no file that lists the tensors: name the one that is wrong.
    let place = match weights.path().is_dir() {
        true => shown(&difference.file),
        false => shown(weights.path()),
    };
    let differing = found.tensors.iter().filter(|tensor| tensor.differing > 0);
    let mut message = format!(
        "{}: tensor {}: {difference} as {} gives with seed {seed}; {} of its {} and {} of {} \
         differ",
        place,
        quoted(&tensor.name),
        excerpt(recipe.name()),
        tensor.differing,
        count(tensor.elements.into(), "element"),
        differing.count(),
        count(found.tensors.len() as u128, "tensor"),
    );
    for hint in hints {
        message.push_str("; ");
        message.push_str(hint);
    }
    message
}

const COLUMNS: [Column; 9] = [
    Column::left("name").name(),
    Column::left("shape").rank(6),
    Column::left("dtype").rank(7),
    Column::right("n").rank(5),
    Column::right("differ").rank(1),
    Column::right("close").rank(8),
    Column::left("first").rank(4),
    Column::right("has").rank(3),
    Column::right("expected").rank(2),
];

/// Returns a row for each tensor that differs.
fn rows(found: &Verification) -> Vec<Vec<String>> {
    let rows = found.tensors.iter().filter_map(|tensor| {
        let first = tensor.first.as_ref()?;
        let text = |value: StoredValue| value.to_string();
        Some(vec![
            tensor.name.clone(),
            format!("{:?}", tensor.shape),
            tensor.dtype.to_string(),
            tensor.elements.to_string(),
            tensor.differing.to_string(),
            tensor.close.to_string(),
            format!("{:?}", first.index),
            text(first.stored),
            text(first.expected),
        ])
    });
    rows.collect()
}
