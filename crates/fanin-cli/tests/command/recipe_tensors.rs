//! A recipe that names its list of tensors needs no `--tensors`.

use std::fs;

use crate::run::Run;

const LIST: &str =
    r#"[{"name": "fc.weight", "shape": [32, 16]}, {"name": "fc.bias", "shape": [32]}]"#;

/// Returns a folder with a recipe `models/own.toml` that names `models/list.json`.
fn with_recipe() -> Run {
    let run = Run::new();
    fs::create_dir(run.path("models")).unwrap();
    run.write("models/list.json", LIST);
    run.write(
        "models/own.toml",
        "extends = \"kaiming\"\ntensors = \"list.json\"\nseed = 7\n",
    );
    run
}

#[test]
fn every_command_takes_the_list_of_the_recipe() {
    let run = with_recipe();
    let rows = |arguments: &str| run.fanin(arguments).ok().stdout;
    assert_eq!(
        rows("plan models/own.toml --json"),
        rows("plan models/own.toml --tensors models/list.json --json")
    );
    run.cpu("init models/own.toml --out own.safetensors").ok();
    run.cpu("init models/own.toml --tensors models/list.json --out given.safetensors")
        .ok();
    assert!(run.read("own.safetensors") == run.read("given.safetensors"));
    run.cpu("regenerate models/own.toml --tensor fc.bias --out bias.safetensors")
        .ok();
    // The file holds a part of the model, and the list the whole.
    run.cpu("verify bias.safetensors --recipe models/own.toml")
        .ok()
        .says("tensor \"fc.weight\" is not in the file");
    let diff = run.cpu("diff models/own.toml bias.safetensors --json").ok();
    assert_eq!(diff.json()["only_in_start"][0], "fc.weight");
}

#[test]
fn the_list_of_the_arguments_has_precedence() {
    let run = with_recipe();
    run.list("other.json", &[("head.weight", &[4, 4])]);
    let plan = run
        .fanin("plan models/own.toml --tensors other.json --json")
        .ok()
        .json();
    assert_eq!(plan["tensors"][0]["name"], "head.weight");
}

#[test]
fn a_missing_list_is_an_error_of_usage() {
    let run = with_recipe();
    run.recipe("other.toml", "normal");
    run.fanin("plan other.toml").refused(
        2,
        &["no list of tensors: give --tensors SOURCE, or write `tensors = \"FILE\"` in other.toml"],
    );
    // Nobody can write into a preset.
    let ended = run.fanin("plan kaiming").ends(2);
    assert_eq!(
        ended.stderr,
        "fanin: error: no list of tensors: give --tensors SOURCE\n"
    );
    fs::remove_file(run.path("models/list.json")).unwrap();
    run.cpu("init models/own.toml --out w.safetensors")
        .refused(1, &["models/list.json: cannot open"]);
}
