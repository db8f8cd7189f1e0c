//! Position tables.

use crate::error::{Error, Result};
use crate::init::key::{Key, Range};
use crate::init::rule::Definition;
use crate::init::{Computation, Distribution, Init};
use crate::tensor::Tensor;

pub(in crate::init) static POSITIONS: &[Definition] = &[
    Definition {
        name: "sinusoids",
        aliases: &[],
        keys: &[Key::number("max_timescale", Range::TIMESCALE, 10_000.0)],
        formula: "in row p, sin(p f_k) in the first half of the d columns and cos(p f_k) in the second, \
                  f_k = max_timescale^(-k / (d/2 - 1))",
        frameworks: "Whisper sinusoids",
        source: "Radford et al. 2022, arXiv:2212.04356",
        when: "position tables",
        compute: |_| {
            Ok(Computation::OfShape(|init, tensor| {
                sinusoid(init.number("max_timescale"), false, tensor)
            }))
        },
    },
    Definition {
        name: "sinusoidal",
        aliases: &[],
        keys: &[Key::number("base", Range::TIMESCALE, 10_000.0)],
        formula: "in row p, sin(p f_k) in column 2k and cos(p f_k) in column 2k + 1 of d, \
                  f_k = base^(-2k / d)",
        frameworks: "Transformer",
        source: "Vaswani et al. 2017, arXiv:1706.03762, section 3.5",
        when: "position tables",
        compute: |_| {
            Ok(Computation::OfShape(|init, tensor| {
                sinusoid(init.number("base"), true, tensor)
            }))
        },
    },
];

/// Returns a position table. The last dimension has the columns, and the one before it the positions.
fn sinusoid(max_timescale: f64, interleaved: bool, tensor: &Tensor) -> Result<Distribution> {
    let &[.., _, columns] = tensor.shape().dims() else {
        return Err(Error::shape(
            tensor.shape(),
            "is not a position table: it needs rank 2 or more, [..., positions, columns]",
        ));
    };
    if !interleaved && !columns.is_multiple_of(2) {
        return Err(Error::shape(
            tensor.shape(),
            "has an odd last dimension: sinusoids needs an even one, half sines and half cosines",
        ));
    }
    Distribution::sinusoid(columns, max_timescale, interleaved)
}

impl Init {
    /// Whisper's position table. A row is a position. It has all sines, then all cosines, of the
    /// position times frequencies from 1 down to exactly 1/10000.
    ///
    /// Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022;
    /// `sinusoids` in Whisper.
    #[must_use]
    pub fn sinusoids() -> Self {
        Init::named(POSITIONS, "sinusoids", &[])
    }

    /// The position table of Vaswani et al., "Attention is all you need", 2017, section 3.5. Sines and
    /// cosines alternate.
    #[must_use]
    pub fn sinusoidal() -> Self {
        Init::named(POSITIONS, "sinusoidal", &[])
    }
}
