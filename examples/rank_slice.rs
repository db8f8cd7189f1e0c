//! One rank's part of a model. A matrix is split by columns over eight devices, and rank 3 fills only its
//! own columns, into a buffer of that size. It never holds the rest, and needs no other rank.
//!
//! cargo run --release --example rank_slice

use fanin::gpu::{Gpu, Options};
use fanin::{DType, Fill, Init, Slice, Tensor};

const RANK: u64 = 3;
const WORLD_SIZE: u64 = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The shape is that of the whole tensor, because fans and element indices follow from it.
    let tensor = Tensor::new("layers.0.mlp.up_proj.weight", [1024, 4096])?;
    let whole = Fill::new(&tensor, &Init::kaiming_normal(), 42)?.with_dtype(DType::BF16);
    let slice = Slice::tensor_parallel(tensor.shape(), 1, RANK, WORLD_SIZE)?;
    let columns = slice.ranges()[1].clone();
    let part = whole.clone().slice(slice)?;

    let gpu = Gpu::headless(&Options::default())?;
    let buffer = gpu.fill_buffer(&part)?;
    println!(
        "rank {RANK} of {WORLD_SIZE} holds columns {columns:?} of {}: {} of {} kB",
        tensor.shape(),
        buffer.size() / 1000,
        whole.bytes() / 1000
    );

    // To check the result, the whole matrix is made too, on the CPU.
    let mut seen = vec![0; part.bytes() as usize];
    gpu.read(&buffer, 0, &mut seen)?;
    let mut expected = vec![0; whole.bytes() as usize];
    fanin::cpu::fill(&whole, &mut expected)?;
    let bytes = columns.start as usize * 2..columns.end as usize * 2;
    let rows = expected.chunks_exact(4096 * 2);
    let of_the_rank = rows.flat_map(|row| &row[bytes.clone()]);
    assert!(seen.iter().eq(of_the_rank), "the rank holds other weights");
    println!("they equal the columns of the whole matrix, to the bit");
    Ok(())
}
