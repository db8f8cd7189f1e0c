//! Promise 2 for training on many ranks. Each rank fills its part by the placements of `torch.distributed` alone,
//! and the part has the bits of the whole. The parts are those of torch itself, which `tests/data/placements.py`
//! has recorded.
#![allow(clippy::single_range_in_vec_init)] // a slice of a tensor with one dimension

use std::ops::Range;

use fanin::checkpoint::{self, Contents};
use fanin::gpu::{Gpu, Target};
use fanin::placement::FlatParameter;
use fanin::{
    DType, Error, Fill, Init, LocalPart, Mesh, Placement, Shape, ShardSpec, Slice, Tensor, cpu,
};
use proptest::prelude::*;
use serde::Deserialize;

use crate::devices::devices;

fn bytes(fill: &Fill) -> Vec<u8> {
    let mut out = vec![0; fill.bytes() as usize];
    cpu::fill(fill, &mut out).unwrap();
    out
}

fn fill(dims: &[u64], spec: &str, dtype: DType) -> Fill {
    let tensor = Tensor::new("w", dims).unwrap();
    let init: Init = spec.parse().unwrap();
    Fill::new(&tensor, &init, 42).unwrap().with_dtype(dtype)
}

/// Returns the bytes of these elements of a tensor.
fn picked(whole: &[u8], size: u64, elements: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let element = |i: u64| whole[(i * size) as usize..][..size as usize].to_vec();
    elements.into_iter().flat_map(element).collect()
}

// The parts that torch itself makes.

#[derive(Deserialize)]
struct Torch {
    placed: Vec<Placed>,
    flat: Vec<Flat>,
    fsdp_over_tp: Vec<FsdpOverTp>,
}

#[derive(Deserialize)]
struct Placed {
    mesh: Vec<u64>,
    shape: Vec<u64>,
    placements: Vec<String>,
    ranks: Vec<PlacedRank>,
}

#[derive(Deserialize)]
struct PlacedRank {
    dims: Vec<u64>,
    offsets: Vec<u64>,
    padding: Option<Vec<u64>>,
    elements: Vec<u64>,
}

#[derive(Deserialize)]
struct Flat {
    numels: Vec<u64>,
    align: u64,
    ranks: Vec<FlatRank>,
}

#[derive(Deserialize)]
struct FlatRank {
    elements: u64,
    padding: u64,
    /// The start, the end and the offset of a part.
    parts: Vec<Option<[u64; 3]>>,
}

#[derive(Deserialize)]
struct FsdpOverTp {
    mesh: Vec<u64>,
    ranks: Vec<Vec<Parameter>>,
}

#[derive(Deserialize)]
struct Parameter {
    shape: Vec<u64>,
    placements: Vec<String>,
    dims: Vec<u64>,
}

fn torch() -> Torch {
    serde_json::from_str(include_str!("../data/placements.json")).unwrap()
}

fn mesh(sizes: &[u64]) -> Mesh {
    let names = ["a", "b", "c", "d"].into_iter();
    Mesh::new(names.zip(sizes.iter().copied())).unwrap()
}

fn parsed(placements: &[String]) -> Vec<Placement> {
    placements
        .iter()
        .map(|text| text.parse().unwrap())
        .collect()
}

/// Returns the elements whose indices are all among the given ones, in row-major order.
fn elements(dims: &[u64], indices: &[Vec<u64>]) -> Vec<u64> {
    dims.iter()
        .zip(indices)
        .fold(vec![0], |outer, (dim, held)| {
            let inner = |element: u64| held.iter().map(move |index| element * dim + index);
            outer.into_iter().flat_map(inner).collect()
        })
}

/// Copies a part's elements to their places in the whole.
fn scatter(whole: &mut [u8], part: &[u8], elements: &[u64], size: u64) {
    for (element, bytes) in elements.iter().zip(part.chunks(size as usize)) {
        whole[(element * size) as usize..][..size as usize].copy_from_slice(bytes);
    }
}

/// Returns all combinations of one range of each dimension.
fn slices(indices: &[Vec<Range<u64>>]) -> Vec<Vec<Range<u64>>> {
    indices.iter().fold(vec![vec![]], |outer, held| {
        let with = |outer: &Vec<Range<u64>>, range: &Range<u64>| {
            [&outer[..], std::slice::from_ref(range)].concat()
        };
        let inner = |outer: &Vec<Range<u64>>| {
            held.iter()
                .map(|range| with(outer, range))
                .collect::<Vec<_>>()
        };
        outer.iter().flat_map(inner).collect()
    })
}

fn listed(ranges: &[Vec<Range<u64>>]) -> Vec<Vec<u64>> {
    let list = |held: &Vec<Range<u64>>| held.iter().cloned().flatten().collect();
    ranges.iter().map(list).collect()
}

