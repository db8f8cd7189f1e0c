//! The free space of a disk, compared with the files that will be written.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::partial::partial_path;
use crate::error::{Error, Result};

/// Checks that the disk of a folder has room for files, given by their names and their bytes.
///
/// Existing files of these names and their partial files count as room, because they are replaced or
/// continued. Blocks that are reserved for root do not. The folder need not exist yet. A file system
/// that does not tell its free space passes.
///
/// # Errors
///
/// [`Error::Io`] for the folder, with the number of bytes that are needed and free.
pub(super) fn check<'a>(
    folder: &Path,
    files: impl IntoIterator<Item = (&'a str, u128)>,
) -> Result<()> {
    let Some(free) = free_bytes(folder) else {
        return Ok(());
    };
    // Most folders have few files, and asking for each of a million that are not there takes long.
    let there: HashSet<OsString> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect();
    let length = |path: &Path| match path.file_name().is_some_and(|name| there.contains(name)) {
        true => u128::from(length(path)),
        false => 0,
    };
    let needed = |(name, bytes): (&str, u128)| {
        let target = folder.join(name);
        bytes.saturating_sub(length(&target) + length(&partial_path(&target)))
    };
    room(folder, files.into_iter().map(needed).sum(), free)
}

/// Checks that the disk of a file has room for more bytes.
///
/// # Errors
///
/// [`Error::Io`] for the file, as that of [`check`].
pub(super) fn check_file(path: &Path, target: &Path, bytes: u128) -> Result<()> {
    match target.parent().and_then(free_bytes) {
        Some(free) => room(path, bytes, free),
        None => Ok(()),
    }
}

fn room(path: &Path, needed: u128, free: u128) -> Result<()> {
    if needed <= free {
        return Ok(());
    }
    let message = format!("{needed} bytes are needed, and the disk has {free} free");
    let full = io::Error::new(ErrorKind::StorageFull, message);
    Err(Error::io(path, "write")(full))
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Returns the free bytes of the file system that holds a folder, or that will hold it.
#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u128> {
    let found = folder.ancestors().find_map(|folder| {
        let is_here = folder.as_os_str().is_empty();
        let folder = if is_here { Path::new(".") } else { folder };
        rustix::fs::statvfs(folder).ok()
    })?;
    // File systems without a size, such as those of some networks, report no blocks.
    (found.f_blocks > 0).then(|| u128::from(found.f_bavail) * u128::from(found.f_frsize))
}

/// Returns none: the standard library has no such function.
#[cfg(not(unix))]
fn free_bytes(_folder: &Path) -> Option<u128> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn files_that_exist_count_as_room() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_bytes(folder.path()).unwrap();
        let missing = folder.path().join("a").join("b");
        // Other processes write to the disk, so free space is not the same twice.
        let slack = free / 4 + 1;
        let large = free + slack;
        assert!(check(&missing, [("w", 0)]).is_ok());
        let error = check(&missing, [("w", large)]).unwrap_err().to_string();
        assert!(error.contains(&format!("{large} bytes are needed, and the disk has ")));

        // A file of holes takes no space.
        let target = folder.path().join("w");
        let sparse = fs::File::create(&target).unwrap();
        let length = 2 * u64::try_from(slack).unwrap();
        if sparse.set_len(length).is_ok() {
            assert!(check(folder.path(), [("w", large)]).is_ok());
            assert!(check(folder.path(), [("w", 1), ("v", large)]).is_err());
            assert!(check_file(&target, &target, large).is_err());
            fs::rename(&target, partial_path(&target)).unwrap();
            assert!(check(folder.path(), [("w", large)]).is_ok());
        }
    }
}
