//! Initial weights for the modules of [burn](https://docs.rs/burn) by [fanin](https://docs.rs/fanin), made
//! directly in GPU memory: the same seed gives the same bits on every backend, device and run.
//!
//! * [`InitWithFanin::init_with_fanin`] fills every parameter of a module as a [recipe](fanin::recipe) says,
//!   by the parameter's path.
//! * [`init_device`] opens burn's wgpu device so that fanin can write into its buffers.
//! * [`FaninInitializer`] replaces burn's own `Initializer` in a module's constructor.
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::Device;
//! use fanin::Recipe;
//! use fanin_burn::InitWithFanin;
//!
//! #[derive(Module, Debug)]
//! struct Mlp {
//!     fc1: Linear,
//!     fc2: Linear,
//! }
//!
//! # fn main() -> fanin_burn::Result<()> {
//! # if std::env::var("FANIN_TEST_NO_GPU").is_ok_and(|value| value == "1") { return Ok(()); }
//! let device = fanin_burn::init_device(Device::wgpu_options())?;
//! let mlp = Mlp {
//!     fc1: LinearConfig::new(784, 128).init(&device),
//!     fc2: LinearConfig::new(128, 10).init(&device),
//! };
//! // This preset contains burn's own defaults. Any other preset or your own recipe works too.
//! let (mlp, report) = mlp.init_with_fanin_report(&Recipe::preset("burn")?, 42)?;
//! assert!(report.all_on_gpu());
//! # // A software driver may crash if the program ends while it fills.
//! # let _ = (mlp.fc1.weight.val().into_data(), mlp.fc2.weight.val().into_data());
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! `fusion` (default) is for a burn that fuses kernels, as burn does by default. Without fusion in burn,
//! use `default-features = false` for this crate.

mod cube;
mod error;
mod fill;
mod initializer;
mod module;
mod report;
mod shared;

pub use error::{Error, Result};
pub use initializer::{FaninInitializer, SeededInitializer};
pub use module::InitWithFanin;
pub use report::{FilledParameter, Path, Reason, Report};
pub use shared::{init_device, init_device_with, share_device};

#[cfg(test)]
extern crate self as fanin_burn;
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
