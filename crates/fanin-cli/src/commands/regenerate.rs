//! `fanin regenerate`: some tensors of a model, made again instead of stored.

use fanin::Fill;
use fanin::checkpoint::{self, Contents, Writer};

use crate::Failure;
use crate::args::RegenerateArguments;
use crate::backend::Backend;
use crate::format::count;
use crate::model::{metadata, narrowed, recipe, resolve};
use crate::output::{Target, write};

pub fn run(arguments: &RegenerateArguments) -> Result<(), Failure> {
    let Some(target) = Target::parse(&arguments.out) else {
        return Err(Failure::Usage(format!(
            "--out {:?}: use a path that ends in .npy, .safetensors or .bin, or -, or null:",
            arguments.out
        )));
    };
    let recipe = recipe(&arguments.recipe)?;
    let list = checkpoint::read_tensor_list(&arguments.tensors)?;
    let plan = resolve(&recipe, &list, arguments.seed, arguments.dtype)?;
    let mut fills: Vec<Fill> = Vec::new();
    for pattern in &arguments.tensor {
        for fill in plan.select(pattern).map_err(Failure::usage)? {
            if fills.iter().all(|known| known.name() != fill.name()) {
                let part = match &arguments.slice {
                    Some(slice) => narrowed(fill.clone(), slice).map_err(Failure::usage)?,
                    None => fill.clone(),
                };
                fills.push(part);
            }
        }
    }
    let contents = match (&target, fills.as_slice()) {
        (Target::Safetensors(_), _) => {
            let mut metadata = metadata(&recipe, plan.seed);
            if let Some(slice) = &arguments.slice {
                metadata.push(("slice", slice.clone()));
            }
            Contents::safetensors(&fills, &metadata).map_err(Failure::usage)?
        }
        (Target::Null, _) => Contents::bare(&fills),
        (Target::Npy(_), [fill]) => Contents::npy(fill).map_err(Failure::usage)?,
        (Target::Raw(_) | Target::Stdout, [fill]) => Contents::raw(fill),
        _ => {
            return Err(Failure::Usage(format!(
                "--out {:?}: {} go to a .safetensors file, or to null:",
                arguments.out,
                count(fills.len() as u128, "tensor")
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
    write(&backend, &Writer::default(), &target, &contents, &what)
}
