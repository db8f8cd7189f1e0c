//! The request of one fill.

use crate::init::Scaling;
use crate::job::Job;
use crate::tensor::DType;

/// A job, and the numbers that all of its blocks share.
#[derive(Clone, Copy)]
pub(super) struct Draw<'a> {
    pub job: &'a Job,
    pub dtype: DType,
    /// A copy of the job's scaling. Behind the reference it would be loaded again in each step.
    pub scaling: Scaling,
    /// The keys of the rounds.
    pub keys: [[u32; 2]; 10],
}
