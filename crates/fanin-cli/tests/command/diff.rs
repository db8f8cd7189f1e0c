//! `fanin diff` agrees with numbers computed by other means, for a stored start and for one that is
//! made again.

use std::fs;
use std::path::Path;

use fanin::checkpoint::{
    self, Contents, Diff, Start, TensorDiff, Weights, read_tensor_list, save, silent, start_list,
};
use fanin::{DType, Error, Fill, Init, Recipe, Tensor, cpu};
use half::{bf16, f16};
use serde_json::Value;
use tempfile::tempdir;

use crate::run::{Fanin, Run, model, safetensors};

/// Writes a safetensors file of arbitrary tensors: name, dtype, shape, bytes.
fn write(path: &Path, tensors: &[(&str, &str, &[u64], Vec<u8>)]) {
    let mut members = Vec::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let start = data.len();
        data.extend(bytes);
        members.push(format!(
            r#"{name:?}:{{"dtype":{dtype:?},"shape":{shape:?},"data_offsets":[{start},{}]}}"#,
            data.len()
        ));
    }
    let mut file = safetensors(&format!("{{{}}}", members.join(",")), 0);
    file.extend(data);
    fs::write(path, file).unwrap();
}

fn singles(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn stored(start: &Path, trained: &Path) -> fanin::Result<Diff> {
    let start = Weights::open(start)?;
    checkpoint::diff(
        Start::Weights(&start),
        &Weights::open(trained)?,
        &mut silent,
    )
}

fn close(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() < 1e-14
}

/// The expected numbers are those of numpy 2.4 in float64 for
///
/// ```python
/// i = np.arange(24, dtype=np.float32)
/// start = (i - np.float32(11)) * np.float32(0.1)
/// trained = start * np.float32(1.03) + np.float32(0.05)
/// trained[::3] = start[::3]
/// a, b = start.astype(np.float64), trained.astype(np.float64)
/// norm = np.linalg.norm
/// norm(b - a), norm(b - a) / norm(a), a @ b / norm(a) / norm(b), abs(b - a).max(), sum(a == b)
/// ```
///
/// and the same with `trained.astype(np.float16)`.
#[test]
fn numbers_are_numpys() {
    let folder = tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(format!("{name}.safetensors")));
    let start: Vec<f32> = (0..24).map(|i| (i as f32 - 11.0) * 0.1).collect();
    let trained: Vec<f32> = start
        .iter()
        .enumerate()
        .map(|(i, &x)| if i % 3 == 0 { x } else { x * 1.03 + 0.05 })
        .collect();
    let half: Vec<u8> = trained
        .iter()
        .flat_map(|&x| f16::from_f32(x).to_le_bytes())
        .collect();
    write(&a, &[("w", "F32", &[4, 6], singles(&start))]);
    for (dtype, bytes, [change, relative, cosine, largest], untouched) in [
        (
            "F32",
            singles(&trained),
            [
                0.22756096750428528,
                0.06692969506000947,
                0.9982284443377684,
                0.08599996566772461,
            ],
            8,
        ),
        (
            "F16",
            half,
            [
                0.22748424176065116,
                0.06690712866524941,
                0.9982275314357524,
                0.08613276481628418,
            ],
            2,
        ),
    ] {
        write(&b, &[("w", dtype, &[4, 6], bytes)]);
        let diff = stored(&a, &b).unwrap();
        let [
            TensorDiff {
                shape,
                change: found,
                ..
            },
        ] = diff.tensors.as_slice()
        else {
            panic!("one tensor: {diff:?}");
        };
        assert_eq!((shape.as_slice(), found.elements), (&[4, 6][..], 24));
        assert!(close(found.change_norm, change), "{found:?}");
        assert!(close(found.relative.unwrap(), relative), "{found:?}");
        assert!(close(found.cosine.unwrap(), cosine), "{found:?}");
        assert_eq!(found.max_change, largest);
        assert_eq!(found.untouched, untouched, "{dtype}");
        assert_eq!(found.untouched_share, untouched as f64 / 24.0);
        assert_eq!(diff.total, *found);
    }
}

fn fill(name: &str, dims: &[u64], seed: u64, dtype: DType) -> Fill {
    let tensor = Tensor::new(name, dims).unwrap();
    Fill::new(&tensor, &Init::normal(0.0, 0.02), seed)
        .unwrap()
        .with_dtype(dtype)
}

