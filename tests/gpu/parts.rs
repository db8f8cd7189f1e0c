//! Promise 1 for tensors whose parts have initializers of their own: the bytes of the CPU, whole, in slices,
//! side by side with other tensors, and read back piece by piece.

use fanin::checkpoint::Make;
use fanin::gpu::ReadBack;
use fanin::{DType, Fill, Init, Tensor, cpu};

use crate::devices::devices;
use crate::many;

fn fused(name: &str, dims: &[u64; 2], dtype: DType) -> Fill {
    let init = |spec: &str| spec.parse::<Init>().unwrap();
    let tensor = Tensor::new(name, dims.as_slice()).unwrap();
    let [rows, columns] = *dims;
    let third = columns / 3;
    Fill::new(&tensor, &init("normal(mean=1,std=0.5)"), 7)
        .and_then(|fill| fill.with_part([rows - 1..rows, 0..columns], &init("zeros")))
        .and_then(|fill| fill.with_part([0..rows, 0..third], &init("uniform(low=2,high=3)")))
        .and_then(|fill| {
            let middle = [1..rows / 2, third..2 * third];
            fill.with_part(middle, &init("trunc_normal(std=0.1,a=-0.2,b=0.2)"))
        })
        .and_then(|fill| fill.with_part([rows / 2..rows, columns - 2..columns], &init("identity")))
        .unwrap()
        .with_dtype(dtype)
}

#[test]
fn parts_have_the_bytes_of_the_cpu() {
    for (name, gpu) in devices() {
        let mut fills = Vec::new();
        for (i, dtype) in [DType::F32, DType::F16, DType::BF16]
            .into_iter()
            .enumerate()
        {
            for dims in [[4, 9], [7, 13], [64, 48], [33, 511]] {
                let fill = fused(&format!("{i} {dims:?}"), &dims, dtype);
                let [rows, columns] = dims;
                let slice = fill.clone().slice([1..rows, 1..columns - 1]).unwrap();
                let run = fill.clone().flat(3..fill.elements() - 5).unwrap();
                let blocks = [[0..1, 0..columns], [2..rows, 0..columns]];
                let blocks = fill.clone().blocks(blocks).unwrap();
                fills.extend([(fill, 0), (slice, 1), (run, 0), (blocks, 0)]);
            }
        }
        many::check(&name, &gpu, gpu.initializer(), &fills);
    }
}

#[test]
fn pieces_of_parts_are_read_back() {
    for (name, gpu) in devices() {
        let fill = fused("w", &[301, 101], DType::BF16);
        let mut expected = vec![0; fill.bytes() as usize];
        cpu::fill(&fill, &mut expected).unwrap();
        let mut read_back = ReadBack::new(&gpu);
        let step = 2 * 4097;
        for (i, expected) in expected.chunks(step).enumerate() {
            let mut piece = vec![0; expected.len()];
            let start = (i * step / 2) as u64;
            read_back.take(&fill, start, &mut piece).unwrap();
            assert!(piece == expected, "{name}: piece {i}");
        }
    }
}

/// The gates of a recurrent layer, each an orthogonal matrix.
#[test]
fn orthogonal_parts_are_those_of_the_cpu_to_the_tolerance() {
    for (name, gpu) in devices() {
        let tensor = Tensor::new("lstm.weight_hh_l0", [4 * 24, 24]).unwrap();
        let mut fill = Fill::new(&tensor, &Init::normal(0.0, 1.0), 42).unwrap();
        for gate in [0..24, 24..48, 72..96] {
            fill = fill.with_part([gate, 0..24], &Init::orthogonal()).unwrap();
        }
        let mut expected = vec![0f32; fill.elements() as usize];
        cpu::fill_slice(&fill, &mut expected).unwrap();
        let mut bytes = vec![0; fill.bytes() as usize];
        ReadBack::new(&gpu).take(&fill, 0, &mut bytes).unwrap();
        let made = bytes
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes));
        for (i, (made, expected)) in made.zip(expected).enumerate() {
            let is_drawn = (48 * 24..72 * 24).contains(&i);
            let tolerance = if is_drawn { 0.0 } else { 1e-5 };
            assert!((made - expected).abs() <= tolerance, "{name}: element {i}");
        }
    }
}

/// A part of one column: a run for each row.
#[test]
fn scattered_parts_are_made_by_the_cpu_where_files_are_written() {
    for (name, gpu) in devices() {
        let tensor = Tensor::new("w", [1 << 20, 4]).unwrap();
        let fill = Fill::new(&tensor, &Init::normal(0.0, 1.0), 7)
            .and_then(|fill| fill.with_part([0..1 << 20, 1..2], &Init::ones()))
            .unwrap();
        let mut expected = vec![0; fill.bytes() as usize];
        cpu::fill(&fill, &mut expected).unwrap();
        let mut made = vec![0; expected.len()];
        let mut read_back = ReadBack::new(&gpu);
        let error = read_back.take(&fill, 0, &mut made).unwrap_err().to_string();
        assert!(
            error.contains("\"w\": its parts with initializers of their own are scattered"),
            "{name}: {error}"
        );
        Make::make(&mut read_back, &fill, 0, &mut made).unwrap();
        assert!(made == expected, "{name}");
        // Few rows at a time.
        let rows = fill.clone().slice([5..5005, 0..4]).unwrap();
        let mut made = vec![0; rows.bytes() as usize];
        read_back.take(&rows, 0, &mut made).unwrap();
        assert!(made == expected[80..80080], "{name}");
    }
}
