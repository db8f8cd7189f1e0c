//! Untrusted input is safe: invalid input is refused with one line that names the fault and the
//! accepted values, and no file is written.

use crate::run::{Fanin, Run, rule, safetensors};

/// Returns a command that initializes a list by all.toml.
fn init<'a>(run: &'a Run, source: &str) -> Fanin<'a> {
    run.cpu("init all.toml --seed 1 --out out.safetensors --tensors")
        .arg(source)
}

/// Returns a folder with all.toml, a recipe that matches all tensors.
fn with_recipe() -> Run {
    let run = Run::new();
    run.recipe("all.toml", "normal");
    run
}

#[test]
fn invalid_safetensors_headers_are_refused() {
    let run = with_recipe();
    let tensor = |name: &str, dtype: &str, shape: &str, offsets: &str| {
        format!(r#""{name}": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}"#)
    };
    let file = |tensors: &[String], data_bytes| {
        safetensors(&format!("{{{}}}", tensors.join(",")), data_bytes)
    };
    let good = file(&[tensor("w", "F32", "[2]", "[0, 8]")], 8);
    run.write("good.safetensors", &good);
    init(&run, "good.safetensors").ok();
    std::fs::remove_file(run.path("out.safetensors")).unwrap();

    let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let beyond = [&1000u64.to_le_bytes()[..], b"{}"].concat();
    let not_utf8 = [&3u64.to_le_bytes()[..], b"{\"\xff"].concat();
    let a = tensor("a", "F32", "[2]", "[0, 8]");
    for (contents, texts) in [
        (
            huge,
            &[
                "claims a header of 18446744073709551615 bytes",
                "at most 100000000",
            ][..],
        ),
        (
            beyond,
            &["claims a header of 1000 bytes, but only 2 follow"],
        ),
        (b"short".to_vec(), &["has 5 bytes"]),
        (Vec::new(), &["has 0 bytes"]),
        (not_utf8, &["header is not UTF-8 from byte 2"]),
        (
            good[..good.len() - 1].to_vec(),
            &["tensor \"w\"", "the file has 7 bytes"],
        ),
        (
            [&good[..], b"x"].concat(),
            &["end at byte 8 of the data, which has 9"],
        ),
        (
            file(&[a.clone(), tensor("b", "F32", "[2]", "[4, 12]")], 12),
            &["tensor \"b\"", "bytes 4..12 overlap those before it"],
        ),
        (
            file(&[a.clone(), a.clone()], 8),
            &["tensor \"a\"", "listed twice", "must differ"],
        ),
        (
            file(&[tensor("w", "F32", "[3]", "[0, 8]")], 8),
            &["tensor \"w\"", "needs 12"],
        ),
        (
            file(
                &[tensor("w", "F32", "[9223372036854775808, 4]", "[0, 8]")],
                8,
            ),
            &["tensor \"w\"", "needs more than 2^64 bits"],
        ),
        (
            file(&[tensor("w", "F32", "[0, 1125899906842625]", "[0, 0]")], 0),
            &["tensor \"w\"", "is empty, but", "more than 2^50"],
        ),
        (
            file(&[tensor("w", "F32", "[0, 4]", "[0, 4]")], 4),
            &["tensor \"w\"", "bytes 0..4 are 4", "needs 0"],
        ),
        (
            file(
                &[tensor("bn.num_batches_tracked", "i64", "[]", "[0, 8]")],
                8,
            ),
            &[
                "tensor \"bn.num_batches_tracked\"",
                "\"i64\", which is not one of safetensors",
            ],
        ),
        (
            file(&[tensor("w", "F31", "[2]", "[0, 8]")], 8),
            &["tensor \"w\"", "\"F31\""],
        ),
        (
            safetensors(&format!("{{\"w\": {}", "[".repeat(200_000)), 0),
            &["header is refused"],
        ),
        (
            file(&[tensor("\\u001b[2J\\n", "F32", "[1]", "[0, 8]")], 8),
            &["tensor \"\\u{1b}[2J\\n\""],
        ),
    ] {
        run.write("bad.safetensors", contents);
        let texts = [&["bad.safetensors: "], texts].concat();
        init(&run, "bad.safetensors").refused(1, &texts);
        let stats = run.fanin("stats bad.safetensors").run();
        assert!(stats.status == 0 || stats.status == 1, "{stats:?}");
    }
}

#[test]
fn invalid_json_lists_are_refused() {
    let run = with_recipe();
    let shape = "give a list of whole numbers from 0";
    for (contents, texts) in [
        ("{", &["is refused: EOF"][..]),
        ("[1]", &["is refused"]),
        ("{}", &["neither \"tensors\" nor \"weight_map\""]),
        (r#"{"tensors": [], "weight_map": {}}"#, &["both"]),
        (
            r#"{"tensors": [{"shape": [1]}]}"#,
            &["entry 0", "no \"name\""],
        ),
        (
            r#"{"tensors": [{"name": 3, "shape": [1]}]}"#,
            &["entry 0", "no \"name\""],
        ),
        (
            r#"{"tensors": [{"name": "w"}]}"#,
            &["tensor \"w\"", "has no shape", shape],
        ),
        (
            r#"{"tensors": [{"name": "w", "shape": [-1]}]}"#,
            &["tensor \"w\"", "[-1]", shape],
        ),
        (
            r#"{"tensors": [{"name": "w", "shape": [1.5]}]}"#,
            &["tensor \"w\"", "[1.5]", shape],
        ),
        (
            r#"{"tensors": [{"name": "w", "shape": "4"}]}"#,
            &["tensor \"w\"", shape],
        ),
        (
            r#"{"tensors": [{"name": "w", "shape": [4294967296, 0, 4294967296]}]}"#,
            &["tensor \"w\"", "is empty, but", "more than 2^50"],
        ),
        (
            r#"{"tensors": [{"name": "w", "shape": [4294967296, 4294967296]}]}"#,
            &["tensor \"w\"", "more than 2^50"],
        ),
        (
            r#"{"tensors": [{"name": "w", "shape": [1], "dtype": "int7"}]}"#,
            &[
                "tensor \"w\"",
                "unknown dtype \"int7\": use bool, f4,",
                "torch.bfloat16",
            ],
        ),
        (
            r#"{"tensors": [{"name": "w", "shape": [1], "dtype": 8}]}"#,
            &[
                "tensor \"w\"",
                "has dtype 8: use the name of a dtype, such as \"bf16\"",
            ],
        ),
        (
            r#"{"tensors": [{"name": "w", "shape": [1]}, {"name": "w", "shape": [2]}]}"#,
            &["tensor \"w\" is listed twice"],
        ),
        (
            r#"{"weight_map": {"w": "../w.safetensors"}}"#,
            &["tensor \"w\"", "must lie beside"],
        ),
        (
            r#"{"weight_map": {"w": "/w.safetensors"}}"#,
            &["tensor \"w\"", "must lie beside"],
        ),
        (
            r#"{"weight_map": {"w": "a\\w.safetensors"}}"#,
            &["tensor \"w\"", "must lie beside"],
        ),
        (
            r#"{"weight_map": {"w": ".."}}"#,
            &["tensor \"w\"", "must lie beside"],
        ),
        (
            r#"{"weight_map": {"w": ""}}"#,
            &["tensor \"w\"", "must lie beside"],
        ),
        (
            r#"{"weight_map": {"w": "none.safetensors"}}"#,
            &[
                "was found without its shards",
                "\"none.safetensors\" is not beside it",
            ],
        ),
        (r#"{"weight_map": {"w": 3}}"#, &["is refused"]),
        (
            r#"{"weight_map": {"other": "one.safetensors"}}"#,
            &["tensor \"other\"", "lacks it"],
        ),
        (
            r#"{"weight_map": {"w": "one.safetensors", "w": "one.safetensors"}}"#,
            &["tensor \"w\" is listed twice"],
        ),
    ] {
        run.write(
            "one.safetensors",
            safetensors(
                r#"{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}"#,
                4,
            ),
        );
        run.write("list.json", contents);
        init(&run, "list.json").refused(1, texts);
    }
    init(&run, "missing.json").refused(1, &["missing.json: cannot open"]);
    init(&run, "all.toml").refused(
        1,
        &["all.toml: is not a tensor list", ".safetensors", ".json"],
    );
}

#[test]
fn invalid_recipes_are_refused() {
    let run = Run::new();
    run.list("list.json", &[("a.gamma", &[4])]);
    let init = |recipe: &str| {
        let init = run.cpu("init --tensors list.json --out out.safetensors");
        init.arg(recipe)
    };
    let seeded = |recipe: &str| init(recipe).and("--seed 1");
    seeded("gpt3").refused(
        2,
        &[
            "unknown preset \"gpt3\"",
            "torch, vit, whisper, xavier, or a .toml file",
        ],
    );
    seeded("missing.toml").refused(1, &["missing.toml: cannot open"]);
    seeded("gpt2").refused(
        1,
        &["tensor \"a.gamma\" of shape [4] is matched by no rule of gpt2"],
    );
    for (toml, texts) in [
        (&b"x"[..], &["bad.toml line 1, column"][..]),
        (b"\xff\xfe", &["bad.toml", "not UTF-8 from byte 0"]),
        (b"", &["bad.toml", "rule"]),
        (
            b"[[rule]]\nmatch = \"*\"\ninit = \"he_norma\"",
            &["line 3, column 8", "did you mean \"he_normal\"?"],
        ),
        (
            b"[[rule]]\nmatch = \"*\"\ninit = \"normal(st=1)\"",
            &["unknown key \"st\"", "normal takes mean, std"],
        ),
        (
            b"[[rule]]\nmatch = \"*\"\ninit = \"normal(std=-1)\"",
            &["std = -1 is out of range: it must be at least 0"],
        ),
        (
            b"[[rule]]\nmatch = \"*\"\ninit = \"he_normal\"",
            &["tensor \"a.gamma\"", "needs rank 2 or more"],
        ),
    ] {
        run.write("bad.toml", toml);
        seeded("bad.toml").refused(1, texts);
    }
    init("kaiming").refused(2, &["no seed: give --seed N"]);
    run.recipe("other.toml", "normal");
    let texts = ["no seed: give --seed N, or write `seed = N` in other.toml"];
    init("other.toml").refused(2, &texts);
}

#[test]
fn bad_fills_are_refused() {
    let run = Run::new();
    run.write("w.bin", "old");
    let good = [
        ("--init", "normal"),
        ("--shape", "4,4"),
        ("--name", "w"),
        ("--seed", "1"),
        ("--out", "w.bin"),
        ("--backend", "cpu"),
    ];
    let w = "tensor \"w\": ";
    for (change, texts) in [
        (
            &[("--init", "normal(std=nan)")][..],
            &[w, "std = NaN is out of range"][..],
        ),
        (
            &[("--init", "normal(std=inf)")],
            &[w, "std = inf is out of range"],
        ),
        (
            &[("--init", "normal(std=1e39)")],
            &[w, "std = 10000", "at most 3.4028235e38"],
        ),
        (
            &[("--init", "normal(std=-0.5)")],
            &[w, "std = -0.5", "at least 0"],
        ),
        (&[("--init", "normal(mean=nan)")], &[w, "mean = NaN"]),
        (
            &[("--init", "uniform(low=1,high=1)")],
            &[w, "low = 1", "below high"],
        ),
        (
            &[("--init", "uniform(low=2,high=1)")],
            &[w, "low = 2", "below high"],
        ),
        (
            &[("--init", "uniform(low=-inf,high=1)")],
            &[w, "low = -inf"],
        ),
        (&[("--init", "constant(value=nan)")], &[w, "value = NaN"]),
        (
            &[("--init", "noral")],
            &[w, "did you mean \"normal\"?", "zeros, lora_b"],
        ),
        (
            &[("--init", "normal(sigma=1)")],
            &[w, "unknown key \"sigma\"", "mean, std"],
        ),
        (
            &[("--init", "normal(std=1,std=1)")],
            &[w, "\"std\" is given twice"],
        ),
        (
            &[("--init", "bias_uniform")],
            &[w, "bias_uniform(fan_in=N)"],
        ),
        (&[("--init", "residual_normal(std=1)")], &[w, "layers=N"]),
        (
            &[("--shape", "4294967296,0,4294967296")],
            &[w, "shape [4294967296, 0, 4294967296]", "is empty, but"],
        ),
        (
            &[("--shape", "4294967296,4294967296")],
            &[w, "more than 2^50"],
        ),
        (
            &[("--shape", "768"), ("--init", "he_normal")],
            &[w, "shape [768]", "rank 2 or more"],
        ),
        (
            &[("--shape", ""), ("--init", "he_normal")],
            &[w, "shape []", "rank 2 or more"],
        ),
        (&[("--slice", "0:4")], &[w, "slice \"0:4\"", "needs 2"]),
        (
            &[("--slice", "0:5,:")],
            &[w, "slice \"0:5,0:4\"", "0 <= start <= end <= 4"],
        ),
        (&[("--slice", "3:2,:")], &[w, "0 <= start <= end <= 4"]),
        (
            &[("--slice", "-1:,:")],
            &[w, "slice \"-1:,:\"", "whole numbers from 0"],
        ),
        (&[("--slice", "0:4:2,:")], &[w, "write start:end"]),
        (
            &[("--out", "w.npy"), ("--dtype", "bf16")],
            &[w, "npy cannot hold bf16"],
        ),
        (
            &[("--out", "w.pt")],
            &["--out \"w.pt\"", ".npy, .safetensors or .bin"],
        ),
        (
            &[("--out", "w")],
            &["--out \"w\"", ".npy, .safetensors or .bin"],
        ),
        (
            &[("--out", "w.safetensors"), ("--name", "__metadata__")],
            &["tensor \"__metadata__\"", "use another name"],
        ),
        (
            &[("--adapter", "nvidia")],
            &["--adapter names a GPU", "--backend gpu"],
        ),
    ] {
        let mut fill = run.fanin("fill");
        let kept = good
            .iter()
            .filter(|(key, _)| change.iter().all(|(changed, _)| changed != key));
        for (key, value) in kept.chain(change) {
            fill = fill.arg(key).arg(value);
        }
        fill.refused(2, texts);
    }
}

/// clap reports these errors.
#[test]
fn wrong_arguments_have_status_2() {
    let run = Run::new();
    for (more, expected) in [
        ("", "--seed"),
        ("--seed -1", "0 to 18446744073709551615"),
        ("--seed 0xg", "0 to 18446744073709551615"),
        ("--seed 1 --dtype f9", "unknown dtype \"f9\": use bool, f4,"),
        ("--seed 1 --layout oi", "use out_in"),
        ("--seed 1 --backend tpu", "possible values: auto, gpu, cpu"),
        ("--seed 1 --threads 0", "1..=1024"),
        ("--seed 1 --threads 1025", "1..=1024"),
        ("--seed 1 --colour", "--colour"),
    ] {
        run.fanin("fill --init normal --name w --shape 4 --out null:")
            .and(more)
            .ends(2)
            .says(expected);
    }
    for shape in ["4,x", "4;4", "-4", "4,,4", "1.5", "99999999999999999999999"] {
        run.fanin("fill --init normal --name w --seed 1 --out null:")
            .arg(format!("--shape={shape}"))
            .ends(2)
            .says("whole numbers from 0");
    }
    run.fanin("").ends(2);
    run.fanin("paint").ends(2);
    assert!(run.files().is_empty());
}

#[test]
fn models_need_a_safetensors_file_or_a_folder() {
    let run = with_recipe();
    run.list("list.json", &[("w", &[4])]);
    for out in ["model.npy", "model.bin", "-", "model.onnx"] {
        let accepted = "use a .safetensors file, a folder (end its name with /), or null:";
        run.cpu("init all.toml --tensors list.json --seed 1 --out")
            .arg(out)
            .refused(2, &[out, accepted]);
    }
}

#[test]
fn invalid_arrays_are_refused() {
    let run = Run::new();
    run.write("a.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'}");
    run.write("b.npy", b"\x93NUMPY\x09\x00\x10\x00");
    run.write("c.npy", b"\x93NUMPY");
    run.write("d.npy", b"PK\x03\x04 a zip file, that is what npz is");
    run.write("e.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff");
    let text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9), }";
    run.write("f.npy", [&b"\x93NUMPY\x01\x00\x4d\x00"[..], text].concat());
    let text = b"{'descr': '|O', 'fortran_order': False, 'shape': (9223372036854775807, 9), } ";
    run.write("g.npy", [&b"\x93NUMPY\x01\x00\x4d\x00"[..], text].concat());
    run.write("h.bin", b"1234");
    run.write("i.npy", b"no array at all");
    for (file, text) in [
        ("a.npy", "npy header"),
        ("b.npy", "npy format version other than 1, 2 and 3"),
        ("c.npy", "ends within its header"),
        ("d.npy", "is a zip archive"),
        ("i.npy", "does not begin with"),
        ("e.npy", "more than 65535 bytes"),
        ("f.npy", "do not fit shape"),
        ("g.npy", "has dtype \"|O\": little-endian numbers are read"),
        ("h.bin", "use .safetensors or .npy"),
        ("none", "cannot open"),
        ("none.npy", "cannot open"),
        ("none.safetensors", "cannot open"),
    ] {
        run.fanin("stats").arg(file).refused(1, &[file, text]);
        run.fanin("stats --json")
            .arg(file)
            .refused(1, &[file, text]);
    }
}

/// A text of a mebibyte, with a character that would control the terminal and one that would turn the
/// direction of writing.
fn long_text() -> String {
    format!("a\u{9b}2J\u{202e}{}", "b".repeat(1 << 20))
}

/// Checks that standard error is one line of at most a few kilobytes, without control characters, in
/// which long texts are cut with their lengths.
fn is_a_short_line(ended: &crate::run::Ended, what: &str) {
    let line = ended.stderr.strip_suffix('\n').unwrap_or(&ended.stderr);
    assert!(
        line.len() < 4000,
        "{what}: {} bytes: {line:.1000}",
        line.len()
    );
    let special = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}');
    assert!(!line.contains(special), "{what}: {line:.1000}");
}