fn save_fills(path: &Path, fills: &[Fill]) {
    let contents = Contents::safetensors(fills, &[]).unwrap();
    save(path, &contents, &mut cpu::fill_range, &mut silent).unwrap();
}

/// Returns a fill's numbers.
fn numbers(fill: &Fill) -> Vec<f64> {
    let mut bytes = vec![0; fill.bytes() as usize];
    cpu::fill(fill, &mut bytes).unwrap();
    match fill.dtype() {
        DType::F32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&b| f32::from_le_bytes(b).into())
            .collect(),
        DType::F16 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&b| f16::from_le_bytes(b).into())
            .collect(),
        _ => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&b| bf16::from_le_bytes(b).into())
            .collect(),
    }
}

/// Returns two models of different seeds. Their tensors differ in order and dtype, and the tensor
/// `large` takes more than one piece.
fn models() -> [Vec<Fill>; 2] {
    let start = vec![
        fill("a", &[1000, 3], 1, DType::F32),
        fill("b", &[77], 1, DType::BF16),
        fill("same", &[500], 1, DType::F16),
        fill("large", &[9 << 20], 1, DType::F32),
    ];
    let trained = vec![
        fill("same", &[500], 1, DType::F16),
        fill("large", &[9 << 20], 2, DType::F16),
        fill("b", &[77], 2, DType::F32),
        fill("a", &[1000, 3], 2, DType::F32),
    ];
    [start, trained]
}

#[test]
fn numbers_are_those_of_a_plain_loop() {
    let folder = tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(format!("{name}.safetensors")));
    let [start, trained] = models();
    save_fills(&a, &start);
    save_fills(&b, &trained);
    let diff = stored(&a, &b).unwrap();
    let names: Vec<&str> = diff.tensors.iter().map(|t| t.name.as_str()).collect();
    // The order of the trained file, in which f32 comes first.
    assert_eq!(names, ["b", "a", "same", "large"]);
    let mut total = [0.0; 5];
    for tensor in &diff.tensors {
        let by_name = |fills: &[Fill]| {
            let fill = fills.iter().find(|fill| fill.name() == tensor.name);
            numbers(fill.unwrap())
        };
        let (x, y) = (by_name(&start), by_name(&trained));
        let pairs = || x.iter().zip(&y);
        let sums = [
            pairs().map(|(x, _)| x * x).sum::<f64>(),
            pairs().map(|(_, y)| y * y).sum(),
            pairs().map(|(x, y)| (y - x) * (y - x)).sum(),
            pairs().map(|(x, y)| x * y).sum(),
            pairs().filter(|(x, y)| x == y).count() as f64,
        ];
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += sum;
        }
        let found = &tensor.change;
        // These are sequential sums of up to 2^23 numbers, which round differently.
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-10 * b.abs();
        assert!(near(found.start_norm, sums[0].sqrt()), "{tensor:?}");
        assert!(near(found.trained_norm, sums[1].sqrt()), "{tensor:?}");
        assert!(near(found.change_norm, sums[2].sqrt()), "{tensor:?}");
        assert!(near(found.relative.unwrap(), (sums[2] / sums[0]).sqrt()));
        let cosine = sums[3] / (sums[0] * sums[1]).sqrt();
        assert!((found.cosine.unwrap() - cosine).abs() < 1e-10, "{tensor:?}");
        assert_eq!(found.untouched as f64, sums[4], "{tensor:?}");
        let largest = pairs().map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        assert_eq!(found.max_change, largest);
    }
    assert!((diff.total.change_norm - total[2].sqrt()).abs() < 1e-8);
    assert!((diff.total.relative.unwrap() - (total[2] / total[0]).sqrt()).abs() < 1e-10);
    assert_eq!(diff.total.untouched as f64, total[4]);
    assert_eq!(diff.total.elements, 3000 + 77 + 500 + (9 << 20));
    let same = &diff.tensors[2].change;
    assert_eq!((same.untouched_share, same.change_norm), (1.0, 0.0));
    let dtypes = &diff.tensors[0];
    assert_eq!(
        (dtypes.start_dtype.as_str(), dtypes.dtype.as_str()),
        ("bf16", "f32")
    );

    // A start that is made again equals the stored one, with any number of threads.
    let trained = Weights::open(&b).unwrap();
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let made = pool.unwrap().install(|| {
            let start = Start::Fills(&start, &mut cpu::fill_range);
            checkpoint::diff(start, &trained, &mut silent).unwrap()
        });
        assert!(made == diff, "{threads} threads");
    }
}

