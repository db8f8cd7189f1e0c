//! Where weights and words go.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use fanin::Error;
use fanin::checkpoint::{Contents, Make, Progress, Writer};
use indicatif::{ProgressBar, ProgressStyle};

use crate::Failure;
use crate::backend::Backend;
use crate::format::speed;

/// What messages call standard output.
pub const STDOUT: &str = "standard output";

/// One line on standard error.
pub fn status(line: &str) {
    // Not `eprintln!`, which panics where standard error is closed.
    let _ = writeln!(io::stderr(), "fanin: {line}");
}

/// Prints to standard output.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    written.map_err(|source| {
        Failure::from(Error::Io {
            path: STDOUT.to_owned(),
            action: "write",
            source,
        })
    })
}

/// Prints JSON to standard output.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Run(format!("cannot write JSON: {error}")))?;
    print(&(json + "\n"))
}

/// Where weights go, as `--out` says it.
pub enum Target {
    Safetensors(PathBuf),
    Npy(PathBuf),
    Raw(PathBuf),
    Stdout,
    Null,
}

impl Target {
    pub fn parse(out: &str) -> Option<Self> {
        match out {
            "-" => return Some(Target::Stdout),
            "null:" => return Some(Target::Null),
            _ => {}
        }
        let path = Path::new(out);
        match path.extension()?.to_str()? {
            "safetensors" => Some(Target::Safetensors(path.to_owned())),
            "npy" => Some(Target::Npy(path.to_owned())),
            "bin" => Some(Target::Raw(path.to_owned())),
            _ => None,
        }
    }

    pub fn name(&self) -> String {
        match self {
            Target::Safetensors(path) | Target::Npy(path) | Target::Raw(path) => {
                path.display().to_string()
            }
            Target::Stdout => STDOUT.to_owned(),
            Target::Null => "null:".to_owned(),
        }
    }
}

/// Set once the process is asked to end.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Lets a first signal to end stop the work in good order, so that no temporary file stays;
/// a second one ends the process at once.
fn stop_in_good_order() {
    // Without a handler the signal ends the process as ever: nothing worse than a temporary
    // file is left.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
    });
}

/// Has the backend make the contents, and the target take them; says what was done.
///
/// `what` begins the line that sums it up, as in "124,439,808 parameters in 148 tensors".
pub fn write(
    backend: &Backend,
    writer: &Writer,
    target: &Target,
    contents: &Contents<'_>,
    what: &str,
) -> Result<(), Failure> {
    let ((), amount) = work(
        backend,
        contents.weight_bytes(),
        |make, progress| match target {
            Target::Safetensors(path) | Target::Npy(path) | Target::Raw(path) => {
                writer.save(path, contents, make, progress)
            }
            Target::Stdout => writer.write_to(&mut io::stdout(), STDOUT, contents, make, progress),
            Target::Null => {
                let name = target.name();
                writer.write_to(&mut io::sink(), name, contents, make, progress)
            }
        },
    )?;
    status(&format!("{what}: {amount}, to {}", target.name()));
    Ok(())
}

/// Runs what has the backend make weights, with a bar; also gives the amount of work, as in
/// "497.76 MB in 2.47 s (201.31 MB/s) on the CPU, 2 threads".
pub fn work<T>(
    backend: &Backend,
    bytes: u128,
    run: impl FnOnce(&mut dyn Make, &mut Progress<'_>) -> fanin::Result<T>,
) -> Result<(T, String), Failure> {
    stop_in_good_order();
    let bar = bytes_bar(u64::try_from(bytes).unwrap_or(u64::MAX));
    let mut progress = |made| {
        bar.inc(made);
        if INTERRUPTED.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let start = Instant::now();
    let result = run(&mut *backend.maker(), &mut progress);
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let amount = format!(
        "{} on the {}",
        speed(bytes as f64, seconds),
        backend.describe(),
    );
    Ok((result?, amount))
}

/// A bar of so many bytes.
pub fn bytes_bar(bytes: u64) -> ProgressBar {
    progress_bar(
        bytes,
        "{wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
    )
}

/// A bar on standard error, if that is a terminal.
pub fn progress_bar(length: u64, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    // Templates are constants; a default bar would do as well.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
