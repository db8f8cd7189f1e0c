//! The promises of this crate, one module for each.

mod common;

#[path = "promises/defaults.rs"]
mod defaults;
#[path = "promises/errors.rs"]
mod errors;
#[path = "promises/initializer.rs"]
mod initializer;
#[path = "promises/layouts.rs"]
mod layouts;
#[path = "promises/same_bits.rs"]
mod same_bits;
#[path = "promises/training.rs"]
mod training;
