//! A recipe resolved against a list of tensors.

use std::fmt;
use std::path::PathBuf;

use super::glob::Globs;
use super::unused::UnusedRule;
use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::init::{Fans, Init};
use crate::tensor::Slice;
use crate::text::{excerpt, quoted, quoted_list};

/// The fills of all tensors of a model, made by [`Recipe::resolve`](super::Recipe::resolve).
///
/// It holds no weights. Together with the list that it is made of, it takes about 0.9 kB of memory for each
/// tensor (0.90 GB for 999,000 tensors with names of 50 bytes).
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
/// assert_eq!(plan.rules[entry.rule.unwrap()].recipe, "kaiming");
/// assert_eq!((plan.elements(), plan.bytes()), (512 * 784, 4 * 512 * 784));
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of all tensors whose rules have no seed.
    pub seed: u64,
    /// The tensors, in the order of the list.
    pub entries: Vec<PlanEntry>,
    /// The tensors that a rule leaves out, in the order of the list.
    pub skipped: Vec<SkippedTensor>,
    /// The rules of the recipe and of the recipes that it extends, in the order in which they are tried.
    pub rules: Vec<PlanRule>,
    /// The rules that apply to no tensor, without those of presets.
    pub unused: Vec<UnusedRule>,
}

/// One tensor of a [`Plan`].
#[derive(Clone, Debug)]
pub struct PlanEntry {
    /// The fill of the whole tensor.
    pub fill: Fill,
    /// The initializer of the rule with the numbers from the list, or the other origin that the rule
    /// gives. For a tensor with the weights of another one, it is that of the other tensor.
    pub init: Assigned,
    /// The parts with initializers of their own, in the order of the rule.
    pub parts: Vec<PlanPart>,
    /// The index of the rule that matched, in [`Plan::rules`], or `None` for a tensor that is carried
    /// over without a rule.
    pub rule: Option<usize>,
    /// True if a rule gives the seed. The plan's seed is then not used for the tensor.
    pub seed_is_pinned: bool,
    /// The tensor's fans, if the initializer's numbers depend on them.
    pub fans: Option<Fans>,
    /// The name of the tensor whose weights this one has, if its rule ties it.
    pub tied_to: Option<String>,
    /// The name of the tensor whose initial weights this one has, if its rule says `same_as`.
    pub same_as: Option<String>,
}

/// The origin of the elements of a tensor or of a part of it.
///
/// As text: the initializer, `values(N)`, `keep`, or `parts`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Assigned {
    /// An initializer.
    Init(Init),
    /// Numbers that stand in the recipe.
    Values {
        /// Their number.
        count: u64,
    },
    /// The tensor of the same name of a file, bit for bit.
    Kept {
        /// The file that the recipe names, or `None` for the file of the tensor list.
        from: Option<PathBuf>,
    },
    /// The parts hold all elements.
    Parts,
}

impl fmt::Display for Assigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Assigned::Init(init) => write!(f, "{init}"),
            Assigned::Values { count } => write!(f, "values({count})"),
            Assigned::Kept { from: None } => f.write_str("keep"),
            Assigned::Kept { from: Some(path) } => write!(f, "keep({:?})", path.display()),
            Assigned::Parts => f.write_str("parts"),
        }
    }
}

/// A part of a tensor of a [`Plan`] with an initializer of its own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlanPart {
    /// The part.
    pub slice: Slice,
    /// Its initializer.
    pub init: Assigned,
    /// The fans of the part, if the initializer's numbers depend on them.
    pub fans: Option<Fans>,
}

/// A tensor of the list that a rule leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedTensor {
    /// The tensor's name.
    pub name: String,
    /// The index of the rule, in [`Plan::rules`].
    pub rule: usize,
}

/// The position of a rule of a [`Plan`] in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRule {
    /// The name of the recipe that contains it: the name of a preset or of a file.
    pub recipe: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its column, from 1.
    pub column: usize,
    /// Its initializer as the recipe has it, before numbers are computed. `None` if the rule gives none.
    pub init: Option<String>,
}

impl Plan {
    /// Returns copies of the fills, in the order of the list.
    #[must_use]
    pub fn fills(&self) -> Vec<Fill> {
        self.iter().cloned().collect()
    }

    /// Returns an iterator over the fills, in the order of the list.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Fill> {
        self.entries.iter().map(|entry| &entry.fill)
    }

    /// Returns the fills without a copy, in the order of the list.
    #[must_use]
    pub fn into_fills(self) -> Vec<Fill> {
        self.entries.into_iter().map(|entry| entry.fill).collect()
    }

    /// Returns the fill of the tensor of this name. With it a caller can make one tensor of the model
    /// again, or a [slice](Fill::slice) of it, or the tensor in [another dtype](Fill::with_dtype). The
    /// search is linear.
    #[must_use]
    pub fn fill(&self, name: &str) -> Option<&Fill> {
        let mut fills = self.entries.iter().map(|entry| &entry.fill);
        fills.find(|fill| fill.name() == name)
    }

    /// Returns the fills of the tensors that a pattern selects, in the order of the list. A pattern is
    /// the name of a tensor, or else a glob as in a recipe.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a pattern that selects no tensor.
    pub fn select(&self, pattern: &str) -> Result<Vec<&Fill>> {
        let names: Vec<&str> = self.iter().map(Fill::name).collect();
        let selected = select(pattern, &names)?;
        let fills = selected.into_iter().map(|i| &self.entries[i].fill);
        Ok(fills.collect())
    }

    /// Returns a message about a rule of [`Plan::unused`]: its place, its globs, and the names that are
    /// most like them.
    #[must_use]
    pub fn unused_message(&self, unused: &UnusedRule) -> String {
        /// The most globs and names that the message shows.
        const SHOWN: usize = 8;
        let PlanRule { recipe, line, .. } = &self.rules[unused.rule];
        let globs = quoted_list(&unused.globs, SHOWN);
        let nearest = quoted_list(&unused.nearest, SHOWN);
        let start = format!(
            "{} line {line}: the rule with match = {globs} applies to no tensor",
            excerpt(recipe)
        );
        if unused.is_shadowed {
            return format!("{start}: earlier rules take all that it matches, such as {nearest}");
        }
        match unused.nearest.is_empty() {
            true => start,
            false => format!("{start}; the list has {nearest}"),
        }
    }

    /// Returns the number of elements of all tensors together.
    #[must_use]
    pub fn elements(&self) -> u128 {
        // A million tensors of 2^50 elements have more elements than 64 bits can count.
        self.iter().map(|fill| u128::from(fill.elements())).sum()
    }

    /// Returns the number of bytes of all tensors together.
    #[must_use]
    pub fn bytes(&self) -> u128 {
        self.iter().map(|fill| u128::from(fill.bytes())).sum()
    }
}

/// Returns the indices of the names that a pattern selects. A pattern is one of the names, or else a
/// glob as in a recipe. A name comes first, because names may contain characters of globs.
///
/// # Errors
///
/// [`Error::Unknown`] for a pattern that selects no name. It shows some of the names.
pub fn select(pattern: &str, names: &[&str]) -> Result<Vec<usize>> {
    /// The number of names that the message shows.
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
    let selected: Vec<usize> = matching.map(|(i, _)| i).collect();
    if selected.is_empty() {
        let some: Vec<String> = names.iter().take(NAMED).map(|name| quoted(name)).collect();
        return Err(refused(format!(
            "use a name or a glob that matches one of the {} tensors, as in {}",
            names.len(),
            some.join(", ")
        )));
    }
    Ok(selected)
}
