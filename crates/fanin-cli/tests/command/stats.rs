//! `fanin stats` against a recipe: weights that are what they should be are not flagged, and each
//! fault is. A false alarm has a probability of 1e-6 a file; seeds are fixed besides.

use std::path::PathBuf;

use fanin::checkpoint::{self, Contents, Examined};
use fanin::{DType, Fill, Init, Recipe, Tensor, cpu};
use serde_json::Value;

use crate::run::{Run, model, repository};

/// A file of one tensor: as a recipe makes it, then changed.
struct Fault {
    folder: tempfile::TempDir,
    fill: Fill,
    weights: Vec<f32>,
}

impl Fault {
    fn new(spec: &str, dims: &[u64]) -> Self {
        let tensor = Tensor::new("w", dims).unwrap();
        let fill = Fill::new(&tensor, &spec.parse::<Init>().unwrap(), 42).unwrap();
        let mut weights = vec![0f32; fill.elements() as usize];
        cpu::fill_slice(&fill, &mut weights).unwrap();
        Fault {
            folder: tempfile::tempdir().unwrap(),
            fill,
            weights,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("w.safetensors")
    }

    /// What is found when the weights are stored in this dtype, with or without the recipe.
    fn examined(&self, dtype: DType, known: bool) -> Examined {
        let fills = [self.fill.clone().with_dtype(dtype)];
        let contents = Contents::safetensors(&fills, &[]).unwrap();
        let mut make = |_: &Fill, start: u64, out: &mut [u8]| {
            let size = dtype.size() as usize;
            let from = &self.weights[start as usize..];
            for (bytes, &x) in out.chunks_exact_mut(size).zip(from) {
                match dtype {
                    DType::F32 => bytes.copy_from_slice(&x.to_le_bytes()),
                    DType::F16 => bytes.copy_from_slice(&half::f16::from_f32(x).to_le_bytes()),
                    DType::BF16 => bytes.copy_from_slice(&half::bf16::from_f32(x).to_le_bytes()),
                }
            }
            Ok(())
        };
        checkpoint::save(self.path(), &contents, &mut make, &mut checkpoint::silent).unwrap();
        let fills: &[Fill] = if known { &fills } else { &[] };
        checkpoint::examine(self.path(), fills).unwrap().remove(0)
    }

    fn flags(&self) -> Vec<String> {
        texts(&self.examined(DType::F32, true))
    }
}

fn texts(row: &Examined) -> Vec<String> {
    row.flags.iter().map(|flag| flag.text.clone()).collect()
}

const NORMAL: &str = "normal(mean=0,std=0.02)";

/// Every kind of initializer, in shapes large and small.
#[test]
fn weights_as_they_should_be_are_not_flagged() {
    let large: &[u64] = &[512, 384];
    let specs: &[(&str, &[u64])] = &[
        (NORMAL, large),
        ("normal(mean=1,std=0.02)", large),
        ("uniform(low=-0.1,high=0.1)", large),
        ("uniform(low=2,high=4)", large),
        ("trunc_normal(mean=0,std=0.02,a=-2,b=2)", large),
        ("truncated_normal(mean=0,std=1)", large),
        ("truncated_normal(mean=0,std=1,lower=3,upper=4)", large),
        ("orthogonal(gain=2)", &[96, 160]),
        ("sparse(sparsity=0.9)", large),
        ("eye", &[64, 64]),
        ("zeros", &[8, 8]),
        ("constant(value=0.1)", &[8, 8]),
        (NORMAL, &[1]),
        (NORMAL, &[2]),
        ("uniform(low=0,high=1)", &[3]),
        (NORMAL, &[7, 9]),
        ("orthogonal", &[1, 1]),
        ("orthogonal", &[2, 3]),
    ];
    for (spec, dims) in specs {
        let fault = Fault::new(spec, dims);
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let row = fault.examined(dtype, true);
            assert!(row.flags.is_empty(), "{spec} {dims:?} {dtype}: {row:?}");
        }
    }
}

