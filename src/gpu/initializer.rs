//! Recording fills on a device that the caller owns.

use std::sync::{Mutex, OnceLock};

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::job::FillTable;

use super::batch::Batching;
use super::dispatch::{self, Request};
use super::orthogonal::{self, Matrix};
use super::pipeline::{Pipelines, UNIFORM_ENTRIES};
use super::prepare::{self, Piece, Steps, context};
use super::probe;
use super::raw::Limits;
use super::scope::checked;
use super::shader::MAX_REQUESTS;

/// Bytes of the uniform buffer that a dispatch of many requests binds.
const BATCH_BYTES: u64 = (MAX_REQUESTS * size_of::<Request>()) as u64;

/// Bytes of a table in a uniform buffer.
const UNIFORM_TABLE_BYTES: u64 = (UNIFORM_ENTRIES * size_of::<[u32; 4]>()) as u64;

/// Choices that change how a device fills, never what.
#[derive(Clone, Debug, Default)]
pub struct InitializerOptions {
    /// Whether the shaders use 64-bit integers. By default they do where the device has the
    /// feature `SHADER_INT64`; `Some(true)` on a device without it is an error.
    pub int64: Option<bool>,
    /// Invocations of a workgroup, 1 to the device's limit; 256 or the limit by default.
    pub workgroup_size: Option<u32>,
    /// Whether the tables of normal and truncated distributions are uniform buffers. By default they
    /// are on software drivers, which read them faster so, and storage buffers on hardware.
    pub uniform_tables: Option<bool>,
    /// Whether an invocation makes four blocks of the stream, where that fits, and stores them in
    /// 64-bit words. By default it does with 64-bit integers and tables in uniform buffers, which is to
    /// say on some software drivers; `Some(true)` without them is an error.
    pub runs: Option<bool>,
    /// Whether values are made in floats, which is faster, instead of integers. By default a probe of
    /// the device decides, except from [`Initializer::new`] in a browser, which cannot wait for it and
    /// takes integers. The bits are the same where the device keeps to the rules of WGSL, which
    /// `Some(true)` takes for granted.
    pub exact_floats: Option<bool>,
    /// Bytes that one dispatch fills at most; the device's `max_storage_buffer_binding_size` by
    /// default.
    pub max_binding_size: Option<u64>,
}

/// A fill and the place it goes to: one of many in [`Initializer::fill_all`].
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The values.
    pub fill: &'a Fill,
    /// A buffer with usage `STORAGE`.
    pub buffer: &'a wgpu::Buffer,
    /// Where in the buffer the first element goes, counted in elements of the fill's dtype.
    pub offset: u64,
}

impl<'a> Target<'a> {
    /// The fill, into `buffer` from element `offset` on.
    pub fn new(fill: &'a Fill, buffer: &'a wgpu::Buffer, offset: u64) -> Target<'a> {
        Target {
            fill,
            buffer,
            offset,
        }
    }
}

/// Fills buffers of one device. Make it once and keep it: pipelines are compiled when a kind of
/// fill is first used, and reused from then on.
///
/// See the [module's example](crate::gpu).
#[derive(Debug)]
pub struct Initializer {
    device: wgpu::Device,
    pub(super) fill_tables: Mutex<Vec<(FillTable, wgpu::Buffer)>>,
    pub(super) pipelines: Pipelines,
    orthogonal: OnceLock<orthogonal::Pipelines>,
    pub(super) limits: Limits,
    /// Bytes that the requests of a dispatch are aligned to, in a buffer of them all.
    pub(super) request_alignment: usize,
    /// Which dispatches are put together.
    pub(super) batching: Batching,
    pub(super) uniform_tables: bool,
    /// Whether invocations make several blocks where that fits.
    pub(super) runs: bool,
    int64: bool,
}

impl Initializer {
    /// An initializer for a device, which needs no feature; with `SHADER_INT64` it is faster. Waits for
    /// a small probe of the device's floats; not so in a browser:
    /// [`with_options_async`](Initializer::with_options_async).
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device refuses the shader, or is lost.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Initializer> {
        Initializer::with_options(device, queue, &InitializerOptions::default())
    }

