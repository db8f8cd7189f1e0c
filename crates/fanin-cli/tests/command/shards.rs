//! The files of a model in a folder are the same to the byte from one process and from several that do
//! not communicate. `faults.rs` kills them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fanin::checkpoint::{self, Contents, Shards, Share, Writer, read_tensor_list, silent};
use fanin::{DType, Error, Fill, Init, Recipe, Tensor, cpu, gpu};
use proptest::prelude::*;
use tempfile::tempdir;

use crate::devices::devices;
use crate::run::{Fanin, Run, ended, model};

/// Returns a command that writes GPT-2 in bf16, 249 MB.
fn gpt2<'a>(run: &'a Run, more: &str) -> Fanin<'a> {
    run.cpu("init gpt2 --seed 42 --dtype bf16")
        .tensors(model("gpt2.json"))
        .and(more)
}

/// Returns the same command with shards of at most 50 MB. A larger tensor has its own shard.
fn gpt2_shards<'a>(run: &'a Run, more: &str) -> Fanin<'a> {
    gpt2(run, "--max-shard-size 50MB").and(more)
}

/// Returns the plan of the model of [`gpt2`].
fn gpt2_plan() -> fanin::Plan {
    let list = read_tensor_list(model("gpt2.json")).unwrap();
    let recipe = Recipe::preset("gpt2").unwrap();
    recipe.resolve(&list, Some(42), Some(DType::BF16)).unwrap()
}

/// Returns the files of a folder, without hidden ones, which are temporary files.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("the folder exists");
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

/// Returns the names of the hidden files, which a killed process leaves.
fn hidden(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder exists");
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with('.')).collect()
}

fn fill(name: &str, dims: &[u64], dtype: DType) -> Fill {
    let tensor = Tensor::new(name, dims).unwrap();
    let fill = Fill::new(&tensor, &Init::normal(0.0, 0.02), 42).unwrap();
    fill.with_dtype(dtype)
}

#[test]
fn a_model_that_fits_is_one_file() {
    let run = Run::new();
    let init = |out: &str| {
        let init = run.cpu("init kaiming --seed 1");
        init.tensors(model("mlp-mnist.json")).and("--out").and(out)
    };
    init("folder/").ok();
    init("single.safetensors").ok();
    assert_eq!(
        contents(&run.path("folder")),
        BTreeMap::from([(
            "model.safetensors".to_owned(),
            run.read("single.safetensors")
        )])
    );
    // With a model of one file and an index of several, it would be unclear which one to read.
    init("folder --max-shard-size 100kB").refused(
        1,
        &[
            "folder: holds model.safetensors of another model",
            "set overwrite",
            "or use another folder",
        ],
    );
}

#[test]
fn shards_are_read_as_one_model() {
    let run = Run::new();
    gpt2_shards(&run, "--out gpt2")
        .ok()
        .says("124,439,808 parameters in 148 tensors: 248.88 MB")
        .says("to 5 files in gpt2");
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

    // Another reader finds every tensor in the file that the index names, with the right bits.
    let expected = gpt2_plan();
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

    // The index has the tensors in the order of the list, so it serves as a list.
    let again = read_tensor_list(run.path("gpt2/model.safetensors.index.json")).unwrap();
    let names = |list: &fanin::TensorList| -> Vec<String> {
        list.tensors()
            .iter()
            .map(|tensor| tensor.name.clone())
            .collect()
    };
    let list = read_tensor_list(model("gpt2.json")).unwrap();
    assert_eq!(names(&again), names(&list));
}

