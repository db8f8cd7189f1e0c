//! A device as fills use it: limits, pipelines, buffers with contents, and errors.

pub(super) mod map;
pub(super) mod pipeline;
pub(super) mod probe;
pub(super) mod scope;
mod upload;

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::job::{Core, FillTable, Job};

use super::batch::Batching;
use super::dispatch::Request;
use super::limits::Limits;
use super::shader::{MAX_REQUESTS, fill_table, has_short_table};
use pipeline::{FillPipelines, UNIFORM_ENTRIES};
use scope::checked;

/// Bytes of the uniform buffer that a dispatch of many requests binds.
const BATCH_BYTES: u64 = (MAX_REQUESTS * size_of::<Request>()) as u64;

/// Bytes of a table in a uniform buffer.
const UNIFORM_TABLE_BYTES: u64 = (UNIFORM_ENTRIES * size_of::<[u32; 4]>()) as u64;

/// The most tables that a device keeps. A model has a handful of distinct ones.
const MAX_TABLES: usize = 16;

/// Choices that change the speed of fills on a device, never their bits.
#[derive(Clone, Debug, Default)]
pub struct InitializerOptions {
    /// Lets the shaders use 64-bit integers, or not. By default they do if the device has the feature
    /// `SHADER_INT64`. `Some(true)` on a device without it is an error.
    pub int64: Option<bool>,
    /// Invocations of a workgroup, from 1 to the device's limit. The default is 256, or the limit if
    /// that is smaller.
    pub workgroup_size: Option<u32>,
    /// Puts the tables of normal and truncated distributions in uniform buffers, or in storage buffers.
    /// The default is uniform buffers on software drivers, which read those faster, and storage
    /// buffers on hardware.
    pub uniform_tables: Option<bool>,
    /// Lets an invocation make four blocks of the stream, if they fit, and store them in 64-bit words.
    /// By default it does with 64-bit integers and tables in uniform buffers, as on some
    /// software drivers. `Some(true)` without them is an error.
    pub runs: Option<bool>,
    /// Makes values in floats, which is faster, or in integers. By default a probe of
    /// the device decides. [`Initializer::new`](super::Initializer::new) in a browser cannot wait for
    /// the probe and takes integers. `Some(true)` gives the same bits only on a device that keeps to
    /// the rules of WGSL.
    pub exact_floats: Option<bool>,
    /// The most bytes that one dispatch fills. The default is the device's
    /// `max_storage_buffer_binding_size`.
    pub max_binding_size: Option<u64>,
}

/// A device, with the choices, pipelines and tables that its fills share.
#[derive(Debug)]
pub(super) struct FillDevice {
    pub wgpu: wgpu::Device,
    pub pipelines: FillPipelines,
    pub limits: Limits,
    pub batching: Batching,
    /// The alignment in bytes of a dispatch's requests in the buffer of all requests.
    pub request_alignment: usize,
    /// True if invocations make several blocks when they fit.
    pub runs: bool,
    pub int64: bool,
    uniform_tables: bool,
    /// The tables on the device, so that fills of one distribution share theirs.
    tables: Mutex<Vec<(FillTable, wgpu::Buffer)>>,
}

impl FillDevice {
    /// Checks the options against the device, and compiles the shader.
    pub fn new(
        device: &wgpu::Device,
        options: &InitializerOptions,
        exact_floats: bool,
    ) -> Result<FillDevice> {
        let has_int64 = device.features().contains(wgpu::Features::SHADER_INT64);
        let int64 = options.int64.unwrap_or(has_int64);
        if int64 && !has_int64 {
            return Err(unsupported(
                "int64 is true, but the device was made without SHADER_INT64".into(),
            ));
        }
        let device_limits = device.limits();
        let most = device_limits
            .max_compute_workgroup_size_x
            .min(device_limits.max_compute_invocations_per_workgroup);
        let workgroup_size = options.workgroup_size.unwrap_or(most.min(256));
        if workgroup_size == 0 || workgroup_size > most {
            return Err(unsupported(format!(
                "workgroup_size is {workgroup_size}, but the device accepts 1 to {most}"
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
        limits.check()?;
        let software = device.adapter_info().device_type == wgpu::DeviceType::Cpu;
        let largest_uniform = device_limits.max_uniform_buffer_binding_size;
        let uniform_tables = options
            .uniform_tables
            .unwrap_or(software && largest_uniform >= UNIFORM_TABLE_BYTES);
        if uniform_tables && largest_uniform < UNIFORM_TABLE_BYTES {
            return Err(unsupported(format!(
                "uniform_tables needs uniform buffers of {UNIFORM_TABLE_BYTES} bytes, but the device \
                 binds at most {largest_uniform}"
            )));
        }
        let runs = options.runs.unwrap_or(int64 && uniform_tables);
        if runs && !(int64 && uniform_tables) {
            return Err(unsupported(
                "runs needs 64-bit integers and tables in uniform buffers".into(),
            ));
        }
        let batching = Batching {
            requests: if largest_uniform >= BATCH_BYTES {
                MAX_REQUESTS
            } else {
                1
            },
            // A software driver starts a dispatch at once, and the shader for one request does not
            // search for it.
            elements: if software { 1 << 16 } else { u64::MAX },
        };
        let context = || "compiling the fill shader".to_owned();
        let pipelines = checked(device, context, || {
            FillPipelines::new(device, int64, workgroup_size)
        })?;
        Ok(FillDevice {
            wgpu: device.clone(),
            pipelines,
            limits,
            batching,
            request_alignment: device_limits.min_uniform_buffer_offset_alignment as usize,
            runs,
            int64,
            uniform_tables,
            tables: Mutex::default(),
        })
    }

    /// Returns whether fills of a core read their table from a uniform buffer.
    pub fn has_uniform_table(&self, core: Core) -> bool {
        self.uniform_tables && has_short_table(core)
    }

    /// Returns the table of a job on the device. Jobs that share a table share the buffer.
    pub fn table(&self, job: &Job, context: impl Fn() -> String) -> Result<wgpu::Buffer> {
        let table = fill_table(job);
        // A poisoned list is still valid: it only ever holds finished buffers.
        let mut known = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        // The list keeps its tables alive, so an address never comes to mean another table.
        if let Some((_, buffer)) = known.iter().find(|(known, _)| Arc::ptr_eq(known, &table)) {
            return Ok(buffer.clone());
        }
        let mut entries = table.to_vec();
        let mut usage = wgpu::BufferUsages::STORAGE;
        if self.has_uniform_table(job.core) {
            // The shader declares a uniform table with a fixed length.
            entries.resize(2 * UNIFORM_ENTRIES, [0; 2]);
            usage = wgpu::BufferUsages::UNIFORM;
        }
        let contents = bytemuck::cast_slice(&entries);
        let buffer = self.upload("fanin fill table", contents, usage, context)?;
        // A buffer that is in use stays alive: bind groups hold it.
        if known.len() >= MAX_TABLES {
            known.clear();
        }
        known.push((table, buffer.clone()));
        Ok(buffer)
    }

    /// Makes a buffer with contents, whose length is a multiple of 4 bytes.
    pub fn upload(
        &self,
        label: &'static str,
        contents: &[u8],
        usage: wgpu::BufferUsages,
        context: impl Fn() -> String,
    ) -> Result<wgpu::Buffer> {
        upload::upload(&self.wgpu, label, contents, usage, context)
    }
}

fn unsupported(detail: String) -> Error {
    Error::Device {
        context: "making an initializer".into(),
        detail,
    }
}
