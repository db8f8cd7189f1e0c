//! Any recipe, tensor list, initializer or file of weights is read, or it is an error of one line. Each run tests the corpus of the fuzz targets
//! and mutations of it. `fuzz/README.md` describes how to search for more inputs.

// Not `required-features` in Cargo.toml: packages do not have this file, and could not have its target.
#![cfg(all(feature = "checkpoint", feature = "orthogonal"))]

#[path = "../fuzz/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

use fanin::{DType, Error, Fill, Init, Mesh, Part, Placement, Recipe, Shape, Slice, Tensor, cpu};
use proptest::prelude::*;
use proptest::sample::Index;

/// Returns the committed files of a target's corpus, in a fixed order.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "{folder:?} holds {} files", paths.len());
    paths
        .into_iter()
        .map(|path| fs::read(path).unwrap())
        .collect()
}

#[test]
fn the_corpus_is_read_or_refused() {
    for bytes in corpus("recipe") {
        checks::recipe(&bytes);
    }
    for bytes in corpus("tensor_list") {
        checks::tensor_list(&bytes);
    }
    for bytes in corpus("init") {
        checks::init(&bytes);
    }
    for bytes in corpus("weights") {
        checks::weights(&bytes);
    }
}

/// One change of an input.
#[derive(Clone, Debug)]
enum Mutation {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    /// Replaces a part by a part of another input.
    Splice(Index, Index, Index, Index),
    /// Repeats a part many times.
    Repeat(Index, Index, u8),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    // Pieces of the formats reach deeper into the parsers than random bytes.
    let words = prop_oneof![
        "[\\[\\]{}(),.:=\"'\\\\*?!+/-]{1,4}",
        Just("18446744073709551616".to_owned()),
        Just("1e999".to_owned()),
        Just("-0.0".to_owned()),
        Just("\u{202e}\u{0}".to_owned()),
        Just("match = '*'\ninit = 'normal'\n".to_owned()),
    ];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (any::<Index>(), words).prop_map(|(at, text)| Mutation::Insert(at, text.into_bytes())),
        any::<(Index, Index)>().prop_map(|(a, b)| Mutation::Remove(a, b)),
        any::<(Index, Index, Index, Index)>().prop_map(|(a, b, c, d)| Mutation::Splice(a, b, c, d)),
        any::<(Index, Index, u8)>().prop_map(|(a, b, n)| Mutation::Repeat(a, b, n)),
    ]
}

fn range(bytes: &[u8], a: Index, b: Index) -> std::ops::Range<usize> {
    let (a, b) = (a.index(bytes.len() + 1), b.index(bytes.len() + 1));
    a.min(b)..a.max(b)
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], mutation: Mutation) {
    match mutation {
        Mutation::Replace(at, byte) if !bytes.is_empty() => {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        Mutation::Replace(..) => {}
        Mutation::Insert(at, text) => {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, text);
        }
        Mutation::Remove(a, b) => drop(bytes.drain(range(bytes, a, b))),
        Mutation::Splice(a, b, c, d) => {
            let part = other[range(other, c, d)].to_vec();
            bytes.splice(range(bytes, a, b), part);
        }
        Mutation::Repeat(a, b, n) => {
            let range = range(bytes, a, b);
            // Enough for deep nesting, but not for a long run time.
            let part = bytes[range.clone()].repeat(usize::from(n) % 40);
            if part.len() < 1 << 14 {
                bytes.splice(range, part);
            }
        }
    }
}

fn check(target: &str, check: fn(&[u8]), inputs: (Index, Index), mutations: Vec<Mutation>) {
    let corpus = corpus(target);
    let mut bytes = corpus[inputs.0.index(corpus.len())].clone();
    let other = &corpus[inputs.1.index(corpus.len())];
    for mutation in mutations {
        mutate(&mut bytes, other, mutation);
    }
    check(&bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_recipes_are_read_or_refused(
        inputs: (Index, Index),
        mutations in proptest::collection::vec(mutation(), 1..4),
    ) {
        check("recipe", checks::recipe, inputs, mutations);
    }

    #[test]
    fn mutated_tensor_lists_are_read_or_refused(
        inputs: (Index, Index),
        mutations in proptest::collection::vec(mutation(), 1..4),
    ) {
        check("tensor_list", checks::tensor_list, inputs, mutations);
    }

    #[test]
    fn mutated_initializers_are_read_or_refused(
        inputs: (Index, Index),
        mutations in proptest::collection::vec(mutation(), 1..4),
    ) {
        check("init", checks::init, inputs, mutations);
    }
}

proptest! {
    // Each case writes and reads several files.
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn mutated_weights_are_read_or_refused(
        inputs: (Index, Index),
        mutations in proptest::collection::vec(mutation(), 1..4),
    ) {
        check("weights", checks::weights, inputs, mutations);
    }
}

/// Sizes that a fuzzer does not reach by itself.
#[test]
fn messages_about_a_mebibyte_are_short() {
    let long = format!("\u{9b}\u{202e}{}", "x".repeat(1 << 20));
    let refused = |text: &str| checks::check_message(&text.parse::<Init>().unwrap_err());
    for text in [
        long.clone(),
        format!("{long}()"),
        format!("normal({long}=1)"),
        format!("normal(std={long})"),
        format!("normal({long})"),
        format!("kaiming_normal(mode={long})"),
        format!("normal(std=1{})", "0".repeat(1 << 20)),
    ] {
        refused(&text);
    }
    checks::check_message(&text_error(long.parse::<DType>()));
    let shape = Shape::new([4, 6]).unwrap();
    let slices = [
        long.clone(),
        "0:1,".repeat(1 << 18),
        format!("{},:", "1".repeat(1 << 20)),
    ];
    for text in slices {
        checks::check_message(&Slice::parse(&text, &shape).unwrap_err());
        checks::check_message(&Part::parse(&text, &shape).unwrap_err());
    }
    let huge = Shape::new(vec![2; 1 << 20]).unwrap_err();
    checks::check_message(&huge.named(&long));
    checks::check_message(&text_error(Recipe::preset(&long)));
    let tensor = Tensor::with_shape(&long, shape);
    let fill = Fill::new(&tensor, &"eye".parse().unwrap(), 0).unwrap();
    checks::check_message(&cpu::fill(&fill, &mut [0; 3]).unwrap_err());
    for mesh in [
        vec![(long.clone(), 0)],
        vec![(long.clone(), 2), (long.clone(), 2)],
    ] {
        checks::check_message(&text_error(Mesh::new(mesh)));
    }
    checks::check_message(&text_error(long.parse::<Placement>()));
}

fn text_error<T>(result: fanin::Result<T>) -> Error {
    match result {
        Ok(_) => panic!("this should be refused"),
        Err(error) => error,
    }
}
