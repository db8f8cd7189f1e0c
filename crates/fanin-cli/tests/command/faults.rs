//! Faults from outside: kills and signals at any time, full disks, limits, closed descriptors, and files
//! that somebody removes meanwhile. A file with its final name is always complete and correct, a command
//! that fails says so, and nothing is left over after the last run.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use fanin::checkpoint::{ModelFiles, Saved, Share, Writer, silent};
use fanin::{Fill, Init, ShardSpec, Tensor, cpu};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use tempfile::tempdir;

use crate::run::{Ended, FILL, Fanin, Run, ended};

/// Sends a signal to a process.
fn send(signal: &str, child: &Child) {
    let kill = format!("kill -{signal} {}", child.id());
    let status = Command::new("sh").args(["-c", &kill]).status();
    assert!(status.expect("a shell").success(), "{kill}");
}

/// Waits until something is true. It fails after a minute, which is far longer than a loaded machine takes.
fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns the only line of standard error.
fn error_line(ended: &Ended) -> &str {
    let line = ended.stderr.strip_suffix('\n').unwrap_or_default();
    assert!(line.starts_with("fanin: error: "), "{}", ended.stderr);
    assert!(!line.contains('\n'), "{line}");
    line
}

/// Returns the files of a folder, hidden ones included.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        // A process may rename a file between the two calls.
        .filter_map(|path| {
            Some((
                path.file_name()?.to_str()?.to_owned(),
                fs::read(&path).ok()?,
            ))
        })
        .collect()
}

fn is_partial(name: &str) -> bool {
    name.starts_with(".fanin-")
}

/// The ways in which a model of 24 tensors of 512 KiB is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Single,
    Folder,
    Spec,
}

/// The bytes of the weights.
const MODEL_BYTES: u64 = 24 << 19;

/// The ways that are tested, with their numbers of processes.
const WAYS: [(Kind, u64); 5] = [
    (Kind::Single, 1),
    (Kind::Folder, 1),
    (Kind::Folder, 3),
    (Kind::Spec, 1),
    (Kind::Spec, 3),
];

/// Returns a folder with the list of the model and a shard spec of 4 ranks.
fn model() -> Run {
    let run = Run::new();
    let names: Vec<String> = (0..24).map(|number| format!("{number}.weight")).collect();
    let tensors = names.iter().map(|name| (&name[..], &[256u64, 1024][..]));
    run.list("list.json", &tensors.collect::<Vec<_>>());
    run.write(
        "spec.toml",
        "mesh = [{ name = \"tp\", size = 4 }]\n[[rule]]\nmatch = \"*\"\nplacements = [\"shard(0)\"]\n",
    );
    run
}

/// Returns the command that writes the model into a folder, which exists.
fn init<'a>(run: &'a Run, kind: Kind, out: &str) -> Fanin<'a> {
    let init = run
        .cpu("init kaiming --seed 42 --dtype bf16 --memory 1MiB --threads 1")
        .tensors("list.json");
    match kind {
        Kind::Single => init.and("--out").arg(format!("{out}/w.safetensors")),
        Kind::Folder => init.and("--max-shard-size 2500KiB --out").arg(out),
        Kind::Spec => init.and("--shard-spec spec.toml --out").arg(out),
    }
}

/// Returns the command of each process.
fn processes<'a>(run: &'a Run, (kind, size): (Kind, u64), out: &str, more: &str) -> Vec<Fanin<'a>> {
    let of_rank = |rank| {
        let init = init(run, kind, out).and(more);
        match size {
            1 => init,
            _ => init.and(&format!("--rank {rank} --world-size {size}")),
        }
    };
    (0..size).map(of_rank).collect()
}

/// Returns the files that an undisturbed process writes.
fn expected(run: &Run, kind: Kind) -> BTreeMap<String, Vec<u8>> {
    let folder = format!("expected {kind:?}");
    if fs::create_dir(run.path(&folder)).is_ok() {
        init(run, kind, &folder).ok();
    }
    contents(&run.path(&folder))
}