#[test]
fn messages_about_long_texts_are_short() {
    let run = with_recipe();
    run.list("list.json", &[("w", &[4])]);
    let long = long_text();
    let json = serde_json::Value::from(long.as_str()).to_string();
    let header = |json: &str| safetensors(json, 4);
    let entry = r#"{"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}"#;
    // 64 KiB, the longest name that is read.
    let name = serde_json::Value::from(&long[..60_000]).to_string();
    for (file, contents) in [
        ("name.safetensors", header(&format!("{{{json}: {entry}}}"))),
        (
            "twice.safetensors",
            header(&format!("{{{name}: {entry}, {name}: {entry}}}")),
        ),
        (
            "dtype.safetensors",
            header(&format!(
                "{{\"w\": {{\"dtype\": {json}, \"shape\": [1], \"data_offsets\": [0, 4]}}}}"
            )),
        ),
        (
            "shape.safetensors",
            header(&format!(
                "{{\"w\": {{\"dtype\": \"F32\", \"shape\": {json}, \"data_offsets\": [0, 4]}}}}"
            )),
        ),
        (
            "offsets.safetensors",
            header(&format!(
                "{{\"w\": {{\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": {json}}}}}"
            )),
        ),
        ("value.safetensors", header(&format!("{{\"w\": {json}}}"))),
        (
            "metadata.safetensors",
            header(&format!("{{\"__metadata__\": {json}}}")),
        ),
        ("text.json", json.clone().into_bytes()),
        (
            "tensors.json",
            format!("{{\"tensors\": {json}}}").into_bytes(),
        ),
        ("entry.json", format!("[{json}]").into_bytes()),
        (
            "name.json",
            format!("[{{\"name\": {json}, \"shape\": [1]}}]").into_bytes(),
        ),
        (
            "names.json",
            format!("[{{\"name\": {name}, \"shape\": [-1]}}]").into_bytes(),
        ),
        (
            "twice.json",
            format!("[{{\"name\": {name}, \"shape\": []}}, {{\"name\": {name}, \"shape\": []}}]")
                .into_bytes(),
        ),
        (
            "dtype.json",
            format!("[{{\"name\": \"w\", \"shape\": [1], \"dtype\": {json}}}]").into_bytes(),
        ),
        (
            "shape.json",
            format!("[{{\"name\": \"w\", \"shape\": {json}}}]").into_bytes(),
        ),
        (
            "map.json",
            format!("{{\"weight_map\": {json}}}").into_bytes(),
        ),
        (
            "shard.json",
            format!("{{\"weight_map\": {{\"w\": {json}}}}}").into_bytes(),
        ),
        (
            "tensor.json",
            format!("{{\"weight_map\": {{{name}: \"../x\"}}}}").into_bytes(),
        ),
        ("key.json", format!("{{{json}: 1}}").into_bytes()),
    ] {
        run.write(file, contents);
        for command in [
            "plan all.toml --tensors",
            "stats",
            "verify --recipe all.toml --seed 1",
        ] {
            let ended = run.fanin(command).arg(file).ends(1);
            is_a_short_line(&ended, &format!("{command} {file}"));
        }
    }
    let toml = |text: &str| {
        serde_json::Value::from(text)
            .to_string()
            .replace('\u{9b}', "\\u009b")
    };
    let long = toml(&long);
    let expression = format!("normal(std={})", "1+".repeat(1 << 19));
    let short_expression = format!("normal(std={})", "sqrt(".repeat(500));
    for (what, contents) in [
        ("key", format!("{long} = 1")),
        ("match", format!("[[rule]]\nmatch = {long}\ninit = 'zeros'")),
        (
            "glob",
            format!("[[rule]]\nmatch = '{}'\ninit = 'zeros'", "[".repeat(4000)),
        ),
        ("init", format!("[[rule]]\nmatch = '*'\ninit = {long}")),
        (
            "short init",
            format!("[[rule]]\nmatch = '*'\ninit = '{}'", "x".repeat(4000)),
        ),
        (
            "expression",
            format!("[[rule]]\nmatch = '*'\ninit = {expression:?}"),
        ),
        (
            "short expression",
            format!("[[rule]]\nmatch = '*'\ninit = {short_expression:?}"),
        ),
        (
            "tied_to",
            format!("[[rule]]\nmatch = '*'\ntied_to = {long}"),
        ),
        ("keep", format!("[[rule]]\nmatch = '*'\nkeep = {long}")),
        (
            "slice",
            format!("[[rule]]\nmatch = '*'\nparts = [{{ slice = {long}, init = 'zeros' }}]"),
        ),
        ("dtype", format!("dtype = {long}")),
        ("seed", format!("seed = {long}")),
        ("extends", format!("extends = {long}")),
        (
            "tensors",
            format!("tensors = {long}\n[[rule]]\nmatch = '*'\ninit = 'zeros'"),
        ),
        (
            "no rule",
            format!("[[rule]]\nmatch = '{}'\ninit = 'zeros'", "x".repeat(4000)),
        ),
    ] {
        run.write("long.toml", contents);
        let command = match what {
            "tensors" => "plan long.toml",
            _ => "plan long.toml --tensors list.json",
        };
        is_a_short_line(&run.fanin(command).ends(1), what);
    }
    // An argument has at most 128 KiB.
    let long = &long_text()[..100_000];
    let path = format!("{long}.safetensors");
    for (command, argument) in [
        ("paint", long),
        ("plan --tensors list.json", long),
        ("plan all.toml --tensors", &path),
        ("stats", &path),
        ("verify --recipe all.toml --seed 1", &path),
        ("init all.toml --tensors list.json --seed 1 --out", &path),
        (
            "init all.toml --tensors list.json --out m.safetensors --seed",
            long,
        ),
        (
            "fill --init normal --name w --seed 1 --out null: --shape",
            long,
        ),
        (
            "fill --init normal --name w --seed 1 --out null: --shape 4 --dtype",
            long,
        ),
        (
            "fill --init normal --name w --seed 1 --out null: --shape 4 --slice",
            long,
        ),
        ("fill --name w --seed 1 --out null: --shape 4 --init", long),
        (
            "fill --init normal --seed 1 --out null: --shape 4294967296,4294967296 --name",
            long,
        ),
        ("fill --init normal --name w --seed 1 --shape 4 --out", long),
        (
            "regenerate all.toml --tensors list.json --seed 1 --out null: --tensor",
            long,
        ),
        ("recipe", long),
        ("inits", long),
    ] {
        let ended = run.fanin(command).arg(argument).run();
        assert!(
            ended.status == 1 || ended.status == 2,
            "{command}: {}",
            ended.status
        );
        // clap adds lines about the usage.
        assert!(
            ended.stderr.len() < 4000,
            "{command}: {:.1000}",
            ended.stderr
        );
        let special = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(
            !ended.stderr.contains(special),
            "{command}: {:.1000}",
            ended.stderr
        );
    }
}

