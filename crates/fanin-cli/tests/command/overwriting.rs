//! Files that exist are not replaced, unless `--overwrite` allows it or nothing would change.

use std::fs;

use crate::run::{FILL, Run};

/// Commands that write a file, and two ways to call them that give other contents.
const COMMANDS: [(&str, &str, &str, &str); 6] = [
    (
        "init kaiming --tensors list.json",
        "w.safetensors",
        "--seed 1",
        "--seed 2",
    ),
    (FILL, "w.npy", "--shape 40,30", "--shape 30,40"),
    (FILL, "w.bin", "--shape 40,30", "--shape 40,30 --dtype f16"),
    (
        "regenerate kaiming --tensors list.json --tensor a.weight",
        "part.safetensors",
        "--seed 1",
        "--seed 2",
    ),
    (
        "plot model.safetensors",
        "w.svg",
        "--tensor a.weight",
        "--tensor b.weight",
    ),
    (
        "signal --width 8 --depth 3 --batch 2",
        "s.png",
        "--seed 1",
        "--seed 2",
    ),
];

fn with_model() -> Run {
    let run = Run::new();
    run.list(
        "list.json",
        &[("a.weight", &[30, 20]), ("b.weight", &[20, 30])],
    );
    run.cpu("init kaiming --tensors list.json --seed 5 --out model.safetensors")
        .ok();
    run
}

#[test]
fn a_file_is_replaced_only_on_request() {
    let run = with_model();
    for (command, out, one, other) in COMMANDS {
        let call = |more: &str| {
            let takes_backend = !command.starts_with("plot") && !command.starts_with("signal");
            let base = if takes_backend {
                run.cpu(command)
            } else {
                run.fanin(command)
            };
            base.and(more).and("--out").arg(out)
        };
        call(one).ok();
        let held = run.read(out);
        // The same contents are no reason to refuse.
        call(one).ok();
        assert!(run.read(out) == held, "{command}");
        let ended = call(other).ends(1);
        let size = held.len().to_string();
        for text in ["cannot replace: it holds ", size.as_str(), "overwrite"] {
            ended.says(text);
        }
        assert!(run.read(out) == held, "{command}");
        call(other).and("--overwrite").ok();
        assert!(run.read(out) != held, "{command}");
    }
}

#[test]
fn the_message_counts_what_stands_there() {
    let run = with_model();
    let trained = run.read("model.safetensors");
    let init = |more: &str| {
        let init = run.cpu("init kaiming --tensors list.json --seed 6 --out");
        init.arg("model.safetensors").and(more)
    };
    let text = format!(
        "model.safetensors: cannot replace: it holds 2 tensors, {} bytes",
        trained.len()
    );
    for more in ["", "--resume"] {
        init(more).refused(1, &[&text]);
    }
    // A damaged file of the same run is repaired by --resume only.
    let same = || run.cpu("init kaiming --tensors list.json --seed 5 --out model.safetensors");
    let mut damaged = trained.clone();
    *damaged.last_mut().unwrap() ^= 1;
    run.write("model.safetensors", &damaged);
    same().refused(1, &[&text]);
    same().and("--resume").ok();
    assert!(run.read("model.safetensors") == trained);
}

#[test]
fn the_source_is_never_the_output() {
    let run = with_model();
    for more in ["", "--overwrite", "--resume"] {
        run.cpu("init kaiming --tensors model.safetensors --seed 5 --out ./model.safetensors")
            .and(more)
            .refused(2, &["this file is the source of the tensors"]);
    }
    run.cpu("regenerate kaiming --tensors model.safetensors --seed 5 --tensor a.weight --overwrite --out")
        .arg("model.safetensors")
        .refused(2, &["this file is the source of the tensors"]);
}

