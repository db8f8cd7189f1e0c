//! A device of fanin's own, for programs that have none.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::Distribution;

use super::initializer::{Initializer, InitializerOptions, Target};
use super::map::read;
use super::orthogonal::Matrix;
use super::prepare::Piece;
use super::scope::{checked, device_error};

/// Bytes of one step of a fill that is read back: bounds the memory on both sides.
const READ_BACK_BYTES: u64 = 64 << 20;

/// Which adapter to take, and how to use it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Words that must all stand in the adapter's name, backend, kind or driver, in any case, as
    /// in "nvidia" or "llvmpipe vulkan". By default the best adapter is taken: a discrete GPU
    /// before an integrated one before a software driver.
    pub adapter: Option<String>,
    /// Which of several adapters as good as the best, from 0, counted round: each process of a
    /// machine takes its own GPU by its local rank.
    pub index: usize,
    /// Whether the shaders use 64-bit integers; by default they do where the adapter can.
    pub int64: Option<bool>,
}

impl Options {
    fn wants(&self, adapter: &wgpu::Adapter) -> bool {
        let words = self.adapter.as_deref().unwrap_or_default().to_lowercase();
        let description = describe(adapter).to_lowercase();
        words
            .split_whitespace()
            .all(|word| description.contains(word))
    }
}

/// A headless device with its queue and initializer.
#[derive(Debug)]
pub struct Gpu {
    info: wgpu::AdapterInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
    initializer: Initializer,
    /// The matrix that was made last, so that a tensor that is read in pieces is made once.
    matrix: Mutex<Option<Arc<Made>>>,
}

/// The matrix of an orthogonal fill, made on the device, and what it depends on.
pub(super) struct Made {
    seed: u64,
    stream: u64,
    distribution: Distribution,
    matrix: Matrix,
}

impl Made {
    pub(super) fn matrix(&self) -> &Matrix {
        &self.matrix
    }
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.distribution.fmt(f)
    }
}

impl Gpu {
    /// Opens a device, waiting for it. Not for browsers: [`headless_async`](Gpu::headless_async).
    ///
    /// # Errors
    ///
    /// [`Error::NoAdapter`] if there is no adapter that computes, or none that
    /// [`Options::adapter`] describes; [`Error::Device`] if the driver gives no device.
    pub fn headless(options: &Options) -> Result<Gpu> {
        pollster::block_on(Gpu::headless_async(options))
    }

    /// Opens a device.
    ///
    /// # Errors
    ///
    /// Those of [`headless`](Gpu::headless).
    pub async fn headless_async(options: &Options) -> Result<Gpu> {
        // OpenGL is looked at last: where a modern driver serves, it would only cost start-up time.
        let mut seen = Vec::new();
        for backends in [!wgpu::Backends::GL, wgpu::Backends::GL] {
            let (mut wanted, others): (Vec<_>, Vec<_>) = computing_adapters(backends)
                .await
                .into_iter()
                .partition(|adapter| options.wants(adapter));
            if let Some(best) = wanted.first().map(preference) {
                wanted.retain(|adapter| preference(adapter) == best);
                let adapter = &wanted[options.index % wanted.len()];
                return Gpu::open(adapter, options.int64).await;
            }
            seen.extend(others.iter().map(describe));
        }
        Err(no_adapter(options, &seen))
    }

    /// A device on each adapter that [`Options::adapter`] describes, best first: for machines
    /// with several GPUs, and to compare drivers.
    ///
    /// # Errors
    ///
    /// Each device on its own: those of [`headless`](Gpu::headless).
    pub fn headless_all(options: &Options) -> Vec<Result<Gpu>> {
        pollster::block_on(async {
            let mut opened = Vec::new();
            for adapter in computing_adapters(wgpu::Backends::all()).await {
                if options.wants(&adapter) {
                    opened.push(Gpu::open(&adapter, options.int64).await);
                }
            }
            opened
        })
    }