#[test]
fn tensors_of_one_side_are_listed_and_shapes_must_agree() {
    let folder = tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(format!("{name}.safetensors")));
    let w = || singles(&[3.0, 4.0]);
    let steps = |n: u64| n.to_le_bytes().to_vec();
    write(
        &a,
        &[
            ("gone", "F32", &[2], w()),
            ("w", "F32", &[2], w()),
            ("steps", "I64", &[], steps(0)),
            ("none", "F32", &[0, 5], Vec::new()),
        ],
    );
    let doubled = [6.0f64, 8.0].map(f64::to_le_bytes).concat();
    write(
        &b,
        &[
            ("steps", "I64", &[], steps(7)),
            ("w", "F64", &[2], doubled),
            ("new", "F32", &[2], w()),
            ("none", "F32", &[0, 5], Vec::new()),
        ],
    );
    let diff = stored(&a, &b).unwrap();
    assert_eq!(diff.only_in_start, ["gone"]);
    assert_eq!(diff.only_in_trained, ["new"]);
    assert_eq!(diff.not_compared, ["steps"]);
    assert_eq!(diff.tensors.len(), 2);
    let change = &diff.tensors[0].change;
    assert_eq!((change.change_norm, change.max_change), (5.0, 4.0));
    assert_eq!((change.relative, change.cosine), (Some(1.0), Some(1.0)));
    assert_eq!(diff.tensors[1].change.elements, 0);
    assert_eq!(diff.total.change_norm, 5.0);
    // The list of tensors that a recipe may have initialized has no counters.
    write(
        &b,
        &[
            ("steps", "I64", &[], steps(7)),
            ("w", "BF16", &[2], vec![0; 4]),
        ],
    );
    let list = start_list(&Weights::open(&b).unwrap()).unwrap();
    assert_eq!(list.tensors().len(), 1);
    assert_eq!(list.tensors()[0].dtype, Some(DType::BF16));

    write(&b, &[("w", "F32", &[1, 2], w())]);
    let error = stored(&a, &b).unwrap_err().to_string();
    assert!(
        error.ends_with("b.safetensors: tensor \"w\": has shape [1, 2], but [2] at the start"),
        "{error}"
    );
}

#[test]
fn files_that_change_while_they_are_read_are_errors() {
    let folder = tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(format!("{name}.safetensors")));
    for path in [&a, &b] {
        save_fills(path, &[fill("w", &[1000], 1, DType::F32)]);
    }
    let [start, trained] = [&a, &b].map(|path| Weights::open(path).unwrap());
    for path in [&a, &b] {
        let whole = fs::read(path).unwrap();
        fs::write(path, &whole[..whole.len() - 1]).unwrap();
        let error = checkpoint::diff(Start::Weights(&start), &trained, &mut silent).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error}");
        assert!(error.to_string().starts_with(&path.display().to_string()));
        fs::write(path, &whole).unwrap();
    }
    assert!(checkpoint::diff(Start::Weights(&start), &trained, &mut silent).is_ok());
}

#[test]
fn the_command_makes_the_start_again() {
    let run = Run::new();
    for out in [
        "--seed 42 --out start.safetensors",
        "--seed 43 --out other.safetensors",
    ] {
        let init = run.cpu("init torch").tensors(model("mlp-mnist.json"));
        init.and(out).ok();
    }
    let made = run.cpu("diff torch other.safetensors --seed 42");
    let stored = run.fanin("diff start.safetensors other.safetensors");
    let ended = made.ok();
    assert_eq!(ended.stderr, "");
    assert_eq!(ended.stdout, stored.ok().stdout);
    let lines = ended.rows();
    let heading = "name shape dtype n change relative cosine untouched largest note";
    assert_eq!(lines[0].join(" "), heading);
    assert_eq!(lines.len(), 1 + 6 + 1);
    assert_eq!(lines[7][..2], ["total", "535818"]);
    let ended = made.and("--json --threads 3").ok();
    assert_eq!(ended.stdout, stored.and("--json").ok().stdout);
    let json = ended.json();
    // Independent weights of the same std: a relative change of sqrt(2), and a cosine of 0.
    let relative = json["total"]["relative"].as_f64().unwrap();
    assert!((relative - 2f64.sqrt()).abs() < 0.01, "{relative}");
    assert!(json["total"]["cosine"].as_f64().unwrap().abs() < 0.01);

    // The start has not moved from itself, with and without a list.
    let same = run.cpu("diff torch start.safetensors --seed 42 --json");
    for diff in [same.clone(), same.clone().tensors(model("mlp-mnist.json"))] {
        let json = diff.ok().json();
        assert_eq!(json["total"]["untouched"], 535_818);
        assert_eq!(json["total"]["change_norm"], 0.0);
    }
    // A start in bf16 differs.
    let json = same.and("--dtype bf16").ok().json();
    assert_eq!(json["tensors"][0]["start_dtype"], "bf16");
    assert!(json["total"]["untouched"].as_u64().unwrap() < 53_581);
    let relative = json["total"]["relative"].as_f64().unwrap();
    // bf16 rounds by at most half a unit in the last of 8 places.
    assert!(relative > 0.0 && relative < 1.0 / 256.0, "{relative}");
}

