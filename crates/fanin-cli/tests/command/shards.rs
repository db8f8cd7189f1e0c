//! A model in a folder: the same files to the byte from one process, from many that never talk
//! to each other, and after any of them was killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fanin::checkpoint::{self, Contents, Shards, Share, Writer, read_tensor_list, silent};
use fanin::{DType, Error, Fill, Init, Recipe, Tensor, cpu, gpu};
use proptest::prelude::*;
use tempfile::tempdir;

use crate::devices::devices;
use crate::run::{Run, ended, model};

/// GPT-2 in bf16, 249 MB, in shards of at most 50 MB: one tensor is larger, and has one for
/// itself.
const GPT2: [&str; 11] = [
    "init",
    "gpt2",
    "--seed",
    "42",
    "--dtype",
    "bf16",
    "--backend",
    "cpu",
    "--max-shard-size",
    "50MB",
    "--tensors",
];

/// What a folder holds, but for what is hidden: temporary files.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                path,
            )
        })
        .filter(|(name, _)| !name.starts_with('.'))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

/// Hidden files: none but what a killed process leaves.
fn hidden(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with('.')).collect()
}

/// The bytes of the files that a folder itself holds.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| entry.metadata().ok().filter(fs::Metadata::is_file));
    files.map(|metadata| metadata.len()).sum()
}

fn arguments<'a>(list: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let list = list.to_str().unwrap();
    [&GPT2[..], &[list], more].concat()
}

fn fill(name: &str, dims: &[u64], dtype: DType) -> Fill {
    let tensor = Tensor::new(name, dims).unwrap();
    let fill = Fill::new(&tensor, &Init::normal(0.0, 0.02), 42).unwrap();
    fill.with_dtype(dtype)
}

#[test]
fn a_model_that_fits_is_one_file() {
    let run = Run::new();
    let list = model("mlp-mnist.json");
    let list = list.to_str().unwrap();
    let of = |out: &str| {
        run.ok(&[
            "init",
            "kaiming",
            "--tensors",
            list,
            "--seed",
            "1",
            "--backend",
            "cpu",
            "--out",
            out,
        ]);
    };
    of("folder/");
    of("single.safetensors");
    assert_eq!(
        contents(&run.path("folder")),
        BTreeMap::from([(
            "model.safetensors".to_owned(),
            run.read("single.safetensors")
        )])
    );
    // A model of one file and an index of several: readers would have to choose.
    run.refused(
        &[
            "init",
            "kaiming",
            "--tensors",
            list,
            "--seed",
            "1",
            "--backend",
            "cpu",
            "--out",
            "folder",
            "--max-shard-size",
            "100kB",
        ],
        1,
        &[
            "folder: holds a model.safetensors",
            "remove it, or use another folder",
        ],
    );
}

