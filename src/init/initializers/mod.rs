//! The entries of the table of initializers, one file for each family, with their constructors.

pub(super) mod buffers;
pub(super) mod matrix;
pub(super) mod positions;
pub(super) mod simple;
pub(super) mod siren;
pub(super) mod state_space;
pub(super) mod transformer;
pub(super) mod variance;
