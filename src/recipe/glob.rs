//! Globs on tensor names, for recipes and shard specs.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::text::quoted;

/// The longest glob in bytes, far longer than any sensible one.
const MAX_GLOB: usize = 4096;
/// The deepest nesting of braces in a glob: globset parses them by recursion, so more could
/// overflow the stack.
const MAX_BRACES: usize = 16;

/// The most globs of a file and of those that it extends. Each one may be compared with the name of each
/// tensor, so the limit bounds the time for an untrusted file.
const MAX_GLOBS: usize = 10_000;
/// The most bytes of all these globs together. A compiled glob can take four hundred times the bytes of its
/// text.
const MAX_ALL_GLOBS: usize = 1 << 19;

/// The number of globs and of their bytes, within limits.
#[derive(Default)]
pub(crate) struct GlobCount {
    globs: usize,
    bytes: usize,
}

impl GlobCount {
    /// Counts globs, before any of them is compiled.
    ///
    /// # Errors
    ///
    /// A message, if these and those that were counted before are too many or too long.
    pub fn add<'a>(&mut self, globs: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
        for glob in globs {
            self.globs += 1;
            self.bytes += glob.len();
        }
        let Self { globs, bytes } = self;
        if *globs > MAX_GLOBS {
            return Err(format!("has {globs} globs: at most {MAX_GLOBS} are read"));
        }
        if *bytes > MAX_ALL_GLOBS {
            return Err(format!(
                "has globs of {bytes} bytes together: at most {MAX_ALL_GLOBS} are read"
            ));
        }
        Ok(())
    }
}

/// The globs of a rule as text. They are compiled after the globs of the whole file are counted.
#[derive(Clone, Debug)]
pub(crate) struct GlobTexts(pub Vec<String>);

impl GlobTexts {
    /// Returns the texts.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// One glob or several. A name matches if one of them matches all of it.
#[derive(Clone, Debug)]
pub(crate) struct Globs(GlobSet);

impl Globs {
    /// Compiles globs.
    ///
    /// # Errors
    ///
    /// A message that names the first text that is not a glob, or says why the set is refused.
    pub fn new(texts: &[String]) -> Result<Self, String> {
        let mut set = GlobSetBuilder::new();
        for text in texts {
            set.add(glob(text)?);
        }
        // Globs that compile one by one can exceed the size limit of globset together.
        let set = set.build();
        set.map(Globs)
            .map_err(|error| format!("cannot be used: {}", error.kind()))
    }

    /// Checks that a text is a glob.
    ///
    /// # Errors
    ///
    /// A message that says why it is not.
    pub fn check(text: &str) -> Result<(), String> {
        glob(text).map(drop)
    }

    /// Returns true if one of the globs matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// Parses a glob. `*` matches every separator too, because tensor names are not paths.
fn glob(text: &str) -> Result<globset::Glob, String> {
    if text.len() > MAX_GLOB {
        return Err(format!(
            "cannot be used: a glob of {} bytes, where at most {MAX_GLOB} are read",
            text.len()
        ));
    }
    // `class` tells within a class whether its first character is still to come.
    let (mut depth, mut escaped, mut class) = (0usize, false, None);
    for c in text.chars() {
        match (c, class) {
            _ if escaped => escaped = false,
            // In a class a backslash is a character.
            ('\\', None) => escaped = true,
            ('{', _) => depth += 1,
            // In a class, as in `[}]`, it closes nothing.
            ('}', None) => depth = depth.saturating_sub(1),
            ('[', None) => class = Some(true),
            ('!' | '^', Some(true)) => {}
            // As the first character of a class, it is one of its characters.
            (']', Some(false)) => class = None,
            (_, Some(_)) => class = Some(false),
            _ => {}
        }
        if depth > MAX_BRACES {
            return Err(format!(
                "cannot be used: a glob with more than {MAX_BRACES} braces within each other"
            ));
        }
    }
    let glob = GlobBuilder::new(text)
        .literal_separator(false)
        .backslash_escape(true)
        .build();
    glob.map_err(|error| format!("{} is not a glob: {}", quoted(text), error.kind()))
}

impl<'de> Deserialize<'de> for GlobTexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = GlobTexts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a glob, or a list of at least one glob")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<GlobTexts, E> {
                Ok(GlobTexts(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<GlobTexts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    texts.push(text);
                }
                if texts.is_empty() {
                    return Err(A::Error::invalid_length(0, &self));
                }
                Ok(GlobTexts(texts))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

#[cfg(test)]
mod tests {
    use super::Globs;

    fn globs(text: &str) -> Result<Globs, String> {
        Globs::new(&[text.to_owned()])
    }

    #[test]
    fn globs_match_whole_names_across_separators() {
        for (glob, name, matches) in [
            ("*.weight", "a.b/c.weight", true),
            ("*.weight", ".weight", true),
            ("*.weight", "weight", false),
            ("*.weight", "a.weight.x", false),
            ("*weight", "weight", true),
            ("*.weight", "a/b.weight/", false),
            ("h.*.w", "h.1/2.3.w", true),
            ("*", "", true),
            ("*", "a/b.", true),
            ("*.", "a.", true),
            ("a/*", "a/", true),
            ("**/w", "a/b/w", true),
            ("h.?.w", "h.1.w", true),
            ("h.[0-3].w", "h.4.w", false),
            ("{a,b}.w", "b.w", true),
            ("a", "A", false),
        ] {
            assert_eq!(globs(glob).unwrap().matches(name), matches, "{glob} {name}");
        }
    }

    #[test]
    fn a_glob_too_large_to_compile_is_refused() {
        let error = globs(&"?".repeat(500_000)).unwrap_err();
        assert!(error.contains("cannot be used"), "{error:.300}");
    }

    #[test]
    fn globs_that_would_exhaust_the_stack_are_refused() {
        for text in [
            "{".repeat(2000),
            format!("{}a{}", "{".repeat(17), "}".repeat(17)),
            // In these classes a closing brace is a character.
            "{[}]".repeat(17),
            "{[!}]".repeat(17),
            "{[]}]".repeat(17),
            "{[!]}]".repeat(17),
            "{[\\][}]".repeat(17),
        ] {
            let error = globs(&text).unwrap_err();
            assert!(error.contains("braces within each other"), "{error:.300}");
        }
        let deepest = format!("{}a{}", "{".repeat(16), "}".repeat(16));
        assert!(globs(&deepest).unwrap().matches("a"));
        assert!(
            globs(&"[}]{a}".repeat(20))
                .unwrap()
                .matches(&"}a".repeat(20))
        );
        assert!(globs(&"\\{".repeat(100)).unwrap().matches(&"{".repeat(100)));
    }

    /// No backtracking: what would take 2^20 steps elsewhere is done at once.
    #[test]
    fn many_stars_match_in_linear_time() {
        let glob = globs(&"*a".repeat(1000)).unwrap();
        assert!(!glob.matches(&format!("{}b", "a".repeat(20_000))));
        assert!(glob.matches(&"a".repeat(20_000)));
    }
}