    /// An initializer with choices made by hand.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device cannot do what the options ask for, refuses the shader, or is
    /// lost.
    pub fn with_options(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        options: &InitializerOptions,
    ) -> Result<Initializer> {
        if options.exact_floats.is_none() && cfg!(target_family = "wasm") {
            return Initializer::build(device, options, false);
        }
        pollster::block_on(Initializer::with_options_async(device, queue, options))
    }

    /// The same without blocking a browser's thread. Natively it waits in place all the same.
    ///
    /// # Errors
    ///
    /// Those of [`with_options`](Initializer::with_options).
    pub async fn with_options_async(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        options: &InitializerOptions,
    ) -> Result<Initializer> {
        let exact_floats = match options.exact_floats {
            Some(exact) => exact,
            None => probe::run(device, queue, probe::SHADER).await?,
        };
        Initializer::build(device, options, exact_floats)
    }

    fn build(
        device: &wgpu::Device,
        options: &InitializerOptions,
        exact_floats: bool,
    ) -> Result<Initializer> {
        let has_int64 = device.features().contains(wgpu::Features::SHADER_INT64);
        let int64 = options.int64.unwrap_or(has_int64);
        if int64 && !has_int64 {
            return Err(unsupported(
                "64-bit integers asked for, but the device was made without SHADER_INT64".into(),
            ));
        }
        let device_limits = device.limits();
        let most = device_limits
            .max_compute_workgroup_size_x
            .min(device_limits.max_compute_invocations_per_workgroup);
        let workgroup_size = options.workgroup_size.unwrap_or(most.min(256));
        if workgroup_size == 0 || workgroup_size > most {
            return Err(unsupported(format!(
                "workgroup size {workgroup_size}, but the device takes 1 to {most}"
            )));
        }
        let binding_alignment = u64::from(device_limits.min_storage_buffer_offset_alignment);
        let largest = device_limits.max_storage_buffer_binding_size;
        let binding_size = options.max_binding_size.unwrap_or(largest).min(largest) / 4 * 4;
        let limits = Limits {
            binding_size,
            binding_alignment,
            workgroup_size,
            exact_floats,
        };
        dispatch::check(limits)?;
        let software = device.adapter_info().device_type == wgpu::DeviceType::Cpu;
        let largest_uniform = device_limits.max_uniform_buffer_binding_size;
        let uniform_tables = options
            .uniform_tables
            .unwrap_or(software && largest_uniform >= UNIFORM_TABLE_BYTES);
        if uniform_tables && largest_uniform < UNIFORM_TABLE_BYTES {
            return Err(unsupported(format!(
                "tables of {UNIFORM_TABLE_BYTES} bytes asked for as uniform buffers, but the device \
                 takes {largest_uniform}"
            )));
        }
        let runs = options.runs.unwrap_or(int64 && uniform_tables);
        if runs && !(int64 && uniform_tables) {
            return Err(unsupported(
                "runs of blocks asked for, but they take 64-bit integers and tables in uniform buffers"
                    .into(),
            ));
        }
        let batching = Batching {
            requests: if largest_uniform >= BATCH_BYTES {
                MAX_REQUESTS
            } else {
                1
            },
            // A software driver starts a dispatch at once, and finds the one request of a dispatch
            // faster.
            elements: if software { 1 << 16 } else { u64::MAX },
        };
        let context = || "compiling the fill shader".to_owned();
        let pipelines = checked(device, context, || {
            Pipelines::new(device, int64, workgroup_size)
        })?;
        Ok(Initializer {
            device: device.clone(),
            fill_tables: Mutex::default(),
            orthogonal: OnceLock::new(),
            pipelines,
            limits,
            request_alignment: device_limits.min_uniform_buffer_offset_alignment as usize,
            batching,
            uniform_tables,
            runs,
            int64,
        })
    }

