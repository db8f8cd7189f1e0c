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
