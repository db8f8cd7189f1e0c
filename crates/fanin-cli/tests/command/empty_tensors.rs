//! Tensors without elements pass through every file format.

use fanin::checkpoint::{self, read_tensor_list};
use serde_json::Value;

use crate::run::Run;

#[test]
fn files_hold_empty_tensors() {
    let run = Run::new();
    run.write(
        "list.json",
        r#"{"tensors": [{"name": "a", "shape": [0, 3]}, {"name": "w", "shape": [2]},
            {"name": "half", "shape": [5, 0], "dtype": "bf16"}, {"name": "z", "shape": [0]}]}"#,
    );
    run.recipe("all.toml", "normal");
    let init = |source: &str, out: &str| {
        let init = run.cpu("init all.toml --seed 1").tensors(source);
        init.and("--out").arg(out).ok()
    };
    init("list.json", "model.safetensors");
    let file = run.read("model.safetensors");
    let read = safetensors::SafeTensors::deserialize(&file).unwrap();
    assert_eq!(read.tensor("a").unwrap().shape(), [0, 3]);
    assert_eq!(read.tensor("half").unwrap().shape(), [5, 0]);
    assert!(read.tensor("half").unwrap().data().is_empty());
    assert_eq!(read.tensor("w").unwrap().data().len(), 8);

    // The file serves as a list again.
    let list = read_tensor_list(run.path("model.safetensors")).unwrap();
    assert_eq!(list.elements(), 2);
    assert_eq!(list.tensors()[0].shape.dims(), [0, 3]);
    init("model.safetensors", "again.safetensors");
    assert!(file == run.read("again.safetensors"));

    // A model whose only tensor is empty.
    run.list("none.json", &[("a", &[0])]);
    init("none.json", "none.safetensors");
    assert_eq!(
        checkpoint::stats(run.path("none.safetensors")).unwrap()[0].n,
        0
    );

    let json = run.fanin("stats --json model.safetensors").ok().json();
    assert_eq!(
        (&json[0]["n"], &json[0]["mean"]),
        (&Value::from(0), &Value::Null)
    );
    let ended = run.fanin("stats model.safetensors").ok();
    assert_eq!(
        ended.rows()[1].join(" "),
        "a [0, 3] f32 0 - - - - - - - - - - 0 - -"
    );
}

#[test]
fn one_empty_tensor_is_written_in_every_format() {
    let run = Run::new();
    for (out, bytes) in [("w.npy", 128), ("w.bin", 0), ("w.safetensors", 0)] {
        run.cpu("fill --init orthogonal --shape 4,0 --name w --seed 1 --out")
            .arg(out)
            .ok();
        let written = run.read(out);
        if out == "w.safetensors" {
            let read = safetensors::SafeTensors::deserialize(&written).unwrap();
            assert_eq!(read.tensor("w").unwrap().shape(), [4, 0]);
        } else {
            assert_eq!(written.len(), bytes, "{out}");
        }
    }
    let array = checkpoint::stats(run.path("w.npy")).unwrap();
    assert_eq!((&array[0].shape[..], array[0].n), (&[4, 0][..], 0));
}
