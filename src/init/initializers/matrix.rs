//! Rules that depend on the position in a matrix or a convolution.

use super::simple::normal;
use crate::error::{Error, Result};
use crate::init::key::{Key, Range, Value};
use crate::init::rule::Definition;
use crate::init::{Computation, Distribution, Init};
use crate::tensor::{Layout, Tensor};

pub(in crate::init) static MATRIX: &[Definition] = &[
    Definition {
        name: "embedding",
        aliases: &[],
        keys: &[
            Key::number("mean", Range::ANY, 0.0),
            Key::number("std", Range::ANY, 1.0),
            Key::index("padding_idx"),
        ],
        formula: "N(mean, std^2), but 0 in row padding_idx; a negative one counts from the last row, -1",
        frameworks: "torch Embedding",
        source: "torch.nn.Embedding.reset_parameters",
        when: "embeddings with a padding token",
        compute: |init| match init.index_if_given("padding_idx") {
            Some(_) => {
                Distribution::check_normal(init.number("mean"), init.number("std"))?;
                Ok(Computation::OfShape(embedding))
            }
            None => normal(init),
        },
    },
    Definition {
        name: "eye",
        aliases: &[],
        keys: &[],
        formula: "1 on the diagonal, 0 elsewhere",
        frameworks: "torch eye_",
        source: "Le, Jaitly, Hinton 2015, arXiv:1504.00941",
        when: "recurrent weights; layers that start as the identity",
        compute: |_| {
            Ok(Computation::OfShape(|init, tensor| {
                diagonal(init, 1.0, tensor)
            }))
        },
    },
    Definition {
        name: "identity",
        aliases: &[],
        keys: &[Key::number("gain", Range::ANY, 1.0)],
        formula: "gain on the diagonal, 0 elsewhere",
        frameworks: "Keras Identity",
        source: "Le, Jaitly, Hinton 2015, arXiv:1504.00941",
        when: "recurrent weights",
        compute: |init| {
            Distribution::constant(init.number("gain"))?;
            Ok(Computation::OfShape(|init, tensor| {
                diagonal(init, init.number("gain"), tensor)
            }))
        },
    },
    Definition {
        name: "dirac",
        aliases: &[],
        keys: &[Key::count("groups", 1, 1).optional()],
        formula: "1 for output i and input i of each group in the middle tap, 0 elsewhere: the convolution \
                  passes its inputs through",
        frameworks: "torch dirac_",
        source: "Zagoruyko, Komodakis 2017, arXiv:1706.00388",
        when: "very deep convolutional networks",
        compute: |_| Ok(Computation::OfShape(dirac)),
    },
    Definition {
        name: "orthogonal",
        aliases: &[],
        keys: &[Key::number("gain", Range::NOT_NEGATIVE, 1.0)],
        formula: "taken from gain times a Haar-distributed orthogonal matrix; convolutions are flattened",
        frameworks: "torch orthogonal_, Keras Orthogonal, JAX orthogonal",
        source: "Saxe, McClelland, Ganguli 2014, arXiv:1312.6120",
        when: "recurrent weights, very deep networks",
        compute: |init| {
            Distribution::constant(init.number("gain"))?;
            Ok(Computation::OfShape(orthogonal))
        },
    },
    Definition {
        name: "delta_orthogonal",
        aliases: &[],
        keys: &[Key::number("gain", Range::NOT_NEGATIVE, 1.0)],
        formula: "taken from gain times an orthogonal matrix in the middle tap, 0 in the other taps",
        frameworks: "JAX delta_orthogonal",
        source: "Xiao et al. 2018, arXiv:1806.05393",
        when: "very deep convolutional networks",
        compute: |init| {
            Distribution::constant(init.number("gain"))?;
            Ok(Computation::OfShape(delta_orthogonal))
        },
    },
    Definition {
        name: "sparse",
        aliases: &[],
        keys: &[
            Key::number("sparsity", Range::SHARE, 0.0).required(),
            Key::number("std", Range::ANY, 0.01),
        ],
        formula: "0 in ceil(sparsity * rows) random rows of each column, N(0, std^2) elsewhere",
        frameworks: "torch sparse_",
        source: "Martens 2010, ICML",
        when: "units with few connections, so that they saturate less and differ more",
        compute: |init| {
            Distribution::check_normal(0.0, init.number("std"))?;
            Ok(Computation::OfShape(sparse))
        },
    },
];

/// Returns the error for a tensor that is not a matrix.
fn not_a_matrix(init: &Init, tensor: &Tensor) -> Error {
    Error::shape(
        tensor.shape(),
        format!("is not a matrix: {init} needs rank 2"),
    )
}

