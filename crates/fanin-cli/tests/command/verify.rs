//! `fanin verify` detects every flipped bit, names the element that differs, and accepts the
//! weights of every backend.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use fanin::checkpoint::{self, Contents, Verification, Weights, Writer, silent};
use fanin::{DType, Error, Fill, Init, Recipe, Tensor, TensorList, cpu};
use serde_json::Value;
use tempfile::tempdir;

use crate::devices::devices;
use crate::run::{FILL, Fanin, Run, model, rule, safetensors};

const DTYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

fn fill(name: &str, dims: &[u64], init: &Init, dtype: DType) -> Fill {
    let tensor = Tensor::new(name, dims).unwrap();
    Fill::new(&tensor, init, 42).unwrap().with_dtype(dtype)
}

fn normal(name: &str, dims: &[u64], dtype: DType) -> Fill {
    fill(name, dims, &Init::normal(0.0, 1.0), dtype)
}

fn write(path: &Path, fills: &[Fill]) {
    let contents = Contents::safetensors(fills, &[]).unwrap();
    let writer = Writer::default().with_overwrite(true);
    let saved = writer.save(path, &contents, &mut cpu::fill_range, &mut silent);
    saved.unwrap();
}

fn verify(path: &Path, fills: &[Fill]) -> fanin::Result<Verification> {
    let weights = Weights::open(path)?;
    checkpoint::verify(&weights, fills, &mut cpu::fill_range, &mut silent)
}

fn flip(path: &Path, byte: u64, bit: u8) {
    let mut file = fs::read(path).unwrap();
    file[byte as usize] ^= 1 << bit;
    fs::write(path, file).unwrap();
}

/// Writes two shards and their index to a folder.
fn sharded(folder: &Path, shards: [&[Fill]; 2]) -> PathBuf {
    let mut map = Vec::new();
    for (i, fills) in shards.into_iter().enumerate() {
        let name = format!("model-0000{}-of-00002.safetensors", i + 1);
        write(&folder.join(&name), fills);
        map.extend(
            fills
                .iter()
                .map(|fill| format!("{:?}: {name:?}", fill.name())),
        );
    }
    let index = format!(r#"{{"weight_map": {{{}}}}}"#, map.join(", "));
    fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
    folder.to_owned()
}

#[test]
fn every_bit_of_a_file_counts() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let fills = [
        normal("a", &[2, 3], DType::F32),
        normal("b", &[3], DType::F16),
        normal("c", &[], DType::BF16),
    ];
    write(&path, &fills);
    assert!(verify(&path, &fills).unwrap().is_same());
    let bytes = fs::metadata(&path).unwrap().len();
    for byte in 0..bytes {
        for bit in 0..8 {
            flip(&path, byte, bit);
            // Most changes of the header are errors. Some give other names or shapes.
            let found = verify(&path, &fills).is_ok_and(|found| found.is_same());
            assert!(!found, "bit {bit} of byte {byte} of {bytes} was not missed");
            flip(&path, byte, bit);
        }
    }
    assert!(verify(&path, &fills).unwrap().is_same());
}

#[test]
fn a_flipped_bit_is_named_in_every_dtype_and_shard() {
    for dtype in DTYPES {
        let folder = tempdir().unwrap();
        let fills = [
            normal("a.weight", &[30, 40], dtype),
            normal("a.bias", &[30], dtype),
            normal("b.weight", &[2, 3, 1000], dtype),
        ];
        let path = sharded(folder.path(), [&fills[..2], &fills[2..]]);
        let found = verify(&path, &fills).unwrap();
        assert!(found.is_same(), "{found:?}");
        let weights = Weights::open(&path).unwrap();
        assert_eq!(found.bytes, (1200 + 30 + 6000) * dtype.size());
        for (name, flat, index) in [
            ("a.weight", 0, vec![0, 0]),
            ("a.weight", 1199, vec![29, 39]),
            ("a.bias", 17, vec![17]),
            ("b.weight", 4321, vec![1, 1, 321]),
        ] {
            let tensor = weights.get(name).unwrap();
            for byte in 0..dtype.size() {
                let at = tensor.bytes().start + flat * dtype.size() + byte;
                flip(tensor.file(), at, 5);
                let found = verify(&path, &fills).unwrap();
                let (tensor_found, difference) = found.first_difference().unwrap();
                assert_eq!(tensor_found.name, name);
                assert_eq!((tensor_found.differing, tensor_found.close), (1, 0));
                assert_eq!((difference.flat, &difference.index), (flat, &index));
                let flipped = difference.stored.bits ^ difference.expected.bits;
                assert_eq!(flipped, 1 << (8 * byte + 5));
                let differing: u64 = found.tensors.iter().map(|t| t.differing).sum();
                assert_eq!(differing, 1);
                flip(tensor.file(), at, 5);
            }
        }
        assert!(verify(&path, &fills).unwrap().is_same());
    }
}

