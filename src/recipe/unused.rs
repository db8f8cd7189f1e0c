//! Rules that apply to no tensor, which are often mistakes in a glob.

use super::context::Context;
use super::glob::Globs;
use super::source::Chain;
use crate::tensor::TensorList;

/// The number of names that a suggestion shows.
const SHOWN: usize = 3;

/// The most comparisons of a glob with a name, so that a large list takes no long time.
const COMPARED: usize = 200_000;

/// The longest globs and names in bytes that are compared. The time grows with both lengths.
const LONGEST: usize = 256;

/// A rule of a recipe that applies to no tensor of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnusedRule {
    /// The index of the rule, in [`Plan::rules`](super::Plan::rules).
    pub rule: usize,
    /// The globs of the rule.
    pub globs: Vec<String>,
    /// True if the globs match tensors, but earlier rules take all of them.
    pub is_shadowed: bool,
    /// The names that the globs match although the rule does not apply to them, because of its rank or
    /// of an earlier rule; else the names of the list that are most like the globs.
    pub nearest: Vec<String>,
}

/// Returns the rules that apply to no tensor, except those of presets and those whose conditions on the
/// list are not met. `rules` has the index of the rule of each tensor.
pub(super) fn rules(
    chain: &Chain,
    context: &Context<'_>,
    list: &TensorList,
    rules: &[Option<usize>],
) -> Vec<UnusedRule> {
    let mut used = vec![false; chain.rules.len()];
    for &rule in rules.iter().flatten() {
        used[rule] = true;
    }
    let unused = (0..chain.rules.len()).filter(|&rule| {
        !used[rule] && context.is_active(rule) && !chain.files[chain.places[rule].file].is_preset
    });
    let unused: Vec<usize> = unused.collect();
    let globs: usize = unused
        .iter()
        .map(|&rule| chain.rules[rule].texts.len())
        .sum();
    // All unused rules share one limit, so that many of them do not multiply the time.
    let compared = COMPARED / globs.max(1);
    unused
        .into_iter()
        .map(|index| {
            let rule = &chain.rules[index];
            let names = || list.tensors().iter().map(|tensor| tensor.name.as_str());
            let ranked = list.tensors().iter().filter(|tensor| {
                rule.globs.matches(&tensor.name)
                    && rule.rank.is_none_or(|rank| tensor.shape.rank() == rank)
            });
            let has_other_rank = rule.sibling_rank.is_some() || rule.bias_rank.is_some();
            let is_shadowed = !has_other_rank && ranked.count() > 0;
            let matched = names().filter(|name| rule.globs.matches(name));
            let mut nearest: Vec<String> = matched.take(SHOWN).map(str::to_owned).collect();
            if nearest.is_empty() {
                nearest = similar(&rule.texts, names().take(compared));
            }
            UnusedRule {
                rule: index,
                globs: rule.texts.clone(),
                is_shadowed,
                nearest,
            }
        })
        .collect()
}

/// Returns the names that are most like the globs: first those that contain the text of one.
fn similar<'a>(globs: &[String], names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let short = |text: &&str| text.len() <= LONGEST;
    let globs = globs.iter().map(String::as_str).filter(short);
    let literals: Vec<String> = globs.map(|glob| glob.replace(['*', '?'], "")).collect();
    let within: Vec<Globs> = literals
        .iter()
        .filter_map(|literal| Globs::new(&[format!("*{literal}*")]).ok())
        .collect();
    let mut scored: Vec<(f64, &str)> = names
        .filter(short)
        .map(|name| {
            let contains = within.iter().any(|globs| globs.matches(name));
            let likeness = literals
                .iter()
                .map(|literal| strsim::jaro_winkler(literal, name))
                .fold(0.0, f64::max);
            // A Jaro-Winkler similarity is at most 1, so names that contain the text come first.
            (likeness + f64::from(u8::from(contains)), name)
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored
        .into_iter()
        .take(SHOWN)
        .map(|(_, name)| name.to_owned())
        .collect()
}
