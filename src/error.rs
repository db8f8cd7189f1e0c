//! The errors of this crate.

use std::fmt;

use crate::tensor::DType;
use crate::text::{bounded, excerpt, one_line, quoted, quoted_list};

/// The result of every function of this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a request was refused or failed.
///
/// Each message is a single line of at most a few thousand characters. It names the tensor if the error
/// concerns one, the wrong value, and the accepted values. The fields hold texts from outside (names,
/// paths, file contents) as they were given. The message escapes them, so that they cannot break the
/// line, and cuts each one after 200 characters.
///
/// An error that concerns one tensor is wrapped in [`Error::Tensor`]; [`Error::fault`] returns the
/// error without the tensor and the rule that it concerns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error that concerns one tensor.
    #[error("tensor {}: {fault}", quoted(.name))]
    Tensor {
        /// The tensor's name.
        name: String,
        /// The fault.
        fault: Box<Error>,
    },

    /// A shape with more elements than a stream can number, or a shape that the initializer cannot fill.
    #[error("shape {} {}", excerpt(.shape), bounded(.reason))]
    Shape {
        /// The shape as it was given.
        shape: String,
        /// The fault, and the accepted values.
        reason: String,
    },

    /// A slice that is out of range for its tensor, or text that is not a slice.
    #[error("slice {} {}", quoted(.slice), bounded(.reason))]
    Slice {
        /// The slice as it was given.
        slice: String,
        /// The fault, and the accepted values.
        reason: String,
    },

    /// A placement that the tensor cannot have, or a rank or mesh that does not exist.
    #[error("{} {}", bounded(.placement), bounded(.reason))]
    Placement {
        /// The placement, rank or mesh as it was given.
        placement: String,
        /// The fault, and the accepted values.
        reason: String,
    },

    /// A number that is out of range.
    #[error("{parameter} = {value} is out of range: {accepted}")]
    Parameter {
        /// The parameter's name.
        parameter: &'static str,
        /// Its value as it was given.
        value: f64,
        /// The accepted values.
        accepted: &'static str,
    },

    /// A dtype that cannot hold the elements of a tensor.
    #[error("dtype {dtype} {}", bounded(.reason))]
    DType {
        /// The dtype.
        dtype: DType,
        /// The fault, and the accepted values.
        reason: String,
    },

    /// A tensor that is kept from a file, where no file is given or a backend was asked to make it.
    #[error(
        "tensor {} is kept from a file, and no file is given: give the weights that hold it, an init, \
         or skip = true",
        quoted(.tensor)
    )]
    Kept {
        /// The tensor.
        tensor: String,
    },

    /// A shape without fan_in and fan_out, or groups that do not divide it.
    #[error("shape {} {}", excerpt(.shape), bounded(.reason))]
    Fans {
        /// The shape.
        shape: String,
        /// The reason, and what would be accepted.
        reason: String,
    },

    /// An initializer without a number that it takes from elsewhere: a sibling, or the layer count.
    #[error("{} {}", bounded(.init), bounded(.reason))]
    Context {
        /// The initializer, as in a recipe.
        init: String,
        /// The missing number, and how to give it.
        reason: String,
    },

    /// Text that is not an initializer. [`Init`](crate::Init) describes the grammar.
    #[error("{} is not an initializer: {}", quoted(.spec), bounded(.reason))]
    Spec {
        /// The text as it was given.
        spec: String,
        /// The fault, and the accepted values.
        reason: String,
    },

    /// A name from a closed list (a dtype, a layout, a preset, ...) that is not in it.
    #[error("unknown {kind} {}: {}", quoted(.value), bounded(.accepted))]
    Unknown {
        /// The kind of name that was expected.
        kind: &'static str,
        /// The name as it was given.
        value: String,
        /// The names that are accepted.
        accepted: String,
    },

    /// Two tensors of one list with the same name, which would give them the same weights.
    #[error("tensor {} is listed twice: names within a model must differ", quoted(.tensor))]
    Duplicate {
        /// The name.
        tensor: String,
    },

    /// A recipe or a shard spec that cannot be read.
    #[error("{}{}: {}", excerpt(.recipe), at(.position), bounded(.reason))]
    Recipe {
        /// The name of the preset or of the file.
        recipe: String,
        /// Line and column of the fault from 1, if it has a position.
        position: Option<(usize, usize)>,
        /// The fault, and the accepted values.
        reason: String,
    },

    /// Tensors that no rule of the recipe or of the shard spec matches.
    #[error("{}", unmatched(.tensors, *.count, .recipe, .key))]
    Unmatched {
        /// The name and the shape of each tensor, of the first 1,000 at most.
        tensors: Vec<(String, String)>,
        /// The number of all such tensors.
        count: usize,
        /// The recipe's name.
        recipe: String,
        /// The key that a rule for them needs besides `match`.
        key: &'static str,
    },

    /// A rule that cannot be applied to a tensor.
    #[error("{fault} ({} line {}, column {})", excerpt(.recipe), position.0, position.1)]
    Rule {
        /// The recipe with the rule: a preset or a file.
        recipe: String,
        /// Line and column of the rule's `init` or `tied_to`, from 1.
        position: (usize, usize),
        /// The fault, with the tensor.
        fault: Box<Error>,
    },

    /// A missing seed: neither the caller nor the recipe gives one.
    #[error("no seed: give one, or write `seed = N` in {}", excerpt(.recipe))]
    NoSeed {
        /// The recipe's name.
        recipe: String,
    },

    /// A file with invalid contents.
    #[error("{}: {}{}", excerpt(.path), of(.tensor), bounded(.reason))]
    Format {
        /// The file.
        path: String,
        /// The tensor, if the fault concerns one.
        tensor: Option<String>,
        /// The fault, and the accepted values.
        reason: String,
    },

    /// A file that the operating system cannot read or write.
    #[error("{}: cannot {action}: {}", excerpt(.path), one_line(&.source.to_string()))]
    Io {
        /// The file.
        path: String,
        /// The operation, as in "open" or "write".
        action: &'static str,
        /// The error of the operating system.
        source: std::io::Error,
    },

    /// A tensor that the file format cannot hold.
    #[error("tensor {}: {format} cannot hold {}: {accepted}", quoted(.tensor), bounded(.what))]
    Unsupported {
        /// The tensor.
        tensor: String,
        /// The file format.
        format: &'static str,
        /// The property that it cannot hold.
        what: String,
        /// The accepted values.
        accepted: &'static str,
    },

    /// An interruption by the caller. No file was left incomplete.
    #[error("interrupted: no file was left incomplete")]
    Interrupted,

    /// A GPU buffer without a usage that the fill needs.
    #[error(
        "tensor {}: the buffer lacks usage {missing}: create it with BufferUsages::{missing}",
        quoted(.tensor)
    )]
    BufferUsage {
        /// The tensor.
        tensor: String,
        /// The usage flag's name, as in `wgpu::BufferUsages`.
        missing: &'static str,
    },

    /// A GPU buffer that ends before the fill does.
    #[error(
        "tensor {}: the fill ends at byte {needed} of the buffer, which has {available} bytes",
        quoted(.tensor)
    )]
    BufferTooSmall {
        /// The tensor.
        tensor: String,
        /// The end of the fill in bytes from the start of the buffer, rounded up to whole words.
        needed: u64,
        /// The size of the buffer in bytes.
        available: u64,
    },

    /// Two GPU fills of one call that would write the same bytes.
    #[error(
        "tensors {} and {} would both write bytes {start} to {end} of one buffer",
        quoted(.other),
        quoted(.tensor)
    )]
    Overlap {
        /// The tensor that starts later in the buffer.
        tensor: String,
        /// The other tensor.
        other: String,
        /// The first byte that both would write.
        start: u64,
        /// The end of the bytes that both would write.
        end: u64,
    },

    /// An output with more or fewer elements than the fill.
    #[error(
        "tensor {}: the output must hold {expected} elements, it holds {got}",
        quoted(.tensor)
    )]
    LengthMismatch {
        /// The tensor.
        tensor: String,
        /// The number of elements of the fill.
        expected: u64,
        /// The number of elements of the output.
        got: u64,
    },

    /// An output whose element type differs from the dtype of the fill.
    #[error(
        "tensor {}: the fill is of dtype {expected}, the output of {got}",
        quoted(.tensor)
    )]
    DTypeMismatch {
        /// The tensor.
        tensor: String,
        /// The fill's dtype.
        expected: &'static str,
        /// The output's dtype.
        got: &'static str,
    },

    /// A request that no GPU adapter meets.
    #[error("no GPU adapter: {}", one_line(.detail))]
    NoAdapter {
        /// The requested and the available adapters.
        detail: String,
    },

    /// A fault that the GPU driver or wgpu's validation reports: a buffer of another device, a lost
    /// device, a failed pipeline, too little memory.
    #[error("{}: {}", bounded(.context), one_line(.detail))]
    Device {
        /// The operation, and its tensor.
        context: String,
        /// The report.
        detail: String,
    },
}

