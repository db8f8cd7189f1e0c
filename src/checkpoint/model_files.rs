//! The files of a model in a folder, whichever way it is split.

use std::path::{Path, PathBuf};

use super::shards::{RankParts, Shards, Share};
use super::space;
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
    Ranks {
        /// The number of ranks.
        ranks: u64,
        /// The parts of the ranks that this process writes.
        parts: Vec<RankParts>,
    },
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

    /// Makes the parts of the ranks in one process' share: with as many processes as ranks, those of its
    /// own rank.
    ///
    /// # Errors
    ///
    /// Those of [`RankParts::new`].
    pub fn ranks(
        spec: &ShardSpec,
        fills: &[Fill],
        share: Share,
        metadata: &[(&str, String)],
    ) -> Result<Self> {
        let ranks = spec.ranks();
        let step = usize::try_from(share.size).unwrap_or(usize::MAX);
        let mine = (share.rank..ranks).step_by(step.max(1));
        let parts = mine.map(|rank| RankParts::new(spec, fills, rank, metadata));
        Ok(ModelFiles::Ranks {
            ranks,
            parts: parts.collect::<Result<_>>()?,
        })
    }

    /// Returns the paths of the files in a process' share, without the index.
    #[must_use]
    pub fn paths(&self, folder: &Path, share: Share) -> Vec<PathBuf> {
        match self {
            ModelFiles::Shards(shards) => {
                let files = shards.of(share).into_iter();
                files.map(|file| folder.join(file.name())).collect()
            }
            ModelFiles::Ranks { parts, .. } => {
                let files = parts.iter().map(|part| folder.join(part.file_name()));
                files.collect()
            }
        }
    }

    /// Returns the bytes of the weights in a process' share.
    #[must_use]
    pub fn weight_bytes(&self, share: Share) -> u128 {
        match self {
            ModelFiles::Shards(shards) => {
                let files = shards.of(share).into_iter();
                files.map(|file| file.contents().weight_bytes()).sum()
            }
            ModelFiles::Ranks { parts, .. } => parts.iter().map(RankParts::weight_bytes).sum(),
        }
    }

    /// Writes the files of a process' share into a folder. Returns the names of the shards that other
    /// processes have yet to write.
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
    ) -> Result<Vec<String>> {
        match self {
            ModelFiles::Shards(shards) => {
                let saved = writer.save_shards(folder, shards, share, make, progress)?;
                Ok(saved.missing)
            }
            ModelFiles::Ranks { parts, .. } => {
                // Without headers, which take less than a file system's own bookkeeping.
                let names: Vec<String> = parts.iter().map(RankParts::file_name).collect();
                let bytes = parts.iter().map(RankParts::weight_bytes);
                space::check(folder, names.iter().map(String::as_str).zip(bytes))?;
                for part in parts {
                    writer.save_rank(folder, part, make, progress)?;
                }
                Ok(Vec::new())
            }
        }
    }
}
