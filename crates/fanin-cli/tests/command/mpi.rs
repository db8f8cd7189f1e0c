//! Several processes under the launchers that people use write the same files as one process.
//!
//! `scripts/test-mpi` runs these tests. They need Open MPI's `mpirun`, and PyTorch's `torchrun` (or
//! the program that TORCHRUN names), without which the script skips one test. The environment that
//! launchers set is tested without them in `crates/fanin-cli/tests/command/shards.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::run::{Fanin, Run, model};

/// GPT-2 in f16 in shards of at most 30 MB: seven files, the largest of 77 MB.
fn init<'a>(run: &'a Run, folder: &str) -> Fanin<'a> {
    run.cpu("init gpt2 --seed 7 --dtype f16 --threads 1 --max-shard-size 30MB")
        .tensors(model("gpt2.json"))
        .and("--out")
        .arg(folder)
}

/// Returns the SHA-256 of each file of a folder, hidden ones included.
fn hashes(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("the folder exists");
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            let digest = Sha256::digest(fs::read(&path).unwrap());
            let hex = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                hex,
            )
        })
        .collect()
}

/// Returns the hashes of the files that one process writes.
fn expected(run: &Run) -> BTreeMap<String, String> {
    init(run, "alone").ok();
    hashes(&run.path("alone"))
}

fn mpirun<'a>(processes: u32, command: Fanin<'a>) -> Fanin<'a> {
    let processes = processes.to_string();
    let mpirun = [
        "mpirun",
        "--oversubscribe",
        "--bind-to",
        "none",
        "-n",
        &processes,
    ];
    command
        .under(mpirun)
        // The user of a container is root, which mpirun refuses by default.
        .env("OMPI_ALLOW_RUN_AS_ROOT", 1)
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", 1)
}

#[test]
#[ignore = "needs Open MPI: scripts/test-mpi"]
fn processes_under_mpirun_write_the_files_of_one() {
    let run = Run::new();
    let expected = expected(&run);
    for (name, hash) in &expected {
        println!("{hash}  {name}");
    }
    for processes in [1, 2, 3, 8] {
        let folder = format!("mpi{processes}");
        let ended = mpirun(processes, init(&run, &folder).and("--distributed")).ok();
        for rank in 0..processes {
            ended.says(&format!("rank {rank} of {processes} (Open MPI): "));
        }
        assert_eq!(
            hashes(&run.path(&folder)),
            expected,
            "{processes} processes"
        );
        println!("mpirun -n {processes}: the same {} files", expected.len());
        fs::remove_dir_all(run.path(&folder)).unwrap();
    }
}

#[test]
#[ignore = "needs Open MPI: scripts/test-mpi"]
fn a_killed_rank_can_be_run_again() {
    let run = Run::new();
    let expected = expected(&run);

    // Rank 1 kills itself once it has begun a file. Then mpirun ends the others, unless they have
    // ended before.
    let distributed = init(&run, "shared").and("--distributed");
    let script = "\"$0\" \"$@\" & child=$!\n\
                  if [ \"$OMPI_COMM_WORLD_RANK\" = 1 ]; then\n\
                      until ls shared/.fanin-*.partial >/dev/null 2>&1; do sleep 0.01; done\n\
                      kill -9 $child\n\
                  fi\n\
                  wait $child";
    let killed = mpirun(3, distributed.clone().under(["sh", "-c", script])).run();
    assert_ne!(killed.status, 0, "{}", killed.stderr);
    let left = hashes(&run.path("shared"));
    assert!(!left.contains_key("model.safetensors.index.json"));
    for (name, hash) in left.iter().filter(|(name, _)| !name.starts_with('.')) {
        assert_eq!(hash, &expected[name], "{name}");
    }

    mpirun(3, distributed.and("--resume")).ok();
    assert_eq!(hashes(&run.path("shared")), expected);
}

#[test]
#[ignore = "needs torchrun: scripts/test-mpi"]
fn processes_under_torchrun_write_the_files_of_one() {
    let torchrun = std::env::var("TORCHRUN").unwrap_or_else(|_| "torchrun".to_owned());
    let run = Run::new();
    let expected = expected(&run);
    let ended = init(&run, "shared")
        .and("--distributed")
        .under([
            &torchrun[..],
            "--standalone",
            "--nproc-per-node",
            "3",
            "--no-python",
        ])
        .ok();
    for rank in 0..3 {
        ended.says(&format!("rank {rank} of 3 (torchrun): "));
    }
    assert_eq!(hashes(&run.path("shared")), expected);
    println!("torchrun --nproc-per-node 3: the same files");
}
