//! Initial weights of neural networks, made directly in GPU memory: the same seed gives the
//! same bits on every device and for every slice.
//!
//! A weight is a pure function of the seed, the tensor's name, the element's index in the whole
//! tensor and the initializer. You say what is wanted:
//!
//! 1. a [`Tensor`]: a name, a shape and, where it matters for the fans, a [`Layout`];
//! 2. an [`Init`]: normal, uniform, constant, xavier, kaiming, lecun, ...;
//! 3. a [`Fill`]: both of them with a seed, a [`DType`] and, if only a part is needed, a slice;
//!
//! and hand it to who does it: [`cpu::fill`], or `gpu::Initializer::fill` for a `wgpu` buffer.
//!
//! ```
//! use fanin::{Fill, Init, Tensor, cpu};
//!
//! let tensor = Tensor::new("layers.0.weight", [512, 784])?;
//! let fill = Fill::new(&tensor, &Init::kaiming_normal(), 42)?;
//! let mut weights = vec![0f32; 512 * 784];
//! cpu::fill_slice(&fill, &mut weights)?;
//! # Ok::<(), fanin::Error>(())
//! ```
//!
//! Whole models: a [`Recipe`] gives each tensor of a list its initializer and makes a [`Plan`];
//! [`checkpoint`] reads tensor lists, writes safetensors, verifies and compares them. Models over
//! several devices: a [`Mesh`] and a [`Placement`] for each of its dimensions say what a rank holds
//! of a tensor, a [`ShardSpec`] says it for a whole model; [`placement`] has the details.
//!
//! # Features
//!
//! - `gpu` (default): the module `gpu`, on wgpu 30.
//! - `raw` (part of `gpu`): only `gpu::raw`, fills as data, for hosts other than wgpu.
//!
//! The arithmetic is specified in `docs/STREAM.md` of the repository; it has a version of its
//! own, [`STREAM_VERSION`].

pub mod checkpoint;
pub mod cpu;
mod error;
mod fill;
#[cfg(feature = "raw")]
pub mod gpu;
pub mod init;
mod job;
pub mod kernel;
mod part;
pub mod placement;
mod read;
pub mod recipe;
mod shard_spec;
mod tensor;
#[doc(hidden)]
pub mod text;

pub use error::{Error, Result};
pub use fill::Fill;
pub use init::Init;
pub use kernel::STREAM_VERSION;
pub use part::Part;
pub use placement::{Mesh, Placement};
pub use recipe::{Plan, Recipe};
pub use shard_spec::{LocalPart, ShardSpec};
/// The version of wgpu that the module [`gpu`] works with, so that a program needs no dependency of
/// its own whose version could differ.
#[cfg(feature = "gpu")]
pub use wgpu;

pub use tensor::{
    DType, FanAxes, Layout, ListedTensor, MAX_ELEMENTS, Shape, Slice, Tensor, TensorList, stream_id,
};

/// The examples of the README, compiled and run.
#[cfg(all(doctest, feature = "gpu"))]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// The examples of docs/MODELS.md.
#[cfg(doctest)]
#[doc = include_str!("../docs/MODELS.md")]
pub struct Models;
