//! Every command that reads weights understands the files of ranks and of slices that fanin writes:
//! each by itself as parts of whole tensors, and a folder of all ranks as one model.

use std::fs;

use fanin::checkpoint::{Reader, Weights, read_tensor_list};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::run::{Fanin, Run, rule};

/// Uneven cuts along both axes, a run of elements, blocks of rows, a replicated tensor and one that
/// some ranks have nothing of.
const SPEC: &str = r#"
    mesh = [{ name = "dp", size = 2 }, { name = "tp", size = 2 }]
    [[rule]]
    match = "columns.*"
    placements = ["replicate", "shard(1)"]
    [[rule]]
    match = "grid.*"
    placements = ["shard(0)", "shard(1)"]
    [[rule]]
    match = "blocks.*"
    placements = ["strided_shard(0,split_factor=2)", "shard(0)"]
    [[rule]]
    match = "run.*"
    placements = ["flat", "replicate"]
    [[rule]]
    match = "one.*"
    placements = ["shard(0)", "shard(0)"]
    [[rule]]
    match = "*"
    placements = ["replicate", "replicate"]
"#;

const LIST: &[(&str, &[u64])] = &[
    ("columns.weight", &[256, 511]),
    ("grid.weight", &[129, 301]),
    ("blocks.weight", &[130, 64]),
    ("run.weight", &[101, 103]),
    ("one.bias", &[1]),
    ("all.weight", &[64, 128]),
    ("empty.weight", &[0, 4]),
];

/// A recipe whose initializers depend on the fans of the whole tensor and on the place in it.
fn recipe() -> String {
    [
        rule("columns.*", "kaiming_normal"),
        rule("grid.*", "orthogonal"),
        rule("blocks.*", "embedding(padding_idx=3)"),
        rule("run.*", "sparse(sparsity=0.3)"),
        rule("one.*", "constant(value=0.5)"),
        rule("all.*", "xavier_uniform"),
        rule("empty.*", "normal(std=1)"),
    ]
    .concat()
}

/// Writes the model whole and as rank files in `ranks/`, and returns the folder.
fn model() -> Run {
    let run = Run::new();
    run.list("list.json", LIST);
    run.write("spec.toml", SPEC);
    run.write("own.toml", recipe());
    init(&run, "whole.safetensors").ok();
    init(&run, "ranks/").and("--shard-spec spec.toml").ok();
    run
}

fn init<'a>(run: &'a Run, out: &str) -> Fanin<'a> {
    let init = run.cpu("init own.toml --seed 5").tensors("list.json");
    init.and("--out").arg(out)
}

fn rank(rank: u64) -> String {
    format!("ranks/model-rank-{rank:05}-of-00004.safetensors")
}

/// Returns the files of all ranks, and the folder.
fn all() -> Vec<String> {
    let files = (0..4).map(rank);
    files.chain(["ranks".to_owned()]).collect()
}

/// Changes a byte of a tensor's last element in a file.
fn flip(run: &Run, file: &str, tensor: &str) {
    let weights = Weights::open(run.path(file)).unwrap();
    let at = weights.get(tensor).unwrap().bytes().end as usize - 1;
    let mut bytes = run.read(file);
    bytes[at] ^= 1;
    fs::write(run.path(file), bytes).unwrap();
}

#[test]
fn the_case_of_one_tensor_and_four_ranks() {
    let run = Run::new();
    run.list("l.json", &[("down.weight", &[256, 512])]);
    run.write(
        "s.toml",
        "mesh = [{name = \"tp\", size = 4}]\n[[rule]]\nmatch = \"*\"\nplacements = [\"shard(1)\"]\n",
    );
    run.cpu("init kaiming --seed 5 --shard-spec s.toml --out tp/")
        .tensors("l.json")
        .ok();
    let file = "tp/model-rank-00001-of-00004.safetensors";
    run.cpu("verify --recipe kaiming --seed 5").arg(file).ok();
    let stats = run.fanin("stats --recipe kaiming").arg(file).ok();
    stats.says("0 of 1 tensor flagged");
    let diff = run
        .cpu("diff kaiming --seed 5 --json")
        .arg(file)
        .ok()
        .json();
    assert_eq!(diff["total"]["untouched_share"], 1.0);
    assert!(diff["total"]["cosine"].as_f64() > Some(0.999_999));
}

