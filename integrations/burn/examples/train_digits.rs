//! Trains a small network on handwritten digits with burn. fanin makes its initial weights in burn's own GPU
//! buffers:
//!
//! ```text
//! cargo run --example train_digits
//! ```
//!
//! fanin's own `cargo run --example train_mlp` starts from the same seed, and therefore from the same bits: both
//! print the SHA-256 of their initial weights.

#[path = "../../../examples/common/digits.rs"]
mod digits;

use std::error::Error;
use std::time::Instant;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use digits::{CLASSES, Digits, PIXELS};
use fanin::Recipe;
use fanin_burn::InitWithFanin;
use indicatif::{ProgressBar, ProgressStyle};
use rand::rngs::StdRng;
use rand::{SeedableRng, seq::SliceRandom};
use sha2::{Digest, Sha256};

const EPOCHS: u64 = 10;
const BATCH: usize = 64;
const LEARNING_RATE: f64 = 0.05;

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl Mlp {
    fn new(device: &Device) -> Mlp {
        Mlp {
            fc1: LinearConfig::new(PIXELS, 128).init(device),
            fc2: LinearConfig::new(128, 64).init(device),
            fc3: LinearConfig::new(64, CLASSES).init(device),
        }
    }

    fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let hidden = activation::relu(self.fc1.forward(images));
        let hidden = activation::relu(self.fc2.forward(hidden));
        self.fc3.forward(hidden)
    }

    /// Returns the SHA-256 of all weights, read back: little-endian f32, layer by layer.
    fn sha256(&self) -> String {
        let mut sha256 = Sha256::new();
        for layer in [&self.fc1, &self.fc2, &self.fc3] {
            sha256.update(layer.weight.val().into_data().as_bytes());
            if let Some(bias) = &layer.bias {
                sha256.update(bias.val().into_data().as_bytes());
            }
        }
        let digest = sha256.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A set of digits on the device.
struct Set {
    images: Tensor<2>,
    labels: Tensor<1, Int>,
}

impl Set {
    fn new(digits: &Digits, device: &Device) -> Set {
        let pixels = TensorData::new(digits.pixels.clone(), [digits.len(), PIXELS]);
        let labels: Vec<i32> = digits.labels.iter().map(|&label| label as i32).collect();
        Set {
            images: Tensor::from_data(pixels, device),
            labels: Tensor::from_data(TensorData::new(labels, [digits.len()]), device),
        }
    }
}

/// Returns the mean cross-entropy, and the share of the images that are classified correctly.
fn score(model: &Mlp, set: &Set) -> Result<(f64, f64), Box<dyn Error>> {
    let logits = model.forward(set.images.clone());
    let right = logits
        .clone()
        .argmax(1)
        .squeeze_dim(1)
        .equal(set.labels.clone());
    let right: Vec<i32> = right.int().into_data().convert::<i32>().try_to_vec()?;
    let losses = activation::log_softmax(logits, 1).gather(1, set.labels.clone().unsqueeze_dim(1));
    let losses: Vec<f32> = losses.neg().into_data().try_to_vec()?;
    let images = losses.len() as f64;
    let loss = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>();
    let right = right.iter().map(|&one| f64::from(one)).sum::<f64>();
    Ok((loss / images, right / images))
}

fn main() -> Result<(), Box<dyn Error>> {
    // Instead of Device::wgpu_options().init()?, so that burn and fanin share the device.
    let device = fanin_burn::init_device(Device::wgpu_options())?;
    let (train, test) = Digits::load();
    let images = train.len();
    let (train, test) = (Set::new(&train, &device), Set::new(&test, &device));

    let recipe = Recipe::from_toml(include_str!("../../../examples/digits.toml"))?;
    let seed = recipe.seed().unwrap_or(42);
    let model = Mlp::new(&device.clone().autodiff());
    let (mut model, report) = model.init_with_fanin_report(&recipe, seed)?;

    for filled in &report.parameters {
        println!(
            "{:16} {:5} elements, {}",
            filled.name, filled.elements, filled.path
        );
    }
    println!("initial weights  sha256 {}", model.sha256());
    println!("initial loss     {:.6}", score(&model.valid(), &train)?.0);

    let start = Instant::now();
    let bar = ProgressBar::new(EPOCHS).with_style(ProgressStyle::with_template(
        "{bar:32} epoch {pos}/{len} {msg}",
    )?);
    let cross_entropy = CrossEntropyLossConfig::new().init(&device);
    let momentum = MomentumConfig::new();
    let mut optimizer = SgdConfig::new().with_momentum(Some(momentum)).init();
    let mut order: Vec<i32> = (0..images as i32).collect();
    let mut shuffle = StdRng::seed_from_u64(seed);
    let mut rows = Vec::new();
    for epoch in 1..=EPOCHS {
        order.shuffle(&mut shuffle);
        for batch in order.chunks(BATCH) {
            let batch = Tensor::<1, Int>::from_data(batch, &device);
            let labels = train.labels.clone().select(0, batch.clone());
            let logits = model.forward(train.images.clone().select(0, batch));
            let gradients = cross_entropy.forward(logits, labels).backward();
            let gradients = GradientsParams::from_grads(gradients, &model);
            model = optimizer.step(LEARNING_RATE, model, gradients);
        }
        let valid = model.valid();
        let (train, test) = (score(&valid, &train)?, score(&valid, &test)?);
        bar.set_message(format!("loss {:.4}", train.0));
        bar.inc(1);
        rows.push((epoch, train.0, test));
    }
    bar.finish_and_clear();

    println!("\nepoch  training loss  test loss  test accuracy");
    for (epoch, training, (loss, accuracy)) in rows
        .iter()
        .filter(|(epoch, ..)| *epoch == 1 || epoch % 5 == 0)
    {
        println!(
            "{epoch:5}  {training:13.4}  {loss:9.4}  {:11.1} %",
            100.0 * accuracy
        );
    }
    println!(
        "\n{EPOCHS} epochs in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let (_, _, (_, accuracy)) = rows.last().ok_or("no epoch")?;
    assert!(*accuracy > 0.95, "learned too little: {accuracy}");
    Ok(())
}
