//! The threads of the CPU.

use std::num::NonZero;
use std::thread::available_parallelism;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::Failure;

/// The stack of each thread: that of a main thread on Linux, because the command runs on one of them.
const STACK_BYTES: usize = 8 << 20;

/// Runs a command on the given number of threads, or on one for each core.
///
/// Limits on processes or on address space can refuse threads. A given number is an error then. By default
/// there are as many as the system allows, down to the calling thread alone.
pub fn run<T: Send>(
    wanted: Option<u16>,
    command: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    let pool =
        match wanted {
            Some(threads) => Some(start(threads.into()).map_err(|error| {
                Failure::Run(format!("cannot start {threads} threads: {error}"))
            })?),
            None => start_fewer(),
        };
    match pool {
        Some(pool) => pool.install(command),
        None => {
            // Without a pool that has this thread, rayon would start its global one, and panic if it
            // cannot.
            let builder = ThreadPoolBuilder::new().num_threads(1).use_current_thread();
            let _pool = builder.build();
            command()
        }
    }
}

/// Starts a pool of this many threads, or of rayon's default for 0.
fn start(threads: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .stack_size(STACK_BYTES)
        .build()
}

/// Starts a pool of the default size, or of a half, a quarter and so on of the cores.
fn start_fewer() -> Option<ThreadPool> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let halves =
        std::iter::successors(Some(cores), |&threads| (threads > 1).then_some(threads / 2));
    std::iter::once(0)
        .chain(halves)
        .find_map(|threads| start(threads).ok())
}
