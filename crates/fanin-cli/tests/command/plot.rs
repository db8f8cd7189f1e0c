//! `fanin plot`: the pictures hold what they should, whatever is in the file.

use crate::run::{Run, safetensors};

/// A small model as GPT-2 has it, and what hostile files hold.
fn model(run: &Run) {
    let list = r#"{"tensors": [
        {"name": "wte.weight", "shape": [300, 64]},
        {"name": "h.0.ln_1.weight", "shape": [64]},
        {"name": "h.0.attn.c_attn.weight", "shape": [64, 192]},
        {"name": "h.0.attn.c_attn.bias", "shape": [192]},
        {"name": "h.0.attn.c_proj.weight", "shape": [64, 64]},
        {"name": "h.0.mlp.c_fc.weight", "shape": [64, 256]},
        {"name": "h.0.mlp.c_proj.weight", "shape": [0, 64]}
    ]}"#;
    run.write("list.json", list);
    run.ok(&[
        "init",
        "gpt2",
        "--tensors",
        "list.json",
        "--seed",
        "42",
        "--out",
        "m.safetensors",
        "--backend",
        "cpu",
    ]);
}

/// The texts of a picture, which must be well-formed.
fn texts(run: &Run, name: &str) -> Vec<String> {
    let svg = String::from_utf8(run.read(name)).unwrap();
    let document = roxmltree::Document::parse(&svg).expect("well-formed XML");
    let texts = document
        .descendants()
        .filter(|node| node.has_tag_name("text"));
    texts
        .map(|node| node.text().unwrap_or_default().trim().to_owned())
        .collect()
}

fn has(texts: &[String], part: &str) {
    assert!(
        texts.iter().any(|text| text.contains(part)),
        "{part:?} is not in {texts:?}"
    );
}

