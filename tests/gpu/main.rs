//! Tests that need a GPU driver, software drivers included: each runs on every adapter of the
//! machine, and fails if there is none. `FANIN_TEST_NO_GPU=1` leaves the adapters out, and says so.

mod dawn;
mod devices;
mod empty_tensors;
mod errors;
mod gpt2;
mod gpt2_fills;
mod many;
mod orthogonal;
mod patterned;
mod placements;
mod same_bits;
mod truncated;
