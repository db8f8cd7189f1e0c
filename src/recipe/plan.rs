//! A recipe resolved against a list of tensors.

use crate::fill::Fill;
use crate::init::Init;

/// What every tensor of a model is filled with: [`Recipe::resolve`](super::Recipe::resolve).
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed, the same for all tensors.
    pub seed: u64,
    /// The tensors, in the list's order.
    pub entries: Vec<PlanEntry>,
}

/// One tensor of a [`Plan`].
#[derive(Clone, Debug)]
pub struct PlanEntry {
    /// The fill of the whole tensor.
    pub fill: Fill,
    /// The rule's initializer, with the numbers that the list gave it.
    pub init: Init,
    /// The index of the rule that matched, from 0.
    pub rule: usize,
}

impl Plan {
    /// The fills alone, in the list's order.
    #[must_use]
    pub fn fills(&self) -> Vec<Fill> {
        self.entries
            .iter()
            .map(|entry| entry.fill.clone())
            .collect()
    }

    /// The number of elements of all tensors together.
    #[must_use]
    pub fn elements(&self) -> u128 {
        self.entries
            .iter()
            .map(|entry| u128::from(entry.fill.elements()))
            .sum()
    }

    /// The number of bytes of all tensors together.
    #[must_use]
    pub fn bytes(&self) -> u128 {
        self.entries
            .iter()
            .map(|entry| u128::from(entry.fill.bytes()))
            .sum()
    }
}