#[test]
fn shards_are_read_as_one_model() {
    let run = Run::new();
    let list = model("gpt2.json");
    let ended = run.ok(&arguments(&list, &["--out", "gpt2"]));
    assert!(
        ended
            .stderr
            .contains("124,439,808 parameters in 148 tensors: 248.88 MB"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("to 5 files in gpt2"),
        "{}",
        ended.stderr
    );
    let files = contents(&run.path("gpt2"));
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "model-00001-of-00005.safetensors",
            "model-00002-of-00005.safetensors",
            "model-00003-of-00005.safetensors",
            "model-00004-of-00005.safetensors",
            "model-00005-of-00005.safetensors",
            "model.safetensors.index.json",
        ]
    );

    let index: serde_json::Value =
        serde_json::from_slice(&files["model.safetensors.index.json"]).unwrap();
    assert_eq!(index["metadata"]["total_size"], 2 * 124_439_808);
    assert_eq!(index["metadata"]["total_parameters"], 124_439_808);
    for (key, value) in [
        ("fanin", env!("CARGO_PKG_VERSION")),
        ("stream", "1"),
        ("seed", "42"),
        ("recipe", "gpt2"),
        ("format", "pt"),
    ] {
        assert_eq!(index["metadata"][key], value, "{key}");
    }
    assert_eq!(
        index["metadata"]["recipe_sha256"].as_str().unwrap().len(),
        64
    );

    // Every tensor is where the index says, by another reader, and is what one file would hold.
    let expected = Recipe::preset("gpt2")
        .unwrap()
        .resolve(
            &read_tensor_list(&list).unwrap(),
            Some(42),
            Some(DType::BF16),
        )
        .unwrap();
    let map = index["weight_map"].as_object().unwrap();
    assert_eq!(map.len(), 148);
    let readers: BTreeMap<&str, safetensors::SafeTensors<'_>> = files
        .iter()
        .filter(|(name, _)| name.ends_with(".safetensors"))
        .map(|(name, bytes)| {
            (
                name.as_str(),
                safetensors::SafeTensors::deserialize(bytes).unwrap(),
            )
        })
        .collect();
    for entry in &expected.entries {
        let file = map[entry.fill.name()].as_str().unwrap();
        let mut bytes = vec![0; entry.fill.bytes() as usize];
        cpu::fill(&entry.fill, &mut bytes).unwrap();
        assert!(
            readers[file].tensor(entry.fill.name()).unwrap().data() == bytes,
            "{}",
            entry.fill.name()
        );
    }
    for (name, bytes) in &files {
        let header = safetensors::SafeTensors::read_metadata(bytes);
        if let Ok((_, header)) = header {
            assert_eq!(header.metadata().as_ref().unwrap()["seed"], "42", "{name}");
        }
    }

    // The index lists the tensors in the list's order, so it serves as a list itself.
    let again = read_tensor_list(run.path("gpt2/model.safetensors.index.json")).unwrap();
    let names = |list: &fanin::TensorList| -> Vec<String> {
        list.tensors()
            .iter()
            .map(|tensor| tensor.name.clone())
            .collect()
    };
    assert_eq!(names(&again), names(&read_tensor_list(&list).unwrap()));
}

