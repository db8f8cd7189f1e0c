//! Orthogonal matrices in a build without the feature `orthogonal`: an error that names it.

use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::Distribution;
use crate::job::Job;

/// Refuses an orthogonal fill. Other fills need no preparation.
pub(super) fn prepare(_job: &mut Job, fill: &Fill) -> Result<()> {
    let distribution = fill.distribution();
    if !matches!(distribution, Distribution::Orthogonal { .. }) {
        return Ok(());
    }
    Err(Error::Context {
        tensor: Some(fill.name().to_owned()),
        init: distribution.to_string(),
        reason:
            "needs the feature \"orthogonal\" of the crate fanin on the CPU: build with it, or \
                 fill on a GPU"
                .to_owned(),
    })
}

/// Does nothing: no matrix was made.
pub(super) fn forget() {}
