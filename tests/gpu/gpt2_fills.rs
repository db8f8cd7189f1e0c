//! The fills of GPT-2 by its preset with seed 42, and the hashes that every implementation must give.

use fanin::checkpoint::read_tensor_list;
use fanin::{DType, Fill, Recipe};
use sha2::{Digest, Sha256};

/// SHA-256 of the bytes of all 148 tensors, in the list's order. Pinned with stream version 1.
pub const HASHES: [(DType, &str); 3] = [
    (
        DType::F32,
        "2443f5859590b3c39bfd569589ecde13c3e592489dbe950b9094b515d43bfa07",
    ),
    (
        DType::F16,
        "2f214086827af1c84943076b526c0fd8fc0f8728dbe9ad6a515b203be5592e84",
    ),
    (
        DType::BF16,
        "ce06b16b470335dd0edb280f685b4c914220e04a483f3466a3efdecb5a9576e6",
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

/// Returns a hash in hexadecimal.
pub fn hex(hasher: Sha256) -> String {
    let hash = hasher.finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