#[test]
fn differing_elements_are_counted_by_tensor() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let fills = [
        normal("a", &[100], DType::F32),
        normal("b", &[100], DType::F32),
        fill("z", &[4], &Init::zeros(), DType::F32),
    ];
    write(&path, &fills);
    let mut file = fs::read(&path).unwrap();
    let weights = Weights::open(&path).unwrap();
    let mut put = |name: &str, element: u64, value: f32| {
        let at = (weights.get(name).unwrap().bytes().start + 4 * element) as usize;
        file[at..at + 4].copy_from_slice(&value.to_le_bytes());
    };
    for element in 40..70 {
        put("b", element, f32::NAN);
    }
    // +0 and -0 are different bits.
    put("z", 2, -0.0);
    fs::write(&path, file).unwrap();
    let found = verify(&path, &fills).unwrap();
    let counts: Vec<u64> = found.tensors.iter().map(|t| t.differing).collect();
    assert_eq!(counts, [0, 30, 1]);
    let (tensor, first) = found.first_difference().unwrap();
    assert_eq!((tensor.name.as_str(), first.flat), ("b", 40));
    assert!(first.stored.value().is_nan());
    let zero = found.tensors[2].first.as_ref().unwrap();
    assert_eq!(
        zero.to_string(),
        "element [2] (2 in row-major order) is -0.0 (0x80000000), not 0.0 (0x00000000)"
    );
}

#[test]
fn a_tensor_larger_than_a_piece_is_compared_to_its_end() {
    // A piece has 32 MiB.
    let folder = tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let fills = [normal("w", &[70 << 18], DType::F16)];
    write(&path, &fills);
    assert!(verify(&path, &fills).unwrap().is_same());
    let end = fs::metadata(&path).unwrap().len();
    flip(&path, end - 1, 0);
    flip(&path, end - 2, 0);
    flip(&path, end - 1000, 0);
    let found = verify(&path, &fills).unwrap();
    let (tensor, first) = found.first_difference().unwrap();
    assert_eq!((tensor.differing, first.flat), (2, (70 << 18) - 500));

    // The progress function can stop it.
    let weights = Weights::open(&path).unwrap();
    let mut reported = 0;
    let mut stop = |bytes| {
        reported += bytes;
        ControlFlow::Break(())
    };
    let stopped = checkpoint::verify(&weights, &fills, &mut cpu::fill_range, &mut stop);
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    assert_eq!(reported, 32 << 20);
}

#[test]
fn a_part_of_a_model_can_be_verified() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let fills = [
        normal("a", &[5], DType::F32),
        normal("b", &[6], DType::BF16),
        normal("c", &[7], DType::F16),
    ];
    write(&path, &fills[1..2]);
    // The file's dtype replaces that of the fill.
    let other = fills.clone().map(|fill| fill.with_dtype(DType::F32));
    for fills in [&fills, &other] {
        let found = verify(&path, fills).unwrap();
        assert!(found.is_same());
        assert_eq!(found.missing, ["a", "c"]);
        assert_eq!(found.tensors.len(), 1);
        assert_eq!(found.tensors[0].dtype, DType::BF16);
    }

    let refused = |fills: &[Fill], text: &str| {
        let error = verify(&path, fills).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        assert!(error.contains("w.safetensors: tensor \"b\": "), "{error}");
    };
    refused(&fills[..1], "is not one of the expected tensors");
    let shape = [normal("b", &[2, 3], DType::BF16)];
    refused(&shape, "has shape [6], but [2, 3] is expected");
    // A slice that is stored alone is verified alone.
    let part = normal("b", &[9], DType::BF16)
        .slice(std::slice::from_ref(&(2..8)))
        .unwrap();
    write(&path, std::slice::from_ref(&part));
    assert!(verify(&path, &[part]).unwrap().is_same());
}

