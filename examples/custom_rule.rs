//! Custom rules in two ways: a recipe that overrides a preset and computes its numbers, and a formula
//! in Rust.
//!
//! cargo run --release --example custom_rule

use fanin::init::Distribution;
use fanin::{Fill, ListedTensor, Recipe, Shape, Tensor, TensorList, cpu};

/// GPT-2 with two changes: position embeddings are wider, and projections into the residual stream
/// shrink with the depth of their layer, not with the depth of the model.
const RECIPE: &str = r#"
extends = "gpt2"

[[rule]]
match = "*.wpe.weight"
init = "truncated_normal(std=0.04,lower=-2,upper=2)"

[[rule]]
match = "*.c_proj.weight"
init = "normal(std=0.02/sqrt(2*(layer+1)))"
"#;

fn main() -> fanin::Result<()> {
    let mut tensors = vec![listed("transformer.wpe.weight", &[1024, 64])?];
    for layer in 0..4 {
        let name = format!("transformer.h.{layer}.mlp.c_proj.weight");
        tensors.push(listed(&name, &[256, 64])?);
    }
    let plan = Recipe::from_toml(RECIPE)?.resolve(&TensorList::new(tensors)?, Some(42), None)?;
    for (fill, entry) in plan.iter().zip(&plan.entries) {
        println!(
            "{:37} {:52} std {:.5}",
            fill.name(),
            entry.init.to_string(),
            std(fill)?
        );
    }

    // A formula that a recipe cannot express. Any function can compute the parameters of the
    // distribution.
    let tensor = Tensor::new("memory.keys", [512, 64])?;
    let golden = (1.0 + 5f64.sqrt()) / 2.0;
    let distribution = Distribution::uniform(-golden / 64.0, golden / 64.0)?;
    let fill = Fill::from_distribution(&tensor, distribution, 42);
    println!(
        "{:37} {:52} std {:.5}",
        fill.name(),
        "golden ratio",
        std(&fill)?
    );
    Ok(())
}

fn listed(name: &str, dims: &[u64]) -> fanin::Result<ListedTensor> {
    Ok(ListedTensor {
        name: name.to_owned(),
        shape: Shape::new(dims)?,
        dtype: None,
    })
}

fn std(fill: &Fill) -> fanin::Result<f64> {
    let mut weights = vec![0f32; fill.elements() as usize];
    cpu::fill_slice(fill, &mut weights)?;
    let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
    Ok(fanin::checkpoint::Moments::of(&weights).std())
}
