//! The fill shader's text, and the constants that specialize its pipelines.

use std::sync::{Arc, OnceLock};

use crate::job::{Core, FillTable, Job, Mask};
use crate::tensor::DType;

/// The text of the fill shader: files of `shaders/`, one after the other. The multiply, the table
/// and the request each have several spellings. Some files are added for devices with 64-bit
/// integers only.
macro_rules! shader {
    ($multiply:literal, $table:literal, $request:literal $(, $more:literal)*) => {
        concat!(
            include_str!(concat!("../../shaders/", $multiply)),
            include_str!(concat!("../../shaders/", $table)),
            include_str!("../../shaders/philox.wgsl"),
            include_str!("../../shaders/uniform.wgsl"),
            include_str!("../../shaders/box_muller.wgsl"),
            include_str!("../../shaders/curve.wgsl"),
            include_str!("../../shaders/pattern.wgsl"),
            include_str!("../../shaders/value.wgsl"),
            include_str!(concat!("../../shaders/", $request)),
            include_str!("../../shaders/fill.wgsl"),
            $(include_str!(concat!("../../shaders/", $more)),)*
        )
    };
}

/// Requests of a dispatch that fills many tensors, `MAX_REQUESTS` of `shaders/request_many.wgsl`: the
/// largest power of two that fits the 16 KiB of uniform buffer that every WebGPU device binds.
pub(super) const MAX_REQUESTS: usize = 64;

/// The number of `override`s of `shaders/fill.wgsl`.
pub(super) const CONSTANTS: usize = 8;

/// An entry point of the shader: the work of one invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum EntryPoint {
    /// Two whole blocks of the stream, stored whole: 32-bit elements.
    WholeBlocks32,
    /// The same with 16-bit elements.
    WholeBlocks16,
    /// [`RUN`](super::dispatch::RUN) whole blocks of the stream, stored whole: 32-bit elements, with
    /// 64-bit integers and the table in a uniform buffer.
    Runs32,
    /// The same with 16-bit elements.
    Runs16,
    /// The elements of one block of the stream that are in range.
    Blocks,
    /// A 32-bit word of the destination: 16-bit elements whose words do not line up with blocks.
    Words,
}

impl EntryPoint {
    /// Returns the entry point's name in the shader.
    pub fn name(self) -> &'static str {
        match self {
            EntryPoint::WholeBlocks32 => "fill_whole_blocks_32",
            EntryPoint::WholeBlocks16 => "fill_whole_blocks_16",
            EntryPoint::Runs32 => "fill_runs_32",
            EntryPoint::Runs16 => "fill_runs_16",
            EntryPoint::Blocks => "fill_blocks",
            EntryPoint::Words => "fill_words",
        }
    }
}

/// The constants that specialize a pipeline: the `override`s of `shaders/fill.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Variant {
    pub entry: EntryPoint,
    pub core: Core,
    pub dtype: DType,
    pub shifted: bool,
    pub clamped: bool,
    /// True if values are made in integers.
    pub integers: bool,
    pub sliced: bool,
    /// The value of the shader's `MASK`.
    mask: u32,
}

impl Variant {
    pub fn new(job: &Job, entry: EntryPoint, sliced: bool, exact_floats: bool) -> Variant {
        let drawn = matches!(job.core, Core::Uniform | Core::Normal | Core::Quantile);
        let scaling = job.scaling;
        Variant {
            entry,
            core: job.core,
            dtype: job.dtype,
            shifted: matches!(job.core, Core::Normal | Core::Quantile)
                && (scaling.offset, scaling.shift) != (0, 0),
            clamped: scaling.clamp.is_some(),
            integers: drawn && (job.has_extremes() || !exact_floats),
            sliced,
            mask: match job.mask {
                Mask::None => 0,
                Mask::Diagonal { .. } => 1,
                Mask::Range { .. } => 2,
                Mask::Sparse { .. } => 3,
                Mask::Lower { .. } => 4,
            },
        }
    }

    /// Returns the pipeline constants, by their names in the shader.
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
        let dtype = match self.dtype {
            DType::F32 => 0,
            DType::F16 => 1,
            // `Job::for_device` lets no other dtype through.
            _ => 2,
        };
        [
            ("CORE", f64::from(core)),
            ("DTYPE", f64::from(dtype)),
            ("SHIFTED", f64::from(u8::from(self.shifted))),
            ("CLAMPED", f64::from(u8::from(self.clamped))),
            ("INTEGERS", f64::from(u8::from(self.integers))),
            ("SLICED", f64::from(u8::from(self.sliced))),
            ("MASK", f64::from(self.mask)),
            ("WORKGROUP_SIZE", f64::from(workgroup_size)),
        ]
    }
}

/// Returns the table of a job, as `shaders/table_*.wgsl` bind it. A job without a table gets one
/// entry of zeros, because a binding cannot be empty.
pub(super) fn fill_table(job: &Job) -> FillTable {
    static NONE: OnceLock<FillTable> = OnceLock::new();
    let none = NONE.get_or_init(|| Arc::new(vec![[0; 2]]));
    Arc::clone(job.table.as_ref().unwrap_or(none))
}

/// Returns whether the table of a core fits a uniform buffer.
pub(super) fn has_short_table(core: Core) -> bool {
    match core {
        Core::Constant | Core::Uniform | Core::Normal | Core::Quantile => true,
        Core::Sine | Core::Columns | Core::Matrix => false,
    }
}

/// The choices that change the shader's text and the types of its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ShaderKind {
    /// A dispatch has up to [`MAX_REQUESTS`] requests if true, else one.
    pub many: bool,
    /// The table is a uniform buffer if true, else a storage buffer.
    pub uniform_table: bool,
}

/// Returns the text of the shader: with 64-bit integers for devices with `SHADER_INT64`, else in
/// plain WGSL.
pub(super) fn shader(int64: bool, kind: ShaderKind) -> &'static str {
    match (int64, kind.uniform_table, kind.many) {
        (false, false, false) => shader!("mul_u32.wgsl", "table_storage.wgsl", "request_one.wgsl"),
        (false, false, true) => shader!("mul_u32.wgsl", "table_storage.wgsl", "request_many.wgsl"),
        (false, true, false) => shader!("mul_u32.wgsl", "table_uniform.wgsl", "request_one.wgsl"),
        (false, true, true) => shader!("mul_u32.wgsl", "table_uniform.wgsl", "request_many.wgsl"),
        (true, false, false) => shader!("mul_u64.wgsl", "table_storage.wgsl", "request_one.wgsl"),
        (true, false, true) => shader!("mul_u64.wgsl", "table_storage.wgsl", "request_many.wgsl"),
        (true, true, false) => shader!(
            "mul_u64.wgsl",
            "table_uniform_u64.wgsl",
            "request_one.wgsl",
            "fill_runs.wgsl"
        ),
        (true, true, true) => shader!(
            "mul_u64.wgsl",
            "table_uniform_u64.wgsl",
            "request_many.wgsl",
            "fill_runs.wgsl"
        ),
    }
}
