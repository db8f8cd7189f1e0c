//! Fills in every dtype: f64 is the f32 value widened, FP8 is it rounded to nearest even and saturated, whole numbers
//! hold what draws nothing, and everything else is refused with what would do.

use fanin::checkpoint::{self, Contents, silent};
use fanin::init::Distribution;
use fanin::{DType, Error, Fill, Init, Tensor, cpu};
use safetensors::SafeTensors;

/// The finite numbers of an FP8 format from 0 up, in the order of their bits.
fn float8(fraction: u32, bias: i32, largest: f64) -> Vec<f64> {
    let numbers = (0..128u32).map(|bits| {
        let (field, low) = (
            (bits >> fraction) as i32,
            f64::from(bits & ((1 << fraction) - 1)),
        );
        let low = low / f64::from(1 << fraction);
        match field {
            0 => low * 2f64.powi(1 - bias),
            _ => (1.0 + low) * 2f64.powi(field - bias),
        }
    });
    numbers.take_while(|&number| number <= largest).collect()
}

/// The bits of the nearest number; of two, those that are even. Too large ones saturate.
fn nearest(numbers: &[f64], x: f32) -> u8 {
    // Differences to a number that is far too large would all round to the same.
    let magnitude = f64::from(x.abs()).min(2.0 * numbers[numbers.len() - 1]);
    let mut best = 0;
    for bits in 1..numbers.len() {
        let distance = |bits: usize| (numbers[bits] - magnitude).abs();
        let closer = distance(bits) < distance(best);
        if closer || distance(bits) == distance(best) && bits % 2 == 0 {
            best = bits;
        }
    }
    best as u8 | if x.is_sign_negative() { 0x80 } else { 0 }
}

const SPECS: [&str; 14] = [
    "normal(mean=0,std=0.02)",
    "normal(mean=0,std=300)",
    "normal(mean=0,std=1e5)",
    "normal(mean=0,std=1e38)",
    "normal(mean=0,std=1e-4)",
    "normal(mean=0,std=1e-40)",
    "uniform(low=-1,high=3)",
    "kaiming_normal",
    "he_normal",
    "zeros",
    "constant(value=-0.3)",
    "eye",
    "sinusoidal",
    "sparse(sparsity=0.5)",
];

fn fill(spec: &str, dims: &[u64], dtype: DType) -> Fill {
    let tensor = Tensor::new("layer.weight", dims).unwrap();
    Fill::new(&tensor, &spec.parse().unwrap(), 42)
        .unwrap()
        .with_dtype(dtype)
}

fn bytes(fill: &Fill) -> Vec<u8> {
    let mut bytes = vec![0; fill.bytes() as usize];
    cpu::fill(fill, &mut bytes).unwrap();
    bytes
}

fn singles(spec: &str, dims: &[u64]) -> Vec<f32> {
    let mut weights = vec![0f32; dims.iter().product::<u64>() as usize];
    cpu::fill_slice(&fill(spec, dims, DType::F32), &mut weights).unwrap();
    weights
}

#[test]
fn f64_is_the_f32_value_widened() {
    for spec in SPECS {
        let dims = [30, 34];
        let wide: Vec<f64> = singles(spec, &dims).into_iter().map(f64::from).collect();
        let mut weights = vec![0f64; wide.len()];
        cpu::fill_slice(&fill(spec, &dims, DType::F64), &mut weights).unwrap();
        let bits = |x: &[f64]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&weights), bits(&wide), "{spec}");
    }
}

#[test]
fn float8_is_the_f32_value_rounded_and_saturated() {
    for (dtype, numbers, largest) in [
        (DType::F8E4M3, float8(3, 7, 448.0), 0x7e),
        (DType::F8E5M2, float8(2, 15, 57344.0), 0x7b),
    ] {
        assert_eq!(numbers.len(), largest as usize + 1);
        for spec in SPECS.into_iter().filter(|spec| *spec != "he_normal") {
            let dims = [60, 34];
            let expected: Vec<u8> = singles(spec, &dims)
                .iter()
                .map(|&x| nearest(&numbers, x))
                .collect();
            assert!(
                bytes(&fill(spec, &dims, dtype)) == expected,
                "{spec} in {dtype}"
            );
        }
        // The largest finite number, never infinity or NaN.
        let large = bytes(&fill("normal(mean=0,std=1e38)", &[1000], dtype));
        assert!(large.iter().all(|&bits| bits & 0x7f == largest));
    }
}