#[test]
fn placements_are_torchs() {
    let cases = torch().placed;
    assert!(cases.len() > 50);
    let mut strided = 0;
    for case in cases {
        let (mesh, placements) = (mesh(&case.mesh), parsed(&case.placements));
        let shape = Shape::new(case.shape.clone()).unwrap();
        assert_eq!(mesh.ranks(), case.ranks.len() as u64);
        for (rank, expected) in case.ranks.iter().enumerate() {
            let local = mesh.local(&shape, &placements, rank as u64).unwrap();
            let what = format!("{mesh}, {shape}, {:?}, rank {rank}", case.placements);
            assert_eq!(local.dims(), expected.dims, "{what}");
            assert_eq!(local.offsets(), expected.offsets, "{what}");
            if let Some(padding) = &expected.padding {
                assert_eq!(local.padding(), padding, "{what}");
            }
            let got = elements(&case.shape, &listed(local.indices()));
            assert_eq!(got, expected.elements, "{what}");
            strided += usize::from(local.indices().iter().any(|held| held.len() > 1));
        }
    }
    assert!(strided > 10, "only {strided} parts of several slices");
}

#[test]
fn flat_parameters_are_torchs() {
    for case in torch().flat {
        let flat = FlatParameter::new(case.numels.iter().copied(), case.align).unwrap();
        let size = case.ranks.len() as u64;
        for (rank, expected) in case.ranks.iter().enumerate() {
            let shard = flat.shard(rank as u64, size).unwrap();
            let what = format!("{:?}, rank {rank} of {size}", case.numels);
            assert_eq!(shard.elements, expected.elements, "{what}");
            // With alignment, torch counts the padding at the end as a tensor.
            if case.align == 0 {
                assert_eq!(shard.padding, expected.padding, "{what}");
            }
            assert_eq!(shard.parts.len(), expected.parts.len());
            for (part, expected) in shard.parts.iter().zip(&expected.parts) {
                let [start, end, offset] = expected.unwrap_or([0, 0, 0]);
                assert_eq!(
                    (part.range.clone(), part.offset),
                    (start..end, offset),
                    "{what}"
                );
            }
        }
    }
}

/// FSDP2 over tensor parallelism gives each rank one slice, which is cut for tensor parallelism first.
#[test]
fn fsdp_over_tensor_parallelism_is_one_slice() {
    for case in torch().fsdp_over_tp {
        let (mesh, [fsdp, tp]) = (mesh(&case.mesh), [case.mesh[0], case.mesh[1]]);
        for (rank, parameters) in case.ranks.iter().enumerate() {
            let rank = rank as u64;
            for parameter in parameters {
                let placements = parsed(&parameter.placements);
                let shape = Shape::new(parameter.shape.clone()).unwrap();
                let local = mesh.local(&shape, &placements, rank).unwrap();
                assert_eq!(local.dims(), parameter.dims);
                let fill = local
                    .fill(fill(&parameter.shape, "normal", DType::F32))
                    .unwrap();
                assert_eq!(fill.local().slices().len(), 1);
                if let [Placement::StridedShard { .. }, Placement::Shard { dim: 0 }] =
                    placements[..]
                {
                    let width = shape.dims()[0] / (fsdp * tp);
                    let first = (rank % tp) * width * fsdp + rank / tp * width;
                    assert_eq!(local.offsets()[0], first, "rank {rank}");
                }
            }
        }
    }
}

// Properties that follow from the definitions, for any mesh, shape and placements.

/// Does the same as `torch.chunk`, with empty chunks for the ranks that get none.
fn torch_chunk(list: &[u64], rank: u64, size: u64) -> Vec<u64> {
    let length = list.len().div_ceil(size as usize).max(1);
    let mut chunks = list.chunks(length);
    chunks.nth(rank as usize).unwrap_or_default().to_vec()
}

/// Returns the elements of a rank, found by lists of indices.
fn held(shape: &[u64], sizes: &[u64], placements: &[Placement], rank: u64) -> Option<Vec<u64>> {
    let mut indices: Vec<Vec<u64>> = shape.iter().map(|&dim| (0..dim).collect()).collect();
    let mut rest = rank;
    let mut coordinate = vec![0; sizes.len()];
    for (at, size) in coordinate.iter_mut().zip(sizes).rev() {
        *at = rest % size;
        rest /= size;
    }
    let axis = |dim: i64| (dim + if dim < 0 { shape.len() as i64 } else { 0 }) as usize;
    let mut flat = Vec::new();
    for ((placement, &at), &size) in placements.iter().zip(&coordinate).zip(sizes) {
        match *placement {
            Placement::Replicate => {}
            Placement::Flat => flat.push((at, size)),
            Placement::Shard { dim } => {
                let held = &mut indices[axis(dim)];
                *held = torch_chunk(held, at, size);
            }
            Placement::StridedShard { dim, split_factor } => {
                let held = &mut indices[axis(dim)];
                *held = (0..split_factor)
                    .flat_map(|i| torch_chunk(&torch_chunk(held, i, split_factor), at, size))
                    .collect();
            }
        }
    }
    let elements = elements(shape, &indices);
    match flat[..] {
        [] => Some(elements),
        [(at, size)] if elements.windows(2).all(|pair| pair[0] + 1 == pair[1]) => {
            Some(torch_chunk(&elements, at, size))
        }
        _ => None,
    }
}