/// All presets, on the lists of real models that the tests hold, as far as they are small.
#[test]
fn no_preset_raises_an_alarm() {
    let run = Run::new();
    let data = repository().join("tests/data/models");
    let mut files = 0;
    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        if path.is_dir() {
            continue;
        }
        let list = checkpoint::read_tensor_list(&path).unwrap();
        let plan = Recipe::preset(name)
            .unwrap()
            .resolve(&list, Some(7), None)
            .unwrap();
        // Not the embeddings of large vocabularies: an unoptimized test would take minutes.
        let mut fills = plan.into_fills();
        fills.retain(|fill| fill.elements() < 1 << 20);
        let contents = Contents::safetensors(&fills, &[]).unwrap();
        let file = run.path(&format!("{name}.safetensors"));
        checkpoint::save(
            &file,
            &contents,
            &mut cpu::fill_range,
            &mut checkpoint::silent,
        )
        .unwrap();
        for row in checkpoint::examine(&file, &fills).unwrap() {
            assert!(row.flags.is_empty(), "{name}: {row:?}");
            assert!(row.expected.is_some(), "{name}: {row:?}");
        }
        std::fs::remove_file(&file).unwrap();
        files += 1;
    }
    assert!(files >= 10, "{files} lists");
}

#[test]
fn one_outlier_is_flagged() {
    let mut fault = Fault::new(NORMAL, &[400, 400]);
    fault.weights[777] = 0.3;
    assert!(fault.flags().contains(&"max too large".to_owned()));
    fault.weights[777] = -0.3;
    assert!(fault.flags().contains(&"min too small".to_owned()));
}

#[test]
fn a_std_that_is_one_percent_off_is_flagged() {
    for (factor, text) in [(1.01, "std too large"), (0.99, "std too small")] {
        let mut fault = Fault::new(NORMAL, &[1000, 1000]);
        fault.weights.iter_mut().for_each(|w| *w *= factor);
        // That alone: a wrong scale is no wrong shape.
        assert_eq!(fault.flags(), [text]);
        // bf16 rounds by at most 1/256, which is allowed for.
        assert_eq!(texts(&fault.examined(DType::BF16, true)), [text]);
    }
}

#[test]
fn a_shifted_mean_is_flagged() {
    let mut fault = Fault::new("uniform(low=-0.1,high=0.1)", &[1000, 1000]);
    fault.weights.iter_mut().for_each(|w| *w += 0.001);
    assert!(fault.flags().contains(&"mean too large".to_owned()));
}

#[test]
fn a_clipped_tail_is_flagged() {
    let mut fault = Fault::new(NORMAL, &[1000, 1000]);
    fault
        .weights
        .iter_mut()
        .for_each(|w| *w = w.min(3.0 * 0.02));
    assert!(fault.flags().contains(&"max too small".to_owned()));
}

#[test]
fn zeros_are_flagged() {
    let mut fault = Fault::new(NORMAL, &[300, 300]);
    fault.weights[..60].fill(0.0);
    assert_eq!(fault.flags(), ["zeros too large"]);
}

#[test]
fn another_distribution_of_the_same_std_is_flagged_by_its_kurtosis() {
    let bound = 0.02 * 3f64.sqrt();
    let mut fault = Fault::new(&format!("uniform(low=-{bound},high={bound})"), &[100, 100]);
    let tensor = Tensor::new("w", [100, 100]).unwrap();
    fault.fill = Fill::new(&tensor, &NORMAL.parse().unwrap(), 42).unwrap();
    assert!(fault.flags().contains(&"kurtosis too small".to_owned()));
}

#[test]
fn a_cast_on_the_way_is_flagged() {
    let mut fault = Fault::new(NORMAL, &[300, 300]);
    fault
        .weights
        .iter_mut()
        .for_each(|w| *w = half::bf16::from_f32(*w).to_f32());
    assert_eq!(
        fault.flags(),
        ["all were rounded to f16 or bf16 before they were f32"]
    );
    // Small ones are gone in f16.
    let mut fault = Fault::new("normal(mean=0,std=1e-8)", &[300, 300]);
    fault
        .weights
        .iter_mut()
        .for_each(|w| *w = half::f16::from_f32(*w).to_f32());
    assert!(fault.flags().contains(&"zeros too large".to_owned()));
}

