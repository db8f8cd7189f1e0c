//! `FaninInitializer` gives the distributions of burn's own `Initializer`, by the same formulas.

use burn::module::{Initializer, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor};
use fanin::{Fill, Init, cpu};
use fanin_burn::FaninInitializer;

use crate::common::devices;

const FANS: (Option<usize>, Option<usize>) = (Some(300), Some(200));

fn values(param: &Param<Tensor<2>>) -> Vec<f32> {
    param.val().into_data().try_to_vec().unwrap()
}

fn bits(init: &Init, dtype: fanin::DType) -> Vec<u8> {
    let tensor = fanin::Tensor::new("w", [300, 200]).unwrap();
    let fill = Fill::new(&tensor, init, 42).unwrap().with_dtype(dtype);
    let mut bytes = vec![0; fill.bytes() as usize];
    cpu::fill(&fill, &mut bytes).unwrap();
    bytes
}

/// Each variant, with the distribution that burn's formulas give for fans of 300 and 200.
fn variants() -> Vec<(Initializer, Init)> {
    let gain = 1.7;
    let within = |bound: f64| Init::uniform(-bound, bound);
    let kaiming = |fan_out_only| Initializer::KaimingUniform { gain, fan_out_only };
    let kaiming_normal = |fan_out_only| Initializer::KaimingNormal { gain, fan_out_only };
    vec![
        (Initializer::Constant { value: 0.1 }, Init::constant(0.1)),
        (Initializer::Ones, Init::ones()),
        (Initializer::Zeros, Init::zeros()),
        (
            Initializer::Uniform {
                min: -0.5,
                max: 2.0,
            },
            Init::uniform(-0.5, 2.0),
        ),
        (
            Initializer::Normal {
                mean: 1.0,
                std: 0.3,
            },
            Init::normal(1.0, 0.3),
        ),
        (kaiming(false), within(gain * (3.0f64 / 300.0).sqrt())),
        (kaiming(true), within(gain * (3.0f64 / 200.0).sqrt())),
        (
            kaiming_normal(false),
            Init::normal(0.0, gain / 300f64.sqrt()),
        ),
        (
            kaiming_normal(true),
            Init::normal(0.0, gain / 200f64.sqrt()),
        ),
        (
            Initializer::XavierUniform { gain },
            within(gain * (6.0f64 / 500.0).sqrt()),
        ),
        (
            Initializer::XavierNormal { gain },
            Init::normal(0.0, gain * (2.0f64 / 500.0).sqrt()),
        ),
    ]
}

/// Compares bits, not distributions. The formulas here round otherwise than burn's in binary64, but with this gain
/// they give the same binary32.
#[test]
fn every_variant_is_burns_formula_on_every_backend() {
    let mut all: Vec<(String, Device)> = devices().to_vec();
    all.push(("flex".to_owned(), Device::flex()));
    for (name, device) in all {
        for (burns, init) in variants() {
            let param: Param<Tensor<2>> = FaninInitializer::from(burns.clone())
                .seeded(42, "w")
                .init_with([300, 200], FANS.0, FANS.1, &device)
                .unwrap();
            assert!(!param.is_initialized());
            let data = param.val().into_data();
            assert_eq!(
                data.as_bytes(),
                bits(&init, fanin::DType::F32),
                "{name}: {burns:?}"
            );
        }
    }
}

