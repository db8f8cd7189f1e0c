//! `fanin regenerate` makes some tensors of a model again from recipe and seed.

use std::collections::HashSet;

use fanin::Fill;
use fanin::checkpoint::{Contents, Sources, Writer, recipe_metadata};
use fanin::text::quoted;

use crate::Failure;
use crate::args::RegenerateArguments;
use crate::backend::Backend;
use crate::format::count;
use crate::model::{narrowed, plan};
use crate::output::{Output, check_not_in_source, check_not_source, check_sources, write};

pub fn run(arguments: &RegenerateArguments) -> Result<(), Failure> {
    let output = Output::parse(&arguments.out)?;
    let (recipe, plan) = plan(&arguments.model)?;
    let mut fills: Vec<Fill> = Vec::new();
    let mut taken: HashSet<&str> = HashSet::new();
    for pattern in &arguments.tensor {
        for fill in plan.select(pattern).map_err(Failure::usage)? {
            if taken.insert(fill.name()) {
                let part = match &arguments.slice {
                    Some(slice) => narrowed(fill.clone(), slice).map_err(Failure::usage)?,
                    None => fill.clone(),
                };
                fills.push(part);
            }
        }
    }
    let list = arguments.model.source(&recipe)?;
    let sources = Sources::of_plan(&plan, Some(list))?;
    if let Some(path) = output.path() {
        check_not_source(list, path)?;
        check_sources(&sources, path)?;
        check_not_in_source(&sources, list, path)?;
    }
    sources.apply(&mut fills)?;
    let contents = match (&output, fills.as_slice()) {
        (Output::Safetensors(_), _) => {
            let mut metadata = recipe_metadata(&recipe, plan.seed);
            if let Some(slice) = &arguments.slice {
                metadata.push(("slice", slice.clone()));
            }
            // Also for a slice that is the whole tensor: `slice` alone does not tell.
            let parts: Vec<(String, String)> = match &arguments.slice {
                Some(_) => fills.iter().flat_map(part_metadata).collect(),
                None => Vec::new(),
            };
            let parts = parts.iter();
            metadata.extend(
                parts
                    .clone()
                    .map(|(key, value)| (key.as_str(), value.clone())),
            );
            Contents::safetensors(&fills, &metadata).map_err(Failure::usage)?
        }
        (Output::Null, _) => Contents::bare(&fills),
        (Output::Npy(_), [fill]) => Contents::npy(fill).map_err(Failure::usage)?,
        (Output::Raw(_) | Output::Stdout, [fill]) => Contents::raw(fill),
        _ => {
            return Err(Failure::Usage(format!(
                "--out {} holds one tensor, but --tensor selects {}: use a .safetensors file, \
                 or null:",
                quoted(&arguments.out),
                fills.len()
            )));
        }
    };
    let backend = Backend::choose(&arguments.backend, 0)?;
    let elements = fills.iter().map(|fill| u128::from(fill.elements())).sum();
    let what = format!(
        "{} in {}",
        count(elements, "element"),
        count(fills.len() as u128, "tensor")
    );
    let writer = Writer::default().with_overwrite(arguments.overwrite);
    write(&backend, &writer, &output, &contents, &sources, &what)
}

/// Returns the metadata of the part of a tensor: the whole shape and the slice, under the keys of
/// the files of ranks.
fn part_metadata(fill: &Fill) -> [(String, String); 2] {
    let name = fill.name();
    [
        (format!("shape:{name}"), fill.shape().to_string()),
        (format!("slice:{name}"), fill.local().to_string()),
    ]
}
