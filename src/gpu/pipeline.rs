//! The shaders and the pipelines made of them: one for each variant in use, made when it is
//! first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::Result;
use crate::job::{Core, FillTable, Job, Mask};
use crate::tensor::DType;

use super::scope::checked;

/// The shader in plain WGSL: `shaders/` whole, one file after the other.
const PORTABLE: &str = concat!(
    include_str!("../../shaders/mul_u32.wgsl"),
    include_str!("../../shaders/philox.wgsl"),
    include_str!("../../shaders/uniform.wgsl"),
    include_str!("../../shaders/box_muller.wgsl"),
    include_str!("../../shaders/quantile.wgsl"),
    include_str!("../../shaders/pattern.wgsl"),
    include_str!("../../shaders/scale.wgsl"),
    include_str!("../../shaders/fill.wgsl"),
);

/// The same with the multiply spelled in 64 bits, for devices with `SHADER_INT64`.
const INT64: &str = concat!(
    include_str!("../../shaders/mul_u64.wgsl"),
    include_str!("../../shaders/philox.wgsl"),
    include_str!("../../shaders/uniform.wgsl"),
    include_str!("../../shaders/box_muller.wgsl"),
    include_str!("../../shaders/quantile.wgsl"),
    include_str!("../../shaders/pattern.wgsl"),
    include_str!("../../shaders/scale.wgsl"),
    include_str!("../../shaders/fill.wgsl"),
);

/// The number of `override`s of `shaders/fill.wgsl`.
pub(super) const CONSTANTS: usize = 8;

/// How the invocations of a dispatch share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Entry {
    /// One block of the stream each, of which all elements are wanted and which is stored whole:
    /// 32-bit elements.
    WholeBlocks32,
    /// The same with 16-bit elements.
    WholeBlocks16,
    /// One block of the stream each, and of it what is wanted.
    Blocks,
    /// One 32-bit word of the destination each: 16-bit elements whose words do not line up with
    /// the blocks.
    Words,
}

impl Entry {
    pub fn name(self) -> &'static str {
        match self {
            Entry::WholeBlocks32 => "fill_whole_blocks_32",
            Entry::WholeBlocks16 => "fill_whole_blocks_16",
            Entry::Blocks => "fill_blocks",
            Entry::Words => "fill_words",
        }
    }
}

/// What a pipeline is specialized for: the `override`s of `shaders/fill.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Variant {
    pub entry: Entry,
    pub core: Core,
    pub dtype: DType,
    pub shifted: bool,
    pub clamped: bool,
    pub sliced: bool,
    pub mask: Mask,
    pub extremes: bool,
}

impl Variant {
    pub fn new(job: &Job, entry: Entry, sliced: bool) -> Variant {
        let random = !matches!(job.core, Core::Constant | Core::Columns | Core::Matrix);
        Variant {
            entry,
            core: job.core,
            dtype: job.dtype,
            shifted: random && job.shifted(),
            clamped: job.clamp.is_some(),
            sliced,
            mask: job.mask,
            extremes: random && job.has_extremes(),
        }
    }

    /// The pipeline constants, by the names in the shader.
    pub fn constants(self, workgroup_size: u32) -> [(&'static str, f64); CONSTANTS] {
        let core = match self.core {
            Core::Constant => 0,
            Core::Uniform => 1,
            Core::Normal => 2,
            Core::Quantile => 3,
            Core::Sine => 4,
            Core::Columns => 5,
            Core::Matrix => 6,
        };
        let mask = match self.mask {
            Mask::None => 0,
            Mask::Diagonal => 1,
            Mask::Range => 2,
            Mask::Sparse => 3,
        };
        let dtype = match self.dtype {
            DType::F32 => 0,
            DType::F16 => 1,
            DType::BF16 => 2,
        };
        [
            ("CORE", f64::from(core)),
            ("DTYPE", f64::from(dtype)),
            ("SHIFTED", f64::from(u8::from(self.shifted))),
            ("CLAMPED", f64::from(u8::from(self.clamped))),
            ("SLICED", f64::from(u8::from(self.sliced))),
            ("MASK", f64::from(mask)),
            ("EXTREMES", f64::from(u8::from(self.extremes))),
            ("WORKGROUP_SIZE", f64::from(workgroup_size)),
        ]
    }
}

/// The fill's own table, as `shaders/quantile.wgsl` binds it: one entry of no meaning where the
/// fill needs none, because a binding cannot be empty.
pub(super) fn fill_table(job: &Job) -> FillTable {
    static NONE: OnceLock<FillTable> = OnceLock::new();
    let none = NONE.get_or_init(|| Arc::new(vec![[0; 4]]));
    Arc::clone(job.table.as_ref().unwrap_or(none))
}

/// The text of the shader, in one of its two spellings.
pub(super) fn shader(int64: bool) -> &'static str {
    if int64 { INT64 } else { PORTABLE }
}

/// The pipelines of a device.
#[derive(Debug)]
pub(super) struct Pipelines {
    module: wgpu::ShaderModule,
    layout: wgpu::PipelineLayout,
    workgroup_size: u32,
    made: Mutex<HashMap<Variant, wgpu::ComputePipeline>>,
}

impl Pipelines {
    pub fn new(
        device: &wgpu::Device,
        bindings: &wgpu::BindGroupLayout,
        int64: bool,
        workgroup_size: u32,
    ) -> Pipelines {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("fanin"),
            source: wgpu::ShaderSource::Wgsl(shader(int64).into()),
        });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("fanin"),
            bind_group_layouts: &[Some(bindings)],
            immediate_size: 0,
        });
        Pipelines {
            module,
            layout,
            workgroup_size,
            made: Mutex::default(),
        }
    }

    /// The pipeline of a variant, made on its first use.
    pub fn get(&self, device: &wgpu::Device, variant: Variant) -> Result<wgpu::ComputePipeline> {
        // A panic elsewhere leaves the map as it was: whole pipelines only.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = made.get(&variant) {
            return Ok(pipeline.clone());
        }
        let pipeline = checked(
            device,
            || format!("compiling the pipeline {variant:?}"),
            || {
                device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some("fanin"),
                    layout: Some(&self.layout),
                    module: &self.module,
                    entry_point: Some(variant.entry.name()),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &variant.constants(self.workgroup_size),
                        ..Default::default()
                    },
                    cache: None,
                })
            },
        )?;
        made.insert(variant, pipeline.clone());
        Ok(pipeline)
    }
}
