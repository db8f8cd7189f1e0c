//! Whole models: presets against the frameworks' own numbers, and what recipes refuse.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fanin::checkpoint::{Moments, read_tensor_list};
use fanin::init::{Distribution, DistributionKind};
use fanin::{DType, Fill, ListedTensor, Plan, Recipe, Shape, TensorList, cpu};
use serde::Deserialize;

/// Standard errors that a sample may stray: by chance 2e-9 a check, and less than 1e-6 for all
/// the checks of this file together.
const SIGMAS: f64 = 6.0;

/// The statistics of torch's tensors, as the list has them.
#[derive(Deserialize)]
struct TorchStats {
    mean: f64,
    std: f64,
    min: f64,
    max: f64,
    n: u64,
    kurt: f64,
}

fn list(model: &str) -> (TensorList, BTreeMap<String, TorchStats>) {
    #[derive(Deserialize)]
    struct File {
        torch_stats: BTreeMap<String, TorchStats>,
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/models")
        .join(model);
    let file: File = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    (read_tensor_list(&path).unwrap(), file.torch_stats)
}

fn tensors(tensors: &[(&str, &[u64])]) -> TensorList {
    let listed = tensors.iter().map(|(name, dims)| ListedTensor {
        name: (*name).to_owned(),
        shape: Shape::new(*dims).unwrap(),
        dtype: None,
    });
    TensorList::new(listed.collect()).unwrap()
}

/// Asserts that a sample of n elements can have come from this distribution.
fn assert_drawn_from(who: &str, distribution: &Distribution, sample: &TorchStats) {
    let root_n = (sample.n as f64).sqrt();
    let (mean, std, kurtosis) = match *distribution.kind() {
        DistributionKind::Constant { value } => {
            let value = f64::from(value);
            assert_eq!((sample.mean, sample.std), (value, 0.0), "{who}");
            assert_eq!((sample.min, sample.max), (value, value), "{who}");
            return;
        }
        DistributionKind::Normal { mean, std } => (f64::from(mean), f64::from(std), 3.0),
        DistributionKind::Uniform { low, high } => {
            let (low, high) = (f64::from(low), f64::from(high));
            let width = high - low;
            assert!(low <= sample.min && sample.max < high, "{who}");
            // No element within 20/n of an end: by chance exp(-20) = 2e-9.
            let near = 20.0 / sample.n as f64 * width;
            assert!(sample.min < low + near && sample.max > high - near, "{who}");
            ((low + high) / 2.0, width / 12f64.sqrt(), 1.8)
        }
        _ => panic!("{who}: no such distribution is known here"),
    };
    let off = |what: &str, got: f64, wanted: f64, error: f64| {
        let sigmas = (got - wanted).abs() / error;
        assert!(
            sigmas < SIGMAS,
            "{who}: {what} {got}, not {wanted}: {sigmas:.1} sigmas"
        );
    };
    off("mean", sample.mean, mean, std / root_n);
    // Below some hundred elements the std and kurtosis of a sample are far from normal.
    if sample.n >= 256 {
        let relative: f64 = (kurtosis - 1.0) / 4.0;
        off("std", sample.std, std, std * relative.sqrt() / root_n);
    }
    if sample.n >= 100_000 {
        off("kurtosis", sample.kurt, kurtosis, 24f64.sqrt() / root_n);
    }
}

/// Returns the elements of fanin for an entry of a plan.
fn draw(plan: &Plan, index: usize) -> TorchStats {
    let fill = &plan.entries[index].fill;
    let mut moments = Moments::default();
    let mut start = 0;
    while start < fill.elements() {
        let elements = (fill.elements() - start).min(1 << 20);
        let mut bytes = vec![0; elements as usize * 4];
        cpu::fill_range(fill, start, &mut bytes).unwrap();
        let weights = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        for part in weights.map(f64::from).collect::<Vec<_>>().chunks(1 << 14) {
            moments.merge(&Moments::of(part));
        }
        start += elements;
    }
    TorchStats {
        mean: moments.mean(),
        std: moments.std(),
        min: moments.min(),
        max: moments.max(),
        n: moments.n(),
        kurt: moments.kurtosis(),
    }
}

fn assert_preset_is_torchs(preset: &str, model: &str) -> Plan {
    let (list, torch) = list(model);
    let plan = Recipe::preset(preset)
        .unwrap()
        .resolve(&list, Some(42), None)
        .unwrap();
    assert_eq!(plan.entries.len(), torch.len());
    for (index, entry) in plan.entries.iter().enumerate() {
        let (name, distribution) = (entry.fill.name(), entry.fill.distribution());
        assert_drawn_from(&format!("torch's {name}"), distribution, &torch[name]);
        assert_drawn_from(
            &format!("fanin's {name}"),
            distribution,
            &draw(&plan, index),
        );
    }
    plan
}

#[test]
fn gpt2_is_initialized_as_hugging_face_does() {
    let plan = assert_preset_is_torchs("gpt2", "gpt2.json");
    assert_eq!(plan.entries.len(), 148);
    assert_eq!(plan.elements(), 124_439_808);
    let residual = Distribution::normal(0.0, 0.02 / 24f64.sqrt()).unwrap();
    let weight = Distribution::normal(0.0, 0.02).unwrap();
    let mut counts = [0; 4];
    for entry in &plan.entries {
        let name = entry.fill.name();
        let (kind, expected) = if name.ends_with(".c_proj.weight") {
            (0, residual.clone())
        } else if name.ends_with(".bias") {
            (1, Distribution::constant(0.0).unwrap())
        } else if name.contains(".ln_") {
            (2, Distribution::constant(1.0).unwrap())
        } else {
            (3, weight.clone())
        };
        counts[kind] += 1;
        assert_eq!(*entry.fill.distribution(), expected, "{name}");
    }
    // 2 projections, 6 biases, 2 norms and 2 others a layer; ln_f; wte and wpe.
    assert_eq!(counts, [24, 73, 25, 26]);
}

#[test]
fn the_mlp_is_initialized_as_torchs_layers_are() {
    let plan = assert_preset_is_torchs("torch", "mlp-mnist.json");
    let inits: Vec<String> = plan
        .entries
        .iter()
        .map(|entry| entry.init.to_string())
        .collect();
    assert_eq!(inits[1], "bias_uniform(fan_in=784)");
    assert_eq!(inits[5], "bias_uniform(fan_in=256)");
}

#[test]
fn residual_layers_are_counted_in_the_list() {
    let names: Vec<String> = (0..24)
        .flat_map(|layer| ["attn", "mlp"].map(|part| format!("h.{layer}.{part}.c_proj.weight")))
        .collect();
    let list = |names: &[String]| {
        let pairs: Vec<(&str, &[u64])> = names.iter().map(|n| (n.as_str(), &[8, 8][..])).collect();
        tensors(&pairs)
    };
    let recipe = Recipe::preset("gpt2").unwrap();
    // gpt2-medium has 24 layers.
    let plan = recipe.resolve(&list(&names), Some(1), None).unwrap();
    assert_eq!(
        plan.entries[0].init.to_string(),
        "residual_normal(std=0.02,layers=24)"
    );
    let std = 0.02 / 48f64.sqrt();
    let expected = Distribution::normal(0.0, std).unwrap();
    assert!(
        plan.entries
            .iter()
            .all(|entry| *entry.fill.distribution() == expected)
    );

    // The later half of a model cannot tell how many layers there are.
    let error = recipe
        .resolve(&list(&names[24..]), Some(1), None)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("tensor \"h.12.attn.c_proj.weight\": residual_normal(std=0.02)"),
        "{error}"
    );
    assert!(
        error.contains("finds 12 layers") && error.contains("layers=N"),
        "{error}"
    );

    let lone = tensors(&[("x.c_proj.weight", &[8, 8])]);
    let error = recipe
        .resolve(&lone, Some(1), None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"x.c_proj.weight\"") && error.contains("layers=N"),
        "{error}"
    );
}