#[test]
fn any_number_of_processes_writes_the_same_files() {
    let run = Run::new();
    let list = model("gpt2.json");
    run.ok(&arguments(&list, &["--out", "one"]));
    let expected = contents(&run.path("one"));
    let index = "model.safetensors.index.json";
    // As torchrun, mpirun and srun say it, and by hand; two processes at once, and in any order.
    let environments: [(&str, &[&str; 2]); 4] = [
        ("torchrun", &["RANK", "WORLD_SIZE"]),
        ("mpi", &["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"]),
        ("pmi", &["PMI_RANK", "PMI_SIZE"]),
        ("slurm", &["SLURM_PROCID", "SLURM_NTASKS"]),
    ];
    for (size, (folder, [rank_name, size_name])) in [2u64, 3, 8, 5].into_iter().zip(environments) {
        let arguments = arguments(&list, &["--out", folder, "--distributed"]);
        let start = |rank: u64| {
            let mut command = run.command(&arguments);
            command
                .env(rank_name, rank.to_string())
                .env(size_name, size.to_string());
            command
                .stderr(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let wait = |child: std::process::Child| {
            let ended = ended(child.wait_with_output().unwrap());
            assert_eq!(ended.status, 0, "{}", ended.stderr);
            ended.stderr
        };
        let mut last = size - 1;
        if folder == "mpi" {
            // One at a time, the first last: the index is there when the last file is.
            for rank in (1..size).rev() {
                let said = wait(start(rank));
                assert!(
                    said.contains(&format!("rank {rank} of 3 (Open MPI)")),
                    "{said}"
                );
                assert!(said.contains("of other ranks are not there yet"), "{said}");
                assert!(!contents(&run.path(folder)).contains_key(index));
            }
            last = 0;
            wait(start(0));
        } else {
            let children: Vec<_> = (0..size).map(start).collect();
            children.into_iter().for_each(|child| drop(wait(child)));
        }
        assert!(contents(&run.path(folder)) == expected, "{folder}");
        assert_eq!(hidden(&run.path(folder)), [""; 0]);

        // A rank again, with nothing left to do: nothing changes.
        let modified = |name: &str| {
            fs::metadata(run.path(folder).join(name))
                .unwrap()
                .modified()
                .unwrap()
        };
        let before: Vec<_> = expected.keys().map(|name| modified(name)).collect();
        let rank = last.to_string();
        let mut again = run.command(&[&arguments[..], &["--resume"]].concat());
        again.env(rank_name, rank).env(size_name, size.to_string());
        let again = ended(again.output().unwrap());
        assert_eq!(again.status, 0, "{}", again.stderr);
        assert_eq!(
            expected
                .keys()
                .map(|name| modified(name))
                .collect::<Vec<_>>(),
            before
        );
    }
}

#[test]
fn a_killed_process_leaves_only_whole_files_and_can_be_resumed() {
    const TRIALS: u64 = 16;
    const TENSORS: u64 = 24;
    const TENSOR_BYTES: u64 = 2 << 20;
    const TOTAL: u64 = TENSORS * TENSOR_BYTES;
    let run = Run::new();
    let tensors: Vec<String> = (0..TENSORS)
        .map(|number| {
            format!(
                r#"{{"name": "{number}.weight", "shape": [{}, 1024]}}"#,
                TENSOR_BYTES / 2048
            )
        })
        .collect();
    let list = run.write(
        "list.json",
        format!(r#"{{"tensors": [{}]}}"#, tensors.join(",")),
    );
    let to_folder = [
        "init",
        "kaiming",
        "--seed",
        "42",
        "--dtype",
        "bf16",
        "--backend",
        "cpu",
        "--memory",
        "1MiB",
        "--tensors",
        list.to_str().unwrap(),
        "--max-shard-size",
        "10MiB",
        "--out",
    ];
    // Without the size of shards.
    let to_file: Vec<&str> = to_folder
        .iter()
        .copied()
        .filter(|argument| !["--max-shard-size", "10MiB"].contains(argument))
        .collect();
    run.ok(&[&to_folder[..], &["whole"]].concat());
    run.ok(&[&to_file[..], &["whole.safetensors"]].concat());
    let expected = contents(&run.path("whole"));
    let expected_single = run.read("whole.safetensors");
    let (mut killed, mut partial) = (0, 0);
    for trial in 0..TRIALS {
        // At any moment, from before the first byte to after the last but one.
        let moment = TOTAL * (trial * 5 % TRIALS) / (TRIALS - 1);
        let (folder, resume): (String, &[&str]) = match trial % 3 {
            0 => (format!("trial{trial}"), &[]),
            1 => (format!("trial{trial}"), &["--resume"]),
            _ => (format!("trial{trial}.safetensors"), &["--resume"]),
        };
        let first = match folder.ends_with(".safetensors") {
            true => &to_file[..],
            false => &to_folder[..],
        };
        let arguments = [first, &[folder.as_str()], resume].concat();
        let again = [first, &[folder.as_str(), "--resume"]].concat();
        let before = bytes_in(&run.path("."));
        let mut child = run
            .command(&arguments)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let there = || bytes_in(&run.path(".")) + bytes_in(&run.path(&folder)) - before;
        while there() < moment && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = child.kill();
        killed += u64::from(!child.wait().unwrap().success());

        // What has its final name is whole and right.
        let check_whole = || {
            if folder.ends_with(".safetensors") {
                let single = run.path(&folder);
                assert!(!single.exists() || fs::read(single).unwrap() == expected_single);
            } else if run.path(&folder).exists() {
                for (name, bytes) in contents(&run.path(&folder)) {
                    assert!(expected[&name] == bytes, "{folder}/{name}");
                }
            }
        };
        check_whole();
        if !folder.ends_with(".safetensors") && run.path(&folder).exists() {
            partial += hidden(&run.path(&folder)).len();
        }
        // A bit of what is left has changed meanwhile: resuming finds it.
        if trial % 2 == 0 && run.path(&folder).is_dir() {
            for entry in fs::read_dir(run.path(&folder)).unwrap() {
                let path = entry.unwrap().path();
                let mut bytes = fs::read(&path).unwrap();
                let middle = bytes.len() * 2 / 3;
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 4;
                }
                fs::write(&path, bytes).unwrap();
            }
        }
        run.ok(&again);
        if folder.ends_with(".safetensors") {
            check_whole();
            assert!(run.path(&folder).exists());
            fs::remove_file(run.path(&folder)).unwrap();
        } else {
            assert!(contents(&run.path(&folder)) == expected, "{folder}");
            assert_eq!(hidden(&run.path(&folder)), [""; 0]);
            fs::remove_dir_all(run.path(&folder)).unwrap();
        }
    }
    // Only what is killed at the last byte may have ended by itself.
    assert!(killed + 2 >= TRIALS, "{killed} were killed");
    assert!(partial > 0);
}

/// A file size limit stops a write halfway, as a full disk does.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_what_was_there() {
    let run = Run::new();
    let list = model("gpt2.json");
    let limited = |more: &[&str]| {
        let program = run.command(&[]).get_program().to_owned();
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; ulimit -f 40000; exec \"$@\"", "sh"])
            .arg(program)
            .args(arguments(&list, more))
            .current_dir(run.path("."))
            .stdin(Stdio::null());
        ended(command.output().unwrap())
    };
    // 40000 blocks of 512 bytes, 20 MB (in some shells of 1024, 41 MB): the first tensor has 77.
    fs::create_dir(run.path("full")).unwrap();
    fs::write(run.path("full/README"), "kept").unwrap();
    let end = limited(&["--out", "full"]);
    assert_eq!(end.status, 1, "{}", end.stderr);
    let line = end.stderr.lines().last().unwrap();
    assert!(
        line.starts_with("fanin: error: full/model-00001-of-00005.safetensors: cannot write: "),
        "{line}"
    );
    assert_eq!(
        contents(&run.path("full")).keys().collect::<Vec<_>>(),
        ["README"]
    );
    assert_eq!(hidden(&run.path("full")), [""; 0]);

    // With --resume the beginning stays, and serves once there is room.
    let end = limited(&["--out", "full", "--resume"]);
    assert_eq!(end.status, 1, "{}", end.stderr);
    assert_eq!(
        hidden(&run.path("full")),
        [".fanin-model-00001-of-00005.safetensors.partial"]
    );
    run.ok(&arguments(&list, &["--out", "full", "--resume"]));
    run.ok(&arguments(&list, &["--out", "whole"]));
    fs::remove_file(run.path("full/README")).unwrap();
    assert!(contents(&run.path("full")) == contents(&run.path("whole")));
}