/// Returns the normal distribution with a row of zeros.
fn embedding(init: &Init, tensor: &Tensor) -> Result<Distribution> {
    let &[rows, columns] = tensor.shape().dims() else {
        return Err(not_a_matrix(init, tensor));
    };
    // As in torch, -1 is the last row.
    let index = init.index_if_given("padding_idx").unwrap_or(0);
    let row = if index < 0 {
        // The negative of i64::MIN does not fit in i64.
        rows.checked_sub(index.unsigned_abs())
    } else {
        Some(index.unsigned_abs()).filter(|&row| row < rows)
    };
    let row = row.ok_or_else(|| {
        Error::shape(
            tensor.shape(),
            format!(
                "has no row {index} for padding: its rows are 0 to {}, or -{rows} to -1 from the end",
                rows - 1
            ),
        )
    })?;
    Distribution::normal_with_zero_row(init.number("mean"), init.number("std"), columns, row)
}

/// Returns the distribution with `value` on the diagonal.
fn diagonal(init: &Init, value: f64, tensor: &Tensor) -> Result<Distribution> {
    match *tensor.shape().dims() {
        [rows, columns] => Distribution::diagonal(value, rows, columns, rows.min(columns), 1, 0),
        _ => Err(not_a_matrix(init, tensor)),
    }
}

/// Returns the distribution with a 1 for each channel in the middle tap, `size / 2` as in torch's
/// `dirac_`.
fn dirac(init: &Init, tensor: &Tensor) -> Result<Distribution> {
    let shape = tensor.shape();
    let (outputs, inputs, kernel) = match shape.dims() {
        &[outputs, inputs, ref kernel @ ..]
            if (1..=3).contains(&kernel.len()) && tensor.layout() == Layout::OutIn =>
        {
            (outputs, inputs, kernel)
        }
        _ => {
            return Err(Error::shape(
                shape,
                "is not a convolution that dirac can fill: it needs rank 3 to 5, [out, in, k...] in \
                 layout out_in",
            ));
        }
    };
    let groups = init.count_if_given("groups").unwrap_or(tensor.groups());
    if groups == 0 || !outputs.is_multiple_of(groups) {
        return Err(Error::shape(
            shape,
            format!(
                "cannot have {groups} groups: they must be at least 1 and divide its {outputs} \
                 outputs"
            ),
        ));
    }
    // A row is an output, with a run of `taps` elements for each input. Row r of a group has its 1 in run r.
    let taps = kernel.iter().product::<u64>();
    let rows = outputs / groups;
    let middle = kernel.iter().fold(0, |at, &size| at * size + size / 2);
    Distribution::diagonal(1.0, rows, inputs * taps, rows.min(inputs), taps, middle)
}

/// Returns the distribution of an orthogonal matrix that is the flattened tensor: `[out, in * k...]` in
/// layout `OutIn` as in torch, `[k... * in, out]` in layout `InOut` as in Keras and JAX.
fn orthogonal(init: &Init, tensor: &Tensor) -> Result<Distribution> {
    let &[first, .., last] = tensor.shape().dims() else {
        return Err(Error::shape(
            tensor.shape(),
            "is not a matrix: orthogonal needs rank 2 or more",
        ));
    };
    // No dimension is 0, because `Init::resolve` handles empty tensors before.
    let elements = tensor.shape().elements();
    let (rows, columns) = match tensor.layout() {
        Layout::OutIn => (first, elements / first),
        Layout::InOut => (elements / last, last),
    };
    Distribution::orthogonal(init.number("gain"), rows, columns)
}

/// Returns the distribution of an orthogonal matrix in the middle tap, `(size - 1) / 2` as in
/// `jax.nn.initializers.delta_orthogonal`.
fn delta_orthogonal(init: &Init, tensor: &Tensor) -> Result<Distribution> {
    let dims = tensor.shape().dims();
    let taps_last = tensor.layout() == Layout::OutIn;
    let (kernel, rows, columns) = match (tensor.layout(), dims) {
        (Layout::OutIn, &[rows, columns, ref kernel @ ..])
        | (Layout::InOut, &[ref kernel @ .., rows, columns])
            if (1..=3).contains(&kernel.len()) =>
        {
            (kernel, rows, columns)
        }
        _ => {
            return Err(Error::shape(
                tensor.shape(),
                "is not a convolution: delta_orthogonal needs rank 3 to 5",
            ));
        }
    };
    let (inputs, outputs) = if taps_last {
        (columns, rows)
    } else {
        (rows, columns)
    };
    if inputs > outputs {
        return Err(Error::shape(
            tensor.shape(),
            format!(
                "has {inputs} inputs and {outputs} outputs: delta_orthogonal needs no more inputs \
                 than outputs"
            ),
        ));
    }
    let taps = kernel.iter().product();
    let middle = kernel
        .iter()
        .fold(0, |at, &size| at * size + (size - 1) / 2);
    Distribution::orthogonal_in_tap(init.number("gain"), rows, columns, taps, middle, taps_last)
}

