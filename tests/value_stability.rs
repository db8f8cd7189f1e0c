//! Pinned hashes of whole tensors. A change here is a change of produced bits, which is a new
//! version of the stream and never just a new number in this file: see docs/STREAM.md.

#![allow(clippy::single_range_in_vec_init)] // a slice of a tensor with one dimension

use std::ops::Range;

use fanin::init::{FanMode, Nonlinearity};
use fanin::{DType, Fill, Init, STREAM_VERSION, Tensor, cpu};
use sha2::{Digest, Sha256};

fn hash(fill: &Fill) -> String {
    let mut bytes = vec![0; fill.bytes() as usize];
    cpu::fill(fill, &mut bytes).unwrap();
    let hash = Sha256::digest(&bytes);
    hash.iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn fill(name: &str, dims: &[u64], init: &Init, seed: u64) -> Fill {
    Fill::new(&Tensor::new(name, dims).unwrap(), init, seed).unwrap()
}

/// Compares all before it fails, so that one run shows what changed.
fn check(cases: Vec<(String, String, &str)>) {
    let changed: Vec<String> = cases
        .iter()
        .filter(|(_, seen, pinned)| seen != pinned)
        .map(|(what, seen, pinned)| format!("{what}: {seen}, pinned {pinned}"))
        .collect();
    assert!(
        changed.is_empty(),
        "bits of stream version {STREAM_VERSION} changed:\n{}",
        changed.join("\n")
    );
}

#[test]
fn rules_in_every_dtype() {
    let he = Init::kaiming_normal_with(FanMode::FanOut, Nonlinearity::Relu);
    let rules: [(Init, [&str; 3]); 10] = [
        (
            Init::normal(0.0, 1.0),
            [
                "f224fc4a91fe5fe78f19ea426162e83a",
                "537e1dc3fa391495f85d5e22d0a85ed4",
                "f40a2714a29a2765ee429770e3e3f0c4",
            ],
        ),
        (
            Init::normal(0.0, 0.02),
            [
                "94a9d19a3a8cc8debc36b3b5dbe318e9",
                "2fd3439e653d5fd252ac4d7143f82e86",
                "9706aca329aa34d7e916a9be51d42ab9",
            ],
        ),
        (
            Init::normal(-1.5, 0.5),
            [
                "3ccf7fe3a922a86857ba469a0ded1fdd",
                "fc2cb441a4606f0fb440596347df15b7",
                "7c9d07bc76ea9a7889978ea9fa75a24d",
            ],
        ),
        (
            Init::normal(1e-39, 1e-38),
            [
                "4d8a03cd46eff9a2ea11671596d32dfe",
                "8149c6433d69e21cec275d5cd36bace0",
                "e24b0f370bbea66d4d294e5ebc83cecb",
            ],
        ),
        (
            Init::uniform(-1.0, 1.0),
            [
                "0e5ebdec12af1621a9e407f6a4bd129a",
                "a04e9dce76cbc87697a9c274c2a65e24",
                "39399637cbada2abca7d423ba2637197",
            ],
        ),
        (
            Init::uniform(0.0, 1.0),
            [
                "898ed5eb94ba5ad7294f7663bcf3b5f0",
                "e8b2f69aa4ec813c0be06889940cda5d",
                "693345492a93539eb3a1f7f0a382b438",
            ],
        ),
        (
            Init::uniform(-1.0, 3.0),
            [
                "b1940c0c653c25ccb3d0d0f3f25228e3",
                "0cbf389d73d154666fa0576edf144fb5",
                "c393fd272494d528b0e225e11a94021e",
            ],
        ),
        (
            Init::xavier_uniform(),
            [
                "92c6de56677671bad2288fdfa485c462",
                "aabe8232c589013e735356ba3bac5203",
                "54e2d39d4aae4c83918e3a4a269bf3f4",
            ],
        ),
        (
            he,
            [
                "001cf3aaa89307452630e15eeed9b8a1",
                "73ceeb9934bd8772a66b7f5e1841c6c3",
                "4201a102f88452b29c6b7115eb547c0e",
            ],
        ),
        (
            Init::constant(0.1),
            [
                "821c478924c84f857e32ae91fdb61817",
                "61ec04eb643b43299c1304baaf41667a",
                "a30b26054f93f85759617d5111e69b92",
            ],
        ),
    ];
    let mut cases = Vec::new();
    for (init, hashes) in rules {
        for (dtype, pinned) in [DType::F32, DType::F16, DType::BF16]
            .into_iter()
            .zip(hashes)
        {
            let fill = fill("w", &[97, 101], &init, 42).with_dtype(dtype);
            cases.push((format!("{init}, {dtype}"), hash(&fill), pinned));
        }
    }
    check(cases);
}

#[test]
fn seeds_names_and_shapes() {
    let normal = Init::normal(0.0, 1.0);
    let rows: [(u64, &str, &[u64], &str); 8] = [
        (0, "w", &[1000], "ec14201a8769afadb452e75834c3093d"),
        (1, "w", &[1000], "1f92a9262818e1ff6960f8e175420c5c"),
        (1 << 32, "w", &[1000], "af5d4b11ba16ae7c296b785274f33bb5"),
        (u64::MAX, "w", &[1000], "7d7675c39307dfdb7d6fd06b1e39759f"),
        (42, "", &[1000], "20b700c96c1993ecada38841fda7e57f"),
        (
            42,
            "größe/層.0",
            &[1000],
            "a155e309c54aaca199d8853a73fd6e6e",
        ),
        (
            42,
            "conv.weight",
            &[64, 3, 7, 7],
            "c5942d4b17bee11a1f40bc5f80cb59fe",
        ),
        (42, "scalar", &[], "1eb1cd3af3b2cc3d3abfc884691cdf21"),
    ];
    let cases = rows.into_iter().map(|(seed, name, dims, pinned)| {
        let what = format!("seed {seed}, {name:?}, {dims:?}");
        (what, hash(&fill(name, dims, &normal, seed)), pinned)
    });
    check(cases.collect());
}

#[test]
fn slices_far_out() {
    let rows: [(&[u64], &[Range<u64>], &str); 3] = [
        (
            &[1 << 50],
            &[(1 << 50) - 1000..1 << 50],
            "ece7ed2a27b5713409113e285bd2e127",
        ),
        (
            &[1 << 20, 1 << 20],
            &[1 << 19..(1 << 19) + 30, 777..811],
            "ad3244029902ba3a82af2d32e52d1e5a",
        ),
        (
            &[3, 1 << 33, 5],
            &[1..3, (1 << 32) - 9..(1 << 32) + 9, 1..4],
            "f240c7e12efd2b3ba984335b2e62667d",
        ),
    ];
    let cases = rows.into_iter().map(|(dims, ranges, pinned)| {
        let part = fill("w", dims, &Init::normal(0.0, 1.0), 42).slice(ranges);
        (format!("{dims:?} {ranges:?}"), hash(&part.unwrap()), pinned)
    });
    check(cases.collect());
}

/// Readable, for a first look at another implementation.
#[test]
fn first_elements() {
    let values = |init: &Init| {
        let mut values = vec![0f32; 8];
        cpu::fill_slice(&fill("w", &[8], init, 42), &mut values).unwrap();
        values
            .iter()
            .map(|x| format!("{:08x}", x.to_bits()))
            .collect::<Vec<_>>()
            .join(" ")
    };
    check(vec![
        (
            "normal(0, 1)".into(),
            values(&Init::normal(0.0, 1.0)),
            "3feb6b28 bf704b16 bf175e4c 3f84ec6f befdaaf1 c00bf6b0 3e15fbab bfa80393",
        ),
        (
            "normal(0, 0.02)".into(),
            values(&Init::normal(0.0, 0.02)),
            "3d16aafb bc99c9a8 bc41c060 3caa2465 bc2258ec bd332747 3b3ffa74 bcd70ed0",
        ),
        (
            "uniform(-1, 1)".into(),
            values(&Init::uniform(-1.0, 1.0)),
            "bf4344dd 3f598be5 bca928ca beaba4e4 bf568f40 3edbb0fa be27deed 3f090e2a",
        ),
    ]);
}