#[test]
fn files_that_change_while_they_are_read_are_errors() {
    let folder = tempdir().unwrap();
    let fills = [
        normal("a", &[1000], DType::F32),
        normal("b", &[1000], DType::F32),
    ];
    let path = sharded(folder.path(), [&fills[..1], &fills[1..]]);
    let weights = Weights::open(&path).unwrap();
    let verify = || checkpoint::verify(&weights, &fills, &mut cpu::fill_range, &mut silent);
    assert!(verify().unwrap().is_same());
    let shard = weights.get("b").unwrap().file();
    let whole = fs::read(shard).unwrap();
    for length in [whole.len() - 1, 100, 0] {
        fs::write(shard, &whole[..length]).unwrap();
        let error = verify().unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        let error = error.to_string();
        let expected = format!(
            "model-00002-of-00002.safetensors: tensor \"b\": ends before byte {}, but was longer",
            whole.len()
        );
        assert!(error.contains(&expected), "{error}");
    }
    fs::remove_file(shard).unwrap();
    let error = verify().unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Io { path, action: "open", .. } if path.ends_with("00002.safetensors")
        ),
        "{error:?}"
    );
    // An error of the function that makes the weights is returned.
    fs::write(shard, &whole).unwrap();
    let mut fail = |_: &Fill, _, _: &mut [u8]| Err(Error::Interrupted);
    let failed = checkpoint::verify(&weights, &fills, &mut fail, &mut silent);
    assert!(matches!(failed, Err(Error::Interrupted)));
}

#[test]
fn orthogonal_matrices_may_be_made_on_another_device() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let orthogonal: Init = "orthogonal(gain=2)".parse().unwrap();
    let fills = [fill("q", &[30, 20], &orthogonal, DType::F32)];
    write(&path, &fills);
    let found = verify(&path, &fills).unwrap();
    assert_eq!((found.tensors[0].close, found.is_same()), (0, true));
    // The tolerance of docs/STREAM.md, 1e-5, times the gain.
    assert_eq!(found.tensors[0].tolerance, Some(2e-5));

    let good = fs::read(&path).unwrap();
    let start = Weights::open(&path).unwrap().tensors()[0].bytes().start as usize;
    let moved = |by: f32| {
        let mut file = good.clone();
        for element in file[start..].as_chunks_mut::<4>().0.iter_mut().skip(5) {
            *element = (f32::from_le_bytes(*element) + by).to_le_bytes();
        }
        fs::write(&path, file).unwrap();
        verify(&path, &fills).unwrap()
    };
    let near = moved(1.9e-5);
    let tensor = &near.tensors[0];
    assert_eq!((tensor.close, tensor.differing), (595, 0));
    assert!(near.is_same());
    let far = moved(2.1e-5);
    let tensor = &far.tensors[0];
    assert_eq!((tensor.close, tensor.differing), (0, 595));
    assert_eq!(far.first_difference().unwrap().1.index, [0, 5]);
    assert_eq!(moved(f32::NAN).tensors[0].differing, 595);

    // Other initializers have no tolerance.
    let fills = [normal("n", &[10], DType::F32)];
    write(&path, &fills);
    flip(&path, fs::metadata(&path).unwrap().len() - 4, 0);
    let found = verify(&path, &fills).unwrap();
    assert_eq!(found.tensors[0].tolerance, None);
    assert!(!found.is_same());
}

#[test]
fn a_gpu_verifies_what_the_cpu_wrote() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    for (name, gpu) in devices() {
        for dtype in DTYPES {
            let fills = [
                normal("n", &[301, 7], dtype),
                fill(
                    "u",
                    &[70_001],
                    &"trunc_normal(std=0.02)".parse().unwrap(),
                    dtype,
                ),
                fill("q", &[65, 130], &Init::orthogonal(), dtype),
            ];
            write(&path, &fills);
            let weights = Weights::open(&path).unwrap();
            let mut make =
                |fill: &Fill, start, out: &mut [u8]| gpu.fill_range_to_host(fill, start, out);
            let found = checkpoint::verify(&weights, &fills, &mut make, &mut silent).unwrap();
            assert!(found.is_same(), "{name}, {dtype}: {found:?}");
            let close: Vec<u64> = found.tensors.iter().map(|t| t.close).collect();
            println!("{name}, {dtype}: close {close:?}");
            assert_eq!(close[..2], [0, 0]);

            let tensor = weights.get("u").unwrap();
            flip(&path, tensor.bytes().start + 69_999 * dtype.size(), 0);
            let found = checkpoint::verify(&weights, &fills, &mut make, &mut silent).unwrap();
            let (tensor, first) = found.first_difference().unwrap();
            assert_eq!((tensor.name.as_str(), first.flat), ("u", 69_999), "{name}");
            assert_eq!(tensor.differing, 1);
        }
    }
}

