//! The files of the ranks of a training, each with the rank's part of every tensor.

use std::fs;
use std::path::Path;

use super::contents::Contents;
use super::file_names::{rank_file_name, rank_of_file};
use super::folder_lock::FolderLock;
use super::leftovers::Leftovers;
use super::ranks;
use super::shards::{Saved, Share, lost};
use super::space;
use super::write::{Make, Progress, Writer};
use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::placement::{LocalPart, ShardSpec};

impl Writer {
    /// Writes a rank's part of a model into a folder, as one file with the name of
    /// [`rank_file_name`]. Creates the folder if it is missing.
    ///
    /// The file has every tensor under its name, with the rank's part of it, which may be empty.
    /// The metadata gives the whole tensor's shape and the part
    /// ([`LocalPart::metadata`](crate::LocalPart::metadata)), and `rank`, `ranks` and `mesh`.
    ///
    /// # Errors
    ///
    /// Those of [`ShardSpec::local_fills`] and [`Writer::save`], and [`Error::Format`] if the folder
    /// holds another model in other files, such as those of another number of ranks: see
    /// [`Writer::with_overwrite`]. The call that finds the files of all ranks complete removes them.
    /// [`Error::Io`] if a process that writes a whole model works in the folder.
    pub fn save_rank(
        &self,
        folder: impl AsRef<Path>,
        parts: &RankParts,
        make: &mut dyn Make,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let folder = folder.as_ref();
        // Other calls may write the other ranks at the same time.
        let is_alone = false;
        let (_lock, leftovers) = self.enter(folder, parts.ranks, is_alone)?;
        self.save_part(folder, parts, make, progress)?;
        leftovers.remove_if_complete(folder, parts)
    }

    /// Writes the files of a process' share of the ranks, as [`Writer::save_rank`] does.
    pub(super) fn save_ranks(
        &self,
        folder: &Path,
        files: &RankFiles<'_>,
        make: &mut dyn Make,
        progress: &mut Progress<'_>,
    ) -> Result<Saved> {
        let (_lock, leftovers) = self.enter(folder, files.ranks(), files.share.is_all())?;
        let names: Vec<String> = files.names().collect();
        // Without headers, which take less than a file system's own bookkeeping.
        let sizes = files.sizes()?;
        space::check(folder, names.iter().map(String::as_str).zip(sizes))?;
        let (mut bytes, mut last) = (0, None);
        for part in files.parts() {
            let part = part?;
            self.save_part(folder, &part, make, progress)?;
            bytes += part.weight_bytes();
            last = Some(part);
        }
        if let Some(last) = &last {
            leftovers.remove_if_complete(folder, last)?;
        }
        let there = ranks::sets(folder)?.remove(&files.ranks());
        let there = there.unwrap_or_default();
        let absent = files.mine().zip(&names);
        let absent = absent.filter(|(rank, _)| !there.contains(rank));
        match lost(folder, absent.map(|(_, name)| name.as_str())) {
            Some(error) => Err(error),
            None => Ok(Saved {
                files: names.len(),
                bytes,
                missing: Vec::new(),
            }),
        }
    }

    /// Creates and locks a folder for files of ranks, and checks that it has no other model.
    fn enter(&self, folder: &Path, ranks: u64, is_alone: bool) -> Result<(FolderLock, Leftovers)> {
        fs::create_dir_all(folder).map_err(Error::io(folder, "create the folder"))?;
        let lock = FolderLock::take(folder, is_alone)?;
        let is_new = |name: &str| rank_of_file(name).is_some_and(|(_, of)| of == ranks);
        let leftovers = Leftovers::find(folder, is_new)?;
        leftovers.check(folder, self.overwrite)?;
        Ok((lock, leftovers))
    }

    fn save_part(
        &self,
        folder: &Path,
        part: &RankParts,
        make: &mut dyn Make,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let path = folder.join(part.file_name());
        self.save(path, &part.contents()?, make, progress)
    }
}

impl Leftovers {
    /// Removes files of another model once the files of all ranks are complete.
    fn remove_if_complete(&self, folder: &Path, part: &RankParts) -> Result<()> {
        if !self.is_clean() && ranks::are_complete(folder, part.ranks, &part.metadata)? {
            self.remove(folder)?;
        }
        Ok(())
    }
}

/// The files of the ranks in one process' share. The parts of a rank are made when its file is written:
/// those of a million ranks would not fit in memory.
#[derive(Clone, Debug)]
pub struct RankFiles<'a> {
    spec: ShardSpec,
    fills: &'a [Fill],
    share: Share,
    metadata: Vec<(String, String)>,
}

impl<'a> RankFiles<'a> {
    /// The most parts of tensors whose sizes are computed before the first file is begun. It takes about
    /// a second.
    const MAX_SIZED: u64 = 200_000;

