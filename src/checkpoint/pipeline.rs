//! Work on one piece while the next one is made or read: two threads that pass two buffers between
//! them.
//!
//! A process that may not start another thread (`ulimit -u`, a limit on address space) does both in
//! turns.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, Scope, ScopedJoinHandle};

use crate::error::Result;

/// The number of buffers: one is filled while the other one is used.
const BUFFERS: usize = 2;

/// Runs `fill` on a thread of its own, one buffer ahead of `take`, which runs on this thread.
///
/// `fill` returns false if there is nothing more, and the buffer is not used then.
///
/// # Errors
///
/// The first error of `fill` or `take`, which ends both.
pub(super) fn read_ahead<B: Default + Send>(
    mut fill: impl FnMut(&mut B) -> Result<bool> + Send,
    mut take: impl FnMut(&mut B) -> Result<()>,
) -> Result<()> {
    let overlapped = thread::scope(|scope| {
        let (filling, taking) = ends();
        let thread = spawn(scope, || filling.fill_all(&mut fill))?;
        let taken = taking.take_all(&mut take);
        Ok(join(thread).and(taken))
    });
    // If no thread starts, nothing has been filled yet, so the work begins anew without a loss.
    overlapped.unwrap_or_else(|_: io::Error| in_turns(fill, take))
}

/// Runs `take` on a thread of its own, one buffer behind `fill`, which runs on this thread.
///
/// `fill` returns false if there is nothing more, and the buffer is not used then.
///
/// # Errors
///
/// The first error of `fill` or `take`, which ends both.
pub(super) fn write_behind<B: Default + Send>(
    mut fill: impl FnMut(&mut B) -> Result<bool>,
    mut take: impl FnMut(&mut B) -> Result<()> + Send,
) -> Result<()> {
    let overlapped = thread::scope(|scope| {
        let (filling, taking) = ends();
        let thread = spawn(scope, || taking.take_all(&mut take))?;
        let filled = filling.fill_all(&mut fill);
        Ok(join(thread).and(filled))
    });
    overlapped.unwrap_or_else(|_: io::Error| in_turns(fill, take))
}

/// Does all on this thread.
fn in_turns<B: Default>(
    mut fill: impl FnMut(&mut B) -> Result<bool>,
    mut take: impl FnMut(&mut B) -> Result<()>,
) -> Result<()> {
    let mut buffer = B::default();
    while fill(&mut buffer)? {
        take(&mut buffer)?;
    }
    Ok(())
}

/// One thread's end of the two channels.
struct End<B> {
    from_other: Receiver<B>,
    to_other: Sender<B>,
}

/// Returns the end that fills buffers, with empty ones waiting, and the end that takes them.
fn ends<B: Default>() -> (End<B>, End<B>) {
    // Only the buffers below go round, so the channels need no bound.
    let (full, to_take) = mpsc::channel();
    let (empty, to_fill) = mpsc::channel();
    for _ in 0..BUFFERS {
        // The receiver is below.
        let _ = empty.send(B::default());
    }
    let filling = End {
        from_other: to_fill,
        to_other: full,
    };
    let taking = End {
        from_other: to_take,
        to_other: empty,
    };
    (filling, taking)
}

impl<B> End<B> {
    fn fill_all(self, mut fill: impl FnMut(&mut B) -> Result<bool>) -> Result<()> {
        // The channel is closed if the other thread has failed. Its error is returned.
        for mut buffer in self.from_other {
            if !fill(&mut buffer)? || self.to_other.send(buffer).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn take_all(self, mut take: impl FnMut(&mut B) -> Result<()>) -> Result<()> {
        // Either loop drops its `self` at the end. That closes both channels, so the other loop ends, too.
        for mut buffer in self.from_other {
            take(&mut buffer)?;
            // An error only means that the last buffer was filled.
            let _ = self.to_other.send(buffer);
        }
        Ok(())
    }
}

/// Starts a thread, unless the system refuses it.
fn spawn<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    run: impl FnOnce() -> Result<()> + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, Result<()>>> {
    thread::Builder::new().spawn_scoped(scope, run)
}

fn join(thread: ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::{in_turns, read_ahead, write_behind};
    use crate::error::{Error, Result};

    /// How the buffers are passed.
    #[derive(Clone, Copy, Debug)]
    enum Way {
        ReadAhead,
        WriteBehind,
        InTurns,
    }

    fn run(
        way: Way,
        fill: impl FnMut(&mut u32) -> Result<bool> + Send,
        take: impl FnMut(&mut u32) -> Result<()> + Send,
    ) -> Result<()> {
        match way {
            Way::ReadAhead => read_ahead(fill, take),
            Way::WriteBehind => write_behind(fill, take),
            Way::InTurns => in_turns(fill, take),
        }
    }

    /// Passes the numbers 1 to 9. Returns those that arrived, and the result.
    fn pass(way: Way, fill_fails_at: u32, take_fails_at: u32) -> (Vec<u32>, Result<()>) {
        let (mut next, mut taken) = (0, Vec::new());
        let fill = |buffer: &mut u32| {
            next += 1;
            *buffer = next;
            match next == fill_fails_at {
                true => Err(Error::Interrupted),
                false => Ok(next < 10),
            }
        };
        let take = |buffer: &mut u32| {
            taken.push(*buffer);
            match *buffer == take_fails_at {
                true => Err(Error::Interrupted),
                false => Ok(()),
            }
        };
        let result = run(way, fill, take);
        (taken, result)
    }

    #[test]
    fn all_buffers_arrive_in_order_and_an_error_ends_both_sides() {
        for way in [Way::ReadAhead, Way::WriteBehind, Way::InTurns] {
            let (taken, result) = pass(way, 0, 0);
            assert!(result.is_ok(), "{way:?}");
            assert_eq!(taken, Vec::from_iter(1..10), "{way:?}");

            let (taken, result) = pass(way, 5, 0);
            assert!(matches!(result, Err(Error::Interrupted)), "{way:?}");
            assert_eq!(taken, [1, 2, 3, 4], "{way:?}");

            let (taken, result) = pass(way, 0, 5);
            assert!(matches!(result, Err(Error::Interrupted)), "{way:?}");
            assert_eq!(taken, [1, 2, 3, 4, 5], "{way:?}");
        }
    }
}