#[test]
fn the_torch_preset_tells_layers_from_normalizations() {
    let list = tensors(&[
        ("conv1.weight", &[64, 3, 7, 7]),
        ("conv1.bias", &[64]),
        ("bn1.weight", &[64]),
        ("bn1.bias", &[64]),
        ("bn1.running_mean", &[64]),
        ("bn1.running_var", &[64]),
        ("embedding.weight", &[100, 16]),
        ("weight", &[10, 20]),
        ("bias", &[10]),
    ]);
    let plan = Recipe::preset("torch")
        .unwrap()
        .resolve(&list, Some(1), None)
        .unwrap();
    let inits: Vec<String> = plan
        .entries
        .iter()
        .map(|entry| entry.init.to_string())
        .collect();
    let weight = "torch_linear";
    assert_eq!(
        inits,
        [
            weight,
            "bias_uniform(fan_in=147)",
            "ones",
            "zeros",
            "zeros",
            "ones",
            "normal",
            weight,
            "bias_uniform(fan_in=20)",
        ]
    );
    // uniform within 1/sqrt(fan_in), to the bit the same for weight and bias
    let bound = (1.0 / 147f64.sqrt()) as f32;
    for entry in &plan.entries[..2] {
        assert!(
            matches!(entry.fill.distribution().kind(), DistributionKind::Uniform { high, .. } if *high == bound)
        );
    }
}