/// The counts of runs that were ended from outside, a row of the table.
#[derive(Default)]
struct Counts {
    runs: u32,
    /// Those in which a process was ended before it had ended by itself.
    ended: u32,
    /// The files with their final name that were compared after the end.
    files: usize,
    /// The partial files after the end.
    partial: usize,
    /// The files with their final name, after any step, that are not those of an undisturbed process.
    wrong: usize,
    /// The other files that are there after the last run.
    left_over: usize,
}

impl Counts {
    /// Counts wrong files, and returns the numbers of complete and of partial files.
    fn compare(
        &mut self,
        found: &BTreeMap<String, Vec<u8>>,
        expected: &BTreeMap<String, Vec<u8>>,
    ) -> (usize, usize) {
        let complete = found.iter().filter(|(name, _)| !is_partial(name));
        let wrong = complete
            .clone()
            .filter(|(name, bytes)| expected.get(*name) != Some(bytes));
        self.wrong += wrong.count();
        (
            complete.count(),
            found.keys().filter(|name| is_partial(name)).count(),
        )
    }
}

/// The counts of each way.
type Table = Vec<((Kind, u64), Counts)>;

/// Ends runs at random times, and resumes each until it is complete. All files with their final names
/// are compared after each step, and nothing else may be left over after the last one.
fn end_runs(signal: &str, runs: u32, random: &mut StdRng) -> Table {
    let run = model();
    let ways = WAYS.map(|(kind, size)| ((kind, size), expected(&run, kind)));
    let mut table: Table = WAYS.map(|way| (way, Counts::default())).into();
    for number in 0..runs as usize {
        let (way, expected) = &ways[number % ways.len()];
        let counts = &mut table[number % ways.len()].1;
        end_run(&run, *way, expected, signal, random, counts);
    }
    table
}

fn end_run(
    run: &Run,
    way: (Kind, u64),
    expected: &BTreeMap<String, Vec<u8>>,
    signal: &str,
    random: &mut StdRng,
    counts: &mut Counts,
) {
    let folder = run.path("out");
    fs::create_dir(&folder).unwrap();
    // Resumed runs are ended, too.
    let ends = random.random_range(1..=2);
    for number in 0..ends {
        let resume = number > 0 || random.random();
        let more = if resume { "--resume" } else { "" };
        // A run that compares what is there writes less.
        let moment = random.random_range(0..=MODEL_BYTES);
        let mut children: Vec<Child> = processes(run, way, "out", more)
            .iter()
            .map(Fanin::spawn)
            .collect();
        let size = || -> u64 {
            let entries = fs::read_dir(&folder).unwrap().flatten();
            let sizes = entries.filter_map(|entry| Some(entry.metadata().ok()?.len()));
            sizes.sum()
        };
        let all_ended = |children: &mut [Child]| {
            children
                .iter_mut()
                .all(|it| it.try_wait().unwrap().is_some())
        };
        wait_until("the moment comes", || {
            size() >= moment || all_ended(&mut children)
        });
        // One of them, or all.
        let victim = random.random_range(0..=children.len());
        let mut were_ended = 0;
        for (rank, child) in children.iter_mut().enumerate() {
            if (rank == victim || victim == way.1 as usize) && child.try_wait().unwrap().is_none() {
                send(signal, child);
                were_ended += 1;
            }
        }
        let mut statuses = Vec::new();
        for child in children {
            let ended = ended(child.wait_with_output().unwrap());
            if ended.status == 1 {
                assert!(
                    error_line(&ended).contains("interrupted"),
                    "{}",
                    ended.stderr
                );
            }
            statuses.push(ended.status);
        }
        let unsuccessful = statuses.iter().filter(|status| **status != 0).count();
        assert!(unsuccessful <= were_ended, "{way:?}: {statuses:?}");
        let (complete, partial) = counts.compare(&contents(&folder), expected);
        counts.runs += 1;
        counts.ended += u32::from(unsuccessful > 0);
        counts.files += complete;
        counts.partial += partial;
        if signal != "KILL" && !resume {
            counts.left_over += partial;
        }
    }
    // Somebody changes a bit of a file.
    if let Some((name, mut bytes)) = contents(&folder).into_iter().choose(random)
        && !bytes.is_empty()
    {
        let middle = bytes.len() * 2 / 3;
        bytes[middle] ^= 4;
        fs::write(folder.join(name), bytes).unwrap();
    }
    let children = processes(run, way, "out", "--resume");
    let children: Vec<Child> = children.iter().map(Fanin::spawn).collect();
    for child in children {
        let ended = ended(child.wait_with_output().unwrap());
        assert_eq!(ended.status, 0, "{way:?}: {}", ended.stderr);
    }
    let found = contents(&folder);
    let (complete, partial) = counts.compare(&found, expected);
    let absent = expected.len().saturating_sub(complete);
    counts.wrong += absent;
    counts.left_over += partial;
    fs::remove_dir_all(&folder).unwrap();
}

