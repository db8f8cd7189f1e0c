//! Layouts: ways to take words from fills, so that batteries see what users see.
#![allow(clippy::single_range_in_vec_init)] // a slice of a tensor with one dimension

use fanin::kernel::philox::{counter, philox};
use fanin::{DType, Fill, Init, Tensor, cpu, stream_id};
use half::{bf16, f16};

use crate::Failure;
use crate::normal::below;
use crate::pack::Packer;

/// Appends more words at each call.
pub type Words = Box<dyn FnMut(&mut Vec<u32>) -> Result<(), Failure>>;

/// A way to take words from fills.
pub struct Layout {
    pub name: &'static str,
    pub about: &'static str,
    /// Starts the words of a seed.
    pub words: fn(u64) -> Words,
}

/// Elements that are made at a time.
const CHUNK: u64 = 1 << 16;
/// The elements of the tensors: more than any battery reads.
const ELEMENTS: u64 = 1 << 49;

/// Numbers of `uniform(0, 1)` are multiples of 2^-24.
const UNIFORM_BITS: u32 = 24;

macro_rules! layouts {
    ($($name:literal, $about:literal, $words:expr;)*) => {
        /// The layouts.
        pub const LAYOUTS: &[Layout] = &[$(Layout { name: $name, about: $about, words: $words }),*];
    };
}

layouts! {
    "raw", "the words of Philox, one tensor, in order", |seed| raw(seed, |word| word);
    "raw-reversed", "the same words, bits reversed", |seed| raw(seed, u32::reverse_bits);
    "uniform", "f32 of uniform(0, 1), one tensor, all 24 bits", |seed| uniform(seed, 0, UNIFORM_BITS);
    "uniform-high", "their high 16 bits", |seed| uniform(seed, 8, 16);
    "uniform-low", "their low 16 bits", |seed| uniform(seed, 0, 16);
    "uniform-low-8", "their low 8 bits", |seed| uniform(seed, 0, 8);
    "uniform-reversed", "all 24 bits, in reversed order", uniform_reversed;
    "far", "all 24 bits, from element 2^40 on", |seed| whole(seed, 1 << 40);
    "lane-0", "every 4th element, from 0 on", |seed| strided(seed, 4, 0);
    "lane-3", "every 4th element, from 3 on", |seed| strided(seed, 4, 3);
    "column", "columns of a tensor [n, 768]", |seed| strided(seed, 768, 5);
    "column-2^20", "columns of a tensor [n, 2^20]", |seed| strided(seed, 1 << 20, 77);
    "transposed", "matrices of 1024 x 1024, column by column", transposed;
    "names", "64 elements of each of layers.0.weight, layers.1.weight, ...", names;
    "seeds", "16 elements of each of the seeds s, s + 1, ...", |seed| seeds(seed, 0);
    "seeds-high", "16 elements of each seed, counted in the high 32 bits", |seed| seeds(seed, 32);
    "pair-of-names", "two tensors in turns, element by element", pair_of_names;
    "pair-of-seeds", "two neighbouring seeds in turns, element by element", pair_of_seeds;
    "16-streams", "the streams 0 to 15 in turns, element by element", sixteen_streams;
    "bf16", "the 7 bits of bf16 of uniform(1, 2)", bf16_uniform;
    "f16", "the 10 bits of f16 of uniform(1, 2)", f16_uniform;
    "normal", "f32 of normal(0, 1) through the exact distribution, 16 bits", |seed| normal(seed, 1, 0);
    "normal-cosines", "those of even elements", |seed| normal(seed, 2, 0);
    "normal-sines", "those of odd elements", |seed| normal(seed, 2, 1);
    "truncated", "trunc_normal(a=-1.5, b=2) through the exact distribution, 16 bits", truncated;
}

fn fill(name: &str, dims: &[u64], init: &Init, seed: u64) -> Result<Fill, Failure> {
    Ok(Fill::new(&Tensor::new(name, dims)?, init, seed)?)
}

/// Returns all elements of a fill.
fn elements<T: cpu::Element>(fill: &Fill) -> Result<Vec<T>, Failure> {
    let mut values = vec![T::zeroed(); fill.elements() as usize];
    cpu::fill_slice(fill, &mut values)?;
    Ok(values)
}

