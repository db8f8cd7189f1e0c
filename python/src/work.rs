//! Long work without the interpreter's lock, which Ctrl-C can stop.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use fanin::checkpoint::Progress;
use pyo3::prelude::*;
use rayon::ThreadPool;

use crate::error::raised;

/// The time between two looks for signals.
const POLL: Duration = Duration::from_millis(50);

/// Runs work in a pool, and returns its result.
///
/// The calling thread releases the interpreter's lock and waits. Every 50 ms it handles signals, as
/// only Python's main thread can, and calls `progress` with the bytes since the last call and with
/// `total`, the bytes of all. If either raises an exception, the work is asked to stop and the exception
/// is returned.
pub fn run<T: Send>(
    py: Python<'_>,
    pool: &ThreadPool,
    progress: Option<&Py<PyAny>>,
    total: u128,
    work: impl FnOnce(&mut Progress<'_>) -> fanin::Result<T> + Send,
) -> PyResult<T> {
    let made = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let report = |py: Python<'_>| {
        let bytes = made.swap(0, Ordering::Relaxed);
        match progress {
            Some(progress) if bytes > 0 => progress.call1(py, (bytes, total)).map(|_| ()),
            _ => Ok(()),
        }
    };
    let mut result = None;
    let mut failure = None;
    py.detach(|| {
        pool.in_place_scope(|scope| {
            let (running, ended) = mpsc::channel::<()>();
            let (result, made, stop) = (&mut result, &made, &stop);
            scope.spawn(move |_| {
                // The sender is dropped at the end, also by a panic, which the scope passes on.
                let _running = running;
                *result = Some(work(&mut |bytes| {
                    made.fetch_add(bytes, Ordering::Relaxed);
                    match stop.load(Ordering::Relaxed) {
                        true => ControlFlow::Break(()),
                        false => ControlFlow::Continue(()),
                    }
                }));
            });
            while ended.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
                if failure.is_none() {
                    failure =
                        Python::attach(|py| py.check_signals().and_then(|()| report(py)).err());
                    stop.store(failure.is_some(), Ordering::Relaxed);
                }
            }
        });
    });
    match (failure, result) {
        (Some(failure), _) => Err(failure),
        (None, Some(result)) => {
            let result = result.map_err(raised)?;
            report(py)?;
            Ok(result)
        }
        // The scope ends after the work, which sets the result or panics.
        (None, None) => Err(raised(fanin::Error::Interrupted)),
    }
}
