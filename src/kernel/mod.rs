//! The arithmetic of the stream on the host, the twin of `shaders/`: each WGSL file of the
//! arithmetic has a module of the same name here, with the same functions in the same order.
//! Both follow `docs/STREAM.md`.
//!
//! The functions are `const fn`s from words to words: no I/O, no allocation, no wgpu. They use
//! floats only where these are exact. They are public for tests and for comparison with other
//! implementations. To fill tensors use [`crate::cpu`] or `fanin::gpu`.

pub mod box_muller;
pub mod curve;
pub mod mul;
pub mod pattern;
pub mod philox;
pub mod uniform;
pub mod value;

/// The version of the stream, the map from (seed, name, index, distribution) to bits. Any change
/// of a produced bit is a new version.
pub const STREAM_VERSION: u32 = 1;

/// Elements of one Philox block.
pub const LANES: u64 = 4;
