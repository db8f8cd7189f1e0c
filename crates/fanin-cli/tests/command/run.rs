//! Runs the command in a temporary folder.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A `fanin fill` of one tensor, without shape and output.
pub const FILL: &str = "fill --init he_normal --name w --seed 42";

/// A temporary folder in which commands run.
pub struct Run {
    folder: TempDir,
}

impl Run {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        Run { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).expect("a file in a temporary folder");
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Returns the names of the files in the folder, sorted.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder exists");
        let mut names: Vec<String> = entries
            .map(|entry| {
                let name = entry.expect("an entry").file_name();
                name.to_string_lossy().into_owned()
            })
            .collect();
        names.sort();
        names
    }

    /// Writes a recipe that gives all tensors one initializer.
    pub fn recipe(&self, name: &str, init: &str) {
        self.write(name, rule("*", init));
    }

    /// Writes a list of tensors, given by names and shapes.
    pub fn list(&self, name: &str, tensors: &[(&str, &[u64])]) {
        let entry = |(name, shape): &(&str, &[u64])| -> Value {
            serde_json::json!({"name": name, "shape": shape})
        };
        let entries: Vec<Value> = tensors.iter().map(entry).collect();
        self.write(name, serde_json::json!({ "tensors": entries }).to_string());
    }

    /// Returns a command with these arguments, which are separated by spaces.
    pub fn fanin(&self, arguments: &str) -> Fanin<'_> {
        let fanin = Fanin {
            run: self,
            words: vec![env!("CARGO_BIN_EXE_fanin").into()],
            variables: Vec::new(),
        };
        fanin.and(arguments)
    }

    /// Returns a command that fills on the CPU, so that no test depends on the machine's GPUs.
    pub fn cpu(&self, arguments: &str) -> Fanin<'_> {
        let (command, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
        // First, so that `rest` may end in an option whose value follows.
        self.fanin(command).and("--backend cpu").and(rest)
    }
}

/// A command that is not yet started.
#[derive(Clone)]
pub struct Fanin<'a> {
    run: &'a Run,
    /// The program and its arguments.
    words: Vec<OsString>,
    variables: Vec<(String, String)>,
}

