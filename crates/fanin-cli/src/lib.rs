//! The command line `fanin` writes, checks and draws initial weights of neural networks.
//!
//! It reads arguments and shows progress and tables. The library `fanin` does the work. The program
//! `fanin` and the Python package call [`run`].

mod args;
mod backend;
mod commands;
mod distributed;
mod format;
mod model;
mod output;
mod signals;
mod size;
mod suggest;
mod table;
mod threads;

pub use size::size;
pub use threads::start_threads;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};

use clap::Parser;
use clap::error::{ContextKind, ContextValue};
use fanin::{Error, text};

use args::{Arguments, Command};
use commands::{
    bench, completions, devices, diff, fill, init, inits, man, plan, plot, recipe, regenerate,
    signal, stats, verify,
};

/// The reason that a command ended early.
enum Failure {
    /// The arguments are invalid: exit status 2.
    Usage(String),
    /// The arguments are valid, but the command failed: exit status 1.
    Run(String),
    /// The reader of standard output closed it, as `head` does: exit status 0.
    Closed,
}

impl Failure {
    /// Makes a usage error of a library error that the arguments caused.
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

/// Runs the command that the arguments ask for, and returns the exit status of the process: 0 for
/// success, 1 for a command that failed, 2 for invalid arguments. The first argument is the name of the
/// program.
///
/// It belongs to a process of its own: it writes to standard output and standard error, and may set the
/// handlers of signals.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let error = printable(error);
            // Help and version are errors with status 0 here. A failed write is ignored: standard
            // output or error is closed, so nobody reads the message.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    if arguments.quiet {
        output::be_quiet();
    }
    signals::let_large_writes_fail();
    let command = arguments.command;
    let result = match command.uses_threads() {
        true => threads::run(command.threads(), || run_command(&command)),
        false => run_command(&command),
    };
    let (message, status) = match result {
        Ok(()) | Err(Failure::Closed) => return 0,
        Err(Failure::Run(message)) => (message, 1),
        Err(Failure::Usage(message)) => (message, 2),
    };
    report(&message);
    status
}

fn run_command(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Init(arguments) => init::run(arguments),
        Command::Plan(arguments) => plan::run(arguments),
        Command::Fill(arguments) => fill::run(arguments),
        Command::Devices(arguments) => devices::run(arguments),
        Command::Regenerate(arguments) => regenerate::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Stats(arguments) => stats::run(arguments),
        Command::Plot(arguments) => plot::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Recipe(arguments) => recipe::run(arguments),
        Command::Inits(arguments) => inits::run(arguments),
        Command::Signal(arguments) => signal::run(arguments),
        Command::Completions(arguments) => completions::run(arguments),
        Command::Man(arguments) => man::run(arguments),
    }
}

/// Prints the reason that a command failed.
fn report(message: &str) {
    // Not `eprintln!`, which panics where standard error is closed.
    let _ = writeln!(io::stderr(), "fanin: error: {}", text::message(message));
}

/// Returns an error of the arguments in which each text of theirs is escaped and cut.
fn printable(mut error: clap::Error) -> clap::Error {
    let texts: Vec<(ContextKind, ContextValue)> = error
        .context()
        .filter(|(kind, _)| is_of_the_user(*kind))
        .filter_map(|(kind, value)| {
            let value = match value {
                ContextValue::String(text) => ContextValue::String(text::excerpt(text)),
                ContextValue::Strings(texts) => {
                    ContextValue::Strings(texts.iter().map(|text| text::excerpt(text)).collect())
                }
                _ => return None,
            };
            Some((kind, value))
        })
        .collect();
    // The tip repeats the text in its own style.
    let is_plain = texts
        .iter()
        .all(|(kind, value)| error.get(*kind) == Some(value));
    if !is_plain {
        error.remove(ContextKind::Suggested);
    }
    for (kind, value) in texts {
        error.insert(kind, value);
    }
    error
}

/// Returns true for the parts of an error of the arguments that quote what was typed.
fn is_of_the_user(kind: ContextKind) -> bool {
    matches!(
        kind,
        ContextKind::InvalidArg
            | ContextKind::InvalidSubcommand
            | ContextKind::InvalidValue
            | ContextKind::TrailingArg
    )
}
