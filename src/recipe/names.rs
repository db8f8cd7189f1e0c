//! The names of other tensors in a rule: `tied_to = "encoder.*.weight"`.

use serde::{Deserialize, Deserializer};

use super::glob::{GlobTexts, Globs};
use crate::text::quoted;

/// The names of tensors, of which the first that the list holds counts. A `*` stands for the text that
/// the `*` at the same place of the rule's glob matches.
#[derive(Clone, Debug)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// Checks that each `*` has one in all globs of the rule.
    ///
    /// # Errors
    ///
    /// A message that goes on after the key's name.
    pub fn check(&self, globs: &[String]) -> Result<(), String> {
        let stars = |text: &str| text.matches('*').count();
        let Some(name) = self.0.iter().max_by_key(|name| stars(name)) else {
            return Ok(());
        };
        if stars(name) == 0 {
            return Ok(());
        }
        for glob in globs {
            // `captures` splits a glob at its stars and counts the bytes between, which needs plain globs.
            if glob.contains(['{', '\\']) || glob.contains("**") {
                return Err(format!(
                    "{} has a *, so the globs of this rule cannot have braces, backslashes or **: write a \
                     rule for each",
                    quoted(name)
                ));
            }
            if stars(glob) < stars(name) {
                return Err(format!(
                    "{} has more * than the glob {}: each one stands for the text that a * of the glob \
                     matches",
                    quoted(name),
                    quoted(glob)
                ));
            }
        }
        Ok(())
    }

    /// Returns the names for a tensor that one of the globs matches.
    pub fn of(&self, globs: &[String], tensor: &str) -> Vec<String> {
        let has_star = self.0.iter().any(|name| name.contains('*'));
        let matched = has_star
            .then(|| globs.iter().find_map(|glob| captures(glob, tensor)))
            .flatten()
            .unwrap_or_default();
        let fill_in = |name: &String| {
            let mut texts = matched.iter();
            let mut filled = String::new();
            for (i, part) in name.split('*').enumerate() {
                if i > 0 {
                    // Without a match the star stays in the name, and the error shows it.
                    filled.push_str(texts.next().copied().unwrap_or("*"));
                }
                filled.push_str(part);
            }
            filled
        };
        self.0.iter().map(fill_in).collect()
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        GlobTexts::deserialize(deserializer).map(|texts| Names(texts.0))
    }
}

/// Returns the texts that each `*` of a glob matches in a name, each as short as possible, or `None` if
/// the glob does not match.
fn captures<'a>(glob: &str, name: &'a str) -> Option<Vec<&'a str>> {
    let parts: Vec<&str> = glob.split('*').collect();
    let [first, middle @ .., last] = parts.as_slice() else {
        return Globs::new(&[glob.to_owned()])
            .ok()?
            .matches(name)
            .then(Vec::new);
    };
    let start = fixed_length(first);
    let end = name.len().checked_sub(fixed_length(last))?;
    // The two ends must not overlap: `a*a` does not match `a`. `get` is `None` within a character.
    if start > end || !matcher(first)?(name.get(..start)?) || !matcher(last)?(name.get(end..)?) {
        return None;
    }
    let mut found = Vec::new();
    let mut at = start;
    for part in middle {
        let length = fixed_length(part);
        let matches = matcher(part)?;
        // The first place of each part is enough: a later one leaves less text for the parts that follow.
        let next = (at..=end.checked_sub(length)?)
            .find(|&from| name.get(from..from + length).is_some_and(&matches))?;
        found.push(name.get(at..next)?);
        at = next + length;
    }
    found.push(name.get(at..end)?);
    Some(found)
}

/// Returns a function that tells whether a glob without `*` matches a text. It is made once for many
/// texts, because a glob takes longer to compile than to match.
fn matcher(part: &str) -> Option<impl Fn(&str) -> bool> {
    let globs = match part.contains(['?', '[']) {
        true => Some(Globs::new(&[part.to_owned()]).ok()?),
        false => None,
    };
    Some(move |text: &str| match &globs {
        Some(globs) => globs.matches(text),
        None => part == text,
    })
}

/// Returns the number of bytes that a glob without `*` and braces matches.
fn fixed_length(part: &str) -> usize {
    let mut length = 0;
    let mut rest = part;
    while let Some(c) = rest.chars().next() {
        // A class is one byte. A `]` that comes first in it is one of its characters.
        let close = (c == '[')
            .then(|| {
                let inner = rest[1..].trim_start_matches(['!', '^']);
                let skipped = rest.len() - inner.len();
                let from = skipped + usize::from(inner.starts_with(']'));
                rest[from..].find(']').map(|at| from + at + 1)
            })
            .flatten();
        let (taken, bytes) = match close {
            Some(end) => (end, 1),
            None if c == '?' => (1, 1),
            None => (c.len_utf8(), c.len_utf8()),
        };
        length += bytes;
        rest = &rest[taken..];
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_the_matched_text() {
        for (glob, name, target, expected) in [
            (
                "layers.[1-9].*",
                "layers.3.a.weight",
                "layers.0.*",
                "layers.0.a.weight",
            ),
            (
                "*.layers.?.*",
                "enc.layers.3.w",
                "*.layers.0.*",
                "enc.layers.0.w",
            ),
            ("*cls.bias", "bert.cls.bias", "*emb.bias", "bert.emb.bias"),
            ("*cls.bias", "cls.bias", "*emb.bias", "emb.bias"),
            (
                "lm_head.weight",
                "lm_head.weight",
                "wte.weight",
                "wte.weight",
            ),
            ("a.*.b.*", "a.x.b.y.b.z", "*/*", "x/y.b.z"),
            ("d*[]x]e", "d1]e", "*", "1"),
        ] {
            let names = Names(vec![target.to_owned()]);
            let globs = [glob.to_owned()];
            assert!(Globs::new(&globs).unwrap().matches(name), "{glob} {name}");
            names.check(&globs).unwrap();
            assert_eq!(names.of(&globs, name), [expected], "{glob} {name}");
        }
    }

    #[test]
    fn stars_without_a_counterpart_are_refused() {
        let check = |target: &str, glob: &str| {
            Names(vec![target.to_owned()])
                .check(&[glob.to_owned()])
                .unwrap_err()
        };
        assert!(check("*.*", "*.a").contains("has more * than the glob \"*.a\""));
        assert!(check("*", "{a,b}*").contains("cannot have braces"));
    }
}
