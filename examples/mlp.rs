//! Makes weights and zero biases from a list of layer sizes, as most tutorials do.
//!
//! cargo run --release --example mlp

use fanin::{Fill, Init, cpu, init};

fn main() -> fanin::Result<()> {
    // Many tutorials draw W1 ~ N(0, 1/input_size), W2 ~ N(0, 1/hidden_size) and set b1 = b2 = 0. Better
    // variances are 2/in before ReLU (Init::he_normal()) and 2/(in + out) before tanh or sigmoid
    // (Init::xavier_normal()).
    let layers =
        init::initialize_parameters(784, 128, 10, &Init::xavier_normal(), &Init::zeros(), 42)?;
    for fill in [&layers.w1, &layers.b1, &layers.w2, &layers.b2] {
        let values = weights(fill)?;
        let square = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        let rms = (square / values.len() as f64).sqrt();
        println!(
            "{:3} {:>10} rms {rms:.5}",
            fill.name(),
            fill.shape().to_string()
        );
    }

    // Any number of layers.
    for layer in init::dense_layers(
        &[784, 512, 256, 10],
        &Init::kaiming_normal(),
        &Init::zeros(),
        42,
    )? {
        println!(
            "{} {}, {} zeros",
            layer.weight.name(),
            layer.weight.shape(),
            layer.bias.elements()
        );
    }
    Ok(())
}

fn weights(fill: &Fill) -> fanin::Result<Vec<f32>> {
    let mut weights = vec![0f32; fill.elements() as usize];
    cpu::fill_slice(fill, &mut weights)?;
    Ok(weights)
}