#[test]
fn a_file_of_the_source_is_never_the_output() {
    let run = with_model();
    let init = run.cpu("init kaiming --tensors list.json --seed 1 --max-shard-size 2400 --out m/");
    init.ok();
    let index = "m/model.safetensors.index.json";
    let shard = "m/model-00002-of-00002.safetensors";
    let before = run.read(shard);
    for list in ["m", index] {
        let some = format!(
            "regenerate kaiming --tensors {list} --seed 5 --tensor a.weight --overwrite --out"
        );
        run.cpu(&some)
            .arg(shard)
            .refused(2, &["this file is the source of the tensors"]);
        // Another file in that folder is none of the model's.
        run.cpu(&some).arg("m/a.npy").ok();
    }
    assert!(run.read(shard) == before);
    // A file of a rank whose elements are all in the file of another one, too.
    run.write(
        "spec.toml",
        "mesh = [{ name = \"dp\", size = 2 }]\n[[rule]]\nmatch = \"*\"\nplacements = [\"replicate\"]\n",
    );
    let init = run.cpu("init kaiming --tensors list.json --seed 1 --shard-spec spec.toml --out r");
    init.ok();
    let second = "r/model-rank-00001-of-00002.safetensors";
    let before = run.read(second);
    let init = "init kaiming --tensors r --seed 5 --overwrite --out";
    run.cpu(init).arg(second).refused(2, &["is read"]);
    run.cpu("regenerate kaiming --tensors r --seed 5 --tensor a.weight --overwrite --out")
        .arg(second)
        .refused(2, &["this file is the source of the tensors"]);
    assert!(run.read(second) == before);
}

#[test]
fn an_index_of_another_program_is_not_replaced() {
    let run = with_model();
    let index = "m/model.safetensors.index.json";
    let init = |more: &str| {
        let init = run.cpu("init kaiming --tensors list.json --max-shard-size 2400 --out m/");
        init.and(more)
    };
    let two = "--rank 0 --world-size 2";
    let foreign: [&[u8]; 3] = [
        br#"{"metadata":{},"weight_map":{"a":"x-00001.safetensors"}}"#,
        br#"{"weight_map":{"fanin":"model-00001-of-00002.safetensors"}}"#,
        b"notes",
    ];
    for other in foreign {
        fs::create_dir(run.path("m")).unwrap();
        run.write(index, other);
        for more in ["", "--resume", two] {
            let text = "model.safetensors.index.json: cannot replace: it holds";
            let init = init("--seed 1").and(more);
            init.refused(1, &[text, "overwrite"]);
            assert_eq!(run.read(index), other);
            assert_eq!(fs::read_dir(run.path("m")).unwrap().count(), 1);
        }
        init("--seed 1 --overwrite").ok();
        assert!(run.read(index) != other);
        fs::remove_dir_all(run.path("m")).unwrap();
    }
    init("--seed 1").ok();
    let (own, shard) = (run.read(index), "m/model-00001-of-00002.safetensors");
    // fanin's own index with a changed bit is repaired, wherever the bit is.
    for at in (0..own.len()).step_by(5) {
        let mut damaged = own.clone();
        damaged[at] ^= 4;
        run.write(index, &damaged);
        init("--seed 1 --resume").ok();
        assert!(run.read(index) == own, "{at}");
    }
    // One of another seed is replaced if none of its shards is there, and refused for its shards otherwise.
    init("--seed 2").refused(1, &[shard, "cannot replace"]);
    assert!(run.read(index) == own);
    for number in ["1", "2"] {
        fs::remove_file(run.path(&format!("m/model-0000{number}-of-00002.safetensors"))).unwrap();
    }
    init("--seed 2").ok();
    assert!(run.read(index) != own);
}

#[test]
fn shards_are_looked_at_before_any_is_written() {
    let run = with_model();
    let init = |seed: &str| {
        run.cpu("init kaiming --tensors list.json --max-shard-size 2400 --out m/ --seed")
            .arg(seed)
    };
    init("1").ok();
    let files = || {
        let mut names: Vec<_> = fs::read_dir(run.path("m")).unwrap().collect();
        names.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
        names
            .into_iter()
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect::<Vec<_>>()
    };
    let before = files();
    assert_eq!(before.len(), 3);
    // Only the last shard is of another model.
    let last = "m/model-00002-of-00002.safetensors";
    let own = run.read(last);
    run.write(last, "trained");
    init("1").refused(1, &["cannot replace: it holds 7 bytes"]);
    assert_eq!(run.read(last), b"trained");
    run.write(last, own);
    init("1").ok();
    init("2").refused(
        1,
        &["model-00001-of-00002.safetensors: cannot replace: it holds 1 tensor"],
    );
    assert!(files() == before);
    init("2").and("--overwrite").ok();
    assert!(files() != before);
}
