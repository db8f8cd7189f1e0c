//! `fanin plot` draws pictures of any file, hostile ones included.

use crate::run::{Run, safetensors};

/// Returns a folder with m.safetensors, a small GPT-2.
fn with_model() -> Run {
    let run = Run::new();
    run.list(
        "list.json",
        &[
            ("wte.weight", &[300, 64]),
            ("h.0.ln_1.weight", &[64]),
            ("h.0.attn.c_attn.weight", &[64, 192]),
            ("h.0.attn.c_attn.bias", &[192]),
            ("h.0.attn.c_proj.weight", &[64, 64]),
            ("h.0.mlp.c_fc.weight", &[64, 256]),
            ("h.0.mlp.c_proj.weight", &[0, 64]),
        ],
    );
    run.cpu("init gpt2 --tensors list.json --seed 42 --out m.safetensors")
        .ok();
    run
}

/// Returns the texts of a picture, which must be well-formed XML.
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
    let run = with_model();
    let plot = run.fanin("plot m.safetensors --recipe gpt2 --out m.svg");
    let ended = plot.ok();
    assert_eq!(
        ended.stderr,
        "fanin: 2 of 4 tensors with differing elements drawn in detail (--tensor selects others), and \
         the std of 6 tensors; not drawn: 1 tensor without elements, to m.svg\n"
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
    // The picture is the same each time. The extension picks the format.
    let first = run.read("m.svg");
    plot.ok();
    assert!(first == run.read("m.svg"));
    run.fanin("plot m.safetensors --out m.png").ok();
    let png = run.read("m.png");
    let reader = png::Decoder::new(std::io::Cursor::new(png))
        .read_info()
        .unwrap();
    assert_eq!(reader.info().width, 1920);
}

#[test]
fn without_a_recipe_curves_are_called_fitted() {
    let run = with_model();
    // A file without metadata names no recipe.
    let file = run.read("m.safetensors");
    let named = b"\"recipe\":";
    let at = file.windows(named.len()).position(|bytes| bytes == named);
    let mut file = file;
    file[at.expect("metadata") + 1] = b'R';
    run.write("m.safetensors", file);
    run.fanin("plot m.safetensors --tensor *.attn.*.weight --out m.svg")
        .ok();
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
    run.cpu("fill --init uniform(low=-1,high=1) --shape 100,100 --name w --seed 1 --out w.npy")
        .ok();
    run.fanin("plot w.npy --out w.svg").ok();
    let texts = texts(&run, "w.svg");
    has(&texts, "f32 100 × 100");
    assert!(
        !texts.iter().any(|text| text.contains("Spread")),
        "{texts:?}"
    );
}

#[test]
fn the_terminal_has_a_view() {
    let run = with_model();
    let ended = run.fanin("plot m.safetensors").ok();
    ended.says("fanin: 1 of 4 tensors with differing elements drawn in detail");
    ended.says(
        "against recipe gpt2 of the file's metadata; --out FILE.svg or FILE.png draws a picture",
    );
    assert_eq!(ended.stderr.lines().count(), 1);
    let view = ended.text();
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

/// A file may hold any names and numbers.
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
    let plot = |more: &str| run.fanin("plot bad.safetensors").and(more);
    plot("--out bad.svg").ok().says(
        "not drawn: 1 tensor of integers or bytes, 1 tensor with NaN or infinities, to bad.svg",
    );
    has(&texts(&run, "bad.svg"), "<script>");
    plot("--out bad.png").ok();
    let ended = plot("").ok();
    let view = ended.text();
    assert!(!view.contains(['\0', '\u{1b}', '\u{202e}']), "{view:?}");
    plot("--tensor outlier --out one.svg").ok();

    for tensor in ["zero", "nan", "integers"] {
        plot("--out none.svg --tensor")
            .arg(tensor)
            .ends(1)
            .says("f8_e4m3 or f8_e5m2, with a std and a range from 1e-300 to 1e300");
    }
}

#[test]
fn invalid_requests_are_refused() {
    let run = with_model();
    let plot = |more: &str| run.fanin("plot m.safetensors").and(more);
    plot("--tensor nonesuch.*").refused(2, &["nonesuch", "7 tensors", "wte.weight"]);
    plot("--out m.pdf").refused(2, &["m.pdf", ".svg or .png"]);
    plot("--recipe nonesuch").refused(2, &["nonesuch"]);
    plot("--out no/where/m.svg").refused(1, &["no/where/m.svg"]);
    run.fanin("plot missing.safetensors")
        .refused(1, &["missing.safetensors"]);
}
