//! Files that other tools write, and what is left of a download: messages say what a file is and
//! what to do, and harmless differences are accepted.

use std::fs;

use fanin::checkpoint::{Weights, read_tensor_list};

use crate::run::{Run, rule, safetensors};

/// The first bytes of a zip archive whose first entry has this name.
fn zip(name: &str) -> Vec<u8> {
    let mut bytes = b"PK\x03\x04\x14\0\0\0".to_vec();
    bytes.resize(26, 0);
    bytes.extend((name.len() as u16).to_le_bytes());
    bytes.extend([0, 0]);
    bytes.extend(name.as_bytes());
    bytes.extend([0; 200]);
    bytes
}

#[test]
fn files_of_other_formats_are_named_whatever_their_extension() {
    let run = Run::new();
    run.write("own.toml", rule("*", "zeros"));
    run.list("list.json", &[("w", &[2])]);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 548105171\n";
    let cases: [(&str, Vec<u8>, &[&str]); 9] = [
        (
            "pointer",
            pointer.into(),
            &["is a git-lfs pointer", "run `git lfs pull`"],
        ),
        (
            "gguf",
            b"GGUF\x03\0\0\0abc".to_vec(),
            &["is a GGUF file", "safetensors"],
        ),
        (
            "torch",
            zip("archive/data.pkl"),
            &["is a file of torch.save", "safetensors.torch.save_file"],
        ),
        (
            "pickle",
            b"\x80\x02}q\0.".to_vec(),
            &["is a Python pickle", "save_file"],
        ),
        (
            "npz",
            zip("w.npy"),
            &["is a numpy .npz archive", "save the arrays"],
        ),
        (
            "keras",
            zip("metadata.json"),
            &["is a Keras archive", "save_file"],
        ),
        (
            "hdf5",
            b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0".to_vec(),
            &["is an HDF5 file", "safetensors"],
        ),
        (
            "gzip",
            b"\x1f\x8b\x08\0abcdefgh".to_vec(),
            &["is a gzip archive", "unpack"],
        ),
        (
            "page",
            b"\n<!DOCTYPE html><html>".to_vec(),
            &["is a web page", "download the file again"],
        ),
    ];
    for (name, bytes, texts) in &cases {
        for extension in ["safetensors", "json", "bin", "pt", "h5", "gguf", "npy"] {
            let file = format!("{name}.{extension}");
            run.write(&file, bytes);
            let mut all = vec![file.as_str()];
            all.extend(*texts);
            let seeded = |command: &str| run.cpu(command).and("--seed 1");
            seeded("init own.toml --out m.safetensors")
                .tensors(&file)
                .refused(1, &all);
            seeded("regenerate own.toml --tensor w --out m.safetensors")
                .tensors(&file)
                .refused(1, &all);
            run.fanin("plan own.toml").tensors(&file).refused(1, &all);
            run.fanin("stats").arg(&file).refused(1, &all);
            run.fanin("plot").arg(&file).refused(1, &all);
            seeded("verify --recipe own.toml")
                .arg(&file)
                .refused(1, &all);
            let verify = seeded("verify --recipe own.toml w.safetensors");
            run.write("w.safetensors", safetensors("{}", 0));
            verify.tensors(&file).refused(1, &all);
            run.fanin("diff w.safetensors").arg(&file).refused(1, &all);
            run.fanin("diff")
                .arg(format!("./{file}"))
                .and("w.safetensors")
                .refused(1, &all);
            fs::remove_file(run.path(&file)).unwrap();
        }
        // As the shard of an index, and as the model of a folder.
        run.write("shard.safetensors", bytes);
        run.write(
            "index.json",
            r#"{"weight_map": {"w": "shard.safetensors"}}"#,
        );
        let mut all = vec!["shard.safetensors: "];
        all.extend(*texts);
        run.fanin("stats index.json").refused(1, &all);
        let folder = run.path(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("model.safetensors"), bytes).unwrap();
        run.fanin("stats").arg(&folder).refused(1, texts);
    }
}

#[test]
fn an_index_without_its_shards_says_so() {
    let run = Run::new();
    run.write("own.toml", rule("*", "zeros"));
    run.write(
        "model.safetensors.index.json",
        r#"{"weight_map": {"a": "model-00001-of-00003.safetensors",
            "b": "model-00002-of-00003.safetensors", "c": "model-00003-of-00003.safetensors"}}"#,
    );
    let refused = |texts: &[&str]| {
        for path in ["model.safetensors.index.json", "."] {
            run.fanin("stats").arg(path).refused(1, texts);
            run.cpu("init own.toml --seed 1 --out m.safetensors")
                .tensors(path)
                .refused(1, texts);
            run.cpu("verify --recipe own.toml --seed 1")
                .arg(path)
                .refused(1, texts);
        }
    };
    refused(&[
        "model.safetensors.index.json: was found without its shards: it names 3 shards",
        "\"model-00001-of-00003.safetensors\" is not beside it",
        "download the shards into the same folder, or give a list",
    ]);
    let shard = safetensors(
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        4,
    );
    run.write("model-00001-of-00003.safetensors", shard);
    refused(&[
        "was found with 1 of its 3 shards",
        "\"model-00002-of-00003.safetensors\" is not beside it",
    ]);
}