#[test]
fn json_escapes_what_controls_a_terminal() {
    let run = with_recipe();
    let name = "a\u{7f}\u{9b}2J\u{61c}\u{200e}\u{2028}\u{202e}\u{2066}\u{e9}";
    run.list("list.json", &[(name, &[4])]);
    init(&run, "list.json").ok();
    for command in [
        "plan all.toml --tensors list.json --json",
        "stats out.safetensors --json",
        "verify out.safetensors --recipe all.toml --seed 1 --json",
        "diff out.safetensors out.safetensors --json",
    ] {
        let ended = run.fanin(command).ok();
        let text = ended.text();
        let special = |c: char| {
            c.is_control() && c != '\n' || "\u{61c}\u{200e}\u{2028}\u{202e}\u{2066}".contains(c)
        };
        assert!(!text.contains(special), "{command}: {text:?}");
        assert!(text.contains("\\u007f\\u009b2J\\u061c\\u200e\\u2028\\u202e\\u2066\u{e9}"));
        let json = ended.json();
        let tensors = json.get("tensors").unwrap_or(&json);
        assert_eq!(tensors[0]["name"], name, "{command}");
    }
}

/// A pipe that no program writes, a device, a socket and a folder are refused at once wherever a file
/// is read. A pipe that a program writes is read as a file.
#[cfg(target_os = "linux")]
#[test]
fn nothing_waits_for_what_is_no_file() {
    let run = with_recipe();
    run.list("list.json", &[("w", &[4])]);
    run.write(
        "spec.toml",
        "mesh = [{ name = 'tp', size = 1 }]\n[[rule]]\nmatch = '*'\nplacements = ['replicate']\n",
    );
    let mut sockets = Vec::new();
    for extension in ["toml", "json", "npy", "safetensors"] {
        let name = |what: &str| run.path(&format!("{what}.{extension}"));
        let made = std::process::Command::new("mkfifo")
            .arg(name("pipe"))
            .status();
        assert!(made.unwrap().success());
        std::os::unix::fs::symlink("/dev/zero", name("device")).unwrap();
        sockets.push(std::os::unix::net::UnixListener::bind(name("socket")).unwrap());
        std::fs::create_dir(name("folder")).unwrap();
    }
    let command = |line: &str, file: &str| {
        let line = line.replace("FILE", file);
        run.fanin(&line).under(["timeout", "60"])
    };
    let regular = "is not a regular file, but a";
    let unwritten = "is a pipe that no program writes: start the program first, or give a file";
    for (line, extension, pipe) in [
        ("plan FILE --tensors list.json", "toml", unwritten),
        (
            "init all.toml --tensors list.json --seed 1 --out m/ --shard-spec FILE",
            "toml",
            unwritten,
        ),
        ("plan all.toml --tensors FILE", "json", unwritten),
        ("plan all.toml --tensors FILE", "safetensors", regular),
        ("stats FILE", "npy", regular),
        ("stats FILE", "safetensors", regular),
        ("stats FILE", "json", unwritten),
        ("plot FILE", "npy", regular),
        ("plot FILE", "safetensors", regular),
        (
            "verify FILE --recipe all.toml --seed 1",
            "safetensors",
            regular,
        ),
        ("verify FILE --recipe all.toml --seed 1", "json", unwritten),
        ("diff all.toml FILE --seed 1", "safetensors", regular),
        ("diff FILE FILE", "safetensors", regular),
    ] {
        for (what, text) in [
            ("pipe", pipe),
            ("device", regular),
            ("socket", regular),
            ("folder", ""),
        ] {
            let file = format!("{what}.{extension}");
            // A folder may have any name: it is looked into.
            let ended = command(line, &file).ends(1);
            assert!(
                ended.stderr.contains(text),
                "{line} {file}: {}",
                ended.stderr
            );
            is_a_short_line(&ended, line);
        }
    }

    // As the shell's <(program): the pipe is read when the program writes.
    for (extension, contents, line) in [
        (
            "toml",
            run.read("all.toml"),
            "plan FILE --tensors list.json",
        ),
        (
            "json",
            run.read("list.json"),
            "plan all.toml --tensors FILE",
        ),
        (
            "toml",
            run.read("spec.toml"),
            "init all.toml --tensors list.json --seed 1 --out null: --backend cpu --shard-spec FILE",
        ),
    ] {
        let pipe = run.path(&format!("pipe.{extension}"));
        // Opened for reading too, so that opening does not wait for the command.
        let writer = std::fs::File::options().read(true).write(true).open(&pipe);
        let mut writer = writer.unwrap();
        std::io::Write::write_all(&mut writer, &contents).unwrap();
        let line = line.replace("FILE", &format!("pipe.{extension}"));
        let mut child = run.fanin(&line).spawn();
        // The contents end when the writer closes the pipe, and are lost if it does so before the
        // command has opened it.
        let files = format!("/proc/{}/fd", child.id());
        let is_open = || {
            let files = std::fs::read_dir(&files).into_iter().flatten().flatten();
            let mut files = files.filter_map(|file| std::fs::read_link(file.path()).ok());
            files.any(|file| file == pipe)
        };
        while !is_open() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        drop(writer);
        let ended = crate::run::ended(child.wait_with_output().unwrap());
        assert_eq!(ended.status, 0, "{line}: {}", ended.stderr);
    }
}

