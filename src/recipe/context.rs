//! Facts about a tensor that come from the rest of the list: its sibling, the number of layers.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use super::expression::Variable;
use super::glob::Globs;
use super::names::Names;
use super::rule::{Assignment, Rule};
use super::source::Chain;
use super::template::Template;
use crate::error::{Error, Result};
use crate::init::{Fans, Init, Missing};
use crate::tensor::{Layout, ListedTensor, Shape, Tensor, TensorList};
use crate::text::{excerpt, quoted, quoted_list};

/// A function that returns the layout of a tensor if neither its rule nor the recipe gives one.
pub(super) type LayoutOf<'a> = &'a dyn Fn(&ListedTensor) -> Layout;

/// A list of tensors with indices, so that each look-up of a rule takes constant time.
pub(super) struct Context<'a> {
    recipe: &'a Chain,
    list: &'a TensorList,
    layout_of: LayoutOf<'a>,
    by_name: HashMap<&'a str, &'a ListedTensor>,
    /// The rules whose conditions on the whole list are met.
    active: Vec<bool>,
    /// The layer numbers after each prefix: `transformer.h.` -> {0, ..., 11}.
    layers: HashMap<&'a str, BTreeSet<u64>>,
    /// The matches of each glob of an expression. All tensors of a rule have the same globs, and each
    /// search reads the whole list.
    found: RefCell<HashMap<String, Found<'a>>>,
}

/// The tensors that a glob matches.
#[derive(Clone, Copy)]
struct Found<'a> {
    count: u64,
    first: Option<&'a ListedTensor>,
}

/// The most names that a message shows.
const SHOWN: usize = 8;

impl<'a> Context<'a> {
    pub fn new(recipe: &'a Chain, list: &'a TensorList, layout_of: LayoutOf<'a>) -> Self {
        let mut layers: HashMap<&str, BTreeSet<u64>> = HashMap::new();
        for tensor in list.tensors() {
            if let Some((prefix, layer)) = layer_of(&tensor.name) {
                layers.entry(prefix).or_default().insert(layer);
            }
        }
        let named = list.tensors().iter().map(|t| (t.name.as_str(), t));
        let has = |globs: &Globs| {
            list.tensors()
                .iter()
                .any(|tensor| globs.matches(&tensor.name))
        };
        let active = recipe.rules.iter().map(|rule| {
            rule.with.as_ref().is_none_or(has) && !rule.without.as_ref().is_some_and(has)
        });
        Context {
            recipe,
            list,
            layout_of,
            active: active.collect(),
            by_name: named.collect(),
            layers,
            found: RefCell::default(),
        }
    }

    /// Returns the index of the first rule that matches a tensor.
    pub fn rule_of(&self, listed: &ListedTensor) -> Option<usize> {
        let rank_is = |rank: usize, tensor: &ListedTensor| tensor.shape.rank() == rank;
        let rules = self.recipe.rules.iter().zip(&self.active);
        let mut rules = rules;
        rules.position(|(rule, &active)| {
            // The rank comes first, because globs take the most time.
            active
                && rule.rank.is_none_or(|rank| rank_is(rank, listed))
                && rule.globs.matches(&listed.name)
                && rule.sibling_rank.is_none_or(|rank| {
                    self.sibling(listed)
                        .is_some_and(|sibling| rank_is(rank, sibling))
                })
                && rule.bias_rank.is_none_or(|rank| {
                    let bias = self.beside(listed, "bias");
                    bias.is_some_and(|bias| rank_is(rank, bias))
                })
        })
    }