/// Returns a folder with m.safetensors, a model by the preset torch with seed 42.
fn with_model() -> Run {
    let run = Run::new();
    run.cpu("init torch --seed 42 --out m.safetensors")
        .tensors(model("mlp-mnist.json"))
        .ok();
    run
}

/// The request for the file of [`with_model`].
const TORCH_42: &str = "--recipe torch --seed 42";

/// Returns a command that verifies a file.
fn command<'a>(run: &'a Run, file: &str, request: &str) -> Fanin<'a> {
    run.cpu("verify").arg(file).and(request)
}

#[test]
fn the_command_accepts_equal_weights() {
    let run = with_model();
    let verify = command(&run, "m.safetensors", TORCH_42);
    let ended = verify.ok();
    assert!(ended.stdout.is_empty());
    assert_eq!(ended.stderr.lines().count(), 1);
    assert!(
        ended.stderr.starts_with("fanin: 6 tensors, 2.14 MB in "),
        "{}",
        ended.stderr
    );
    ended.says("/s) on the CPU, ");
    let verdict = ": the weights of torch with seed 42, to the bit\n";
    assert!(ended.stderr.ends_with(verdict), "{}", ended.stderr);

    let json = verify.and("--json --threads 2").ok().json();
    assert_eq!(json["same"], true);
    assert_eq!(json["seed"], 42);
    assert_eq!(json["backend"], "CPU, 2 threads");
    assert_eq!(json["bytes"], 4 * 535_818);
    assert_eq!(json["tensors"].as_array().unwrap().len(), 6);
    assert_eq!(json["tensors"][0]["first"], Value::Null);

    // A folder with one file, then a folder with an index.
    fs::create_dir(run.path("folder")).unwrap();
    fs::copy(
        run.path("m.safetensors"),
        run.path("folder/model.safetensors"),
    )
    .unwrap();
    let folder = command(&run, "folder", TORCH_42);
    folder.ok();
    let list = checkpoint::read_tensor_list(model("mlp-mnist.json")).unwrap();
    let recipe = Recipe::preset("torch").unwrap();
    let fills = recipe.resolve(&list, Some(42), None).unwrap().fills();
    fs::remove_file(run.path("folder/model.safetensors")).unwrap();
    sharded(&run.path("folder"), [&fills[..1], &fills[1..]]);
    folder.ok();
    run.fanin("stats folder").ok();
    let index = command(&run, "folder/model.safetensors.index.json", TORCH_42);
    index.ok();
    flip(
        &run.path("folder/model-00002-of-00002.safetensors"),
        2_000,
        0,
    );
    index.ends(1).says("and 1 of 6 tensors differ");
}