#[test]
fn a_model_is_drawn_against_its_recipe() {
    let run = Run::new();
    model(&run);
    let ended = run.ok(&[
        "plot",
        "m.safetensors",
        "--recipe",
        "gpt2",
        "--out",
        "m.svg",
    ]);
    assert!(
        ended.stderr.contains("1 tensor without elements"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("2 tensors of equal elements"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("2 of 4 tensors drawn in detail"),
        "{}",
        ended.stderr
    );
    let texts = texts(&run, "m.svg");
    for part in [
        "m.safetensors",
        "nothing beyond chance",
        "wte.weight",
        "h.0.attn.c_proj.weight",
        "Quantiles",
        "expected: normal(mean=0,std=0.02)",
        "99 % of samples",
        "Spread of each tensor",
        "tensor, in the file's order",
        "std, log scale",
    ] {
        has(&texts, part);
    }
    // The same picture each time, and another kind by another ending.
    let first = run.read("m.svg");
    run.ok(&[
        "plot",
        "m.safetensors",
        "--recipe",
        "gpt2",
        "--out",
        "m.svg",
    ]);
    assert!(first == run.read("m.svg"));
    run.ok(&["plot", "m.safetensors", "--out", "m.png"]);
    let png = run.read("m.png");
    let reader = png::Decoder::new(std::io::Cursor::new(png))
        .read_info()
        .unwrap();
    assert_eq!(reader.info().width, 1920);
}

#[test]
fn without_a_recipe_curves_are_called_fitted() {
    let run = Run::new();
    model(&run);
    run.ok(&[
        "plot",
        "m.safetensors",
        "--tensor",
        "*.attn.*.weight",
        "--out",
        "m.svg",
    ]);
    let texts = texts(&run, "m.svg");
    has(&texts, "fitted normal");
    has(&texts, "fitted uniform");
    has(&texts, "h.0.attn.c_proj.weight");
    assert!(
        !texts
            .iter()
            .any(|text| text.contains("wte") || text.contains("expected")),
        "{texts:?}"
    );
}

#[test]
fn one_array_is_drawn_alone() {
    let run = Run::new();
    run.ok(&[
        "fill",
        "--init",
        "uniform(low=-1,high=1)",
        "--shape",
        "100,100",
        "--name",
        "w",
        "--seed",
        "1",
        "--out",
        "w.npy",
        "--backend",
        "cpu",
    ]);
    run.ok(&["plot", "w.npy", "--out", "w.svg"]);
    let texts = texts(&run, "w.svg");
    has(&texts, "f32 100 × 100");
    assert!(
        !texts.iter().any(|text| text.contains("Spread")),
        "{texts:?}"
    );
}

#[test]
fn the_terminal_has_a_view() {
    let run = Run::new();
    model(&run);
    let ended = run.ok(&["plot", "m.safetensors", "--recipe", "gpt2"]);
    let view = String::from_utf8(ended.stdout).unwrap();
    for part in [
        "wte.weight",
        "█",
        "std of each tensor",
        "expected: normal(mean=0,std=0.02)",
    ] {
        assert!(view.contains(part), "{part:?} is not in {view}");
    }
    assert!(
        view.lines().all(|line| line.chars().count() <= 80),
        "{view}"
    );
}

/// Names, and numbers, that a file may hold and a picture must bear.
#[test]
fn hostile_files_are_drawn() {
    let run = Run::new();
    let names = [
        r"<script>\u0000\u001b[31m",
        r#"a&b\"'\u202e"#,
        "zero",
        "nan",
        "integers",
        "outlier",
    ];
    let dtype = |name: &str| if name == "integers" { "I32" } else { "F32" };
    let entries: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let (start, end) = (256 * i, 256 * (i + 1));
            format!(
                r#""{name}":{{"dtype":"{}","shape":[64],"data_offsets":[{start},{end}]}}"#,
                dtype(name)
            )
        })
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    let mut file = safetensors(&header, 0);
    for name in names {
        let numbers = (0..64i16).map(|i| match (name, i) {
            ("zero", _) => 0.0,
            ("nan", 5) => f32::NAN,
            ("outlier", 7) => 1e30,
            _ => f32::from(i * 37 % 64) / 64.0,
        });
        numbers.for_each(|x| file.extend(x.to_le_bytes()));
    }
    run.write("bad.safetensors", file);
    let ended = run.ok(&["plot", "bad.safetensors", "--out", "bad.svg"]);
    for part in [
        "1 tensor of integers",
        "1 tensor with NaN",
        "1 tensor of equal elements",
    ] {
        assert!(
            ended.stderr.contains(part),
            "{part:?} is not in {}",
            ended.stderr
        );
    }
    has(&texts(&run, "bad.svg"), "<script>");
    run.ok(&["plot", "bad.safetensors", "--out", "bad.png"]);
    let view = String::from_utf8(run.ok(&["plot", "bad.safetensors"]).stdout).unwrap();
    assert!(!view.contains(['\0', '\u{1b}', '\u{202e}']), "{view:?}");
    run.ok(&[
        "plot",
        "bad.safetensors",
        "--tensor",
        "outlier",
        "--out",
        "one.svg",
    ]);

    for tensor in ["zero", "nan", "integers"] {
        let arguments = [
            "plot",
            "bad.safetensors",
            "--tensor",
            tensor,
            "--out",
            "none.svg",
        ];
        let ended = run.run(&arguments);
        assert_eq!(ended.status, 1, "{ended:?}");
        assert!(
            ended.stderr.contains("no tensor that was asked for"),
            "{ended:?}"
        );
    }
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let run = Run::new();
    model(&run);
    let plot = |more: &[&'static str]| [&["plot", "m.safetensors"], more].concat();
    run.refused(
        &plot(&["--tensor", "nonesuch.*"]),
        2,
        &["nonesuch", "7 tensors", "wte.weight"],
    );
    run.refused(&plot(&["--out", "m.pdf"]), 2, &["m.pdf", ".svg or .png"]);
    run.refused(&plot(&["--recipe", "nonesuch"]), 2, &["nonesuch"]);
    run.refused(
        &["plot", "missing.safetensors"],
        1,
        &["missing.safetensors"],
    );
    run.refused(&plot(&["--out", "no/where/m.svg"]), 1, &["no/where/m.svg"]);
}
