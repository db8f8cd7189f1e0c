//! Presets on state dicts as frameworks write them: tied names, buffers, and experts in one tensor.

use fanin::init::Fans;
use fanin::recipe::PlanEntry;
use fanin::{DType, ListedTensor, Plan, Recipe, Shape, TensorList, cpu};

fn plan(preset: &str, tensors: &[(&str, &[u64])]) -> Plan {
    let listed = tensors.iter().map(|(name, dims)| ListedTensor {
        name: (*name).to_owned(),
        shape: Shape::new(*dims).unwrap(),
        dtype: None,
    });
    let list = TensorList::new(listed.collect()).unwrap();
    let plan = Recipe::preset(preset)
        .unwrap()
        .resolve(&list, Some(42), Some(DType::F32));
    plan.unwrap_or_else(|error| panic!("{preset}: {error}"))
}

fn entry<'a>(plan: &'a Plan, name: &str) -> &'a PlanEntry {
    let mut entries = plan.entries.iter();
    entries.find(|entry| entry.fill.name() == name).unwrap()
}

fn weights(plan: &Plan, name: &str) -> Vec<f32> {
    let fill = entry(plan, name).fill.clone().with_dtype(DType::F32);
    let mut out = vec![0f32; fill.elements() as usize];
    cpu::fill_slice(&fill, &mut out).unwrap();
    out
}

/// Checks that these tensors are tied, each to the second one of its pair, and have its bits.
#[track_caller]
fn ties(plan: &Plan, pairs: &[(&str, &str)]) {
    for entry in &plan.entries {
        let name = entry.fill.name();
        let expected = pairs.iter().find(|(tied, _)| *tied == name);
        assert_eq!(
            entry.tied_to.as_deref(),
            expected.map(|(_, source)| *source),
            "{name}"
        );
    }
    for (tied, source) in pairs {
        assert_eq!(weights(plan, tied), weights(plan, source), "{tied}");
    }
}

const T5: [(&str, &[u64]); 5] = [
    ("shared.weight", &[32, 8]),
    ("encoder.embed_tokens.weight", &[32, 8]),
    ("decoder.embed_tokens.weight", &[32, 8]),
    ("lm_head.weight", &[32, 8]),
    ("encoder.block.0.layer.1.DenseReluDense.wo.weight", &[8, 16]),
];

#[test]
fn t5_shares_its_embedding_with_both_halves_and_the_head() {
    let plan = plan("t5", &T5);
    ties(
        &plan,
        &[
            ("encoder.embed_tokens.weight", "shared.weight"),
            ("decoder.embed_tokens.weight", "shared.weight"),
            ("lm_head.weight", "shared.weight"),
        ],
    );
}

/// T5 v1.1 has gated layers. transformers ties its head as that of T5.
#[test]
fn t5_v1_1_shares_its_embedding_with_the_head() {
    let mut tensors = T5.to_vec();
    tensors.push((
        "encoder.block.0.layer.1.DenseReluDense.wi_0.weight",
        &[16, 8],
    ));
    let plan = plan("t5", &tensors);
    ties(
        &plan,
        &[
            ("encoder.embed_tokens.weight", "shared.weight"),
            ("decoder.embed_tokens.weight", "shared.weight"),
            ("lm_head.weight", "shared.weight"),
        ],
    );
}

#[test]
fn heads_are_tied_to_their_embeddings() {
    for (preset, head, embedding) in [
        ("gpt2", "lm_head.weight", "transformer.wte.weight"),
        ("gpt2", "lm_head.weight", "wte.weight"),
        (
            "gpt2",
            "module.lm_head.weight",
            "module.transformer.wte.weight",
        ),
        (
            "whisper",
            "proj_out.weight",
            "model.decoder.embed_tokens.weight",
        ),
        (
            "bert",
            "cls.predictions.decoder.weight",
            "bert.embeddings.word_embeddings.weight",
        ),
        ("gemma", "lm_head.weight", "model.embed_tokens.weight"),
        (
            "gemma",
            "lm_head.weight",
            "model.language_model.embed_tokens.weight",
        ),
    ] {
        // The token of whisper's padding is 50256.
        let dims: &[u64] = if preset == "whisper" {
            &[50257, 2]
        } else {
            &[32, 8]
        };
        let plan = plan(preset, &[(embedding, dims), (head, dims)]);
        ties(&plan, &[(head, embedding)]);
    }
}

