//! Records fills on a device that the caller owns.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::job::{Job, Jobs, PartJob};

use super::batch::{Batch, Bindings, Turns};
use super::device::scope::checked;
use super::device::{FillDevice, InitializerOptions, probe};
use super::dispatch;
use super::orthogonal::{self, OrthogonalPipelines};
use super::overlap;
use super::probe::SHADER;
use super::steps::{DeviceMatrix, FillPiece, Step, context, context_of_all, record, written};

/// A fill, with the buffer and offset it goes to: one of many in [`Initializer::fill_all`].
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The fill.
    pub fill: &'a Fill,
    /// A buffer with usage `STORAGE`.
    pub buffer: &'a wgpu::Buffer,
    /// The offset of the first element in the buffer, in elements of the fill's dtype.
    pub offset: u64,
}

impl<'a> Target<'a> {
    /// Sends a fill to `buffer`, from element `offset` on.
    pub fn new(fill: &'a Fill, buffer: &'a wgpu::Buffer, offset: u64) -> Target<'a> {
        Target {
            fill,
            buffer,
            offset,
        }
    }
}

/// Fills buffers of one device.
///
/// Make it once and keep it: pipelines are compiled when a kind of fill is first used, and reused from
/// then on.
///
/// See the [module's example](crate::gpu).
///
/// # Handles of one device
///
/// An encoder, a pass or a buffer that is given to an initializer must belong to its device. wgpu does
/// not tell the device of such a handle, so fanin cannot check it:
///
/// * a buffer of another device of the same [`wgpu::Instance`] is
///   [`Error::Device`](crate::Error::Device), because wgpu compares the devices when it binds it;
/// * a buffer of another instance is not detected: wgpu takes its number for that of a buffer of its
///   own, or panics;
/// * an encoder or a pass of another device takes the commands, and wgpu reports an error when the
///   encoder is finished, to the encoder's own device. wgpu's default handler of such errors panics.
#[derive(Debug)]
pub struct Initializer {
    pub(super) device: FillDevice,
    queue: wgpu::Queue,
    orthogonal: OnceLock<OrthogonalPipelines>,
}