#[test]
fn the_command_names_the_first_difference() {
    let run = with_model();
    let path = run.path("m.safetensors");
    let weights = Weights::open(&path).unwrap();
    let at = weights.get("2.weight").unwrap().bytes().start;
    let width = weights.get("2.weight").unwrap().shape()[1];
    flip(&path, at + 4 * (3 * width + 5) + 2, 4);
    let verify = command(&run, "m.safetensors", TORCH_42);
    let ended = verify.ends(1);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    let found = checkpoint::verify(
        &weights,
        &Recipe::preset("torch")
            .unwrap()
            .resolve(&weights.tensor_list().unwrap(), Some(42), None)
            .unwrap()
            .fills(),
        &mut cpu::fill_range,
        &mut silent,
    )
    .unwrap();
    let (tensor, first) = found.first_difference().unwrap();
    assert_eq!(first.index, [3, 5]);
    let expected = format!(
        "fanin: error: m.safetensors: tensor \"2.weight\": element [3, 5] ({} in row-major order) \
         is {:?} ({:#010x}), not {:?} ({:#010x}) as torch gives with seed 42; 1 of its {} elements \
         and 1 of 6 tensors differ\n",
        first.flat,
        first.stored.value() as f32,
        first.stored.bits,
        first.expected.value() as f32,
        first.expected.bits,
        grouped(tensor.elements),
    );
    assert_eq!(ended.stderr, expected);
    let table = ended.text();
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.lines().nth(1).unwrap().starts_with("2.weight  ["));

    let json = verify.and("--json").ends(1).json();
    assert_eq!(
        (&json["same"], &json["hints"]),
        (&false.into(), &Value::Array(vec![]))
    );
    let first = json["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .find(|tensor| tensor["name"] == "2.weight")
        .unwrap();
    assert_eq!(first["differing"], 1);
    assert_eq!(first["first"]["index"], serde_json::json!([3, 5]));
    assert_eq!(
        first["first"]["stored"]["bits"].as_str().unwrap().len(),
        "0x00000000".len()
    );
}

/// Returns a number with commas, as the command prints it.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap())
        .collect();
    groups.join(",")
}

#[test]
fn metadata_is_a_hint_and_no_proof() {
    let run = with_model();
    let verify = |request: &str| command(&run, "m.safetensors", request);
    let ended = verify("--recipe torch --seed 43").ends(1);
    let hint = "6 of 6 tensors differ; its metadata has seed \"42\", not \"43\"\n";
    assert!(ended.stderr.ends_with(hint), "{}", ended.stderr);

    let text = Recipe::preset("torch").unwrap().text().to_owned();
    run.write("own.toml", text.replace("bias_uniform", "zeros"));
    verify("--recipe own.toml --seed 42")
        .ends(1)
        .says("; its metadata has recipe \"torch\", not \"own.toml\"")
        .says("; its metadata has recipe_sha256 ");
    // Another recipe that gives the same bits is accepted.
    run.write("own.toml", format!("{text}\n# mine\n"));
    verify("--recipe own.toml --seed 42").ok();

    // The default seed is the recipe's, never that of the file's metadata.
    verify("--recipe torch").refused(2, &["no seed: give --seed N"]);
    run.write("own.toml", format!("seed = 42\n{text}"));
    verify("--recipe own.toml --threads 1").ok();
    run.write("own.toml", format!("seed = 44\n{text}"));
    verify("--recipe own.toml --threads 1").ends(1);
}

/// Verifies files as the command does, with the list of the model's tensors.
fn is_as_written(path: &Path, list: &TensorList, recipe: &Recipe) -> bool {
    let verified = || -> fanin::Result<bool> {
        let weights = Weights::open(path)?;
        let fills = recipe.resolve(list, Some(42), None)?.into_fills();
        let found = checkpoint::verify(&weights, &fills, &mut cpu::fill_range, &mut silent)?;
        let faults = checkpoint::header_faults(&weights, recipe, 42)?;
        Ok(found.is_same() && found.missing.is_empty() && faults.is_empty())
    };
    verified().unwrap_or(false)
}

/// Flips bits of a file of a model, `bits` of every byte, and checks that verifying the model finds
/// each.
fn flipped_bits_are_found(
    file: &Path,
    model: &Path,
    bits: usize,
    list: &TensorList,
    recipe: &Recipe,
) {
    assert!(is_as_written(model, list, recipe), "{model:?}");
    let whole = fs::read(file).unwrap();
    for byte in 0..whole.len() {
        for bit in (byte..byte + bits).map(|bit| bit % 8) {
            let mut flipped = whole.clone();
            flipped[byte] ^= 1 << bit;
            fs::write(file, &flipped).unwrap();
            assert!(
                !is_as_written(model, list, recipe),
                "bit {bit} of byte {byte} of {file:?}: {:?}",
                String::from_utf8_lossy(&flipped)
            );
        }
    }
    fs::write(file, &whole).unwrap();
}

