//! A partial file: it is written beside its target, and renamed to it once it is complete.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::text::quoted;

/// The action that failed, for a message, and the error.
type Failed = (&'static str, io::Error);

/// The partial files of this process that are removed if they are not completed. It is `None` after
/// [`abandon`].
static UNFINISHED: Mutex<Option<Vec<PathBuf>>> = Mutex::new(Some(Vec::new()));

fn unfinished() -> MutexGuard<'static, Option<Vec<PathBuf>>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the incomplete files of this process, except those that are kept for
/// [`Writer::with_resume`](super::Writer::with_resume).
///
/// It is for a process that ends at once while other threads still write. No file of this process gets
/// its final name afterwards, and writing another one fails.
pub fn abandon() {
    // The guard lives until the loop ends, so no file is renamed between two removals.
    for path in unfinished().take().into_iter().flatten() {
        let _ = fs::remove_file(path);
    }
}

/// A file that is being written beside its target. Its name contains the target's, so that the next
/// run finds what a killed run has left.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    /// The offset of the next byte.
    at: u64,
    /// The bytes that an earlier run has left. They are compared with new ones before those are
    /// written.
    left: u64,
    /// If true, dropping this keeps the file: it has its final name, or is left for the next run.
    stays: bool,
    buffer: Vec<u8>,
}

/// The bytes that are compared at a time.
const WINDOW: usize = 1 << 20;

/// How often a locked file is tried again, and the pause between. A process that discards a file holds its
/// lock for a moment, one that writes it for longer than all of this.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// The longest file name in bytes that common file systems accept.
const MAX_NAME: usize = 255;

impl Partial {
    /// Opens the partial file of a target, locked for this process.
    ///
    /// With `resume` the file keeps its contents, and is kept if it is not completed. Without, it
    /// is emptied, and removed if it is not completed.
    pub fn open(target: &Path, resume: bool) -> Result<Self, Failed> {
        Partial::open_locked(target, resume, File::try_lock)
    }

    /// Opens the partial file of a small target, emptied. Waits while another process writes it.
    pub fn open_shared(target: &Path) -> Result<Self, Failed> {
        Partial::open_locked(target, false, |file| {
            file.lock().map_err(TryLockError::Error)
        })
    }

