//! Initializers: the rules that papers and frameworks name, and the distributions that they give.
//!
//! An [`Init`] is a rule as a user writes it, with numbers in binary64. For one tensor,
//! [`Init::resolve`] turns it into a [`Distribution`], whose numbers are rounded once to binary32.
//! One table, the [`CATALOGUE`], holds all rules.

mod box_muller;
mod catalogue;
mod dense;
mod distribution;
mod fans;
mod gain;
mod initializers;
mod key;
mod law;
mod position;
mod quantile;
mod resolve;
mod rule;
mod scaling;
mod text;

#[doc(hidden)]
pub use box_muller::normal_table;
pub use catalogue::{CATALOGUE, markdown};
pub use dense::{DenseLayer, TwoLayers, dense_layers, initialize_parameters};
pub use distribution::Distribution;
#[doc(hidden)]
pub use distribution::{DistributionKind, FrequencyScaling};
pub use fans::{FanMode, Fans};
pub use gain::Nonlinearity;
pub use initializers::transformer::{MupRole, TransformerSide};
pub use key::Key;
pub use law::Law;
pub use rule::{Definition, Family, Init};

pub(crate) use key::Value;
pub(crate) use position::{arange_table, frequency_table, log_table, position_table};
pub(crate) use quantile::{Quantile, inverse_softplus_of_exp, ln};
use rule::Computation;
pub(crate) use rule::Missing;
pub(crate) use scaling::Scaling;
#[cfg(feature = "recipe")]
pub(crate) use text::Call;