#[test]
fn berts_head_has_one_bias_under_two_names() {
    let plan = plan(
        "bert",
        &[
            ("cls.predictions.bias", &[32]),
            ("cls.predictions.decoder.bias", &[32]),
            ("cls.predictions.transform.dense.bias", &[8]),
        ],
    );
    ties(
        &plan,
        &[("cls.predictions.decoder.bias", "cls.predictions.bias")],
    );
}

/// A list without the embedding keeps the draws of the head.
#[test]
fn heads_without_their_embedding_are_drawn() {
    for (preset, tensors) in [
        (
            "t5",
            &[
                ("lm_head.weight", &[32u64, 8][..]),
                ("encoder.embed_tokens.weight", &[32, 8]),
            ][..],
        ),
        (
            "gpt2",
            &[("lm_head.weight", &[32, 8]), ("other.wte.weight", &[32, 8])],
        ),
        (
            "bert",
            &[
                ("cls.predictions.decoder.weight", &[32, 8]),
                ("cls.predictions.decoder.bias", &[32]),
            ],
        ),
        ("whisper", &[("proj_out.weight", &[32, 8])]),
        ("gemma", &[("lm_head.weight", &[32, 8])]),
    ] {
        ties(&plan(preset, tensors), &[]);
    }
}

#[test]
fn counters_and_statistics_of_batchnorm_have_their_start() {
    for preset in [
        "torch",
        "resnet",
        "mobilenet_v3",
        "convnext",
        "kaiming",
        "xavier",
        "lecun",
        "buffers",
    ] {
        let names = ["running_mean", "running_var", "num_batches_tracked"];
        let all = names.map(|name| format!("layer1.0.bn1.{name}"));
        let plan = plan(preset, &[(&all[0], &[4]), (&all[1], &[4]), (&all[2], &[])]);
        assert_eq!(weights(&plan, &all[0]), [0.0; 4], "{preset}");
        assert_eq!(weights(&plan, &all[1]), [1.0; 4], "{preset}");
        assert_eq!(weights(&plan, &all[2]), [0.0], "{preset}");
        assert_eq!(entry(&plan, &all[2]).fill.dtype(), DType::I64, "{preset}");
    }
}

#[test]
fn gpt2_has_its_masks() {
    for preset in ["gpt2", "kaiming", "torch"] {
        let plan = plan(
            preset,
            &[
                ("transformer.h.0.attn.bias", &[1, 1, 5, 5]),
                ("transformer.h.0.attn.masked_bias", &[]),
                ("transformer.h.0.attn.c_attn.bias", &[6]),
                ("transformer.h.0.attn.c_attn.weight", &[2, 6]),
            ],
        );
        let mask = weights(&plan, "transformer.h.0.attn.bias");
        for (i, &value) in mask.iter().enumerate() {
            assert_eq!(value, f32::from(u8::from(i % 5 <= i / 5)), "{preset}");
        }
        assert_eq!(weights(&plan, "transformer.h.0.attn.masked_bias"), [-1e4]);
    }
}

#[test]
fn position_ids_count_and_token_types_are_zero() {
    for preset in ["bert", "kaiming", "xavier", "lecun", "torch"] {
        let plan = plan(
            preset,
            &[
                ("bert.embeddings.position_ids", &[1, 512]),
                ("bert.embeddings.token_type_ids", &[1, 512]),
            ],
        );
        // As in the checkpoints, whatever the dtype of the weights.
        let mut bytes = vec![0; 512 * 8];
        let positions = &entry(&plan, "bert.embeddings.position_ids").fill;
        cpu::fill(positions, &mut bytes).unwrap();
        let counters: Vec<u8> = (0..512i64).flat_map(i64::to_ne_bytes).collect();
        assert_eq!(bytes, counters, "{preset}");
        let counted: Vec<f32> = (0..512u16).map(f32::from).collect();
        assert_eq!(weights(&plan, "bert.embeddings.position_ids"), counted);
        assert_eq!(weights(&plan, "bert.embeddings.token_type_ids"), [0.0; 512]);
    }
}

