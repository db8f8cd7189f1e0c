//! Batches of chunks: chunks with the same pipeline and the same buffers become one dispatch, with a
//! request for each.

use std::collections::HashMap;
use std::hash::Hash;

use super::dispatch::{Chunk, MAX_CHUNK, Request};
use super::limits::Limits;
use super::shader::{MAX_REQUESTS, Variant};

/// The most workgroups of a batch. Together with the surplus ones of a grid's last row they stay far
/// below `u32::MAX`, which marks an unused request.
const MAX_WORKGROUPS: u32 = 1 << 31;

/// Limits of batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batching {
    /// The most requests of a batch.
    pub requests: usize,
    /// The number of elements from which on a chunk is a dispatch of its own.
    pub elements: u64,
}

/// The buffer, table and turns that the chunks of a batch share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bindings<B, T> {
    pub buffer: B,
    pub table: T,
    pub turns: Turns,
}

/// Neighbours that share a 32-bit word have different turns: two fills, or two pieces of one fill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Turns {
    pub fill: bool,
    pub piece: bool,
}

/// A dispatch of one chunk or several.
#[derive(Debug, PartialEq)]
pub(super) struct Batch<B, T> {
    pub variant: Variant,
    pub bindings: Bindings<B, T>,
    /// Bytes from the start of the buffer.
    pub binding_offset: u64,
    /// Bytes, a multiple of 4.
    pub binding_size: u64,
    /// In the order of their workgroups.
    pub requests: Vec<Request>,
    pub workgroups: u32,
}

impl<B, T> Batch<B, T> {
    /// Returns the batch of one chunk.
    pub fn one(chunk: &Chunk, bindings: Bindings<B, T>) -> Batch<B, T> {
        Batch {
            variant: chunk.variant,
            bindings,
            binding_offset: chunk.binding_offset,
            binding_size: chunk.binding_size,
            requests: vec![chunk.request],
            workgroups: chunk.workgroups,
        }
    }

    /// Returns whether the batch needs the shader for many requests.
    pub fn is_many(&self) -> bool {
        self.requests.len() > 1
    }

    /// Returns the number of requests that the pipeline binds.
    pub fn bound_requests(&self) -> usize {
        if self.is_many() { MAX_REQUESTS } else { 1 }
    }

    /// Returns the bytes of all requests that the pipeline binds.
    pub fn contents(&self) -> Vec<u8> {
        let mut requests = self.requests.clone();
        requests.resize(self.bound_requests(), Request::unused());
        bytemuck::cast_slice(&requests).to_vec()
    }

    /// Adds a chunk if there is room for it. It must not begin before the batch in the buffer.
    fn add(&mut self, chunk: &Chunk, batching: Batching, limits: Limits) -> bool {
        let size = chunk.variant.dtype.size();
        let lead = chunk.binding_offset - self.binding_offset;
        let binding_size = self.binding_size.max(lead + chunk.binding_size);
        let fits = self.requests.len() < batching.requests
            // Keeps the index of an element within the binding below 2^32.
            && binding_size <= limits.binding_size.min(2 * MAX_CHUNK * size)
            && u64::from(self.workgroups) + u64::from(chunk.workgroups)
                <= u64::from(MAX_WORKGROUPS);
        if fits {
            let mut request = chunk.request;
            request.destination += (lead / size) as u32;
            request.first_workgroup = self.workgroups;
            self.requests.push(request);
            self.binding_size = binding_size;
            self.workgroups += chunk.workgroups;
        }
        fits
    }
}

/// Puts chunks with equal bindings, turns and pipelines together. The order of chunks is not kept, so
/// they must not depend on each other.
pub(super) fn batches<B: Clone + Eq + Hash, T: Clone + Eq + Hash>(
    chunks: impl IntoIterator<Item = (Chunk, Bindings<B, T>)>,
    batching: Batching,
    limits: Limits,
) -> Vec<Batch<B, T>> {
    // Groups keep the order in which they first appear, so that equal calls record equal commands.
    let mut groups: Vec<(Bindings<B, T>, Vec<Chunk>)> = Vec::new();
    let mut known = HashMap::new();
    let mut batches: Vec<Batch<B, T>> = Vec::new();
    for (chunk, bindings) in chunks {
        if u64::from(chunk.request.count) >= batching.elements {
            batches.push(Batch::one(&chunk, bindings));
            continue;
        }
        // With the turns in `bindings`, the own turn of a chunk keeps chunks that share a word apart.
        let group = *known
            .entry((chunk.variant, chunk.turn, bindings.clone()))
            .or_insert_with(|| {
                groups.push((bindings, Vec::new()));
                groups.len() - 1
            });
        groups[group].1.push(chunk);
    }
    for (bindings, mut chunks) in groups {
        // `add` extends the binding of a batch only at its end.
        chunks.sort_by_key(|chunk| chunk.binding_offset);
        let first = batches.len();
        for chunk in &chunks {
            let open = batches[first..].last_mut();
            if !open.is_some_and(|batch| batch.add(chunk, batching, limits)) {
                batches.push(Batch::one(chunk, bindings.clone()));
            }
        }
    }
    batches
}
