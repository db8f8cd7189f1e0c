//! Several processes under the launchers that people use write the same files as one process.
//!
//! `scripts/test-launchers` runs these tests. They need Open MPI, MPICH, a Slurm of one machine, which the
//! script starts, and PyTorch's `torchrun`. The environment that launchers set is tested without them in
//! `crates/fanin-cli/src/distributed.rs` and `crates/fanin-cli/tests/command/shards.rs`.

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

/// Returns the program of a launcher: the name that the script found, or the usual one.
fn program(variable: &str, usual: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| usual.to_owned())
}

fn open_mpi<'a>(processes: u32, command: Fanin<'a>) -> Fanin<'a> {
    let (mpirun, processes) = (program("OPEN_MPI", "mpirun"), processes.to_string());
    let words = [
        &mpirun[..],
        "--oversubscribe",
        "--bind-to",
        "none",
        "-n",
        &processes,
    ];
    command
        .under(words)
        // The user of a container is root, which mpirun refuses by default.
        .env("OMPI_ALLOW_RUN_AS_ROOT", 1)
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", 1)
}

fn mpich<'a>(processes: u32, command: Fanin<'a>) -> Fanin<'a> {
    let (mpiexec, processes) = (program("MPICH", "mpiexec.mpich"), processes.to_string());
    command.under([&mpiexec[..], "-n", &processes])
}

fn slurm<'a>(processes: u32, command: Fanin<'a>) -> Fanin<'a> {
    // Processes can outnumber the cores of a small machine.
    command.under(["srun", "--overcommit", "-n", &processes.to_string()])
}

fn torchrun<'a>(processes: u32, command: Fanin<'a>) -> Fanin<'a> {
    let (torchrun, processes) = (program("TORCHRUN", "torchrun"), processes.to_string());
    command.under([
        &torchrun[..],
        "--standalone",
        "--nproc-per-node",
        &processes,
        "--no-python",
    ])
}

/// Compares the files of several processes with those of one. Each process must have its rank from the
/// variables of the launcher with this name.
fn compare<'a>(
    run: &'a Run,
    name: &str,
    launch: impl Fn(u32, Fanin<'a>) -> Fanin<'a>,
    counts: &[u32],
) {
    let expected = expected(run);
    for &processes in counts {
        let folder = format!("shared{processes}");
        let ended = launch(processes, init(run, &folder).and("--distributed")).ok();
        for rank in 0..processes {
            ended.says(&format!("rank {rank} of {processes} ({name}): "));
        }
        let seen = hashes(&run.path(&folder));
        assert_eq!(seen, expected, "{name}, {processes} processes");
        println!(
            "{name}, {processes} processes: the same {} files",
            seen.len()
        );
        fs::remove_dir_all(run.path(&folder)).unwrap();
    }
}

#[test]
#[ignore = "needs Open MPI: scripts/test-launchers"]
fn open_mpi_writes_the_files_of_one_process() {
    compare(&Run::new(), "Open MPI", open_mpi, &[1, 2, 3, 8]);
}

#[test]
#[ignore = "needs MPICH: scripts/test-launchers"]
fn mpich_writes_the_files_of_one_process() {
    compare(&Run::new(), "MPI (PMI)", mpich, &[1, 3]);
}

#[test]
#[ignore = "needs Slurm: scripts/test-launchers"]
fn slurm_writes_the_files_of_one_process() {
    compare(&Run::new(), "Slurm", slurm, &[1, 3]);
}

#[test]
#[ignore = "needs torchrun: scripts/test-launchers"]
fn torchrun_writes_the_files_of_one_process() {
    compare(&Run::new(), "torchrun", torchrun, &[3]);
}

#[test]
#[ignore = "needs Open MPI: scripts/test-launchers"]
fn open_mpi_runs_a_killed_rank_again() {
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
    let killed = open_mpi(3, distributed.clone().under(["sh", "-c", script])).run();
    assert_ne!(killed.status, 0, "{}", killed.stderr);
    let left = hashes(&run.path("shared"));
    assert!(!left.contains_key("model.safetensors.index.json"));
    for (name, hash) in left.iter().filter(|(name, _)| !name.starts_with('.')) {
        assert_eq!(hash, &expected[name], "{name}");
    }

    open_mpi(3, distributed.and("--resume")).ok();
    assert_eq!(hashes(&run.path("shared")), expected);
}