/// Returns the normal distribution with zeros in each column.
fn sparse(init: &Init, tensor: &Tensor) -> Result<Distribution> {
    let &[rows, columns] = tensor.shape().dims() else {
        return Err(not_a_matrix(init, tensor));
    };
    // The number is at most `rows`, because the sparsity is at most 1. torch rounds up, too.
    let zeros = (init.number("sparsity") * rows as f64).ceil() as u64;
    Distribution::sparse(init.number("std"), rows, columns, zeros)
}

impl Init {
    /// Ones on the diagonal of a matrix, 0 elsewhere: `torch.nn.init.eye_`.
    #[must_use]
    pub fn eye() -> Self {
        Init::named(MATRIX, "eye", &[])
    }

    /// `gain` on the diagonal of a matrix, 0 elsewhere: `keras.initializers.Identity`.
    #[must_use]
    pub fn identity(gain: f64) -> Self {
        Init::named(MATRIX, "identity", &[("gain", Value::Number(gain))])
    }

    /// A convolution that passes its inputs through, in this number of groups:
    /// `torch.nn.init.dirac_`. The tensor must have rank 3 to 5 and layout [`Layout::OutIn`], and the
    /// groups must divide its outputs.
    #[must_use]
    pub fn dirac(groups: u64) -> Self {
        Init::named(MATRIX, "dirac", &[("groups", Value::Count(groups))])
    }

    /// A random orthogonal matrix, distributed by Haar's measure. Its rows are orthonormal if it has
    /// no more rows than columns, else its columns. A convolution is flattened: `[out, in * k...]` in
    /// layout `OutIn`, `[k... * in, out]` in layout `InOut`.
    ///
    /// Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in
    /// deep linear neural networks", 2014; `torch.nn.init.orthogonal_`,
    /// `keras.initializers.Orthogonal`, `jax.nn.initializers.orthogonal`.
    ///
    /// This rule works in floating point. It gives the same bits on one device, and values within
    /// 1e-5 across devices. A slice computes the whole matrix.
    #[must_use]
    pub fn orthogonal() -> Self {
        Init::named(MATRIX, "orthogonal", &[])
    }

    /// [`Init::orthogonal`] times `gain`, which must be finite and at least 0.
    #[must_use]
    pub fn orthogonal_with(gain: f64) -> Self {
        Init::named(MATRIX, "orthogonal", &[("gain", Value::Number(gain))])
    }

    /// A convolution with a random orthogonal matrix in its middle tap and 0 in the others. The tensor
    /// must have rank 3 to 5 and no more inputs than outputs. [`Init::orthogonal`] describes the
    /// matrix.
    ///
    /// Xiao et al., "Dynamical Isometry and a Mean Field Theory of CNNs", 2018;
    /// `jax.nn.initializers.delta_orthogonal`.
    #[must_use]
    pub fn delta_orthogonal() -> Self {
        Init::named(MATRIX, "delta_orthogonal", &[])
    }

    /// Normal with mean 0, with exactly `ceil(sparsity * rows)` zeros in each column of a matrix.
    /// `sparsity` must be 0 to 1, and `std` above 0. torch's default for `std` is 0.01.
    ///
    /// `torch.nn.init.sparse_`; Martens, "Deep learning via Hessian-free optimization", ICML 2010.
    #[must_use]
    pub fn sparse(sparsity: f64, std: f64) -> Self {
        let values = [
            ("sparsity", Value::Number(sparsity)),
            ("std", Value::Number(std)),
        ];
        Init::named(MATRIX, "sparse", &values)
    }

    /// `N(0, 1)` with a row of zeros: `torch.nn.Embedding` with a `padding_idx`. A negative index
    /// counts from the end: -1 is the last row.
    #[must_use]
    pub fn embedding(padding_idx: i64) -> Self {
        Init::named(
            MATRIX,
            "embedding",
            &[("padding_idx", Value::Index(padding_idx))],
        )
    }
}