fn case() -> impl Strategy<Value = (Vec<u64>, Vec<u64>, Vec<Placement>)> {
    let sizes = prop::collection::vec(1u64..5, 1..4);
    // Some tensors have no elements.
    let dim = prop_oneof![9 => 1u64..7, 1 => Just(0)];
    let shape = prop::collection::vec(dim, 1..5);
    (sizes, shape).prop_flat_map(|(sizes, shape)| {
        let rank = shape.len() as i64;
        let placement = prop_oneof![
            Just(Placement::Replicate),
            Just(Placement::Flat),
            (-rank..rank).prop_map(|dim| Placement::Shard { dim }),
            // Files can hold strided shards of rows only, so these are frequent.
            prop_oneof![Just(0), -rank..rank]
                .prop_flat_map(|dim| (Just(dim), 1u64..5))
                .prop_map(|(dim, split_factor)| Placement::StridedShard { dim, split_factor }),
        ];
        let placements = prop::collection::vec(placement, sizes.len());
        (Just(sizes), Just(shape), placements)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn ranks_together_hold_the_whole(
        (sizes, shape, placements) in case(),
        dtype in prop::sample::select(vec![DType::F32, DType::F16, DType::BF16]),
        a in 0.0..1.0,
        b in 0.0..1.0,
    ) {
        let mesh = mesh(&sizes);
        let whole = fill(&shape, "normal(mean=0.5,std=2)", dtype);
        let all = bytes(&whole);
        let size = dtype.size();
        let mut covered = vec![0u64; whole.elements() as usize];
        let mut reassembled = vec![0; all.len()];
        let mut largest = vec![0; shape.len()];
        let mut sums = Vec::new();
        for rank in 0..mesh.ranks() {
            let local = mesh.local(whole.shape(), &placements, rank);
            let Some(expected) = held(&shape, &sizes, &placements, rank) else {
                // Only flat shards may be an error.
                let refused = matches!(
                    local.as_ref().map_err(Error::fault),
                    Err(Error::Placement { placement, .. }) if placement == "flat"
                );
                prop_assert!(refused, "{:?}", local);
                return Ok(());
            };
            let local = local.unwrap();
            for &element in &expected {
                covered[element as usize] += 1;
            }
            prop_assert_eq!(local.dims().iter().product::<u64>(), expected.len() as u64);
            if !local.is_flat() {
                prop_assert_eq!(&elements(&shape, &listed(local.indices())), &expected);
                for (largest, dim) in largest.iter_mut().zip(local.dims()) {
                    *largest = dim.max(*largest);
                }
                let dims = local.dims().into_iter();
                sums.push(dims.zip(local.padding()).map(|(a, b)| a + b).collect::<Vec<_>>());
            }
            let part = match local.fill(whole.clone()) {
                Ok(part) => part,
                Err(error) => {
                    // There are several slices along a dimension, and several indices in an outer one.
                    let several = |held: &Vec<Range<u64>>| held.len() > 1;
                    let axis = local.indices().iter().rposition(several).unwrap();
                    prop_assert!(local.dims()[..axis].iter().any(|&dim| dim > 1), "{}", error);
                    let named = matches!(
                        &error,
                        Error::Tensor { name, fault }
                            if name == "w" && matches!(**fault, Error::Placement { .. })
                    );
                    prop_assert!(named, "{}", error);
                    // It can still be filled slice by slice.
                    for ranges in slices(local.indices()) {
                        let part = whole.clone().slice(&ranges).unwrap();
                        let held: Vec<Vec<u64>> = ranges.into_iter().map(Vec::from_iter).collect();
                        let held = elements(&shape, &held);
                        scatter(&mut reassembled, &bytes(&part), &held, size);
                    }
                    continue;
                }
            };
            prop_assert_eq!(part.local().dims(), local.dims());
            let got = bytes(&part);
            prop_assert_eq!(&got, &picked(&all, size, expected.iter().copied()));
            scatter(&mut reassembled, &got, &expected, size);
            // A piece of the part.
            let at = |share: f64| (share * expected.len() as f64) as usize;
            let (start, end) = (at(a).min(at(b)), at(a).max(at(b)));
            let mut piece = vec![0; (end - start) * size as usize];
            cpu::fill_range(&part, start as u64, &mut piece).unwrap();
            prop_assert_eq!(&piece, &got[start * size as usize..end * size as usize]);
        }
        // Each element is there once for each replica.
        let replicated = placements.iter().zip(&sizes).filter(|(p, _)| **p == Placement::Replicate);
        let replicas: u64 = replicated.map(|(_, size)| size).product();
        prop_assert_eq!(covered, vec![replicas; whole.elements() as usize]);
        // With padding, all ranks have the same size.
        prop_assert!(sums.iter().all(|padded| *padded == largest));
        prop_assert_eq!(reassembled, all);
    }

    #[test]
    fn tensor_parallel_slices_are_torchs_chunks(
        dims in prop::collection::vec(0u64..20, 1..5),
        size in 1u64..9,
        rank in 0u64..9,
        dim in -5i64..5,
    ) {
        let shape = Shape::new(dims.clone()).unwrap();
        let slice = Slice::tensor_parallel(&shape, dim, rank, size);
        let axis = if dim < 0 { dim + dims.len() as i64 } else { dim };
        if rank >= size || !(0..dims.len() as i64).contains(&axis) {
            let refused = slice.is_err_and(|error| matches!(error.fault(), Error::Placement { .. }));
            prop_assert!(refused);
            return Ok(());
        }
        let slice = slice.unwrap();
        let axis = axis as usize;
        for (other, range) in slice.ranges().iter().enumerate() {
            let all: Vec<u64> = (0..dims[other]).collect();
            let expected = if other == axis { torch_chunk(&all, rank, size) } else { all };
            prop_assert_eq!(range.clone().collect::<Vec<u64>>(), expected);
        }
    }

    #[test]
    fn flat_parameters_hold_their_tensors(
        numels in prop::collection::vec(0u64..30, 0..6),
        size in 1u64..9,
        align in prop::sample::select(vec![0u64, 4, 8]),
    ) {
        let flat = FlatParameter::new(numels.iter().copied(), align).unwrap();
        // Each element as (tensor, index in the tensor).
        let mut all = Vec::new();
        for (tensor, &numel) in numels.iter().enumerate() {
            while !(all.len() as u64).is_multiple_of(align.max(1)) {
                all.push(None);
            }
            all.extend((0..numel).map(|element| Some((tensor, element))));
        }
        prop_assert_eq!(flat.elements(), all.len() as u64);
        let length = all.len().div_ceil(size as usize);
        for rank in 0..size {
            let shard = flat.shard(rank, size).unwrap();
            prop_assert_eq!(shard.elements, length as u64);
            let mut chunk = vec![None; length];
            for (tensor, part) in shard.parts.iter().enumerate() {
                for (at, element) in (part.offset..).zip(part.range.clone()) {
                    prop_assert!(chunk[at as usize].replace((tensor, element)).is_none());
                }
            }
            let start = (rank as usize * length).min(all.len());
            let mut expected = all[start..(start + length).min(all.len())].to_vec();
            prop_assert_eq!(shard.padding as usize, length - expected.len());
            expected.resize(length, None);
            prop_assert_eq!(chunk, expected);
        }
    }
}

/// Every kind of initializer, including those that depend on an element's row and column in the whole, and
/// orthogonal matrices, where a part needs the whole.
const INITS: [(&str, &[u64]); 14] = [
    ("normal(mean=1,std=0.5)", &[37, 11]),
    ("uniform(low=-1,high=3)", &[37, 11]),
    ("truncated_normal", &[37, 11]),
    ("constant(value=2.5)", &[37, 11]),
    ("eye", &[20, 13]),
    ("dirac", &[6, 5, 3, 3]),
    ("embedding(padding_idx=7)", &[20, 13]),
    ("sparse(sparsity=0.3)", &[20, 13]),
    ("sinusoids", &[20, 14]),
    ("sinusoidal", &[20, 13]),
    ("mamba_a_log", &[20, 16]),
    ("mamba_dt_bias", &[100]),
    ("orthogonal", &[20, 13]),
    ("orthogonal", &[8, 5, 3]),
];

/// Returns parts of a tensor that are not one slice, with their elements.
fn parts(whole: &Fill) -> Vec<(Fill, Vec<u64>)> {
    let dims = whole.shape().dims().to_vec();
    let (rows, elements) = (dims[0], whole.elements());
    let row = elements / rows;
    let mut parts = Vec::new();
    for range in [
        0..elements,
        1..elements - 1,
        5..6,
        elements - 30..elements,
        13..90,
        7..7,
    ] {
        parts.push((whole.clone().flat(range.clone()).unwrap(), range.collect()));
    }
    let blocks = [0..1, 3..5, 5..5, rows - 1..rows];
    let slices = blocks.clone().map(|block| {
        let inner = dims[1..].iter().map(|&dim| 0..dim);
        std::iter::once(block).chain(inner).collect::<Vec<_>>()
    });
    let held = blocks.into_iter().flatten();
    let held = held.flat_map(|i| i * row..(i + 1) * row).collect();
    parts.push((whole.clone().blocks(slices).unwrap(), held));
    if let [_, columns] = dims[..] {
        // Blocks that are not rows.
        let slices = [[1..4, 2..columns - 1], [6..8, 2..columns - 1]];
        let rows = slices.iter().flat_map(|slice| slice[0].clone());
        let held = rows.flat_map(|i| i * columns + 2..(i + 1) * columns - 1);
        let held = held.collect();
        parts.push((whole.clone().blocks(slices).unwrap(), held));
    }
    parts
}

#[test]
fn parts_of_every_initializer_are_cut_from_the_whole() {
    for (spec, dims) in INITS {
        for dtype in [DType::F32, DType::BF16] {
            let whole = fill(dims, spec, dtype);
            let all = bytes(&whole);
            for (part, elements) in parts(&whole) {
                let expected = picked(&all, dtype.size(), elements);
                assert!(bytes(&part) == expected, "{spec} {dims:?} {}", part.local());
            }
        }
    }
}

#[test]
fn parts_on_the_gpu_are_the_same() {
    for (name, gpu) in devices() {
        let read = |fill: &Fill| {
            let mut out = vec![0; fill.bytes() as usize];
            gpu.fill_range_to_host(fill, 0, &mut out).unwrap();
            out
        };
        for (i, (spec, dims)) in INITS.into_iter().enumerate() {
            // Each dtype has its own shaders, which take long to compile. The 16-bit types are the difficult
            // ones, since two elements share a word.
            let dtypes: &[DType] = match i {
                0 => &[DType::F32, DType::F16, DType::BF16],
                _ if i % 2 == 0 => &[DType::F16],
                _ => &[DType::BF16],
            };
            for &dtype in dtypes {
                let whole = fill(dims, spec, dtype);
                // Orthogonal matrices have the same bits only on one device.
                let all = if spec == "orthogonal" {
                    read(&whole)
                } else {
                    bytes(&whole)
                };
                for (part, elements) in parts(&whole) {
                    let expected = picked(&all, dtype.size(), elements);
                    assert!(
                        read(&part) == expected,
                        "{name}: {spec} {dims:?} {dtype} {}",
                        part.local()
                    );
                }
            }
        }
        flat_parameter_in_a_buffer(&name, &gpu);
    }
}

/// Fills a rank's chunk of a flat parameter in the buffer that training reads, with tensors side by side at any
/// element.
fn flat_parameter_in_a_buffer(name: &str, gpu: &Gpu) {
    let shapes: [&[u64]; 4] = [&[33, 7], &[33], &[5, 33], &[5]];
    for dtype in [DType::F32, DType::BF16] {
        let fills: Vec<Fill> = shapes
            .iter()
            .enumerate()
            .map(|(i, shape)| {
                let tensor = Tensor::new(format!("layers.{i}"), *shape).unwrap();
                let fill = Fill::new(&tensor, &Init::normal(0.0, 0.02), 7).unwrap();
                fill.with_dtype(dtype)
            })
            .collect();
        let mut concatenated: Vec<u8> = fills.iter().flat_map(bytes).collect();
        let flat = FlatParameter::new(fills.iter().map(Fill::elements), 0).unwrap();
        let size = 4;
        let chunk = flat.shard(0, size).unwrap().elements * dtype.size();
        concatenated.resize((chunk * size) as usize, 0);
        for rank in 0..size {
            let shard = flat.shard(rank, size).unwrap();
            let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: chunk.next_multiple_of(4),
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            let parts: Vec<Fill> = fills
                .iter()
                .zip(&shard.parts)
                .map(|(fill, part)| fill.clone().flat(part.range.clone()).unwrap())
                .collect();
            let targets: Vec<Target<'_>> = parts
                .iter()
                .zip(&shard.parts)
                .map(|(fill, part)| Target::new(fill, &buffer, part.offset))
                .collect();
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            gpu.initializer().fill_all(&mut encoder, &targets).unwrap();
            gpu.queue().submit([encoder.finish()]);
            let mut got = vec![0; chunk as usize];
            gpu.read(&buffer, 0, &mut got).unwrap();
            let expected = &concatenated[(rank * chunk) as usize..][..chunk as usize];
            assert!(got == expected, "{name}: {dtype}, rank {rank}");
        }
    }
}

#[test]
fn blocks_that_are_no_tensor_are_refused() {
    let whole = || fill(&[8, 6, 4], "normal", DType::F32);
    for (blocks, message) in [
        (vec![], "slice \"\" has no blocks: give at least one"),
        (
            vec![[0..2, 0..6, 0..4], [1..3, 0..6, 0..4]],
            "slice \"0:2,0:6,0:4;1:3,0:6,0:4\" has blocks that overlap or are out of order: give them in \
             the order of the tensor",
        ),
        (
            vec![[3..4, 0..6, 0..4], [0..1, 0..6, 0..4]],
            "overlap or are out of order",
        ),
        (
            vec![[0..2, 0..6, 0..4], [3..4, 0..5, 0..4]],
            "differ along several dimensions",
        ),
        (
            vec![[0..2, 0..1, 0..4], [0..2, 3..4, 0..4]],
            "are not one after the other in memory",
        ),
        (
            vec![[0..9, 0..6, 0..4]],
            "does not lie within shape [8, 6, 4]",
        ),
    ] {
        let error = whole().blocks(&blocks).unwrap_err();
        assert!(matches!(error.fault(), Error::Slice { .. }));
        assert!(matches!(&error, Error::Tensor { name, .. } if name == "w"));
        assert!(error.to_string().contains(message), "{error}");
    }
    // Blocks of an inner dimension do, if the outer dimension has one index.
    let part = whole()
        .blocks([[2..3, 0..1, 0..4], [2..3, 3..5, 0..4]])
        .unwrap();
    assert_eq!(part.local().dims(), [1, 3, 4]);
    let all = bytes(&whole());
    let expected = picked(&all, 4, (48..52).chain(60..68));
    assert_eq!(bytes(&part), expected);

    for range in [Range { start: 3, end: 2 }, 0..193] {
        let error = whole().flat(range.clone()).unwrap_err().to_string();
        let message = format!(
            "tensor \"w\": slice \"flat {}:{}\" does not lie within shape [8, 6, 4]: it needs 0 <= \
             start <= end <= 192",
            range.start, range.end
        );
        assert_eq!(error, message);
    }
}

#[test]
fn impossible_placements_are_refused() {
    let shape = Shape::new([8, 6]).unwrap();
    let mesh = Mesh::new([("dp", 2), ("tp", 4)]).unwrap();
    let local = |placements: &[&str], rank| {
        let placements: Vec<Placement> = placements.iter().map(|p| p.parse().unwrap()).collect();
        let error = mesh.local(&shape, &placements, rank).unwrap_err();
        assert!(matches!(error.fault(), Error::Placement { .. }));
        error.to_string()
    };
    for (placements, rank, message) in [
        (
            &["replicate", "shard(0)"][..],
            8,
            "rank 8 is out of range: with 8 ranks use 0 to 7",
        ),
        (
            &["shard(0)"],
            0,
            "[shard(0)] has 1 placements, mesh \"dp=2,tp=4\" needs 2, one for each dimension",
        ),
        (
            &["replicate", "shard(2)"],
            0,
            "shard(2) cuts a dimension that shape [8, 6] does not have: use 0 to 1, or -2 to -1",
        ),
        (
            &["replicate", "shard(-3)"],
            0,
            "shard(-3) cuts a dimension that",
        ),
        (
            &["strided_shard(0,split_factor=0)", "shard(0)"],
            0,
            "strided_shard(0,split_factor=0) has a split factor out of range: use 1 to 1048576",
        ),
        (&["flat", "flat"], 0, "flat is used twice"),
        (
            &["flat", "shard(1)"],
            1,
            "flat needs a run of elements, but the other placements leave 0:8,2:4 of shape [8, 6]",
        ),
    ] {
        let error = local(placements, rank);
        assert!(error.starts_with(message), "{error}");
    }
    for (dims, message) in [
        (vec![], "mesh \"\" has no dimension"),
        (vec![("a", 0)], "mesh \"a=0\" has a dimension of 0 ranks"),
        (
            vec![("a", 2), ("a", 2)],
            "mesh \"a=2,a=2\" has dimension \"a\": each needs",
        ),
        (vec![("", 2)], "has dimension \"\""),
        (
            vec![("a", 1 << 20), ("b", 2)],
            "has more than 1048576 ranks",
        ),
        (
            vec![("a", u64::MAX), ("b", 2)],
            "has more than 1048576 ranks",
        ),
    ] {
        let error = Mesh::new(dims).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    for text in [
        "",
        "shard",
        "shard()",
        "shard(x)",
        "shard(0",
        "partial",
        "Shard(0)",
        "strided_shard(0)",
    ] {
        let error = text.parse::<Placement>().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("unknown placement {text:?}: use replicate, ")),
            "{error}"
        );
    }
}

/// The largest meshes, tensors and factors take no noticeable time.
#[test]
fn the_largest_are_placed() {
    let mesh = Mesh::new([("a", 1 << 10), ("b", 1 << 10)]).unwrap();
    let shape = Shape::new([fanin::MAX_ELEMENTS]).unwrap();
    let strided = Placement::StridedShard {
        dim: 0,
        split_factor: 1 << 20,
    };
    let local = mesh
        .local(&shape, &[strided, strided], mesh.ranks() - 1)
        .unwrap();
    assert_eq!(local.dims(), [1 << 30]);
    let last = local.indices()[0].last().unwrap();
    assert_eq!(last.end, fanin::MAX_ELEMENTS);
}

// Shard specs.

const SPEC: &str = r#"
[[mesh]]
name = "fsdp"
size = 2
[[mesh]]
name = "tp"
size = 3

[[rule]]
match = ["*.q.weight", "*.up.weight"]
placements = ["strided_shard(0,split_factor=3)", "shard(0)"]
[[rule]]
match = "*.down.weight"
placements = ["shard(0)", "shard(1)"]
[[rule]]
match = "*.bias"
placements = ["flat", "replicate"]
[[rule]]
match = "norm"
placements = ["replicate", "replicate"]
"#;

fn model() -> Vec<Fill> {
    [
        ("0.q.weight", &[10, 4][..]),
        ("0.up.weight", &[12, 4]),
        ("0.down.weight", &[4, 12]),
        ("0.up.bias", &[3]),
        ("1.up.bias", &[1]),
        ("norm", &[4]),
    ]
    .map(|(name, dims)| {
        let tensor = Tensor::new(name, dims).unwrap();
        Fill::new(&tensor, &Init::normal(0.0, 1.0), 3).unwrap()
    })
    .to_vec()
}

/// There is one file for each rank. Its metadata gives its part of each tensor, and all files together are the
/// model.
#[test]
fn files_of_all_ranks_are_the_model() {
    let spec = ShardSpec::from_toml(SPEC).unwrap();
    assert_eq!(spec.ranks(), 6);
    let model = model();
    let mut seen: Vec<Vec<Option<u32>>> = model
        .iter()
        .map(|fill| vec![None; fill.elements() as usize])
        .collect();
    let mut empty = 0;
    for rank in 0..spec.ranks() {
        let parts = spec.local_fills(&model, rank).unwrap();
        let metadata: Vec<(String, String)> = parts.iter().flat_map(LocalPart::metadata).collect();
        let metadata: Vec<(&str, String)> = metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()))
            .collect();
        let fills: Vec<Fill> = parts.iter().map(|part| part.fill.clone()).collect();
        let contents = Contents::safetensors(&fills, &metadata).unwrap();
        let mut file = Vec::new();
        checkpoint::write_to(
            &mut file,
            "memory",
            &contents,
            &mut cpu::fill_range,
            &mut checkpoint::silent,
        )
        .unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&file).unwrap();
        let metadata = header.metadata().as_ref().unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        for ((whole, part), seen) in model.iter().zip(&parts).zip(&mut seen) {
            let name = whole.name();
            let tensor = tensors.tensor(name).unwrap();
            let dims: Vec<u64> = tensor.shape().iter().map(|&dim| dim as u64).collect();
            assert_eq!(dims, part.fill.local().dims());
            assert_eq!(part.offsets.len(), dims.len());
            assert_eq!(part.padding.len(), dims.len());
            empty += usize::from(part.fill.elements() == 0);
            let slice = metadata.get(&format!("slice:{name}"));
            let shape = metadata.get(&format!("shape:{name}"));
            if part.fill.is_whole() {
                assert_eq!((slice, shape), (None, None));
            } else {
                assert_eq!(slice, Some(&part.fill.local().to_string()));
                assert_eq!(shape, Some(&whole.shape().to_string()));
            }
            // The metadata is sufficient to reassemble the model.
            let columns = whole.shape().dims().last().copied().unwrap();
            let elements: Vec<u64> = match slice.map(|text| text.strip_prefix("flat ").ok_or(text))
            {
                None => (0..whole.elements()).collect(),
                Some(Ok(run)) => range(run).collect(),
                Some(Err(slices)) => slices
                    .split(';')
                    .flat_map(|slice| {
                        let (rows, inner) = slice.split_once(',').unwrap();
                        let held = |i| range(inner).map(move |j| i * columns + j);
                        range(rows).flat_map(held).collect::<Vec<u64>>()
                    })
                    .collect(),
            };
            let (bits, _) = tensor.data().as_chunks::<4>();
            assert_eq!(bits.len(), elements.len(), "rank {rank}, {name}");
            for (element, bits) in elements.into_iter().zip(bits) {
                let bits = u32::from_le_bytes(*bits);
                let before = seen[element as usize].replace(bits);
                assert!(before.is_none_or(|before| before == bits));
            }
        }
    }
    assert!(empty > 0, "no rank holds nothing of a tensor");
    for (fill, seen) in model.iter().zip(seen) {
        let whole = bytes(fill);
        let whole = whole
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bits| Some(u32::from_le_bytes(*bits)));
        assert!(whole.eq(seen), "{}", fill.name());
    }
}

