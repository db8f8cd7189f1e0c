//! Tests of the library that need no GPU. The first lines of each module say what it checks.

mod accuracy;
mod checkpoints;
mod extends;
mod frameworks;
mod initializers;
mod oracle;
mod parts;
mod patterns;
mod presets;
mod recipes;
mod slices;
mod state_dicts;
mod statistics;
mod stream;
mod stream_text;
mod value_stability;