#[test]
fn the_generic_presets_cover_the_usual_names() {
    let list = tensors(&[
        ("fc.weight", &[20, 10]),
        ("fc.bias", &[20]),
        ("norm.weight", &[20]),
        ("dense/kernel", &[10, 20]),
        ("norm/gamma", &[20]),
        ("norm/beta", &[20]),
    ]);
    let std = |scale: f64| (scale / 10.0).sqrt();
    // LeCun normal is what Keras and JAX call so: cut at two units, its deviation corrected for that.
    let lecun = std(1.0) / 0.879_625_661_034_239_8;
    for (preset, weight) in [
        ("kaiming", Distribution::normal(0.0, std(2.0))),
        (
            "lecun",
            Distribution::truncated_normal_at(0.0, lecun, -2.0, 2.0),
        ),
        (
            "xavier",
            Distribution::uniform(-(0.2f64.sqrt()), 0.2f64.sqrt()),
        ),
    ] {
        let plan = Recipe::preset(preset)
            .unwrap()
            .resolve(&list, Some(1), None)
            .unwrap();
        let got: Vec<&Distribution> = plan.iter().map(Fill::distribution).collect();
        let weight = &weight.unwrap();
        let constant = |value| Distribution::constant(value).unwrap();
        let (zero, one) = (&constant(0.0), &constant(1.0));
        assert_eq!(got, [weight, zero, one, weight, one, zero], "{preset}");
    }
}

#[test]
fn every_preset_is_a_recipe_and_prints_as_it_was_written() {
    for name in Recipe::presets() {
        let recipe = Recipe::preset(name).unwrap();
        assert_eq!(recipe.name(), name);
        assert!(recipe.seed().is_none());
        let again = Recipe::from_toml(recipe.text()).unwrap();
        assert_eq!(again.text(), recipe.text());
    }
    let error = Recipe::preset("gtp2").unwrap_err().to_string();
    assert_eq!(
        error,
        "unknown preset \"gtp2\": use one of bert, buffers, burn, convnext, flax, gemma, gpt2, \
         kaiming, keras, lecun, llama, llama_torchtitan, mixtral, mobilenet_v3, resnet, t5, torch, vit, \
         whisper, xavier"
    );
}

#[test]
fn the_first_rule_that_matches_decides() {
    let recipe = Recipe::from_toml(
        r#"
        seed = 7
        dtype = "bf16"

        [[rule]]
        match = ["a.special.weight", "z*"]
        init = "constant(value=3)"
        dtype = "f16"

        [[rule]]
        match = "*.weight"
        rank = 1
        init = "ones"

        [[rule]]
        match = "*"
        init = "normal(std=0.5)"
        "#,
    )
    .unwrap();
    let list = tensors(&[
        ("a.special.weight", &[4]),
        ("a.norm.weight", &[4]),
        ("a.b.c.weight", &[4, 4]),
        ("zeta", &[2]),
    ]);
    let plan = recipe.resolve(&list, None, None).unwrap();
    assert_eq!(plan.seed, 7);
    let rules: Vec<usize> = plan.entries.iter().filter_map(|entry| entry.rule).collect();
    assert_eq!(rules, [0, 1, 2, 0]);
    let dtypes = |plan: &Plan| {
        plan.entries
            .iter()
            .map(|e| e.fill.dtype())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        dtypes(&plan),
        [DType::F16, DType::BF16, DType::BF16, DType::F16]
    );
    // The caller's choice takes precedence.
    let plan = recipe.resolve(&list, Some(8), Some(DType::F32)).unwrap();
    assert_eq!(plan.entries[0].fill.seed(), 8);
    assert_eq!(dtypes(&plan), [DType::F32; 4]);
}

#[test]
fn a_list_gives_dtypes_where_nobody_else_does() {
    let mut listed = tensors(&[("a", &[2]), ("b", &[2])]).tensors().to_vec();
    listed[0].dtype = Some(DType::BF16);
    let list = TensorList::new(listed).unwrap();
    let recipe = Recipe::from_toml("[[rule]]\nmatch = \"*\"\ninit = \"zeros\"").unwrap();
    let plan = recipe.resolve(&list, Some(1), None).unwrap();
    assert_eq!(plan.entries[0].fill.dtype(), DType::BF16);
    assert_eq!(plan.entries[1].fill.dtype(), DType::F32);
}