fn range(text: &str) -> Range<u64> {
    let (start, end) = text.split_once(':').unwrap();
    start.parse().unwrap()..end.parse().unwrap()
}

#[test]
fn ranks_have_the_parts_of_their_shard_spec() {
    let spec = ShardSpec::from_toml(SPEC).unwrap();
    let of = |rank: u64, name: &str| {
        let parts = spec.local_fills(&model(), rank).unwrap();
        let part = parts
            .into_iter()
            .find(|part| part.fill.name() == name)
            .unwrap();
        (part.fill.local().to_string(), part.offsets, part.padding)
    };
    // Tensor parallelism cuts first. Rank 4 is at (1, 1), so it has the second half of rows 4 to 8.
    assert_eq!(
        of(4, "0.up.weight"),
        ("6:8,0:4".into(), vec![6, 0], vec![0, 0])
    );
    // With 10 rows this is different. torch's _StridedShard gives its first rank 2, 2 and 1 rows of the chunks
    // 0:4, 4:8 and 8:10, which are rows 0, 1, 4, 5 and 8. Of these, the second of 3 ranks has 4 and 5.
    assert_eq!(
        of(1, "0.q.weight"),
        ("4:6,0:4".into(), vec![4, 0], vec![0, 0])
    );
    assert_eq!(
        of(2, "0.q.weight"),
        ("8:9,0:4".into(), vec![8, 0], vec![1, 0])
    );
    assert_eq!(
        of(5, "0.down.weight"),
        ("2:4,8:12".into(), vec![2, 8], vec![0, 0])
    );
    assert_eq!(of(0, "0.up.bias"), ("flat 0:2".into(), vec![0], vec![0]));
    assert_eq!(of(5, "0.up.bias"), ("flat 2:3".into(), vec![2], vec![1]));
    assert_eq!(of(3, "1.up.bias"), ("flat 1:1".into(), vec![1], vec![1]));
    assert_eq!(of(3, "norm"), ("0:4".into(), vec![0], vec![0]));
}

