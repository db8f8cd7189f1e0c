//! Resumes training from a checkpoint that omits a layer. Weights that never change in training need
//! not be stored: a wide random layer keeps its initial weights, and only the readout behind it learns
//! (Rahimi and Recht, "Random features for large-scale kernel machines", 2007). The checkpoint holds
//! the readout and the seed.
//!
//! cargo run --release --example resume

#[path = "common/digits.rs"]
mod digits;

use digits::{CLASSES, Digits, PIXELS};
use fanin::{Fill, Init, Tensor, cpu};

const FEATURES: usize = 512;

fn main() -> fanin::Result<()> {
    let (seed, start) = (42, vec![0f32; FEATURES * CLASSES]);
    let (train, test) = Digits::load();
    let halfway = run(seed, start.clone(), &train, 10)?;
    // Another process, machine or kind of device makes the same random layer.
    let resumed = run(seed, halfway, &train, 10)?;
    assert!(resumed == run(seed, start, &train, 20)?, "another model");

    let features = features(seed, &test)?;
    let images = features.chunks(FEATURES).zip(&test.labels);
    let right = images.filter(|(x, label)| {
        let scores = scores(x, &resumed);
        let best = (0..CLASSES).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        best == Some(**label as usize)
    });
    let accuracy = right.count() as f64 / test.len() as f64;
    println!(
        "stored {} of {} weights",
        resumed.len(),
        resumed.len() + FEATURES * PIXELS
    );
    println!("resumed after 10 of 20 epochs, the same model; {accuracy:.3} of the test set right");
    assert!(accuracy > 0.95, "learned too little");
    Ok(())
}

/// max(0, pixels times weights), where the weights are made from the seed.
fn features(seed: u64, digits: &Digits) -> fanin::Result<Vec<f32>> {
    let tensor = Tensor::new("features.weight", [FEATURES as u64, PIXELS as u64])?;
    let fill = Fill::new(&tensor, &Init::kaiming_normal(), seed)?;
    let mut weights = vec![0f32; FEATURES * PIXELS];
    cpu::fill_slice(&fill, &mut weights)?;
    let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
    let images = digits.pixels.chunks(PIXELS);
    let of_image = |x| weights.chunks(PIXELS).map(move |w| dot(x, w).max(0.0));
    Ok(images.flat_map(of_image).collect())
}

/// Multiplies the features of an image with the readout, [features, classes].
fn scores(features: &[f32], readout: &[f32]) -> [f32; CLASSES] {
    let mut scores = [0.0; CLASSES];
    for (x, row) in features.iter().zip(readout.chunks(CLASSES)) {
        scores.iter_mut().zip(row).for_each(|(s, w)| *s += x * w);
    }
    scores
}

/// Trains by least squares, one image at a time (Widrow and Hoff, 1960).
fn run(seed: u64, mut readout: Vec<f32>, train: &Digits, epochs: u32) -> fanin::Result<Vec<f32>> {
    let features = features(seed, train)?;
    for _ in 0..epochs {
        for (x, &label) in features.chunks(FEATURES).zip(&train.labels) {
            let mut error = scores(x, &readout);
            error[label as usize] -= 1.0;
            let rate = 0.1 / x.iter().map(|x| x * x).sum::<f32>();
            for (x, row) in x.iter().zip(readout.chunks_mut(CLASSES)) {
                row.iter_mut()
                    .zip(error)
                    .for_each(|(w, e)| *w -= rate * e * x);
            }
        }
    }
    Ok(readout)
}