#[test]
fn layout_and_groups_reach_the_fans() {
    let recipe = Recipe::from_toml(
        r#"
        layout = "in_out"
        [[rule]]
        match = "grouped.weight"
        layout = "out_in"
        groups = 4
        init = "kaiming_normal(mode=fan_out)"
        [[rule]]
        match = "*.weight"
        init = "kaiming_normal"
        [[rule]]
        match = "*.bias"
        init = "bias_uniform"
        "#,
    )
    .unwrap();
    let list = tensors(&[
        ("grouped.weight", &[64, 4, 3, 3]),
        ("dense.weight", &[30, 70]),
        ("dense.bias", &[70]),
    ]);
    let plan = recipe.resolve(&list, Some(1), None).unwrap();
    let std = |x: f64| Distribution::normal(0.0, x.sqrt()).unwrap();
    assert_eq!(*plan.entries[0].fill.distribution(), std(2.0 / 144.0));
    assert_eq!(*plan.entries[1].fill.distribution(), std(2.0 / 30.0));
    assert_eq!(plan.entries[2].init.to_string(), "bias_uniform(fan_in=30)");
}

/// A copied or shared layer has the fan_in of the layer that it is a copy of: `reset_parameters` of
/// torch.nn.Linear has run for that one.
#[test]
fn biases_beside_copied_weights_take_their_fans_from_the_original() {
    let recipe = Recipe::from_toml(
        r#"
        [[rule]]
        match = ["b.weight", "c.weight"]
        same_as = "a.weight"
        [[rule]]
        match = "d.weight"
        tied_to = "a.weight"
        [[rule]]
        match = "*.weight"
        layout = "in_out"
        init = "kaiming_normal"
        [[rule]]
        match = "*.bias"
        init = "bias_uniform"
        "#,
    )
    .unwrap();
    let list = tensors(&[
        ("a.weight", &[30, 70]),
        ("a.bias", &[70]),
        ("b.weight", &[30, 70]),
        ("b.bias", &[70]),
        ("c.weight", &[30, 70]),
        ("c.bias", &[70]),
        ("d.weight", &[30, 70]),
        ("d.bias", &[70]),
    ]);
    let plan = recipe.resolve(&list, Some(1), None).unwrap();
    for pair in plan.entries.chunks(2) {
        assert_eq!(pair[0].fans.unwrap().fan_in, 30);
        let bias = &pair[1];
        let name = bias.fill.name();
        assert_eq!(bias.init.to_string(), "bias_uniform(fan_in=30)", "{name}");
    }
}

/// `reset_parameters` of torch.nn.RNNBase makes every parameter uniform within 1/sqrt(hidden_size), also
/// those of an LSTM with `proj_size`, whose weight_hh has proj_size columns.
#[test]
fn recurrent_layers_are_bounded_by_their_hidden_size() {
    // The rows of weight_ih and weight_hh for each hidden unit are those of torch's gates.
    for (gates, hidden, projected) in [(1, 6, None), (3, 6, None), (4, 6, None), (4, 6, Some(2))] {
        let rows = gates * hidden;
        let out = projected.unwrap_or(hidden);
        let mut named = Vec::new();
        for (layer, inputs) in [("l0", 3), ("l0_reverse", 3), ("l1", 2 * out)] {
            named.push((format!("rnn.weight_ih_{layer}"), vec![rows, inputs]));
            named.push((format!("rnn.weight_hh_{layer}"), vec![rows, out]));
            named.push((format!("rnn.bias_ih_{layer}"), vec![rows]));
            named.push((format!("rnn.bias_hh_{layer}"), vec![rows]));
            if projected.is_some() {
                named.push((format!("rnn.weight_hr_{layer}"), vec![out, hidden]));
            }
        }
        let named = named.into_iter().map(|(name, shape)| ListedTensor {
            name,
            shape: Shape::new(shape).unwrap(),
            dtype: None,
        });
        let list = TensorList::new(named.collect()).unwrap();
        let recipe = Recipe::preset("torch").unwrap();
        let plan = recipe.resolve(&list, Some(1), None).unwrap();
        let bound = 1.0 / (hidden as f64).sqrt();
        let uniform = Distribution::uniform(-bound, bound).unwrap();
        for entry in &plan.entries {
            let name = entry.fill.name();
            assert_eq!(
                *entry.fill.distribution(),
                uniform,
                "{gates} {projected:?} {name}"
            );
        }
    }
}

