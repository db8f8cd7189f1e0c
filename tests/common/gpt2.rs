//! GPT-2 as the preset initializes it with seed 42, and the hash that every implementation gives.

use fanin::checkpoint::read_tensor_list;
use fanin::{DType, Fill, Recipe};
use sha2::{Digest, Sha256};

/// SHA-256 of the bytes of all 148 tensors, in the list's order. Pinned with stream version 1.
pub const HASHES: [(DType, &str); 3] = [
    (
        DType::F32,
        "7412b58a769f311520d06c32b33e0676d025fc9961e5dcb2b5d054cc04179655",
    ),
    (
        DType::F16,
        "c98bbe028875f7f1d9e8dab67240a25b1a1b89100c9ccac2167c2f16f59bac8c",
    ),
    (
        DType::BF16,
        "6cba03c99c83ade8e769dcc93316b1032a5bd365ce20328987cb370143e50e1b",
    ),
];

/// The fills of all tensors.
pub fn fills(dtype: DType) -> Vec<Fill> {
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/gpt2.json");
    let tensors = read_tensor_list(list).unwrap();
    let recipe = Recipe::preset("gpt2").unwrap();
    let fills = recipe
        .resolve(&tensors, Some(42), Some(dtype))
        .unwrap()
        .fills();
    assert_eq!(fills.len(), 148);
    assert_eq!(fills.iter().map(Fill::elements).sum::<u64>(), 124_439_808);
    fills
}

/// A hash as it is usually written.
pub fn hex(hasher: Sha256) -> String {
    let hash = hasher.finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
