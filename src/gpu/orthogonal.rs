//! Orthogonal matrices on a device: the dispatches of `shaders/orthogonal.wgsl` that make a matrix in
//! a buffer of its own. The fill takes its elements from there.

use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::{DistributionKind, Init};
use crate::job::{Job, Piece};
use crate::tensor::Tensor;

use super::batch::{Bindings, Turns};
use super::device::FillDevice;
use super::device::pipeline::layout_entry;
use super::device::scope::checked;
use super::steps::{DeviceMatrix, Step, context};

/// The number of reflections that are applied together: `BLOCK` of the shader.
const BLOCK: u64 = 64;
/// The number of workgroups that a sum over rows is spread over, enough to keep a device busy.
const WORKGROUPS: u64 = 256;
/// The most parts of such a sum.
const MAX_PARTS: u64 = 16;

/// `struct Shape` of the shader.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct MatrixShape {
    rows: u32,
    columns: u32,
    padded_rows: u32,
    stride: u32,
    start: u32,
    part_rows: u32,
    parts: u32,
    gain: f32,
}

/// The compute pipelines of the shader.
#[derive(Debug)]
pub(super) struct OrthogonalPipelines {
    layout: wgpu::BindGroupLayout,
    reflectors: wgpu::ComputePipeline,
    inner_products: wgpu::ComputePipeline,
    invert: wgpu::ComputePipeline,
    project: wgpu::ComputePipeline,
    transform: wgpu::ComputePipeline,
    apply: wgpu::ComputePipeline,
}

impl OrthogonalPipelines {
    fn new(device: &wgpu::Device) -> Result<OrthogonalPipelines> {
        let context = || "compiling the shader of orthogonal matrices".to_owned();
        checked(device, context, || {
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("fanin orthogonal"),
                source: wgpu::ShaderSource::Wgsl(
                    include_str!("../../shaders/orthogonal.wgsl").into(),
                ),
            });
            let layout = bind_group_layout(device);
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some("fanin orthogonal"),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let pipeline = |entry| {
                device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(entry),
                    layout: Some(&pipeline_layout),
                    module: &module,
                    entry_point: Some(entry),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &[],
                        // Tiles are written before they are read.
                        zero_initialize_workgroup_memory: false,
                    },
                    cache: None,
                })
            };
            OrthogonalPipelines {
                reflectors: pipeline("reflectors"),
                inner_products: pipeline("inner_products"),
                invert: pipeline("invert"),
                project: pipeline("project"),
                transform: pipeline("transform"),
                apply: pipeline("apply"),
                layout,
            }
        })
    }
}

fn bind_group_layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
    let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
    let shape = size_of::<MatrixShape>() as u64;
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("fanin orthogonal"),
        entries: &[
            layout_entry(0, wgpu::BufferBindingType::Uniform, true, shape),
            layout_entry(1, storage(false), false, 4),
            layout_entry(2, storage(false), false, 4),
            layout_entry(3, storage(false), false, 4),
            layout_entry(4, storage(false), false, 4),
        ],
    })
}

