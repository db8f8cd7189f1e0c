//! A whole model in one buffer: the 148 tensors of GPT-2, one after the other, in one pass and one
//! submission.
//!
//! cargo run --release --example arena

use fanin::gpu::{Gpu, Options, Target};
use fanin::{DType, Recipe, checkpoint, cpu};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let list = checkpoint::read_tensor_list(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/models/gpt2.json"
    ))?;
    let plan = Recipe::preset("gpt2")?.resolve(&list, Some(42), Some(DType::BF16))?;

    // The offset of each tensor, in elements. Shaders that bind a single tensor need its first byte at
    // a multiple of 256; fanin takes any offset.
    let mut elements = 0;
    let mut offsets = Vec::new();
    for fill in plan.iter() {
        offsets.push(elements);
        elements = (elements + fill.elements()).next_multiple_of(128);
    }

    let gpu = Gpu::headless(&Options::default())?;
    let arena = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: Some("parameters of GPT-2"),
        size: elements * DType::BF16.size(),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let targets: Vec<Target<'_>> = plan
        .iter()
        .zip(&offsets)
        .map(|(fill, &offset)| Target::new(fill, &arena, offset))
        .collect();
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    gpu.initializer().fill_all(&mut encoder, &targets)?;
    // ... record the passes that train on it here.
    gpu.queue().submit([encoder.finish()]);

    // Nothing has left the device. To check the result, the last matrix is read back.
    let name = "transformer.h.11.mlp.c_proj.weight";
    let (fill, offset) = plan
        .iter()
        .zip(&offsets)
        .find(|(fill, _)| fill.name() == name)
        .ok_or("GPT-2 has this tensor")?;
    let mut weights = vec![0; fill.bytes() as usize];
    gpu.read(&arena, offset * DType::BF16.size(), &mut weights)?;
    let mut expected = vec![0; fill.bytes() as usize];
    cpu::fill(fill, &mut expected)?;
    assert!(weights == expected, "{name} differs from the CPU's");
    println!(
        "{} tensors in {} MB on {}; {name} is the CPU's to the bit",
        targets.len(),
        arena.size() / 1_000_000,
        gpu.info().name
    );
    Ok(())
}