#[test]
fn a_bare_array_is_a_list() {
    let run = Run::new();
    run.write("own.toml", rule("*", "zeros"));
    run.write(
        "list.json",
        r#" [{"name": "a", "shape": [2, 3]}, {"name": "b", "shape": [], "dtype": "bf16"}]"#,
    );
    let list = read_tensor_list(run.path("list.json")).unwrap();
    assert_eq!(list.tensors().len(), 2);
    run.cpu("init own.toml --seed 1 --out m.safetensors")
        .tensors("list.json")
        .ok();
    for (json, text) in [
        (
            r#"[{"shape": [2]}]"#,
            "entry 0 of its tensors has no \"name\"",
        ),
        (
            r#"[{"name": "a", "shape": 2}]"#,
            "tensor \"a\": has shape 2",
        ),
        ("[1]", "is refused"),
        ("[", "is refused"),
        (
            r#"[{"name": "a", "shape": [2]}, {"name": "a", "shape": [2]}]"#,
            "\"a\"",
        ),
    ] {
        run.write("bad.json", json);
        run.cpu("init own.toml --seed 1 --out m.safetensors")
            .tensors("bad.json")
            .ends(1)
            .says(text);
    }
    // An array has no weights.
    run.fanin("stats list.json")
        .refused(1, &["is a list of tensors without their weights"]);
}

#[test]
fn a_byte_order_mark_is_accepted() {
    let run = Run::new();
    let marked = |name: &str, text: &str| run.write(name, format!("\u{feff}{text}"));
    let recipe = rule("*", "kaiming_normal");
    marked("own.toml", &recipe);
    marked(
        "list.json",
        r#"{"tensors": [{"name": "w", "shape": [4, 4]}]}"#,
    );
    marked("array.json", r#"[{"name": "w", "shape": [4, 4]}]"#);
    let spec = "mesh = [{ name = \"tp\", size = 2 }]\n[[rule]]\nmatch = \"*\"\nplacements = [\"shard(0)\"]\n";
    marked("spec.toml", spec);
    run.write("plain.toml", &recipe);
    for list in ["list.json", "array.json"] {
        let init = run.cpu("init own.toml --seed 1 --out m.safetensors");
        init.tensors(list).ok();
        run.cpu("verify m.safetensors --recipe plain.toml --seed 1")
            .ok();
    }
    run.cpu("init own.toml --seed 1 --out ranks --shard-spec spec.toml")
        .tensors("list.json")
        .ok();
    // The mark is no part of the recipe: the hash is that of the text, and so are the columns.
    let hash = |file: &str| {
        Weights::open(run.path(file))
            .unwrap()
            .metadata("recipe_sha256")
            .map(str::to_owned)
    };
    run.cpu("init plain.toml --seed 1 --out plain.safetensors")
        .tensors("list.json")
        .ok();
    assert_eq!(hash("m.safetensors"), hash("plain.safetensors"));
    marked("bad.toml", "x");
    run.cpu("init bad.toml --seed 1 --out m.safetensors")
        .tensors("list.json")
        .refused(1, &["bad.toml line 1, column 2"]);
    // A recipe that extends a marked one.
    run.write("extends.toml", "extends = \"own.toml\"\n");
    run.cpu("verify m.safetensors --recipe extends.toml --seed 1")
        .ok();
    let index = r#"{"weight_map": {"w": "m.safetensors"}}"#;
    marked("index.json", index);
    run.fanin("stats index.json").ok();
    // UTF-16, as a redirection in PowerShell writes it.
    run.write("utf16.json", b"\xff\xfe{\0}\0");
    run.cpu("init own.toml --seed 1 --out m.safetensors")
        .tensors("utf16.json")
        .refused(1, &["is UTF-16 text: save it as UTF-8"]);
}

#[test]
fn tensors_that_an_index_omits_are_reported() {
    let run = Run::new();
    run.list("list.json", &[("a", &[4, 4]), ("b", &[4]), ("c", &[4])]);
    run.write("own.toml", rule("*", "normal(std=1)"));
    run.cpu("init own.toml --seed 1 --out m.safetensors")
        .tensors("list.json")
        .ok();
    run.write("index.json", r#"{"weight_map": {"b": "m.safetensors"}}"#);
    let weights = Weights::open(run.path("index.json")).unwrap();
    assert_eq!(weights.unlisted(), ["a", "c"]);
    let warning = "fanin: warning: index.json: its shards hold 2 tensors that it does not list, \
                   such as \"a\": not read\n";
    for command in [
        "stats index.json",
        "stats index.json --recipe own.toml",
        "plot index.json",
        "verify index.json --recipe own.toml --seed 1",
        "diff m.safetensors index.json",
        "diff index.json m.safetensors",
        "plan own.toml --tensors index.json",
        "init own.toml --seed 1 --out n.safetensors --tensors index.json",
    ] {
        let stderr = run.fanin(command).ok().stderr;
        assert_eq!(stderr.matches(warning).count(), 1, "{command}: {stderr}");
    }
    run.write(
        "index.json",
        r#"{"weight_map": {"a": "m.safetensors", "b": "m.safetensors", "c": "m.safetensors"}}"#,
    );
    let stderr = run.fanin("stats index.json").ok().stderr;
    assert!(!stderr.contains("warning"), "{stderr}");
}