/// The bases of the configurations' defaults: LlamaConfig 10000, MixtralConfig 1e6, Gemma3TextConfig
/// both.
#[test]
fn rotary_frequencies_have_the_base_of_their_family() {
    for (preset, name, theta) in [
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq", 1e4),
        ("llama", "model.rotary_emb.original_inv_freq", 1e4),
        ("kaiming", "rotary_emb.inv_freq", 1e4),
        (
            "mixtral",
            "model.layers.0.self_attn.rotary_emb.inv_freq",
            1e6,
        ),
        ("gemma", "model.layers.0.self_attn.rotary_emb.inv_freq", 1e4),
        ("gemma", "model.rotary_emb.full_attention_inv_freq", 1e6),
        ("gemma", "model.rotary_emb.sliding_attention_inv_freq", 1e4),
    ] {
        let plan = plan(preset, &[(name, &[64])]);
        for (column, &value) in weights(&plan, name).iter().enumerate() {
            let exact = f64::powf(theta, -2.0 * column as f64 / 128.0);
            assert!(
                (f64::from(value) / exact - 1.0).abs() < 1e-7,
                "{preset} {name} {column}"
            );
        }
    }
}

/// A rule of one's own comes before those of the preset.
#[test]
fn an_extending_recipe_scales_the_frequencies() {
    let recipe = Recipe::from_toml(
        "extends = \"llama\"\n[[rule]]\nmatch = \"*inv_freq\"\ninit = \"inv_freq_llama3(factor=8)\"\n",
    )
    .unwrap();
    let list = TensorList::new(vec![ListedTensor {
        name: "model.rotary_emb.inv_freq".into(),
        shape: Shape::new([64]).unwrap(),
        dtype: None,
    }])
    .unwrap();
    let plan = recipe.resolve(&list, Some(1), None).unwrap();
    let scaled = weights(&plan, "model.rotary_emb.inv_freq");
    // The first wave is short and stays, the last one is long and is divided.
    assert_eq!(scaled[0], 1.0);
    let last = 5e5f64.powf(-126.0 / 128.0) / 8.0;
    assert!((f64::from(scaled[63]) / last - 1.0).abs() < 1e-7);
}

/// Experts in one tensor: the first axis belongs to no fan. Mixtral, Qwen3-MoE and DeepSeek have
/// [experts, out, in]; Llama 4 and gpt-oss have [experts, in, out].
#[test]
fn experts_have_the_fans_of_one_expert() {
    let (hidden, inner) = (12, 20);
    for preset in ["kaiming", "xavier", "lecun"] {
        for (path, extra, in_first) in [
            ("model.layers.0.mlp", None, false),
            ("model.layers.0.block_sparse_moe", None, false),
            ("language_model.model.layers.0.feed_forward", None, true),
            ("model.layers.0.mlp", Some("gate_up_proj_bias"), true),
        ] {
            let name = |tensor: &str| format!("{path}.experts.{tensor}");
            let (up, down, bias) = (
                name("gate_up_proj"),
                name("down_proj"),
                name("gate_up_proj_bias"),
            );
            let dims = |fan_in: u64, fan_out: u64| {
                if in_first {
                    [4, fan_in, fan_out]
                } else {
                    [4, fan_out, fan_in]
                }
            };
            let (up_dims, down_dims) = (dims(hidden, 2 * inner), dims(inner, hidden));
            let mut tensors: Vec<(&str, &[u64])> = vec![(&up, &up_dims), (&down, &down_dims)];
            if extra.is_some() {
                tensors.push((&bias, &[4, 40]));
            }
            let plan = plan(preset, &tensors);
            let fans = |name| entry(&plan, name).fans.unwrap();
            let expected = |fan_in, fan_out| Fans { fan_in, fan_out };
            assert_eq!(fans(&up), expected(hidden, 2 * inner), "{preset} {path}");
            assert_eq!(fans(&down), expected(inner, hidden), "{preset} {path}");
            if extra.is_some() {
                assert_eq!(weights(&plan, &bias), [0.0; 160]);
            }
        }
    }
}