    /// Opens a device on an adapter, with the features that help and all its limits.
    async fn open(adapter: &wgpu::Adapter, int64: Option<bool>) -> Result<Gpu> {
        let info = adapter.get_info();
        let helpful = wgpu::Features::SHADER_INT64 | wgpu::Features::TIMESTAMP_QUERY;
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("fanin"),
                required_features: adapter.features() & helpful,
                required_limits: adapter.limits(),
                ..Default::default()
            })
            .await
            .map_err(|error| device_error(format!("opening {}", describe(adapter)), &error))?;
        let options = InitializerOptions {
            int64,
            ..InitializerOptions::default()
        };
        let initializer = Initializer::with_options_async(&device, &queue, &options).await?;
        Ok(Gpu {
            info,
            device,
            queue,
            initializer,
            matrix: Mutex::default(),
        })
    }

    /// What the adapter says of itself.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.info
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// The device's queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// The device's initializer.
    pub fn initializer(&self) -> &Initializer {
        &self.initializer
    }

    /// A new buffer that holds the fill, with usages `STORAGE | COPY_SRC | COPY_DST`. Its size is
    /// [`Fill::bytes`] rounded up to whole 32-bit words. Returns once the fill is submitted.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device has no room for it, or is lost.
    pub fn fill_buffer(&self, fill: &Fill) -> Result<wgpu::Buffer> {
        let buffer = self.new_buffer(fill, fill.bytes())?;
        self.initializer.submit(&self.queue, fill, &buffer, 0)?;
        Ok(buffer)
    }

    /// The weights and biases of dense layers in GPU memory, from input to output, as
    /// [`dense_layers`](crate::init::dense_layers) describes them.
    ///
    /// # Errors
    ///
    /// Those of [`fill_buffer`](Gpu::fill_buffer).
    pub fn fill_layers(
        &self,
        layers: &[crate::init::DenseLayer],
    ) -> Result<Vec<(wgpu::Buffer, wgpu::Buffer)>> {
        let buffer = |fill: &Fill| self.new_buffer(fill, fill.bytes());
        let buffers = layers
            .iter()
            .map(|layer| Ok((buffer(&layer.weight)?, buffer(&layer.bias)?)))
            .collect::<Result<Vec<_>>>()?;
        let targets: Vec<Target<'_>> = layers
            .iter()
            .zip(&buffers)
            .flat_map(|(layer, (weight, bias))| {
                [
                    Target::new(&layer.weight, weight, 0),
                    Target::new(&layer.bias, bias, 0),
                ]
            })
            .collect();
        self.initializer.submit_all(&self.queue, &targets)?;
        Ok(buffers)
    }

    /// Fills on the GPU and reads back: `out` gets the elements from `start` on, counted in the
    /// slice's own row-major order, as raw little-endian bytes. Waits for the device; in a browser
    /// use [`fill_range_to_host_async`](Gpu::fill_range_to_host_async).
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`] if `out` is no whole number of elements or reaches past the end
    /// of the slice; [`Error::Device`] if the device fails or is lost.
    pub fn fill_range_to_host(&self, fill: &Fill, start: u64, out: &mut [u8]) -> Result<()> {
        pollster::block_on(self.fill_range_to_host_async(fill, start, out))
    }

    /// The same without blocking a browser's thread. Natively it waits in place all the same.
    ///
    /// # Errors
    ///
    /// Those of [`fill_range_to_host`](Gpu::fill_range_to_host).
    pub async fn fill_range_to_host_async(
        &self,
        fill: &Fill,
        start: u64,
        out: &mut [u8],
    ) -> Result<()> {
        let size = fill.dtype().size();
        fill.check_range(start, out.len() as u64)?;
        let step = READ_BACK_BYTES.min(self.device.limits().max_buffer_size / 4 * 4);
        let buffer = self.new_buffer(fill, step.min(out.len() as u64))?;
        let made = self.matrix(fill)?;
        let matrix = made.as_ref().map(|made| &made.matrix);
        let mut start = start;
        for part in out.chunks_mut(step as usize) {
            let end = start + part.len() as u64 / size;
            let piece = Piece {
                fill,
                range: start..end,
                buffer: &buffer,
                offset: 0,
                matrix,
            };
            self.initializer.submit_piece(&self.queue, piece)?;
            self.read_async(&buffer, 0, part).await?;
            start = end;
        }
        if start == fill.elements() {
            // The last piece: the device's memory is wanted for other things.
            self.forget_matrix();
        }
        Ok(())
    }

    /// Gives the memory of the last matrix back.
    pub(super) fn forget_matrix(&self) {
        *self.matrix.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The matrix of an orthogonal fill, made once for all of its pieces; nothing for others.
    pub(super) fn matrix(&self, fill: &Fill) -> Result<Option<Arc<Made>>> {
        let distribution = *fill.distribution();
        if !matches!(distribution, Distribution::Orthogonal { .. }) {
            return Ok(None);
        }
        let mut last = self.matrix.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*last
            && (made.seed, made.stream) == (fill.seed(), fill.stream())
            && made.distribution == distribution
        {
            return Ok(Some(Arc::clone(made)));
        }
        *last = None;
        let matrix = self.initializer.submit_matrix(&self.queue, fill)?;
        *last = matrix.map(|matrix| {
            Arc::new(Made {
                seed: fill.seed(),
                stream: fill.stream(),
                distribution,
                matrix,
            })
        });
        Ok(last.clone())
    }

    /// Copies bytes of a buffer of this device, made with `COPY_SRC`, to the host, and waits for
    /// them; in a browser use [`read_async`](Gpu::read_async). `offset` is in bytes, a multiple
    /// of 4.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the range does not fit, the buffer cannot be copied, or the device is
    /// lost.
    pub fn read(&self, buffer: &wgpu::Buffer, offset: u64, out: &mut [u8]) -> Result<()> {
        pollster::block_on(self.read_async(buffer, offset, out))
    }

    /// The same without blocking a browser's thread. Natively it waits in place all the same.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Gpu::read).
    pub async fn read_async(
        &self,
        buffer: &wgpu::Buffer,
        offset: u64,
        out: &mut [u8],
    ) -> Result<()> {
        read(&self.device, &self.queue, buffer, offset, out).await
    }

    fn new_buffer(&self, fill: &Fill, bytes: u64) -> Result<wgpu::Buffer> {
        checked(
            &self.device,
            || format!("making a buffer for tensor {:?}", fill.name()),
            || {
                self.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(fill.name()),
                    size: bytes.next_multiple_of(4).max(4),
                    usage: wgpu::BufferUsages::STORAGE
                        | wgpu::BufferUsages::COPY_SRC
                        | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            },
        )
    }
}

/// An adapter and what it offers, for people and programs that choose one.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AdapterReport {
    /// The adapter's name, such as "NVIDIA H200".
    pub name: String,
    /// The graphics interface it is reached by: "vulkan", "metal", "dx12", "gl".
    pub backend: String,
    /// "discrete", "integrated", "virtual", "software" or "other".
    pub device_type: String,
    /// The driver's name.
    pub driver: String,
    /// The driver's version.
    pub driver_info: String,
    /// Whether shaders can use 64-bit integers: fills are faster, with the same bits.
    pub int64: bool,
    /// Whether passes can be timed on the device.
    pub timestamp_query: bool,
    /// Bytes that one binding can span; larger fills take several.
    pub max_storage_buffer_binding_size: u64,
    /// Bytes of the largest buffer.
    pub max_buffer_size: u64,
    /// Invocations of a workgroup at most.
    pub max_compute_invocations_per_workgroup: u32,
}

/// Every adapter that can compute, best first. Empty where no driver is installed.
pub fn adapters() -> Vec<AdapterReport> {
    pollster::block_on(adapters_async())
}

/// Every adapter that can compute, best first. Empty where no driver is installed.
pub async fn adapters_async() -> Vec<AdapterReport> {
    let found = computing_adapters(wgpu::Backends::all()).await;
    found.iter().map(report).collect()
}

/// Best first.
async fn computing_adapters(backends: wgpu::Backends) -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    // What WGPU_BACKEND leaves out stays out.
    descriptor.backends &= backends;
    let instance = wgpu::Instance::new(descriptor);
    let mut found = instance.enumerate_adapters(backends).await;
    found.retain(|adapter| {
        let downlevel = adapter.get_downlevel_capabilities();
        downlevel
            .flags
            .contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
    });
    found.sort_by_key(preference);
    found
}

/// Sorts real hardware before software, and the modern interfaces before OpenGL.
fn preference(adapter: &wgpu::Adapter) -> (u8, Reverse<bool>, bool) {
    let info = adapter.get_info();
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    let int64 = adapter.features().contains(wgpu::Features::SHADER_INT64);
    (kind, Reverse(int64), info.backend == wgpu::Backend::Gl)
}

fn report(adapter: &wgpu::Adapter) -> AdapterReport {
    let info = adapter.get_info();
    let limits = adapter.limits();
    let features = adapter.features();
    AdapterReport {
        name: info.name,
        backend: info.backend.to_str().to_owned(),
        device_type: device_type(info.device_type).to_owned(),
        driver: info.driver,
        driver_info: info.driver_info,
        int64: features.contains(wgpu::Features::SHADER_INT64),
        timestamp_query: features.contains(wgpu::Features::TIMESTAMP_QUERY),
        max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
        max_buffer_size: limits.max_buffer_size,
        max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
    }
}

fn device_type(kind: wgpu::DeviceType) -> &'static str {
    match kind {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    }
}

/// What [`Options::adapter`] is looked for in.
fn describe(adapter: &wgpu::Adapter) -> String {
    let info = adapter.get_info();
    let parts = [
        info.name.as_str(),
        info.backend.to_str(),
        device_type(info.device_type),
        &info.driver,
        &info.driver_info,
    ];
    let told = parts.into_iter().filter(|part| !part.is_empty());
    told.collect::<Vec<_>>().join(", ")
}

fn no_adapter(options: &Options, seen: &[String]) -> Error {
    let seen = if seen.is_empty() {
        "there is none: a Vulkan, Metal, Direct3D 12 or OpenGL driver is needed".to_owned()
    } else {
        format!("there is: {}", seen.join("; "))
    };
    let detail = match &options.adapter {
        Some(text) => format!("no adapter matches {text:?}; {seen}"),
        None => seen,
    };
    Error::NoAdapter { detail }
}
