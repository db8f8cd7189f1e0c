//! The pipelines made of the shaders: one for each variant in use, made when it is first needed.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::error::Result;
use crate::kernel::box_muller::TABLE_ENTRIES;

use super::scope::checked;
use super::shader::{Bound, Variant, shader};

/// Pairs of entries of a table in a uniform buffer, `UNIFORM_ENTRIES` of `shaders/table_uniform.wgsl`:
/// those of the largest, that of normal pairs.
pub(super) const UNIFORM_ENTRIES: usize = TABLE_ENTRIES / 2;

impl Bound {
    fn index(self) -> usize {
        2 * usize::from(self.many) + usize::from(self.uniform_table)
    }
}

/// The pipelines of a device.
#[derive(Debug)]
pub(super) struct Pipelines {
    /// By [`Bound::index`], made when they are first needed.
    modules: [OnceLock<wgpu::ShaderModule>; 4],
    /// With the table in a storage and in a uniform buffer.
    bindings: [wgpu::BindGroupLayout; 2],
    layouts: [wgpu::PipelineLayout; 2],
    int64: bool,
    workgroup_size: u32,
    made: Mutex<HashMap<(Variant, Bound), wgpu::ComputePipeline>>,
}

impl Pipelines {
    pub fn new(device: &wgpu::Device, int64: bool, workgroup_size: u32) -> Pipelines {
        let bindings = [false, true].map(|uniform| bind_group_layout(device, uniform));
        let layouts = bindings.each_ref().map(|bindings| {
            device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some("fanin"),
                bind_group_layouts: &[Some(bindings)],
                immediate_size: 0,
            })
        });
        let pipelines = Pipelines {
            modules: Default::default(),
            bindings,
            layouts,
            int64,
            workgroup_size,
            made: Mutex::default(),
        };
        // Now, so that whoever makes them learns of a device that refuses it.
        pipelines.module(
            device,
            Bound {
                many: false,
                uniform_table: false,
            },
        );
        pipelines
    }

    fn module(&self, device: &wgpu::Device, bound: Bound) -> &wgpu::ShaderModule {
        self.modules[bound.index()].get_or_init(|| {
            device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("fanin"),
                source: wgpu::ShaderSource::Wgsl(shader(self.int64, bound).into()),
            })
        })
    }

    /// What the pipelines of `bound` bind.
    pub fn bindings(&self, bound: Bound) -> &wgpu::BindGroupLayout {
        &self.bindings[usize::from(bound.uniform_table)]
    }

    /// The pipeline of a variant, made on its first use.
    pub fn get(
        &self,
        device: &wgpu::Device,
        variant: Variant,
        bound: Bound,
    ) -> Result<wgpu::ComputePipeline> {
        // A panic elsewhere leaves the map as it was: whole pipelines only.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = made.get(&(variant, bound)) {
            return Ok(pipeline.clone());
        }
        let pipeline = checked(
            device,
            || format!("compiling the pipeline {variant:?}"),
            || {
                device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some("fanin"),
                    layout: Some(&self.layouts[usize::from(bound.uniform_table)]),
                    module: self.module(device, bound),
                    entry_point: Some(variant.entry.name()),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &variant.constants(self.workgroup_size),
                        ..Default::default()
                    },
                    cache: None,
                })
            },
        )?;
        made.insert((variant, bound), pipeline.clone());
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
            // As much as the shader needs, which differs: one request or many, words or blocks.
            layout_entry(0, wgpu::BufferBindingType::Uniform, true, 0),
            layout_entry(1, storage(false), false, 0),
            layout_entry(2, table, false, 0),
        ],
    })
}

/// A buffer that a compute shader binds; a size of 0 leaves it to the shader.
pub(super) fn layout_entry(
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
