//! Orthogonal matrices on a device: the dispatches of `shaders/orthogonal.wgsl` that make one in
//! a buffer of its own, from which the fill then takes what it was asked for.

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::{DistributionKind, Init};
use crate::tensor::Tensor;

use super::initializer::{Initializer, upload};
use super::pipeline::layout_entry;
use super::prepare::{Piece, Step, Steps, context};
use super::scope::checked;

/// Reflections that are applied together: `BLOCK` of the shader.
const BLOCK: u64 = 64;
/// Workgroups that a sum over rows is spread over, so that a device is kept busy.
const WORKGROUPS: u64 = 256;
/// Parts of such a sum at most.
const MAX_PARTS: u64 = 16;

/// `struct Shape` of the shader.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
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
pub(super) struct Pipelines {
    layout: wgpu::BindGroupLayout,
    reflectors: wgpu::ComputePipeline,
    inner_products: wgpu::ComputePipeline,
    invert: wgpu::ComputePipeline,
    project: wgpu::ComputePipeline,
    transform: wgpu::ComputePipeline,
    apply: wgpu::ComputePipeline,
}

impl Pipelines {
    pub fn new(device: &wgpu::Device) -> Result<Pipelines> {
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
            Pipelines {
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
    let shape = size_of::<Shape>() as u64;
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("fanin orthogonal"),
        entries: &[
            layout_entry(0, wgpu::BufferBindingType::Uniform, true, shape),
            layout_entry(1, storage(false), false, 4),
            layout_entry(2, storage(false), false, 4),
            layout_entry(3, storage(false), false, 4),
            layout_entry(4, storage(false), false, 4),
            layout_entry(5, storage(true), false, 4),
        ],
    })
}

/// The matrix of an orthogonal fill, and how it is made.
pub(super) struct Matrix {
    /// Its numbers, as binary32, tall.
    pub buffer: wgpu::Buffer,
    /// Elements from one row to the next.
    pub stride: u32,
    /// What must run before the buffer is read.
    pub steps: Steps,
}

impl Initializer {
    /// The matrix of a fill; nothing for fills of other kinds.
    pub(super) fn matrix(&self, fill: &Fill) -> Result<Option<Matrix>> {
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
        self.check_room(fill, padded_rows * stride * 4)?;

        let blocks = stride / BLOCK;
        let parts = |tiles: u64, height: u64| {
            let wanted = WORKGROUPS.div_ceil(tiles).min(MAX_PARTS);
            let part_rows = height.div_ceil(wanted).next_multiple_of(BLOCK);
            (part_rows, height.div_ceil(part_rows))
        };
        // First the shape for what is done for all blocks at once, then one for each block.
        let shape = |start: u64| {
            let (part_rows, parts) = parts((stride - start) / BLOCK, padded_rows - start);
            Shape {
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
        let shapes: Vec<Shape> = (0..blocks).map(|block| shape(block * BLOCK)).collect();
        let most_parts = shapes.iter().map(|shape| shape.parts).max().unwrap_or(1);

        let device = self.device();
        let offset_stride = (size_of::<Shape>() as u32)
            .next_multiple_of(device.limits().min_uniform_buffer_offset_alignment);
        let mut contents = vec![0; offset_stride as usize * shapes.len()];
        for (slot, shape) in contents
            .chunks_exact_mut(offset_stride as usize)
            .zip(&shapes)
        {
            slot[..size_of::<Shape>()].copy_from_slice(bytemuck::bytes_of(shape));
        }
        let made = checked(
            device,
            || context(fill),
            || {
                let scratch = |label, elements: u64| {
                    device.create_buffer(&wgpu::BufferDescriptor {
                        label: Some(label),
                        size: elements * 4,
                        usage: wgpu::BufferUsages::STORAGE,
                        mapped_at_creation: false,
                    })
                };
                let uniform = wgpu::BufferUsages::UNIFORM;
                let shapes = upload(device, "fanin orthogonal shapes", &contents, uniform);
                (
                    shapes,
                    scratch("fanin orthogonal vectors", padded_rows * stride),
                    scratch("fanin orthogonal product", padded_rows * stride),
                    scratch("fanin orthogonal factors", blocks * BLOCK * BLOCK),
                    scratch(
                        "fanin orthogonal projections",
                        (u64::from(most_parts) + 1) * BLOCK * stride,
                    ),
                    scratch("fanin orthogonal gaussians", rows * columns),
                )
            },
        )?;
        let (uniforms, vectors, product, factors, projections, gaussians) = made;
        let uniforms = uniforms.map_err(|detail| Error::Device {
            context: context(fill),
            detail,
        })?;

        let tensor = Tensor::new(fill.name(), [rows, columns])?.with_stream_id(fill.stream());
        let gaussian = Fill::new(&tensor, &Init::normal(0.0, 1.0), fill.seed())?;
        let mut steps = self
            .prepare(&[Piece {
                fill: &gaussian,
                range: 0..gaussian.elements(),
                buffer: &gaussians,
                offset: 0,
                matrix: None,
            }])?
            .steps;

        let pipelines = self.orthogonal_pipelines()?;
        let bind_group = checked(
            device,
            || context(fill),
            || {
                device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some("fanin orthogonal"),
                    layout: &pipelines.layout,
                    entries: &[
                        wgpu::BindGroupEntry {
                            binding: 0,
                            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                                buffer: &uniforms,
                                offset: 0,
                                size: wgpu::BufferSize::new(size_of::<Shape>() as u64),
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
                            resource: projections.as_entire_binding(),
                        },
                        wgpu::BindGroupEntry {
                            binding: 5,
                            resource: gaussians.as_entire_binding(),
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
        for block in (0..blocks).rev() {
            let tiles = blocks - block;
            let parts = u64::from(shapes[block as usize].parts);
            step(&pipelines.project, block, tiles, parts);
            step(&pipelines.transform, block, tiles, 1);
            step(&pipelines.apply, block, tiles, padded_rows / BLOCK - block);
        }
        Ok(Some(Matrix {
            buffer: product,
            stride: stride as u32,
            steps: Steps { steps },
        }))
    }

    /// Refuses matrices that the device's limits leave no room for.
    fn check_room(&self, fill: &Fill, bytes: u64) -> Result<()> {
        let limits = self.device().limits();
        let largest = limits
            .max_storage_buffer_binding_size
            .min(limits.max_buffer_size);
        if bytes <= largest {
            return Ok(());
        }
        Err(Error::Device {
            context: context(fill),
            detail: format!(
                "an orthogonal matrix takes {bytes} bytes in one binding, but the device binds \
                 at most {largest}: make it on the CPU"
            ),
        })
    }
}
