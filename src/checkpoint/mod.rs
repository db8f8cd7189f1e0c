//! Files of models: reads lists of tensors, writes weights, and reads existing weights for
//! statistics, verification and comparison.
//!
//! Nothing here holds a model in memory. Weights pass through buffers of a bounded size, from a
//! backend that makes them to a file or a pipe.
//!
//! ```
//! use fanin::{Recipe, checkpoint};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let list = folder.path().join("list.json");
//! # std::fs::write(&list, r#"{"tensors": [{"name": "0.weight", "shape": [32, 16]}]}"#).unwrap();
//! # let path = folder.path().join("model.safetensors");
//! let list = checkpoint::read_tensor_list(&list)?;
//! let plan = Recipe::preset("lecun")?.resolve(&list, Some(42), None)?;
//! let fills = plan.fills();
//! let contents = checkpoint::Contents::safetensors(&fills, &[("format", "pt".into())])?;
//! checkpoint::save(&path, &contents, &mut fanin::cpu::fill_range, &mut checkpoint::silent)?;
//! assert_eq!(checkpoint::stats(&path)?[0].n, 32 * 16);
//! # Ok::<(), fanin::Error>(())
//! ```

mod assembly;
mod contents;
mod diff;
mod examine;
mod expected;
mod file_names;
mod folder_lock;
mod foreign;
mod header;
mod histogram;
mod json;
mod leftovers;
mod limits;
mod metadata;
mod model_files;
mod npy;
mod numbers;
mod of_recipe;
mod open;
mod part_of;
mod partial;
mod pipeline;
mod rank_files;
mod ranks;
mod reader;
mod shards;
mod sources;
mod space;
mod stats;
mod tensor_list;
mod verify;
mod weights;
mod write;
mod written;

pub use contents::Contents;
pub use diff::{Change, Diff, Start, TensorDiff, diff, diff_some, start_list};
pub use examine::{Examined, FALSE_ALARMS, examine, examine_with, float_bytes, float_tensors};
pub use expected::{Bounds, Expected, Flag};
pub use file_names::rank_file_name;
pub use histogram::{Histogram, histograms};
pub use model_files::ModelFiles;
pub use of_recipe::{Compared, metadata_differences, recipe_metadata, recipe_of};
pub use partial::abandon;
pub use rank_files::{RankFiles, RankParts};
pub use reader::Reader;
pub use shards::{Saved, Shard, Shards, Share};
pub use sources::{Sources, WithSources};
pub use stats::{Moments, TensorStats, stats};
pub use tensor_list::{parse_safetensors, parse_tensor_list, read_tensor_list};
pub use verify::{Difference, StoredValue, Verification, VerifiedTensor, verify, verify_some};
pub use weights::{StoredTensor, Weights};
pub use write::{Make, Progress, Writer, save, save_bytes, silent, write_to};
pub use written::header_faults;