impl Fanin<'_> {
    /// Adds arguments, which are separated by spaces.
    pub fn and(mut self, arguments: &str) -> Self {
        self.words
            .extend(arguments.split_whitespace().map(Into::into));
        self
    }

    /// Adds one argument, which may hold spaces.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.words.push(argument.as_ref().to_owned());
        self
    }

    /// Adds `--tensors` and its argument.
    pub fn tensors(self, list: impl AsRef<OsStr>) -> Self {
        self.and("--tensors").arg(list)
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.push((name.to_owned(), value.to_string()));
        self
    }

    /// Runs the command with another program, which gets the command line as its last arguments.
    pub fn under<T: Into<OsString>>(mut self, program: impl IntoIterator<Item = T>) -> Self {
        self.words.splice(0..0, program.into_iter().map(Into::into));
        self
    }

    /// Runs commands of bash, such as `ulimit`, in the same process first.
    pub fn after(self, commands: &str) -> Self {
        let script = format!("{commands}; exec \"$@\"");
        self.under(["bash", "-c", &script, "bash"])
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command
            .args(&self.words[1..])
            .envs(self.variables.iter().cloned())
            .current_dir(self.run.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Starts the command, and leaves its outputs in pipes.
    pub fn spawn(&self) -> Child {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the command starts")
    }

    /// Runs the command to its end.
    pub fn run(&self) -> Ended {
        ended(self.command().output().expect("the command starts"))
    }

    /// Runs the command with standard output on a terminal of this width, and returns the lines that it
    /// prints there. 0 is a terminal that does not know its width.
    #[cfg(unix)]
    pub fn on_terminal(&self, columns: u16) -> Vec<String> {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        use rustix::termios::{Winsize, tcsetwinsize};
        use std::io::Read;
        use std::os::unix::ffi::OsStrExt;

        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours)
            .and_then(|()| unlockpt(&ours))
            .expect("a terminal");
        let name = ptsname(&ours, Vec::new()).expect("the terminal's name");
        let terminal = rustix::fs::open(
            OsStr::from_bytes(name.as_bytes()),
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY,
            rustix::fs::Mode::empty(),
        );
        let terminal = terminal.expect("the terminal opens");
        let size = Winsize {
            ws_row: 40,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).expect("a size");
        let mut command = self.command();
        command.stdout(terminal).stderr(Stdio::null());
        let mut child = command.spawn().expect("the command starts");
        // Its copy of the terminal is closed, so that reading ends with the child.
        drop(command);
        let mut printed = Vec::new();
        // Linux ends the output of a terminal with an error.
        let _ = fs::File::from(ours).read_to_end(&mut printed);
        child.wait().expect("the command ends");
        let printed = String::from_utf8(printed).expect("the output is UTF-8");
        printed.lines().map(str::to_owned).collect()
    }

    /// Runs a command that must end with this status.
    pub fn ends(&self, status: i32) -> Ended {
        let ended = self.run();
        assert_eq!(ended.status, status, "{:?}: {}", self.words, ended.stderr);
        ended
    }

    /// Runs a command that must succeed.
    pub fn ok(&self) -> Ended {
        self.ends(0)
    }

    /// Runs a command that must be refused: with this status, one line of error that holds all
    /// these texts, and no file written or changed.
    pub fn refused(&self, status: i32, texts: &[&str]) {
        let words = &self.words;
        let snapshot = || -> Vec<(String, Vec<u8>)> {
            let names = self.run.files().into_iter();
            names
                .map(|name| {
                    let contents = fs::read(self.run.path(&name)).unwrap_or_default();
                    (name, contents)
                })
                .collect()
        };
        let before = snapshot();
        let ended = self.ends(status);
        let stderr = &ended.stderr;
        let errors: Vec<&str> = stderr
            .lines()
            .filter(|line| line.starts_with("fanin: error: "))
            .collect();
        assert_eq!(errors.len(), 1, "{words:?}: {stderr}");
        assert_eq!(
            stderr.lines().last(),
            Some(errors[0]),
            "{words:?}: {stderr}"
        );
        for text in texts {
            assert!(
                errors[0].contains(text),
                "{words:?}: {text:?} is not in: {stderr}"
            );
        }
        assert!(
            ended.stdout.is_empty(),
            "{words:?} wrote to standard output"
        );
        assert!(
            before == snapshot(),
            "{words:?} wrote files: {:?}",
            self.run.files()
        );
    }
}

/// The results of a command.
#[derive(Debug)]
pub struct Ended {
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    /// Returns the standard output as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("the output is UTF-8")
    }

    /// Returns the lines of the standard output, split into words.
    pub fn rows(&self) -> Vec<Vec<&str>> {
        let lines = self.text().lines();
        lines
            .map(|line| line.split_whitespace().collect())
            .collect()
    }

    /// Returns the standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).expect("the output is JSON")
    }

    /// Checks that standard error holds a text.
    pub fn says(&self, text: &str) -> &Self {
        assert!(
            self.stderr.contains(text),
            "{text:?} is not in: {}",
            self.stderr
        );
        self
    }
}

pub fn ended(output: Output) -> Ended {
    Ended {
        // A process that a signal ended has no status.
        status: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
    }
}

/// Returns a rule of a recipe.
pub fn rule(glob: &str, init: &str) -> String {
    format!("[[rule]]\nmatch = {glob:?}\ninit = {init:?}\n")
}

/// Returns the path of a list that ships with the examples.
pub fn model(name: &str) -> PathBuf {
    repository().join("examples/models").join(name)
}

/// Returns a safetensors file with this header, and data of this many zero bytes.
pub fn safetensors(header: &str, data_bytes: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(vec![0; data_bytes]);
    file
}

/// Returns the folder of the root package.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
