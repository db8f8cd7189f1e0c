//! Tests of the command `fanin`, run as a user runs it.

// Not `required-features` in Cargo.toml: packages do not have this file, and could not have its target.
#![cfg(feature = "gpu")]

#[path = "../../../../tests/gpu/devices.rs"]
mod devices;
mod run;

mod arguments;
mod bench;
mod diff;
mod empty_tensors;
#[cfg(unix)]
mod faults;
#[cfg(unix)]
mod few_threads;
mod fill;
mod foreign_files;
mod hostile_input;
mod kept;
mod mpi;
mod overwriting;
mod plan;
mod plot;
mod rank_files;
mod real_models;
mod recipe_tensors;
mod regenerate;
mod shards;
mod signal;
mod stale_shards;
mod stats;
mod unused_rules;
mod verify;
