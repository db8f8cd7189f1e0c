//! A device that fanin opens, for programs that have none.

use std::cmp::Reverse;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::{Distribution, DistributionKind};
use crate::job::Stored;
use crate::text::quoted;

use super::device::InitializerOptions;
use super::device::map::read;
use super::device::scope::{device_error, new_buffer};
use super::initializer::{Initializer, Target};
use super::steps::{DeviceMatrix, FillPiece};

/// The most bytes that are read back at a time, which bounds the memory on both sides.
const READ_BACK_BYTES: u64 = 64 << 20;

/// The choice of an adapter, and options for its device.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Words that must all occur in the adapter's name, backend, kind or driver, in any case, as in
    /// "nvidia" or "llvmpipe vulkan". The default is the best adapter: a discrete GPU before an
    /// integrated one before a software driver.
    pub adapter: Option<String>,
    /// The index of the adapter among those as good as the best, modulo their number. So each process
    /// of a machine can take its own GPU by its local rank.
    pub index: usize,
    /// Lets the shaders use 64-bit integers, or not. By default they do if the adapter supports them.
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
    /// The last matrix made, kept so that a tensor read in pieces is made once.
    matrix: Mutex<Option<CachedMatrix>>,
}

/// The matrix of an orthogonal fill, and the numbers that it depends on.
#[derive(Debug)]
struct CachedMatrix {
    seed: u64,
    stream: u64,
    distribution: Distribution,
    matrix: DeviceMatrix,
}

impl Gpu {
    /// Opens a device and waits for it. In a browser use [`headless_async`](Gpu::headless_async).
    ///
    /// On Linux without a desktop, libwayland may write "error: XDG_RUNTIME_DIR is invalid or not set"
    /// to standard error, which is harmless: Mesa's Vulkan layer for the choice of a GPU looks for a
    /// compositor. Only the variable `NODEVICE_SELECT=1` in the environment of the process switches
    /// the layer off.
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
    /// The errors of [`headless`](Gpu::headless).
    pub async fn headless_async(options: &Options) -> Result<Gpu> {
        // OpenGL comes last, because looking for it costs start-up time that a modern driver saves.
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

    /// Opens a device on each adapter that [`Options::adapter`] describes, best first: for machines
    /// with several GPUs, and to compare drivers.
    ///
    /// # Errors
    ///
    /// Each device can fail on its own, with the errors of [`headless`](Gpu::headless).
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

    /// Returns the description of the adapter.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.info
    }

    /// Returns the device.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// Returns the device's queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Returns the device's initializer.
    pub fn initializer(&self) -> &Initializer {
        &self.initializer
    }

    /// Makes a buffer that holds the fill, with usages `STORAGE | COPY_SRC | COPY_DST` and the size
    /// [`Fill::buffer_size`]. Returns once the fill is submitted.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device has no room for it, or is lost.
    pub fn fill_buffer(&self, fill: &Fill) -> Result<wgpu::Buffer> {
        let buffer = self.new_buffer(fill, fill.bytes())?;
        self.initializer.submit(&self.queue, fill, &buffer, 0)?;
        Ok(buffer)
    }

    /// Makes buffers that hold the weights and biases of dense layers, from input to output, as
    /// [`dense_layers`](crate::init::dense_layers) describes them.
    ///
    /// # Errors
    ///
    /// The errors of [`fill_buffer`](Gpu::fill_buffer).
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

