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

#[cfg(test)]
mod tests {
    use crate::{Fill, Init, Tensor, cpu};

    #[test]
    fn an_orthogonal_fill_names_the_feature_that_it_needs() {
        let tensor = Tensor::new("w", [2, 2]).unwrap();
        let fill = |init| Fill::new(&tensor, &init, 1).unwrap();
        let error = cpu::fill(&fill(Init::orthogonal()), &mut [0; 16]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "tensor \"w\": orthogonal(gain=1,rows=2,columns=2) needs the feature \"orthogonal\" of the \
             crate fanin on the CPU: build with it, or fill on a GPU"
        );
        assert!(cpu::fill(&fill(Init::ones()), &mut [0; 16]).is_ok());
    }
}
