//! Many fills in few dispatches: those that take the same pipeline and fill parts of one buffer
//! become one dispatch, with a request for each.

use std::collections::HashMap;
use std::hash::Hash;

use super::dispatch::{Dispatch, MAX_DISPATCH, Request};
use super::raw::Limits;
use super::shader::{MAX_REQUESTS, Variant};

/// Workgroups of a batch at most: numbers of workgroups, with those of a grid's last row that have
/// no work, stay far below the one that marks an unused request.
const MAX_WORKGROUPS: u32 = 1 << 31;

/// What is put together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batching {
    /// Requests of a batch at most.
    pub requests: usize,
    /// Elements from which on a dispatch stays alone.
    pub elements: u64,
}

/// What runs as one dispatch.
#[derive(Debug, PartialEq)]
pub(super) struct Batch<Place> {
    pub variant: Variant,
    pub place: Place,
    /// Bytes from the start of the buffer.
    pub binding_offset: u64,
    /// Bytes, a multiple of 4.
    pub binding_size: u64,
    /// In the order of their workgroups.
    pub requests: Vec<Request>,
    pub workgroups: u32,
}

impl<Place> Batch<Place> {
    pub fn one(dispatch: &Dispatch, place: Place) -> Batch<Place> {
        Batch {
            variant: dispatch.variant,
            place,
            binding_offset: dispatch.binding_offset,
            binding_size: dispatch.binding_size,
            requests: vec![dispatch.request],
            workgroups: dispatch.workgroups,
        }
    }

    /// Whether its pipeline is one that finds its request among many.
    pub fn is_many(&self) -> bool {
        self.requests.len() > 1
    }

    /// Requests that its pipeline binds.
    pub fn bound_requests(&self) -> usize {
        if self.is_many() { MAX_REQUESTS } else { 1 }
    }

    /// The bytes of all requests that its pipeline binds.
    pub fn contents(&self) -> Vec<u8> {
        let mut requests = self.requests.clone();
        requests.resize(self.bound_requests(), Request::unused());
        bytemuck::cast_slice(&requests).to_vec()
    }

    /// Takes in a dispatch that begins no earlier in the buffer, if there is room for it.
    fn take_in(&mut self, dispatch: &Dispatch, batching: Batching, limits: Limits) -> bool {
        let size = dispatch.variant.dtype.size();
        let lead = dispatch.binding_offset - self.binding_offset;
        let binding_size = self.binding_size.max(lead + dispatch.binding_size);
        let fits = self.requests.len() < batching.requests
            // An element's number within the binding stays below 2^32.
            && binding_size <= limits.binding_size.min(2 * MAX_DISPATCH * size)
            && u64::from(self.workgroups) + u64::from(dispatch.workgroups)
                <= u64::from(MAX_WORKGROUPS);
        if fits {
            let mut request = dispatch.request;
            request.destination += (lead / size) as u32;
            request.first_workgroup = self.workgroups;
            self.requests.push(request);
            self.binding_size = binding_size;
            self.workgroups += dispatch.workgroups;
        }
        fits
    }
}

/// Puts dispatches that have their place (buffer, table), their turn and their pipeline in common
/// together. Their order is not kept: they must not depend on each other.
pub(super) fn batches<Place: Clone + Eq + Hash>(
    dispatches: impl IntoIterator<Item = (Dispatch, Place)>,
    batching: Batching,
    limits: Limits,
) -> Vec<Batch<Place>> {
    // In the order in which they first appear, so that equal calls record equal commands.
    let mut groups: Vec<(Place, Vec<Dispatch>)> = Vec::new();
    let mut known = HashMap::new();
    let mut batches: Vec<Batch<Place>> = Vec::new();
    for (dispatch, place) in dispatches {
        if u64::from(dispatch.request.count) >= batching.elements {
            batches.push(Batch::one(&dispatch, place));
            continue;
        }
        let group = *known
            .entry((dispatch.variant, dispatch.turn, place.clone()))
            .or_insert_with(|| {
                groups.push((place, Vec::new()));
                groups.len() - 1
            });
        groups[group].1.push(dispatch);
    }
    for (place, mut dispatches) in groups {
        dispatches.sort_by_key(|dispatch| dispatch.binding_offset);
        let first = batches.len();
        for dispatch in &dispatches {
            let open = batches[first..].last_mut();
            if !open.is_some_and(|batch| batch.take_in(dispatch, batching, limits)) {
                batches.push(Batch::one(dispatch, place.clone()));
            }
        }
    }
    batches
}
