//! Fills of `wgpu` buffers on the GPU, in place, with the same bits as [`crate::cpu`].
//!
//! * [`Initializer`] records fills into your own encoder or compute pass and into your own
//!   buffers. Make one for each device and keep it: it holds the compiled pipelines.
//! * [`Gpu`] is a device that fanin opens, for programs that have none: the command line, tests.
//!   [`ReadBack`] brings its fills to the host, working ahead.
//! * [`raw`] is for hosts other than wgpu. The feature `raw` alone has it, without wgpu.
//!
#![cfg_attr(feature = "gpu", doc = "```")]
#![cfg_attr(not(feature = "gpu"), doc = "```ignore")]
//! use fanin::{DType, Fill, Init, Tensor, gpu};
//!
//! # fn main() -> fanin::Result<()> {
//! # if std::env::var("FANIN_TEST_NO_GPU").is_ok_and(|value| value == "1") { return Ok(()); }
//! # let own = gpu::Gpu::headless(&gpu::Options::default())?;
//! # let (device, queue) = (own.device(), own.queue());
//! let initializer = gpu::Initializer::new(device, queue)?;
//!
//! let tensor = Tensor::new("fc.weight", [256, 784])?;
//! let fill = Fill::new(&tensor, &Init::kaiming_normal(), 42)?.with_dtype(DType::BF16);
//! let weights = device.create_buffer(&wgpu::BufferDescriptor {
//!     label: Some("fc.weight"),
//!     size: fill.buffer_size(),
//!     usage: wgpu::BufferUsages::STORAGE,
//!     mapped_at_creation: false,
//! });
//!
//! let mut encoder = device.create_command_encoder(&Default::default());
//! initializer.fill(&mut encoder, &fill, &weights, 0)?;
//! // ... and the passes that train on `weights`.
//! queue.submit([encoder.finish()]);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(not(feature = "gpu"), allow(rustdoc::broken_intra_doc_links))]

mod batch;
#[cfg(feature = "gpu")]
mod device;
mod dispatch;
#[cfg(feature = "gpu")]
mod headless;
#[cfg(feature = "gpu")]
mod initializer;
mod limits;
#[cfg(feature = "gpu")]
mod orthogonal;
mod overlap;
#[cfg(all(feature = "gpu", feature = "recipe"))]
mod plan;
mod probe;
pub mod raw;
#[cfg(feature = "gpu")]
mod read_back;
mod shader;
#[cfg(feature = "gpu")]
mod steps;

#[cfg(feature = "gpu")]
pub use device::InitializerOptions;
#[cfg(feature = "gpu")]
pub use headless::{AdapterReport, Gpu, Options, adapters, adapters_async};
#[cfg(feature = "gpu")]
pub use initializer::{Initializer, Target};
#[cfg(feature = "gpu")]
pub use read_back::ReadBack;