/// Separate blocks of rows are one tensor of the file. Separate blocks of columns are an error.
#[test]
fn strided_rows_are_one_tensor() {
    let spec = |placement: &str| {
        let toml = format!(
            "mesh = [{{ name = \"dp\", size = 2 }}]\n[[rule]]\nmatch = \"*\"\n\
             placements = [{placement:?}]"
        );
        ShardSpec::from_toml(&toml).unwrap()
    };
    let whole = fill(&[10, 9], "normal", DType::F32);
    let rows = spec("strided_shard(0,split_factor=2)");
    let parts = rows.local_fills(std::slice::from_ref(&whole), 1).unwrap();
    assert_eq!(parts[0].fill.local().to_string(), "3:5,0:9;8:10,0:9");
    assert_eq!(parts[0].fill.local().dims(), [4, 9]);
    assert_eq!(
        (&parts[0].offsets, &parts[0].padding),
        (&vec![3, 0], &vec![2, 0])
    );
    let columns = spec("strided_shard(1,split_factor=2)");
    let error = columns.local_fills(&[whole], 1).unwrap_err().to_string();
    assert_eq!(
        error,
        "tensor \"w\": slice \"0:10,3:5+7:9\" has several slices that do not follow each other \
         in memory: use strided shards along the first dimension, or a split that leaves one slice"
    );
}