#[test]
fn truncated_distributions_stay_within_their_bounds_in_float8() {
    for (dtype, numbers) in [
        (DType::F8E4M3, float8(3, 7, 448.0)),
        (DType::F8E5M2, float8(2, 15, 57344.0)),
    ] {
        let value = |bits: u8| {
            let x = numbers[usize::from(bits & 0x7f)];
            if bits & 0x80 == 0 { x } else { -x }
        };
        for (low, high) in [
            (-0.3, 0.9),
            (-0.01, 0.01),
            (0.3, f64::INFINITY),
            (-1e30, -5.0),
        ] {
            let init = Init::trunc_normal(0.1, 0.5, low, high);
            let tensor = Tensor::new("w", [5000]).unwrap();
            let fill = Fill::new(&tensor, &init, 1).unwrap().with_dtype(dtype);
            let bytes = bytes(&fill);
            assert!(
                bytes
                    .iter()
                    .all(|&bits| (low..=high).contains(&value(bits))),
                "{low} to {high} in {dtype}"
            );
            // Rounding alone would leave the bounds, so some elements lie on the number next to one.
            assert!(bytes.iter().any(|&bits| bits != bytes[0]) || high < -4.0);
        }
        // No number of the format lies there.
        let init = Init::trunc_normal(0.0, 1.0, 1.01, 1.02);
        let tensor = Tensor::new("w", [5]).unwrap();
        let fill = Fill::new(&tensor, &init, 1).unwrap().with_dtype(dtype);
        let error = fill.check().unwrap_err().to_string();
        assert!(
            error.contains("some number of the dtype must lie between"),
            "{error}"
        );
    }
}

#[test]
fn slices_in_converted_dtypes_have_the_bits_of_the_whole() {
    for dtype in [DType::F64, DType::F8E4M3, DType::F8E5M2] {
        let size = dtype.size() as usize;
        for spec in [
            "kaiming_normal",
            "he_normal",
            "sparse(sparsity=0.5)",
            "orthogonal",
        ] {
            let whole = fill(spec, &[40, 333], dtype);
            let all = bytes(&whole);
            let part = bytes(&whole.clone().slice([3..31, 7..300]).unwrap());
            let rows = part.chunks(293 * size);
            for (row, bytes) in (3..31).zip(rows) {
                let start = (row * 333 + 7) * size;
                assert_eq!(
                    bytes,
                    &all[start..start + 293 * size],
                    "{spec} {dtype} row {row}"
                );
            }
            let mut piece = vec![0; 1001 * size];
            cpu::fill_range(&whole, 777, &mut piece).unwrap();
            assert_eq!(piece, all[777 * size..1778 * size], "{spec} {dtype}");
        }
    }
}

const WHOLE: [DType; 9] = [
    DType::Bool,
    DType::U8,
    DType::U16,
    DType::U32,
    DType::U64,
    DType::I8,
    DType::I16,
    DType::I32,
    DType::I64,
];

#[test]
fn whole_numbers_hold_what_draws_nothing() {
    for dtype in WHOLE {
        let size = dtype.size() as usize;
        let ones = bytes(&fill("ones", &[2, 300], dtype));
        let mut one = vec![0; size];
        one[0] = 1;
        assert!(ones.chunks(size).all(|bytes| bytes == one), "{dtype}");
        assert!(
            bytes(&fill("zeros", &[], dtype))
                .iter()
                .all(|&byte| byte == 0)
        );
        let eye = bytes(&fill("eye", &[3, 3], dtype));
        let diagonal: Vec<bool> = eye.chunks(size).map(|bytes| bytes == one).collect();
        let is_diagonal = [true, false, false, false, true, false, false, false, true];
        assert_eq!(diagonal, is_diagonal, "{dtype}");
    }
    let mut weights = [0i64; 3];
    cpu::fill_slice(
        &fill("constant(value=-16777215)", &[3], DType::I64),
        &mut weights,
    )
    .unwrap();
    assert_eq!(weights, [-16_777_215; 3]);
    let mut weights = [0i8; 2];
    cpu::fill_slice(&fill("constant(value=-128)", &[2], DType::I8), &mut weights).unwrap();
    assert_eq!(weights, [-128; 2]);
    let mut weights = [0u8; 2];
    cpu::fill_slice(&fill("constant(value=255)", &[2], DType::U8), &mut weights).unwrap();
    assert_eq!(weights, [255; 2]);
}

