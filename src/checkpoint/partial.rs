//! The file that is written before it gets its name.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::write::folder_of;

/// What was being done when it failed, for a message.
type Failed = (&'static str, io::Error);

/// A file on its way: beside its target, under a name that says whose it is, so that the next
/// run finds what one that was killed has left.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    /// Where the next byte goes.
    at: u64,
    /// Bytes that an earlier run has left: what is to be written there is compared first.
    left: u64,
    /// Whether it stays when this goes: it has its name, or the next run is to find it.
    stays: bool,
    buffer: Vec<u8>,
}

/// The most bytes that are compared at a time.
const WINDOW: usize = 1 << 20;

/// The longest name that file systems take.
const MAX_NAME: usize = 255;

impl Partial {
    /// Opens the partial file of a target, for this process alone.
    ///
    /// With `resume` it keeps what is in it, and stays if it is not finished; else it is emptied,
    /// and removed in the end unless it has got its name.
    pub fn open(target: &Path, resume: bool) -> Result<Self, Failed> {
        let path = folder_of(target).join(partial_name(target));
        loop {
            let file = open_alone(&path).map_err(|error| ("create a file beside it", error))?;
            let file = match file.try_lock() {
                Ok(()) if is_at(&file, &path) => file,
                // Whoever held it has finished between the two calls, and given it its name.
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {
                    let error = io::Error::new(
                        ErrorKind::ResourceBusy,
                        format!("another process is at it, in {:?}", path.display()),
                    );
                    return Err(("write", error));
                }
                // A file system that locks nothing: a name that nobody else has, then.
                Err(TryLockError::Error(_)) => {
                    if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
                        let _ = fs::remove_file(&path);
                    }
                    return Partial::unique(target);
                }
            };
            let left = if resume {
                file.metadata().map_err(|error| ("read", error))?.len()
            } else {
                file.set_len(0).map_err(|error| ("write", error))?;
                0
            };
            return Ok(Partial {
                file,
                path,
                at: 0,
                left,
                stays: resume,
                buffer: Vec::new(),
            });
        }
    }

    /// One of a random name, which is nobody else's, and is not found again.
    pub fn unique(target: &Path) -> Result<Self, Failed> {
        let failed = |error: io::Error| ("create a file beside it", error);
        let mut builder = tempfile::Builder::new();
        builder.prefix(".fanin-").suffix(".partial");
        // Temporary files are their owner's alone; this one is going to be a file like any
        // other, with the permissions that the process' umask leaves.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(folder_of(target)).map_err(|error| {
            // tempfile names a file that the caller never heard of; the cause is what counts.
            failed(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::from(error.kind()),
            })
        })?;
        let (file, path) = temporary.keep().map_err(|error| failed(error.error))?;
        Ok(Partial {
            file,
            path,
            at: 0,
            left: 0,
            stays: false,
            buffer: Vec::new(),
        })
    }

    /// Gives the file its name, once all its bytes are on the disk.
    pub fn persist(&mut self, target: &Path) -> Result<(), Failed> {
        if self.left > self.at {
            self.file
                .set_len(self.at)
                .map_err(|error| ("write", error))?;
        }
        self.file.sync_all().map_err(|error| ("write", error))?;
        fs::rename(&self.path, target).map_err(|error| ("replace", error))?;
        self.stays = true;
        // The new name is on the disk once its folder is. Not every system can do this, and the
        // file is complete either way.
        if let Ok(folder) = File::open(folder_of(target)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.stays {
            // Before the lock is given up: another process may begin one of this name.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.at >= self.left {
            let written = self.file.write(bytes)?;
            self.at += written as u64;
            return Ok(written);
        }
        let rest = usize::try_from(self.left - self.at).unwrap_or(usize::MAX);
        let part = &bytes[..bytes.len().min(WINDOW).min(rest)];
        self.buffer.resize(part.len(), 0);
        self.file.read_exact(&mut self.buffer)?;
        if self.buffer != part {
            self.file.seek(SeekFrom::Start(self.at))?;
            self.file.write_all(part)?;
        }
        self.at += part.len() as u64;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// `.fanin-NAME.partial`; of a name that would get too long, its hash.
fn partial_name(target: &Path) -> OsString {
    let name = target.file_name().unwrap_or_default();
    let mut partial = OsString::from(".fanin-");
    partial.push(name);
    partial.push(".partial");
    if partial.len() <= MAX_NAME {
        return partial;
    }
    let digest = Sha256::digest(name.as_encoded_bytes());
    let hex: String = digest[..16].iter().map(|b| format!("{b:02x}")).collect();
    format!(".fanin-{hex}.partial").into()
}

/// Opens or creates a file, but follows no link: the name can be foreseen, and somebody else
/// may have put one there that leads to another file.
fn open_alone(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NOFOLLOW);
    }
    options.open(path)
}

/// Whether the open file is the one that has this name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// An open file cannot lose its name here.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_names_stay_within_what_file_systems_take() {
        assert_eq!(
            partial_name(Path::new("a/model.safetensors")),
            ".fanin-model.safetensors.partial"
        );
        let [long, other] = ["a", "b"].map(|letter| partial_name(Path::new(&letter.repeat(255))));
        assert!(long.len() <= MAX_NAME);
        assert_ne!(long, other);
    }

    #[test]
    fn what_is_left_is_compared_and_mended() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("w");
        let whole: Vec<u8> = (0..3_000_000u32)
            .map(|i| (i.wrapping_mul(i) >> 7) as u8)
            .collect();
        // Cut short, changed in the middle, too long, not there.
        let mut changed = whole.clone();
        changed[1_500_000] ^= 1;
        let longer = [whole.as_slice(), b"more"].concat();
        for left in [&whole[..1_234_567], &changed, &longer, &[]] {
            fs::write(folder.path().join(partial_name(&target)), left).unwrap();
            let mut partial = Partial::open(&target, true).unwrap();
            for piece in whole.chunks(700_000) {
                partial.write_all(piece).unwrap();
            }
            partial.persist(&target).unwrap();
            assert!(fs::read(&target).unwrap() == whole);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_file_has_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("w");
        let first = Partial::open(&target, false).unwrap();
        let Err((_, error)) = Partial::open(&target, false) else {
            panic!("two at once");
        };
        assert!(error.to_string().contains("another process is at it"));
        drop(first);
        drop(Partial::open(&target, false).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, precious) = (folder.path().join("w"), folder.path().join("precious"));
        fs::write(&precious, "kept").unwrap();
        std::os::unix::fs::symlink(&precious, folder.path().join(partial_name(&target))).unwrap();
        assert!(Partial::open(&target, false).is_err());
        assert_eq!(fs::read(&precious).unwrap(), b"kept");
    }
}
