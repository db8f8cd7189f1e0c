//! A replacement of burn's `Initializer` that takes a seed and a name.

use burn::module::{Initializer, Param, ParamId};
use burn::tensor::{DType, Device, Shape, Tensor};
use fanin::{Fill, Init};

use crate::error::{Error, Result};
use crate::fill::{self, Batch};
use crate::module::filled;

/// An initializer with the variants and formulas of burn's own [`Initializer`]. Its weights are the same on
/// every backend and run.
///
/// A module that is made with burn's initializer,
///
/// ```
/// use burn::module::{Initializer, Param};
/// use burn::tensor::{Device, Tensor};
///
/// # let device = Device::flex();
/// # let gain = 1.0;
/// let weight: Param<Tensor<2>> = Initializer::KaimingUniform { gain, fan_out_only: false }
///     .init_with([784, 128], Some(784), Some(128), &device);
/// ```
///
/// is made with this one by adding a seed and the parameter's name:
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Tensor};
/// use fanin_burn::FaninInitializer as Initializer;
///
/// # fn main() -> fanin_burn::Result<()> {
/// # let device = Device::flex();
/// # let gain = 1.0;
/// let weight: Param<Tensor<2>> = Initializer::KaimingUniform { gain, fan_out_only: false }
///     .seeded(42, "fc1.weight").init_with([784, 128], Some(784), Some(128), &device)?;
/// # Ok(())
/// # }
/// ```
///
/// Parameters with the same seed need different names. The default is the same as that of burn's `Linear` and
/// convolutions.
#[derive(Clone, Debug, PartialEq)]
pub enum FaninInitializer {
    /// `value` everywhere.
    Constant {
        /// The value.
        value: f64,
    },
    /// 1 everywhere.
    Ones,
    /// 0 everywhere.
    Zeros,
    /// Uniform on [min, max).
    Uniform {
        /// The smallest value.
        min: f64,
        /// The upper bound, which no value reaches.
        max: f64,
    },
    /// Normal.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation, 0 or more.
        std: f64,
    },
    /// Uniform within gain * sqrt(3 / fan_in), or fan_out.
    KaimingUniform {
        /// The gain, 0 or more.
        gain: f64,
        /// Uses fan_out instead of fan_in.
        fan_out_only: bool,
    },
    /// Normal with standard deviation gain / sqrt(fan_in), or fan_out.
    KaimingNormal {
        /// The gain, 0 or more.
        gain: f64,
        /// Uses fan_out instead of fan_in.
        fan_out_only: bool,
    },
    /// Uniform within gain * sqrt(6 / (fan_in + fan_out)).
    XavierUniform {
        /// The gain, 0 or more.
        gain: f64,
    },
    /// Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)).
    XavierNormal {
        /// The gain, 0 or more.
        gain: f64,
    },
    /// gain times a matrix with orthonormal rows or columns: the first axis against all others. Devices agree
    /// up to rounding, and one device always gives the same bits.
    Orthogonal {
        /// The gain, 0 or more.
        gain: f64,
    },
}

impl Default for FaninInitializer {
    fn default() -> Self {
        FaninInitializer::KaimingUniform {
            gain: 1.0 / 3f64.sqrt(),
            fan_out_only: false,
        }
    }
}

impl From<Initializer> for FaninInitializer {
    fn from(initializer: Initializer) -> Self {
        match initializer {
            Initializer::Constant { value } => FaninInitializer::Constant { value },
            Initializer::Ones => FaninInitializer::Ones,
            Initializer::Zeros => FaninInitializer::Zeros,
            Initializer::Uniform { min, max } => FaninInitializer::Uniform { min, max },
            Initializer::Normal { mean, std } => FaninInitializer::Normal { mean, std },
            Initializer::KaimingUniform { gain, fan_out_only } => {
                FaninInitializer::KaimingUniform { gain, fan_out_only }
            }
            Initializer::KaimingNormal { gain, fan_out_only } => {
                FaninInitializer::KaimingNormal { gain, fan_out_only }
            }
            Initializer::XavierUniform { gain } => FaninInitializer::XavierUniform { gain },
            Initializer::XavierNormal { gain } => FaninInitializer::XavierNormal { gain },
            Initializer::Orthogonal { gain } => FaninInitializer::Orthogonal { gain },
        }
    }
}

impl FaninInitializer {
    /// Returns the initializer of one parameter. The seed and the name determine its random numbers. For the
    /// same weights as [`init_with_fanin`](crate::InitWithFanin::init_with_fanin) gives, use the parameter's
    /// path in its module as the name.
    #[must_use]
    pub fn seeded(self, seed: u64, name: impl Into<String>) -> SeededInitializer {
        SeededInitializer {
            initializer: self,
            seed,
            name: name.into(),
            stream: None,
        }
    }

    /// The name of the variant in burn.
    fn name(&self) -> &'static str {
        match self {
            FaninInitializer::Constant { .. } => "Constant",
            FaninInitializer::Ones => "Ones",
            FaninInitializer::Zeros => "Zeros",
            FaninInitializer::Uniform { .. } => "Uniform",
            FaninInitializer::Normal { .. } => "Normal",
            FaninInitializer::KaimingUniform { .. } => "KaimingUniform",
            FaninInitializer::KaimingNormal { .. } => "KaimingNormal",
            FaninInitializer::XavierUniform { .. } => "XavierUniform",
            FaninInitializer::XavierNormal { .. } => "XavierNormal",
            FaninInitializer::Orthogonal { .. } => "Orthogonal",
        }
    }
}

