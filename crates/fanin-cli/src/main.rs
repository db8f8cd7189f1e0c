//! The command line `fanin`: arguments, progress and tables. The work is done by the library.

mod args;
mod backend;
mod commands;
mod distributed;
mod format;
mod model;
mod output;
mod size;
mod table;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use fanin::Error;

use args::{Arguments, Command};
use commands::{
    bench, devices, diff, fill, init, inits, plan, plot, recipe, regenerate, signal, stats, verify,
};

/// Why a command did not do what was asked.
enum Failure {
    /// The arguments make no sense: exit status 2.
    Usage(String),
    /// They do, but it did not work out: exit status 1.
    Run(String),
    /// Who reads the output has read enough: no failure at all.
    Closed,
}

impl Failure {
    /// For use in `map_err`, where the library found fault with what the arguments status.
    fn usage(error: impl std::error::Error) -> Self {
        Failure::Usage(error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match &error {
            Error::Io { path, source, .. }
                if path == output::STDOUT && source.kind() == ErrorKind::BrokenPipe =>
            {
                Failure::Closed
            }
            _ => Failure::Run(error.to_string()),
        }
    }
}

impl From<fanin_plot::Error> for Failure {
    fn from(error: fanin_plot::Error) -> Self {
        Failure::Run(error.to_string())
    }
}

/// Runs the command that the process' arguments ask for.
fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too, with status 0. A reader that is gone wants
            // neither.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let result = match arguments.command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Fill(arguments) => fill::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Regenerate(arguments) => regenerate::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Stats(arguments) => stats::run(&arguments),
        Command::Plot(arguments) => plot::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Recipe(arguments) => recipe::run(&arguments),
        Command::Inits(arguments) => inits::run(&arguments),
        Command::Signal(arguments) => signal::run(&arguments),
    };
    let (message, status) = match result {
        Ok(()) | Err(Failure::Closed) => return ExitCode::SUCCESS,
        Err(Failure::Run(message)) => (message, 1),
        Err(Failure::Usage(message)) => (message, 2),
    };
    // Not `eprintln!`, which panics where standard error is closed.
    let _ = writeln!(io::stderr(), "fanin: error: {message}");
    ExitCode::from(status)
}