#[test]
fn not_a_number_is_flagged() {
    let mut fault = Fault::new(NORMAL, &[30, 30]);
    fault.weights[3] = f32::NAN;
    assert_eq!(fault.flags(), ["not a number among them"]);
    assert_eq!(
        texts(&fault.examined(DType::F32, false)),
        ["not a number among them"]
    );
    fault.weights[3] = f32::INFINITY;
    assert_eq!(fault.flags(), ["infinite ones among them"]);
}

/// pytorch/pytorch#155588: trunc_normal_ gave single elements 100 standard deviations out, where the
/// bounds were far wider than the std. Any recipe or none shows it.
#[test]
fn torchs_outliers_of_trunc_normal_are_flagged() {
    let spec = "trunc_normal(mean=0,std=0.02,a=-2,b=2)";
    let mut fault = Fault::new(spec, &[1000, 1000]);
    assert!(texts(&fault.examined(DType::F32, false)).is_empty());
    fault.weights[123_456] = -2.0;
    assert!(
        fault.flags().contains(&"min too small".to_owned()),
        "{:?}",
        fault.flags()
    );
    let texts = texts(&fault.examined(DType::F32, false));
    assert!(texts[0].starts_with("min 99."), "{texts:?}");
}

#[test]
fn what_no_initializer_gives_is_flagged_without_a_recipe() {
    let flags =
        |spec: &str, dims: &[u64]| texts(&Fault::new(spec, dims).examined(DType::F32, false));
    assert_eq!(flags("zeros", &[8, 8]), ["all zero: passes nothing on"]);
    assert_eq!(
        flags("constant(value=0.5)", &[8, 8]),
        ["all equal: its units stay alike"]
    );
    for (spec, dims) in [
        ("zeros", &[8][..]),
        ("ones", &[8, 8][..]),
        ("constant(value=0.5)", &[8, 1][..]),
        ("eye", &[200, 200][..]),
        ("sparse(sparsity=0.9)", &[200, 200][..]),
        (NORMAL, &[500, 500][..]),
        ("uniform(low=0,high=1)", &[500, 500][..]),
    ] {
        assert!(
            flags(spec, dims).is_empty(),
            "{spec} {dims:?}: {:?}",
            flags(spec, dims)
        );
    }
}

#[test]
fn the_command_shows_what_is_expected() {
    let run = Run::new();
    let list = model("mlp-mnist.json");
    let list = list.to_str().unwrap();
    run.ok(&[
        "init",
        "kaiming",
        "--tensors",
        list,
        "--seed",
        "1",
        "--out",
        "m.safetensors",
        "--backend",
        "cpu",
    ]);
    let ended = run.ok(&["stats", "m.safetensors", "--recipe", "kaiming"]);
    let table = String::from_utf8(ended.stdout).unwrap();
    let heading: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        heading.iter().filter(|&&word| word == "expected").count(),
        6
    );
    assert_eq!(heading.last(), Some(&"flags"));
    assert!(ended.stderr.contains("0 of "), "{}", ended.stderr);

    // Not what another recipe would give; that is told, and is no failure.
    let ended = run.ok(&["stats", "m.safetensors", "--recipe", "xavier"]);
    let table = String::from_utf8(ended.stdout).unwrap();
    assert!(table.contains("std too large"), "{table}");
    let json = run
        .ok(&["stats", "m.safetensors", "--recipe", "xavier", "--json"])
        .stdout;
    let json: Value = serde_json::from_slice(&json).unwrap();
    let flagged = json.as_array().unwrap().iter();
    let flagged: Vec<&Value> = flagged
        .filter(|row| row["flags"] != serde_json::json!([]))
        .collect();
    assert_eq!(flagged[0]["flags"][0]["statistic"], "std");
    let std = &flagged[0]["expected"]["std"];
    assert!(
        flagged[0]["std"].as_f64() > std["high"].as_f64(),
        "{}",
        flagged[0]
    );

    run.refused(
        &["stats", "m.safetensors", "--recipe", "nonesuch"],
        2,
        &["nonesuch", "kaiming"],
    );
}
