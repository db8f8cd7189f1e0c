//! The part of a tensor that a rank holds.

use std::ops::Range;

use fanin::{Mesh, Placement, Shape};
use pyo3::prelude::*;

use crate::arguments::{Dims, Rank};
use crate::error::raised;

/// Returns the ranges of indices that a rank holds along each dimension of a tensor.
///
/// `placements` has a placement for each dimension of the mesh, as text: `replicate`, `shard(0)`,
/// `strided_shard(0,split_factor=2)`. Ranks count row by row through the mesh.
#[pyfunction]
pub fn local_indices(
    shape: Dims,
    mesh: Dims,
    placements: Vec<String>,
    rank: Rank,
) -> PyResult<Vec<Vec<(u64, u64)>>> {
    let indices = indices(shape, &mesh, &placements, rank.0).map_err(raised)?;
    let pairs = |held: &Vec<Range<u64>>| held.iter().map(|r| (r.start, r.end)).collect();
    Ok(indices.iter().map(pairs).collect())
}

fn indices(
    shape: Dims,
    mesh: &Dims,
    placements: &[String],
    rank: u64,
) -> fanin::Result<Vec<Vec<Range<u64>>>> {
    // The mesh of torch has names that do not matter here.
    let dims = mesh
        .0
        .iter()
        .enumerate()
        .map(|(i, &size)| (i.to_string(), size));
    let placements = placements.iter().map(|text| text.parse());
    let placements = placements.collect::<fanin::Result<Vec<Placement>>>()?;
    let local = Mesh::new(dims)?.local(&Shape::new(shape.0)?, &placements, rank)?;
    Ok(local.indices().to_vec())
}