#[test]
fn an_index_of_another_model_goes_first() {
    let folder = tempdir().unwrap();
    let index = folder.path().join("model.safetensors.index.json");
    let save = |seed: u64, share: Share| {
        let fills = ["a", "b"].map(|name| {
            let tensor = Tensor::new(name, [1000]).unwrap();
            Fill::new(&tensor, &Init::normal(0.0, 1.0), seed).unwrap()
        });
        let metadata = [("seed", seed.to_string())];
        let shards = Shards::split(&fills, 4000, &metadata).unwrap();
        let saved = Writer::default().save_shards(
            folder.path(),
            &shards,
            share,
            &mut cpu::fill_range,
            &mut silent,
        );
        saved.unwrap()
    };
    assert_eq!(save(1, Share::ALL).missing, [""; 0]);
    let first = fs::read(&index).unwrap();
    // Half of another model: no index may say that the halves belong together.
    let saved = save(2, Share { rank: 1, size: 2 });
    assert_eq!(saved.files, 1);
    assert_eq!(saved.missing, ["model-00001-of-00002.safetensors"]);
    assert!(!index.exists());
    assert_eq!(save(2, Share { rank: 0, size: 2 }).missing, [""; 0]);
    assert_ne!(fs::read(&index).unwrap(), first);
}