    /// Returns the list.
    pub fn list(&self) -> &'a TensorList {
        self.list
    }

    /// Returns true if the conditions of a rule on the whole list are met.
    pub fn is_active(&self, rule: usize) -> bool {
        self.active[rule]
    }

    /// Returns the tensor whose weights a rule gives another one, with the index of its own rule.
    pub fn other(
        &self,
        listed: &ListedTensor,
        rule: &Rule,
        names: &Names,
        tied: bool,
    ) -> Result<(&'a ListedTensor, usize)> {
        let key = if tied { "tied_to" } else { "same_as" };
        let names = names.of(&rule.texts, &listed.name);
        let refused =
            |name: &str, reason: String| Error::context(format!("{key} {}", quoted(name)), reason);
        let known = |name: &&String| self.by_name.contains_key(name.as_str());
        let itself = |name: &&String| **name == listed.name;
        let Some(name) = names.iter().find(|name| known(name) && !itself(name)) else {
            return Err(match &names[..] {
                [name] if itself(&name) => {
                    let reason =
                        "names the tensor itself: give it a rule of its own before this one";
                    refused(name, reason.to_owned())
                }
                [name] => refused(name, "names a tensor that is not in the list".to_owned()),
                names => Error::context(
                    format!("{key} [{}]", quoted_list(names, SHOWN)),
                    "names only this tensor and tensors that are not in the list",
                ),
            });
        };
        let source = self.by_name[name.as_str()];
        if source.shape != listed.shape {
            let reason = format!(
                "names a tensor of shape {}, but this one has shape {}: the shapes must be equal",
                source.shape, listed.shape
            );
            return Err(refused(name, reason));
        }
        let Some(index) = self.rule_of(source) else {
            return Err(refused(
                name,
                "names a tensor that no rule matches".to_owned(),
            ));
        };
        match &self.recipe.rules[index].assignment {
            // Refused, because a chain of such rules could be a cycle.
            Assignment::Other { names, tied } => {
                let other = names.of(&self.recipe.rules[index].texts, &source.name);
                let (is, both) = match tied {
                    true => ("is tied to", "tie both to"),
                    false => ("is the same as", "name for both"),
                };
                Err(refused(
                    name,
                    format!(
                        "names a tensor that {is} {}: {both} a tensor that has an init",
                        quoted(other.first().map_or("", String::as_str))
                    ),
                ))
            }
            Assignment::Keep(_) => Err(kept(key, name)),
            Assignment::Skip => Err(refused(
                name,
                "names a tensor that is skipped: give that one an init".to_owned(),
            )),
            _ => Ok((source, index)),
        }
    }

    /// Returns a tensor with the layout, groups and axes of its rule and the recipe.
    pub fn tensor(&self, listed: &ListedTensor, rule: &Rule) -> Tensor {
        let layout = self.recipe.layout;
        let tensor = Tensor::with_shape(&listed.name, listed.shape.clone())
            .with_layout(layout.unwrap_or_else(|| (self.layout_of)(listed)));
        rule.fans.of(tensor)
    }

    /// Returns the initializer of a rule for a tensor of the list, with all its numbers. `tensor` is
    /// the tensor itself or a part of it, whose shape and fans count.
    pub fn init(
        &self,
        template: &Template,
        tensor: &Tensor,
        listed: &ListedTensor,
    ) -> Result<Init> {
        let init = template.init(&|variable| self.look_up(variable, tensor, listed))?;
        match init.missing() {
            None => Ok(init),
            // As torch.nn.Linear.reset_parameters: biases are 0 if fan_in is 0.
            Some(Missing::FanIn) => Ok(match self.fan_in_of_sibling(&init, listed)? {
                0 => Init::zeros(),
                fan_in => init.completed(Missing::FanIn, fan_in),
            }),
            Some(Missing::Layers) => {
                let layers = self.count_layers(&init.to_string(), listed)?;
                Ok(init.completed(Missing::Layers, layers))
            }
        }
    }

    /// Returns the value of a variable for a tensor.
    pub fn look_up(
        &self,
        variable: &Variable,
        tensor: &Tensor,
        listed: &ListedTensor,
    ) -> Result<f64> {
        let refused = |variable: &str, reason: String| Error::context(variable, reason);
        let dimension = |variable: &str, name: &str, shape: &Shape, axis: i64| {
            let dims = shape.dims();
            let index = if axis < 0 {
                axis + dims.len() as i64
            } else {
                axis
            };
            let dim = usize::try_from(index)
                .ok()
                .and_then(|index| dims.get(index));
            dim.map(|&dim| dim as f64).ok_or_else(|| {
                refused(
                    variable,
                    format!(
                        "finds no axis {axis} in shape {} of {}",
                        excerpt(&shape.to_string()),
                        quoted(name)
                    ),
                )
            })
        };
        let matching = |variable: &str, glob: &str| {
            if let Some(&found) = self.found.borrow().get(glob) {
                return Ok(found);
            }
            let globs =
                Globs::new(&[glob.to_owned()]).map_err(|reason| refused(variable, reason))?;
            let all = self.list.tensors().iter();
            let mut matches = all.filter(|tensor| globs.matches(&tensor.name));
            let first = matches.next();
            let found = Found {
                // `next` has already taken the first match from the iterator.
                count: u64::from(first.is_some()) + matches.count() as u64,
                first,
            };
            self.found.borrow_mut().insert(glob.to_owned(), found);
            Ok(found)
        };
        match variable {
            Variable::Layers => Ok(self.count_layers("layers", listed)? as f64),
            Variable::Layer => layer_of(&listed.name)
                .map(|(_, layer)| layer as f64)
                .ok_or_else(|| refused("layer", "finds no layer's number in the name".to_owned())),
            Variable::FanIn => Ok(Fans::of(tensor)?.fan_in as f64),
            Variable::FanOut => Ok(Fans::of(tensor)?.fan_out as f64),
            Variable::Rank => Ok(tensor.shape().rank() as f64),
            Variable::Dim(axis) => dimension("dim", tensor.name(), tensor.shape(), *axis),
            Variable::Size(glob, axis) => {
                let tensor = matching("size", glob)?.first.ok_or_else(|| {
                    refused(
                        "size",
                        format!("finds no tensor that matches {}", quoted(glob)),
                    )
                })?;
                dimension("size", &tensor.name, &tensor.shape, *axis)
            }
            Variable::Sibling(name, axis) => {
                let tensor = self.beside(listed, name).ok_or_else(|| {
                    let wanted = quoted(&name_beside(listed, name));
                    refused("sibling", format!("finds no tensor {wanted} in the list"))
                })?;
                dimension("sibling", &tensor.name, &tensor.shape, *axis)
            }
            Variable::Count(glob) => Ok(matching("count", glob)?.count as f64),
        }
    }

    /// Returns the tensor whose name differs in its last part only, which is `name`.
    fn beside(&self, listed: &ListedTensor, name: &str) -> Option<&'a ListedTensor> {
        self.by_name
            .get(name_beside(listed, name).as_str())
            .copied()
    }

    /// Returns the tensor `<prefix>.weight` for a tensor `<prefix>.bias`.
    fn sibling(&self, listed: &ListedTensor) -> Option<&'a ListedTensor> {
        let prefix = listed.name.strip_suffix("bias")?;
        if !(prefix.is_empty() || prefix.ends_with(SEPARATORS)) {
            return None;
        }
        self.by_name
            .get(format!("{prefix}weight").as_str())
            .copied()
    }

    /// Returns the fan_in of the weight beside a bias.
    fn fan_in_of_sibling(&self, init: &Init, listed: &ListedTensor) -> Result<u64> {
        let sibling = self.sibling(listed).ok_or_else(|| {
            Error::context(
                init.to_string(),
                "finds no <prefix>.weight beside it in the list to take fan_in from: write \
                     bias_uniform(fan_in=N), or give the tensor another rule",
            )
        })?;
        // The layout and groups are those of the weight's own rule, or of the weight that it is a copy of.
        // A weight whose rule is missing or names no other weight is an error when the plan comes to it.
        let tensor = match self.rule_of(sibling) {
            Some(index) => {
                let rule = &self.recipe.rules[index];
                let other = match &rule.assignment {
                    Assignment::Other { names, tied } => {
                        self.other(sibling, rule, names, *tied).ok()
                    }
                    _ => None,
                };
                let (weight, index) = other.unwrap_or((sibling, index));
                self.tensor(weight, &self.recipe.rules[index])
            }
            None => Tensor::with_shape(&sibling.name, sibling.shape.clone())
                .with_layout((self.layout_of)(sibling)),
        };
        Ok(Fans::of(&tensor)?.fan_in)
    }

    /// Returns the number of layers whose names have the same prefix. Errors name `subject`, the
    /// initializer or the variable that needs the number.
    fn count_layers(&self, subject: &str, listed: &ListedTensor) -> Result<u64> {
        let refused = |reason: String| Error::context(subject, reason);
        let found =
            layer_of(&listed.name).and_then(|(prefix, _)| Some((prefix, self.layers.get(prefix)?)));
        let Some((prefix, layers)) = found else {
            return Err(refused(
                "finds no layer's number in the name and cannot count the layers: write layers=N"
                    .to_owned(),
            ));
        };
        let count = layers.len() as u64;
        match layers.last() {
            // Distinct numbers up to count - 1 have no gap. A list with a gap holds only a part of the model.
            Some(&last) if last + 1 == count => Ok(count),
            _ => Err(refused(format!(
                "finds {count} layers under {}, but numbers between 0 and {} are missing: list the whole \
                 model, or write layers=N",
                quoted(prefix),
                layers.last().copied().unwrap_or(0)
            ))),
        }
    }
}