    fn open_locked(
        target: &Path,
        resume: bool,
        lock: fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Self, Failed> {
        let path = partial_path(target);
        let mut tries = 0;
        loop {
            let file = open(&path, true).map_err(|error| ("create a file beside it", error))?;
            let file = match lock(&file) {
                Ok(()) if is_at(&file, &path) => file,
                // Between opening and locking, the process that held it has renamed it to its
                // target.
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) if tries < TRIES => {
                    tries += 1;
                    thread::sleep(PAUSE);
                    continue;
                }
                Err(TryLockError::WouldBlock) => {
                    let error = io::Error::new(
                        ErrorKind::ResourceBusy,
                        format!(
                            "another process is writing it, in {}",
                            quoted(&path.to_string_lossy())
                        ),
                    );
                    return Err(("write", error));
                }
                // The file system has no locks. Only a unique name keeps two processes apart then.
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
            return Partial::new(file, path, left, resume);
        }
    }

    fn new(file: File, path: PathBuf, left: u64, stays: bool) -> Result<Self, Failed> {
        let partial = Partial {
            file,
            path,
            at: 0,
            left,
            stays,
            buffer: Vec::new(),
        };
        match &mut *unfinished() {
            Some(paths) => {
                if !stays {
                    paths.push(partial.path.clone());
                }
            }
            // The process is ending.
            None => {
                if !stays {
                    let _ = fs::remove_file(&partial.path);
                }
                return Err(("write", ErrorKind::Interrupted.into()));
            }
        }
        Ok(partial)
    }

    /// Removes the partial file of a target that a killed process has left. One that another process
    /// is writing stays, and so does one on a file system without locks, where nobody can tell.
    pub fn discard(target: &Path) -> Result<(), Failed> {
        let path = partial_path(target);
        let file = match open(&path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(("remove the incomplete file beside it", error)),
        };
        if file.try_lock().is_ok() && is_at(&file, &path) {
            fs::remove_file(&path)
                .map_err(|error| ("remove the incomplete file beside it", error))?;
        }
        Ok(())
    }

    /// Creates a partial file with a random name. A later run does not find it.
    fn unique(target: &Path) -> Result<Self, Failed> {
        let failed = |error: io::Error| ("create a file beside it", error);
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        // tempfile makes files that only their owner can read. This one will be an ordinary file,
        // with the permissions that the process' umask leaves.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(folder_of(target)).map_err(|error| {
            // tempfile's message names the temporary file, which the caller does not know.
            failed(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::from(error.kind()),
            })
        })?;
        let (file, path) = temporary.keep().map_err(|error| failed(error.error))?;
        Partial::new(file, path, 0, false)
    }

    /// Returns the bytes that an earlier run has left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Waits until all bytes are on the disk, then renames the file to its target.
    pub fn persist(&mut self, target: &Path) -> Result<(), Failed> {
        // The file of an earlier run may be longer than the new contents.
        if self.left > self.at {
            self.file
                .set_len(self.at)
                .map_err(|error| ("write", error))?;
        }
        // Before the rename: after a power failure, the name must not lead to a file that lacks bytes.
        self.file.sync_all().map_err(|error| ("write", error))?;
        // Before the rename, so that the file is never there with more permissions than the old one. After the
        // disk, which takes long: a run that is killed there leaves a file that the next one can open.
        keep_access(&self.file, target).map_err(|error| ("keep the permissions of", error))?;
        self.rename(target).map_err(|error| ("replace", error))?;
        // The new name is on the disk once the folder is. Errors are ignored: some systems cannot
        // sync a folder, and the file is complete either way.
        if let Ok(folder) = File::open(folder_of(target)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Partial {
    /// Gives the complete file its final name.
    fn rename(&mut self, target: &Path) -> io::Result<()> {
        // Held until the file is renamed, so that `abandon` cannot come between the check and the rename.
        let mut unfinished = unfinished();
        let Some(paths) = &mut *unfinished else {
            return Err(ErrorKind::Interrupted.into());
        };
        // If somebody has removed the file, another process may be writing one of the same name.
        if !is_at(&self.file, &self.path) {
            let message = format!("somebody has removed {:?}", self.path.display());
            return Err(io::Error::new(ErrorKind::NotFound, message));
        }
        fs::rename(&self.path, target)?;
        paths.retain(|path| *path != self.path);
        self.stays = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        if let Some(paths) = &mut *unfinished() {
            paths.retain(|path| *path != self.path);
            // Remove it before the lock is released: after that, another process may be writing it.
            if is_at(&self.file, &self.path) {
                let _ = fs::remove_file(&self.path);
            }
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
        // Reading and writing move the position alike, so what follows `left` is appended.
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

/// The text before a target's name in the name of its partial file.
const PREFIX: &str = ".fanin-";

/// The text after it.
const SUFFIX: &str = ".partial";

/// Returns the name of the target of a partial file, or `None` for another file.
pub(super) fn target_name(partial: &str) -> Option<&str> {
    partial.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)
}

/// Returns the path of the partial file of a target.
pub(super) fn partial_path(target: &Path) -> PathBuf {
    folder_of(target).join(partial_name(target))
}

/// Returns the partial file's name: `.fanin-NAME.partial`, with a hash in place of a name that
/// would make it too long.
fn partial_name(target: &Path) -> OsString {
    let name = target.file_name().unwrap_or_default();
    let mut partial = OsString::from(PREFIX);
    partial.push(name);
    partial.push(SUFFIX);
    if partial.len() <= MAX_NAME {
        return partial;
    }
    let digest = Sha256::digest(name.as_encoded_bytes());
    let hex: String = digest[..16].iter().map(|b| format!("{b:02x}")).collect();
    format!("{PREFIX}{hex}{SUFFIX}").into()
}

/// Returns the folder of a file.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Opens a partial file, and creates it if that is asked for. The name is predictable, so somebody
/// else may have put a link, a pipe or a device there: such a file is refused.
fn open(path: &Path, create: bool) -> io::Result<File> {
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .create(create)
        .truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(open_flags());
    }
    let opened = match options.open(path) {
        #[cfg(unix)]
        Err(error) if error.kind() == ErrorKind::PermissionDenied => match make_writable(path) {
            Ok(()) => options.open(path),
            Err(_) => Err(error),
        },
        opened => opened,
    };
    let file = opened.map_err(|error| {
        match fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
            true => not_ours(path, "a symbolic link"),
            false => error,
        }
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(not_ours(path, "not a regular file"));
    }
    if has_other_names(&metadata) {
        return Err(not_ours(path, "a file with several names (hard links)"));
    }
    Ok(file)
}

/// The flags to open a file without following a link, and without waiting for the other end of a pipe or
/// for a device.
#[cfg(unix)]
fn open_flags() -> i32 {
    use rustix::fs::OFlags;
    (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY)
        .bits()
        .cast_signed()
}

/// Lets the owner write a partial file. It has the permissions of a target that nobody may write, if the
/// run that made it was killed before it renamed it.
#[cfg(unix)]
fn make_writable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let mut options = File::options();
    let file = options.read(true).custom_flags(open_flags()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || has_other_names(&metadata) {
        return Err(ErrorKind::PermissionDenied.into());
    }
    let mode = metadata.permissions().mode() | 0o200;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Returns the error of a file that has the name of a partial file, and is none.
fn not_ours(path: &Path, kind: &str) -> io::Error {
    let message = format!("{:?} is {kind}: remove it", path.display());
    io::Error::new(ErrorKind::AlreadyExists, message)
}

/// Returns true if a file has more than one name. What is written to it would change the file of the
/// other name.
#[cfg(unix)]
fn has_other_names(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(metadata) > 1
}

/// Returns false: the standard library does not know the number of names on other systems.
#[cfg(not(unix))]
fn has_other_names(_metadata: &fs::Metadata) -> bool {
    false
}

/// Gives a file the permissions of the file that it will replace, if there is one. It also gets the owner
/// and the group, as far as this process may set them.
fn keep_access(file: &File, target: &Path) -> io::Result<()> {
    let Ok(old) = fs::metadata(target) else {
        return Ok(());
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            // Before the permissions, because a change of the owner can take some of them.
            let _ = fchown(file, Some(old.uid()), Some(old.gid()));
        }
    }
    match file.metadata()?.permissions() == old.permissions() {
        true => Ok(()),
        false => file.set_permissions(old.permissions()),
    }
}

/// Returns true if the path still leads to the open file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Returns true: other systems do not rename or remove a file that is open.
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
    fn a_file_left_by_an_earlier_run_is_compared_and_corrected() {
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
        assert!(error.to_string().contains("another process is writing it"));
        drop(first);
        drop(Partial::open(&target, false).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_discarded_file_is_removed_unless_somebody_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("w");
        let count = || fs::read_dir(folder.path()).unwrap().count();
        Partial::discard(&target).unwrap();
        let written = Partial::open(&target, true).unwrap();
        Partial::discard(&target).unwrap();
        assert_eq!(count(), 1);
        drop(written);
        assert_eq!(count(), 1);
        Partial::discard(&target).unwrap();
        assert_eq!(count(), 0);
    }

    /// A process that discards a file locks it for a moment.
    #[test]
    fn a_file_that_is_locked_for_a_moment_is_opened() {
        use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
        static BLOCKED: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("w");
        let open = |times| {
            BLOCKED.store(times, Relaxed);
            Partial::open_locked(&target, true, |file| {
                match BLOCKED.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
                    Ok(_) => Err(TryLockError::WouldBlock),
                    Err(_) => file.try_lock(),
                }
            })
        };
        assert!(open(TRIES).is_ok());
        assert!(open(TRIES + 1).is_err());
    }

    #[test]
    fn a_shared_file_has_one_writer_after_another() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("w");
        fs::write(
            folder.path().join(partial_name(&target)),
            "of a killed process",
        )
        .unwrap();
        let write = || {
            let mut partial = Partial::open_shared(&target).unwrap();
            partial.write_all(b"whole").unwrap();
            partial.persist(&target).unwrap();
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(write);
            }
        });
        assert_eq!(fs::read(&target).unwrap(), b"whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, precious) = (folder.path().join("w"), folder.path().join("precious"));
        fs::write(&precious, "kept").unwrap();
        let partial = folder.path().join(partial_name(&target));
        let refused = |kind: &str| {
            for resume in [false, true] {
                let Err((_, error)) = Partial::open(&target, resume) else {
                    panic!("{kind} is followed");
                };
                assert!(error.to_string().contains(kind), "{error}");
            }
            fs::remove_file(&partial).unwrap();
            assert_eq!(fs::read(&precious).unwrap(), b"kept");
        };
        std::os::unix::fs::symlink(&precious, &partial).unwrap();
        refused("a symbolic link");
        fs::hard_link(&precious, &partial).unwrap();
        refused("several names");
        let (kind, mode) = (rustix::fs::FileType::Fifo, 0o600.into());
        rustix::fs::mknodat(rustix::fs::CWD, &partial, kind, mode, 0).unwrap();
        refused("not a regular file");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_replaced_meanwhile_gets_no_final_name() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("w");
        let mut partial = Partial::open(&target, false).unwrap();
        partial.write_all(b"whole").unwrap();
        fs::remove_file(partial_path(&target)).unwrap();
        let mut other = Partial::open(&target, false).unwrap();
        other.write_all(b"ha").unwrap();
        let (action, error) = partial.persist(&target).unwrap_err();
        assert_eq!(action, "replace");
        assert!(
            error.to_string().contains("somebody has removed"),
            "{error}"
        );
        drop(partial);
        assert!(!target.exists());
        other.write_all(b"lf").unwrap();
        other.persist(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"half");
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_keeps_its_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("w");
        for mode in [0o640, 0o400, 0o666] {
            fs::write(&target, "old").unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(mode)).unwrap();
            let mut partial = Partial::open(&target, false).unwrap();
            partial.write_all(b"new").unwrap();
            partial.persist(&target).unwrap();
            let kept = fs::metadata(&target).unwrap().permissions().mode();
            assert_eq!(kept & 0o7777, mode);
            fs::remove_file(&target).unwrap();
        }
    }
}
