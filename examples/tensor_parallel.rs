//! One model on any number of devices: each rank fills its own columns, and no bit depends on the
//! number of ranks.
//!
//! cargo run --release --example tensor_parallel

use fanin::{Fill, Init, Slice, Tensor, cpu};

fn main() -> fanin::Result<()> {
    let tensor = Tensor::new("layers.0.mlp.up_proj.weight", [1024, 4096])?;
    let whole = Fill::new(&tensor, &Init::normal(0.0, 0.02), 42)?;
    for world_size in [1, 2, 8] {
        // The parts are put side by side again, to show that they are the same matrix.
        let mut columns = vec![Vec::new(); 1024];
        for rank in 0..world_size {
            let slice = Slice::tensor_parallel(tensor.shape(), 1, rank, world_size)?;
            let part = whole.clone().slice(slice)?;
            let width = part.local().dims()[1];
            let mut weights = vec![0f32; part.elements() as usize];
            cpu::fill_slice(&part, &mut weights)?;
            for (row, part) in columns.iter_mut().zip(weights.chunks(width as usize)) {
                row.extend_from_slice(part);
            }
        }
        let bits = columns.concat().into_iter().map(f32::to_bits);
        let sum = bits.fold(0u64, |sum, bits| sum.rotate_left(1) ^ u64::from(bits));
        println!("world size {world_size}: checksum {sum:016x}");
    }
    Ok(())
}