#[test]
fn rank_files_and_their_folder_are_verified() {
    let run = model();
    for file in all() {
        let verify = run.cpu("verify --recipe own.toml --seed 5").arg(&file);
        verify.ok().says("to the bit");
        verify.clone().and("--seed 5").tensors("list.json");
        let other = run
            .cpu("verify --recipe own.toml --seed 6 --json")
            .arg(&file);
        let found = other.ends(1).json();
        let tensors = found["tensors"].as_array().unwrap();
        let names = tensors
            .iter()
            .filter(|tensor| tensor["differing"] != 0)
            .map(|tensor| tensor["name"].as_str().unwrap());
        for name in names {
            assert!(
                name != "one.bias" && name != "empty.weight",
                "{file}: {name}"
            );
        }
        // With the list of the whole model, too.
        verify.tensors("list.json").ok();
    }
    // In a folder, elements are counted and named in the whole tensor, in every copy.
    let found = run
        .cpu("verify --recipe own.toml --seed 5 --json ranks")
        .ok()
        .json();
    let tensor = |name: &str| -> Value {
        let tensors = found["tensors"].as_array().unwrap();
        tensors
            .iter()
            .find(|it| it["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        tensor("grid.weight")["shape"],
        serde_json::json!([129, 301])
    );
    assert_eq!(tensor("grid.weight")["elements"], 129 * 301);
    assert_eq!(tensor("columns.weight")["elements"], 2 * 256 * 511);
    assert_eq!(tensor("all.weight")["elements"], 4 * 64 * 128);
}

#[test]
fn a_difference_is_found_in_every_copy() {
    for (file, tensor, place) in [
        // The last copy of a replicated tensor, which reading would not touch.
        (
            3,
            "all.weight",
            "element [63, 127] (8191 in row-major order)",
        ),
        (
            2,
            "columns.weight",
            "element [255, 255] (130560 in row-major order)",
        ),
        (
            3,
            "run.weight",
            "element [100, 102] (10402 in row-major order)",
        ),
        (
            1,
            "blocks.weight",
            "element [97, 63] (6271 in row-major order)",
        ),
    ] {
        let run = model();
        flip(&run, &rank(file), tensor);
        let verify = run.cpu("verify --recipe own.toml --seed 5");
        let folder = verify.clone().arg("ranks").ends(1);
        folder.says(&format!("{}: tensor {tensor:?}: {place}", rank(file)));
        folder.says(" 1 of its ");
        for other in 0..4 {
            let status = i32::from(other == file);
            verify.clone().arg(rank(other)).ends(status);
        }
    }
}

#[test]
fn statistics_are_those_of_the_parts() {
    let run = model();
    for file in all() {
        let rows = run
            .fanin("stats --recipe own.toml --json")
            .arg(&file)
            .ok()
            .json();
        for row in rows.as_array().unwrap() {
            assert_eq!(row["flags"], serde_json::json!([]), "{file}: {row}");
            if row["n"] != 0 {
                assert!(row["expected"].is_object(), "{file}: {row}");
            }
        }
        let plain = run.fanin("stats --json").arg(&file).ok().json();
        assert_eq!(plain.as_array().unwrap().len(), LIST.len());
        run.fanin("plot --recipe own.toml").arg(&file).ok();
    }
    // The whole of the folder has the statistics of one file.
    let json = |path| run.fanin("stats --json").arg(path).ok().json();
    let by_name = |rows: Value| {
        let mut rows = rows.as_array().unwrap().clone();
        rows.sort_by_key(|row| row["name"].to_string());
        rows
    };
    assert_eq!(by_name(json("ranks")), by_name(json("whole.safetensors")));

    // Other weights are still flagged.
    run.write("wide.toml", rule("*", "normal(std=3)"));
    let wide = run.cpu("init wide.toml --seed 5 --shard-spec spec.toml --out wide/");
    wide.tensors("list.json").ok();
    for file in all() {
        let file = file.replace("ranks", "wide");
        let rows = run
            .fanin("stats --recipe own.toml --json")
            .arg(&file)
            .ok()
            .json();
        for row in rows.as_array().unwrap() {
            let is_flagged = row["flags"]
                .as_array()
                .is_some_and(|flags| !flags.is_empty());
            // A part of one element may be anything.
            if row["n"].as_u64() > Some(1) {
                assert!(is_flagged, "{file}: {row}");
            }
        }
    }
}

#[test]
fn differences_are_those_of_the_parts() {
    let run = model();
    let same = |start: &str, trained: &str| {
        let diff = run.cpu("diff --json").arg(start).arg(trained);
        let diff = match start.ends_with(".toml") {
            true => diff.and("--seed 5"),
            false => diff,
        };
        let diff = diff.ok().json();
        assert_eq!(diff["total"]["untouched_share"], 1.0, "{start} {trained}");
        assert_eq!(diff["only_in_start"], serde_json::json!([]));
        assert_eq!(diff["only_in_trained"], serde_json::json!([]));
    };
    for file in all() {
        same("own.toml", &file);
        // Weights of the whole tensors, in one file and in the files of ranks.
        same("whole.safetensors", &file);
        same("ranks", &file);
        same(&file, &file);
    }
    same("ranks", "whole.safetensors");
    // Two ranks with other parts of a tensor cannot be compared, nor can a part with the whole.
    let refused = |start: &str, trained: &str| {
        run.fanin("diff").arg(start).arg(trained).refused(
            1,
            &[
                "is ",
                "at the start: compare it with a file of the same parts",
            ],
        );
    };
    refused(&rank(0), &rank(1));
    refused(&rank(0), "whole.safetensors");
    refused(&rank(0), "ranks");
    // A list with the shapes of the parts would give other fans.
    run.list("parts.json", &[("columns.weight", &[256, 256])]);
    run.cpu("diff own.toml --seed 5")
        .tensors("parts.json")
        .arg(rank(0))
        .refused(
            1,
            &[
                "\"columns.weight\"",
                "of shape [256, 511]",
                "[256, 256] is expected",
            ],
        );
}

#[test]
fn rank_files_are_lists_of_whole_tensors() {
    let run = model();
    let expected = run.read("whole.safetensors");
    let weights = |bytes: &[u8]| -> Vec<(String, Vec<u8>)> {
        let mut all: Vec<_> = SafeTensors::deserialize(bytes)
            .unwrap()
            .tensors()
            .into_iter()
            .map(|(name, tensor)| (name, tensor.data().to_vec()))
            .collect();
        all.sort();
        all
    };
    for file in all() {
        let list = read_tensor_list(run.path(&file)).unwrap();
        for tensor in list.tensors() {
            let (_, shape) = LIST.iter().find(|(name, _)| *name == tensor.name).unwrap();
            assert_eq!(tensor.shape.dims(), *shape, "{file}: {}", tensor.name);
        }
        let init = run.cpu("init own.toml --seed 5 --out again.safetensors");
        init.tensors(&file).ok();
        assert!(
            weights(&run.read("again.safetensors")) == weights(&expected),
            "{file}"
        );
        run.cpu("regenerate own.toml --seed 5 --tensor grid.weight --out grid.safetensors")
            .tensors(&file)
            .ok();
        run.cpu("diff whole.safetensors grid.safetensors").ok();
    }
}

/// The reader gathers any range of a whole tensor from the files of the ranks.
#[test]
fn any_range_of_a_folder_is_read() {
    let run = model();
    let whole = Weights::open(run.path("whole.safetensors")).unwrap();
    let ranks = Weights::open(run.path("ranks")).unwrap();
    assert_eq!(ranks.path(), run.path("ranks"));
    assert_eq!(ranks.metadata("seed"), Some("5"));
    assert_eq!(ranks.total_bytes(), whole.total_bytes());
    assert!(ranks.stored_bytes() > whole.total_bytes());
    let mut reader = Reader::new();
    for tensor in whole.tensors() {
        let same = ranks.get(tensor.name()).unwrap();
        assert_eq!((same.shape(), same.part()), (tensor.shape(), None));
        let bytes = tensor.total_bytes();
        let mut expected = vec![0; bytes as usize];
        reader.read(tensor, 0, &mut expected).unwrap();
        for (start, end) in [
            (0, bytes),
            (1, bytes),
            (bytes / 3 + 1, bytes / 2),
            (bytes, bytes),
        ] {
            let (start, end) = (start.min(bytes), end.max(start.min(bytes)));
            let mut out = vec![0; (end - start) as usize];
            reader.read(same, start, &mut out).unwrap();
            assert!(
                out == expected[start as usize..end as usize],
                "{}",
                tensor.name()
            );
        }
        assert!(reader.read(same, bytes, &mut [0]).is_err());
    }
}

#[test]
fn incomplete_and_mixed_folders_are_refused() {
    let verify = |run: &Run, texts: &[&str]| {
        let verify = run.cpu("verify --recipe own.toml --seed 5 ranks");
        verify.refused(1, texts);
        run.fanin("stats ranks").refused(1, texts);
        run.fanin("diff whole.safetensors ranks").refused(1, texts);
    };
    let run = model();
    fs::remove_file(run.path(&rank(2))).unwrap();
    verify(
        &run,
        &[
            "ranks: holds 3 of the files of 4 ranks: model-rank-00002-of-00004.safetensors is missing",
        ],
    );
    // That of another seed in its place.
    let init = run.cpu("init own.toml --seed 6 --shard-spec spec.toml --out other");
    init.tensors("list.json").ok();
    let other = run.read(&rank(2).replace("ranks", "other"));
    fs::write(run.path(&rank(2)), other).unwrap();
    verify(&run, &["is of another model", "seed as \"6\", not \"5\""]);
    // That of another rank.
    fs::copy(run.path(&rank(1)), run.path(&rank(2))).unwrap();
    verify(
        &run,
        &["has \"1\" as rank in its metadata, but its name says 2"],
    );
    // Two sets.
    fs::write(
        run.path("ranks/model-rank-00000-of-00002.safetensors"),
        run.read(&rank(0)),
    )
    .unwrap();
    verify(&run, &["rank files of several models, of 2 and of 4 ranks"]);
}

#[test]
fn false_metadata_of_parts_is_refused() {
    let run = Run::new();
    let file = |shape: &str, slice: &str| {
        let header = serde_json::json!({
            "__metadata__": {"shape:w": shape, "slice:w": slice},
            "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        });
        run.write(
            "w.safetensors",
            crate::run::safetensors(&header.to_string(), 24),
        );
    };
    run.recipe("own.toml", "zeros");
    let verify = run.cpu("verify w.safetensors --recipe own.toml --seed 1");
    file("[4, 3]", "2:4,0:3");
    verify.ok();
    for (shape, slice, text) in [
        (
            "[4, 3]",
            "0:3,0:3",
            "the part 0:3,0:3 that its metadata names has [3, 3]",
        ),
        ("[4, 3]", "3:5,0:3", "does not lie within shape [4, 3]"),
        ("[4, 3]", "2:4", "has 1 ranges, shape [4, 3] needs 2"),
        ("[4, 3]", "flat 0:6", "has [6]"),
        ("[4, 3]", "flat 10:16", "does not lie within shape [4, 3]"),
        ("[4, 3]", "a,b", "write start:end"),
        ("[4.5, 3]", "0:2,0:3", "a list of whole numbers"),
        ("4, 3", "0:2,0:3", "a list of whole numbers"),
        ("[4, 1125899906842624]", "0:2,0:3", "more than 2^50"),
    ] {
        file(shape, slice);
        let texts = ["w.safetensors: tensor \"w\": ", text];
        verify.refused(1, &texts);
        run.fanin("stats w.safetensors").refused(1, &texts);
        run.fanin("diff w.safetensors w.safetensors")
            .refused(1, &texts);
    }
    let half = serde_json::json!({
        "__metadata__": {"slice:w": "0:2,0:3"},
        "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    });
    run.write(
        "w.safetensors",
        crate::run::safetensors(&half.to_string(), 24),
    );
    verify.refused(1, &["has metadata slice:NAME without shape:NAME"]);
}

#[test]
fn files_of_slices_tell_the_whole_tensors() {
    let run = Run::new();
    run.recipe("own.toml", "kaiming_normal");
    run.list("list.json", &[("a", &[40, 30]), ("b", &[50, 20])]);
    run.cpu("regenerate own.toml --seed 42 --tensor * --slice 3:7,: --out rows.safetensors")
        .tensors("list.json")
        .ok();
    run.cpu("regenerate own.toml --seed 42 --tensor b --slice :,: --out whole.safetensors")
        .tensors("list.json")
        .ok();
    run.cpu("fill --init kaiming_normal --name a --seed 42 --shape 40,30 --slice 5:9,2:")
        .and("--out part.safetensors")
        .ok();
    for file in ["rows.safetensors", "whole.safetensors", "part.safetensors"] {
        run.cpu("verify --recipe own.toml --seed 42").arg(file).ok();
        run.cpu("verify --recipe own.toml --seed 41")
            .arg(file)
            .ends(1);
        let stats = run.fanin("stats --recipe own.toml").arg(file).ok();
        stats.says("0 of ");
        let diff = run
            .cpu("diff own.toml --seed 42 --json")
            .arg(file)
            .ok()
            .json();
        assert_eq!(diff["total"]["untouched_share"], 1.0, "{file}");
        run.fanin("plot --recipe own.toml").arg(file).ok();
    }
    let rows = SafeTensors::read_metadata(&run.read("rows.safetensors"))
        .unwrap()
        .1;
    let metadata = rows.metadata().clone().unwrap();
    assert_eq!(metadata["slice"], "3:7,:");
    assert_eq!(metadata["slice:b"], "3:7,0:20");
    assert_eq!(metadata["shape:b"], "[50, 20]");
    // Two slices of one whole.
    run.fanin("diff rows.safetensors part.safetensors").refused(
        1,
        &["is part 5:9,2:30 of shape [40, 30], but part 3:7,0:30"],
    );
}

#[test]
fn interrupted_ranks_are_resumed() {
    let run = model();
    let resume = || init(&run, "ranks/").and("--shard-spec spec.toml --resume");
    let modified = |file: u64| {
        fs::metadata(run.path(&rank(file)))
            .unwrap()
            .modified()
            .unwrap()
    };
    let before = [0, 2, 3].map(modified);
    flip(&run, &rank(1), "grid.weight");
    resume().ok();
    run.cpu("verify --recipe own.toml --seed 5 ranks").ok();
    fs::remove_file(run.path(&rank(1))).unwrap();
    resume().ok();
    run.cpu("verify --recipe own.toml --seed 5 ranks").ok();
    assert_eq!([0, 2, 3].map(modified), before);
}

/// Writes a tensor in the files of two ranks, to the folder `ranks`.
fn two_ranks() -> Run {
    let run = Run::new();
    run.write(
        "list.json",
        r#"{"tensors": [{"name": "w.weight", "shape": [8, 4]}]}"#,
    );
    run.write(
        "spec.toml",
        "mesh = [{ name = \"tp\", size = 2 }]\n[[rule]]\nmatch = \"*\"\nplacements = [\"shard(0)\"]\n",
    );
    run.fanin("init kaiming --seed 1 --shard-spec spec.toml --out ranks/")
        .tensors("list.json")
        .ok();
    run
}

#[test]
fn a_rank_file_without_its_metadata_is_refused() {
    let run = two_ranks();
    let name = "ranks/model-rank-00000-of-00002.safetensors";
    // As a trainer saves it: the same tensors, no metadata.
    let file = fs::read(run.path(name)).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let anew = safetensors::serialize(tensors.tensors(), None).unwrap();
    run.write(name, &anew);
    for command in [
        "verify --recipe kaiming --seed 1",
        "diff --seed 1 kaiming",
        "stats",
    ] {
        let command = run.fanin(command).arg(name);
        command.refused(
            1,
            &["has the name of a rank's file, but its metadata does not tell"],
        );
    }
}

#[test]
fn a_single_file_does_not_hide_the_files_of_ranks() {
    let run = two_ranks();
    run.fanin("regenerate kaiming --seed 1 --tensor w.weight --out ranks/model.safetensors")
        .tensors("list.json")
        .ok();
    run.fanin("verify ranks --recipe kaiming --seed 1")
        .refused(1, &["holds model.safetensors and files of 2 ranks"]);
    run.fanin("verify ranks/model.safetensors --recipe kaiming --seed 1")
        .ok();
}
