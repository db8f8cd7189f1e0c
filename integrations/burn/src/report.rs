//! The report of how each parameter was filled.

use std::fmt;

/// The report of [`init_with_fanin_report`](crate::InitWithFanin::init_with_fanin_report).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The parameters, in the order in which burn visits them.
    pub parameters: Vec<FilledParameter>,
}

impl Report {
    /// Returns true if the GPU made every parameter, so that none was uploaded.
    #[must_use]
    pub fn all_on_gpu(&self) -> bool {
        let mut parameters = self.parameters.iter();
        parameters.all(|parameter| !matches!(parameter.path, Path::Uploaded(_)))
    }
}

/// One parameter of a [`Report`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilledParameter {
    /// Its path in the module, such as "encoder.fc1.weight".
    pub name: String,
    /// The number of its elements.
    pub elements: u64,
    /// The way in which it was filled.
    pub path: Path,
}

/// The way in which a parameter was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Path {
    /// The GPU wrote the weights into the buffer that the parameter had.
    InPlace,
    /// The GPU wrote the weights into a new buffer of burn. The parameter had no buffer yet (then burn draws and
    /// uploads nothing), or it shared its buffer with another tensor, which keeps its values.
    NewBuffer,
    /// The CPU made the weights, and they were uploaded once.
    Uploaded(Reason),
}

/// The reason why a parameter was uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It is not on burn's wgpu backend.
    OtherBackend,
    /// Its device is not shared with fanin: see [`init_device`](crate::init_device).
    DeviceNotShared,
    /// It is not row-major in memory, as with `LinearLayout::Col`, and keeps its order.
    Strides,
    /// Its dtype is f64 or flex32, which get the values of f32.
    DType,
    /// burn fuses kernels, but this crate was built without its feature `fusion`.
    Fusion,
    /// It has no elements.
    Empty,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Path::InPlace => "on the GPU, in place",
            Path::NewBuffer => "on the GPU, in a new buffer",
            Path::Uploaded(Reason::OtherBackend) => "uploaded: not on burn's wgpu backend",
            Path::Uploaded(Reason::DeviceNotShared) => "uploaded: the device is not shared",
            Path::Uploaded(Reason::Strides) => "uploaded: not row-major in memory",
            Path::Uploaded(Reason::DType) => "uploaded: dtype f64 or flex32",
            Path::Uploaded(Reason::Fusion) => "uploaded: built without the feature fusion",
            Path::Uploaded(Reason::Empty) => "no elements",
        })
    }
}
