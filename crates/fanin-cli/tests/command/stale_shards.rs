//! A folder never ends up with files of two models: one whose files have other names is refused, or
//! with --overwrite removed once the new model stands, and only what fanin wrote.

use std::fs;

use crate::run::{Fanin, Run, rule};

const INDEX: &str = "model.safetensors.index.json";

/// Four tensors of 4 kB.
fn model() -> Run {
    let run = Run::new();
    let tensors = ["a", "b", "c", "d"].map(|name| (name, &[1000u64][..]));
    run.list("list.json", &tensors);
    run.write("own.toml", rule("*", "normal(std=1)"));
    for ranks in [2, 4] {
        run.write(
            &format!("{ranks}.toml"),
            format!(
                "mesh = [{{ name = \"tp\", size = {ranks} }}]\n[[rule]]\nmatch = \"*\"\nplacements \
                 = [\"shard(0)\"]\n"
            ),
        );
    }
    run
}

/// Returns the command that writes the model in a layout: `4kB` and so on are shards, `2.toml` and
/// `4.toml` files of ranks, and `one` is a single file.
fn init<'a>(run: &'a Run, layout: &str) -> Fanin<'a> {
    let init = run
        .cpu("init own.toml --seed 1 --out m")
        .tensors("list.json");
    match layout {
        "one" => init,
        layout if layout.ends_with(".toml") => init.and("--shard-spec").arg(layout),
        layout => init.and("--max-shard-size").arg(layout),
    }
}

