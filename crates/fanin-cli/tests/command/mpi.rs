//! Many processes, on the launchers that people run: the files are those of one process.
//!
//! `scripts/test-mpi` runs these tests: they need Open MPI's `mpirun`, and PyTorch's `torchrun`
//! (or what TORCHRUN names in its place), without which the script leaves one out. What the
//! launchers tell their processes is tested without them in `crates/fanin-cli/tests/command/shards.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::run::{Ended, Run, ended, model};

/// GPT-2 in f16 in shards of at most 30 MB: seven files, the largest of 77 MB.
fn arguments(list: &Path, out: &str) -> Vec<String> {
    let list = list.display().to_string();
    let text = [
        "init",
        "gpt2",
        "--seed",
        "7",
        "--dtype",
        "f16",
        "--backend",
        "cpu",
        "--threads",
        "1",
        "--max-shard-size",
        "30MB",
        "--tensors",
        &list,
        "--out",
        out,
    ];
    text.map(str::to_owned).to_vec()
}

/// The SHA-256 of each file of a folder, hidden ones too.
fn hashes(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
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

fn mpirun(run: &Run, processes: u32, arguments: &[String]) -> Ended {
    let mut command = Command::new("mpirun");
    command
        .args([
            "--oversubscribe",
            "--bind-to",
            "none",
            "-n",
            &processes.to_string(),
        ])
        .arg(env!("CARGO_BIN_EXE_fanin"))
        .args(arguments)
        .current_dir(run.path("."))
        .stdin(Stdio::null())
        // In a container everybody is root, which mpirun takes for a mistake.
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    ended(command.output().expect("mpirun is installed"))
}

#[test]
#[ignore = "needs Open MPI: scripts/test-mpi"]
fn processes_under_mpirun_write_what_one_writes() {
    let run = Run::new();
    let list = model("gpt2.json");
    let alone: Vec<String> = arguments(&list, "alone");
    run.ok(&alone.iter().map(String::as_str).collect::<Vec<_>>());
    let expected = hashes(&run.path("alone"));
    for (name, hash) in &expected {
        println!("{hash}  {name}");
    }
    for processes in [1, 2, 3, 8] {
        let folder = format!("mpi{processes}");
        let mut distributed = arguments(&list, &folder);
        distributed.push("--distributed".to_owned());
        let ended = mpirun(&run, processes, &distributed);
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        for rank in 0..processes {
            let said = format!("rank {rank} of {processes} (Open MPI): ");
            assert!(ended.stderr.contains(&said), "{}", ended.stderr);
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
fn a_rank_that_was_killed_is_run_again() {
    let run = Run::new();
    let list = model("gpt2.json");
    let alone: Vec<String> = arguments(&list, "alone");
    run.ok(&alone.iter().map(String::as_str).collect::<Vec<_>>());
    let expected = hashes(&run.path("alone"));

    // Rank 1 kills itself as soon as it has begun a file; mpirun then ends the others, or they
    // have ended by then.
    let mut distributed = arguments(&list, "shared");
    distributed.push("--distributed".to_owned());
    let script = "\"$0\" \"$@\" & child=$!\n\
                  if [ \"$OMPI_COMM_WORLD_RANK\" = 1 ]; then\n\
                      until ls shared/.fanin-*.partial >/dev/null 2>&1; do sleep 0.01; done\n\
                      kill -9 $child\n\
                  fi\n\
                  wait $child";
    let mut command = Command::new("mpirun");
    command
        .args([
            "--oversubscribe",
            "--bind-to",
            "none",
            "-n",
            "3",
            "sh",
            "-c",
            script,
        ])
        .arg(env!("CARGO_BIN_EXE_fanin"))
        .args(&distributed)
        .current_dir(run.path("."))
        .stdin(Stdio::null())
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    let killed = ended(command.output().expect("mpirun is installed"));
    assert_ne!(killed.status, 0, "{}", killed.stderr);
    let left = hashes(&run.path("shared"));
    assert!(!left.contains_key("model.safetensors.index.json"));
    for (name, hash) in left.iter().filter(|(name, _)| !name.starts_with('.')) {
        assert_eq!(hash, &expected[name], "{name}");
    }

    distributed.push("--resume".to_owned());
    let again = mpirun(&run, 3, &distributed);
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert_eq!(hashes(&run.path("shared")), expected);
}

#[test]
#[ignore = "needs torchrun: scripts/test-mpi"]
fn processes_under_torchrun_write_what_one_writes() {
    let torchrun = std::env::var("TORCHRUN").unwrap_or_else(|_| "torchrun".to_owned());
    let run = Run::new();
    let list = model("gpt2.json");
    let alone: Vec<String> = arguments(&list, "alone");
    run.ok(&alone.iter().map(String::as_str).collect::<Vec<_>>());
    let mut distributed = arguments(&list, "shared");
    distributed.push("--distributed".to_owned());
    let mut command = Command::new(&torchrun);
    command
        .args(["--standalone", "--nproc-per-node", "3", "--no-python"])
        .arg(env!("CARGO_BIN_EXE_fanin"))
        .args(&distributed)
        .current_dir(run.path("."))
        .stdin(Stdio::null());
    let ended = ended(command.output().expect("torchrun is installed"));
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    for rank in 0..3 {
        assert!(
            ended
                .stderr
                .contains(&format!("rank {rank} of 3 (torchrun): ")),
            "{}",
            ended.stderr
        );
    }
    assert_eq!(hashes(&run.path("shared")), hashes(&run.path("alone")));
    println!("torchrun --nproc-per-node 3: the same files");
}
