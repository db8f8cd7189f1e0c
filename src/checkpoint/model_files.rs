//! The files of a model in a folder, whichever way it is split.

use std::path::{Path, PathBuf};

use super::rank_files::RankFiles;
use super::shards::{Saved, Shards, Share};
use super::write::{Make, Progress, Writer};
use crate::error::Result;
use crate::fill::Fill;
use crate::placement::ShardSpec;

/// The files of a folder with a model, of which a process writes its share.
#[derive(Clone, Debug)]
pub enum ModelFiles<'a> {
    /// A model split by size.
    Shards(Shards<'a>),
    /// A file for each rank of a distributed training.
    Ranks(RankFiles<'a>),
}

impl<'a> ModelFiles<'a> {
    /// Splits a model into files of at most `max_bytes` bytes.
    ///
    /// # Errors
    ///
    /// Those of [`Shards::split`].
    pub fn shards(fills: &'a [Fill], max_bytes: u64, metadata: &[(&str, String)]) -> Result<Self> {
        Ok(ModelFiles::Shards(Shards::split(
            fills, max_bytes, metadata,
        )?))
    }

    /// Describes the files of the ranks in one process' share: with as many processes as ranks, that of
    /// its own rank.
    ///
    /// # Errors
    ///
    /// Those of [`RankFiles::new`].
    pub fn ranks(
        spec: &ShardSpec,
        fills: &'a [Fill],
        share: Share,
        metadata: &[(&str, String)],
    ) -> Result<Self> {
        let files = RankFiles::new(spec, fills, share, metadata)?;
        Ok(ModelFiles::Ranks(files))
    }

    /// Returns the paths of the files in a process' share, without the index.
    #[must_use]
    pub fn paths(&self, folder: &Path, share: Share) -> Vec<PathBuf> {
        match self {
            ModelFiles::Shards(shards) => {
                let files = shards.of(share).into_iter();
                files.map(|file| folder.join(file.name())).collect()
            }
            ModelFiles::Ranks(files) => files.names().map(|name| folder.join(name)).collect(),
        }
    }

    /// Returns the bytes of the weights in a process' share. It is an estimate if the files of ranks have
    /// more than about 200,000 parts of tensors; [`Saved::bytes`] is exact.
    ///
    /// # Errors
    ///
    /// Those of [`ShardSpec::local_fills`].
    pub fn weight_bytes(&self, share: Share) -> Result<u128> {
        match self {
            ModelFiles::Shards(shards) => {
                let files = shards.of(share).into_iter();
                Ok(files.map(|file| file.contents().weight_bytes()).sum())
            }
            ModelFiles::Ranks(files) => Ok(files.sizes()?.into_iter().sum()),
        }
    }

    /// Writes the files of a process' share into a folder.
    ///
    /// # Errors
    ///
    /// Those of [`Writer::save_shards`] and [`Writer::save_rank`].
    pub fn save(
        &self,
        writer: &Writer,
        folder: &Path,
        share: Share,
        make: &mut dyn Make,
        progress: &mut Progress<'_>,
    ) -> Result<Saved> {
        match self {
            ModelFiles::Shards(shards) => writer.save_shards(folder, shards, share, make, progress),
            ModelFiles::Ranks(files) => writer.save_ranks(folder, files, make, progress),
        }
    }
}
