//! The errors of this crate.

use std::fmt;

use crate::tensor::DType;
#[cfg(feature = "recipe")]
use crate::text::shown;
use crate::text::{excerpt, one_line};

/// The result of every function of this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a request was refused or failed.
///
/// Each message is a single line. It names the tensor if the error concerns one, the wrong value, and
/// the accepted values. Untrusted text (names, file contents) is quoted and escaped, so that it
/// cannot break the line.
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
        /// The fault.
        fault: Box<Error>,
    },

    /// A shape with more elements than a stream can number, or a shape that the initializer cannot fill.
    #[error("shape {shape} {reason}")]
    Shape {
        /// The shape as it was given.
        shape: String,
        /// The fault, and the accepted values.
        reason: String,
    },

    /// A slice that is out of range for its tensor, or text that is not a slice.
    #[error("slice {slice:?} {reason}")]
    Slice {
        /// The slice as it was given.
        slice: String,
        /// The fault, and the accepted values.
        reason: String,
    },

    /// A placement that the tensor cannot have, or a rank or mesh that does not exist.
    #[error("{placement} {reason}")]
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
    #[error("dtype {dtype} {reason}")]
    DType {
        /// The dtype.
        dtype: DType,
        /// The fault, and the accepted values.
        reason: String,
    },

    /// A tensor that is kept from a file, where no file is given or a backend was asked to make it.
    #[error(
        "tensor {tensor:?} is kept from a file, and no file is given: give the weights that hold \
         it, an init, or skip = true"
    )]
    Kept {
        /// The tensor.
        tensor: String,
    },

    /// A shape without fan_in and fan_out, or groups that do not divide it.
    #[error("shape {shape} {reason}")]
    Fans {
        /// The shape.
        shape: String,
        /// The reason, and what would be accepted.
        reason: String,
    },

    /// An initializer without a number that it takes from elsewhere: a sibling, or the layer count.
    #[error("{init} {reason}")]
    Context {
        /// The initializer, as in a recipe.
        init: String,
        /// The missing number, and how to give it.
        reason: String,
    },

    /// Text that is not an initializer. [`Init`](crate::Init) describes the grammar.
    #[error("{spec:?} is not an initializer: {reason}")]
    Spec {
        /// The text as it was given.
        spec: String,
        /// The fault, and the accepted values.
        reason: String,
    },

    /// A name from a closed list (a dtype, a layout, a preset, ...) that is not in it.
    #[error("unknown {kind} {value:?}: {accepted}")]
    Unknown {
        /// The kind of name that was expected.
        kind: &'static str,
        /// The name as it was given.
        value: String,
        /// The names that are accepted.
        accepted: String,
    },

    /// Two tensors of one list with the same name, which would give them the same weights.
    #[error("tensor {tensor:?} is listed twice: names within a model must differ")]
    Duplicate {
        /// The name.
        tensor: String,
    },

    /// A recipe or a shard spec that cannot be read.
    #[error("{recipe}{}: {reason}", at(.position))]
    Recipe {
        /// The name of the preset or of the file.
        recipe: String,
        /// Line and column of the fault from 1, if it has a position.
        position: Option<(usize, usize)>,
        /// The fault, and the accepted values.
        reason: String,
    },

    /// Tensors that no rule of the recipe or of the shard spec matches.
    #[error("{}", unmatched(.tensors, .recipe, .key))]
    Unmatched {
        /// The name and the shape of each tensor.
        tensors: Vec<(String, String)>,
        /// The recipe's name.
        recipe: String,
        /// The key that a rule for them needs besides `match`.
        key: &'static str,
    },

    /// A rule that cannot be applied to a tensor.
    #[error("{fault} ({recipe} line {}, column {})", position.0, position.1)]
    Rule {
        /// The recipe with the rule: a preset or a file.
        recipe: String,
        /// Line and column of the rule's `init` or `tied_to`, from 1.
        position: (usize, usize),
        /// The fault, with the tensor.
        fault: Box<Error>,
    },

    /// A missing seed: neither the caller nor the recipe gives one.
    #[error("no seed: give one, or write `seed = N` in {recipe}")]
    NoSeed {
        /// The recipe's name.
        recipe: String,
    },

    /// A file with invalid contents.
    #[error("{path}: {}{reason}", of(.tensor))]
    Format {
        /// The file.
        path: String,
        /// The tensor, if the fault concerns one.
        tensor: Option<String>,
        /// The fault, and the accepted values.
        reason: String,
    },

    /// A file that the operating system cannot read or write.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The operation, as in "open" or "write".
        action: &'static str,
        /// The error of the operating system.
        source: std::io::Error,
    },

    /// A tensor that the file format cannot hold.
    #[error("tensor {tensor:?}: {format} cannot hold {what}: {accepted}")]
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
        /// The end of the fill in bytes from the start of the buffer, rounded up to whole words.
        needed: u64,
        /// The size of the buffer in bytes.
        available: u64,
    },

    /// Two GPU fills of one call that would write the same bytes.
    #[error(
        "tensors {other:?} and {tensor:?} would both write bytes {start} to {end} of one buffer"
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
    #[error("tensor {tensor:?}: the output must hold {expected} elements, it holds {got}")]
    LengthMismatch {
        /// The tensor.
        tensor: String,
        /// The number of elements of the fill.
        expected: u64,
        /// The number of elements of the output.
        got: u64,
    },

    /// An output whose element type differs from the dtype of the fill.
    #[error("tensor {tensor:?}: the fill is of dtype {expected}, the output of {got}")]
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
    #[error("{context}: {}", one_line(.detail))]
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

/// The message about tensors without a rule, with globs that would match them.
fn unmatched(tensors: &[(String, String)], recipe: &str, key: &str) -> String {
    /// The tensors, and the globs, that the message shows.
    const SHOWN: usize = 8;
    let (subject, verb) = match tensors.len() {
        1 => ("tensor".to_owned(), "is"),
        count => (format!("{count} tensors"), "are"),
    };
    let named = tensors.iter().take(SHOWN);
    let mut named: Vec<String> = named
        .map(|(name, shape)| format!("{:?} of shape {shape}", excerpt(name)))
        .collect();
    if tensors.len() > SHOWN {
        named.push(format!("and {} more", tensors.len() - SHOWN));
    }
    // Names of one module in many layers differ before their last part.
    let mut globs: Vec<String> = Vec::new();
    for (name, _) in tensors {
        let start = name.rfind(['.', '/']).unwrap_or(0);
        let literal = |text: &str| {
            let special = |c: char| "*?[]{}\\".contains(c);
            text.chars()
                .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]))
                .collect::<String>()
        };
        let glob = match start {
            0 => literal(name),
            start => format!("*{}", literal(&name[start..])),
        };
        let glob = format!("{:?}", glob);
        if !globs.contains(&glob) && globs.len() < SHOWN {
            globs.push(glob);
        }
    }
    let globs = match &globs[..] {
        [glob] => glob.clone(),
        globs => format!("[{}]", globs.join(", ")),
    };
    format!(
        "{subject} {} {verb} matched by no rule of {recipe}: add a [[rule]] with match = {globs} and {key}",
        named.join(", ")
    )
}

/// ` line 3, column 7`, or nothing.
fn at(position: &Option<(usize, usize)>) -> String {
    position
        .map(|(line, column)| format!(" line {line}, column {column}"))
        .unwrap_or_default()
}
