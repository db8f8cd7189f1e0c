//! A process that may start few threads or none does the same work on those that it has.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::run::{Fanin, Run};

/// A user that has no other process.
const NOBODY: &str = "54321";

/// Returns a folder that every user can write, with a copy of the program: the folder of the build may be
/// closed to others.
fn open_folder() -> Run {
    let run = Run::new();
    fs::set_permissions(run.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_fanin"), run.path("fanin")).unwrap();
    run.list(
        "list.json",
        &[
            ("a.weight", &[300, 1000]),
            ("b.weight", &[500, 1000]),
            ("q.weight", &[64, 64]),
        ],
    );
    run.recipe("own.toml", "normal");
    run
}

/// Lets the command have this many threads, its first one included.
fn with_threads<'a>(run: &Run, command: Fanin<'a>, threads: u32) -> Fanin<'a> {
    let command = command.after(&format!(
        "ulimit -u {threads}; shift; set -- ./fanin \"$@\""
    ));
    // The limit does not hold for the superuser. It counts the processes of a user, so for any other user
    // no thread can be had.
    match fs::metadata(run.path("fanin")).unwrap().uid() {
        0 => command.under(["setpriv", "--reuid", NOBODY, "--clear-groups"]),
        _ => command,
    }
}

#[test]
fn the_files_are_the_same_with_few_threads() {
    let run = open_folder();
    let init = |out: &str| {
        run.cpu("init own.toml --tensors list.json --seed 1 --out")
            .arg(out)
    };
    init("expected.safetensors").ok();
    init("shards-expected/").and("--max-shard-size 1MB").ok();
    for threads in [1, 2, 3] {
        let limited = |command| with_threads(&run, command, threads);
        let one = format!("{threads}.safetensors");
        limited(init(&one)).ok();
        assert!(
            run.read(&one) == run.read("expected.safetensors"),
            "{threads}"
        );
        let folder = format!("{threads}/");
        limited(init(&folder).and("--max-shard-size 1MB")).ok();
        let names = fs::read_dir(run.path("shards-expected")).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3 + 1, "shards and an index");
        for name in names {
            let [got, expected] = [&folder, "shards-expected/"]
                .map(|folder| fs::read(run.path(folder).join(&name)).unwrap());
            assert!(got == expected, "{threads}: {name:?}");
        }
        for command in [
            run.cpu("verify expected.safetensors --recipe own.toml --seed 1"),
            run.cpu("diff own.toml expected.safetensors --seed 1"),
            run.fanin("stats expected.safetensors --recipe own.toml"),
            run.fanin("plot expected.safetensors --recipe own.toml"),
            run.fanin("signal --depth 3 --width 8"),
        ] {
            limited(command).ok();
        }
    }
}

#[test]
fn threads_that_are_asked_for_and_refused_are_an_error() {
    let run = open_folder();
    let command =
        run.cpu("init own.toml --tensors list.json --seed 1 --out out.safetensors --threads 3");
    with_threads(&run, command, 1).refused(1, &["cannot start 3 threads: "]);
}
