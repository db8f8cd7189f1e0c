//! The errors of drawing and saving a page.

use std::path::PathBuf;

use fanin::text::quoted;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason that a page was not drawn or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A chart that cannot be drawn.
    #[error("chart {}: {reason}", quoted(.chart))]
    Chart {
        /// The chart's title, or the label of the axis at fault.
        chart: String,
        /// The fault, and the values that are accepted.
        reason: String,
    },

    /// A path that ends in neither .svg nor .png.
    #[error("{} is not a picture's path: use a path that ends in .svg or .png", quoted(&.path.to_string_lossy()))]
    Ending {
        /// The path as it was given.
        path: PathBuf,
    },

    /// A file that cannot be written.
    #[error(transparent)]
    Write(#[from] fanin::Error),
}
