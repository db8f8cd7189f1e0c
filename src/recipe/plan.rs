//! A recipe resolved against a list of tensors.

use super::glob::Globs;
use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::{Fans, Init};

/// What every tensor of a model is filled with: [`Recipe::resolve`](super::Recipe::resolve).
///
/// It holds no weights, however large the model: about half a kilobyte a tensor.
///
/// ```
/// use fanin::{ListedTensor, Recipe, Shape, TensorList};
///
/// let list = TensorList::new(vec![ListedTensor {
///     name: "fc.weight".into(),
///     shape: Shape::new([512, 784])?,
///     dtype: None,
/// }])?;
/// let plan = Recipe::preset("kaiming")?.resolve(&list, Some(42), None)?;
/// let entry = &plan.entries[0];
/// assert_eq!(entry.fans.map(|fans| fans.fan_in), Some(784));
/// assert_eq!(entry.tied_to, None);
/// assert_eq!(plan.rules[entry.rule].recipe, "kaiming");
/// assert_eq!((plan.elements(), plan.bytes()), (512 * 784, 4 * 512 * 784));
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of all tensors whose rule gives none of its own.
    pub seed: u64,
    /// The tensors, in the list's order.
    pub entries: Vec<PlanEntry>,
    /// The recipe's rules, in the order in which they were looked at: those of what it extends come
    /// last.
    pub rules: Vec<PlanRule>,
}

/// One tensor of a [`Plan`].
#[derive(Clone, Debug)]
pub struct PlanEntry {
    /// The fill of the whole tensor.
    pub fill: Fill,
    /// The rule's initializer, with the numbers that the list gave it; that of the other tensor
    /// where this one is tied.
    pub init: Init,
    /// The index of the rule that matched, in [`Plan::rules`].
    pub rule: usize,
    /// Whether a rule gives its seed, so that the plan's has no say in it.
    pub seed_is_pinned: bool,
    /// The tensor's fans, where the initializer's numbers come from them.
    pub fans: Option<Fans>,
    /// The tensor whose weights this one has, where its rule ties it.
    pub tied_to: Option<String>,
}

/// Where a rule of a [`Plan`] stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRule {
    /// The recipe that it stands in: a preset's name, or a file's.
    pub recipe: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its column, from 1.
    pub column: usize,
}

impl Plan {
    /// The fills alone, in the list's order, as copies.
    #[must_use]
    pub fn fills(&self) -> Vec<Fill> {
        self.iter().cloned().collect()
    }

    /// The fills alone, in the list's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Fill> {
        self.entries.iter().map(|entry| &entry.fill)
    }

    /// The fills alone, in the list's order, with nothing copied.
    #[must_use]
    pub fn into_fills(self) -> Vec<Fill> {
        self.entries.into_iter().map(|entry| entry.fill).collect()
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
        let fills: Vec<&Fill> = self.iter().collect();
        let names: Vec<&str> = fills.iter().map(|fill| fill.name()).collect();
        let picked = select(pattern, &names)?;
        Ok(picked.into_iter().map(|i| fills[i]).collect())
    }

    /// The number of elements of all tensors together.
    #[must_use]
    pub fn elements(&self) -> u128 {
        self.iter().map(|fill| u128::from(fill.elements())).sum()
    }

    /// The number of bytes of all tensors together.
    #[must_use]
    pub fn bytes(&self) -> u128 {
        self.iter().map(|fill| u128::from(fill.bytes())).sum()
    }
}

/// The indices of the names that a pattern picks: the one that is this very text, or else those
/// that match it as a glob, as in a recipe.
///
/// # Errors
///
/// [`Error::Unknown`] for a pattern that picks none; it names some that could be picked.
pub fn select(pattern: &str, names: &[&str]) -> Result<Vec<usize>> {
    /// Names that the message holds.
    const NAMED: usize = 3;
    if let Some(i) = names.iter().position(|name| *name == pattern) {
        return Ok(vec![i]);
    }
    let refused = |accepted: String| Error::Unknown {
        kind: "tensor",
        value: pattern.to_owned(),
        accepted,
    };
    let globs = Globs::new(&[pattern.to_owned()]).map_err(refused)?;
    let matching = names
        .iter()
        .enumerate()
        .filter(|(_, name)| globs.matches(name));
    let picked: Vec<usize> = matching.map(|(i, _)| i).collect();
    if picked.is_empty() {
        let some: Vec<String> = names
            .iter()
            .take(NAMED)
            .map(|name| format!("{name:?}"))
            .collect();
        return Err(refused(format!(
            "use a name or a glob that matches one of the {} tensors, as in {}",
            names.len(),
            some.join(", ")
        )));
    }
    Ok(picked)
}
