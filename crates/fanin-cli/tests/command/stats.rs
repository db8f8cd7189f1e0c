//! `fanin stats` with a recipe flags every fault and no correct weights. A false alarm has a
//! probability of 1e-6 per file, and the seeds are fixed.

use std::path::PathBuf;

use fanin::checkpoint::{self, Contents, Examined, Writer};
use fanin::{DType, Fill, Init, Recipe, Tensor, cpu};
use serde_json::Value;

use crate::run::{Run, model, repository, safetensors};

/// A file of one tensor, which a test changes.
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

    /// Examines the weights stored in this dtype, with or without the recipe.
    fn examined(&self, dtype: DType, with_recipe: bool) -> Examined {
        let fills = [self.fill.clone().with_dtype(dtype)];
        let contents = Contents::safetensors(&fills, &[]).unwrap();
        let mut make = |_: &Fill, start: u64, out: &mut [u8]| {
            let size = dtype.size() as usize;
            let from = &self.weights[start as usize..];
            for (bytes, &x) in out.chunks_exact_mut(size).zip(from) {
                match dtype {
                    DType::F32 => bytes.copy_from_slice(&x.to_le_bytes()),
                    DType::F16 => bytes.copy_from_slice(&half::f16::from_f32(x).to_le_bytes()),
                    _ => bytes.copy_from_slice(&half::bf16::from_f32(x).to_le_bytes()),
                }
            }
            Ok(())
        };
        let writer = Writer::default().with_overwrite(true);
        let saved = writer.save(self.path(), &contents, &mut make, &mut checkpoint::silent);
        saved.unwrap();
        let fills: &[Fill] = if with_recipe { &fills } else { &[] };
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

/// Covers every kind of initializer, in large and small shapes.
#[test]
fn correct_weights_are_not_flagged() {
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
        // The zeros of the padding row are far from all other elements.
        ("embedding(padding_idx=3,mean=50)", large),
        ("embedding(padding_idx=3,mean=-50)", large),
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

/// Few numbers of f32 lie within these distributions.
#[test]
fn coarse_weights_are_judged_by_their_dtype() {
    let four = 5.605_193_857_299_268e-45; // four of the smallest number of binary32
    let specs = [
        "normal(mean=1,std=1e-9)".to_owned(),
        "normal(mean=1,std=1e-10)".to_owned(),
        "normal(mean=-7,std=2e-7)".to_owned(),
        // One element in thousands is rounded away from the others, so that the kurtosis is n.
        "normal(mean=-0.058016809324223914,std=2.8697700399131175e-11)".to_owned(),
        "uniform(low=1,high=1.0000005)".to_owned(),
        format!("uniform(low=0,high={four:e})"),
        format!("uniform(low=-{four:e},high=0)"),
        format!("uniform(low=-{four:e},high={four:e})"),
        format!("normal(mean=0,std={four:e})"),
        format!("trunc_normal(mean=0,std={four:e},a=-{four:e},b={four:e})"),
        "uniform(low=0,high=1e-41)".to_owned(),
        "normal(mean=0,std=1e-40)".to_owned(),
        "trunc_normal(mean=0,std=3e-41,a=-6e-41,b=6e-41)".to_owned(),
    ];
    for spec in specs {
        for dims in [&[300, 300][..], &[20]] {
            let fault = Fault::new(&spec, dims);
            for dtype in [DType::F32, DType::BF16] {
                let row = fault.examined(dtype, true);
                assert!(row.flags.is_empty(), "{spec} {dims:?} {dtype}: {row:?}");
            }
            // A number that the distribution cannot give is still found.
            for wrong in [
                fault.weights[0] * 1.00001 + 1e-6,
                2.0 * fault.weights[0] + 1e-38,
            ] {
                let mut fault = Fault::new(&spec, dims);
                fault.weights[0] = wrong;
                assert!(!fault.flags().is_empty(), "{spec} {dims:?} {wrong}");
            }
        }
    }
}

/// Covers all presets, with the lists of real models in the repository.
#[test]
fn presets_are_not_flagged() {
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
        // Without the embeddings of large vocabularies, which would take minutes.
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
            // Where parts have initializers of their own, each has its own expectation.
            let parts = std::slice::from_ref(&row).iter().chain(&row.parts);
            let mut compared = parts.filter(|part| part.parts.is_empty());
            assert!(
                compared.all(|part| part.expected.is_some()),
                "{name}: {row:?}"
            );
        }
        std::fs::remove_file(&file).unwrap();
        files += 1;
    }
    assert!(files >= 10, "{files} lists");
}

