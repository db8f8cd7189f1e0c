//! The lock of a folder that a model is written into.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::{Error, Result};

/// A lock of a folder. The system releases it when this is dropped, or when the process ends in any way.
/// It leaves no file.
pub(super) struct FolderLock {
    _folder: Option<File>,
}

impl FolderLock {
    /// Locks a folder. A process that writes a whole model is alone in it. Processes that write shares of
    /// one can be in it at the same time.
    ///
    /// Some systems and file systems cannot lock a folder. Nothing is locked there, and each file still
    /// has one writer.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if another process has locked it.
    pub fn take(folder: &Path, is_alone: bool) -> Result<Self> {
        let Ok(file) = File::open(folder) else {
            return Ok(FolderLock { _folder: None });
        };
        let locked = match is_alone {
            true => file.try_lock(),
            false => file.try_lock_shared(),
        };
        match locked {
            Ok(()) | Err(TryLockError::Error(_)) => Ok(FolderLock {
                _folder: Some(file),
            }),
            Err(TryLockError::WouldBlock) => {
                let message = "another process is writing a model into this folder: wait until it has \
                               ended, or use another folder";
                let error = io::Error::new(ErrorKind::ResourceBusy, message);
                Err(Error::io(folder, "write")(error))
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_whole_model_has_one_writer_and_shares_have_several() {
        let folder = tempfile::tempdir().unwrap();
        let take = |is_alone| FolderLock::take(folder.path(), is_alone);
        let alone = take(true).unwrap();
        for is_alone in [true, false] {
            let error = take(is_alone).err().unwrap().to_string();
            assert!(
                error.contains("another process is writing a model"),
                "{error}"
            );
        }
        drop(alone);
        let (_first, _second) = (take(false).unwrap(), take(false).unwrap());
        assert!(take(true).is_err());
    }
}