    /// Whether values are made in floats, which the device's probe has found exact.
    pub fn exact_floats(&self) -> bool {
        self.limits.exact_floats
    }

    /// Whether the shaders use 64-bit integers.
    pub fn int64(&self) -> bool {
        self.int64
    }

    /// Records a fill into an encoder: `buffer` holds the slice, row-major, from element
    /// `offset` on (counted in elements of the fill's dtype, any number), once the encoder's
    /// commands have run. Nothing outside that range changes.
    ///
    /// # Errors
    ///
    /// [`Error::BufferUsage`] if the buffer was made without `STORAGE`, [`Error::BufferTooSmall`]
    /// if it ends before the range (rounded up to whole 32-bit words), [`Error::Device`] if the
    /// buffer belongs to another device (of the same [`wgpu::Instance`]: wgpu cannot tell a buffer of
    /// another instance) or the device is lost. Nothing is recorded then.
    pub fn fill(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        fill: &Fill,
        buffer: &wgpu::Buffer,
        offset: u64,
    ) -> Result<()> {
        self.fill_all(encoder, &[Target::new(fill, buffer, offset)])
    }

    /// Records a fill into a compute pass, like [`fill`](Initializer::fill). The pass's pipeline
    /// and bind group 0 are set.
    ///
    /// # Errors
    ///
    /// Those of [`fill`](Initializer::fill).
    pub fn fill_in_pass(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        fill: &Fill,
        buffer: &wgpu::Buffer,
        offset: u64,
    ) -> Result<()> {
        self.fill_all_in_pass(pass, &[Target::new(fill, buffer, offset)])
    }

