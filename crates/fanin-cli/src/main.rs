//! The program `fanin`.

use std::process::ExitCode;

/// Runs the command that the process' arguments ask for.
fn main() -> ExitCode {
    ExitCode::from(fanin_cli::run(std::env::args_os()))
}
