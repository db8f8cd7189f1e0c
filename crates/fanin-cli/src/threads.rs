//! The threads of the CPU.

use std::iter;
use std::num::NonZero;
use std::thread::available_parallelism;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::Failure;

/// The stack of each thread: that of a main thread on Linux, because commands run on one of them.
const STACK_BYTES: usize = 8 << 20;

/// Starts the given number of threads, or one for each core.
///
/// Limits on processes or on address space can refuse threads. By default there are as many as the system
/// allows then: a half of the cores, a quarter and so on.
///
/// # Errors
///
/// An error of the operating system, if the given number cannot be started, or not a single thread by
/// default.
pub fn start_threads(wanted: Option<usize>) -> Result<ThreadPool, ThreadPoolBuildError> {
    let start = |threads| {
        ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("fanin-{i}"))
            .stack_size(STACK_BYTES)
            .build()
    };
    // Rayon's default for 0, which RAYON_NUM_THREADS sets.
    let first = start(wanted.unwrap_or(0));
    if first.is_ok() || wanted.is_some() {
        return first;
    }
    let cores = available_parallelism().map_or(1, NonZero::get);
    let mut fewer = iter::successors(Some(cores), |threads| {
        Some(threads / 2).filter(|&half| half > 0)
    });
    fewer
        .find_map(|threads| start(threads).ok())
        .map_or(first, Ok)
}

/// Runs a command on the given number of threads, or on one for each core. Without a given number, it runs
/// on as many as can be had, down to the calling thread alone.
pub(crate) fn run<T: Send>(
    wanted: Option<u16>,
    command: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    match (start_threads(wanted.map(usize::from)), wanted) {
        (Ok(pool), _) => pool.install(command),
        (Err(error), Some(threads)) => Err(Failure::Run(format!(
            "cannot start {threads} threads: {error}"
        ))),
        (Err(_), None) => {
            // Without a pool that has this thread, rayon would start its global one, and panic if it
            // cannot.
            let builder = ThreadPoolBuilder::new().num_threads(1).use_current_thread();
            let _pool = builder.build();
            command()
        }
    }
}
