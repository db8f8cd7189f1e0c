//! The subcommands. Each has its own file.

pub mod bench;
pub mod completions;
pub mod devices;
pub mod diff;
pub mod fill;
pub mod init;
pub mod inits;
pub mod man;
pub mod plan;
pub mod plot;
pub mod recipe;
pub mod regenerate;
pub mod signal;
pub mod stats;
pub mod verify;
