//! The pipelines of the fill shader, one for each variant. Each is compiled on its first use.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::error::Result;
use crate::kernel::box_muller::TABLE_ENTRIES;

use super::scope::checked;
use crate::gpu::shader::{ShaderKind, Variant, shader};

/// Pairs of entries of a table in a uniform buffer, `UNIFORM_ENTRIES` of `shaders/table_uniform.wgsl`.
/// The table of normal pairs is the largest.
pub(crate) const UNIFORM_ENTRIES: usize = TABLE_ENTRIES / 2;

impl ShaderKind {
    fn index(self) -> usize {
        2 * usize::from(self.many) + usize::from(self.uniform_table)
    }
}

/// The fill pipelines of a device.
#[derive(Debug)]
pub(crate) struct FillPipelines {
    /// Indexed by [`ShaderKind::index`]. Each is compiled on its first use.
    modules: [OnceLock<wgpu::ShaderModule>; 4],
    /// First with the table in a storage buffer, then in a uniform buffer.
    bindings: [wgpu::BindGroupLayout; 2],
    layouts: [wgpu::PipelineLayout; 2],
    int64: bool,
    workgroup_size: u32,
    made: Mutex<HashMap<(Variant, ShaderKind), wgpu::ComputePipeline>>,
}

impl FillPipelines {
    pub fn new(device: &wgpu::Device, int64: bool, workgroup_size: u32) -> FillPipelines {
        let bindings = [false, true].map(|uniform| bind_group_layout(device, uniform));
        let layouts = bindings.each_ref().map(|bindings| {
            device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some("fanin"),
                bind_group_layouts: &[Some(bindings)],
                immediate_size: 0,
            })
        });
        let pipelines = FillPipelines {
            modules: Default::default(),
            bindings,
            layouts,
            int64,
            workgroup_size,
            made: Mutex::default(),
        };
        // Compiled now, so that `Initializer::new` fails on a device that refuses the shader.
        pipelines.module(
            device,
            ShaderKind {
                many: false,
                uniform_table: false,
            },
        );
        pipelines
    }

    fn module(&self, device: &wgpu::Device, kind: ShaderKind) -> &wgpu::ShaderModule {
        self.modules[kind.index()].get_or_init(|| {
            device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("fanin"),
                source: wgpu::ShaderSource::Wgsl(shader(self.int64, kind).into()),
            })
        })
    }

    /// Returns the bindings of the pipelines of a kind.
    pub fn bindings(&self, kind: ShaderKind) -> &wgpu::BindGroupLayout {
        &self.bindings[usize::from(kind.uniform_table)]
    }

    /// Returns the pipeline of a variant.
    pub fn get(
        &self,
        device: &wgpu::Device,
        variant: Variant,
        kind: ShaderKind,
    ) -> Result<wgpu::ComputePipeline> {
        // A poisoned map is still valid: it only ever holds finished pipelines.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = made.get(&(variant, kind)) {
            return Ok(pipeline.clone());
        }
        // The lock is held meanwhile, so that two threads do not compile the same pipeline.
        let pipeline = checked(
            device,
            || format!("compiling the pipeline {variant:?}"),
            || {
                device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some("fanin"),
                    layout: Some(&self.layouts[usize::from(kind.uniform_table)]),
                    module: self.module(device, kind),
                    entry_point: Some(variant.entry.name()),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &variant.constants(self.workgroup_size),
                        ..Default::default()
                    },
                    cache: None,
                })
            },
        )?;
        made.insert((variant, kind), pipeline.clone());
        Ok(pipeline)
    }
}

/// The bindings of `shaders/request_*.wgsl`, `shaders/fill.wgsl` and `shaders/table_*.wgsl`.
fn bind_group_layout(device: &wgpu::Device, uniform_table: bool) -> wgpu::BindGroupLayout {
    let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
    let table = if uniform_table {
        wgpu::BufferBindingType::Uniform
    } else {
        storage(true)
    };
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("fanin"),
        entries: &[
            // The sizes are left to the shader, which binds one request or many, words or blocks.
            layout_entry(0, wgpu::BufferBindingType::Uniform, true, 0),
            layout_entry(1, storage(false), false, 0),
            layout_entry(2, table, false, 0),
        ],
    })
}

/// Returns the layout of a buffer binding. A size of 0 leaves the smallest size to the shader.
pub(crate) fn layout_entry(
    binding: u32,
    ty: wgpu::BufferBindingType,
    has_dynamic_offset: bool,
    size: u64,
) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset,
            min_binding_size: wgpu::BufferSize::new(size),
        },
        count: None,
    }
}