#[test]
fn experts_of_language_models_are_normal() {
    for preset in ["llama", "mixtral"] {
        let names = ["gate_up_proj", "down_proj"];
        let names = names.map(|name| format!("model.layers.1.mlp.experts.{name}"));
        let plan = plan(
            preset,
            &[(&names[0], &[4, 32, 24]), (&names[1], &[4, 24, 16])],
        );
        for name in &names {
            assert_eq!(entry(&plan, name).init.to_string(), "normal(std=0.02)");
        }
    }
    let plan = plan(
        "llama",
        &[
            ("model.layers.0.mlp.experts.gate_up_proj_bias", &[4, 6]),
            ("model.layers.0.mlp.experts.down_proj_bias", &[4, 6]),
            ("model.layers.0.mlp.gate.e_score_correction_bias", &[4]),
            ("model.layers.0.self_attn.sinks", &[8]),
        ],
    );
    for entry in &plan.entries[..3] {
        assert_eq!(entry.init.to_string(), "zeros");
    }
    assert_eq!(plan.entries[3].init.to_string(), "normal(std=0.02)");
}

/// Gemma multiplies by 1 + weight.
#[test]
fn gemmas_normalization_starts_at_zero() {
    let names = [
        "input_layernorm",
        "pre_feedforward_layernorm",
        "self_attn.q_norm",
    ];
    for name in names.map(|name| format!("model.layers.0.{name}.weight")) {
        let plan = plan("gemma", &[(&name, &[16]), ("model.norm.weight", &[16])]);
        assert_eq!(weights(&plan, &name), [0.0; 16]);
        assert_eq!(weights(&plan, "model.norm.weight"), [0.0; 16]);
    }
}

/// The names of Flax and Keras with either separator, and with or without a path.
#[test]
fn names_have_slashes_or_dots() {
    for (preset, path, dims, init, fans) in [
        (
            "flax",
            "attention.query.kernel",
            &[64, 4, 24][..],
            "lecun_normal",
            Some((64, 96)),
        ),
        (
            "flax",
            "attention.out.kernel",
            &[4, 24, 64],
            "lecun_normal",
            Some((96, 64)),
        ),
        (
            "flax",
            "conv.kernel",
            &[3, 3, 16, 32],
            "lecun_normal",
            Some((144, 288)),
        ),
        (
            "flax",
            "embed.embedding",
            &[500, 64],
            "variance_scaling(distribution=normal)",
            Some((64, 500)),
        ),
        ("flax", "cell.hf.kernel", &[8, 8], "orthogonal", None),
        ("flax", "norm.scale", &[8], "ones", None),
        (
            "keras",
            "mha.query.kernel",
            &[64, 4, 24],
            "xavier_uniform",
            Some((64, 96)),
        ),
        (
            "keras",
            "mha.attention_output.kernel",
            &[4, 24, 64],
            "xavier_uniform",
            Some((96, 64)),
        ),
        (
            "keras",
            "conv.kernel",
            &[3, 3, 16, 32],
            "xavier_uniform",
            Some((144, 288)),
        ),
        (
            "keras",
            "embedding.embeddings",
            &[500, 64],
            "uniform(low=-0.05,high=0.05)",
            None,
        ),
        (
            "keras",
            "gru.gru_cell.recurrent_kernel",
            &[8, 24],
            "orthogonal",
            None,
        ),
        ("keras", "norm.moving_variance", &[8], "ones", None),
    ] {
        let (_, last) = path.split_once('.').unwrap();
        for name in [
            path,
            last,
            &path.replace('.', "/"),
            &format!("params.{path}"),
        ] {
            let plan = plan(preset, &[(name, dims)]);
            let entry = entry(&plan, name);
            assert_eq!(entry.init.to_string(), init, "{preset} {name}");
            let got = entry.fans.map(|fans| (fans.fan_in, fans.fan_out));
            assert_eq!(got, fans, "{preset} {name}");
        }
    }
}

/// unit_forget_bias of Keras: 1 in the second of four gates.
#[test]
fn the_forget_gate_of_keras_starts_at_one() {
    for name in [
        "lstm/lstm_cell/bias",
        "bidirectional/forward_lstm_1/lstm_cell/bias",
        "my.lstm_cell.bias",
    ] {
        let plan = plan("keras", &[(name, &[12])]);
        let expected = [0., 0., 0., 1., 1., 1., 0., 0., 0., 0., 0., 0.];
        assert_eq!(weights(&plan, name), expected, "{name}");
    }
    let plan = plan(
        "keras",
        &[("gru/gru_cell/bias", &[2, 6]), ("dense/bias", &[4])],
    );
    assert_eq!(weights(&plan, "gru/gru_cell/bias"), [0.0; 12]);
    assert_eq!(weights(&plan, "dense/bias"), [0.0; 4]);
}