/// The means and standard deviations agree within 6.5 standard errors, which chance exceeds once in 10^10. Uniform
/// values also have the same bounds.
#[test]
fn burns_own_values_have_the_same_distribution() {
    let device = Device::flex();
    device.seed(3);
    for (burns, _) in variants() {
        let own = burns.init_with([300, 200], FANS.0, FANS.1, &device);
        let ours = FaninInitializer::from(burns.clone())
            .seeded(3, "w")
            .init_with([300, 200], FANS.0, FANS.1, &device)
            .unwrap();
        let statistics = |param: &Param<Tensor<2>>| {
            let values = values(param);
            let n = values.len() as f64;
            let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
            let square = |x: &f32| (f64::from(*x) - mean).powi(2);
            let std = (values.iter().map(square).sum::<f64>() / n).sqrt();
            let most = values.iter().fold(f32::MIN, |a, &b| a.max(b));
            (n, mean, std, f64::from(most))
        };
        let (n, mean, std, most) = statistics(&own);
        let (_, our_mean, our_std, our_most) = statistics(&ours);
        let error = 6.5 * std * (2.0 / n).sqrt() + 1e-6 * mean.abs();
        assert!(
            (mean - our_mean).abs() <= error,
            "{burns:?}: mean {our_mean} for {mean}"
        );
        // A normal sample's std has half the variance of its mean, a uniform one's less.
        assert!(
            (std - our_std).abs() <= error,
            "{burns:?}: std {our_std} for {std}"
        );
        if matches!(
            burns,
            Initializer::KaimingUniform { .. } | Initializer::XavierUniform { .. }
        ) {
            // The largest of n values is within 30/n of the bound, except with probability e^-30.
            assert!(
                (most / our_most - 1.0).abs() <= 60.0 / n,
                "{burns:?}: {our_most} for {most}"
            );
        }
    }
}

#[test]
fn orthogonal_columns_are_orthonormal_times_the_gain() {
    let mut all: Vec<Device> = devices().iter().map(|(_, device)| device.clone()).collect();
    all.push(Device::flex());
    for device in all {
        let param: Param<Tensor<2>> = FaninInitializer::Orthogonal { gain: 2.0 }
            .seeded(42, "w")
            .init([48, 32], &device)
            .unwrap();
        let w = values(&param);
        for i in 0..32 {
            for j in 0..32 {
                let product: f64 = (0..48)
                    .map(|k| f64::from(w[32 * k + i]) * f64::from(w[32 * k + j]))
                    .sum();
                let wanted = if i == j { 4.0 } else { 0.0 };
                assert!((product - wanted).abs() < 1e-4, "{i} {j}: {product}");
            }
        }
    }
}

#[test]
fn names_streams_and_seeds_pick_the_numbers() {
    let device = Device::flex();
    let drawn = |seed, name: &str, stream: Option<u64>| {
        let mut seeded = FaninInitializer::Normal {
            mean: 0.0,
            std: 1.0,
        }
        .seeded(seed, name);
        if let Some(stream) = stream {
            seeded = seeded.with_stream_id(stream);
        }
        values(&seeded.init([4, 4], &device).unwrap())
    };
    let first = drawn(1, "a", None);
    assert_eq!(first, drawn(1, "a", None));
    assert_eq!(first, drawn(1, "b", Some(fanin::stream_id("a"))));
    assert_ne!(first, drawn(2, "a", None));
    assert_ne!(first, drawn(1, "b", None));
}

#[test]
fn parameters_take_the_devices_float_dtype_and_gradients() {
    for (burns, fanins) in [
        (FloatDType::F32, fanin::DType::F32),
        (FloatDType::F16, fanin::DType::F16),
    ] {
        // The settings of a device cannot be changed later, so each dtype needs a new device.
        for setup in crate::common::setups() {
            let mut device = fanin_burn::init_device_with(setup).unwrap();
            if burns == FloatDType::F16 && !device.supports_dtype(DType::F16) {
                println!("no f16 in shaders here");
                continue;
            }
            device.configure(burns).unwrap();
            let param: Param<Tensor<2>> = FaninInitializer::Normal {
                mean: 0.0,
                std: 0.02,
            }
            .seeded(42, "w")
            .init([300, 200], &device.clone().autodiff())
            .unwrap();
            assert!(param.val().is_require_grad());
            let data = param.val().into_data();
            assert_eq!(data.dtype(), DType::from(burns));
            assert_eq!(data.as_bytes(), bits(&Init::normal(0.0, 0.02), fanins));
        }
    }
}
