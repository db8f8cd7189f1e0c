//! Tests that need a GPU driver; a software driver will do. Each runs on every adapter of the machine and
//! fails if there is none. `FANIN_TEST_NO_GPU=1` skips the adapters, with a message.

mod dawn;
mod devices;
mod downlevel;
mod empty_tensors;
mod errors;
mod gpt2;
mod gpt2_fills;
mod many;
mod orthogonal;
mod own_devices;
mod parts;
mod patterned;
mod placements;
mod same_bits;
mod stored;
mod truncated;
