//! Runs the command in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The command, in a folder of its own.
pub struct Run {
    folder: TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
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

    /// The names of the files in the folder, sorted.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder is there");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    /// The command, to be started in the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanin"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output();
        ended(output.expect("the command starts"))
    }

    /// Runs what must succeed.
    pub fn ok(&self, arguments: &[&str]) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.status, 0, "{arguments:?}: {}", ended.stderr);
        ended
    }

    /// Runs what must be refused: with this status, one line of error that holds all these
    /// texts, and no file written or changed.
    pub fn refused(&self, arguments: &[&str], status: i32, texts: &[&str]) {
        let snapshot = || -> Vec<(String, Vec<u8>)> {
            let names = self.files().into_iter();
            names
                .map(|name| (name.clone(), fs::read(self.path(&name)).unwrap_or_default()))
                .collect()
        };
        let before = snapshot();
        let ended = self.run(arguments);
        let stderr = &ended.stderr;
        assert_eq!(ended.status, status, "{arguments:?}: {stderr}");
        let errors: Vec<&str> = stderr
            .lines()
            .filter(|l| l.starts_with("fanin: error: "))
            .collect();
        assert_eq!(errors.len(), 1, "{arguments:?}: {stderr}");
        assert_eq!(
            stderr.lines().last(),
            Some(errors[0]),
            "{arguments:?}: {stderr}"
        );
        for text in texts {
            assert!(
                errors[0].contains(text),
                "{arguments:?}: {text:?} is not in: {stderr}"
            );
        }
        assert!(
            ended.stdout.is_empty(),
            "{arguments:?} wrote to standard output"
        );
        assert!(
            before == snapshot(),
            "{arguments:?} wrote files: {:?}",
            self.files()
        );
    }
}

pub fn ended(output: Output) -> Ended {
    Ended {
        // Ended by a signal: no status at all.
        status: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
    }
}

/// A list that ships with the examples.
pub fn model(name: &str) -> PathBuf {
    repository().join("examples/models").join(name)
}

/// A safetensors file with this header, and data of this many bytes.
pub fn safetensors(header: &str, data_bytes: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(vec![0; data_bytes]);
    file
}

/// The folder of the root package.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