/// Constants prove neither seed nor name: only the header and the list do.
#[test]
fn every_flipped_bit_of_a_written_file_is_found() {
    let run = Run::new();
    run.write(
        "Xn.toml",
        [
            rule("*.weight", "normal"),
            rule("*.bias", "zeros"),
            rule("*", "ones"),
        ]
        .concat(),
    );
    run.list(
        "list.json",
        &[
            ("0.weight", &[2, 3]),
            ("0.bias", &[2]),
            ("empty.bias", &[0, 4]),
            ("g\u{e9}\n", &[]),
        ],
    );
    run.write(
        "spec.toml",
        "mesh = [{ name = 'tp', size = 2 }]\n[[rule]]\nmatch = '*.weight'\nplacements = ['shard(0)']\n\
         [[rule]]\nmatch = '*'\nplacements = ['replicate']\n",
    );
    let list = checkpoint::read_tensor_list(run.path("list.json")).unwrap();
    let recipe = Recipe::load(run.path("Xn.toml")).unwrap();
    let init = run.cpu("init Xn.toml --tensors list.json --seed 42 --out");
    init.clone().arg("one.safetensors").ok();
    let one = run.path("one.safetensors");
    flipped_bits_are_found(&one, &one, 8, &list, &recipe);

    init.clone().arg("shards/").and("--max-shard-size 12").ok();
    let shards = run.path("shards");
    for file in [
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
    ] {
        flipped_bits_are_found(&shards.join(file), &shards, 1, &list, &recipe);
    }
    init.arg("ranks/").and("--shard-spec spec.toml").ok();
    let ranks = run.path("ranks");
    let rank = ranks.join("model-rank-00001-of-00002.safetensors");
    flipped_bits_are_found(&rank, &ranks, 1, &list, &recipe);
}

#[test]
fn the_command_names_a_fault_of_the_header() {
    let run = with_model();
    let whole = run.read("m.safetensors");
    let damaged = |old: &str, new: &str| {
        let at = whole
            .windows(old.len())
            .position(|text| text == old.as_bytes());
        let at = at.unwrap_or_else(|| panic!("{old}"));
        let mut file = whole.clone();
        file[at..at + old.len()].copy_from_slice(new.as_bytes());
        run.write("m.safetensors", file);
        command(&run, "m.safetensors", TORCH_42)
    };
    let start = "m.safetensors: it has the weights of torch with seed 42, to the bit, but is not as \
                 fanin wrote it: ";
    for (old, new, fault) in [
        (
            "\"seed\":\"42\"",
            "\"seed\":\"43\"",
            "its metadata has seed \"43\", not \"42\"",
        ),
        ("\"stream\":", "\"strexm\":", "its metadata lacks stream"),
        (
            "\"pt\"",
            "\"qt\"",
            "its metadata has format \"qt\", not \"pt\"",
        ),
        (
            ":\"torch\"",
            ":\"tosch\"",
            "its metadata has recipe \"tosch\", not \"torch\"",
        ),
        (
            "\"fanin\":\"0",
            "\"fanin\":\"1",
            "its metadata has fanin \"1.",
        ),
    ] {
        let verify = damaged(old, new);
        verify.refused(1, &[start, fault]);
        let json = verify.and("--json").ends(1).json();
        assert_eq!(json["same"], false);
        assert!(
            json["header"][0].as_str().unwrap().starts_with(fault),
            "{json}"
        );
    }
    // Nothing is known of the header of another program.
    let header = r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}   "#;
    run.write("w.safetensors", safetensors(header, 4));
    run.recipe("zeros.toml", "zeros");
    command(&run, "w.safetensors", "--recipe zeros.toml --seed 1").ok();
}

