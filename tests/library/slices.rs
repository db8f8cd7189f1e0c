//! Promise 2: any slice that is filled on its own has the bits of the whole.

use std::ops::Range;

use fanin::{DType, Fill, Init, Tensor, cpu};
use proptest::prelude::*;

fn bytes(fill: &Fill) -> Vec<u8> {
    let mut out = vec![0; fill.bytes() as usize];
    cpu::fill(fill, &mut out).unwrap();
    out
}

fn slice() -> impl Strategy<Value = (Vec<u64>, Vec<Range<u64>>)> {
    let dimension = (1u64..20).prop_flat_map(|dim| {
        let ends = (0..=dim, 0..=dim);
        ends.prop_map(move |(a, b)| (dim, a.min(b)..a.max(b)))
    });
    proptest::collection::vec(dimension, 0..5).prop_map(|parts| parts.into_iter().unzip())
}

/// Returns the indices in the whole tensor of a slice's elements, by nested loops.
fn indices(dims: &[u64], ranges: &[Range<u64>]) -> Vec<usize> {
    let mut indices = vec![0];
    for (&dim, range) in dims.iter().zip(ranges) {
        indices = indices
            .iter()
            .flat_map(|&outer| {
                range
                    .clone()
                    .map(move |i| outer * dim as usize + i as usize)
            })
            .collect();
    }
    indices
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn slices_are_cut_from_the_whole(
        (dims, ranges) in slice(),
        seed: u64,
        dtype in prop::sample::select(vec![DType::F32, DType::F16, DType::BF16]),
        init in prop::sample::select(vec![Init::normal(0.5, 2.0), Init::uniform(-1.0, 1.0), Init::ones()]),
    ) {
        let tensor = Tensor::new("w", dims.clone()).unwrap();
        let whole = Fill::new(&tensor, &init, seed).unwrap().with_dtype(dtype);
        let part = whole.clone().slice(&ranges).unwrap();
        let size = dtype.size() as usize;
        let whole = bytes(&whole);
        let expected: Vec<u8> = indices(&dims, &ranges)
            .into_iter()
            .flat_map(|i| whole[i * size..][..size].to_vec())
            .collect();
        prop_assert_eq!(bytes(&part), expected);
    }

    #[test]
    fn ranges_are_cut_from_the_slice((dims, ranges) in slice(), seed: u64, a in 0.0..1.0, b in 0.0..1.0) {
        let tensor = Tensor::new("w", dims).unwrap();
        let fill = Fill::new(&tensor, &Init::normal(0.0, 1.0), seed).unwrap().slice(&ranges).unwrap();
        let all = bytes(&fill);
        let at = |share: f64| (share * fill.elements() as f64) as usize;
        let (start, end) = (at(a).min(at(b)), at(a).max(at(b)));
        let mut part = vec![0; 4 * (end - start)];
        cpu::fill_range(&fill, start as u64, &mut part).unwrap();
        prop_assert_eq!(&part, &all[4 * start..4 * end]);
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let tensor = Tensor::new("w", [1000, 999]).unwrap();
    let fill = Fill::new(&tensor, &Init::normal(0.0, 1.0), 3).unwrap();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| bytes(&fill))
    };
    let one = with(1);
    assert!(one == with(2) && one == with(7));
}