/// Checks that nothing was wrong or left over, and that there was something to see.
fn check(table: &Table) {
    for (way, counts) in table {
        assert_eq!((counts.wrong, counts.left_over), (0, 0), "{way:?}");
    }
    assert!(table.iter().any(|(_, counts)| counts.ended > 0));
}

/// Prints the rows of the table in the document about reliability.
fn print_table(signal: &str, table: &Table) {
    for ((kind, size), counts) in table {
        let kind = format!("{kind:?}").to_lowercase();
        let Counts {
            runs,
            ended,
            files,
            partial,
            wrong,
            left_over,
        } = counts;
        println!(
            "| {signal} | {kind} | {size} | {runs} | {ended} | {files} | {partial} | {wrong} | {left_over} |"
        );
    }
}

#[test]
fn killed_runs_leave_complete_files_and_can_be_resumed() {
    check(&end_runs("KILL", 15, &mut StdRng::seed_from_u64(1)));
}

#[test]
fn signalled_runs_leave_no_partial_files() {
    check(&end_runs("TERM", 5, &mut StdRng::seed_from_u64(2)));
}

/// 300 models with kills, 60 with signals, and disks of ten sizes. `docs/RELIABILITY.md` has the results.
#[test]
#[ignore = "takes minutes, and only root can make the disks"]
fn faults_at_length() {
    let mut random = StdRng::seed_from_u64(3);
    println!(
        "| signal | files | processes | runs | ended early | complete files | partial files | wrong | left over |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|");
    for (signal, runs) in [("KILL", 300), ("TERM", 30), ("HUP", 30)] {
        let table = end_runs(signal, runs, &mut random);
        print_table(signal, &table);
        check(&table);
    }
    full_disks();
}

/// Writes to disks of ten sizes, with processes that do not know of each other's needs.
fn full_disks() {
    let run = model();
    let disk = run.path("disk");
    fs::create_dir(&disk).unwrap();
    println!("\n| disk, bytes | processes | failed | complete files | wrong or left over |");
    println!("|---:|---:|---:|---:|---:|");
    for number in 0..10u64 {
        let size = MODEL_BYTES * (number + 1) / 10;
        let (mut all, mut failed, mut complete, mut wrong) = (0, 0, 0, 0);
        for way in WAYS {
            let expected = expected(&run, way.0);
            let mount = Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
                .arg(&disk)
                .status();
            assert!(mount.unwrap().success(), "only root can mount a disk");
            let children = processes(&run, way, "disk", "");
            let children: Vec<Child> = children.iter().map(Fanin::spawn).collect();
            let before = failed;
            for child in children {
                all += 1;
                let ended = ended(child.wait_with_output().unwrap());
                if ended.status != 0 {
                    assert!(
                        error_line(&ended).contains("cannot write: "),
                        "{}",
                        ended.stderr
                    );
                    failed += 1;
                }
            }
            let found = contents(&disk);
            let unmounted = Command::new("umount").arg(&disk).status();
            assert!(unmounted.unwrap().success());
            assert!(failed > before, "{way:?} has room in {size} bytes");
            let is_right = |(name, bytes): &(&String, &Vec<u8>)| expected.get(*name) == Some(bytes);
            let right = found.iter().filter(is_right).count();
            complete += right;
            wrong += found.len() - right;
        }
        println!("| {size} | {all} | {failed} | {complete} | {wrong} |");
        assert_eq!(wrong, 0);
    }
}