/// Parts of a file are read in any order, and its header more than once.
#[cfg(unix)]
#[test]
fn a_pipe_is_refused() {
    let run = Run::new();
    for command in ["stats", "plot"] {
        let stats = run.fanin(command).and("/dev/fd/3");
        stats
            .after("exec 3< <(echo)")
            .refused(1, &["/dev/fd/3: is not a regular file, but a pipe"]);
    }
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
        // The only flag: a wrong scale leaves the kurtosis as it is.
        assert_eq!(fault.flags(), [text]);
        // The bounds allow for the rounding of bf16, which is at most 1/256.
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
fn an_intermediate_cast_is_flagged() {
    let mut fault = Fault::new(NORMAL, &[300, 300]);
    fault
        .weights
        .iter_mut()
        .for_each(|w| *w = half::bf16::from_f32(*w).to_f32());
    assert_eq!(
        fault.flags(),
        ["all were rounded to f16 or bf16 before they were f32"]
    );
    // f16 rounds small weights to 0.
    let mut fault = Fault::new("normal(mean=0,std=1e-8)", &[300, 300]);
    fault
        .weights
        .iter_mut()
        .for_each(|w| *w = half::f16::from_f32(*w).to_f32());
    assert!(fault.flags().contains(&"zeros too large".to_owned()));
}

#[test]
fn nan_and_infinity_are_flagged() {
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

/// pytorch/pytorch#155588: with bounds much wider than the std, trunc_normal_ gave single elements
/// 100 standard deviations from the mean. They are flagged with and without a recipe.
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
fn weights_of_no_initializer_are_flagged_without_a_recipe() {
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
fn the_command_shows_expected_values() {
    let run = Run::new();
    run.cpu("init kaiming --seed 1 --out m.safetensors")
        .tensors(model("mlp-mnist.json"))
        .ok();
    let stats = |recipe: &str| run.fanin("stats m.safetensors --recipe").and(recipe);
    let ended = stats("kaiming").ok();
    let rows = ended.rows();
    let expected = rows[0].iter().filter(|&&word| word == "expected");
    assert_eq!(expected.count(), 6);
    assert_eq!(rows[0].last(), Some(&"flags"));
    ended.says("0 of ");

    // Another recipe gives other weights. They are flagged, but the command succeeds.
    let ended = stats("xavier").ok();
    assert!(ended.text().contains("std too large"), "{}", ended.text());
    let json = stats("xavier --json").ok().json();
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

    stats("nonesuch").refused(2, &["nonesuch", "kaiming"]);
}

/// A recipe that only the file's metadata name does not keep the statistics from being shown.
#[test]
fn a_recipe_that_does_not_suit_the_file_is_a_warning() {
    let run = Run::new();
    let tensors =
        "\"__metadata__\":{\"recipe\":\"gpt2\",\"recipe_sha256\":\"SHA\",\"fanin\":\"0.1.0\"}";
    let sha256 = Recipe::preset("gpt2").unwrap().sha256();
    let entry = "\"adapter.lora\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}";
    let header = format!("{{{},{entry}}}", tensors.replace("SHA", &sha256));
    let mut file = safetensors(&header, 8);
    // Two elements that differ can be drawn, too.
    *file.last_mut().unwrap() = 0x3f;
    run.write("m.safetensors", file);
    for command in ["stats m.safetensors", "plot m.safetensors"] {
        let ended = run.fanin(command).ok();
        ended.says("warning: not compared with recipe gpt2");
        ended.says("adapter.lora");
    }
    let asked = run.fanin("stats m.safetensors --recipe gpt2");
    asked.refused(1, &["is matched by no rule of gpt2"]);
}
