//! The names of the files of a model in a folder.

/// The name of the index of a model in several files.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// The name of a model in one file.
pub(super) const SINGLE: &str = "model.safetensors";

/// Returns the name of a shard, as transformers names it.
pub(super) fn shard_name(number: usize, count: usize) -> String {
    match count {
        1 => SINGLE.to_owned(),
        _ => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
    }
}

/// Returns true for a name that [`shard_name`] makes for one of several files.
pub(super) fn is_shard_name(name: &str) -> bool {
    let numbers = name.strip_prefix("model-").and_then(|rest| {
        let (number, count) = rest.strip_suffix(".safetensors")?.split_once("-of-")?;
        Some((number.parse::<usize>().ok()?, count.parse().ok()?))
    });
    numbers.is_some_and(|(number, count)| {
        number >= 1 && count > 1 && shard_name(number - 1, count) == name
    })
}

/// Returns the name of the file with a rank's part of a model:
/// `model-rank-00003-of-00008.safetensors`. Ranks count from 0.
#[must_use]
pub fn rank_file_name(rank: u64, ranks: u64) -> String {
    format!("model-rank-{rank:05}-of-{ranks:05}.safetensors")
}

/// Returns the rank and the number of ranks in the name of a rank's file, or `None` for another
/// name.
pub(super) fn rank_of_file(name: &str) -> Option<(u64, u64)> {
    let numbers = name.strip_prefix("model-rank-")?;
    let (rank, ranks) = numbers.strip_suffix(".safetensors")?.split_once("-of-")?;
    let (rank, ranks) = (rank.parse().ok()?, ranks.parse().ok()?);
    // Only the name that is written: no sign, no other number of digits, no rank that is too large.
    (rank < ranks && rank_file_name(rank, ranks) == name).then_some((rank, ranks))
}