/// Makes the matrix of an orthogonal fill. Returns it with the steps that must run before it is read,
/// or nothing for other fills.
pub(super) fn matrix(
    device: &FillDevice,
    pipelines: &OnceLock<OrthogonalPipelines>,
    fill: &Fill,
) -> Result<Option<(DeviceMatrix, Vec<Step>)>> {
    let DistributionKind::Orthogonal {
        gain,
        rows,
        columns,
        ..
    } = *fill.distribution().kind()
    else {
        return Ok(None);
    };
    let (rows, columns) = (rows.max(columns), rows.min(columns));
    let padded_rows = rows.next_multiple_of(BLOCK);
    let stride = columns.next_multiple_of(BLOCK);
    check_room(&device.wgpu, fill, padded_rows, padded_rows * stride * 4)?;

    let blocks = stride / BLOCK;
    let parts = |tiles: u64, height: u64| {
        // The split depends on the shape only, so the order of a sum is the same on every device.
        let wanted = WORKGROUPS.div_ceil(tiles).min(MAX_PARTS);
        // Whole blocks of rows, so that the loops of the shader need no check at the end of a part.
        let part_rows = height.div_ceil(wanted).next_multiple_of(BLOCK);
        (part_rows, height.div_ceil(part_rows))
    };
    // The shape of block 0 also serves the steps that do all blocks at once.
    let shape = |start: u64| {
        let (part_rows, parts) = parts((stride - start) / BLOCK, padded_rows - start);
        MatrixShape {
            rows: rows as u32,
            columns: columns as u32,
            padded_rows: padded_rows as u32,
            stride: stride as u32,
            start: start as u32,
            part_rows: part_rows as u32,
            parts: parts as u32,
            gain,
        }
    };
    let shapes: Vec<MatrixShape> = (0..blocks).map(|block| shape(block * BLOCK)).collect();
    let most_parts = shapes.iter().map(|shape| shape.parts).max().unwrap_or(1);

    let offset_stride = (size_of::<MatrixShape>() as u32)
        .next_multiple_of(device.wgpu.limits().min_uniform_buffer_offset_alignment);
    let mut contents = vec![0; offset_stride as usize * shapes.len()];
    for (slot, shape) in contents
        .chunks_exact_mut(offset_stride as usize)
        .zip(&shapes)
    {
        slot[..size_of::<MatrixShape>()].copy_from_slice(bytemuck::bytes_of(shape));
    }
    let uniforms = device.upload(
        "fanin orthogonal shapes",
        &contents,
        wgpu::BufferUsages::UNIFORM,
        || context(fill),
    )?;
    let buffer = |label, elements: u64| {
        checked(
            &device.wgpu,
            || context(fill),
            || {
                device.wgpu.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(label),
                    size: elements * 4,
                    usage: wgpu::BufferUsages::STORAGE,
                    mapped_at_creation: false,
                })
            },
        )
    };
    let vectors = buffer("fanin orthogonal vectors", padded_rows * stride)?;
    // wgpu clears new buffers: `reflectors` writes only the diagonal of the product.
    let product = buffer("fanin orthogonal product", padded_rows * stride)?;
    let factors = buffer("fanin orthogonal factors", blocks * BLOCK * BLOCK)?;
    // The Gaussian vectors are read before the projections are written.
    let projections = (u64::from(most_parts) + 1) * BLOCK * stride;
    let scratch = buffer("fanin orthogonal scratch", projections.max(rows * columns))?;

    let tensor = Tensor::new(fill.name(), [rows, columns])?.with_stream_id(fill.stream());
    let gaussian = Fill::new(&tensor, &Init::normal(0.0, 1.0), fill.seed())?;
    let job = Job::new(&gaussian)?;
    let all = Piece {
        owner: 0,
        start: 0,
        at: 0,
        length: gaussian.elements(),
    };
    let bindings = Bindings {
        buffer: &scratch,
        table: device.table(&job, || context(fill))?,
        turns: Turns::default(),
    };
    let chunks = device.chunks(&job, &all, bindings).collect();
    let mut steps = device.batched_steps(chunks, || context(fill))?;

    let pipelines = compiled(&device.wgpu, pipelines)?;
    let bind_group = checked(
        &device.wgpu,
        || context(fill),
        || {
            device.wgpu.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("fanin orthogonal"),
                layout: &pipelines.layout,
                entries: &[
                    wgpu::BindGroupEntry {
                        binding: 0,
                        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                            buffer: &uniforms,
                            offset: 0,
                            size: wgpu::BufferSize::new(size_of::<MatrixShape>() as u64),
                        }),
                    },
                    wgpu::BindGroupEntry {
                        binding: 1,
                        resource: vectors.as_entire_binding(),
                    },
                    wgpu::BindGroupEntry {
                        binding: 2,
                        resource: product.as_entire_binding(),
                    },
                    wgpu::BindGroupEntry {
                        binding: 3,
                        resource: factors.as_entire_binding(),
                    },
                    wgpu::BindGroupEntry {
                        binding: 4,
                        resource: scratch.as_entire_binding(),
                    },
                ],
            })
        },
    )?;
    let mut step = |pipeline: &wgpu::ComputePipeline, block: u64, x: u64, y: u64| {
        steps.push(Step {
            pipeline: pipeline.clone(),
            bind_group: bind_group.clone(),
            offset: block as u32 * offset_stride,
            grid: [x as u32, y as u32],
        });
    };
    step(&pipelines.reflectors, 0, blocks, 1);
    step(&pipelines.inner_products, 0, blocks, 1);
    step(&pipelines.invert, 0, blocks, 1);
    // The rightmost block acts first. It does not change the columns before its own, which are
    // still unit vectors, so its tiles begin at its first column.
    for block in (0..blocks).rev() {
        let tiles = blocks - block;
        let parts = u64::from(shapes[block as usize].parts);
        step(&pipelines.project, block, tiles, parts);
        step(&pipelines.transform, block, tiles, 1);
        step(&pipelines.apply, block, tiles, padded_rows / BLOCK - block);
    }
    let matrix = DeviceMatrix {
        buffer: product,
        stride: stride as u32,
    };
    Ok(Some((matrix, steps)))
}

/// Returns the pipelines, compiled on their first use.
fn compiled<'a>(
    device: &wgpu::Device,
    pipelines: &'a OnceLock<OrthogonalPipelines>,
) -> Result<&'a OrthogonalPipelines> {
    if let Some(pipelines) = pipelines.get() {
        return Ok(pipelines);
    }
    let compiled = OrthogonalPipelines::new(device)?;
    Ok(pipelines.get_or_init(|| compiled))
}

/// Refuses matrices that are too large for the device's limits, or for indices of 32 bits in the shaders.
fn check_room(device: &wgpu::Device, fill: &Fill, rows: u64, bytes: u64) -> Result<()> {
    let limits = device.limits();
    let most = u64::from(limits.max_compute_workgroups_per_dimension);
    if rows / BLOCK > most {
        return Err(Error::Device {
            context: context(fill),
            detail: format!(
                "an orthogonal matrix of {rows} rows needs {} workgroups, but the device dispatches at most \
                 {most}: make it on the CPU",
                rows / BLOCK
            ),
        });
    }
    let largest = limits
        .max_storage_buffer_binding_size
        .min(limits.max_buffer_size)
        .min(4 << 32);
    if bytes <= largest {
        return Ok(());
    }
    Err(Error::Device {
        context: context(fill),
        detail: format!(
            "an orthogonal matrix needs {bytes} bytes in one binding, but the device binds at most \
             {largest}: make it on the CPU"
        ),
    })
}
