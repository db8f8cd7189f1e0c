//! A recipe resolved against a list of tensors.

use super::rule::Globs;
use crate::error::{Error, Result};
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

    /// The fill of the tensor of this name: to make one tensor of the model again, or a
    /// [slice](Fill::slice) of it, or in [another dtype](Fill::with_dtype). It looks through all
    /// of them.
    #[must_use]
    pub fn fill(&self, name: &str) -> Option<&Fill> {
        let mut fills = self.entries.iter().map(|entry| &entry.fill);
        fills.find(|fill| fill.name() == name)
    }

    /// The fills of the tensors that a pattern picks, in the list's order: the one of this very
    /// name, or else those that match it as a glob, as in a recipe.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a pattern that picks none.
    pub fn select(&self, pattern: &str) -> Result<Vec<&Fill>> {
        if let Some(fill) = self.fill(pattern) {
            return Ok(vec![fill]);
        }
        let refused = |accepted: String| Error::Unknown {
            tensor: None,
            kind: "tensor",
            value: pattern.to_owned(),
            accepted,
        };
        let globs = Globs::one(pattern).map_err(refused)?;
        let fills = self.entries.iter().map(|entry| &entry.fill);
        let picked: Vec<&Fill> = fills.filter(|fill| globs.matches(fill.name())).collect();
        if picked.is_empty() {
            let first = self.entries.first().map(|entry| entry.fill.name());
            return Err(refused(format!(
                "use a name or a glob that matches one of the {} tensors, as in {:?}",
                self.entries.len(),
                first.unwrap_or_default()
            )));
        }
        Ok(picked)
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