impl Error {
    /// Returns the same error with the name of the tensor that it concerns, unless it has one.
    ///
    /// ```
    /// let error = fanin::Shape::new([1 << 51]).unwrap_err().named("encoder.weight");
    /// assert!(error.to_string().starts_with(r#"tensor "encoder.weight": shape [2251799813685248]"#));
    /// ```
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        match self {
            Error::Shape { .. }
            | Error::Slice { .. }
            | Error::Placement { .. }
            | Error::Parameter { .. }
            | Error::DType { .. }
            | Error::Fans { .. }
            | Error::Context { .. }
            | Error::Spec { .. }
            | Error::Unknown { .. } => Error::Tensor {
                name: name.to_owned(),
                fault: Box::new(self),
            },
            // The file comes first in the message.
            Error::Format {
                path,
                tensor: None,
                reason,
            } => Error::Format {
                path,
                tensor: Some(name.to_owned()),
                reason,
            },
            // The others have a tensor already, or concern a file or a device.
            error => error,
        }
    }

    /// Returns [`Error::Unmatched`] unless these tensors, names and shapes, are none. It is made in one pass, and its size is
    /// bounded: a list may have a million tensors.
    #[cfg(feature = "recipe")]
    pub(crate) fn refuse_unmatched<'a, S: fmt::Display>(
        mut tensors: impl Iterator<Item = (&'a str, S)>,
        recipe: &str,
        key: &'static str,
    ) -> Result<()> {
        /// The tensors that the error holds.
        const HELD: usize = 1000;
        let held: Vec<(String, String)> = tensors
            .by_ref()
            .take(HELD)
            .map(|(name, shape)| (name.to_owned(), shape.to_string()))
            .collect();
        match held.len() + tensors.count() {
            0 => Ok(()),
            count => Err(Error::Unmatched {
                tensors: held,
                count,
                recipe: recipe.to_owned(),
                key,
            }),
        }
    }

    /// Returns the error without the tensor and the rule of a recipe that it concerns.
    #[must_use]
    pub fn fault(&self) -> &Error {
        match self {
            Error::Tensor { fault, .. } | Error::Rule { fault, .. } => fault.fault(),
            error => error,
        }
    }

    pub(crate) fn parameter(parameter: &'static str, value: f64, accepted: &'static str) -> Self {
        Error::Parameter {
            parameter,
            value,
            accepted,
        }
    }

    pub(crate) fn dtype(dtype: DType, reason: impl Into<String>) -> Self {
        Error::DType {
            dtype,
            reason: reason.into(),
        }
    }

    pub(crate) fn shape(shape: impl fmt::Display, reason: impl Into<String>) -> Self {
        Error::Shape {
            shape: shape.to_string(),
            reason: reason.into(),
        }
    }

    pub(crate) fn context(init: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Context {
            init: init.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn spec(spec: &str, reason: impl Into<String>) -> Self {
        Error::Spec {
            spec: spec.to_owned(),
            reason: reason.into(),
        }
    }

    /// For use in `map_err`: names the file and what was being done with it.
    #[cfg(feature = "recipe")]
    pub(crate) fn io(
        path: &std::path::Path,
        action: &'static str,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_string_lossy().into_owned();
        move |source| Error::Io {
            path,
            action,
            source,
        }
    }
}

/// `tensor "name": `, or nothing where the name is not known.
fn of(tensor: &Option<String>) -> String {
    tensor
        .as_ref()
        .map(|name| format!("tensor {}: ", quoted(name)))
        .unwrap_or_default()
}

/// The message about tensors without a rule, with globs that would match them.
fn unmatched(tensors: &[(String, String)], count: usize, recipe: &str, key: &str) -> String {
    /// The tensors, and the globs, that the message shows.
    const SHOWN: usize = 8;
    let (subject, verb) = match count {
        1 => ("tensor".to_owned(), "is"),
        count => (format!("{count} tensors"), "are"),
    };
    let named = tensors.iter().take(SHOWN);
    let mut named: Vec<String> = named
        .map(|(name, shape)| format!("{} of shape {}", quoted(name), excerpt(shape)))
        .collect();
    if count > SHOWN {
        named.push(format!("and {} more", count - SHOWN));
    }
    // Names of one module in many layers differ before their last part.
    let mut globs: Vec<String> = Vec::new();
    for (name, _) in tensors {
        let start = name.rfind(['.', '/']).unwrap_or(0);
        let glob = match start {
            0 => literal_glob(name),
            start => format!("*{}", literal_glob(&name[start..])),
        };
        if !globs.contains(&glob) {
            globs.push(glob);
        }
        if globs.len() == SHOWN {
            break;
        }
    }
    let list = quoted_list(&globs, SHOWN);
    let globs = if globs.len() == 1 {
        list
    } else {
        format!("[{list}]")
    };
    format!(
        "{subject} {} {verb} matched by no rule of {}: add a [[rule]] with match = {globs} and {key}",
        named.join(", "),
        excerpt(recipe)
    )
}

/// Returns a glob that matches only this text.
fn literal_glob(text: &str) -> String {
    let special = |c: char| "*?[]{}\\".contains(c);
    text.chars()
        .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]))
        .collect()
}

/// ` line 3, column 7`, or nothing.
fn at(position: &Option<(usize, usize)>) -> String {
    position
        .map(|(line, column)| format!(" line {line}, column {column}"))
        .unwrap_or_default()
}
