//! Tensors without elements, as in a layer with 0 inputs. Every initializer accepts them. (The tests of the
//! command line check them in files.)

use fanin::checkpoint::{self, Contents};
use fanin::gpu::Target;
use fanin::init::{CATALOGUE, Distribution, dense_layers};
use fanin::{DType, Fill, Init, ListedTensor, Recipe, Shape, Tensor, TensorList, cpu};

use crate::devices::devices;

fn every_init() -> impl Iterator<Item = Init> {
    CATALOGUE.iter().map(|entry| {
        let needed = entry.keys.iter().filter(|key| key.required);
        let keys: Vec<String> = needed
            .map(|key| match key.name {
                "role" => "role=hidden".to_owned(),
                "std" | "sparsity" | "partial_rotary_factor" => format!("{}=0.5", key.name),
                key => format!("{key}=4"),
            })
            .collect();
        let spec = format!("{}({})", entry.name, keys.join(","));
        spec.parse()
            .unwrap_or_else(|error| panic!("{spec}: {error}"))
    })
}

const SHAPES: [&[u64]; 7] = [
    &[0],
    &[0, 784],
    &[512, 0],
    &[0, 0],
    &[4, 4, 0],
    &[0, 3, 3, 3],
    &[1 << 50, 0],
];

#[test]
fn every_initializer_takes_an_empty_tensor() {
    let constant = Distribution::constant(0.0).unwrap();
    for init in every_init() {
        for dims in SHAPES {
            let tensor = Tensor::new("w", dims).unwrap();
            let fill = Fill::new(&tensor, &init, 42)
                .unwrap_or_else(|error| panic!("{init} of {dims:?}: {error}"));
            assert_eq!(*fill.distribution(), constant, "{init} of {dims:?}");
            assert_eq!((fill.elements(), fill.bytes()), (0, 0));
            cpu::fill(&fill, &mut []).unwrap();
            let ranges: Vec<_> = dims.iter().map(|&dim| 0..dim).collect();
            cpu::fill_slice::<f32>(&fill.slice(ranges).unwrap(), &mut []).unwrap();
        }
    }
    // An invalid rule is still an error.
    let tensor = Tensor::new("w", [0]).unwrap();
    let error = Fill::new(&tensor, &Init::normal(0.0, -1.0), 42).unwrap_err();
    assert!(error.to_string().contains("std = -1"), "{error}");
    let fill = Fill::new(&tensor, &Init::zeros(), 42).unwrap();
    let error = cpu::fill(&fill, &mut [0; 4]).unwrap_err().to_string();
    assert!(error.contains("must hold 0 elements"), "{error}");
}

#[test]
fn layers_of_no_inputs_are_layers() {
    let layers = dense_layers(&[784, 0, 10], &Init::kaiming_normal(), &Init::zeros(), 1).unwrap();
    assert_eq!(layers[0].weight.shape().dims(), [0, 784]);
    assert_eq!(layers[0].bias.elements(), 0);
    assert_eq!(layers[1].weight.elements(), 0);
    assert_eq!(layers[1].bias.elements(), 10);
}

/// `torch.nn.Linear(0, 10)` has a bias of zeros.
#[test]
fn recipes_take_empty_tensors() {
    let listed = |name: &str, dims: &[u64]| ListedTensor {
        name: name.to_owned(),
        shape: Shape::new(dims).unwrap(),
        dtype: None,
    };
    let list = TensorList::new(vec![
        listed("fc.weight", &[10, 0]),
        listed("fc.bias", &[10]),
        listed("none.weight", &[0, 10]),
        listed("none.bias", &[0]),
        listed("computed.w", &[0, 4]),
        listed("lone.bias", &[0]),
    ])
    .unwrap();
    let recipe = Recipe::from_toml(
        r#"
        [[rule]]
        match = "*.weight"
        init = "kaiming_normal(mode=fan_out)"
        [[rule]]
        match = "*.bias"
        init = "bias_uniform"
        [[rule]]
        match = "computed.*"
        init = "normal(std=1/sqrt(fan_out*dim(0)*layers))"
        "#,
    )
    .unwrap();
    let plan = recipe.resolve(&list, Some(1), None).unwrap();
    let inits: Vec<String> = plan.entries.iter().map(|e| e.init.to_string()).collect();
    assert_eq!(inits[1], "zeros");
    assert_eq!(inits[3], "bias_uniform(fan_in=10)");
    let zero = Distribution::constant(0.0).unwrap();
    for entry in &plan.entries {
        assert_eq!(*entry.fill.distribution(), zero, "{}", entry.fill.name());
    }
    assert_eq!((plan.elements(), plan.bytes()), (10, 40));
}

#[test]
fn empty_fills_are_no_work_for_a_gpu() {
    let fill = |name: &str, dims: &[u64], spec: &str| {
        let tensor = Tensor::new(name, dims).unwrap();
        Fill::new(&tensor, &spec.parse().unwrap(), 7).unwrap()
    };
    let fills = [
        fill("a", &[0, 8], "kaiming_normal"),
        fill("w", &[4, 4], "normal"),
        fill("b", &[8, 0], "orthogonal"),
        fill("c", &[0], "trunc_normal").with_dtype(DType::BF16),
    ];
    let mut expected = [0; 64];
    cpu::fill(&fills[1], &mut expected).unwrap();
    for (name, gpu) in devices() {
        for empty in [&fills[0], &fills[2], &fills[3]] {
            gpu.fill_range_to_host(empty, 0, &mut []).unwrap();
        }
        let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let targets: Vec<_> = fills.iter().map(|f| Target::new(f, &buffer, 0)).collect();
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        gpu.initializer().fill_all(&mut encoder, &targets).unwrap();
        gpu.queue().submit([encoder.finish()]);
        let mut seen = [0; 64];
        gpu.read(&buffer, 0, &mut seen).unwrap();
        assert_eq!(seen, expected, "{name}");
    }
}

/// A file that consists only of a header is written like any other.
#[test]
fn contents_of_no_bytes() {
    let fills = [Fill::new(&Tensor::new("w", [0]).unwrap(), &Init::ones(), 1).unwrap()];
    let contents = Contents::safetensors(&fills, &[]).unwrap();
    assert_eq!(contents.weight_bytes(), 0);
    let mut out = Vec::new();
    checkpoint::write_to(
        &mut out,
        "memory",
        &contents,
        &mut cpu::fill_range,
        &mut checkpoint::silent,
    )
    .unwrap();
    assert_eq!(out, contents.header());
}
