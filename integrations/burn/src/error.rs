//! Errors.

use burn::tensor::DType;
use burn::tensor::wgpu::WgpuInitError;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of fanin: the recipe does not fit the module, a number is out of range, or the device is lost.
    #[error(transparent)]
    Fanin(#[from] fanin::Error),

    /// burn found no device, or rejected the one that it was given.
    #[error("opening a device for burn: {0}")]
    Device(#[from] WgpuInitError),

    /// The device does not belong to burn's wgpu backend.
    #[error("cannot share device {device}: it must be a device of burn's wgpu backend")]
    NotWgpu {
        /// The device as burn prints it.
        device: String,
    },

    /// The parameter has a dtype that cannot be filled.
    #[error("parameter {name:?} has dtype {dtype:?}: it must be f16, bf16, f32, flex32 or f64")]
    DType {
        /// The parameter's path.
        name: String,
        /// Its dtype.
        dtype: DType,
    },

    /// The initializer needs fan_in or fan_out, which was not given.
    #[error("parameter {name:?}: {initializer} needs {fan}: pass it to init_with")]
    Fan {
        /// The parameter's name.
        name: String,
        /// The initializer.
        initializer: &'static str,
        /// "fan_in" or "fan_out".
        fan: &'static str,
    },

    /// The shape does not have the rank of the tensor's type.
    #[error("parameter {name:?}: shape {shape:?} needs {rank} dimensions, the rank of its tensor")]
    Rank {
        /// The parameter's name.
        name: String,
        /// The rank of the tensor's type.
        rank: usize,
        /// The shape as it was given.
        shape: Vec<usize>,
    },

    /// burn failed to create or to give access to a parameter's buffer.
    #[error("parameter {name:?}: cannot access its buffer: {detail}")]
    Buffer {
        /// The parameter's path.
        name: String,
        /// The reason that burn gives.
        detail: String,
    },
}
