//! Outputs: files and standard output for weights, standard error for messages and progress.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use fanin::Error;
use fanin::checkpoint::{Contents, Make, Progress, Sources, WithSources, Writer};
use fanin::text::{message, printable_json, quoted, shown};
use fanin_plot::Page;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Failure;
use crate::backend::Backend;
use crate::format::speed;
use crate::signals;

/// The name of standard output in messages.
pub const STDOUT: &str = "standard output";

/// Set by `--quiet`.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Makes [`status`] and progress bars silent.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Prints a line to standard error, unless the user wants none.
pub fn status(line: &str) {
    if QUIET.load(Ordering::Relaxed) {
        return;
    }
    // Not `eprintln!`, which panics where standard error is closed.
    let _ = writeln!(io::stderr(), "fanin: {}", message(line));
}

/// Prints to standard output.
pub fn print(text: &str) -> Result<(), Failure> {
    let written = raw_stdout().and_then(|mut stdout| {
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    });
    written.map_err(|error| Failure::from(cannot_write(error)))
}

/// Returns the result of a command that printed and has a verdict, which counts also for a reader who closed
/// the output early.
pub fn printed_with_verdict(
    printed: Result<(), Failure>,
    verdict: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    match printed {
        Ok(()) => verdict(),
        Err(Failure::Closed) => verdict().and(Err(Failure::Closed)),
        Err(failure) => Err(failure),
    }
}

/// Returns the error of standard output.
pub fn cannot_write(source: io::Error) -> Error {
    Error::Io {
        path: STDOUT.to_owned(),
        action: "write",
        source,
    }
}

/// Returns standard output without a buffer. Unlike [`io::stdout`], it reports that it is not open for
/// writing.
#[cfg(unix)]
pub fn raw_stdout() -> io::Result<impl Write + Send> {
    use std::os::fd::AsFd;
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    Ok(std::fs::File::from(stdout))
}

#[cfg(not(unix))]
pub fn raw_stdout() -> io::Result<impl Write + Send> {
    Ok(io::stdout())
}

/// Refuses a standard output that is closed, before any work is done for it.
fn check_stdout() -> Result<(), Failure> {
    if !is_closed_stdout() {
        return Ok(());
    }
    let message = format!("it is closed: redirect it to a file or a pipe, or use --out {NULL}");
    Err(Failure::from(cannot_write(io::Error::other(message))))
}

/// Returns true if standard output was closed when the process started, as `>&-` does.
///
/// Rust's runtime opens /dev/null for reading and writing in its place then. A shell's `>/dev/null` opens
/// it for writing only. A parent that hands over a /dev/null of both looks like a closed output, but it
/// could as well have asked for `null:`.
#[cfg(unix)]
fn is_closed_stdout() -> bool {
    use rustix::fs::{OFlags, fcntl_getfl, fstat, stat};
    let (Ok(flags), Ok(stdout), Ok(null)) = (
        fcntl_getfl(io::stdout()),
        fstat(io::stdout()),
        stat("/dev/null"),
    ) else {
        return false;
    };
    flags.contains(OFlags::RDWR) && stdout.st_mode == null.st_mode && stdout.st_rdev == null.st_rdev
}

#[cfg(not(unix))]
fn is_closed_stdout() -> bool {
    false
}

/// Prints JSON to standard output.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let mut json = Vec::new();
    write_json(&mut json, value)
        .map_err(|error| Failure::Run(format!("cannot write JSON: {error}")))?;
    print(&String::from_utf8_lossy(&json))
}

/// Writes JSON and a line break, with the characters escaped that control a terminal.
pub fn write_json(out: &mut dyn Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(Printable(&mut *out), value)?;
    writeln!(out)
}

/// A writer that escapes JSON as [`printable_json`] does. serde_json writes whole characters at a
/// time.
struct Printable<'a>(&'a mut dyn Write);

impl Write for Printable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_all(printable_json(text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The `--out` that makes weights without writing them.
pub const NULL: &str = "null:";

/// The output of weights that `--out` names.
pub enum Output {
    Safetensors(PathBuf),
    Npy(PathBuf),
    Raw(PathBuf),
    Stdout,
    Null,
}

impl Output {
    pub fn parse(out: &str) -> Result<Self, Failure> {
        let path = Path::new(out);
        let extension = path.extension().and_then(|extension| extension.to_str());
        let output = match (out, extension) {
            ("-", _) => Output::Stdout,
            (NULL, _) => Output::Null,
            (_, Some("safetensors")) => Output::Safetensors(path.to_owned()),
            (_, Some("npy")) => Output::Npy(path.to_owned()),
            (_, Some("bin")) => Output::Raw(path.to_owned()),
            _ => {
                return Err(Failure::Usage(format!(
                    "--out {}: use a path that ends in .npy, .safetensors or .bin, or -, or null:",
                    quoted(out)
                )));
            }
        };
        match &output {
            Output::Stdout => check_stdout()?,
            output => output.path().map_or(Ok(()), check_folder)?,
        }
        Ok(output)
    }

    /// Returns the path of a file.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Output::Safetensors(path) | Output::Npy(path) | Output::Raw(path) => Some(path),
            Output::Stdout | Output::Null => None,
        }
    }

    /// Returns the name of the output in messages.
    pub fn name(&self) -> String {
        match self {
            Output::Safetensors(path) | Output::Npy(path) | Output::Raw(path) => shown(path),
            Output::Stdout => STDOUT.to_owned(),
            Output::Null => NULL.to_owned(),
        }
    }
}