#[test]
fn ignored_signals_stay_ignored() {
    let run = Run::new();
    let fill = run.cpu(FILL).and("--shape 1000,1000 --out -");
    let expected = fill.ok().stdout;
    for signal in ["HUP", "INT", "TERM"] {
        let mut child = fill.clone().after(&format!("trap '' {signal}")).spawn();
        // It has begun to write, and waits until the pipe is read.
        let mut weights = vec![0];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut weights).unwrap();
        send(signal, &child);
        stdout.read_to_end(&mut weights).unwrap();
        let ended = ended(child.wait_with_output().unwrap());
        assert_eq!(ended.status, 0, "{signal}: {}", ended.stderr);
        assert!(weights == expected, "{signal}");
    }
}

/// A process that waits for the reader of a pipe, or for a matrix, ends nevertheless.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_what_does_not_look_for_it() {
    // A shell in the background may have made the tests ignore a signal.
    let by_default = ["env", "--default-signal=INT,TERM,HUP"];
    let run = Run::new();
    for signal in ["HUP", "INT", "TERM"] {
        let fill = run.cpu(FILL).and("--shape 1000,1000 --out -");
        let mut child = fill.under(by_default).spawn();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0]).unwrap();
        send(signal, &child);
        wait_until("the process ends", || child.try_wait().unwrap().is_some());
        let ended = ended(child.wait_with_output().unwrap());
        assert_eq!(ended.status, 1, "{signal}");
        assert!(error_line(&ended).contains("interrupted"));
    }
    for (more, left) in [("", 0), ("--resume", 1)] {
        run.recipe("orthogonal.toml", "orthogonal");
        run.list("list.json", &[("w", &[4000, 4000])]);
        let init = run.cpu("init orthogonal.toml --seed 1 --out m/");
        let init = init.tensors("list.json").and(more).under(by_default);
        let mut child = init.spawn();
        wait_until("it begins", || !contents(&run.path("m")).is_empty());
        send("TERM", &child);
        wait_until("the process ends", || child.try_wait().unwrap().is_some());
        assert_eq!(ended(child.wait_with_output().unwrap()).status, 1);
        assert_eq!(contents(&run.path("m")).len(), left, "{more}");
    }
}

/// A limit of the size of files stops a write halfway, as a full disk does.
#[test]
fn a_write_that_fails_at_any_size_leaves_complete_files() {
    let run = model();
    // In blocks of 1024 bytes. Every file has more than 2 MiB.
    let limits = [0, 1, 2, 3, 64, 511, 1024, 1500, 2000, 2047];
    for (number, limit) in limits.into_iter().enumerate() {
        let (kind, _) = WAYS[number % WAYS.len()];
        for (more, left) in [("", 0), ("--resume", 1)] {
            fs::create_dir(run.path("out")).unwrap();
            let init = init(&run, kind, "out").and(more);
            let ended = init.after(&format!("ulimit -f {limit}")).ends(1);
            let line = error_line(&ended);
            assert!(line.contains("cannot write: File too large"), "{line}");
            let found = contents(&run.path("out"));
            assert!(
                found.keys().all(|name| is_partial(name)),
                "{kind:?}: {:?}",
                found.keys()
            );
            assert_eq!(found.len(), left, "{kind:?}, {limit}");
            fs::remove_dir_all(run.path("out")).unwrap();
        }
    }
}