#[test]
fn slices_are_verified_against_the_whole_list() {
    let run = Run::new();
    let fill = |more: &str| {
        run.cpu(FILL)
            .and("--shape 40,30 --overwrite --out m.safetensors")
            .and(more)
            .ok();
    };
    run.recipe("own.toml", "he_normal");
    run.list("list.json", &[("w", &[40, 30]), ("v", &[3, 3])]);
    let verify = command(&run, "m.safetensors", "--recipe own.toml --seed 42");
    fill("--dtype bf16");
    verify.ok();

    fill("--slice 10:12,:");
    verify.ok();
    let with_list = verify.clone().tensors("list.json");
    with_list.ok();
    // The metadata is not trusted: the bits of another slice differ.
    let file = run.read("m.safetensors");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(text(&file).contains("10:12,0:30"));
    let at = file.windows(5).position(|w| w == b"10:12").unwrap();
    let mut moved = file.clone();
    moved[at..at + 5].copy_from_slice(b"11:13");
    run.write("m.safetensors", moved);
    with_list.ends(1);
    let mut moved = file;
    moved[at..at + 5].copy_from_slice(b"39:41");
    run.write("m.safetensors", moved);
    with_list.refused(
        1,
        &["tensor \"w\": slice \"39:41,0:30\" does not lie within"],
    );

    // A file that gives a slice without the shape of the whole needs a list.
    let part = fanin::Fill::new(
        &fanin::Tensor::new("w", [40, 30]).unwrap(),
        &"he_normal".parse().unwrap(),
        42,
    );
    let part = [part.unwrap().slice([10..12, 0..30]).unwrap()];
    let metadata = [
        ("fanin", "0.1.0".to_owned()),
        ("slice", "10:12,:".to_owned()),
    ];
    let contents = Contents::safetensors(&part, &metadata).unwrap();
    let path = run.path("m.safetensors");
    let writer = Writer::default().with_overwrite(true);
    let saved = writer.save(path, &contents, &mut cpu::fill_range, &mut silent);
    saved.unwrap();
    verify.refused(
        2,
        &[
            "m.safetensors has metadata slice \"10:12,:\"",
            "give --tensors",
        ],
    );
    let stats = run.fanin("stats m.safetensors --recipe own.toml");
    stats.refused(1, &["does not give the shapes of the whole tensors"]);
    with_list.ok();

    // Tensors that are in the list and not in the file are named.
    fill("");
    let ended = with_list.ok();
    let missing = "fanin: tensor \"v\" is not in the file\n";
    assert!(ended.stderr.ends_with(missing), "{}", ended.stderr);
}

/// A model may have thousands of shards, and a process may open only hundreds of files.
#[cfg(unix)]
#[test]
fn few_files_are_open_at_a_time() {
    let run = Run::new();
    let fills: Vec<Fill> = (0..100)
        .map(|i| normal(&format!("{i}.weight"), &[3, 3], DType::F32))
        .collect();
    let mut map = Vec::new();
    for fill in &fills {
        let name = format!("{}.safetensors", fill.name());
        write(&run.path(&name), std::slice::from_ref(fill));
        map.push(format!("{:?}: {name:?}", fill.name()));
    }
    let index = format!(r#"{{"weight_map": {{{}}}}}"#, map.join(", "));
    run.write("model.safetensors.index.json", index);
    run.recipe("own.toml", "normal");
    let verify = "verify . --recipe own.toml --seed 42 --backend cpu --threads 1";
    for arguments in [verify, "diff . .", "stats ."] {
        run.fanin(arguments).after("ulimit -n 24").ok();
    }
}

/// A sparse file of 1 GiB of zeros in 768 MiB of address space, most of which threads and their
/// allocators reserve and never use.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_file() {
    let run = Run::new();
    let header = r#"{"w":{"dtype":"F32","shape":[16384,16384],"data_offsets":[0,1073741824]}}"#;
    let path = run.write("m.safetensors", safetensors(header, 0));
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(8 + header.len() as u64 + (1 << 30)).unwrap();
    run.recipe("own.toml", "zeros");
    for arguments in [
        "verify m.safetensors --recipe own.toml --seed 42 --threads 2",
        "diff own.toml m.safetensors --seed 42 --threads 2",
    ] {
        run.cpu(arguments).after("ulimit -v 786432").ok();
    }
}

#[test]
fn invalid_requests_are_refused() {
    let run = with_model();
    let list = fs::read(model("mlp-mnist.json")).unwrap();
    run.write("list.json", list);
    let header = r#"{"steps":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}"#;
    run.write("steps.safetensors", safetensors(header, 8));
    run.write("m.npy", "");
    for (file, texts) in [
        ("no.safetensors", &["no.safetensors: cannot open"][..]),
        ("no", &["no: cannot open"]),
        ("m.npy", &["m.npy: has an unsupported file type"]),
        (".", &["holds neither model.safetensors nor model.saf"]),
        ("list.json", &["without their weights"]),
    ] {
        command(&run, file, TORCH_42).refused(1, texts);
    }
    // A counter is not drawn, so nothing in this file is compared.
    let nothing = "nothing was compared: 1 tensor kept from a source or skipped";
    command(&run, "steps.safetensors", TORCH_42).refused(1, &[nothing]);
    let verify = |request: &str| command(&run, "m.safetensors", request);
    verify("--recipe gpt3 --seed 42").refused(2, &["unknown preset \"gpt3\"", "a .toml file"]);
    verify(TORCH_42)
        .and("--adapter x")
        .refused(2, &["--adapter names a GPU"]);
}

