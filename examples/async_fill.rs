//! Fills without blocking a thread, as a browser or a server needs it: every wait is an `await`.
//!
//! cargo run --release --example async_fill

use std::error::Error;

use fanin::gpu::{Gpu, Options, adapters_async};
use fanin::{Fill, Init, Tensor, cpu};

// Any executor works: tokio, a browser's (wasm_bindgen_futures::spawn_local), or this one.
fn main() -> Result<(), Box<dyn Error>> {
    pollster::block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    for adapter in adapters_async().await {
        println!("found {} ({})", adapter.name, adapter.backend);
    }
    let gpu = Gpu::headless_async(&Options::default()).await?;

    // Recording and submitting do not wait: the device fills while this task continues.
    let layers = ["encoder.weight", "decoder.weight"];
    let fills = layers.map(|name| {
        Fill::new(
            &Tensor::new(name, [768, 3072])?,
            &Init::xavier_uniform(),
            42,
        )
    });
    let mut buffers = Vec::new();
    for fill in fills {
        let fill = fill?;
        buffers.push((gpu.fill_buffer(&fill)?, fill));
    }

    // Only reading back has to wait.
    for (buffer, fill) in &buffers {
        let mut first = [0u8; 16];
        gpu.read_async(buffer, 0, &mut first).await?;
        let mut expected = [0u8; 16];
        cpu::fill_range(fill, 0, &mut expected)?;
        assert_eq!(first, expected, "{} differs from the CPU's", fill.name());
        let numbers: [f32; 4] = bytemuck::cast(first);
        println!(
            "{} starts {numbers:.5?} on {}",
            fill.name(),
            gpu.info().name
        );
    }
    Ok(())
}