#[test]
fn closed_outputs_are_reported() {
    let run = Run::new();
    let fill = || run.cpu(FILL).and("--shape 10,10");
    let closed = fill().and("--out -").after("exec >&-");
    closed.refused(1, &["standard output: cannot write: it is closed"]);
    for unwritable in ["exec </dev/null >&0", "exec >/dev/full"] {
        let fill = fill().and("--out -").after(unwritable);
        fill.refused(1, &["standard output: cannot write: "]);
        let inits = run.fanin("inits").after(unwritable);
        inits.refused(1, &["standard output: cannot write: "]);
        run.list("list.json", &[("w", &[4, 4])]);
        run.recipe("r.toml", "normal");
        let plan = run
            .fanin("plan r.toml")
            .tensors("list.json")
            .after(unwritable);
        plan.refused(1, &["standard output: cannot write: "]);
    }
    // The file must not take the place of a closed descriptor, nor a message that of weights.
    for (number, exec) in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]
        .into_iter()
        .enumerate()
    {
        let out = format!("{number}.bin");
        let fill = fill().and("--out").arg(&out).after(&format!("exec {exec}"));
        fill.ok();
        assert!(run.read(&out) == fill_of(&run), "{exec}");
    }
    // An error without a place to report it is the status alone.
    fill().and("--out no/w.bin").after("exec 2>&-").ends(1);
}

/// Returns the bytes of the fill that is written.
fn fill_of(run: &Run) -> Vec<u8> {
    run.cpu(FILL).and("--shape 10,10 --out -").ok().stdout
}

#[test]
fn few_descriptors_are_enough_or_an_error() {
    let run = model();
    let expected = expected(&run, Kind::Folder);
    let mut succeeded = 0;
    for limit in 3..20 {
        fs::create_dir(run.path("out")).unwrap();
        let init = init(&run, Kind::Folder, "out");
        let ended = init.after(&format!("ulimit -n {limit}")).run();
        let found = contents(&run.path("out"));
        match ended.status {
            0 => {
                assert!(found == expected, "{limit}");
                succeeded += 1;
            }
            // The system's linker may find no descriptor for the libraries of the program.
            127 => assert!(found.is_empty()),
            status => {
                assert_eq!(status, 1, "{limit}: {}", ended.stderr);
                error_line(&ended);
                assert!(
                    !found.keys().any(|name| is_partial(name)),
                    "{:?}",
                    found.keys()
                );
            }
        }
        fs::remove_dir_all(run.path("out")).unwrap();
    }
    assert!(succeeded > 0);
}

/// A run that is killed between the disk and the rename leaves a partial file with the permissions of the
/// file that it was to replace.
#[cfg(target_os = "linux")]
#[test]
fn a_partial_file_that_nobody_may_write_is_taken_over() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let run = Run::new();
    run.list("list.json", &[("fc.weight", &[100, 100])]);
    let init = run.cpu("init kaiming --seed 1 --out w.safetensors");
    let init = init.tensors("list.json");
    init.ok();
    let whole = run.read("w.safetensors");
    // root may write every file, unless it gives up this capability.
    let init = match fs::metadata(run.path("list.json")).unwrap().uid() {
        0 => init.under(["setpriv", "--bounding-set", "-dac_override"]),
        _ => init,
    };
    let partial = run.path(".fanin-w.safetensors.partial");
    // The file is complete, so the partial one is discarded, and then it is not there.
    for (more, is_there) in [("", true), ("", false), ("--resume", false)] {
        if !is_there {
            fs::remove_file(run.path("w.safetensors")).unwrap();
        }
        fs::write(&partial, &whole[..whole.len() - 10]).unwrap();
        fs::set_permissions(&partial, fs::Permissions::from_mode(0o444)).unwrap();
        init.clone().and(more).ok();
        assert!(run.read("w.safetensors") == whole);
        assert_eq!(run.files(), ["list.json", "w.safetensors"]);
    }
}