/// One process on the CPU, two on a GPU each (there may be one only: local ranks are counted
/// round), and one that goes on on the CPU with what was made on a GPU: one model.
#[test]
fn gpu_and_cpu_write_the_same_files() {
    let run = Run::new();
    let list = model("gpt2.json");
    let list = list.to_str().unwrap();
    let arguments = [
        "init",
        "gpt2",
        "--seed",
        "42",
        "--dtype",
        "f16",
        "--max-shard-size",
        "50MB",
        "--tensors",
        list,
    ];
    run.ok(&[&arguments[..], &["--backend", "cpu", "--out", "cpu"]].concat());
    let expected = contents(&run.path("cpu"));
    if devices().is_empty() {
        return;
    }
    let on_gpu = ["--backend", "gpu", "--out", "gpu", "--distributed"];
    for rank in ["0", "1"] {
        let mut command = run.command(&[&arguments[..], &on_gpu].concat());
        let environment = [("RANK", rank), ("WORLD_SIZE", "2"), ("LOCAL_RANK", rank)];
        let ended = ended(command.envs(environment).output().unwrap());
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        assert!(ended.stderr.contains("on the GPU, "), "{}", ended.stderr);
    }
    assert!(contents(&run.path("gpu")) == expected);
    fs::remove_file(run.path("gpu/model-00002-of-00005.safetensors")).unwrap();
    run.ok(&[
        &arguments[..],
        &["--backend", "cpu", "--out", "gpu", "--resume"],
    ]
    .concat());
    assert!(contents(&run.path("gpu")) == expected);
}

