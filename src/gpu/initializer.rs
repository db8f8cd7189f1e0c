//! Recording fills on a device that the caller owns.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::job::{FillTable, Job};

use super::dispatch::{self, Dispatch, Request};
use super::orthogonal::{self, Matrix};
use super::pipeline::{self, Pipelines};
use super::raw::Limits;
use super::scope::checked;

/// Tables of fills that a device keeps: a model has a handful of distinct ones.
const FILL_TABLES: usize = 16;

/// Choices that change how a device fills, never what.
#[derive(Clone, Debug, Default)]
pub struct InitializerOptions {
    /// Whether the shaders use 64-bit integers. By default they do where the device has the
    /// feature `SHADER_INT64`; `Some(true)` on a device without it is an error.
    pub int64: Option<bool>,
    /// Invocations of a workgroup, 1 to the device's limit; 256 or the limit by default.
    pub workgroup_size: Option<u32>,
    /// Bytes that one dispatch fills at most; the device's `max_storage_buffer_binding_size` by
    /// default.
    pub max_binding_size: Option<u64>,
}

/// Fills buffers of one device. Make it once and keep it: pipelines are compiled when a kind of
/// fill is first used, and reused from then on.
///
/// See the [module's example](crate::gpu).
#[derive(Debug)]
pub struct Initializer {
    device: wgpu::Device,
    bindings: wgpu::BindGroupLayout,
    fill_tables: Mutex<Vec<(FillTable, wgpu::Buffer)>>,
    pipelines: Pipelines,
    orthogonal: OnceLock<orthogonal::Pipelines>,
    limits: Limits,
    request_stride: u32,
    int64: bool,
}

impl Initializer {
    /// An initializer for a device, which needs no feature; with `SHADER_INT64` it is faster.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device refuses the shader.
    pub fn new(device: &wgpu::Device) -> Result<Initializer> {
        Initializer::with_options(device, &InitializerOptions::default())
    }

