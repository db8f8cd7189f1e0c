//! Reads any bytes as a file of weights, and reads it in every way.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::weights(bytes));