/// Returns the error of a tensor that is to have the weights of a kept one.
pub(super) fn kept(key: &str, name: &str) -> Error {
    Error::context(
        format!("{key} {}", quoted(name)),
        "names a tensor that is kept from a file: keep this one, too",
    )
}

/// Returns the name of a tensor with `name` as its last part.
fn name_beside(listed: &ListedTensor, name: &str) -> String {
    let end = listed.name.rfind(SEPARATORS).map_or(0, |at| at + 1);
    format!("{}{name}", &listed.name[..end])
}

/// The separators between the parts of a tensor's name: dots in torch, slashes in JAX.
const SEPARATORS: [char; 2] = ['.', '/'];

/// Returns the first part of the name that is a number, and the text before it.
fn layer_of(name: &str) -> Option<(&str, u64)> {
    let mut start = 0;
    for part in name.split_inclusive(SEPARATORS) {
        let digits = part.trim_end_matches(SEPARATORS);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            // The largest number is refused, so that `last + 1` cannot overflow.
            let layer = digits.parse().ok().filter(|&layer| layer < u64::MAX)?;
            return Some((&name[..start], layer));
        }
        start += part.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::layer_of;

    #[test]
    fn layers_are_the_first_number() {
        assert_eq!(
            layer_of("transformer.h.11.mlp.c_proj.weight"),
            Some(("transformer.h.", 11))
        );
        assert_eq!(layer_of("layers/3/experts/7/w2"), Some(("layers/", 3)));
        assert_eq!(layer_of("0.weight"), Some(("", 0)));
        assert_eq!(layer_of("lm_head.weight"), None);
        assert_eq!(layer_of("conv1.weight"), None);
        assert_eq!(layer_of("h.99999999999999999999.w"), None);
        assert_eq!(layer_of(""), None);
    }
}
