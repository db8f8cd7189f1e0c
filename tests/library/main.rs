//! Tests of the library that need no GPU. The first lines of each module say what it checks.

mod accuracy;
mod checkpoints;
mod dtypes;
mod extends;
mod frameworks;
mod initializers;
mod kept;
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
