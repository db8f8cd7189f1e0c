//! How each parameter was filled.

use std::fmt;

/// What [`init_with_fanin_report`](crate::InitWithFanin::init_with_fanin_report) did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The parameters, in the order in which burn visits them.
    pub parameters: Vec<FilledParameter>,
}

impl Report {
    /// Whether every parameter was made by the GPU, and none uploaded.
    #[must_use]
    pub fn all_on_gpu(&self) -> bool {
        let mut parameters = self.parameters.iter();
        parameters.all(|parameter| !matches!(parameter.path, Path::Uploaded(_)))
    }
}

/// One parameter of a [`Report`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilledParameter {
    /// Its path in the module, as burn gives it: "encoder.fc1.weight".
    pub name: String,
    /// Its elements.
    pub elements: u64,
    /// How its weights came to where they are.
    pub path: Path,
}

/// How a parameter's weights came to where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Path {
    /// The GPU wrote them into the buffer that the parameter had.
    InPlace,
    /// The GPU wrote them into a new buffer of burn's: the parameter had none yet (then burn draws no
    /// values of its own, and uploads none), or shared it with another tensor, which keeps its values.
    NewBuffer,
    /// The CPU made them, and they were uploaded once.
    Uploaded(Reason),
}

/// Why a parameter was uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It is not on burn's wgpu backend.
    OtherBackend,
    /// Its device is not shared with fanin: see [`init_device`](crate::init_device).
    DeviceNotShared,
    /// It lies in memory in another order than row by row, as that of `LinearLayout::Col` does, and
    /// keeps that order.
    Strides,
    /// Its dtype is f64 or flex32, which hold the numbers of f32.
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
            Path::Uploaded(Reason::Strides) => "uploaded: not row by row in memory",
            Path::Uploaded(Reason::DType) => "uploaded: f64 or flex32",
            Path::Uploaded(Reason::Fusion) => "uploaded: built without the feature fusion",
            Path::Uploaded(Reason::Empty) => "no elements",
        })
    }
}
