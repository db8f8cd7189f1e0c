//! The shaders and the pipelines made of them: one for each variant in use, made when it is
//! first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::Result;
use crate::job::{Core, FillTable, Job, Mask};
use crate::tensor::DType;

use super::scope::checked;

/// The text of the fill shader: `shaders/` one file after the other, with one of the two spellings of
/// the multiply, and with room for a number of requests.
macro_rules! shader {
    ($multiply:literal, $requests:literal) => {
        concat!(
            "const MAX_REQUESTS: u32 = ",
            $requests,
            "u;\n",
            include_str!(concat!("../../shaders/", $multiply)),
            include_str!("../../shaders/philox.wgsl"),
            include_str!("../../shaders/uniform.wgsl"),
            include_str!("../../shaders/box_muller.wgsl"),
            include_str!("../../shaders/quantile.wgsl"),
            include_str!("../../shaders/pattern.wgsl"),
            include_str!("../../shaders/scale.wgsl"),
            include_str!("../../shaders/fill.wgsl"),
        )
    };
}

/// Requests of a dispatch that fills many tensors: as many as fit, by powers of two, in the 16 KiB of
/// a uniform buffer that every WebGPU device binds.
pub(super) const MAX_REQUESTS: usize = 64;

/// The number that the texts below hold.
const _: () = assert!(MAX_REQUESTS == 64);

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

/// The text of the shader: with 64-bit integers for devices with `SHADER_INT64`, else in plain WGSL;
/// for one request or, batched, for [`MAX_REQUESTS`].
pub(super) fn shader(int64: bool, batched: bool) -> &'static str {
    match (int64, batched) {
        (false, false) => shader!("mul_u32.wgsl", 1),
        (false, true) => shader!("mul_u32.wgsl", 64),
        (true, false) => shader!("mul_u64.wgsl", 1),
        (true, true) => shader!("mul_u64.wgsl", 64),
    }
}

/// The pipelines of a device.
#[derive(Debug)]
pub(super) struct Pipelines {
    /// For one request, and for many once there are many.
    modules: [OnceLock<wgpu::ShaderModule>; 2],
    layout: wgpu::PipelineLayout,
    int64: bool,
    workgroup_size: u32,
    made: Mutex<HashMap<(Variant, bool), wgpu::ComputePipeline>>,
}

impl Pipelines {
    pub fn new(
        device: &wgpu::Device,
        bindings: &wgpu::BindGroupLayout,
        int64: bool,
        workgroup_size: u32,
    ) -> Pipelines {
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("fanin"),
            bind_group_layouts: &[Some(bindings)],
            immediate_size: 0,
        });
        let pipelines = Pipelines {
            modules: Default::default(),
            layout,
            int64,
            workgroup_size,
            made: Mutex::default(),
        };
        // Now, so that whoever makes them learns of a device that refuses it.
        pipelines.module(device, false);
        pipelines
    }

    fn module(&self, device: &wgpu::Device, batched: bool) -> &wgpu::ShaderModule {
        self.modules[usize::from(batched)].get_or_init(|| {
            device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("fanin"),
                source: wgpu::ShaderSource::Wgsl(shader(self.int64, batched).into()),
            })
        })
    }

    /// The pipeline of a variant, for one request or for many, made on its first use.
    pub fn get(
        &self,
        device: &wgpu::Device,
        variant: Variant,
        batched: bool,
    ) -> Result<wgpu::ComputePipeline> {
        // A panic elsewhere leaves the map as it was: whole pipelines only.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = made.get(&(variant, batched)) {
            return Ok(pipeline.clone());
        }
        let pipeline = checked(
            device,
            || format!("compiling the pipeline {variant:?}"),
            || {
                device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some("fanin"),
                    layout: Some(&self.layout),
                    module: self.module(device, batched),
                    entry_point: Some(variant.entry.name()),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &variant.constants(self.workgroup_size),
                        ..Default::default()
                    },
                    cache: None,
                })
            },
        )?;
        made.insert((variant, batched), pipeline.clone());
        Ok(pipeline)
    }
}
