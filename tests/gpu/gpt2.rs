//! One hash for a whole model on every backend: GPT-2, 124,439,808 parameters, seed 42. `tests/gpu/dawn.rs`
//! has the same test under Dawn.

use fanin::{DType, Fill, cpu};
use sha2::{Digest, Sha256};

use crate::devices::devices;
use crate::gpt2_fills;

/// Bytes of one step.
const STEP: usize = 64 << 20;

fn hash(dtype: DType, make: impl Fn(&Fill, u64, &mut [u8])) -> String {
    let mut hasher = Sha256::new();
    let mut bytes = vec![0; STEP];
    for fill in gpt2_fills::fills(dtype) {
        let mut start = 0;
        while start < fill.elements() {
            let rest = (fill.elements() - start) * dtype.size();
            let part = &mut bytes[..rest.min(STEP as u64) as usize];
            make(&fill, start, part);
            hasher.update(&*part);
            start += part.len() as u64 / dtype.size();
        }
    }
    gpt2_fills::hex(hasher)
}

#[test]
fn one_hash_on_the_cpu() {
    for (dtype, expected) in gpt2_fills::HASHES {
        let seen = hash(dtype, |fill, start, part| {
            cpu::fill_range(fill, start, part).unwrap();
        });
        assert_eq!(seen, expected, "{dtype}");
    }
}

#[test]
fn one_hash_on_every_adapter() {
    for (name, gpu) in devices() {
        for (dtype, expected) in gpt2_fills::HASHES {
            let seen = hash(dtype, |fill, start, part| {
                gpu.fill_range_to_host(fill, start, part).unwrap();
            });
            println!("{dtype:4} {seen} {name}");
            assert_eq!(seen, expected, "{name}, {dtype}");
        }
    }
}