/// Refuses an output file whose folder does not exist, before any work is done for it.
pub fn check_folder(path: &Path) -> Result<(), Failure> {
    match path.parent() {
        Some(folder) if folder != Path::new("") && !folder.exists() => Err(Failure::Run(format!(
            "--out {}: there is no folder {}: make it with mkdir -p {}",
            quoted(&path.to_string_lossy()),
            quoted(&folder.to_string_lossy()),
            shown(folder)
        ))),
        _ => Ok(()),
    }
}

/// Refuses a path to which no picture can be written, before any work is done for it.
pub fn check_picture(path: &Path) -> Result<(), Failure> {
    Page::check_path(path).map_err(Failure::usage)?;
    check_folder(path)
}

/// Writes a picture. A file that exists with other contents is only replaced if `overwrite` is true.
pub fn save_picture(page: &Page, path: &Path, overwrite: bool) -> Result<(), Failure> {
    let writer = Writer::default().with_overwrite(overwrite);
    Ok(writer.save_bytes(path, &page.encoded(path)?)?)
}

/// Refuses an output that is the source of the list of tensors. It may hold trained weights.
pub fn check_not_source(list: &Path, out: &Path) -> Result<(), Failure> {
    let is_source = match (list.canonicalize(), out.canonicalize()) {
        (Ok(list), Ok(out)) => list == out && out.is_file(),
        _ => false,
    };
    match is_source {
        true => Err(source_refused(out)),
        false => Ok(()),
    }
}

/// Refuses an output that is one of the files from which the list of tensors is read.
pub fn check_not_in_source(sources: &Sources, list: &Path, out: &Path) -> Result<(), Failure> {
    match sources.reads(list, out) {
        true => Err(source_refused(out)),
        false => Ok(()),
    }
}

fn source_refused(out: &Path) -> Failure {
    Failure::Usage(format!(
        "--out {}: this file is the source of the tensors: use another path",
        quoted(&out.to_string_lossy())
    ))
}

/// Refuses an output that is, or holds, a file from which tensors are kept. `out` is the file or the
/// folder.
pub fn check_sources(sources: &Sources, out: &Path) -> Result<(), Failure> {
    match sources.read_in(out) {
        Some(file) => Err(Failure::Usage(format!(
            "--out {}: tensors are kept from {}: use another path",
            quoted(
                &out.canonicalize()
                    .as_deref()
                    .unwrap_or(out)
                    .to_string_lossy()
            ),
            shown(&file)
        ))),
        None => Ok(()),
    }
}

/// Refuses `--overwrite` in a folder with a file that the command reads: the file would be removed.
/// `list` is the source of the list of tensors, and `out` a file or a folder.
pub fn check_overwritten(sources: &Sources, list: &Path, out: &Path) -> Result<(), Failure> {
    match sources.read_beside(Some(list), out) {
        Some(file) => Err(Failure::Usage(format!(
            "--overwrite: {} is read, and would be replaced or removed: use another folder for --out",
            shown(&file)
        ))),
        None => Ok(()),
    }
}

/// Makes the contents with the backend, copies what is kept from `sources`, writes all to the output and
/// reports the amount.
///
/// The report begins with `what`, such as "124,439,808 parameters in 148 tensors".
pub fn write(
    backend: &Backend,
    writer: &Writer,
    output: &Output,
    contents: &Contents<'_>,
    sources: &Sources,
    what: &str,
) -> Result<(), Failure> {
    let ((), amount) = work(backend, contents.weight_bytes(), |make, progress| {
        let make = &mut WithSources::new(make, sources);
        match output {
            Output::Safetensors(path) | Output::Npy(path) | Output::Raw(path) => {
                writer.save(path, contents, make, progress)
            }
            Output::Stdout => {
                let mut stdout = raw_stdout().map_err(cannot_write)?;
                writer.write_to(&mut stdout, STDOUT, contents, make, progress)
            }
            Output::Null => writer.write_to(&mut io::sink(), NULL, contents, make, progress),
        }
    })?;
    status(&format!("{what}: {amount}, to {}", output.name()));
    Ok(())
}

/// Runs a function that makes weights with the backend, and shows a progress bar. It returns the
/// function's result and the [`amount`] of work.
pub fn work<T>(
    backend: &Backend,
    bytes: u128,
    run: impl FnOnce(&mut dyn Make, &mut Progress<'_>) -> fanin::Result<T>,
) -> Result<(T, String), Failure> {
    let (result, seconds) = timed(backend, bytes, run)?;
    Ok((result, amount(backend, bytes, seconds)))
}

/// Runs a function as [`work`] does. `bytes` is the expected number. It returns the function's result and
/// the seconds that it took.
pub fn timed<T>(
    backend: &Backend,
    bytes: u128,
    run: impl FnOnce(&mut dyn Make, &mut Progress<'_>) -> fanin::Result<T>,
) -> Result<(T, f64), Failure> {
    signals::handle();
    let bar = bytes_bar(u64::try_from(bytes).unwrap_or(u64::MAX));
    let mut progress = |made| {
        bar.inc(made);
        if signals::is_ending() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let start = Instant::now();
    let result = run(&mut *backend.maker(), &mut progress);
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    Ok((result?, seconds))
}

/// Returns an amount of work, such as "497.76 MB in 2.47 s (201.31 MB/s) on the CPU, 2 threads".
pub fn amount(backend: &Backend, bytes: u128, seconds: f64) -> String {
    format!(
        "{} on the {}",
        speed(bytes as f64, seconds),
        backend.describe(),
    )
}

/// Returns a progress bar for a number of bytes.
pub fn bytes_bar(bytes: u64) -> ProgressBar {
    progress_bar(
        bytes,
        "{wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
    )
}

/// Returns a progress bar on standard error, hidden unless that is a terminal.
pub fn progress_bar(length: u64, template: &str) -> ProgressBar {
    if QUIET.load(Ordering::Relaxed) || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    // The templates are constants and valid. If one were not, the default bar would be shown.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