fn files(run: &Run) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(run.path("m"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Returns the names of the files that a layout has.
fn names(layout: &str) -> Vec<String> {
    let of = |count: u64, name: &dyn Fn(u64) -> String| (0..count).map(name).collect();
    let shards = |count: u64| -> Vec<String> {
        let mut all: Vec<String> = of(count, &|i| {
            format!("model-{:05}-of-{count:05}.safetensors", i + 1)
        });
        all.push(INDEX.to_owned());
        all
    };
    let ranks = |count: u64| {
        of(count, &|i| {
            format!("model-rank-{i:05}-of-{count:05}.safetensors")
        })
    };
    match layout {
        "one" => vec!["model.safetensors".to_owned()],
        "5kB" => shards(4),
        "9kB" => shards(2),
        "2.toml" => ranks(2),
        _ => ranks(4),
    }
}

#[test]
fn a_model_with_other_files_is_replaced_completely() {
    let layouts = ["5kB", "9kB", "one", "2.toml", "4.toml"];
    for old in layouts {
        for new in layouts {
            let run = model();
            init(&run, old).ok();
            fs::write(run.path("m/README.md"), "kept").unwrap();
            fs::write(run.path("m/tokenizer.safetensors"), "kept").unwrap();
            let before = files(&run);
            if old == new {
                init(&run, new).ok();
                init(&run, new).and("--resume").ok();
                assert_eq!(files(&run), before);
                continue;
            }
            for more in ["", "--resume"] {
                let init = init(&run, new).and(more);
                init.refused(1, &["m: holds ", " of another model", "set overwrite"]);
                assert_eq!(files(&run), before, "{old} to {new}");
            }
            init(&run, new).and("--overwrite").ok();
            let mut expected = names(new);
            expected.extend(["README.md", "tokenizer.safetensors"].map(str::to_owned));
            expected.sort();
            assert_eq!(files(&run), expected, "{old} to {new}");
            run.cpu("verify m --recipe own.toml --seed 1").ok();
            // Nothing is left to be removed.
            init(&run, new).and("--resume").ok();
        }
    }
}

#[test]
fn files_of_others_are_never_removed() {
    let both = |run: &Run, new: &str, texts: &[&str]| {
        for more in ["", "--overwrite"] {
            let before = files(run);
            init(run, new).and(more).refused(1, texts);
            assert_eq!(files(run), before);
        }
    };
    let foreign = crate::run::safetensors(
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        4,
    );
    // A single file of another program.
    let run = model();
    fs::create_dir(run.path("m")).unwrap();
    fs::write(run.path("m/model.safetensors"), &foreign).unwrap();
    both(
        &run,
        "9kB",
        &["m: holds model.safetensors of another model, which fanin did not write: remove it"],
    );
    // Shards of another program, with an index.
    let run = model();
    fs::create_dir(run.path("m")).unwrap();
    fs::write(run.path("m/model-00001-of-00003.safetensors"), &foreign).unwrap();
    let index = r#"{"metadata":{},"weight_map":{"a":"model-00001-of-00003.safetensors"}}"#;
    fs::write(run.path("m").join(INDEX), index).unwrap();
    both(
        &run,
        "9kB",
        &[
            "holds model-00001-of-00003.safetensors",
            "no index of fanin lists",
        ],
    );
    both(&run, "one", &["holds model-00001-of-00003.safetensors"]);
    // A shard of fanin's that somebody has saved again, so that it is not fanin's any more.
    let run = model();
    init(&run, "5kB").ok();
    fs::write(run.path("m/model-00003-of-00004.safetensors"), &foreign).unwrap();
    both(
        &run,
        "9kB",
        &[
            "holds model-00003-of-00004.safetensors",
            "fanin did not write",
        ],
    );
    // Shards that a run without an end has left: no index lists them.
    let run = model();
    init(&run, "5kB").ok();
    fs::remove_file(run.path("m").join(INDEX)).unwrap();
    both(
        &run,
        "9kB",
        &[
            "holds model-00001-of-00004.safetensors",
            "no index of fanin lists",
        ],
    );
    // An index must not lead out of its folder, nor to files that are none of a model.
    let run = model();
    init(&run, "5kB").ok();
    let path = run.path("m").join(INDEX);
    let text = fs::read_to_string(&path).unwrap();
    let out = text.replace("model-00004-of-00004.safetensors", "../list.json");
    fs::write(&path, out).unwrap();
    both(&run, "9kB", &["holds model-00004-of-00004.safetensors"]);
    assert!(run.path("list.json").exists());
}

#[test]
fn the_last_process_removes_the_old_files() {
    for (old, new) in [("5kB", "9kB"), ("4.toml", "2.toml"), ("5kB", "2.toml")] {
        let run = model();
        init(&run, old).ok();
        let process = |rank: u64| {
            let share = format!("--rank {rank} --world-size 2");
            init(&run, new).and(&share)
        };
        process(1).refused(1, &["set overwrite"]);
        process(1).and("--overwrite").ok();
        // The old model is complete until the new one is.
        for name in names(old) {
            assert!(run.path("m").join(&name).exists(), "{name}");
        }
        process(0).and("--overwrite").ok();
        assert_eq!(files(&run), names(new), "{old} to {new}");
        run.cpu("verify m --recipe own.toml --seed 1").ok();
    }
}

#[test]
fn a_run_that_fails_leaves_the_old_model() {
    let run = model();
    init(&run, "5kB").ok();
    let before: Vec<Vec<u8>> = names("5kB")
        .iter()
        .map(|n| run.read(&format!("m/{n}")))
        .collect();
    // A file is in the way of the second shard.
    fs::create_dir(run.path("m/model-00002-of-00002.safetensors")).unwrap();
    init(&run, "9kB").and("--overwrite").ends(1);
    let after: Vec<Vec<u8>> = names("5kB")
        .iter()
        .map(|n| run.read(&format!("m/{n}")))
        .collect();
    assert!(before == after);
    run.cpu("verify m --recipe own.toml --seed 1").ok();
    // The next run goes on.
    fs::remove_dir(run.path("m/model-00002-of-00002.safetensors")).unwrap();
    init(&run, "9kB").and("--overwrite --resume").ok();
    assert_eq!(files(&run), names("9kB"));
}

/// The file by its own path is the model of its folder, as readers see it.
#[test]
fn a_single_file_beside_shards_is_refused_too() {
    let run = model();
    init(&run, "5kB").ok();
    let before = files(&run);
    let single = |file: &str| {
        let init = run.cpu("init own.toml --seed 1 --out").arg(file);
        init.tensors("list.json")
    };
    single("m/model.safetensors").refused(1, &["m: holds 5 files", "set overwrite"]);
    assert_eq!(files(&run), before);
    single("m/model.safetensors").and("--overwrite").ok();
    assert_eq!(files(&run), ["model.safetensors"]);
    // Another name is none of the model's.
    single("m/other.safetensors").ok();
}