    /// Describes the files of the ranks in a share: rank `share.rank`, and every `share.size`-th from
    /// there. `metadata` is that of the whole model, such as its seed.
    ///
    /// # Errors
    ///
    /// Those of [`RankParts::new`], for the first of these ranks.
    pub fn new(
        spec: &ShardSpec,
        fills: &'a [Fill],
        share: Share,
        metadata: &[(&str, String)],
    ) -> Result<Self> {
        let metadata = metadata.iter();
        let files = RankFiles {
            spec: spec.clone(),
            fills,
            share,
            metadata: metadata
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
        };
        // A spec that does not fit the model is refused before anything is written.
        files.parts().next().transpose()?;
        Ok(files)
    }

    /// The number of all ranks.
    #[must_use]
    pub fn ranks(&self) -> u64 {
        self.spec.ranks()
    }

    /// The ranks in the share.
    fn mine(&self) -> impl Iterator<Item = u64> + Clone + use<> {
        let step = usize::try_from(self.share.size).unwrap_or(usize::MAX);
        (self.share.rank..self.ranks()).step_by(step.max(1))
    }

    /// Returns the names of the files.
    pub fn names(&self) -> impl Iterator<Item = String> + use<> {
        let ranks = self.ranks();
        self.mine().map(move |rank| rank_file_name(rank, ranks))
    }

    /// Makes the parts of one rank after another.
    ///
    /// # Errors
    ///
    /// Those of [`RankParts::new`].
    pub fn parts(&self) -> impl Iterator<Item = Result<RankParts>> {
        self.mine().map(|rank| {
            let metadata = self.metadata.iter();
            let metadata: Vec<(&str, String)> = metadata
                .map(|(key, value)| (key.as_str(), value.clone()))
                .collect();
            RankParts::new(&self.spec, self.fills, rank, &metadata)
        })
    }

    /// Returns the bytes of the weights in each file. If there are very many parts, all files have the
    /// average of some of them.
    ///
    /// # Errors
    ///
    /// Those of [`ShardSpec::local_fills`].
    pub(super) fn sizes(&self) -> Result<Vec<u128>> {
        let size = |rank| -> Result<u128> {
            let parts = self.spec.local_fills(self.fills, rank)?;
            Ok(parts.iter().map(|part| u128::from(part.fill.bytes())).sum())
        };
        let mine = self.mine();
        let files = mine.clone().count();
        let most = Self::MAX_SIZED as usize / self.fills.len().max(1);
        if files <= most.max(1) {
            return mine.map(size).collect();
        }
        // Spread over all ranks: the last ones may have less.
        let sample = mine.step_by(files.div_ceil(most.max(1)));
        let sizes = sample.map(size).collect::<Result<Vec<_>>>()?;
        let average = sizes.iter().sum::<u128>() / sizes.len().max(1) as u128;
        Ok(vec![average; files])
    }
}

/// A rank's part of a model, for [`Writer::save_rank`].
#[derive(Clone, Debug)]
pub struct RankParts {
    rank: u64,
    ranks: u64,
    fills: Vec<Fill>,
    metadata: Vec<(String, String)>,
}

impl RankParts {
    /// Makes the parts of a rank. `metadata` is that of the whole model, such as its seed.
    ///
    /// # Errors
    ///
    /// Those of [`ShardSpec::local_fills`].
    pub fn new(
        spec: &ShardSpec,
        fills: &[Fill],
        rank: u64,
        metadata: &[(&str, String)],
    ) -> Result<Self> {
        let parts = spec.local_fills(fills, rank)?;
        let mesh = spec.mesh().dims().iter();
        let mesh: Vec<String> = mesh.map(|(name, size)| format!("{name}={size}")).collect();
        let given = metadata.iter().map(|(key, value)| (*key, value.clone()));
        let own = [
            ("rank", rank.to_string()),
            ("ranks", spec.ranks().to_string()),
            ("mesh", mesh.join(",")),
        ];
        let metadata = given
            .chain(own)
            .map(|(key, value)| (key.to_owned(), value))
            .chain(parts.iter().flat_map(LocalPart::metadata));
        Ok(RankParts {
            rank,
            ranks: spec.ranks(),
            metadata: metadata.collect(),
            fills: parts.into_iter().map(|part| part.fill).collect(),
        })
    }

    /// The file's name.
    #[must_use]
    pub fn file_name(&self) -> String {
        rank_file_name(self.rank, self.ranks)
    }

    /// Returns the file's contents.
    ///
    /// # Errors
    ///
    /// Those of [`Contents::safetensors`].
    pub fn contents(&self) -> Result<Contents<'_>> {
        let metadata = self.metadata.iter();
        let metadata: Vec<(&str, String)> = metadata
            .map(|(key, value)| (key.as_str(), value.clone()))
            .collect();
        Contents::safetensors(&self.fills, &metadata)
    }

    /// The bytes of all weights together.
    #[must_use]
    pub fn weight_bytes(&self) -> u128 {
        self.fills.iter().map(|fill| u128::from(fill.bytes())).sum()
    }
}
