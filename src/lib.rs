//! Initial weights of neural networks, made directly in GPU memory: the same seed gives the
//! same bits on every device and for every slice.
//!
//! A weight is a pure function of the seed, the tensor's name, the element's index in the whole
//! tensor and the initializer. A program describes the weights in three steps:
//!
//! 1. a [`Tensor`]: a name, a shape and, if the fans depend on it, a [`Layout`];
//! 2. an [`Init`]: normal, uniform, constant, xavier, kaiming, lecun, ...;
//! 3. a [`Fill`]: both of them with a seed, a [`DType`] and, if only a part is needed, a slice.
//!
//! Then [`cpu::fill`] fills host memory, and `gpu::Initializer::fill` a `wgpu` buffer.
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
//! [`checkpoint`] reads tensor lists, writes safetensors files, verifies and compares them. Models
//! on several devices: a [`Mesh`] and a [`Placement`] for each of its dimensions give the part of a
//! tensor that a rank holds, and a [`ShardSpec`] gives it for a whole model; see [`placement`].
//!
//! # Features
//!
//! - `gpu` (default): the module `gpu`, which fills buffers of wgpu 30.
//! - `raw` (part of `gpu`): only `gpu::raw`, fills as data for hosts other than wgpu.
//! - `program`: the module `program`, fills as numbers for hosts with an arithmetic of their own.
//! - `checkpoint` (default): the module `checkpoint`, which reads and writes safetensors files.
//! - `recipe` (part of `checkpoint`): the module `recipe` and [`ShardSpec`], for files of rules.
//! - `orthogonal` (default): orthogonal initializers on the CPU, which are an error without it.
//! - `serde` (part of `recipe`): `Serialize` for dtypes, layouts, shapes and distributions.
//!
//! Without any of them the library resolves initializers and fills slices on the CPU.
//!
//! The arithmetic is specified in `docs/STREAM.md` of the repository; it has a version of its
//! own, [`STREAM_VERSION`].

#[cfg(target_endian = "big")]
compile_error!(
    "fanin needs a little-endian target: it makes weights in the byte order of safetensors files, \
     and no test runs on a big-endian one"
);

#[cfg(feature = "checkpoint")]
pub mod checkpoint;
pub mod cpu;
mod error;
mod fill;
#[cfg(feature = "raw")]
pub mod gpu;
pub mod init;
mod job;
#[doc(hidden)]
pub mod kernel;
mod part;
pub mod placement;
#[cfg(feature = "recipe")]
mod read;
#[cfg(feature = "recipe")]
pub mod recipe;
mod tensor;
#[doc(hidden)]
pub mod text;

pub use error::{Error, Result};
pub use fill::{Fill, FillPart};
pub use init::Init;
#[cfg(feature = "program")]
pub use job::program;
pub use kernel::STREAM_VERSION;
pub use part::Part;
#[cfg(feature = "recipe")]
pub use placement::{LocalPart, ShardSpec};
pub use placement::{Mesh, Placement};
#[cfg(feature = "recipe")]
pub use recipe::{Plan, Recipe};
/// The version of wgpu that the module [`gpu`] uses. A program that takes it from here cannot end
/// up with two versions.
#[cfg(feature = "gpu")]
pub use wgpu;

pub use tensor::{
    DType, FanAxes, Layout, ListedTensor, MAX_ELEMENTS, Shape, Slice, Tensor, TensorList, stream_id,
};

/// The examples of the README, compiled and run.
#[cfg(all(doctest, feature = "checkpoint", feature = "gpu"))]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// The examples of docs/MODELS.md.
#[cfg(all(doctest, feature = "checkpoint"))]
#[doc = include_str!("../docs/MODELS.md")]
pub struct Models;