#[test]
fn faults_of_a_recipe_are_told_with_their_place() {
    for (text, place, expected) in [
        ("seed = ", "line 1, column", ""),
        (
            "sed = 1\n[[rule]]\nmatch = \"*\"\ninit = \"zeros\"",
            "line 1, column 1",
            "unknown field `sed`, expected one of `seed`",
        ),
        (
            "[[rule]]\nmatch = \"*\"\ninit = \"zeros\"\nranks = 1",
            "line 4, column 1",
            "unknown field `ranks`",
        ),
        (
            "[[rule]]\nmatch = \"*\"\ninit = \"kaimin_normal\"",
            "line 3, column 8",
            "did you mean \"kaiming_normal\"?",
        ),
        (
            "[[rule]]\nmatch = \"*\"\ninit = \"normal(std=nan)\"",
            "line 3, column 8",
            "std = NaN is out of range",
        ),
        (
            "[[rule]]\nmatch = \"[\"\ninit = \"zeros\"",
            "line 2, column 9",
            "\"[\" is not a glob",
        ),
        (
            "[[rule]]\nmatch = []\ninit = \"zeros\"",
            "line 2, column 9",
            "at least one glob",
        ),
        (
            "[[rule]]\nmatch = 3\ninit = \"zeros\"",
            "line 2, column 9",
            "a glob, or a list",
        ),
        (
            "[[rule]]\ninit = \"zeros\"",
            "line 1, column 1",
            "missing field `match`",
        ),
        (
            "[[rule]]\nmatch = \"*\"",
            "line 1, column 1",
            "missing field `init`",
        ),
        (
            "dtype = \"f8\"\n[[rule]]\nmatch = \"*\"\ninit = \"zeros\"",
            "line 1, column 9",
            "unknown dtype \"f8\": use bool",
        ),
        (
            "layout = \"oi\"\n[[rule]]\nmatch = \"*\"\ninit = \"zeros\"",
            "line 1, column 10",
            "use out_in",
        ),
        (
            "seed = -1\n[[rule]]\nmatch = \"*\"\ninit = \"zeros\"",
            "line 1, column 8",
            "",
        ),
        (
            "[[rule]]\nmatch = \"*\"\ninit = \"zeros\"\nrank = -1",
            "line 4, column 8",
            "",
        ),
        ("seed = 1", "", "rule"),
        ("rule = []", "", "has no [[rule]]"),
    ] {
        let error = Recipe::from_toml(text).unwrap_err().to_string();
        assert!(error.starts_with("recipe"), "{error}");
        assert!(
            error.contains(place) && error.contains(expected),
            "{text:?}: {error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn what_a_recipe_cannot_do_names_the_tensor() {
    let weights_only =
        Recipe::from_toml("[[rule]]\nmatch = \"*.weight\"\ninit = \"he_normal\"").unwrap();
    let biases = Recipe::from_toml("[[rule]]\nmatch = \"*\"\ninit = \"bias_uniform\"").unwrap();
    let grouped =
        Recipe::from_toml("[[rule]]\nmatch = \"*\"\ngroups = 3\ninit = \"he_normal\"").unwrap();
    for (recipe, list, expected) in [
        (
            &weights_only,
            tensors(&[("a.weight", &[2, 2]), ("a.scale", &[2])]),
            "tensor \"a.scale\" of shape [2] is matched by no rule of recipe: add a [[rule]]",
        ),
        (
            &weights_only,
            tensors(&[("norm.weight", &[768])]),
            "tensor \"norm.weight\": shape [768] has no fan_in and fan_out: a rule with fans \
             needs rank 2 or more",
        ),
        (
            &biases,
            tensors(&[("a.bias", &[2])]),
            "tensor \"a.bias\": bias_uniform finds no <prefix>.weight beside it",
        ),
        (
            &biases,
            tensors(&[("unbias", &[2]), ("unweight", &[2, 2])]),
            "tensor \"unbias\": bias_uniform finds no <prefix>.weight beside it",
        ),
        (
            &grouped,
            tensors(&[("conv.weight", &[64, 4, 3, 3])]),
            "tensor \"conv.weight\": shape [64, 4, 3, 3] cannot have 3 groups",
        ),
    ] {
        let error = recipe
            .resolve(&list, Some(1), None)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let error = weights_only
        .resolve(&tensors(&[]), None, None)
        .unwrap_err()
        .to_string();
    assert_eq!(error, "no seed: give one, or write `seed = N` in recipe");
    let twins = vec![tensors(&[("a", &[2])]).tensors()[0].clone(); 2];
    let error = TensorList::new(twins).unwrap_err().to_string();
    assert!(error.starts_with("tensor \"a\" is listed twice"), "{error}");
}