    /// An initializer with choices made by hand.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device cannot do what the options ask for, or refuses the shader.
    pub fn with_options(
        device: &wgpu::Device,
        options: &InitializerOptions,
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
        };
        dispatch::check(limits)?;
        let context = || "compiling the fill shader".to_owned();
        let (bindings, pipelines) = checked(device, context, || {
            let bindings = bind_group_layout(device);
            let pipelines = Pipelines::new(device, &bindings, int64, workgroup_size);
            (bindings, pipelines)
        })?;
        Ok(Initializer {
            device: device.clone(),
            bindings,
            fill_tables: Mutex::default(),
            orthogonal: OnceLock::new(),
            pipelines,
            limits,
            request_stride: (size_of::<Request>() as u32)
                .next_multiple_of(device_limits.min_uniform_buffer_offset_alignment),
            int64,
        })
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
    /// buffer belongs to another device or the device is lost. Nothing is recorded then.
    pub fn fill(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        fill: &Fill,
        buffer: &wgpu::Buffer,
        offset: u64,
    ) -> Result<()> {
        let steps = self.prepare(fill, 0, fill.elements(), buffer, offset, None)?;
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("fanin"),
            timestamp_writes: None,
        });
        steps.record(&mut pass);
        Ok(())
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
        self.prepare(fill, 0, fill.elements(), buffer, offset, None)?
            .record(pass);
        Ok(())
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
        self.submit_range(queue, fill, 0..fill.elements(), buffer, offset, None)
    }

    /// Makes the matrix of an orthogonal fill, for pieces of it to be taken from.
    pub(super) fn submit_matrix(&self, queue: &wgpu::Queue, fill: &Fill) -> Result<Option<Matrix>> {
        let Some(mut matrix) = self.matrix(fill)? else {
            return Ok(None);
        };
        let steps = std::mem::take(&mut matrix.steps);
        self.submit_steps(queue, fill, &steps)?;
        Ok(Some(matrix))
    }

    /// Records and submits the fill of the elements `range`, counted in the slice's own row-major
    /// order.
    pub(super) fn submit_range(
        &self,
        queue: &wgpu::Queue,
        fill: &Fill,
        range: Range<u64>,
        buffer: &wgpu::Buffer,
        offset: u64,
        matrix: Option<&Matrix>,
    ) -> Result<wgpu::SubmissionIndex> {
        let length = range.end - range.start;
        let steps = self.prepare(fill, range.start, length, buffer, offset, matrix)?;
        self.submit_steps(queue, fill, &steps)
    }

    fn submit_steps(
        &self,
        queue: &wgpu::Queue,
        fill: &Fill,
        steps: &Steps,
    ) -> Result<wgpu::SubmissionIndex> {
        checked(
            &self.device,
            || context(fill),
            || {
                let mut encoder = self.device.create_command_encoder(&Default::default());
                steps.record(&mut encoder.begin_compute_pass(&Default::default()));
                queue.submit([encoder.finish()])
            },
        )
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

    /// All that a fill needs, checked: recording it cannot fail.
    ///
    /// An orthogonal fill takes its elements from `matrix`, which is made first where it is not
    /// given.
    pub(super) fn prepare(
        &self,
        fill: &Fill,
        start: u64,
        length: u64,
        buffer: &wgpu::Buffer,
        offset: u64,
        matrix: Option<&Matrix>,
    ) -> Result<Steps> {
        check_buffer(fill, length, buffer, offset)?;
        let mut job = Job::new(fill)?;
        let made = match matrix {
            None if length > 0 => self.matrix(fill)?,
            _ => None,
        };
        let matrix = matrix.or(made.as_ref());
        if let Some(matrix) = matrix {
            job.set_stride(matrix.stride);
        }
        let dispatches: Vec<Dispatch> =
            dispatch::dispatches(&job, start..start + length, offset, self.limits).collect();
        let mut steps = Vec::with_capacity(dispatches.len());
        if dispatches.is_empty() {
            return Ok(Steps { steps });
        }
        let pipelines = dispatches
            .iter()
            .map(|dispatch| self.pipelines.get(&self.device, dispatch.variant))
            .collect::<Result<Vec<_>>>()?;
        // The one call here that notices a lost device: error scopes do not.
        let requests = checked(
            &self.device,
            || context(fill),
            || self.requests(&dispatches),
        )?
        .map_err(|detail| Error::Device {
            context: context(fill),
            detail,
        })?;
        let table = match matrix {
            Some(matrix) => matrix.buffer.clone(),
            None => self.fill_table(fill, &job)?,
        };
        checked(
            &self.device,
            || context(fill),
            || {
                for (i, (dispatch, pipeline)) in dispatches.iter().zip(pipelines).enumerate() {
                    steps.push(Step {
                        pipeline,
                        bind_group: self.bind_group(&requests, buffer, &table, dispatch),
                        offset: i as u32 * self.request_stride,
                        grid: dispatch.grid,
                    });
                }
            },
        )?;
        match made {
            Some(Matrix { steps: mut all, .. }) => {
                all.steps.append(&mut steps);
                Ok(all)
            }
            None => Ok(Steps { steps }),
        }
    }

    /// The fill's own table on the device: uploaded once for all fills that share it.
    fn fill_table(&self, fill: &Fill, job: &Job) -> Result<wgpu::Buffer> {
        let table = pipeline::fill_table(job);
        // A panic elsewhere leaves the list as it was: whole buffers only.
        let mut known = self
            .fill_tables
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, buffer)) = known.iter().find(|(known, _)| Arc::ptr_eq(known, &table)) {
            return Ok(buffer.clone());
        }
        let contents = bytemuck::cast_slice(&table);
        let buffer = checked(
            &self.device,
            || context(fill),
            || {
                upload(
                    &self.device,
                    "fanin fill table",
                    contents,
                    wgpu::BufferUsages::STORAGE,
                )
            },
        )?
        .map_err(|detail| Error::Device {
            context: context(fill),
            detail,
        })?;
        if known.len() >= FILL_TABLES {
            known.clear();
        }
        known.push((table, buffer.clone()));
        Ok(buffer)
    }

    /// The requests of all dispatches in one uniform buffer, at the stride of dynamic offsets.
    fn requests(&self, dispatches: &[Dispatch]) -> Result<wgpu::Buffer, String> {
        let stride = self.request_stride as usize;
        let mut contents = vec![0; stride * dispatches.len()];
        for (slot, dispatch) in contents.chunks_exact_mut(stride).zip(dispatches) {
            slot[..size_of::<Request>()].copy_from_slice(bytemuck::bytes_of(&dispatch.request));
        }
        upload(
            &self.device,
            "fanin requests",
            &contents,
            wgpu::BufferUsages::UNIFORM,
        )
    }

    fn bind_group(
        &self,
        requests: &wgpu::Buffer,
        buffer: &wgpu::Buffer,
        table: &wgpu::Buffer,
        dispatch: &Dispatch,
    ) -> wgpu::BindGroup {
        let part = |buffer, offset, size| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset,
                size: wgpu::BufferSize::new(size),
            })
        };
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("fanin"),
            layout: &self.bindings,
            entries: &[
                wgpu::BindGroupEntry {
                    binding: 0,
                    resource: part(requests, 0, size_of::<Request>() as u64),
                },
                wgpu::BindGroupEntry {
                    binding: 1,
                    resource: part(buffer, dispatch.binding_offset, dispatch.binding_size),
                },
                wgpu::BindGroupEntry {
                    binding: 2,
                    resource: table.as_entire_binding(),
                },
            ],
        })
    }
}