#[test]
fn whole_numbers_refuse_what_they_cannot_hold() {
    let refused = |spec: &str, dtype: DType| {
        let fill = fill(spec, &[4, 4], dtype);
        let error = fill.check().unwrap_err();
        assert!(matches!(error.fault(), Error::DType { .. }), "{error}");
        // A backend says the same.
        let filled = cpu::fill(&fill, &mut vec![0; fill.bytes() as usize]);
        assert_eq!(filled.unwrap_err().to_string(), error.to_string());
        error.to_string()
    };
    for dtype in WHOLE {
        for spec in [
            "normal(mean=0,std=1)",
            "xavier_uniform",
            "orthogonal",
            "sinusoidal",
            "he_normal",
        ] {
            let error = refused(spec, dtype);
            let start =
                format!(r#"tensor "layer.weight": dtype {dtype} holds whole numbers only, and"#);
            assert!(error.starts_with(&start), "{error}");
            assert!(
                error.contains("keep = true") && error.contains("skip = true"),
                "{error}"
            );
            assert!(error.contains(r#"init = "zeros""#), "{error}");
        }
        assert!(refused("constant(value=0.5)", dtype).contains("constant(value=0.5) gives others"));
        // binary32 cannot tell it from its neighbours.
        refused("constant(value=16777217)", dtype);
    }
    assert!(
        refused("constant(value=2)", DType::Bool).contains("here 0 to 1, and constant(value=2)")
    );
    assert!(refused("constant(value=-1)", DType::U64).contains("here 0 to 16777215"));
    assert!(refused("constant(value=128)", DType::I8).contains("here -128 to 127"));
    for dtype in [
        DType::F4,
        DType::F6E2M3,
        DType::F8E8M0,
        DType::F8E4M3Fnuz,
        DType::C64,
    ] {
        let error = refused("zeros", dtype);
        assert!(
            error.contains(&format!(
                "dtype {dtype} cannot be initialized: use dtype = f32"
            )),
            "{error}"
        );
        assert!(
            error.contains("keep = true") && error.contains("skip = true"),
            "{error}"
        );
    }
}

#[test]
fn kept_tensors_are_made_by_no_backend() {
    let tensor = Tensor::new("bn.num_batches_tracked", []).unwrap();
    let fill = Fill::from_distribution(&tensor, Distribution::kept(), 0).with_dtype(DType::I64);
    assert!(fill.is_kept() && fill.check().is_ok());
    assert_eq!(
        (fill.bytes(), fill.distribution().to_string()),
        (8, "kept".to_owned())
    );
    assert_eq!(fill.distribution().law(), None);
    let error = cpu::fill(&fill, &mut [0; 8]).unwrap_err();
    assert!(matches!(error, Error::Kept { .. }));
    let text = error.to_string();
    assert!(
        text.starts_with(r#"tensor "bn.num_batches_tracked" is kept from a file"#),
        "{text}"
    );
    let codes =
        Fill::from_distribution(&Tensor::new("w", [3, 8]).unwrap(), Distribution::kept(), 0);
    assert_eq!(codes.clone().with_dtype(DType::F4).bytes(), 12);
    assert_eq!(codes.with_dtype(DType::F6E2M3).bytes(), 18);
}

/// safetensors reads every dtype that is filled, and each tensor is aligned to its elements.
#[test]
fn files_hold_every_dtype_that_is_filled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.safetensors");
    let floats = [
        DType::F32,
        DType::F16,
        DType::BF16,
        DType::F64,
        DType::F8E4M3,
        DType::F8E5M2,
    ];
    let fills: Vec<Fill> = floats
        .iter()
        .chain(&WHOLE)
        .map(|&dtype| {
            let tensor = Tensor::new(dtype.name(), [3]).unwrap();
            let spec = if dtype.is_whole_number() {
                "ones"
            } else {
                "normal(mean=0,std=1)"
            };
            Fill::new(&tensor, &spec.parse().unwrap(), 7)
                .unwrap()
                .with_dtype(dtype)
        })
        .collect();
    let contents = Contents::safetensors(&fills, &[]).unwrap();
    checkpoint::save(&path, &contents, &mut cpu::fill_range, &mut silent).unwrap();
    let file = std::fs::read(&path).unwrap();
    let read = SafeTensors::deserialize(&file).unwrap();
    for fill in &fills {
        let view = read.tensor(fill.name()).unwrap();
        assert_eq!(view.dtype().to_string(), fill.dtype().safetensors_name());
        assert_eq!(view.data(), bytes(fill), "{}", fill.name());
        let offset = view.data().as_ptr() as usize - file.as_ptr() as usize;
        assert_eq!(offset % fill.dtype().size() as usize, 0, "{}", fill.name());
    }
    // Statistics of all floats, and verification of all.
    let weights = checkpoint::Weights::open(&path).unwrap();
    let found = checkpoint::verify(&weights, &fills, &mut cpu::fill_range, &mut silent).unwrap();
    assert!(found.is_same() && found.passed_over.is_empty());
    for row in checkpoint::stats(&path).unwrap() {
        let dtype: DType = row.dtype.parse().unwrap();
        assert_eq!(row.mean.is_some(), dtype.is_drawn(), "{dtype}");
    }
}

#[test]
fn npy_holds_the_dtypes_that_numpy_has() {
    for (dtype, descr) in [
        (DType::F64, "<f8"),
        (DType::F32, "<f4"),
        (DType::F16, "<f2"),
        (DType::Bool, "|b1"),
        (DType::U8, "|u1"),
        (DType::I8, "|i1"),
        (DType::U16, "<u2"),
        (DType::I64, "<i8"),
    ] {
        let ones = fill("ones", &[2, 2], dtype);
        let contents = Contents::npy(&ones).unwrap();
        let header = String::from_utf8_lossy(contents.header()).into_owned();
        assert!(header.contains(&format!("'descr': '{descr}'")), "{header}");
    }
    for dtype in [DType::BF16, DType::F8E4M3, DType::F8E5M2] {
        let error = Contents::npy(&fill("ones", &[2, 2], dtype))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("npy cannot hold {dtype}: use f32")),
            "{error}"
        );
    }
}
