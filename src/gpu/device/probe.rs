//! The run of the probe of a device's floats.

use crate::error::Result;
use crate::gpu::probe;

use super::map::read;
use super::pipeline::layout_entry;
use super::scope::checked;
use super::upload::upload;

fn context() -> String {
    "probing the device's floats".to_owned()
}

/// Runs the probe with a shader's text, and returns whether the device's floats are exact.
pub(crate) async fn run(device: &wgpu::Device, queue: &wgpu::Queue, text: &str) -> Result<bool> {
    let contents = probe::contents();
    let trials = upload(
        device,
        "fanin probe",
        &contents,
        wgpu::BufferUsages::STORAGE,
        context,
    )?;
    let answers = checked(device, context, || {
        submit(device, queue, text, &trials, probe::workgroups(&contents))
    })?;
    let mut seen = vec![0; contents.len() / 2];
    read(device, queue, &answers, 0, &mut seen).await?;
    Ok(probe::is_exact(&seen))
}

fn submit(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    text: &str,
    trials: &wgpu::Buffer,
    workgroups: u32,
) -> wgpu::Buffer {
    let label = Some("fanin probe");
    let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label,
        entries: &[
            layout_entry(0, storage(true), false, 0),
            layout_entry(1, storage(false), false, 0),
        ],
    });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&pipeline_layout),
        module: &device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(text.into()),
        }),
        entry_point: Some("probe"),
        compilation_options: Default::default(),
        cache: None,
    });
    let answers = device.create_buffer(&wgpu::BufferDescriptor {
        label,
        size: trials.size() / 2,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label,
        layout: &layout,
        entries: &[
            wgpu::BindGroupEntry {
                binding: 0,
                resource: trials.as_entire_binding(),
            },
            wgpu::BindGroupEntry {
                binding: 1,
                resource: answers.as_entire_binding(),
            },
        ],
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &bind_group, &[]);
    pass.dispatch_workgroups(workgroups, 1, 1);
    drop(pass);
    queue.submit([encoder.finish()]);
    answers
}
