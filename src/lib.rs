//! Initial weights of neural networks, made directly in GPU memory: the same seed gives the
//! same bits on every device and for every slice.

pub mod checkpoint;
pub mod cpu;
mod error;
mod fill;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod init;
mod job;
pub mod kernel;
mod read;
pub mod recipe;
mod tensor;

pub use error::{Error, Result};
pub use fill::Fill;
pub use init::Init;
pub use kernel::STREAM_VERSION;
pub use recipe::{Plan, Recipe};
pub use tensor::{
    DType, Layout, ListedTensor, MAX_ELEMENTS, Shape, Slice, Tensor, TensorList, stream_id,
};