#[test]
fn every_rank_of_a_training_gets_what_it_holds() {
    let run = Run::new();
    let list = model("mlp-mnist.json");
    let spec = run.write(
        "spec.toml",
        r#"
            mesh = [{ name = "fsdp", size = 2 }, { name = "tp", size = 2 }]
            [[rule]]
            match = "*.weight"
            placements = ["shard(1)", "shard(0)"]
            [[rule]]
            match = "*"
            placements = ["flat", "replicate"]
        "#,
    );
    let arguments = [
        "init",
        "xavier",
        "--seed",
        "5",
        "--backend",
        "cpu",
        "--tensors",
        list.to_str().unwrap(),
        "--shard-spec",
        spec.to_str().unwrap(),
        "--out",
    ];
    run.ok(&[&arguments[..], &["ranks"]].concat());
    // A process a rank, and two processes for four ranks: the same files.
    for (folder, size) in [("four/", 4), ("two/", 2)] {
        for rank in (0..size).rev() {
            let (rank, size) = (rank.to_string(), size.to_string());
            let world = ["--rank", &rank, "--world-size", &size];
            run.ok(&[&arguments[..], &[folder], &world].concat());
        }
        assert!(
            contents(&run.path(folder)) == contents(&run.path("ranks")),
            "{folder}"
        );
    }

    let files = contents(&run.path("ranks"));
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        [0, 1, 2, 3]
            .map(|rank| checkpoint::rank_file_name(rank, 4))
            .iter()
            .collect::<Vec<_>>()
    );
    let list = read_tensor_list(&list).unwrap();
    let plan = Recipe::preset("xavier")
        .unwrap()
        .resolve(&list, Some(5), None)
        .unwrap();
    for (rank, file) in files.values().enumerate() {
        let (fsdp, tp) = (rank as u64 / 2, rank as u64 % 2);
        let (_, header) = safetensors::SafeTensors::read_metadata(file).unwrap();
        let metadata = header.metadata().clone().unwrap();
        assert_eq!(metadata["rank"], rank.to_string());
        assert_eq!(
            (metadata["ranks"].as_str(), metadata["mesh"].as_str()),
            ("4", "fsdp=2,tp=2")
        );
        let read = safetensors::SafeTensors::deserialize(file).unwrap();
        assert_eq!(read.len(), plan.entries.len());
        for fill in plan.iter() {
            let part = match *fill.shape().dims() {
                [rows, columns] => {
                    // Halves as torch cuts them: the first is the larger one.
                    let half = |n: u64, which: u64| {
                        let size = n.div_ceil(2);
                        (which * size).min(n)..((which + 1) * size).min(n)
                    };
                    fill.clone()
                        .slice([half(rows, tp), half(columns, fsdp)])
                        .unwrap()
                }
                [n] => {
                    let size = n.div_ceil(2);
                    fill.clone()
                        .flat((fsdp * size).min(n)..((fsdp + 1) * size).min(n))
                        .unwrap()
                }
                _ => panic!("an MLP has no such tensor"),
            };
            let mut expected = vec![0; part.bytes() as usize];
            cpu::fill(&part, &mut expected).unwrap();
            let view = read.tensor(fill.name()).unwrap();
            assert!(view.data() == expected, "rank {rank}: {}", fill.name());
            assert_eq!(
                metadata[&format!("shape:{}", fill.name())],
                fill.shape().to_string()
            );
        }
    }

    let refused = |more: &[&str], texts: &[&str]| {
        run.refused(&[&arguments[..], more].concat(), 2, texts);
    };
    refused(
        &["m.safetensors"],
        &["the ranks of --shard-spec have a file each: give a folder"],
    );
    refused(
        &["ranks", "--max-shard-size", "1GB"],
        &["--max-shard-size has no say"],
    );
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let run = Run::new();
    let list = model("gpt2.json");
    let refused = |more: &[&str], status: i32, texts: &[&str]| {
        let arguments = [&GPT2[..8], &["--tensors", list.to_str().unwrap()], more].concat();
        run.refused(&arguments, status, texts);
    };
    refused(
        &["--out", "m.bin"],
        2,
        &["--out \"m.bin\"", "end its name with /"],
    );
    refused(&["--out", "-"], 2, &["--out \"-\""]);
    refused(
        &["--out", "m.safetensors", "--max-shard-size", "1GB"],
        2,
        &["is for a folder"],
    );
    refused(
        &["--out", "m.safetensors", "--rank", "0", "--world-size", "2"],
        2,
        &["several processes write to a folder"],
    );
    refused(
        &["--out", "m", "--rank", "2", "--world-size", "2"],
        2,
        &["--rank 2", "use 0 to 1"],
    );
    refused(&["--out", "null:", "--resume"], 2, &["there is nothing"]);
    for more in [
        &["--out", "m", "--rank", "0"][..],
        &["--out", "m", "--max-shard-size", "0"],
        &["--out", "m", "--memory", "much"],
    ] {
        let ended = run.run(&[&GPT2[..8], &["--tensors", list.to_str().unwrap()], more].concat());
        assert_eq!(ended.status, 2, "{more:?}: {}", ended.stderr);
    }
    let mut command = run.command(
        &[
            &GPT2[..8],
            &[
                "--tensors",
                list.to_str().unwrap(),
                "--out",
                "m",
                "--distributed",
            ],
        ]
        .concat(),
    );
    for name in ["RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"] {
        command.env_remove(name);
    }
    let ended = ended(command.output().unwrap());
    assert_eq!(ended.status, 2);
    assert!(
        ended.stderr.contains("the environment says no rank"),
        "{}",
        ended.stderr
    );
    assert_eq!(run.files(), [""; 0]);
}