/// Work ready to be recorded.
#[derive(Default)]
pub(super) struct Steps {
    pub steps: Vec<Step>,
}

/// One dispatch.
pub(super) struct Step {
    pub pipeline: wgpu::ComputePipeline,
    pub bind_group: wgpu::BindGroup,
    /// The dynamic offset of the uniform buffer.
    pub offset: u32,
    pub grid: [u32; 2],
}

impl Steps {
    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        for step in &self.steps {
            pass.set_pipeline(&step.pipeline);
            pass.set_bind_group(0, &step.bind_group, &[step.offset]);
            pass.dispatch_workgroups(step.grid[0], step.grid[1], 1);
        }
    }
}

/// The bindings of `shaders/fill.wgsl` and `shaders/quantile.wgsl`.
fn bind_group_layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
    let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("fanin"),
        entries: &[
            layout_entry(
                0,
                wgpu::BufferBindingType::Uniform,
                true,
                size_of::<Request>() as u64,
            ),
            // As much as the entry point needs, which differs.
            layout_entry(1, storage(false), false, 0),
            layout_entry(2, storage(true), false, 16),
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

fn check_buffer(fill: &Fill, length: u64, buffer: &wgpu::Buffer, offset: u64) -> Result<()> {
    if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
        return Err(Error::BufferUsage {
            tensor: fill.name().to_owned(),
            missing: "STORAGE",
        });
    }
    let needed = offset
        .checked_add(length)
        .and_then(|elements| elements.checked_mul(fill.dtype().size()))
        .and_then(|bytes| bytes.checked_next_multiple_of(4))
        .unwrap_or(u64::MAX);
    if length > 0 && needed > buffer.size() {
        return Err(Error::BufferTooSmall {
            tensor: fill.name().to_owned(),
            needed,
            available: buffer.size(),
        });
    }
    Ok(())
}

pub(super) fn context(fill: &Fill) -> String {
    format!("filling tensor {:?}", fill.name())
}

fn unsupported(detail: String) -> Error {
    Error::Device {
        context: "making an initializer".into(),
        detail,
    }
}
