//! The errors of this crate.

use crate::tensor::{DType, Shape};
use crate::text::one_line;
#[cfg(feature = "recipe")]
use crate::text::shown;

/// The result of every function of this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a request was refused or failed.
///
/// Each message is a single line that names the tensor where one is concerned, the value at
/// fault, and what would be accepted. Text from outside (names, file contents) is quoted and
/// escaped, so that no message can break out of its line.
///
/// An error that concerns one tensor is wrapped in [`Error::Tensor`]; [`Error::fault`] returns the
/// error without the tensor and the rule that it concerns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error that concerns one tensor.
    #[error("tensor {name:?}: {fault}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What is wrong.
        fault: Box<Error>,
    },

    /// A shape with more elements than a stream can number, or one that an initializer has no use for.
    #[error("shape {shape} {reason}")]
    Shape {
        /// The shape as it was given.
        shape: String,
        /// What is wrong with it, and what would be accepted.
        reason: String,
    },

    /// A slice that does not lie within its tensor, or text that is no slice.
    #[error("slice {slice:?} {reason}")]
    Slice {
        /// The slice as it was given.
        slice: String,
        /// What is wrong with it, and what would be accepted.
        reason: String,
    },

    /// A placement that a tensor cannot have, or a rank or mesh that there is not.
    #[error("{placement} {reason}")]
    Placement {
        /// The placement, rank or mesh as it was given.
        placement: String,
        /// What is wrong with it, and what would be accepted.
        reason: String,
    },

    /// A number that an initializer cannot work with.
    #[error("{parameter} = {value} is out of range: {accepted}")]
    Parameter {
        /// The parameter's name.
        parameter: &'static str,
        /// Its value as it was given.
        value: f64,
        /// What would be accepted.
        accepted: &'static str,
    },

    /// fan_in and fan_out of a shape that has none, or with groups that do not divide it.
    #[error("shape {shape} {reason}")]
    Fans {
        /// The shape whose fans were asked for.
        shape: String,
        /// Why there are none, and what would be accepted.
        reason: String,
    },

    /// An initializer that takes a number from elsewhere (a sibling, the layer count) which
    /// is not to be had.
    #[error("{init} {reason}")]
    Context {
        /// The initializer, as in a recipe.
        init: String,
        /// What it lacks, and how to give it.
        reason: String,
    },

    /// Text that is no initializer: see [`Init`](crate::Init) for the grammar.
    #[error("{spec:?} is not an initializer: {reason}")]
    Spec {
        /// The text as it was given.
        spec: String,
        /// What is wrong with it, and what would be accepted.
        reason: String,
    },

    /// A name from a closed list (a dtype, a layout, a preset, ...) that is not in it.
    #[error("unknown {kind} {value:?}: {accepted}")]
    Unknown {
        /// What kind of name was expected.
        kind: &'static str,
        /// The name as it was given.
        value: String,
        /// The names that are accepted.
        accepted: String,
    },

    /// Two tensors of one list have the same name, and so would have the same weights.
    #[error("tensor {tensor:?} is listed twice: names within a model must differ")]
    Duplicate {
        /// The name that stands twice.
        tensor: String,
    },

    /// A recipe, or a shard spec, that cannot be read.
    #[error("{recipe}{}: {reason}", at(.position))]
    Recipe {
        /// Its name: a preset's, or its file's.
        recipe: String,
        /// Line and column of the fault, counted from 1, where it has a place.
        position: Option<(usize, usize)>,
        /// What is wrong, and what would be accepted.
        reason: String,
    },

    /// No rule of the recipe, or of the shard spec, matches a tensor.
    #[error(
        "tensor {tensor:?} of shape {shape} is matched by no rule of {recipe}: add a [[rule]] \
         whose match covers it"
    )]
    Unmatched {
        /// The tensor that no rule speaks of.
        tensor: String,
        /// Its shape.
        shape: String,
        /// The recipe's name.
        recipe: String,
    },

    /// A rule that cannot be followed for a tensor.
    #[error("{fault} ({recipe} line {}, column {})", position.0, position.1)]
    Rule {
        /// The recipe that the rule stands in: a preset, or a file.
        recipe: String,
        /// Line and column of the rule's `init` or `tied_to`, counted from 1.
        position: (usize, usize),
        /// What is wrong, and with which tensor.
        fault: Box<Error>,
    },

    /// Neither the caller nor the recipe gives a seed.
    #[error("no seed: give one, or write `seed = N` in {recipe}")]
    NoSeed {
        /// The recipe's name.
        recipe: String,
    },

    /// A file whose contents are not what they should be.
    #[error("{path}: {}{reason}", of(.tensor))]
    Format {
        /// The file.
        path: String,
        /// The tensor at fault, where it is one.
        tensor: Option<String>,
        /// What is wrong, and what would be accepted.
        reason: String,
    },

    /// The operating system refused to read or write a file.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What was being done.
        action: &'static str,
        /// What the operating system says.
        source: std::io::Error,
    },

    /// The file format cannot hold what was asked of it.
    #[error("tensor {tensor:?}: {format} cannot hold {what}: {accepted}")]
    Unsupported {
        /// The tensor.
        tensor: String,
        /// The file format.
        format: &'static str,
        /// What it cannot hold.
        what: String,
        /// What would do.
        accepted: &'static str,
    },

    /// The caller asked to stop: no file is there that is not complete.
    #[error("interrupted: no file was left incomplete")]
    Interrupted,

    /// A GPU buffer that was created without a usage the fill needs.
    #[error(
        "tensor {tensor:?}: the buffer lacks usage {missing}: create it with \
         BufferUsages::{missing}"
    )]
    BufferUsage {
        /// The tensor.
        tensor: String,
        /// The usage flag's name, as in `wgpu::BufferUsages`.
        missing: &'static str,
    },

    /// A GPU buffer that ends before the fill does.
    #[error(
        "tensor {tensor:?}: the fill ends at byte {needed} of the buffer, which has {available} \
         bytes"
    )]
    BufferTooSmall {
        /// The tensor.
        tensor: String,
        /// Where the fill ends, in bytes from the start of the buffer, rounded up to whole words.
        needed: u64,
        /// Bytes that the buffer has.
        available: u64,
    },

    /// Two GPU fills of one call that would write the same bytes.
    #[error(
        "tensors {other:?} and {tensor:?} would both write bytes {start} to {end} of one buffer"
    )]
    Overlap {
        /// The tensor that begins later in the buffer.
        tensor: String,
        /// The other one.
        other: String,
        /// The first byte of both.
        start: u64,
        /// The end of what both would write, in bytes from the start of the buffer.
        end: u64,
    },

    /// An output slice that does not hold exactly the elements that were asked for.
    #[error("tensor {tensor:?}: the output must hold {expected} elements, it holds {got}")]
    LengthMismatch {
        /// The tensor.
        tensor: String,
        /// Elements of the fill.
        expected: u64,
        /// Elements that the output holds.
        got: u64,
    },

    /// An output of another element type than the fill was made for.
    #[error("tensor {tensor:?}: the fill is of dtype {expected}, the output of {got}")]
    DTypeMismatch {
        /// The tensor.
        tensor: String,
        /// The fill's dtype.
        expected: DType,
        /// The output's dtype.
        got: DType,
    },

    /// No GPU adapter answers the description.
    #[error("no GPU adapter: {}", one_line(.detail))]
    NoAdapter {
        /// What was looked for, and what there is.
        detail: String,
    },

    /// The GPU driver, or wgpu's validation, reports a fault: a buffer of another device, a
    /// lost device, a failed pipeline, memory that ran out.
    #[error("{context}: {}", one_line(.detail))]
    Device {
        /// What was being done, and for which tensor.
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

    pub(crate) fn shape(shape: &Shape, reason: impl Into<String>) -> Self {
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
        let path = shown(path);
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
        .map(|name| format!("tensor {name:?}: "))
        .unwrap_or_default()
}

/// ` line 3, column 7`, or nothing.
fn at(position: &Option<(usize, usize)>) -> String {
    position
        .map(|(line, column)| format!(" line {line}, column {column}"))
        .unwrap_or_default()
}