#[test]
fn any_number_of_processes_writes_the_same_files() {
    let run = Run::new();
    gpt2_shards(&run, "--out one").ok();
    let expected = contents(&run.path("one"));
    let index = "model.safetensors.index.json";
    // The variables of torchrun, mpirun and srun. Most processes run at once, in any order.
    let environments: [(&str, &[&str; 2]); 4] = [
        ("torchrun", &["RANK", "WORLD_SIZE"]),
        ("mpi", &["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"]),
        ("pmi", &["PMI_RANK", "PMI_SIZE"]),
        ("slurm", &["SLURM_PROCID", "SLURM_NTASKS"]),
    ];
    for (size, (folder, [rank_name, size_name])) in [2u64, 3, 8, 5].into_iter().zip(environments) {
        let of_rank = |rank: u64| {
            gpt2_shards(&run, "--distributed --out")
                .arg(folder)
                .env(rank_name, rank)
                .env(size_name, size)
        };
        let mut last = size - 1;
        if folder == "mpi" {
            // One at a time, rank 0 last. The index appears with the last file.
            for rank in (1..size).rev() {
                of_rank(rank)
                    .ok()
                    .says(&format!("rank {rank} of 3 (Open MPI)"))
                    .says("other ranks have yet to write ");
                assert!(!contents(&run.path(folder)).contains_key(index));
            }
            last = 0;
            of_rank(0).ok();
        } else {
            let children: Vec<_> = (0..size).map(|rank| of_rank(rank).spawn()).collect();
            for child in children {
                let ended = ended(child.wait_with_output().unwrap());
                assert_eq!(ended.status, 0, "{}", ended.stderr);
            }
        }
        assert!(contents(&run.path(folder)) == expected, "{folder}");
        assert_eq!(hidden(&run.path(folder)), [""; 0]);

        // A rank that is run again when its files are complete changes nothing.
        let modified = |name: &str| {
            fs::metadata(run.path(folder).join(name))
                .unwrap()
                .modified()
                .unwrap()
        };
        let before: Vec<_> = expected.keys().map(|name| modified(name)).collect();
        of_rank(last).and("--resume").ok();
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
fn an_index_that_a_killed_process_left_is_completed() {
    let run = Run::new();
    run.list(
        "list.json",
        &[("a.weight", &[64, 64]), ("b.weight", &[64, 64])],
    );
    let init = |out: &str| {
        let init = run.cpu("init kaiming --seed 1 --max-shard-size 20KB");
        init.tensors("list.json").and("--out").arg(out)
    };
    init("whole").ok();
    init("killed").ok();
    let index = run.path("killed/model.safetensors.index.json");
    let partial = run.path("killed/.fanin-model.safetensors.index.json.partial");
    fs::rename(index, partial).unwrap();
    init("killed").and("--resume").ok();
    assert_eq!(hidden(&run.path("killed")), [""; 0]);
    assert!(contents(&run.path("killed")) == contents(&run.path("whole")));
}

#[test]
fn incomplete_files_are_removed_once_the_model_is_complete() {
    let run = Run::new();
    run.list(
        "list.json",
        &[("a.weight", &[64, 64]), ("b.weight", &[64, 64])],
    );
    let init = |out: &str, more: &str| {
        let init = run.cpu("init kaiming --seed 1").tensors("list.json");
        init.and("--out").arg(out).and(more)
    };
    let leave = |folder: &str, targets: &[&str]| {
        for target in targets {
            let partial = format!("{folder}/.fanin-{target}.partial");
            fs::write(run.path(&partial), "cut sh").unwrap();
        }
    };
    init("whole", "--max-shard-size 20KB").ok();
    init("whole.safetensors", "").ok();
    // Of a file that is complete, of one that another size gives, and of the index.
    let targets = [
        "model-00001-of-00002.safetensors",
        "model-00003-of-00007.safetensors",
        "model.safetensors",
        "model.safetensors.index.json",
    ];
    leave("whole", &targets);
    let own = run.path("whole/.fanin-notes.partial");
    fs::write(&own, "another program's").unwrap();
    init("whole", "--max-shard-size 20KB --resume").ok();
    assert_eq!(hidden(&run.path("whole")), [".fanin-notes.partial"]);

    leave(".", &["whole.safetensors"]);
    init("whole.safetensors", "--resume").ok();
    assert_eq!(hidden(&run.path(".")), [""; 0]);
}

/// A file size limit stops a write halfway, as a full disk does.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_other_files() {
    let run = Run::new();
    // 40000 blocks of 1024 bytes, 41 MB. The first tensor has 77 MB.
    let limited = |more: &str| {
        let init = gpt2_shards(&run, "--out full").and(more);
        init.after("ulimit -f 40000").ends(1)
    };
    fs::create_dir(run.path("full")).unwrap();
    fs::write(run.path("full/README"), "kept").unwrap();
    let end = limited("");
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

    // With --resume the incomplete file stays, and is completed when there is room.
    limited("--resume");
    assert_eq!(
        hidden(&run.path("full")),
        [".fanin-model-00001-of-00005.safetensors.partial"]
    );
    gpt2_shards(&run, "--out full --resume").ok();
    gpt2_shards(&run, "--out whole").ok();
    fs::remove_file(run.path("full/README")).unwrap();
    assert!(contents(&run.path("full")) == contents(&run.path("whole")));
}

#[test]
fn an_index_of_another_model_is_removed_first() {
    let folder = tempdir().unwrap();
    let index = folder.path().join("model.safetensors.index.json");
    let save = |seed: u64, share: Share| {
        let fills = ["a", "b"].map(|name| {
            let tensor = Tensor::new(name, [1000]).unwrap();
            Fill::new(&tensor, &Init::normal(0.0, 1.0), seed).unwrap()
        });
        let metadata = [("seed", seed.to_string())];
        let shards = Shards::split(&fills, 4000, &metadata).unwrap();
        let writer = Writer::default().with_overwrite(true);
        let make = &mut cpu::fill_range;
        let saved = writer.save_shards(folder.path(), &shards, share, make, &mut silent);
        saved.unwrap()
    };
    assert_eq!(save(1, Share::ALL).missing, [""; 0]);
    let first = fs::read(&index).unwrap();
    // Half of the files are of another model, so no index may list them together.
    let saved = save(2, Share { rank: 1, size: 2 });
    assert_eq!(saved.files, 1);
    assert_eq!(saved.missing, ["model-00001-of-00002.safetensors"]);
    assert!(!index.exists());
    assert_eq!(save(2, Share { rank: 0, size: 2 }).missing, [""; 0]);
    assert_ne!(fs::read(&index).unwrap(), first);
}

/// One process on the CPU, two processes on GPUs (local ranks are taken modulo the number of GPUs),
/// and one that resumes on the CPU a model that was made on a GPU write the same files.
#[test]
fn gpu_and_cpu_write_the_same_files() {
    let run = Run::new();
    let init = |more: &str| {
        let init = run.fanin("init gpt2 --seed 42 --dtype f16 --max-shard-size 50MB");
        init.tensors(model("gpt2.json")).and(more)
    };
    init("--backend cpu --out cpu").ok();
    let expected = contents(&run.path("cpu"));
    if devices().is_empty() {
        return;
    }
    for rank in [0, 1] {
        init("--backend gpu --out gpu --distributed")
            .env("RANK", rank)
            .env("WORLD_SIZE", 2)
            .env("LOCAL_RANK", rank)
            .ok()
            .says("on the GPU, ");
    }
    assert!(contents(&run.path("gpu")) == expected);
    fs::remove_file(run.path("gpu/model-00002-of-00005.safetensors")).unwrap();
    init("--backend cpu --out gpu --resume").ok();
    assert!(contents(&run.path("gpu")) == expected);
}

#[test]
fn every_rank_of_a_training_gets_its_parts() {
    let run = Run::new();
    let list = model("mlp-mnist.json");
    run.write(
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
    let init = |out: &str| {
        run.cpu("init xavier --seed 5 --shard-spec spec.toml")
            .tensors(&list)
            .and("--out")
            .and(out)
    };
    init("ranks").ok();
    // One process for each of the four ranks, and two processes, write the same files.
    for (folder, size) in [("four/", 4), ("two/", 2)] {
        for rank in (0..size).rev() {
            init(&format!("{folder} --rank {rank} --world-size {size}")).ok();
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
    let tensors = read_tensor_list(&list).unwrap();
    let plan = Recipe::preset("xavier")
        .unwrap()
        .resolve(&tensors, Some(5), None)
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
                    // torch makes the first half the larger one.
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
                _ => panic!("an MLP has matrices and vectors only"),
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

    init("m.safetensors").refused(
        2,
        &["--shard-spec writes a file for each rank: give a folder"],
    );
    init("ranks --max-shard-size 1GB").refused(
        2,
        &["--max-shard-size cannot be combined with --shard-spec"],
    );
}

#[test]
fn invalid_arguments_are_refused() {
    let run = Run::new();
    for (arguments, texts) in [
        (
            "--out m.bin",
            &["--out \"m.bin\"", "end its name with /"][..],
        ),
        ("--out -", &["--out \"-\""]),
        (
            "--out m.safetensors --max-shard-size 1GB",
            &["--max-shard-size needs a folder"],
        ),
        (
            "--out m.safetensors --rank 0 --world-size 2",
            &["several processes write several files: give a folder"],
        ),
        (
            "--out m --rank 2 --world-size 2",
            &["--rank 2 is out of range", "use 0 to 1"],
        ),
        (
            "--out null: --resume",
            &["--resume needs an output on disk, not null:"],
        ),
    ] {
        gpt2(&run, arguments).refused(2, texts);
    }
    for arguments in [
        "--out m --rank 0",
        "--out m --max-shard-size 0",
        "--out m --memory much",
    ] {
        gpt2(&run, arguments).ends(2);
    }
    // An empty variable counts as one that is not set.
    let mut distributed = gpt2(&run, "--out m --distributed");
    for name in ["RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"] {
        distributed = distributed.env(name, "");
    }
    distributed.ends(2).says("no launcher has set a rank");
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
        // The first writer is at work.
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
            // Other sizes of pieces, and pieces that are not begun ahead, give the same bits.
            let mut alone =
                |fill: &Fill, start: u64, out: &mut [u8]| gpu.fill_range_to_host(fill, start, out);
            assert!(
                write(&all, &mut read_back, memory) == write(&all, &mut alone, Writer::MEMORY),
                "{name}, {memory}"
            );
        }
        // Pieces that were begun and not taken do not affect others.
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
fn an_interrupted_run_leaves_only_complete_shards() {
    let folder = tempdir().unwrap();
    let fills = gpt2_plan().into_fills();
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
    /// Every tensor is in exactly one shard, in order. No shard is larger than needed, and every
    /// shard belongs to exactly one rank.
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
        let in_files = files.iter().flat_map(|file| file.contents().fills());
        let names: Vec<&str> = in_files.map(|fill| fill.name()).collect();
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
        // No rank has more than an equal share and one file.
        let most = files.iter().map(|file| file.contents().weight_bytes()).max().unwrap_or(0);
        let fair = shards.weight_bytes() / u128::from(size);
        for rank in 0..size {
            let files = shards.of(Share { rank, size });
            let bytes: u128 = files.iter().map(|file| file.contents().weight_bytes()).sum();
            prop_assert!(bytes <= fair + most);
        }
    }
}
