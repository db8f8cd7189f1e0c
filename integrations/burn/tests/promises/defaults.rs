//! The preset `burn` gives burn's modules the distributions of burn's own defaults.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::attention::{MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::conv::*;
use burn::nn::transformer::{
    TransformerDecoder, TransformerDecoderConfig, TransformerEncoder, TransformerEncoderConfig,
};
use burn::nn::*;
use burn::tensor::Device;
use fanin::Recipe;
use fanin_burn::InitWithFanin;

use crate::common::read_back;

#[derive(Module, Debug)]
struct Every {
    linear: Linear,
    conv1: Conv1d,
    conv2: Conv2d,
    conv3: Conv3d,
    transpose1: ConvTranspose1d,
    transpose2: ConvTranspose2d,
    transpose3: ConvTranspose3d,
    deform: DeformConv2d,
    embedding: Embedding,
    batch: BatchNorm,
    layer: LayerNorm,
    group: GroupNorm,
    instance: InstanceNorm,
    rms: RmsNorm,
    prelu: PRelu,
    swiglu: SwiGlu,
    rnn: Rnn,
    lstm: Lstm,
    bilstm: BiLstm,
    gru: Gru,
    attention: MultiHeadAttention,
    encoder: TransformerEncoder,
    decoder: TransformerDecoder,
}

fn every(device: &Device) -> Every {
    Every {
        linear: LinearConfig::new(300, 100).init(device),
        conv1: Conv1dConfig::new(24, 64, 5).init(device),
        conv2: Conv2dConfig::new([32, 64], [3, 3])
            .with_groups(4)
            .init(device),
        conv3: Conv3dConfig::new([4, 16], [3, 3, 3]).init(device),
        transpose1: ConvTranspose1dConfig::new([48, 24], 5).init(device),
        transpose2: ConvTranspose2dConfig::new([32, 12], [3, 3]).init(device),
        transpose3: ConvTranspose3dConfig::new([16, 4], [3, 3, 3]).init(device),
        deform: DeformConv2dConfig::new([32, 64], [3, 3]).init(device),
        embedding: EmbeddingConfig::new(200, 32).init(device),
        batch: BatchNormConfig::new(16).init(device),
        layer: LayerNormConfig::new(16).init(device),
        group: GroupNormConfig::new(4, 16).init(device),
        instance: InstanceNormConfig::new(16).init(device),
        rms: RmsNormConfig::new(16).init(device),
        prelu: PReluConfig::new().init(device),
        swiglu: SwiGluConfig::new(96, 24).init(device),
        rnn: RnnConfig::new(20, 150, true).init(device),
        lstm: LstmConfig::new(20, 150, true).init(device),
        bilstm: BiLstmConfig::new(20, 150, true).init(device),
        gru: GruConfig::new(20, 150, true).init(device),
        attention: MultiHeadAttentionConfig::new(64, 4).init(device),
        encoder: TransformerEncoderConfig::new(64, 256, 4, 2).init(device),
        decoder: TransformerDecoderConfig::new(64, 256, 4, 1).init(device),
    }
}

struct Statistics {
    n: f64,
    mean: f64,
    std: f64,
    most: f64,
}

fn statistics(bytes: &[u8]) -> Statistics {
    let values: Vec<f64> = bytes
        .chunks_exact(4)
        .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
        .collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    Statistics {
        n,
        mean,
        std: variance.sqrt(),
        most: values.iter().fold(0.0, |most, x| x.abs().max(most)),
    }
}

/// Means and standard deviations agree within 6.5 standard errors. Chance exceeds that once in 10^10, for each of
/// some 200 comparisons.
#[test]
fn every_module_gets_burns_own_defaults() {
    let device = Device::flex();
    device.seed(1);
    let model = every(&device);
    let burns: BTreeMap<String, Vec<u8>> = read_back(&model);
    let model = model
        .init_with_fanin(&Recipe::preset("burn").unwrap(), 1)
        .unwrap();
    let ours = read_back(&model);
    assert!(burns.len() > 100, "only {} parameters", burns.len());
    assert!(burns.keys().eq(ours.keys()));
    let mut drawn = 0;
    for (name, bytes) in &burns {
        let (seen, got) = (statistics(bytes), statistics(&ours[name]));
        if seen.std == 0.0 {
            assert_eq!(&ours[name], bytes, "{name}");
            continue;
        }
        drawn += 1;
        assert_ne!(&ours[name], bytes, "{name}: not filled");
        let error = 6.5 * (2.0 / seen.n).sqrt();
        let off = (got.mean - seen.mean).abs();
        assert!(
            off <= error * seen.std,
            "{name}: mean {} for {}",
            got.mean,
            seen.mean
        );
        // The std of a normal sample has half the variance of its mean, that of a uniform sample a fifth. The
        // second term is for small samples, whose distribution is skewed.
        let off = (got.std / seen.std - 1.0).abs();
        let allowed = error / 2f64.sqrt() + 2.0 * error * error;
        assert!(off <= allowed, "{name}: std {} for {}", got.std, seen.std);
        // A uniform sample ends at sqrt(3) standard deviations. The largest of 1,000 normal values is below 2.2
        // once in 10^12 samples.
        if seen.n >= 1000.0 {
            let normal = |s: &Statistics| s.most / s.std > 2.2;
            assert_eq!(normal(&got), normal(&seen), "{name}");
        }
    }
    assert!(drawn > 70, "only {drawn} parameters are drawn");
}
