//! Dtypes that no shader stores: a device makes f32 and the host converts it, to the bits of the CPU. Into a buffer of
//! the caller they are refused.

use fanin::checkpoint::Make;
use fanin::gpu::{ReadBack, raw};
use fanin::init::Distribution;
use fanin::{DType, Error, Fill, Init, Tensor, cpu};

use crate::devices::devices;

fn fills() -> Vec<Fill> {
    let floats = [DType::F64, DType::F8E4M3, DType::F8E5M2];
    let specs = [
        "normal(mean=0,std=0.02)",
        "normal(mean=0,std=500)",
        "uniform(low=-1,high=3)",
        "trunc_normal(mean=0.1,std=0.5,a=-0.3,b=0.9)",
        "he_normal",
        "sparse(sparsity=0.5)",
        "sinusoidal",
        "constant(value=-0.3)",
    ];
    let mut fills = Vec::new();
    for spec in specs {
        let init: Init = spec.parse().unwrap();
        let tensor = Tensor::new(spec, [60, 134]).unwrap();
        let fill = Fill::new(&tensor, &init, 42).unwrap();
        fills.extend(floats.map(|dtype| fill.clone().with_dtype(dtype)));
        let part = fill.slice([3..57, 10..101]).unwrap();
        fills.extend(floats.map(|dtype| part.clone().with_dtype(dtype)));
    }
    let tensor = Tensor::new("counts", [30, 30]).unwrap();
    for dtype in [
        DType::Bool,
        DType::U8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::U64,
    ] {
        for init in [Init::ones(), "eye".parse().unwrap()] {
            fills.push(Fill::new(&tensor, &init, 1).unwrap().with_dtype(dtype));
        }
    }
    fills
}

#[test]
fn a_device_and_the_host_make_the_bits_of_the_cpu() {
    for (name, gpu) in devices() {
        let mut read_back = ReadBack::new(&gpu);
        for fill in fills() {
            let mut expected = vec![0; fill.bytes() as usize];
            cpu::fill(&fill, &mut expected).unwrap();
            let what = format!("{name}: {} in {}", fill.name(), fill.dtype());
            let mut made = vec![0; expected.len()];
            gpu.fill_range_to_host(&fill, 0, &mut made).unwrap();
            assert!(made == expected, "{what}");
            // In pieces, two of them ahead, as the writer asks for them.
            let size = fill.dtype().size();
            let cuts = [0, 7, 301, 302, fill.elements()];
            let pieces = || cuts.windows(2).map(|cut| cut[0]..cut[1]);
            for piece in pieces().take(2) {
                read_back.ahead(&fill, piece).unwrap();
            }
            let mut made = Vec::new();
            for (i, piece) in pieces().enumerate() {
                if let Some(next) = pieces().nth(i + 2) {
                    read_back.ahead(&fill, next).unwrap();
                }
                let mut out = vec![0; ((piece.end - piece.start) * size) as usize];
                read_back.make(&fill, piece.start, &mut out).unwrap();
                made.extend(out);
            }
            assert!(made == expected, "{what} in pieces");
        }
    }
}

#[test]
fn other_dtypes_and_kept_tensors_are_refused_by_name() {
    let tensor = Tensor::new("w", [8]).unwrap();
    let zeros = Fill::new(&tensor, &Init::zeros(), 1).unwrap();
    for dtype in [DType::F64, DType::F8E4M3, DType::I64, DType::Bool] {
        let fill = zeros.clone().with_dtype(dtype);
        let error = raw::dispatches(&fill, 0..8, 0, raw::Limits::default()).unwrap_err();
        assert!(matches!(error.fault(), Error::DType { .. }));
        let text =
            format!("tensor \"w\": dtype {dtype} is not filled on a device: fill it on the CPU");
        assert!(error.to_string().starts_with(&text), "{error}");
    }
    let kept = Fill::from_distribution(&tensor, Distribution::kept(), 1);
    let error = raw::dispatches(&kept, 0..8, 0, raw::Limits::default()).unwrap_err();
    assert!(matches!(error, Error::Kept { .. }), "{error}");
    for (_, gpu) in devices() {
        let fill = zeros.clone().with_dtype(DType::F8E5M2);
        assert!(matches!(
            gpu.fill_buffer(&fill).unwrap_err().fault(),
            Error::DType { .. }
        ));
        assert!(matches!(gpu.fill_buffer(&kept), Err(Error::Kept { .. })));
        let mut out = [0; 32];
        assert!(matches!(
            gpu.fill_range_to_host(&kept, 0, &mut out),
            Err(Error::Kept { .. })
        ));
        let drawn = Fill::new(&tensor, &Init::normal(0.0, 1.0), 1)
            .unwrap()
            .with_dtype(DType::I32);
        let error = ReadBack::new(&gpu).take(&drawn, 0, &mut out).unwrap_err();
        assert!(matches!(error.fault(), Error::DType { .. }), "{error}");
    }
}