impl Initializer {
    /// Makes an initializer for a device, which needs no feature but is faster with `SHADER_INT64`, and
    /// no more than the limits of [`wgpu::Limits::downlevel_defaults`].
    ///
    /// The queue must be the one that wgpu gave together with the device. wgpu does not tell the device
    /// of a queue, so fanin cannot check it. With another queue wgpu's handler of errors is called, which
    /// panics by default.
    ///
    /// It waits for a small probe of the device's floats. In a browser it cannot wait; use
    /// [`with_options_async`](Initializer::with_options_async) there.
    ///
    /// # Errors
    ///
    /// [`Error::Device`](crate::Error::Device) if the device refuses the shader, or is lost.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Initializer> {
        Initializer::with_options(device, queue, &InitializerOptions::default())
    }

    /// Makes an initializer with options.
    ///
    /// # Errors
    ///
    /// [`Error::Device`](crate::Error::Device) if the device does not support the options, refuses the
    /// shader, or is lost.
    pub fn with_options(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        options: &InitializerOptions,
    ) -> Result<Initializer> {
        if options.exact_floats.is_none() && cfg!(target_family = "wasm") {
            return Initializer::build(device, queue, options, false);
        }
        pollster::block_on(Initializer::with_options_async(device, queue, options))
    }

    /// Makes an initializer with options, without blocking a browser's thread. Natively it waits in
    /// place, as [`with_options`](Initializer::with_options) does.
    ///
    /// # Errors
    ///
    /// The errors of [`with_options`](Initializer::with_options).
    pub async fn with_options_async(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        options: &InitializerOptions,
    ) -> Result<Initializer> {
        let exact_floats = match options.exact_floats {
            Some(exact) => exact,
            None => probe::run(device, queue, SHADER).await?,
        };
        Initializer::build(device, queue, options, exact_floats)
    }

    fn build(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        options: &InitializerOptions,
        exact_floats: bool,
    ) -> Result<Initializer> {
        Ok(Initializer {
            device: FillDevice::new(device, options, exact_floats)?,
            queue: queue.clone(),
            orthogonal: OnceLock::new(),
        })
    }

    /// Returns whether values are made in floats, which the device's probe has found exact.
    pub fn exact_floats(&self) -> bool {
        self.device.limits.exact_floats
    }

    /// Returns whether the shaders use 64-bit integers.
    pub fn int64(&self) -> bool {
        self.device.int64
    }

    /// Records a fill into an encoder.
    ///
    /// Once the encoder's commands have run, `buffer` holds the slice, row-major, from element `offset`
    /// on. The offset counts elements of the fill's dtype and can be any number. Nothing outside that
    /// range changes.
    ///
    /// The encoder and the buffer must belong to the initializer's device, which wgpu gives
    /// [no way to check](Initializer#handles-of-one-device) for encoders and for other instances' buffers.
    ///
    /// # Errors
    ///
    /// Nothing is recorded after an error:
    ///
    /// * [`Error::BufferUsage`](crate::Error::BufferUsage) if the buffer was made without `STORAGE`;
    /// * [`Error::BufferTooSmall`](crate::Error::BufferTooSmall) if the buffer ends before the range,
    ///   rounded up to whole 32-bit words;
    /// * [`Error::DType`](crate::Error::DType) for a dtype other than f32, f16 and bf16, which only the
    ///   host can convert to: [`ReadBack`](super::ReadBack) does;
    /// * [`Error::Kept`](crate::Error::Kept) for a tensor that is kept from a file;
    /// * [`Error::Device`](crate::Error::Device) if the device is lost or the buffer belongs to another
    ///   device of the same [`wgpu::Instance`], or if the fill's [parts](crate::Fill::with_part) are scattered over more than 2^18 runs of elements.
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
    /// and bind group 0 are set. The pass must belong to the initializer's device, which wgpu gives
    /// [no way to check](Initializer#handles-of-one-device).
    ///
    /// # Errors
    ///
    /// The errors of [`fill`](Initializer::fill).
    pub fn fill_in_pass(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        fill: &Fill,
        buffer: &wgpu::Buffer,
        offset: u64,
    ) -> Result<()> {
        self.fill_all_in_pass(pass, &[Target::new(fill, buffer, offset)])
    }

    /// Records the fills of many tensors, such as a whole model, into an encoder.
    ///
    /// They take one compute pass, and few dispatches if tensors share a buffer. The targets can be in
    /// any order, in one buffer or in many, side by side without a gap. The bits are those of
    /// [`fill`](Initializer::fill) for each. The encoder and the buffers must belong to the initializer's
    /// device, as in [`fill`](Initializer::fill).
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
    /// The errors of [`fill`](Initializer::fill), and [`Error::Overlap`](crate::Error::Overlap) if two
    /// targets would write the same bytes. After an error nothing is recorded of any target.
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
        record(&steps, &mut pass);
        Ok(())
    }

    /// Records the fills of many tensors into a compute pass, like
    /// [`fill_all`](Initializer::fill_all). The pass's pipeline and bind group 0 are set. The pass must
    /// belong to the initializer's device, which wgpu gives
    /// [no way to check](Initializer#handles-of-one-device).
    ///
    /// # Errors
    ///
    /// The errors of [`fill_all`](Initializer::fill_all).
    pub fn fill_all_in_pass(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        targets: &[Target<'_>],
    ) -> Result<()> {
        record(&self.prepare(&whole(targets))?, pass);
        Ok(())
    }

    /// Submits the fills of many tensors, in a command buffer of their own.
    ///
    /// # Errors
    ///
    /// The errors of [`fill_all`](Initializer::fill_all), and [`Error::Device`](crate::Error::Device) if
    /// the queue is not the initializer's. Then nothing is submitted.
    pub fn submit_all(
        &self,
        queue: &wgpu::Queue,
        targets: &[Target<'_>],
    ) -> Result<wgpu::SubmissionIndex> {
        let pieces = whole(targets);
        let steps = self.prepare(&pieces)?;
        self.submit_steps(queue, &steps, || context_of_all(&pieces))
    }

    /// Submits a fill, in a command buffer of its own.
    ///
    /// # Errors
    ///
    /// The errors of [`submit_all`](Initializer::submit_all).
    pub fn submit(
        &self,
        queue: &wgpu::Queue,
        fill: &Fill,
        buffer: &wgpu::Buffer,
        offset: u64,
    ) -> Result<wgpu::SubmissionIndex> {
        self.submit_all(queue, &[Target::new(fill, buffer, offset)])
    }

    /// Submits the work that makes the matrix of an orthogonal fill. Returns nothing for other fills.
    pub(super) fn submit_matrix(
        &self,
        queue: &wgpu::Queue,
        fill: &Fill,
    ) -> Result<Option<DeviceMatrix>> {
        let Some((matrix, steps)) = orthogonal::matrix(&self.device, &self.orthogonal, fill)?
        else {
            return Ok(None);
        };
        self.submit_steps(queue, &steps, || context(fill))?;
        Ok(Some(matrix))
    }

    /// Submits a piece of a fill.
    pub(super) fn submit_piece(
        &self,
        queue: &wgpu::Queue,
        piece: FillPiece<'_>,
    ) -> Result<wgpu::SubmissionIndex> {
        let pieces = [piece];
        let steps = self.prepare(&pieces)?;
        self.submit_steps(queue, &steps, || context_of_all(&pieces))
    }

    fn submit_steps(
        &self,
        queue: &wgpu::Queue,
        steps: &[Step],
        context: impl Fn() -> String,
    ) -> Result<wgpu::SubmissionIndex> {
        if *queue != self.queue {
            return Err(Error::Device {
                context: context(),
                detail:
                    "the queue belongs to another device: pass the queue that the initializer was \
                         made with"
                        .to_owned(),
            });
        }
        let device = &self.device.wgpu;
        checked(device, context, || {
            let mut encoder = device.create_command_encoder(&Default::default());
            record(steps, &mut encoder.begin_compute_pass(&Default::default()));
            // wgpu compares queues by numbers that are unique in an instance only. A queue of another
            // instance with an equal number would panic.
            self.queue.submit([encoder.finish()])
        })
    }

    /// Checks pieces and returns their steps, whose recording cannot fail.
    fn prepare(&self, pieces: &[FillPiece<'_>]) -> Result<Vec<Step>> {
        let device = &self.device;
        let turns = overlap::turns(&written(pieces)?)?;
        let mut steps = Vec::new();
        let mut chunks = Vec::new();
        for (piece, turn) in pieces.iter().zip(turns) {
            let context = || context(piece.fill);
            let jobs = Jobs::for_device(piece.fill)?;
            jobs.check_runs(piece.range.clone())?;
            // The matrices and tables of the fill's jobs, made when a piece first needs them.
            let mut sources: BTreeMap<usize, BoundJob> = BTreeMap::new();
            let cut = dispatch::pieces(&jobs, piece.range.clone(), piece.offset);
            for (part, piece_turn) in cut {
                let PartJob { job, fill, .. } = &jobs.all()[part.owner];
                let source = match sources.entry(part.owner) {
                    Entry::Occupied(made) => made.into_mut(),
                    Entry::Vacant(open) => {
                        // A matrix that was made before is that of the tensor itself.
                        let known = piece.matrix.as_ref().filter(|_| part.owner == 0);
                        let made = match known {
                            Some(matrix) => Some((matrix.clone(), Vec::new())),
                            None => orthogonal::matrix(device, &self.orthogonal, fill)?,
                        };
                        open.insert(match made {
                            None => BoundJob {
                                job: job.clone(),
                                table: device.table(job, context)?,
                                is_matrix: false,
                            },
                            Some((matrix, made)) => {
                                steps.extend(made);
                                BoundJob {
                                    job: job.clone().with_stride(matrix.stride),
                                    table: matrix.buffer,
                                    is_matrix: true,
                                }
                            }
                        })
                    }
                };
                let bindings = Bindings {
                    buffer: piece.buffer,
                    table: source.table.clone(),
                    turns: Turns {
                        fill: turn,
                        piece: piece_turn,
                    },
                };
                let cut = device.chunks(&source.job, &part, bindings);
                if source.is_matrix {
                    // Each chunk is a dispatch of its own, after the steps that make the matrix.
                    let batches: Vec<_> = cut
                        .map(|(chunk, bindings)| Batch::one(&chunk, bindings))
                        .collect();
                    steps.extend(device.steps(&batches, context)?);
                } else {
                    chunks.extend(cut);
                }
            }
        }
        steps.extend(device.batched_steps(chunks, || context_of_all(pieces))?);
        Ok(steps)
    }
}

/// A job with the buffer that its dispatches read: a lookup table, or a matrix.
struct BoundJob {
    job: Job,
    table: wgpu::Buffer,
    is_matrix: bool,
}

/// Returns the targets as pieces that are whole fills.
fn whole<'a>(targets: &[Target<'a>]) -> Vec<FillPiece<'a>> {
    let piece = |target: &Target<'a>| FillPiece {
        fill: target.fill,
        range: 0..target.fill.elements(),
        buffer: target.buffer,
        offset: target.offset,
        matrix: None,
    };
    targets.iter().map(piece).collect()
}
