//! The shaders and the pipelines made of them: one for each variant in use, made when it is
//! first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::Result;
use crate::job::{Core, FillTable, Job, Mask};
use crate::kernel::box_muller::TABLE_ENTRIES;
use crate::tensor::DType;

use super::scope::checked;

/// The text of the fill shader: `shaders/` one file after the other, with one of the spellings of the
/// multiply, of the table and of the request.
macro_rules! shader {
    ($multiply:literal, $table:literal, $request:literal) => {
        concat!(
            include_str!(concat!("../../shaders/", $multiply)),
            include_str!(concat!("../../shaders/", $table)),
            include_str!("../../shaders/philox.wgsl"),
            include_str!("../../shaders/uniform.wgsl"),
            include_str!("../../shaders/box_muller.wgsl"),
            include_str!("../../shaders/quantile.wgsl"),
            include_str!("../../shaders/pattern.wgsl"),
            include_str!("../../shaders/scale.wgsl"),
            include_str!(concat!("../../shaders/", $request)),
            include_str!("../../shaders/fill.wgsl"),
        )
    };
}

/// Requests of a dispatch that fills many tensors, `MAX_REQUESTS` of `shaders/request_many.wgsl`: as
/// many as fit, by powers of two, in the 16 KiB of a uniform buffer that every WebGPU device binds.
pub(super) const MAX_REQUESTS: usize = 64;

/// Entries of a table in a uniform buffer, `UNIFORM_ENTRIES` of `shaders/table_uniform.wgsl`: those of
/// the largest, the normal core's.
pub(super) const UNIFORM_ENTRIES: usize = TABLE_ENTRIES;

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

/// Whether the table of a core is one that fits a uniform buffer: cubics or the circle.
pub(super) fn has_short_table(core: Core) -> bool {
    matches!(core, Core::Normal | Core::Quantile)
}

/// The fill's own table, as `shaders/table_*.wgsl` bind it: one entry of no meaning where the
/// fill needs none, because a binding cannot be empty.
pub(super) fn fill_table(job: &Job) -> FillTable {
    static NONE: OnceLock<FillTable> = OnceLock::new();
    let none = NONE.get_or_init(|| Arc::new(vec![[0; 4]]));
    Arc::clone(job.table.as_ref().unwrap_or(none))
}

/// How a pipeline is told what to do, and where it finds its table: what the shader's text, and the
/// types of its bindings, depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bound {
    /// Up to [`MAX_REQUESTS`] requests; one otherwise.
    pub many: bool,
    /// The table in a uniform buffer, of cubics or the circle; in a storage buffer otherwise.
    pub uniform_table: bool,
}

impl Bound {
    fn index(self) -> usize {
        2 * usize::from(self.many) + usize::from(self.uniform_table)
    }
}

/// The text of the shader: with 64-bit integers for devices with `SHADER_INT64`, else in plain WGSL.
pub(super) fn shader(int64: bool, bound: Bound) -> &'static str {
    match (int64, bound.uniform_table, bound.many) {
        (false, false, false) => shader!("mul_u32.wgsl", "table_storage.wgsl", "request_one.wgsl"),
        (false, false, true) => shader!("mul_u32.wgsl", "table_storage.wgsl", "request_many.wgsl"),
        (false, true, false) => shader!("mul_u32.wgsl", "table_uniform.wgsl", "request_one.wgsl"),
        (false, true, true) => shader!("mul_u32.wgsl", "table_uniform.wgsl", "request_many.wgsl"),
        (true, false, false) => shader!("mul_u64.wgsl", "table_storage.wgsl", "request_one.wgsl"),
        (true, false, true) => shader!("mul_u64.wgsl", "table_storage.wgsl", "request_many.wgsl"),
        (true, true, false) => {
            shader!("mul_u64.wgsl", "table_uniform_u64.wgsl", "request_one.wgsl")
        }
        (true, true, true) => {
            shader!(
                "mul_u64.wgsl",
                "table_uniform_u64.wgsl",
                "request_many.wgsl"
            )
        }
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