/// Runs a plan that must be refused in bounded time and 300 MiB of data, which bounds the memory that it
/// takes. Without checks, the files below would take many times that.
#[cfg(target_os = "linux")]
fn refused_in_bounds(run: &Run, recipe: &str, list: &str, texts: &[&str]) {
    let start = std::time::Instant::now();
    let plan = run.fanin("plan").arg(recipe).tensors(list);
    let ended = plan.after("ulimit -v 524288; ulimit -d 307200").run();
    let took = start.elapsed();
    assert_eq!(ended.status, 1, "{texts:?}: {:.2000}", ended.stderr);
    assert!(ended.stdout.is_empty());
    assert_eq!(ended.stderr.lines().count(), 1, "{:.2000}", ended.stderr);
    assert!(ended.stderr.len() < 10_000, "{:.2000}", ended.stderr);
    for text in texts {
        assert!(
            ended.stderr.contains(text),
            "{text:?}: {:.2000}",
            ended.stderr
        );
    }
    assert!(
        took < std::time::Duration::from_secs(30),
        "{texts:?}: {took:?}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn recipes_cannot_exhaust_the_machine() {
    let run = Run::new();
    run.list("list.json", &[("w", &[4])]);
    let init = |init: &str| rule("*", init);
    let globs = |glob: &str| rule(glob, "zeros");
    let deep = 200_000;
    for (toml, texts) in [
        (
            format!("rule = {}", "[".repeat(deep)),
            &["nests arrays or tables too deep: 80 levels are read"][..],
        ),
        (
            format!("rule = {}", "{a=".repeat(deep)),
            &["nests arrays or tables too deep: 80 levels are read"],
        ),
        (
            format!("{}b = 1", "a.".repeat(deep)),
            &["nests arrays or tables too deep: 80 levels are read"],
        ),
        (
            init(&format!(
                "normal(std={}1{})",
                "(".repeat(1000),
                ")".repeat(1000)
            )),
            &["line 3, column 8", "at most 64 levels are read"],
        ),
        (
            init(&format!("normal(std=sqrt({}1))", "-".repeat(4000))),
            &["line 3, column 8"],
        ),
        (
            init(&format!("normal(std={})", "1+".repeat(deep))),
            &["line 3, column 8", "has 400012 bytes, where at most 4096"],
        ),
        (
            init(&"n".repeat(3_000_000)),
            &["line 3, column 8", "has 3000000 bytes, where at most 4096"],
        ),
        (
            init("zeros") + &format!("dtype = {:?}\n", "f".repeat(3_000_000)),
            &["line 4, column 9", "unknown dtype"],
        ),
        (
            globs(&"{".repeat(4000)),
            &["line 2, column 9", "16 braces within each other"],
        ),
        (
            globs(&"{a,".repeat(400_000)),
            &["bomb.toml: has globs of 1200000 bytes together: at most 524288 are read"],
        ),
        (
            globs(&"?".repeat(deep)),
            &["line 2, column 9", "at most 4096 are read"],
        ),
        (
            format!("# {}", "x".repeat(3 << 20)),
            &["bomb.toml: is larger than 3145728 bytes"],
        ),
        (
            globs("a").repeat(10_001),
            &["bomb.toml: has 10001 globs", "at most 10000"],
        ),
        (
            format!(
                "extends = \"gpt2\"\n[[rule]]\nmatch = [{}]\ninit = \"zeros\"",
                "\"a\",".repeat(10_000)
            ),
            &["gpt2: has 100", "at most 10000"],
        ),
    ] {
        run.write("bomb.toml", toml);
        refused_in_bounds(&run, "bomb.toml", "list.json", texts);
    }
    // The maximum number of globs is accepted. The last one matches.
    let stars: String = (0..9_999).map(|i| globs(&format!("*{i}*a*b*c"))).collect();
    run.write("most.toml", stars + &init("ones"));
    let ended = run.fanin("plan most.toml --tensors list.json").ok();
    let table = ended.text();
    assert!(table.contains("most.toml:29998"), "{table}");
}

/// Returns files that would take ten times their own memory or more, if they were read whole: their
/// names, their contents and what a message says.
#[cfg(target_os = "linux")]
fn large_files() -> impl Iterator<Item = (&'static str, Vec<u8>, &'static [&'static str])> {
    const TENSORS: usize = (1 << 20) + 1;
    let entry = r#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
    let listed = |entry: &dyn Fn(usize) -> String, count: usize| {
        (0..count).map(entry).collect::<Vec<_>>().join(",")
    };
    // One at a time: together they would take a gigabyte.
    type Make<'a> = Box<dyn Fn() -> Vec<u8> + 'a>;
    let make: [(&str, Make<'_>, &[&str]); 10] = [
        (
            "dimensions.safetensors",
            Box::new(|| {
                let shape = "1,".repeat(49_000_000);
                let header =
                    format!(r#"{{"w":{{"dtype":"F32","shape":[{shape}1],"data_offsets":[0,4]}}}}"#);
                safetensors(&header, 4)
            }),
            &[
                "tensor \"w\"",
                "shape of 98000003 characters",
                "at most 4096 are read",
            ],
        ),
        (
            "tensors.safetensors",
            Box::new(move || {
                let tensors = listed(&|i| format!(r#""{i:x}":{entry}"#), TENSORS);
                safetensors(&format!("{{{tensors}}}"), 0)
            }),
            &["has more than 1048576 tensors, the most that are read"],
        ),
        (
            "pairs.safetensors",
            Box::new(move || {
                let pairs = listed(&|i| format!(r#""{i:x}":"""#), 4 * TENSORS);
                safetensors(&format!(r#"{{"__metadata__":{{{pairs}}}}}"#), 0)
            }),
            &["has more than 1048576 pairs of metadata"],
        ),
        (
            "metadata.safetensors",
            Box::new(|| {
                let text = "x".repeat(84_000_000);
                safetensors(&format!(r#"{{"__metadata__":{{"a":"{text}"}}}}"#), 0)
            }),
            &["has more than 67108864 bytes of metadata"],
        ),
        (
            "parts.safetensors",
            Box::new(move || {
                let parts = listed(
                    &|i| format!(r#""shape:{i:x}":"[{i}]","slice:{i:x}":"0:0""#),
                    (1 << 16) + 1,
                );
                let tensors = listed(&|i| format!(r#""{i:x}":{entry}"#), (1 << 16) + 1);
                safetensors(&format!(r#"{{"__metadata__":{{{parts}}},{tensors}}}"#), 0)
            }),
            &["is one of more than 65536 different parts"],
        ),
        (
            "nested.safetensors",
            Box::new(|| safetensors(&format!(r#"{{"w":{}"#, "[".repeat(98_000_000)), 0)),
            &["its header is refused: EOF"],
        ),
        (
            "tensors.json",
            Box::new(move || {
                let tensors = listed(
                    &|i| format!(r#"{{"name":"{i:x}","shape":[]}}"#),
                    3 * TENSORS,
                );
                format!("[{tensors}]").into_bytes()
            }),
            &["has more than 1048576 tensors, the most that are read"],
        ),
        (
            "index.json",
            Box::new(move || {
                let map = listed(&|i| format!(r#""{i:x}":"a""#), 4 * TENSORS);
                format!(r#"{{"weight_map":{{{map}}}}}"#).into_bytes()
            }),
            &["has more than 1048576 tensors, the most that are read"],
        ),
        (
            "globs.toml",
            Box::new(|| rule(&"*a".repeat(1400), "zeros").repeat(1000).into_bytes()),
            &["globs.toml: has globs of 5", "at most 524288 are read"],
        ),
        (
            "set.toml",
            Box::new(|| {
                let globs: Vec<String> = (0..9000)
                    .map(|i| format!("'{i}{}'", "*a".repeat(25)))
                    .collect();
                format!("[[rule]]\nmatch = [{}]\ninit = 'zeros'\n", globs.join(",")).into_bytes()
            }),
            &["set.toml line 2, column 9: cannot be used"],
        ),
    ];
    make.into_iter()
        .map(|(name, contents, texts)| (name, contents(), texts))
}

/// Returns the header of the file of one of two ranks. It has as many tensors, each cut into halves.
#[cfg(target_os = "linux")]
fn header_of_rank(rank: usize, tensors: usize, name: &dyn Fn(usize) -> String) -> Vec<u8> {
    let listed = |entry: &dyn Fn(usize) -> String| {
        let entries: Vec<String> = (0..tensors).map(entry).collect();
        entries.join(",")
    };
    let slice = format!("{rank}:{}", rank + 1);
    let parts = listed(&|i| format!(r#""shape:{0}":"[2]","slice:{0}":"{slice}""#, name(i)));
    let entries = listed(&|i| {
        let at = 4 * i;
        let bytes = format!("[{at},{}]", at + 4);
        format!(
            r#""{}":{{"dtype":"F32","shape":[1],"data_offsets":{bytes}}}"#,
            name(i)
        )
    });
    let metadata = format!(r#"{{"rank":"{rank}","ranks":"2",{parts}}}"#);
    safetensors(
        &format!(r#"{{"__metadata__":{metadata},{entries}}}"#),
        4 * tensors,
    )
}

#[cfg(target_os = "linux")]
#[test]
fn folders_of_ranks_cannot_exhaust_the_machine() {
    let run = with_recipe();
    std::fs::create_dir(run.path("ranks")).unwrap();
    let path = |rank: usize| format!("ranks/model-rank-{rank:05}-of-00002.safetensors");
    let name = |i: usize| format!("layers.{i:06}.weight");
    // Just below the limit of a rank's header. The last name of the second file is another.
    let tensors = 205_000;
    run.write(&path(0), header_of_rank(0, tensors, &name));
    let other = |i: usize| match i + 1 == tensors {
        true => "other".to_owned(),
        false => name(i),
    };
    run.write(&path(1), header_of_rank(1, tensors, &other));
    let texts = [&path(1) as &str, "tensor \"other\"", "is not in"];
    refused_in_bounds(&run, "all.toml", "ranks", &texts);
    run.write(&path(1), header_of_rank(1, 215_000, &name));
    let texts = [&path(1) as &str, "at most 32000000 are read"];
    refused_in_bounds(&run, "all.toml", "ranks", &texts);
}

#[cfg(target_os = "linux")]
#[test]
fn lists_cannot_exhaust_the_machine() {
    let run = with_recipe();
    run.list("one.json", &[("w", &[4])]);
    let tensor = |shape: &str| format!(r#"{{"tensors": [{{"name": "w", "shape": {shape}}}]}}"#);
    let deep = 200_000;
    let numbers = "give a list of whole numbers from 0";
    for (json, texts) in [
        (tensor(&"[".repeat(deep)), &["list.json: is refused: "][..]),
        (
            tensor(&format!("{}{}", "[".repeat(100), "]".repeat(100))),
            &["tensor \"w\"", numbers],
        ),
        (
            tensor(&format!("[{}1]", "1,".repeat(20_000_000))),
            &["tensor \"w\"", "shape of 40000003 characters", numbers],
        ),
        (
            tensor("[18446744073709551616]"),
            &["tensor \"w\"", "[18446744073709551616]", numbers],
        ),
        (
            tensor("[18446744073709551615, 18446744073709551615]"),
            &["tensor \"w\"", "more than 2^50"],
        ),
        (
            tensor(&format!("\"{}\"", "x".repeat(4000))),
            &["tensor \"w\"", numbers],
        ),
        (
            format!(r#"{{"tensors": "{}"}}"#, "x".repeat(20_000_000)),
            &["list.json: is refused: "],
        ),
        (
            format!(
                r#"{{"tensors": [{{"name": "{}", "shape": [1]}}]}}"#,
                "x".repeat(20_000_000)
            ),
            &["a tensor whose name has 20000000 bytes", "65536"],
        ),
        (
            format!(
                r#"{{"tensors": [{{"name": "w", "shape": [1], "dtype": "{}"}}]}}"#,
                "x".repeat(20_000_000)
            ),
            &["tensor \"w\"", "unknown dtype \"xxx", "use bool, f4,"],
        ),
        (
            format!(r#"{{"other": {}, "tensors": []"#, "[".repeat(10_000_000)),
            &["list.json: is refused: "],
        ),
        (
            "[".repeat(100_000_001),
            &["list.json: is larger than 100000000 bytes"],
        ),
        (
            r#"{"weight_map": {"w": "a\u0000.safetensors"}}"#.to_owned(),
            &["a\\0.safetensors: cannot open", "NUL"],
        ),
        (
            r#"{"weight_map": {"w": "/dev/zero"}}"#.to_owned(),
            &["tensor \"w\"", "must lie beside"],
        ),
        (
            r#"{"weight_map": {"w": "../../etc/passwd"}}"#.to_owned(),
            &["tensor \"w\"", "must lie beside"],
        ),
        (
            r#"{"weight_map": {"w": "zero.safetensors"}}"#.to_owned(),
            &["zero.safetensors: is not a regular file"],
        ),
        (
            r#"{"weight_map": {"w": "pipe.safetensors"}}"#.to_owned(),
            &["pipe.safetensors: is not a regular file"],
        ),
        (
            r#"{"weight_map": {"w": "folder.safetensors"}}"#.to_owned(),
            &["folder.safetensors: is not a regular file"],
        ),
    ] {
        if !run.files().contains(&"pipe.safetensors".to_owned()) {
            std::os::unix::fs::symlink("/dev/zero", run.path("zero.safetensors")).unwrap();
            std::fs::create_dir(run.path("folder.safetensors")).unwrap();
            let made = std::process::Command::new("mkfifo")
                .arg(run.path("pipe.safetensors"))
                .status();
            assert!(made.unwrap().success());
        }
        run.write("list.json", json);
        refused_in_bounds(&run, "all.toml", "list.json", texts);
    }

    for (file, contents, texts) in large_files() {
        let is_recipe = file.ends_with(".toml");
        run.write(file, contents);
        match is_recipe {
            true => refused_in_bounds(&run, file, "one.json", texts),
            false => refused_in_bounds(&run, "all.toml", file, texts),
        }
        std::fs::remove_file(run.path(file)).unwrap();
    }

    // A sparse file of a hundred megabytes, with a header of the maximum length, then one byte
    // longer.
    for (length, text) in [
        (100_000_000u64, "does not begin with"),
        (100_000_001, "claims a header of 100000001"),
    ] {
        let mut file = std::fs::File::create(run.path("blank.safetensors")).unwrap();
        std::io::Write::write_all(&mut file, &length.to_le_bytes()).unwrap();
        file.set_len(8 + length).unwrap();
        refused_in_bounds(&run, "all.toml", "blank.safetensors", &[text]);
    }
    // A plan may have 2^64 bytes of weights or more. A file may not.
    let run = with_recipe();
    let names: Vec<String> = (0..5000).map(|i| format!("w{i}")).collect();
    let tensors: Vec<(&str, &[u64])> = names
        .iter()
        .map(|name| (&name[..], &[1 << 50][..]))
        .collect();
    run.list("list.json", &tensors);
    let ended = run.fanin("plan all.toml --tensors list.json").ok();
    assert!(ended.text().ends_with(
        "total: 5,000 tensors, 5,629,499,534,213,120,000 parameters, \
         22517998136852480000 bytes; seed -\n"
    ));
    init(&run, "list.json").refused(1, &["more than 2^64 bytes of weights", "split the model"]);
}
