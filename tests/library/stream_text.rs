//! Compares the crate with `tests/data/stream.py`, an implementation of `docs/STREAM.md` in Python that was written
//! from the text alone. A difference means that one of them deviates from the text.

use fanin::init::normal_table;
use fanin::kernel::box_muller::normal_pair;
use fanin::kernel::curve::ENTRIES;
use fanin::kernel::philox::{counter, philox};
use fanin::{DType, Fill, Init, Tensor, cpu};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Text {
    radii: String,
    circle: String,
    stream_id_of_w: u64,
    /// The counter, the key and the words.
    philox: Vec<[u32; 10]>,
    /// The seed, the name, the block and its words.
    words: Vec<(u64, String, u64, u32, u32, u32, u32)>,
    /// Two words and their pair of normal(0, 1) values, in units of 2^-25.
    pairs: Vec<(u32, u32, i32, i32)>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    init: String,
    seed: u64,
    name: String,
    dtype: String,
    /// The index of the first element.
    first: u64,
    /// The bits of consecutive elements, hexadecimal.
    values: Vec<String>,
}

fn text() -> Text {
    serde_json::from_str(include_str!("../data/stream.json")).unwrap()
}

fn sha256(entries: &[[u32; 2]]) -> String {
    let words = entries.as_flattened().iter();
    let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Rounds down to 24 significant bits.
fn cut(x: i64) -> i64 {
    let highest = 63 - (x ^ (x >> 63)).leading_zeros() as i32;
    x & (-1 << (highest - 23).max(0))
}

#[test]
fn words_are_those_of_the_text() {
    let text = text();
    for [c0, c1, c2, c3, k0, k1, words @ ..] in text.philox {
        assert_eq!(philox([c0, c1, c2, c3], [k0, k1]), words);
    }
    assert_eq!(fanin::stream_id("w"), text.stream_id_of_w);
    for (seed, name, block, x0, x1, x2, x3) in text.words {
        let halves = |x: u64| [x as u32, (x >> 32) as u32];
        let stream = halves(fanin::stream_id(&name));
        let words = philox(counter(block, 0, stream), halves(seed));
        assert_eq!(words, [x0, x1, x2, x3], "block {block} of {name}");
    }
}

#[test]
fn tables_of_normal_pairs_are_those_of_the_text() {
    let text = text();
    let table = normal_table();
    assert_eq!(ENTRIES, 4096);
    assert_eq!(sha256(&table[..ENTRIES]), text.radii);
    assert_eq!(sha256(&table[ENTRIES..]), text.circle);
}

#[test]
fn normal_pairs_are_those_of_the_text() {
    let text = text();
    let table = normal_table();
    assert_eq!(text.pairs.len(), 400);
    for (a, b, even, odd) in text.pairs {
        let (radius, (x, y)) = normal_pair(a, b, 1 << 31, &table);
        let p = |to: i32| cut((i64::from(radius) * i64::from(to) + (1 << 31)) >> 32);
        assert_eq!(
            (p(x), p(y)),
            (even.into(), odd.into()),
            "words {a:#010x} {b:#010x}"
        );
    }
}

#[test]
fn fills_are_those_of_the_text() {
    let mut failed = 0;
    for case in text().cases {
        let Case {
            init,
            seed,
            name,
            dtype,
            first,
            values,
        } = case;
        let dtype: DType = dtype.parse().unwrap();
        let init_parsed: Init = init.parse().unwrap();
        let tensor = Tensor::new(name, [1 << 40]).unwrap();
        let fill = Fill::new(&tensor, &init_parsed, seed)
            .unwrap()
            .with_dtype(dtype);
        let size = dtype.size() as usize;
        let mut bytes = vec![0; size * values.len()];
        cpu::fill_range(&fill, first, &mut bytes).unwrap();
        let got: Vec<String> = bytes
            .chunks_exact(size)
            .map(|element| {
                let digits = element.iter().rev().map(|byte| format!("{byte:02x}"));
                digits.collect()
            })
            .collect();
        let differ = got.iter().zip(&values).filter(|(a, b)| a != b).count();
        if differ > 0 {
            failed += 1;
            eprintln!(
                "{init} {dtype} of {} from {first}, seed {seed}: {differ} of {} elements differ\n \
                 text  {values:?}\n crate {got:?}",
                tensor.name(),
                values.len()
            );
        }
    }
    assert_eq!(failed, 0, "cases differ, see above");
}