    /// Records the fills of many tensors, a whole model say, into an encoder: in one compute pass,
    /// and in few dispatches where tensors share a buffer. The targets may stand in any order, in
    /// one buffer or in many, side by side without a gap; the bits are those of
    /// [`fill`](Initializer::fill) for each.
    ///
    /// ```
    /// use fanin::gpu::{Gpu, Options, Target};
    /// use fanin::{Fill, Init, Tensor};
    ///
    /// # fn main() -> fanin::Result<()> {
    /// # if std::env::var("FANIN_TEST_NO_GPU").is_ok_and(|value| value == "1") { return Ok(()); }
    /// # let gpu = Gpu::headless(&Options::default())?;
    /// # let (device, queue, initializer) = (gpu.device(), gpu.queue(), gpu.initializer());
    /// let weight = Fill::new(&Tensor::new("fc.weight", [256, 784])?, &Init::kaiming_normal(), 42)?;
    /// let bias = Fill::new(&Tensor::new("fc.bias", [256])?, &Init::zeros(), 42)?;
    /// let parameters = device.create_buffer(&wgpu::BufferDescriptor {
    ///     label: Some("parameters"),
    ///     size: weight.bytes() + bias.bytes(),
    ///     usage: wgpu::BufferUsages::STORAGE,
    ///     mapped_at_creation: false,
    /// });
    ///
    /// let mut encoder = device.create_command_encoder(&Default::default());
    /// let targets = [
    ///     Target::new(&weight, &parameters, 0),
    ///     Target::new(&bias, &parameters, weight.elements()),
    /// ];
    /// initializer.fill_all(&mut encoder, &targets)?;
    /// queue.submit([encoder.finish()]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`fill`](Initializer::fill), and [`Error::Overlap`] if two targets would write the
    /// same bytes. Nothing is recorded then, of any target.
    pub fn fill_all(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        targets: &[Target<'_>],
    ) -> Result<()> {
        let steps = self.prepare(&whole(targets))?;
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("fanin"),
            timestamp_writes: None,
        });
        steps.record(&mut pass);
        Ok(())
    }

    /// Records the fills of many tensors into a compute pass, like
    /// [`fill_all`](Initializer::fill_all). The pass's pipeline and bind group 0 are set.
    ///
    /// # Errors
    ///
    /// Those of [`fill_all`](Initializer::fill_all).
    pub fn fill_all_in_pass(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        targets: &[Target<'_>],
    ) -> Result<()> {
        self.prepare(&whole(targets))?.record(pass);
        Ok(())
    }

    /// Records and submits the fills of many tensors on their own.
    ///
    /// # Errors
    ///
    /// Those of [`fill_all`](Initializer::fill_all).
    pub fn submit_all(
        &self,
        queue: &wgpu::Queue,
        targets: &[Target<'_>],
    ) -> Result<wgpu::SubmissionIndex> {
        let pieces = whole(targets);
        let steps = self.prepare(&pieces)?;
        self.submit_steps(queue, &steps, || prepare::all(&pieces))
    }

    /// Records and submits a fill on its own.
    ///
    /// # Errors
    ///
    /// Those of [`fill`](Initializer::fill).
    pub fn submit(
        &self,
        queue: &wgpu::Queue,
        fill: &Fill,
        buffer: &wgpu::Buffer,
        offset: u64,
    ) -> Result<wgpu::SubmissionIndex> {
        self.submit_all(queue, &[Target::new(fill, buffer, offset)])
    }

    /// Makes the matrix of an orthogonal fill, for pieces of it to be taken from.
    pub(super) fn submit_matrix(&self, queue: &wgpu::Queue, fill: &Fill) -> Result<Option<Matrix>> {
        let Some(mut matrix) = self.matrix(fill)? else {
            return Ok(None);
        };
        let steps = std::mem::take(&mut matrix.steps);
        self.submit_steps(queue, &steps, || context(fill))?;
        Ok(Some(matrix))
    }

    /// Records and submits a piece of a fill.
    pub(super) fn submit_piece(
        &self,
        queue: &wgpu::Queue,
        piece: Piece<'_>,
    ) -> Result<wgpu::SubmissionIndex> {
        let pieces = [piece];
        let steps = self.prepare(&pieces)?;
        self.submit_steps(queue, &steps, || prepare::all(&pieces))
    }

    fn submit_steps(
        &self,
        queue: &wgpu::Queue,
        steps: &Steps,
        context: impl Fn() -> String,
    ) -> Result<wgpu::SubmissionIndex> {
        checked(&self.device, context, || {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            steps.record(&mut encoder.begin_compute_pass(&Default::default()));
            queue.submit([encoder.finish()])
        })
    }

    /// The device.
    pub(super) fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// The pipelines of orthogonal matrices, made when they are first needed.
    pub(super) fn orthogonal_pipelines(&self) -> Result<&orthogonal::Pipelines> {
        if let Some(pipelines) = self.orthogonal.get() {
            return Ok(pipelines);
        }
        let made = orthogonal::Pipelines::new(&self.device)?;
        Ok(self.orthogonal.get_or_init(|| made))
    }
}

/// The targets, each with the whole of its fill.
fn whole<'a>(targets: &[Target<'a>]) -> Vec<Piece<'a>> {
    let piece = |target: &Target<'a>| Piece {
        fill: target.fill,
        range: 0..target.fill.elements(),
        buffer: target.buffer,
        offset: target.offset,
        matrix: None,
    };
    targets.iter().map(piece).collect()
}

/// A buffer with contents, a multiple of 4 bytes; what is wrong if there cannot be one.
pub(super) fn upload(
    device: &wgpu::Device,
    label: &'static str,
    contents: &[u8],
    usage: wgpu::BufferUsages,
) -> Result<wgpu::Buffer, String> {
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: contents.len() as u64,
        usage,
        mapped_at_creation: true,
    });
    // A buffer of a lost device has no memory to map, and none without room for it.
    let mapped = buffer.get_mapped_range_mut(..);
    mapped
        .map_err(|_| "the device was lost or is out of memory".to_owned())?
        .copy_from_slice(contents);
    buffer.unmap();
    Ok(buffer)
}

fn unsupported(detail: String) -> Error {
    Error::Device {
        context: "making an initializer".into(),
        detail,
    }
}
