//! Networks with sine activations.

use super::variance::{inverse_fan, square, variance};
use crate::init::key::{Key, Range, Value};
use crate::init::rule::Definition;
use crate::init::{Family, FanMode, Init};

pub(in crate::init) static SIREN: &[Definition] = &[
    Definition {
        name: "siren_first",
        aliases: &[],
        keys: &[],
        formula: "U(±1 / fan_in)",
        frameworks: "-",
        source: "Sitzmann et al. 2020, arXiv:2006.09661",
        when: "the first layer of a network with sine activations",
        compute: |_| inverse_fan(1.0, FanMode::FanIn, Family::Uniform),
    },
    Definition {
        name: "siren",
        aliases: &[],
        keys: &[Key::number("omega", Range::POSITIVE, 30.0)],
        formula: "U(±sqrt(6 / fan_in) / omega)",
        frameworks: "-",
        source: "Sitzmann et al. 2020, arXiv:2006.09661",
        when: "the other layers of a network with sine activations",
        compute: |init| {
            variance(
                // A uniform bound is sqrt(3 scale / fan).
                2.0 / square(init.number("omega")),
                FanMode::FanIn,
                Family::Uniform,
            )
        },
    },
];

impl Init {
    /// Uniform on `[-1/fan_in, 1/fan_in)`: the first layer of a SIREN.
    ///
    /// Sitzmann et al., "Implicit Neural Representations with Periodic Activation Functions",
    /// 2020, and the code of the authors.
    #[must_use]
    pub fn siren_first() -> Self {
        Init::named(SIREN, "siren_first", &[])
    }

    /// Uniform with `bound = sqrt(6 / fan_in) / omega`: the other layers of a SIREN. `omega` must be
    /// above 0. The paper has 30.
    #[must_use]
    pub fn siren(omega: f64) -> Self {
        Init::named(SIREN, "siren", &[("omega", Value::Number(omega))])
    }
}
