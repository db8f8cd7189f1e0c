//! Signals to end the process, and the signal of a limit on the size of files.
//!
//! The first signal to end stops the work at the next piece of weights, so that incomplete files are
//! removed. Some pieces take long: a large orthogonal matrix, or a write to a slow disk. So the process
//! ends [`GRACE`] later in any case, and at once after a second signal.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanin::{Error, checkpoint};

/// The time from the first signal to the end of the process, whatever it is doing.
const GRACE: Duration = Duration::from_secs(1);

/// Set when the process has received a signal to end.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Returns true if the process has received a signal to end, so that work should stop.
pub fn is_ending() -> bool {
    ENDING.load(Ordering::Relaxed)
}

/// Handles signals to end from now on. Signals that were ignored when the process started stay ignored,
/// as `nohup` and `command &` of a script ask for.
pub fn handle() {
    static HANDLED: AtomicBool = AtomicBool::new(false);
    if !HANDLED.swap(true, Ordering::Relaxed) {
        // If no handler can be set, a signal ends the process at once, which leaves at most a partial
        // file.
        let _ = system::handle();
    }
}

/// Makes a write fail if the file would become larger than the process may write (`ulimit -f`). By
/// default such a write ends the process.
pub fn let_large_writes_fail() {
    system::let_large_writes_fail();
}

/// Removes incomplete files and ends the process.
fn end() -> ! {
    checkpoint::abandon();
    crate::report(&Error::Interrupted.to_string());
    system::exit(1)
}

#[cfg(unix)]
mod system {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};
    use std::sync::Arc;
    use std::{fs, thread};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
    use signal_hook::{flag, low_level};

    use super::*;

    /// The signals to end, with their names.
    const TO_END: [(i32, &str); 3] = [(SIGINT, "INT"), (SIGTERM, "TERM"), (SIGHUP, "HUP")];

    pub fn handle() -> io::Result<()> {
        let (sender, receiver) = UnixStream::pair()?;
        // The thread comes first: without it, nothing would read the signals.
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || watch(receiver))?;
        for (signal, name) in TO_END {
            if !is_ignored(signal, name) {
                low_level::pipe::register(signal, sender.try_clone()?)?;
            }
        }
        Ok(())
    }

    /// Waits for signals, each of which sends a byte.
    fn watch(mut signals: UnixStream) {
        let mut byte = [0];
        // No byte comes if all signals are ignored.
        if !matches!(signals.read(&mut byte), Ok(1)) {
            return;
        }
        ENDING.store(true, Ordering::Relaxed);
        // It also returns at once if the time cannot be limited.
        let _ = signals
            .set_read_timeout(Some(GRACE))
            .and_then(|()| signals.read(&mut byte));
        end()
    }

    pub fn let_large_writes_fail() {
        // The action of the handler does not matter: with any handler, the write returns an error.
        let _ = flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    }

    /// Ends the process without the functions that libraries have registered for its end. Threads that
    /// still work may use what those functions free.
    pub fn exit(status: i32) -> ! {
        low_level::exit(status)
    }

    /// Returns true if this process ignores a signal, which it has no handler for yet.
    fn is_ignored(signal: i32, name: &str) -> bool {
        let known = fs::read_to_string("/proc/self/status").ok();
        known
            .and_then(|status| ignored_in(&status, signal))
            .unwrap_or_else(|| is_ignored_by_shell(name))
    }

    /// Reads from Linux' description of a process if it ignores a signal.
    fn ignored_in(status: &str, signal: i32) -> Option<bool> {
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))?;
        let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
        Some(mask >> (signal - 1) & 1 == 1)
    }

    /// Asks a shell if it has inherited an ignored signal, on systems without `/proc`. POSIX: "Signals
    /// that were ignored on entry to a non-interactive shell cannot be trapped or reset".
    fn is_ignored_by_shell(name: &str) -> bool {
        let script = format!("trap 'exit 1' {name}; kill -{name} $$; exit 0");
        let shell = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        shell.is_ok_and(|status| status.success())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn ignored_signals_are_found_in_both_ways() {
            // Nothing ignores these two in a test, and nothing has a handler for them.
            for (signal, name) in [(12, "USR2"), (SIGHUP, "HUP")] {
                assert_eq!(
                    is_ignored(signal, name),
                    is_ignored_by_shell(name),
                    "{name}"
                );
            }
            let status = "Name:\tfanin\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
            assert_eq!(ignored_in(status, SIGHUP), Some(true));
            assert_eq!(ignored_in(status, SIGINT), Some(false));
            assert_eq!(ignored_in(status, 13), Some(true));
            assert_eq!(ignored_in("Name:\tfanin\n", SIGHUP), None);
        }
    }
}

#[cfg(not(unix))]
mod system {
    use super::*;

    pub fn handle() -> io::Result<()> {
        let handler = || {
            ENDING.store(true, Ordering::Relaxed);
            std::thread::sleep(GRACE);
            end();
        };
        ctrlc::set_handler(handler).map_err(io::Error::other)
    }

    /// Does nothing: other systems have no such signal.
    pub fn let_large_writes_fail() {}

    pub fn exit(status: i32) -> ! {
        std::process::exit(status)
    }
}