#[test]
fn shard_specs_say_where_they_are_wrong() {
    for (from, to, line, column, message) in [
        (
            "size = 3",
            "size = 3\nranks = 1",
            8,
            1,
            "unknown field `ranks`",
        ),
        (
            "match = \"norm\"",
            "match = \"norm\"\ninit = \"ones\"",
            20,
            1,
            "unknown field `init`",
        ),
        (
            "[\"shard(0)\", \"shard(1)\"]",
            "[\"shard(0)\", \"shart(1)\"]",
            14,
            27,
            "unknown placement \"shart(1)\": use replicate",
        ),
        (
            "[\"shard(0)\", \"shard(1)\"]",
            "[\"shard(0)\"]",
            14,
            14,
            "has 1 placements, mesh \"fsdp=2,tp=3\" needs 2",
        ),
        ("\"norm\"", "\"[\"", 19, 9, "is not a glob"),
        ("size = 3", "size = three", 7, 8, ""),
        ("size = 3", "size = 0", 2, 1, "has a dimension of 0 ranks"),
        ("\"tp\"", "\"fsdp\"", 2, 1, "each needs a name of its own"),
    ] {
        assert!(SPEC.contains(from));
        let error = ShardSpec::from_toml(&SPEC.replacen(from, to, 1)).unwrap_err();
        let text = error.to_string();
        let Error::Recipe { position, .. } = error else {
            panic!("{text}");
        };
        assert_eq!(position, Some((line, column)), "{text}");
        assert!(text.contains(message) && !text.contains('\n'), "{text}");
    }
    for text in [
        "",
        "[[rule]]\nmatch = \"*\"\nplacements = []",
        "mesh = []\nrule = []",
    ] {
        let error = ShardSpec::from_toml(text).unwrap_err();
        assert!(matches!(error, Error::Recipe { .. }), "{error}");
    }
    let none = "mesh = [{ name = \"a\", size = 1 }]\nrule = []";
    let error = ShardSpec::from_toml(none).unwrap_err().to_string();
    assert_eq!(error, "shard spec: has no [[rule]]: it needs at least one");
}

