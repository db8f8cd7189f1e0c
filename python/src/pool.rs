//! Thread pools for fills, which a forked process makes anew.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use rayon::ThreadPool;

use crate::arguments::Threads;
use crate::error::ArgumentError;

/// The most pools that are kept. A caller who tries many sizes does not collect idle threads.
const KEPT: usize = 4;

/// The pools of a process, the one that was used last first.
struct Pools {
    /// The process that made them. Threads do not survive a fork.
    process: u32,
    /// The requested number of threads, or none for all cores, and the pool.
    pools: Vec<(Option<usize>, Arc<ThreadPool>)>,
}

static POOLS: Mutex<Pools> = Mutex::new(Pools {
    process: 0,
    pools: Vec::new(),
});

/// Returns a pool of this many threads, by default one for each core.
///
/// Rayon's global pool is not used: in a forked process, such as a worker of a data loader, its
/// threads are gone and a fill would wait for them forever.
///
/// `_py` shows that the interpreter is locked. A fork by Python is, too, so no other thread can hold
/// the lock of the pools at that time, and the child does not find it locked.
pub fn pool(_py: Python<'_>, threads: Option<Threads>) -> PyResult<Arc<ThreadPool>> {
    let size = threads.map(|Threads(threads)| threads);
    let mut guard = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let Pools { process, pools } = &mut *guard;
    if *process != std::process::id() {
        // Not dropped: that would signal threads that this process does not have.
        std::mem::forget(std::mem::take(pools));
        *process = std::process::id();
    }
    if let Some(i) = pools.iter().position(|(known, _)| *known == size) {
        pools[..=i].rotate_right(1);
    } else {
        let pool = fanin_cli::start_threads(size);
        let pool = pool.map_err(|error| {
            let threads = size.map_or("a thread".to_owned(), |size| format!("{size} threads"));
            ArgumentError::new_err(format!("cannot start {threads}: {error}"))
        })?;
        pools.insert(0, (size, Arc::new(pool)));
        pools.truncate(KEPT);
    }
    Ok(Arc::clone(&pools[0].1))
}
