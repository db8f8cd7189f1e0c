//! A lottery ticket, after Frankle and Carbin, "The lottery ticket hypothesis", 2019. It trains, keeps
//! the largest weights, resets these to their initial values, and trains again. The initial weights are
//! not stored: seed and name give them again.
//!
//! cargo run --release --example rewind

use fanin::{Fill, Init, Tensor, cpu};

const INPUTS: usize = 64;
const SAMPLES: usize = 256;

fn main() -> fanin::Result<()> {
    // The function to learn depends on 6 of 64 inputs.
    let inputs = weights(&fill("inputs", &[SAMPLES as u64, INPUTS as u64], 1.0)?)?;
    let mut truth = vec![0f32; INPUTS];
    for (i, weight) in truth.iter_mut().step_by(11).enumerate() {
        *weight = 1.0 + i as f32 / 4.0;
    }
    let wanted = outputs(&inputs, &truth);
    let initial = fill("ticket.weight", &[INPUTS as u64], 0.1)?;
    let dense = train(weights(&initial)?, &[1.0; INPUTS], &inputs, &wanted);
    println!("64 weights: loss {:.2e}", loss(&inputs, &dense, &wanted));

    // The largest tenth is kept.
    let mut sizes: Vec<f32> = dense.iter().map(|weight| weight.abs()).collect();
    sizes.sort_by(f32::total_cmp);
    let threshold = sizes[INPUTS - INPUTS / 10];
    let mask: Vec<f32> = dense
        .iter()
        .map(|weight| f32::from(u8::from(weight.abs() >= threshold)))
        .collect();

    // The initial values of the kept weights, made again.
    let mut rewound = weights(&initial)?;
    for (weight, kept) in rewound.iter_mut().zip(&mask) {
        *weight *= kept;
    }
    let before = loss(&inputs, &rewound, &wanted);
    let after = loss(&inputs, &train(rewound, &mask, &inputs, &wanted), &wanted);
    let kept = mask.iter().filter(|&&kept| kept == 1.0).count();
    println!("{kept} weights, from their start: loss {before:.2e}, trained {after:.2e}");
    assert!(after < 1e-6 && before > 1.0, "the ticket did not win");
    Ok(())
}

fn fill(name: &str, dims: &[u64], std: f64) -> fanin::Result<Fill> {
    Fill::new(&Tensor::new(name, dims)?, &Init::normal(0.0, std), 42)
}

fn weights(fill: &Fill) -> fanin::Result<Vec<f32>> {
    let mut weights = vec![0f32; fill.elements() as usize];
    cpu::fill_slice(fill, &mut weights)?;
    Ok(weights)
}

fn outputs(inputs: &[f32], weights: &[f32]) -> Vec<f32> {
    let dot = |row: &[f32]| row.iter().zip(weights).map(|(x, w)| x * w).sum();
    inputs.chunks(INPUTS).map(dot).collect()
}

fn loss(inputs: &[f32], weights: &[f32], wanted: &[f32]) -> f32 {
    let errors = outputs(inputs, weights).into_iter().zip(wanted);
    errors.map(|(got, want)| (got - want).powi(2)).sum::<f32>() / SAMPLES as f32
}

/// Gradient descent on the weights that the mask keeps.
fn train(mut weights: Vec<f32>, mask: &[f32], inputs: &[f32], wanted: &[f32]) -> Vec<f32> {
    for _ in 0..200 {
        let errors = outputs(inputs, &weights).into_iter().zip(wanted);
        let errors = errors.map(|(got, want)| (got - want) / SAMPLES as f32);
        for (row, error) in inputs.chunks(INPUTS).zip(errors.collect::<Vec<_>>()) {
            for ((weight, x), kept) in weights.iter_mut().zip(row).zip(mask) {
                *weight -= 0.3 * error * x * kept;
            }
        }
    }
    weights
}