proptest! {
    /// Text that resembles a shard spec is read, or it is an error of one line.
    #[test]
    fn damaged_shard_specs_are_read_or_refused(
        at in 0..SPEC.len(),
        length in 0usize..20,
        put in "[\\[\\]{}\"',=()*\n 0-9a-z-]{0,8}",
    ) {
        let mut text = SPEC.to_owned();
        text.replace_range(at..(at + length).min(SPEC.len()), &put);
        match ShardSpec::from_toml(&text) {
            Ok(spec) => {
                for rank in 0..spec.ranks().min(6) {
                    // Some tensors may have no rule now, which is an error.
                    let _ = spec.local_fills(&model(), rank);
                }
            }
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "{}", error),
        }
    }
}

#[test]
fn tensors_that_cannot_be_sharded_are_named() {
    let spec = ShardSpec::from_toml(SPEC).unwrap();
    let one = |name: &str, dims: &[u64]| {
        let tensor = Tensor::new(name, dims).unwrap();
        Fill::new(&tensor, &Init::ones(), 3).unwrap()
    };
    for (fill, rank, message) in [
        (
            one("head", &[4, 2]),
            0,
            "tensor \"head\" of shape [4, 2] is matched by no rule of shard spec: add a [[rule]] \
             with match = \"head\" and placements",
        ),
        (
            one("0.down.weight", &[4]),
            0,
            "tensor \"0.down.weight\": shard(1) cuts a dimension that shape [4] does not have: use \
             0 to 0, or -1 to -1",
        ),
        (
            one("0.up.weight", &[]),
            0,
            "tensor \"0.up.weight\": strided_shard(0,split_factor=3) cuts a dimension, but a \
             scalar has none: use replicate or flat",
        ),
        (
            one("norm", &[4]).slice([0..4]).unwrap().flat(0..2).unwrap(),
            0,
            "tensor \"norm\": slice \"flat 0:2\" is a part of the tensor: give the fill of the \
             whole",
        ),
        (
            one("norm", &[4]),
            6,
            "rank 6 is out of range: with 6 ranks use 0 to 5",
        ),
    ] {
        let error = spec.local_fills(&[fill], rank).unwrap_err().to_string();
        assert_eq!(error, message);
    }
    // A scalar can be flat.
    let parts = spec.local_fills(&[one("0.bias", &[])], 0).unwrap();
    assert_eq!(parts[0].fill.local().dims(), [1]);
}
