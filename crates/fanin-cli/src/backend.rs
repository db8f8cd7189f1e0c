//! The choice of the backend that makes the weights.

use fanin::checkpoint::Make;
use fanin::cpu;
#[cfg(feature = "gpu")]
use fanin::gpu;

use crate::Failure;
use crate::args::{BackendArguments, BackendKind};
use crate::output::status;

/// A backend that is ready to fill.
pub enum Backend {
    /// The CPU, with its number of threads.
    Cpu(usize),
    /// A GPU, with a device that fanin opened.
    #[cfg(feature = "gpu")]
    Gpu(Box<gpu::Gpu>),
}

impl Backend {
    /// Opens the backend that the arguments ask for. With `auto`, it reports the choice and its
    /// reason on standard error. Among several equally good GPUs, `local_rank` picks one.
    pub fn choose(arguments: &BackendArguments, local_rank: u64) -> Result<Self, Failure> {
        no_adapter_for_the_cpu(arguments.backend, arguments.adapter.as_deref())?;
        match arguments.backend {
            BackendKind::Cpu => Ok(Backend::cpu()),
            BackendKind::Gpu => Backend::gpu(arguments, local_rank),
            BackendKind::Auto => Backend::auto(arguments, local_rank),
        }
    }

    fn cpu() -> Self {
        Backend::Cpu(rayon::current_num_threads())
    }

    #[cfg(feature = "gpu")]
    fn gpu(arguments: &BackendArguments, local_rank: u64) -> Result<Self, Failure> {
        let options = gpu::Options {
            adapter: arguments.adapter.clone(),
            index: index(local_rank),
            ..gpu::Options::default()
        };
        Ok(Backend::Gpu(Box::new(gpu::Gpu::headless(&options)?)))
    }

    /// Opens a GPU if there is one, else the CPU. A software driver is slower than the CPU backend
    /// on the same cores, so `auto` does not use it unless `--adapter` names it.
    #[cfg(feature = "gpu")]
    fn auto(arguments: &BackendArguments, local_rank: u64) -> Result<Self, Failure> {
        if arguments.adapter.is_some() {
            return Backend::gpu(arguments, local_rank);
        }
        let options = gpu::Options {
            index: index(local_rank),
            ..gpu::Options::default()
        };
        let why = match gpu::Gpu::headless(&options) {
            Ok(gpu) if is_hardware(gpu.info()) => {
                let backend = Backend::Gpu(Box::new(gpu));
                status(&format!("filling on the {}", backend.describe()));
                return Ok(backend);
            }
            Ok(gpu) => format!(
                "the best adapter, {}, is a software driver (--backend gpu takes it)",
                gpu.info().name
            ),
            Err(error) => error.to_string(),
        };
        let backend = Backend::cpu();
        status(&format!("filling on the {}: {why}", backend.describe()));
        Ok(backend)
    }

    #[cfg(not(feature = "gpu"))]
    fn gpu(_arguments: &BackendArguments, _local_rank: u64) -> Result<Self, Failure> {
        Err(Failure::Run(WITHOUT_GPU.to_owned()))
    }

    #[cfg(not(feature = "gpu"))]
    fn auto(arguments: &BackendArguments, local_rank: u64) -> Result<Self, Failure> {
        if arguments.adapter.is_some() {
            return Backend::gpu(arguments, local_rank);
        }
        let backend = Backend::cpu();
        status(&format!(
            "filling on the {}: {WITHOUT_GPU}",
            backend.describe()
        ));
        Ok(backend)
    }

    /// Returns a description such as `CPU, 16 threads` or `GPU, NVIDIA H100 by vulkan`.
    pub fn describe(&self) -> String {
        match self {
            Backend::Cpu(1) => "CPU, 1 thread".to_owned(),
            Backend::Cpu(threads) => format!("CPU, {threads} threads"),
            #[cfg(feature = "gpu")]
            Backend::Gpu(gpu) => {
                let info = gpu.info();
                format!("GPU, {} by {}", info.name, info.backend)
            }
        }
    }

    /// Returns the maker of a checkpoint's weights.
    pub fn maker(&self) -> Box<dyn Make + '_> {
        match self {
            Backend::Cpu(_) => Box::new(cpu::fill_range),
            #[cfg(feature = "gpu")]
            Backend::Gpu(gpu) => Box::new(gpu::ReadBack::new(gpu)),
        }
    }
}

/// Converts a local rank to an index of adapters, which the library takes modulo their number.
#[cfg(feature = "gpu")]
fn index(local_rank: u64) -> usize {
    usize::try_from(local_rank).unwrap_or(0)
}

/// Refuses `--adapter` with `--backend cpu`.
pub fn no_adapter_for_the_cpu(backend: BackendKind, adapter: Option<&str>) -> Result<(), Failure> {
    match (backend, adapter) {
        (BackendKind::Cpu, Some(_)) => Err(Failure::Usage(
            "--adapter names a GPU: leave it out, or use --backend gpu".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Returns true if an adapter is a GPU, not a driver that computes on the CPU.
#[cfg(feature = "gpu")]
pub fn is_hardware(adapter: &fanin::wgpu::AdapterInfo) -> bool {
    use fanin::wgpu::DeviceType::{DiscreteGpu, IntegratedGpu, VirtualGpu};
    matches!(
        adapter.device_type,
        DiscreteGpu | IntegratedGpu | VirtualGpu
    )
}

/// The error message for `--backend gpu` in a build without the feature gpu.
#[cfg(not(feature = "gpu"))]
pub const WITHOUT_GPU: &str = "this fanin was built without the feature gpu";
