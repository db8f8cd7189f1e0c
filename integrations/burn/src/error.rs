//! What can go wrong, said so that it can be put right.

use burn::tensor::DType;
use burn::tensor::wgpu::WgpuInitError;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a module or a device could not be initialized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A recipe that does not fit the module, a number out of range, a device that was lost.
    #[error(transparent)]
    Fanin(#[from] fanin::Error),

    /// burn found no device, or refused the one it was given.
    #[error("opening a device for burn: {0}")]
    Device(#[from] WgpuInitError),

    /// A device that is none of burn's wgpu backend.
    #[error("sharing a device with burn: {device} is no device of its wgpu backend")]
    NotWgpu {
        /// The device as burn prints it.
        device: String,
    },

    /// A parameter of a dtype that weights are not drawn in.
    #[error("parameter {name:?} has dtype {dtype:?}: f16, bf16, f32, flex32 and f64 can be filled")]
    DType {
        /// The parameter's path.
        name: String,
        /// Its dtype.
        dtype: DType,
    },

    /// An initializer that needs fan_in or fan_out, and was given none.
    #[error("parameter {name:?}: {initializer} needs {fan}, use init_with")]
    Fan {
        /// The parameter's name.
        name: String,
        /// The initializer.
        initializer: &'static str,
        /// "fan_in" or "fan_out".
        fan: &'static str,
    },

    /// A shape of another rank than the tensor's.
    #[error("parameter {name:?}: a tensor of rank {rank} cannot have the shape {shape:?}")]
    Rank {
        /// The parameter's name.
        name: String,
        /// The rank of the tensor's type.
        rank: usize,
        /// The shape as it was given.
        shape: Vec<usize>,
    },

    /// burn failed to make or to hand over a parameter's buffer.
    #[error("parameter {name:?}: burn's buffer cannot be had: {detail}")]
    Buffer {
        /// The parameter's path.
        name: String,
        /// What burn says.
        detail: String,
    },
}