/// Returns a source of the elements of a tensor [n, `stride`] in a column, or of all of them for stride 1.
/// The next column follows a column's end.
fn chunks<T: cpu::Element>(
    init: Init,
    dtype: DType,
    seed: u64,
    [stride, mut column]: [u64; 2],
    start: u64,
) -> impl FnMut() -> Result<Vec<T>, Failure> {
    let rows = ELEMENTS / stride;
    let mut row = start;
    move || {
        if row + CHUNK > rows {
            (row, column) = (0, column + 1);
        }
        let whole = fill("trust", &[rows, stride], &init, seed)?.with_dtype(dtype);
        let part = whole.slice([row..row + CHUNK, column..column + 1])?;
        row += CHUNK;
        elements(&part)
    }
}

/// Returns the 24 bits of a number of `uniform(0, 1)`.
fn bits(x: f32) -> u32 {
    (x * (1 << UNIFORM_BITS) as f32) as u32
}

/// Packs some bits of each element.
fn packed<T: Copy + 'static>(
    mut next: impl FnMut() -> Result<Vec<T>, Failure> + 'static,
    count: u32,
    number: impl Fn(T) -> u32 + 'static,
) -> Words {
    let mut packer = Packer::default();
    Box::new(move |words| {
        next()?
            .iter()
            .for_each(|&x| packer.push(number(x), count, words));
        Ok(())
    })
}

fn uniforms(seed: u64, column: [u64; 2], start: u64) -> impl FnMut() -> Result<Vec<f32>, Failure> {
    chunks(Init::uniform(0.0, 1.0), DType::F32, seed, column, start)
}

/// The words of Philox, whose high bits are compared with those of fills.
fn raw(seed: u64, turn: fn(u32) -> u32) -> Words {
    let mut fills = uniforms(seed, [1, 0], 0);
    let id = stream_id("trust");
    let stream = [id as u32, (id >> 32) as u32];
    let key = [seed as u32, (seed >> 32) as u32];
    let mut block = 0;
    Box::new(move |words| {
        for four in fills()?.chunks_exact(4) {
            let drawn = philox(counter(block, 0, stream), key);
            for (word, &x) in drawn.iter().zip(four) {
                if word >> 8 != bits(x) {
                    return Err(
                        format!("block {block}: the fill has other bits than Philox").into(),
                    );
                }
                words.push(turn(*word));
            }
            block += 1;
        }
        Ok(())
    })
}

fn whole(seed: u64, start: u64) -> Words {
    packed(uniforms(seed, [1, 0], start), UNIFORM_BITS, bits)
}

fn uniform(seed: u64, shift: u32, count: u32) -> Words {
    packed(uniforms(seed, [1, 0], 0), count, move |x| bits(x) >> shift)
}

fn uniform_reversed(seed: u64) -> Words {
    packed(uniforms(seed, [1, 0], 0), UNIFORM_BITS, |x| {
        bits(x).reverse_bits() >> 8
    })
}

fn strided(seed: u64, stride: u64, column: u64) -> Words {
    packed(uniforms(seed, [stride, column], 0), UNIFORM_BITS, bits)
}

fn transposed(seed: u64) -> Words {
    const EDGE: u64 = 1024;
    let mut first = 0;
    let next = move || {
        let tensor = fill(
            "trust",
            &[ELEMENTS / EDGE, EDGE],
            &Init::uniform(0.0, 1.0),
            seed,
        )?;
        let matrix: Vec<f32> = elements(&tensor.slice([first..first + EDGE, 0..EDGE])?)?;
        first += EDGE;
        let edge = EDGE as usize;
        Ok((0..edge * edge)
            .map(|i| matrix[i % edge * edge + i / edge])
            .collect())
    };
    packed(next, UNIFORM_BITS, bits)
}

/// Takes the elements of small fills, one after the other.
fn small(mut next: impl FnMut() -> Result<Fill, Failure> + 'static) -> Words {
    packed(move || elements::<f32>(&next()?), UNIFORM_BITS, bits)
}

