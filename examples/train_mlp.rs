//! Trains an MLP on handwritten digits in plain wgpu. fanin fills the initial weights in the buffer that
//! training reads, in the same encoder as the first pass.
//!
//! cargo run --release --example train_mlp

#[path = "common/digits.rs"]
mod digits;
#[path = "common/mlp.rs"]
mod mlp;

use std::error::Error;
use std::time::Instant;

use digits::{CLASSES, Digits, PIXELS};
use fanin::{Recipe, gpu};
use indicatif::{ProgressBar, ProgressStyle};
use mlp::{Activation, Mlp, Set};
use rand::rngs::StdRng;
use rand::{SeedableRng, seq::SliceRandom};
use sha2::{Digest, Sha256};

const EPOCHS: u64 = 20;
const LEARNING_RATE: f32 = 0.1;

fn main() -> Result<(), Box<dyn Error>> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
    println!("adapter          {}", adapter.get_info().name);

    let (train, test) = Digits::load();
    let sizes = [PIXELS, 128, 64, CLASSES];
    let mlp = Mlp::new(&device, &queue, &sizes, Activation::Relu, &train, &test);
    let plan =
        Recipe::from_toml(include_str!("digits.toml"))?.resolve(&mlp.tensors()?, None, None)?;

    // The fill and the first forward pass share an encoder.
    let initializer = gpu::Initializer::new(&device, &queue)?;
    let mut encoder = device.create_command_encoder(&Default::default());
    initializer.fill_all(&mut encoder, &mlp.targets(&plan))?;
    mlp.record_score(&mut encoder, Set::Train);
    queue.submit([encoder.finish()]);
    let weights = mlp.read_parameters()?;
    println!("parameters       {}", weights.len());
    let hash = Sha256::digest(bytemuck::cast_slice::<f32, u8>(&weights));
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("initial weights  sha256 {hash}");
    println!("initial loss     {:.6}", mlp.score(Set::Train)?.loss);

    let start = Instant::now();
    let bar = ProgressBar::new(EPOCHS).with_style(ProgressStyle::with_template(
        "{bar:32} epoch {pos}/{len} {msg}",
    )?);
    let mut order: Vec<u32> = (0..train.len() as u32).collect();
    let mut shuffle = StdRng::seed_from_u64(42);
    let mut rows = Vec::new();
    for epoch in 1..=EPOCHS {
        order.shuffle(&mut shuffle);
        let mut encoder = device.create_command_encoder(&Default::default());
        mlp.record_epoch(&mut encoder, &order, LEARNING_RATE);
        queue.submit([encoder.finish()]);
        let (train, test) = (mlp.evaluate(Set::Train)?, mlp.evaluate(Set::Test)?);
        bar.set_message(format!("loss {:.4}", train.loss));
        bar.inc(1);
        rows.push((epoch, train, test));
    }
    bar.finish_and_clear();

    println!("\nepoch  training loss  test loss  test accuracy");
    for (epoch, train, test) in rows
        .iter()
        .filter(|(epoch, ..)| *epoch == 1 || epoch % 5 == 0)
    {
        let (loss, accuracy) = (test.loss, 100.0 * test.accuracy);
        println!(
            "{epoch:5}  {:13.4}  {loss:9.4}  {accuracy:11.1} %",
            train.loss
        );
    }
    let (_, _, last) = rows.last().ok_or("no epoch")?;
    println!(
        "\n{EPOCHS} epochs in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    assert!(last.accuracy > 0.95, "learned too little: {last:?}");
    Ok(())
}
