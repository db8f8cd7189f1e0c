//! `fanin regenerate`: any tensor, slice and dtype of a model from recipe and seed alone, with the
//! bits that the whole model has there.

use fanin::checkpoint::read_tensor_list;
use fanin::{DType, Fill, Recipe, cpu};
use safetensors::SafeTensors;

use crate::run::{Run, model};

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
fn a_plan_is_looked_up_by_name_and_glob() {
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
            "unknown tensor \"2.bia\": use a name or a glob that matches one of the 6 tensors, as in \"0.weight\"",
        ),
        ("[", "unknown tensor \"[\": \"[\" is not a glob"),
    ] {
        let error = plan.select(pattern).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

/// `fanin regenerate` of the model, on the CPU.
fn regenerate<'a>(list: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let base = [
        "regenerate",
        "torch",
        "--tensors",
        list,
        "--seed",
        "42",
        "--backend",
        "cpu",
    ];
    [&base[..], more].concat()
}

#[test]
fn the_command_makes_one_tensor_or_many() {
    let run = Run::new();
    let list = model("mlp-mnist.json");
    let list = list.to_str().unwrap();
    let plan = plan();
    let weight = plan.fill("2.weight").unwrap();
    let one = |more: &[&'static str]| {
        run.ok(&regenerate(
            list,
            &[&["--tensor", "2.weight"], more].concat(),
        ))
    };
    assert_eq!(one(&["--out", "-"]).stdout, bytes(weight));
    let rows = weight.clone().slice([10..20, 0..512]).unwrap();
    let ended = one(&["--out", "rows.bin", "--slice", "10:20,:", "--dtype", "bf16"]);
    let line = "fanin: 5,120 elements in 1 tensor: 10.24 kB in ";
    assert!(ended.stderr.starts_with(line), "{}", ended.stderr);
    assert_eq!(
        run.read("rows.bin"),
        bytes(&rows.clone().with_dtype(DType::BF16))
    );
    one(&["--out", "rows.npy", "--slice", "10:20,:"]);
    assert_eq!(run.read("rows.npy")[128..], bytes(&rows));
    one(&["--out", "null:"]);

    let some = [
        "--tensor",
        "*.bias",
        "--tensor",
        "2.*",
        "--out",
        "some.safetensors",
    ];
    run.ok(&regenerate(list, &some));
    let file = run.read("some.safetensors");
    let read = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(read.len(), 4);
    for name in ["0.bias", "2.bias", "4.bias", "2.weight"] {
        assert_eq!(
            read.tensor(name).unwrap().data(),
            bytes(plan.fill(name).unwrap())
        );
    }
    // What it makes is what `verify` finds.
    let verify = |file| {
        run.ok(&[
            "verify",
            file,
            "--recipe",
            "torch",
            "--seed",
            "42",
            "--tensors",
            list,
            "--backend",
            "cpu",
        ])
    };
    verify("some.safetensors");
    run.ok(&regenerate(
        list,
        &[
            "--tensor",
            "*.weight",
            "--slice",
            "3:7,:",
            "--out",
            "rows.safetensors",
        ],
    ));
    let file = run.read("rows.safetensors");
    let read = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(read.tensor("0.weight").unwrap().shape(), [4, 784]);
    assert_eq!(read.tensor("4.weight").unwrap().shape(), [4, 256]);
    verify("rows.safetensors");
}

#[test]
fn what_cannot_be_made_is_refused() {
    let run = Run::new();
    let list = model("mlp-mnist.json");
    let list = list.to_str().unwrap();
    for (more, status, texts) in [
        (
            &["--tensor", "x.*", "--out", "a.bin"][..],
            2,
            &["unknown tensor \"x.*\"", "6 tensors"][..],
        ),
        (
            &["--tensor", "*", "--out", "a.bin"],
            2,
            &["\"a.bin\": 6 tensors go to a .safetensors file"],
        ),
        (
            &["--tensor", "*", "--out", "a.txt"],
            2,
            &["\"a.txt\"", ".npy, .safetensors or .bin"],
        ),
        (
            &[
                "--tensor",
                "*",
                "--slice",
                "0:1,:",
                "--out",
                "a.safetensors",
            ],
            2,
            &["tensor \"0.bias\"", "has 2 ranges"],
        ),
        (
            &["--tensor", "2.bias", "--dtype", "bf16", "--out", "a.npy"],
            2,
            &["npy cannot hold bf16"],
        ),
    ] {
        run.refused(&regenerate(list, more), status, texts);
    }
    let mut without_seed = regenerate(list, &["--tensor", "*", "--out", "null:"]);
    without_seed.drain(4..6);
    run.refused(&without_seed, 2, &["no seed: give --seed N"]);
}