fn names(seed: u64) -> Words {
    let mut layer = 0u64;
    small(move || {
        let name = format!("layers.{layer}.weight");
        layer += 1;
        fill(&name, &[64], &Init::uniform(0.0, 1.0), seed)
    })
}

/// Different seeds of this program must give different data, so they count in bits that the run does not reach.
fn seeds(seed: u64, shift: u32) -> Words {
    let first = seed << if shift == 0 { 40 } else { 0 };
    let mut index = 0u64;
    small(move || {
        let made = fill(
            "trust",
            &[16],
            &Init::uniform(0.0, 1.0),
            first + (index << shift),
        );
        index += 1;
        made
    })
}

/// Takes several sources in turns, element by element.
fn in_turns(mut sources: Vec<impl FnMut() -> Result<Vec<f32>, Failure> + 'static>) -> Words {
    let next = move || {
        let made = sources
            .iter_mut()
            .map(|next| next())
            .collect::<Result<Vec<_>, _>>()?;
        let turn = |i: usize| made.iter().map(move |values| values[i]).collect::<Vec<_>>();
        Ok((0..CHUNK as usize).flat_map(turn).collect())
    };
    packed(next, UNIFORM_BITS, bits)
}

/// Returns a source of the elements of a tensor.
fn of_tensor(tensor: Tensor, seed: u64) -> impl FnMut() -> Result<Vec<f32>, Failure> {
    let mut start = 0;
    move || {
        let whole = Fill::new(&tensor, &Init::uniform(0.0, 1.0), seed)?;
        let part = whole.slice([start..start + CHUNK])?;
        start += CHUNK;
        elements(&part)
    }
}

fn pair_of_names(seed: u64) -> Words {
    let names = ["encoder.layers.0.fc1.weight", "encoder.layers.0.fc2.weight"];
    let tensor = |name| Tensor::new(name, [ELEMENTS]).map(|tensor| of_tensor(tensor, seed));
    in_turns(
        names
            .into_iter()
            .map(|name| tensor(name).expect("a short name"))
            .collect(),
    )
}

fn pair_of_seeds(seed: u64) -> Words {
    // Even, so that pairs of different seeds of this program share nothing.
    in_turns(
        [2 * seed, 2 * seed + 1]
            .map(|seed| uniforms(seed, [1, 0], 0))
            .into(),
    )
}

fn sixteen_streams(seed: u64) -> Words {
    let tensor = |stream| {
        let tensor = Tensor::new("trust", [ELEMENTS]).expect("a short name");
        of_tensor(tensor.with_stream_id(stream), seed)
    };
    in_turns((0..16).map(tensor).collect())
}

/// Elements of [1, 2] rounded to 7 bits: 1 and 2 have half of the weight of the others, and count as one.
fn bf16_uniform(seed: u64) -> Words {
    let next = chunks(Init::uniform(1.0, 2.0), DType::BF16, seed, [1, 0], 0);
    packed(next, 7, |x: bf16| u32::from(x.to_bits()))
}

/// Elements of [1, 2] rounded to 10 bits.
fn f16_uniform(seed: u64) -> Words {
    let next = chunks(Init::uniform(1.0, 2.0), DType::F16, seed, [1, 0], 0);
    packed(next, 10, |x: f16| u32::from(x.to_bits()))
}

/// Returns the first 16 bits of a probability.
fn probability_bits(p: f64) -> u32 {
    (p * 65536.0).min(65535.0) as u32
}

fn normal(seed: u64, stride: u64, column: u64) -> Words {
    let next = chunks(
        Init::normal(0.0, 1.0),
        DType::F32,
        seed,
        [stride, column],
        0,
    );
    packed(next, 16, |x: f32| probability_bits(below(f64::from(x))))
}

fn truncated(seed: u64) -> Words {
    let (low, high) = (-1.5, 2.0);
    let next = chunks(
        Init::trunc_normal(0.0, 1.0, low, high),
        DType::F32,
        seed,
        [1, 0],
        0,
    );
    let (start, mass) = (below(low), below(high) - below(low));
    packed(next, 16, move |x: f32| {
        probability_bits((below(f64::from(x)) - start) / mass)
    })
}
