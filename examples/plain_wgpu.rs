//! Weights for a training loop in plain wgpu. They are made in the buffer that training reads, and
//! recorded into the same encoder as the first passes.
//!
//! cargo run --release --example plain_wgpu

use fanin::{DType, Fill, Init, Tensor, gpu};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Your own device. fanin needs no device feature; SHADER_INT64 makes it faster.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: adapter.features() & wgpu::Features::SHADER_INT64,
        ..Default::default()
    }))?;
    let initializer = gpu::Initializer::new(&device, &queue)?;

    // Two tensors side by side in one buffer. Offsets are in elements.
    let weight = Tensor::new("fc.weight", [10, 784])?;
    let weight = Fill::new(&weight, &Init::kaiming_normal(), 42)?.with_dtype(DType::F32);
    let bias = Tensor::new("fc.bias", [10])?;
    let bias = Fill::new(&bias, &Init::zeros(), 42)?.with_dtype(DType::F32);
    let parameters = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("parameters"),
        size: weight.bytes() + bias.bytes(),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let staging = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });

    let mut encoder = device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        initializer.fill_in_pass(&mut pass, &weight, &parameters, 0)?;
        initializer.fill_in_pass(&mut pass, &bias, &parameters, weight.elements())?;
        // ... record your own dispatches that read `parameters` here.
    }
    encoder.copy_buffer_to_buffer(&parameters, 0, &staging, 0, 16);
    queue.submit([encoder.finish()]);

    staging.map_async(wgpu::MapMode::Read, .., |_| ());
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let first: Vec<f32> = bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..)?);
    println!("{}: fc.weight starts {first:?}", adapter.get_info().name);
    Ok(())
}
