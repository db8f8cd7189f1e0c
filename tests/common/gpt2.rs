//! GPT-2 as the preset initializes it with seed 42, and the hash that every implementation gives.

use fanin::checkpoint::read_tensor_list;
use fanin::{DType, Fill, Recipe};
use sha2::{Digest, Sha256};

/// SHA-256 of the bytes of all 148 tensors, in the list's order. Pinned with stream version 1.
pub const HASHES: [(DType, &str); 3] = [
    (
        DType::F32,
        "dc67685cb9694f88db576a170346070e6b856cfb834a40f366b89c72ed009cd6",
    ),
    (
        DType::F16,
        "256423644ac3209d77d63367c3305c562df8db386ba6c0d63c847da88c082b3c",
    ),
    (
        DType::BF16,
        "7f7895a52173fef43ec45bd9d11cc97637449bd526614f8e722973e8eb6419c1",
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
