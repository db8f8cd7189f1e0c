//! The arithmetic of the stream on the host, the twin of `shaders/`: each WGSL file has a
//! module of the same name here, with the same functions in the same order. `docs/STREAM.md`
//! is the text that both follow.
//!
//! No I/O, no allocation, no wgpu: `const fn`s from words to words. A float is used only where
//! it is exact. The functions are public so that they can be tested and compared with other
//! implementations; to fill tensors use [`crate::cpu`] or `fanin::gpu`.

pub mod box_muller;
pub mod curve;
pub mod mul;
pub mod pattern;
pub mod philox;
pub mod uniform;
pub mod value;

/// The version of the stream: which bits a (seed, name, index, distribution) gives. Any change
/// of a produced bit is a new version.
pub const STREAM_VERSION: u32 = 1;

/// Elements that one Philox block serves.
pub const LANES: u64 = 4;
