//! The limits of the lists that are read. They bound the time and the memory for untrusted files:
//! a file that is refused takes less than 300 MB. What is written stays within them, too.

/// The most bytes of a header, a tensor list or an index. It is the limit of the safetensors library
/// for headers.
pub(super) const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The most bytes of the headers of all shards together. They list the tensors of the index, which has
/// at most [`MAX_HEADER_BYTES`], and have some more bytes for each tensor.
pub(super) const MAX_HEADERS_BYTES: u64 = 4 * MAX_HEADER_BYTES;

/// The most tensors of a file, and of all shards together.
pub(super) const MAX_TENSORS: usize = 1 << 20;

/// The longest name of a tensor in bytes, far longer than any sensible one.
pub(super) const MAX_NAME_BYTES: usize = 1 << 16;

/// The longest text of a shape in bytes, blanks included.
pub(super) const MAX_SHAPE_BYTES: usize = 4096;

/// The most different parts of tensors in a file, where tensors of one shape share a part.
pub(super) const MAX_FILE_PARTS: usize = 1 << 16;

/// The most bytes of the header of each rank's file, where the files of all ranks are read together.
pub(super) const MAX_RANK_HEADER_BYTES: usize = 32_000_000;

/// The most parts of tensors in the files of all ranks together, without those of the same elements.
pub(super) const MAX_RANK_PARTS: usize = 1 << 21;

/// The most different parts in the files of all ranks together.
pub(super) const MAX_DIFFERENT_RANK_PARTS: usize = 1 << 17;

/// The most pairs of the metadata of a file, and of all shards together.
pub(super) const MAX_METADATA_PAIRS: usize = 1 << 20;

/// The most bytes of the keys and texts of the metadata of a file, and of all shards together.
pub(super) const MAX_METADATA_BYTES: usize = 64 << 20;

/// Returns the reason to refuse the dimensions of a tensor, whose text is too long to be read.
pub(super) fn long_shape(bytes: usize) -> String {
    format!("has a shape of {bytes} characters: at most {MAX_SHAPE_BYTES} are read")
}

/// Returns the reason to refuse a file with a tensor whose name is too long to be read.
pub(super) fn long_name(bytes: usize) -> String {
    format!("has a tensor whose name has {bytes} bytes: at most {MAX_NAME_BYTES} are read")
}
