//! Tests of the library that need no GPU. What the modules check is in their first lines.

mod accuracy;
mod checkpoints;
mod extends;
mod frameworks;
mod initializers;
mod oracle;
mod patterns;
mod presets;
mod recipes;
mod slices;
mod statistics;
mod stream;
mod stream_text;
mod value_stability;
