//! The place of `orthogonal.rs` in a build without the feature `orthogonal`.

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::DistributionKind;
use crate::job::Job;

/// Refuses orthogonal fills. Returns other jobs as they are.
pub(super) fn with_matrix(job: Job, fill: &Fill) -> Result<Job> {
    let distribution = fill.distribution();
    if !matches!(distribution.kind(), DistributionKind::Orthogonal { .. }) {
        return Ok(job);
    }
    let reason = "needs the feature \"orthogonal\" of the crate fanin on the CPU: build with it, or \
                  fill on a GPU";
    Err(Error::context(distribution.to_string(), reason).named(fill.name()))
}

/// Does nothing, because no matrix was made.
pub(super) fn forget() {}