/// A mask is stored as the list says: GPT-2 has U8 in old checkpoints, and BOOL in newer ones.
#[test]
fn masks_are_booleans_where_the_list_says_so() {
    for dtype in [DType::U8, DType::Bool] {
        let list = TensorList::new(vec![ListedTensor {
            name: "h.0.attn.bias".into(),
            shape: Shape::new([1, 1, 3, 3]).unwrap(),
            dtype: Some(dtype),
        }])
        .unwrap();
        let plan = Recipe::preset("gpt2")
            .unwrap()
            .resolve(&list, Some(42), Some(DType::BF16))
            .unwrap();
        let mut bytes = [7; 9];
        cpu::fill(&plan.entries[0].fill, &mut bytes).unwrap();
        assert_eq!(bytes, [1, 0, 0, 1, 1, 0, 1, 1, 1], "{dtype}");
    }
}

/// A convolution can have the name of an attention's projection. Its bias has rank 1, that of attention rank 2.
#[test]
fn convolutions_are_told_from_attention_by_their_biases() {
    let fans = |fan_in, fan_out| Some(Fans { fan_in, fan_out });
    for preset in ["flax", "keras"] {
        let plan = plan(
            preset,
            &[
                ("conv/query/kernel", &[3, 64, 32]),
                ("conv/query/bias", &[32]),
                ("attention/query/kernel", &[64, 4, 16]),
                ("attention/query/bias", &[4, 16]),
                ("bare/query/kernel", &[64, 4, 16]),
            ],
        );
        assert_eq!(
            entry(&plan, "conv/query/kernel").fans,
            fans(3 * 64, 3 * 32),
            "{preset}"
        );
        assert_eq!(
            entry(&plan, "attention/query/kernel").fans,
            fans(64, 64),
            "{preset}"
        );
        assert_eq!(
            entry(&plan, "bare/query/kernel").fans,
            fans(64, 64),
            "{preset}"
        );
    }
    // Layers with several output axes, under any name.
    let plan = plan(
        "flax",
        &[
            ("DenseGeneral_0/kernel", &[64, 4, 32]),
            ("DenseGeneral_0/bias", &[4, 32]),
            ("mix/kernel", &[8, 8, 4, 32]),
            ("mix/bias", &[4, 32]),
        ],
    );
    assert_eq!(entry(&plan, "DenseGeneral_0/kernel").fans, fans(64, 128));
    assert_eq!(entry(&plan, "mix/kernel").fans, fans(64, 128));
}

#[test]
fn layers_of_keras_with_a_name_like_another_are_themselves() {
    let plan = plan(
        "keras",
        &[
            ("lstm_out/bias", &[8]),
            ("lstm_block/dense_2/bias", &[8]),
            ("additive_attention/scale", &[48]),
            ("attention/scale", &[]),
        ],
    );
    assert_eq!(weights(&plan, "lstm_out/bias"), [0.0; 8]);
    assert_eq!(weights(&plan, "lstm_block/dense_2/bias"), [0.0; 8]);
    assert_eq!(weights(&plan, "attention/scale"), [1.0]);
    let scale = entry(&plan, "additive_attention/scale");
    assert_eq!(
        scale.fill.distribution().to_string(),
        "uniform(low=-0.25,high=0.25)"
    );
}

/// The local layers of GPT-Neo have a band, which `causal_mask` does not give.
#[test]
fn masks_of_unknown_kinds_have_no_rule() {
    let tensor = |name: &str| ListedTensor {
        name: name.to_owned(),
        shape: Shape::new([1, 1, 8, 8]).unwrap(),
        dtype: None,
    };
    let resolve = |name: &str| {
        let list = TensorList::new(vec![tensor(name)]).unwrap();
        Recipe::preset("buffers")
            .unwrap()
            .resolve(&list, Some(1), None)
    };
    for name in [
        "transformer.h.0.attn.bias",
        "h.0.crossattention.bias",
        "gpt_neox.layers.0.attention.bias",
    ] {
        assert_eq!(
            resolve(name).unwrap().entries[0].init.to_string(),
            "causal_mask",
            "{name}"
        );
    }
    assert!(resolve("transformer.h.1.attn.attention.bias").is_err());
}