/// A file in a folder of somebody else's making is never changed.
#[test]
fn partial_names_that_are_links_are_not_written_through() {
    let run = Run::new();
    let fill = run.cpu(FILL).and("--shape 10,10 --out w.bin");
    let partial = run.path(".fanin-w.bin.partial");
    run.write("precious", "kept");
    fs::hard_link(run.path("precious"), &partial).unwrap();
    fill.refused(1, &["w.bin", "several names (hard links): remove it"]);
    fs::remove_file(&partial).unwrap();
    std::os::unix::fs::symlink("precious", &partial).unwrap();
    fill.refused(1, &["w.bin", "a symbolic link: remove it"]);
    assert_eq!(run.read("precious"), b"kept");
    fs::remove_file(&partial).unwrap();
    fill.ok();
    assert_eq!(run.files(), ["precious", "w.bin"]);
}

#[test]
fn a_folder_has_one_process_that_writes_a_whole_model() {
    let run = model();
    let lone = |kind| init(&run, kind, "out");
    let rank = |kind| lone(kind).and("--rank 0 --world-size 3");
    fs::create_dir(run.path("out")).unwrap();
    let folder = fs::File::open(run.path("out")).unwrap();
    let text = "out: cannot write: another process is writing a model into this folder";
    folder.lock().unwrap();
    for kind in [Kind::Folder, Kind::Spec] {
        lone(kind).refused(1, &[text]);
        rank(kind).refused(1, &[text]);
    }
    folder.unlock().unwrap();
    folder.lock_shared().unwrap();
    lone(Kind::Folder).refused(1, &[text]);
    rank(Kind::Folder).ok();
    folder.unlock().unwrap();
    lone(Kind::Folder).ok();
}

/// Writes three files, and removes the first when the last one is made.
fn save_and_lose(files: &ModelFiles<'_>, share: Share) -> fanin::Result<Saved> {
    let folder = tempdir().unwrap();
    let mut calls = 0;
    let mut make = |fill: &Fill, start: u64, out: &mut [u8]| {
        calls += 1;
        if calls == 3 {
            let first = &files.paths(folder.path(), share)[0];
            fs::remove_file(first).expect("the first file is complete");
        }
        cpu::fill_range(fill, start, out)
    };
    files.save(
        &Writer::default(),
        folder.path(),
        share,
        &mut make,
        &mut silent,
    )
}

#[test]
fn a_file_that_is_lost_meanwhile_is_an_error() {
    let fill = |name: &str| {
        let tensor = Tensor::new(name, [3, 100]).unwrap();
        Fill::new(&tensor, &Init::normal(0.0, 1.0), 1).unwrap()
    };
    let fills = ["a", "b", "c"].map(fill);
    let shards = ModelFiles::shards(&fills, 1200, &[]).unwrap();
    let spec = "mesh = [{ name = \"tp\", size = 3 }]\n[[rule]]\nmatch = \"*\"\nplacements = [\"shard(0)\"]\n";
    let spec = ShardSpec::from_toml(spec).unwrap();
    let ranks = ModelFiles::ranks(&spec, &fills[..1], Share::ALL, &[]).unwrap();
    for (files, name) in [
        (shards, "model-00001-of-00003"),
        (ranks, "model-rank-00000-of-00003"),
    ] {
        let error = save_and_lose(&files, Share::ALL).unwrap_err().to_string();
        for text in [
            name,
            "somebody has removed or replaced it since",
            "with resume",
        ] {
            assert!(error.contains(text), "{error}");
        }
    }
}

#[test]
fn a_million_ranks_begin_soon() {
    let run = model();
    run.write(
        "spec.toml",
        "mesh = [{ name = \"a\", size = 1000 }, { name = \"b\", size = 1000 }]\n[[rule]]\nmatch = \
         \"*\"\nplacements = [\"shard(0)\", \"shard(1)\"]\n",
    );
    let child = init(&run, Kind::Spec, "out").spawn();
    let first = run.path("out/model-rank-00000-of-1000000.safetensors");
    wait_until("the first file is complete", || first.exists());
    send("KILL", &child);
    child.wait_with_output().unwrap();
}