/// A [`FaninInitializer`] for one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct SeededInitializer {
    initializer: FaninInitializer,
    seed: u64,
    name: String,
    stream: Option<u64>,
}

impl SeededInitializer {
    /// Sets the stream id, instead of the one that follows from the name.
    #[must_use]
    pub fn with_stream_id(mut self, stream: u64) -> Self {
        self.stream = Some(stream);
        self
    }

    /// Creates a parameter of this shape, for an initializer that needs no fans. As with burn's own
    /// initializer, its values are made at the first access, on the device that it is on then.
    ///
    /// # Errors
    ///
    /// Those of [`init_with`](SeededInitializer::init_with).
    pub fn init<const D: usize>(
        &self,
        shape: impl Into<Shape>,
        device: &Device,
    ) -> Result<Param<Tensor<D>>> {
        self.init_with(shape, None, None, device)
    }

    /// Creates a parameter of this shape, with the fans of its layer. As with burn's own initializer, its values
    /// are made at the first access, on the device that it is on then.
    ///
    /// # Errors
    ///
    /// [`Error::Fan`] if the initializer needs a fan that is not given, [`Error::Rank`] for a shape that a
    /// `Tensor<D>` cannot have, [`Error::Fanin`] for numbers out of range.
    pub fn init_with<const D: usize>(
        &self,
        shape: impl Into<Shape>,
        fan_in: Option<usize>,
        fan_out: Option<usize>,
        device: &Device,
    ) -> Result<Param<Tensor<D>>> {
        let shape: Shape = shape.into();
        if shape.len() != D {
            return Err(Error::Rank {
                name: self.name.clone(),
                rank: D,
                shape: shape.to_vec(),
            });
        }
        let fill = self.fill(&shape, fan_in, fan_out)?;
        let lazy = shape.clone();
        Ok(Param::uninitialized(
            ParamId::new(),
            move |device, require_grad| {
                let tensor = made(&fill, shape.clone(), device);
                if require_grad {
                    tensor.require_grad()
                } else {
                    tensor
                }
            },
            device.clone(),
            true,
            lazy,
        ))
    }

    /// Makes the fill, in f32. All errors are found here, since the later access cannot return one.
    fn fill(&self, shape: &Shape, fan_in: Option<usize>, fan_out: Option<usize>) -> Result<Fill> {
        let lacks = |fan| Error::Fan {
            name: self.name.clone(),
            initializer: self.initializer.name(),
            fan,
        };
        let fan_in = || fan_in.map(|fan| fan as f64).ok_or_else(|| lacks("fan_in"));
        let fan_out = || {
            fan_out
                .map(|fan| fan as f64)
                .ok_or_else(|| lacks("fan_out"))
        };
        // The operations of burn's own code, in the same order: they round alike.
        let kaiming = |fan_out_only: bool| -> Result<f64> {
            let fan = if fan_out_only { fan_out()? } else { fan_in()? };
            Ok(1.0 / fan.sqrt())
        };
        let xavier = || -> Result<f64> { Ok((2.0 / (fan_in()? + fan_out()?)).sqrt()) };
        let within = |bound: f64| match bound {
            0.0 => Init::zeros(),
            _ => Init::uniform(-bound, bound),
        };
        let init = match self.initializer {
            FaninInitializer::Constant { value } => Init::constant(value),
            FaninInitializer::Ones => Init::ones(),
            FaninInitializer::Zeros => Init::zeros(),
            FaninInitializer::Uniform { min, max } => Init::uniform(min, max),
            FaninInitializer::Normal { mean, std } => Init::normal(mean, std),
            FaninInitializer::KaimingUniform { gain, fan_out_only } => {
                within(3f64.sqrt() * gain * kaiming(fan_out_only)?)
            }
            FaninInitializer::KaimingNormal { gain, fan_out_only } => {
                Init::normal(0.0, gain * kaiming(fan_out_only)?)
            }
            FaninInitializer::XavierUniform { gain } => within(3f64.sqrt() * gain * xavier()?),
            FaninInitializer::XavierNormal { gain } => Init::normal(0.0, gain * xavier()?),
            FaninInitializer::Orthogonal { gain } => Init::orthogonal_with(gain),
        };
        let dims: Vec<u64> = shape.iter().map(|&dim| dim as u64).collect();
        let mut tensor = fanin::Tensor::new(&self.name, dims)?;
        if let Some(stream) = self.stream {
            tensor = tensor.with_stream_id(stream);
        }
        Ok(Fill::new(&tensor, &init, self.seed)?)
    }
}

/// Makes the tensor of a fill on a device, in the device's float dtype.
fn made<const D: usize>(fill: &Fill, shape: Shape, device: &Device) -> Tensor<D> {
    let dtype: DType = device.settings().float_dtype.into();
    let tensor = || {
        let fill = fill.clone().with_dtype(fill::drawn_in(fill.name(), dtype)?);
        let mut batch = Batch::default();
        let empty = fill::empty(shape, device, dtype);
        let (tensor, _) = filled(&mut batch, &fill, empty, true)?;
        batch.submit()?;
        Ok::<_, Error>(tensor)
    };
    // burn calls this from a parameter's accessor, which cannot return an error. burn itself panics if a device
    // is lost.
    tensor().unwrap_or_else(|error| panic!("{error}"))
}