#[test]
fn recipe_and_seed_can_come_from_the_metadata() {
    let run = with_model();
    run.cpu("verify m.safetensors")
        .ok()
        .says("recipe torch and seed 42, which the file's metadata name")
        .says("the weights of torch with seed 42, to the bit");
    // A given seed comes first.
    run.cpu("verify m.safetensors --seed 43")
        .ends(1)
        .says("as torch gives with seed 43");
    let quiet = run.cpu("verify m.safetensors --quiet").ok();
    assert_eq!(quiet.stderr, "");
    run.fanin("stats m.safetensors")
        .ok()
        .says("compared with recipe torch, which the file's metadata name")
        .says("0 of 6 tensors flagged");

    // A recipe file is found here or beside the weights, and only if it is the same.
    run.write("own.toml", "extends = 'torch'\n# a comment\n");
    fs::create_dir(run.path("there")).unwrap();
    run.cpu("init own.toml --tensors m.safetensors --seed 7 --out there/m.safetensors")
        .ok();
    let verify = || run.cpu("verify there/m.safetensors");
    verify().ok().says("the weights of own.toml with seed 7");
    run.write("there/own.toml", run.read("own.toml"));
    run.write("own.toml", "extends = 'torch'\n");
    verify().ok().says("the weights of own.toml with seed 7");
    run.write("there/own.toml", "extends = 'torch'\n");
    verify().refused(2, &["unknown recipe \"own.toml\"", "has another hash"]);
    run.fanin("stats there/m.safetensors").ok();
    for name in ["own.toml", "there/own.toml"] {
        fs::remove_file(run.path(name)).unwrap();
    }
    verify().refused(2, &["the file's metadata name it, but it is not here"]);
    // Nothing outside of these folders is looked at.
    run.write("own.toml", "extends = 'torch'\n");
    let hash = Recipe::load(run.path("own.toml")).unwrap().sha256();
    let header = format!(
        r#"{{"__metadata__":{{"recipe":"../own.toml","recipe_sha256":"{hash}","seed":"1"}}}}"#
    );
    run.write("there/outside.safetensors", safetensors(&header, 0));
    run.cpu("verify there/outside.safetensors")
        .refused(2, &["unknown recipe \"../own.toml\"", "it is not here"]);
    run.write("none.safetensors", safetensors("{}", 0));
    run.cpu("verify none.safetensors")
        .refused(2, &["the file's metadata name none; give the recipe"]);
}

/// Wrong weights are told by the status, also to a reader who closes the output early, as `head` does.
#[test]
fn a_closed_reader_does_not_hide_the_verdict() {
    let run = Run::new();
    run.recipe("r.toml", "normal");
    run.list("list.json", &[("w", &[4, 4])]);
    run.cpu("init r.toml --seed 1 --out m.safetensors --tensors list.json")
        .ok();
    let mut file = run.read("m.safetensors");
    *file.last_mut().unwrap() ^= 1;
    run.write("m.safetensors", file);
    for json in ["", "--json"] {
        let mut child = run.fanin("verify m.safetensors").and(json).spawn();
        drop(child.stdout.take());
        assert_eq!(
            crate::run::ended(child.wait_with_output().unwrap()).status,
            1
        );
    }
}

#[test]
fn a_file_without_any_tensor_of_the_list_is_not_the_same() {
    let run = Run::new();
    run.recipe("r.toml", "normal");
    run.list("list.json", &[("w", &[4, 4]), ("v", &[4, 4])]);
    run.write("empty.safetensors", safetensors("{}", 0));
    let verify =
        || run.fanin("verify empty.safetensors --recipe r.toml --seed 1 --tensors list.json");
    let texts =
        ["nothing was compared: tensor \"w\" and 1 tensor more of the list are not in the file"];
    verify().refused(1, &texts);
    assert_eq!(verify().and("--json").ends(1).json()["same"], false);
}