#[test]
fn a_second_writer_of_a_file_is_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("w.bin");
    let fill = fill("w", &[100], DType::F32);
    let contents = Contents::raw(&fill);
    let mut tried = None;
    let mut make = |fill: &Fill, start: u64, out: &mut [u8]| {
        // While the first is writing it.
        tried = Some(checkpoint::save(
            &path,
            &contents,
            &mut cpu::fill_range,
            &mut silent,
        ));
        cpu::fill_range(fill, start, out)
    };
    checkpoint::save(&path, &contents, &mut make, &mut silent).unwrap();
    let error = tried.unwrap().unwrap_err();
    assert!(matches!(error, Error::Io { .. }));
    assert!(
        error.to_string().contains("another process is writing it"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap().len(), 400);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn memory_is_bounded_by_the_setting() {
    let fill = fill("w", &[3_000_001], DType::F16);
    let contents = Contents::raw(&fill);
    let mut expected = vec![0; fill.bytes() as usize];
    cpu::fill(&fill, &mut expected).unwrap();
    for memory in [0, 1 << 20, Writer::MEMORY, u64::MAX] {
        let writer = Writer::default().with_memory(memory);
        let most = (memory / 8).max(64 << 10);
        let mut largest = 0;
        let mut make = |fill: &Fill, start: u64, out: &mut [u8]| {
            largest = largest.max(out.len() as u64);
            cpu::fill_range(fill, start, out)
        };
        let mut file = Vec::new();
        writer
            .write_to(&mut file, "memory", &contents, &mut make, &mut silent)
            .unwrap();
        assert!(file == expected, "{memory}");
        assert!(
            largest <= most && largest <= 32 << 20,
            "{largest} of {memory}"
        );
    }
}

#[test]
fn a_gpu_works_ahead_and_writes_the_same_files() {
    let fills = [
        fill("small", &[3], DType::F16),
        fill("large", &[1_500_001], DType::F16),
        fill("empty", &[4, 4], DType::F32)
            .slice([0..4, 2..2])
            .unwrap(),
        fill("rows", &[1000, 1000], DType::F32)
            .slice([100..900, 7..993])
            .unwrap(),
        Fill::new(
            &Tensor::new("orthogonal", [300, 200]).unwrap(),
            &Init::orthogonal(),
            42,
        )
        .unwrap(),
        fill("last", &[70_000], DType::BF16),
    ];
    // Orthogonal matrices promise the same bits on one device only.
    let all = Contents::safetensors(&fills, &[]).unwrap();
    let exact: Vec<Fill> = fills
        .iter()
        .filter(|fill| fill.name() != "orthogonal")
        .cloned()
        .collect();
    let exact = Contents::safetensors(&exact, &[]).unwrap();
    let write = |contents: &Contents<'_>, make: &mut dyn checkpoint::Make, memory: u64| {
        let mut file = Vec::new();
        let writer = Writer::default().with_memory(memory);
        writer
            .write_to(&mut file, "memory", contents, make, &mut silent)
            .unwrap();
        file
    };
    for (name, gpu) in devices() {
        for memory in [0, 4 << 20, Writer::MEMORY] {
            let mut read_back = gpu::ReadBack::new(&gpu);
            let on_gpu = write(&exact, &mut read_back, memory);
            assert!(
                on_gpu == write(&exact, &mut cpu::fill_range, Writer::MEMORY),
                "{name}, {memory}"
            );
            // Twice the same, in whatever pieces, and as piece by piece without working ahead.
            let mut alone =
                |fill: &Fill, start: u64, out: &mut [u8]| gpu.fill_range_to_host(fill, start, out);
            assert!(
                write(&all, &mut read_back, memory) == write(&all, &mut alone, Writer::MEMORY),
                "{name}, {memory}"
            );
        }
        // What is begun and not taken does not stand in the way of something else.
        let mut read_back = gpu::ReadBack::new(&gpu);
        let (mut expected, mut taken) = (vec![0; 6], vec![0; 6]);
        read_back.begin(&fills[1], 0..1000).unwrap();
        read_back.begin(&fills[1], 1000..2000).unwrap();
        read_back.take(&fills[0], 0, &mut taken).unwrap();
        cpu::fill(&fills[0], &mut expected).unwrap();
        assert_eq!(taken, expected, "{name}");
        let error = read_back.begin(&fills[0], 2..4).unwrap_err();
        assert!(
            matches!(error, Error::LengthMismatch { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn an_interrupted_run_leaves_whole_shards_and_no_beginnings() {
    let list = model("gpt2.json");
    let folder = tempdir().unwrap();
    let plan = Recipe::preset("gpt2")
        .unwrap()
        .resolve(
            &read_tensor_list(&list).unwrap(),
            Some(42),
            Some(DType::BF16),
        )
        .unwrap();
    let fills = plan.fills();
    let shards = Shards::split(&fills, 50_000_000, &[]).unwrap();
    let mut bytes = 0;
    let stopped = Writer::default().save_shards(
        folder.path(),
        &shards,
        Share::ALL,
        &mut cpu::fill_range,
        &mut |made| {
            bytes += made;
            if bytes > 120_000_000 {
                std::ops::ControlFlow::Break(())
            } else {
                std::ops::ControlFlow::Continue(())
            }
        },
    );
    assert!(matches!(stopped, Err(Error::Interrupted)));
    let left = contents(folder.path());
    assert_eq!(
        left.keys().collect::<Vec<_>>(),
        ["model-00001-of-00005.safetensors"]
    );
    assert_eq!(hidden(folder.path()), [""; 0]);
}

proptest! {
    /// Every tensor is in one shard, in order, no shard is larger than it must be; every shard
    /// is one rank's.
    #[test]
    fn every_tensor_is_written_once(
        sizes in proptest::collection::vec(0u64..5000, 0..40),
        max_bytes in 1u64..20_000,
        size in 1u64..12,
    ) {
        let fills: Vec<Fill> = sizes
            .iter()
            .enumerate()
            .map(|(number, &elements)| {
                let whole = fill(&number.to_string(), &[5000], DType::BF16);
                whole.slice(std::slice::from_ref(&(0..elements))).unwrap()
            })
            .collect();
        let shards = Shards::split(&fills, max_bytes, &[]).unwrap();
        let files = shards.files();
        let names: Vec<&str> = files.iter().flat_map(|file| file.contents().fills()).map(|fill| fill.name()).collect();
        prop_assert_eq!(names, fills.iter().map(Fill::name).collect::<Vec<_>>());
        for (file, next) in files.iter().zip(files.iter().skip(1)) {
            let bytes = file.contents().weight_bytes();
            prop_assert!(bytes <= u128::from(max_bytes) || file.contents().fills().len() == 1);
            let first_of_next = next.contents().fills()[0];
            prop_assert!(bytes + u128::from(first_of_next.bytes()) > u128::from(max_bytes));
        }
        prop_assert_eq!(shards.index().is_some(), files.len() > 1);
        let mut written: Vec<&str> = (0..size)
            .flat_map(|rank| shards.of(Share { rank, size }))
            .map(|file| file.name())
            .collect();
        written.sort_unstable();
        prop_assert_eq!(written, files.iter().map(|file| file.name()).collect::<Vec<_>>());
        // None has more than the fair share and one file.
        let most = files.iter().map(|file| file.contents().weight_bytes()).max().unwrap_or(0);
        let fair = shards.weight_bytes() / u128::from(size);
        for rank in 0..size {
            let bytes: u128 = shards.of(Share { rank, size }).iter().map(|file| file.contents().weight_bytes()).sum();
            prop_assert!(bytes <= fair + most);
        }
    }
}
