//! `fanin regenerate` makes any tensor, slice and dtype of a model from recipe and seed, with the
//! bits of the whole model.

use fanin::checkpoint::read_tensor_list;
use fanin::{DType, Fill, Recipe, cpu};
use safetensors::SafeTensors;

use crate::run::{Fanin, Run, model};

fn plan() -> fanin::Plan {
    let list = read_tensor_list(model("mlp-mnist.json")).unwrap();
    let recipe = Recipe::preset("torch").unwrap();
    recipe.resolve(&list, Some(42), None).unwrap()
}

fn bytes(fill: &Fill) -> Vec<u8> {
    let mut out = vec![0; fill.bytes() as usize];
    cpu::fill(fill, &mut out).unwrap();
    out
}

#[test]
fn plans_select_tensors_by_name_and_glob() {
    let plan = plan();
    assert_eq!(plan.fill("2.bias"), Some(&plan.entries[3].fill));
    assert_eq!(plan.fill("2.*"), None);
    let names = |pattern: &str| -> Vec<String> {
        let fills = plan.select(pattern).unwrap();
        fills.iter().map(|fill| fill.name().to_owned()).collect()
    };
    assert_eq!(names("2.bias"), ["2.bias"]);
    assert_eq!(names("[24].weight"), ["2.weight", "4.weight"]);
    assert_eq!(names("*").len(), 6);
    for (pattern, text) in [
        (
            "2.bia",
            "unknown tensor \"2.bia\": use a name or a glob that matches one of the 6 tensors, \
             as in \"0.weight\"",
        ),
        ("[", "unknown tensor \"[\": \"[\" is not a glob"),
    ] {
        let error = plan.select(pattern).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

/// Returns a command that makes tensors of the model.
fn regenerate<'a>(run: &'a Run, more: &str) -> Fanin<'a> {
    run.cpu("regenerate torch --seed 42")
        .tensors(model("mlp-mnist.json"))
        .and(more)
}

#[test]
fn the_command_makes_one_tensor_or_many() {
    let run = Run::new();
    let plan = plan();
    let weight = plan.fill("2.weight").unwrap();
    let one = |more: &str| regenerate(&run, "--tensor 2.weight").and(more).ok();
    assert_eq!(one("--out -").stdout, bytes(weight));
    let rows = weight.clone().slice([10..20, 0..512]).unwrap();
    let ended = one("--out rows.bin --slice 10:20,: --dtype bf16");
    let line = "fanin: 5,120 elements in 1 tensor: 10.24 kB in ";
    assert!(ended.stderr.starts_with(line), "{}", ended.stderr);
    assert_eq!(
        run.read("rows.bin"),
        bytes(&rows.clone().with_dtype(DType::BF16))
    );
    one("--out rows.npy --slice 10:20,:");
    assert_eq!(run.read("rows.npy")[128..], bytes(&rows));
    one("--out null:");

    regenerate(&run, "--tensor *.bias --tensor 2.* --out some.safetensors").ok();
    let file = run.read("some.safetensors");
    let read = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(read.len(), 4);
    for name in ["0.bias", "2.bias", "4.bias", "2.weight"] {
        assert_eq!(
            read.tensor(name).unwrap().data(),
            bytes(plan.fill(name).unwrap())
        );
    }
    // `fanin verify` accepts the files.
    let verify = |file| {
        let verify = run.cpu("verify --recipe torch --seed 42").arg(file);
        verify.tensors(model("mlp-mnist.json")).ok()
    };
    verify("some.safetensors");
    regenerate(
        &run,
        "--tensor *.weight --slice 3:7,: --out rows.safetensors",
    )
    .ok();
    let file = run.read("rows.safetensors");
    let read = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(read.tensor("0.weight").unwrap().shape(), [4, 784]);
    assert_eq!(read.tensor("4.weight").unwrap().shape(), [4, 256]);
    verify("rows.safetensors");
}

#[test]
fn invalid_requests_are_refused() {
    let run = Run::new();
    for (more, texts) in [
        (
            "--tensor x.* --out a.bin",
            &["unknown tensor \"x.*\"", "6 tensors"][..],
        ),
        (
            "--tensor * --out a.bin",
            &[
                "--out \"a.bin\" holds one tensor",
                "selects 6",
                "use a .safetensors file",
            ],
        ),
        (
            "--tensor * --out a.txt",
            &["\"a.txt\"", ".npy, .safetensors or .bin"],
        ),
        (
            "--tensor * --slice 0:1,: --out a.safetensors",
            &["tensor \"0.bias\"", "has 2 ranges"],
        ),
        (
            "--tensor 2.bias --dtype bf16 --out a.npy",
            &["npy cannot hold bf16"],
        ),
    ] {
        regenerate(&run, more).refused(2, texts);
    }
    run.cpu("regenerate torch --tensor * --out null:")
        .tensors(model("mlp-mnist.json"))
        .refused(2, &["no seed: give --seed N"]);
}