    /// Fills on the GPU and reads back.
    ///
    /// `out` gets the elements from `start` on, counted in the slice's own row-major order, as raw
    /// little-endian bytes. This waits for the device. In a browser use
    /// [`fill_range_to_host_async`](Gpu::fill_range_to_host_async).
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`] if `out` is not a whole number of elements or reaches past the
    /// end of the slice; [`Error::Device`] if the device fails or is lost.
    pub fn fill_range_to_host(&self, fill: &Fill, start: u64, out: &mut [u8]) -> Result<()> {
        pollster::block_on(self.fill_range_to_host_async(fill, start, out))
    }

    /// Fills on the GPU and reads back without blocking a browser's thread. Natively it waits in place,
    /// as [`fill_range_to_host`](Gpu::fill_range_to_host) does.
    ///
    /// # Errors
    ///
    /// The errors of [`fill_range_to_host`](Gpu::fill_range_to_host).
    pub async fn fill_range_to_host_async(
        &self,
        fill: &Fill,
        start: u64,
        out: &mut [u8],
    ) -> Result<()> {
        let (made, stored) = Stored::on_device(fill)?;
        fill.check_range(start, out.len() as u64)?;
        let (size, made_size) = (fill.dtype().size(), made.dtype().size());
        // Whole 32-bit words, which hold whole elements of every dtype that a device makes.
        let step = READ_BACK_BYTES.min(self.device.limits().max_buffer_size / 4 * 4);
        let elements = out.len() as u64 / size;
        let buffer = self.new_buffer(fill, step.min(elements * made_size))?;
        let matrix = self.matrix(fill)?;
        let mut values = Vec::new();
        let mut start = start;
        for part in out.chunks_mut((step / made_size * size) as usize) {
            let end = start + part.len() as u64 / size;
            let piece = FillPiece {
                fill: &made,
                range: start..end,
                buffer: &buffer,
                offset: 0,
                matrix: matrix.clone(),
            };
            self.initializer.submit_piece(&self.queue, piece)?;
            match &stored {
                None => self.read_async(&buffer, 0, part).await?,
                Some(jobs) => {
                    values.resize(((end - start) * made_size) as usize, 0);
                    self.read_async(&buffer, 0, &mut values).await?;
                    Stored::convert_all(jobs, start, &values, part);
                }
            }
            start = end;
        }
        if start == fill.elements() {
            // The last piece frees the device's memory.
            self.forget_matrix();
        }
        Ok(())
    }

    /// Frees the last matrix.
    pub(super) fn forget_matrix(&self) {
        *self.matrix.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns the matrix of an orthogonal fill, made once for all of its pieces, or nothing for other
    /// fills.
    pub(super) fn matrix(&self, fill: &Fill) -> Result<Option<DeviceMatrix>> {
        let (seed, stream, distribution) = (fill.seed(), fill.stream(), fill.distribution());
        if !matches!(distribution.kind(), DistributionKind::Orthogonal { .. }) {
            return Ok(None);
        }
        let mut last = self.matrix.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*last
            && (made.seed, made.stream) == (seed, stream)
            && made.distribution == *distribution
        {
            return Ok(Some(made.matrix.clone()));
        }
        // The old matrix is freed before the new one is made, so that only one needs memory.
        *last = None;
        let matrix = self.initializer.submit_matrix(&self.queue, fill)?;
        *last = matrix.clone().map(|matrix| CachedMatrix {
            seed,
            stream,
            distribution: distribution.clone(),
            matrix,
        });
        Ok(matrix)
    }

    /// Copies bytes of a buffer of this device, made with `COPY_SRC`, to the host.
    ///
    /// A buffer of another device is an error, but one of another [`wgpu::Instance`] is
    /// [not detected](Initializer#handles-of-one-device). `offset` is in bytes, a multiple of 4. This waits for the device. In a browser use
    /// [`read_async`](Gpu::read_async).
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the range does not fit, the buffer cannot be copied, or the device is
    /// lost.
    pub fn read(&self, buffer: &wgpu::Buffer, offset: u64, out: &mut [u8]) -> Result<()> {
        pollster::block_on(self.read_async(buffer, offset, out))
    }

    /// Copies bytes of a buffer to the host without blocking a browser's thread. Natively it waits in
    /// place, as [`read`](Gpu::read) does.
    ///
    /// # Errors
    ///
    /// The errors of [`read`](Gpu::read).
    pub async fn read_async(
        &self,
        buffer: &wgpu::Buffer,
        offset: u64,
        out: &mut [u8],
    ) -> Result<()> {
        read(&self.device, &self.queue, buffer, offset, out).await
    }

    fn new_buffer(&self, fill: &Fill, bytes: u64) -> Result<wgpu::Buffer> {
        let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        new_buffer(&self.device, fill, bytes, usage)
    }
}

/// The properties of an adapter, for people and programs that choose one.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AdapterReport {
    /// The adapter's name, such as "NVIDIA H200".
    pub name: String,
    /// The graphics interface of the adapter: "vulkan", "metal", "dx12", "gl".
    pub backend: String,
    /// "discrete", "integrated", "virtual", "software" or "other".
    pub device_type: String,
    /// The driver's name.
    pub driver: String,
    /// The driver's version.
    pub driver_info: String,
    /// True if shaders can use 64-bit integers, which makes fills faster, with the same bits.
    pub int64: bool,
    /// True if passes can be timed on the device.
    pub timestamp_query: bool,
    /// The most bytes of one binding. Larger fills take several.
    pub max_storage_buffer_binding_size: u64,
    /// The most bytes of one buffer.
    pub max_buffer_size: u64,
    /// The most invocations of one workgroup.
    pub max_compute_invocations_per_workgroup: u32,
}

/// Returns every adapter that can compute, best first. It is empty without a driver.
pub fn adapters() -> Vec<AdapterReport> {
    pollster::block_on(adapters_async())
}

/// Returns every adapter that can compute, best first, without blocking a browser's thread. It is
/// empty without a driver.
pub async fn adapters_async() -> Vec<AdapterReport> {
    let found = computing_adapters(wgpu::Backends::all()).await;
    found.iter().map(report).collect()
}

/// Returns the adapters that can compute, best first.
async fn computing_adapters(backends: wgpu::Backends) -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    // Backends that WGPU_BACKEND excludes stay excluded.
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

/// Returns a key that sorts hardware before software, and the modern interfaces before OpenGL.
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

/// Returns the text in which [`Options::adapter`] is searched.
fn describe(adapter: &wgpu::Adapter) -> String {
    let info = adapter.get_info();
    let parts = [
        info.name.as_str(),
        info.backend.to_str(),
        device_type(info.device_type),
        &info.driver,
        &info.driver_info,
    ];
    let known = parts.into_iter().filter(|part| !part.is_empty());
    known.collect::<Vec<_>>().join(", ")
}

fn no_adapter(options: &Options, seen: &[String]) -> Error {
    let seen = if seen.is_empty() {
        "found none: install a Vulkan, Metal, Direct3D 12 or OpenGL driver".to_owned()
    } else {
        format!("found {}", seen.join("; "))
    };
    let detail = match &options.adapter {
        Some(text) => format!("no adapter matches {}; {seen}", quoted(text)),
        None => seen,
    };
    Error::NoAdapter { detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::device::probe;
    use crate::gpu::probe::SHADER;

    /// Runs shaders that break the rule on purpose on every adapter of the machine.
    #[test]
    fn the_probe_detects_floats_that_are_not_exact() {
        if std::env::var("FANIN_TEST_NO_GPU").is_ok_and(|value| value == "1") {
            println!("FANIN_TEST_NO_GPU=1: no device is probed");
            return;
        }
        let devices = Gpu::headless_all(&Default::default());
        assert!(!devices.is_empty(), "no GPU driver");
        for gpu in devices {
            let gpu = gpu.unwrap();
            let probe = |text: &str| {
                pollster::block_on(probe::run(gpu.device(), gpu.queue(), text)).unwrap()
            };
            assert!(probe(SHADER), "{:?}", gpu.info());
            let exact = "vec4<f32>(p) * power";
            assert_eq!(SHADER.matches(exact).count(), 1);
            for broken in [
                "(vec4<f32>(p) * power) * 1.0000001",
                "vec4<f32>(p & vec4<i32>(-2)) * power",
                "vec4<f32>(p + vec4<i32>(1)) * power",
            ] {
                assert!(!probe(&SHADER.replace(exact, broken)), "{broken}");
            }
        }
    }
}