#[test]
fn the_command_lists_tensors_that_it_does_not_compare() {
    let run = Run::new();
    write(
        &run.path("a.safetensors"),
        &[
            ("gone\n", "F32", &[2], singles(&[0.0, 1.0])),
            ("w", "F32", &[1], singles(&[0.0])),
        ],
    );
    write(
        &run.path("b.safetensors"),
        &[
            ("w", "F32", &[1], singles(&[f32::NAN])),
            ("new", "F32", &[2], singles(&[0.0, 1.0])),
        ],
    );
    let diff = run.fanin("diff a.safetensors b.safetensors");
    let ended = diff.ok();
    let lines = ended.rows();
    assert_eq!(lines[1].join(" "), "w [1] f32 1 nan - - 0 nan");
    assert_eq!(lines[3][0], "gone\\n");
    assert_eq!(lines[3][8..], ["-", "only", "in", "A"]);
    assert_eq!(lines[4][0], "new");
    assert_eq!(lines[4][8..], ["-", "only", "in", "B"]);
    let json = diff.and("--json").ok().json();
    assert_eq!(json["tensors"][0]["change_norm"], Value::Null);
    assert_eq!(json["only_in_start"], serde_json::json!(["gone\n"]));
}

#[test]
fn invalid_requests_are_refused() {
    let run = Run::new();
    write(
        &run.path("w.safetensors"),
        &[("w", "F32", &[1], singles(&[0.0]))],
    );
    let diff = |arguments: &str| -> Fanin<'_> { run.fanin("diff").and(arguments) };
    diff("gpt3 w.safetensors").refused(2, &["unknown preset \"gpt3\"", "a .toml file"]);
    diff("no.safetensors w.safetensors").refused(1, &["no.safetensors: cannot open"]);
    diff("no/x w.safetensors").refused(1, &["no/x: cannot open"]);
    run.write("w.npy", "");
    diff("w.safetensors w.npy").refused(1, &["w.npy: has an unsupported file type"]);
    diff("torch w.safetensors").refused(2, &["no seed: give --seed N"]);
    diff("no.toml w.safetensors --seed 1").refused(1, &["no.toml: cannot open"]);
    for option in ["--seed 1", "--dtype f16", "--tensors x.json"] {
        let name = option.split(' ').next().unwrap();
        diff("w.safetensors w.safetensors")
            .and(option)
            .refused(2, &[name, "needs a recipe"]);
    }
    let list = read_tensor_list(run.path("w.safetensors")).unwrap();
    assert!(
        Recipe::preset("gpt2")
            .unwrap()
            .resolve(&list, Some(1), None)
            .is_err()
    );
    diff("gpt2 w.safetensors --seed 1").refused(1, &["tensor \"w\"", "matched by no rule of gpt2"]);
}

#[test]
fn without_a_start_the_metadata_name_it() {
    let run = Run::new();
    run.list("list.json", &[("fc.weight", &[4, 3])]);
    run.cpu("init kaiming --tensors list.json --seed 42 --out m.safetensors")
        .ok();
    let diff = |more: &str| run.cpu("diff m.safetensors --json").and(more).ok();
    let named = diff("");
    named.says("recipe kaiming and seed 42, which the file's metadata name");
    assert_eq!(named.json()["total"]["untouched_share"], 1.0);
    let other = diff("--seed 43");
    other.says("recipe kaiming, which the file's metadata name");
    assert_ne!(other.json()["total"]["untouched_share"], 1.0);

    run.cpu("fill --init zeros --shape 3 --name w --seed 1 --out none.safetensors")
        .ok();
    run.cpu("diff none.safetensors").ends(2);
}
