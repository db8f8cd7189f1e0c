//! The `__metadata__` of safetensors files: keys and texts, in the order of the file.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::limits::{MAX_METADATA_BYTES, MAX_METADATA_PAIRS};

/// Pairs of a key and a text. All of them lie in one text, because a file can have a million.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    text: String,
    /// The ends of the key and of the value of each pair in the text.
    ends: Vec<[u32; 2]>,
}

impl Metadata {
    /// Adds a pair.
    ///
    /// # Errors
    ///
    /// A reason, if there are too many pairs or bytes.
    pub fn push(&mut self, key: &str, value: &str) -> Result<(), String> {
        if self.ends.len() == MAX_METADATA_PAIRS {
            return Err(format!(
                "has more than {MAX_METADATA_PAIRS} pairs of metadata, the most that are read"
            ));
        }
        if self.text.len() + key.len() + value.len() > MAX_METADATA_BYTES {
            return Err(format!(
                "has more than {MAX_METADATA_BYTES} bytes of metadata, the most that are read"
            ));
        }
        self.text.push_str(key);
        let end = self.text.len();
        self.text.push_str(value);
        // No overflow: the limit is below 2^32.
        self.ends.push([end as u32, self.text.len() as u32]);
        Ok(())
    }

    /// Adds the pairs of other metadata after these.
    ///
    /// # Errors
    ///
    /// As for [`Metadata::push`].
    pub fn extend(&mut self, other: &Metadata) -> Result<(), String> {
        other
            .iter()
            .try_for_each(|(key, value)| self.push(key, value))
    }

    /// Returns the pairs in their order. Keys can be there twice.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.ends.len()).map(|index| self.pair(index))
    }

    /// Returns the pair with this index. There must be one.
    pub fn pair(&self, index: usize) -> (&str, &str) {
        let before = index.checked_sub(1);
        let start = before.map_or(0, |before| self.ends[before][1]);
        let [end_of_key, end] = self.ends[index];
        let part = |range: Range<u32>| &self.text[range.start as usize..range.end as usize];
        (part(start..end_of_key), part(end_of_key..end))
    }

    /// Returns the value of a key: that of the first pair, if several have it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut metadata = Metadata::default();
        read_pairs(deserializer, |key, value| metadata.push(&key, &value))?;
        Ok(metadata)
    }
}

/// Reads a JSON object of texts. `push` gets each pair in the file's order, also keys that stand twice, and
/// can refuse it by a message.
pub(super) fn read_pairs<'de, D: Deserializer<'de>>(
    deserializer: D,
    push: impl FnMut(Cow<'de, str>, Cow<'de, str>) -> Result<(), String>,
) -> Result<(), D::Error> {
    struct Pairs<F>(F);
    impl<'de, F: FnMut(Cow<'de, str>, Cow<'de, str>) -> Result<(), String>> Visitor<'de> for Pairs<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object whose values are texts")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((Text(key), Text(value))) = map.next_entry()? {
                (self.0)(key, value).map_err(A::Error::custom)?;
            }
            Ok(())
        }
    }
    deserializer.deserialize_map(Pairs(push))
}

/// A text of JSON, which is borrowed if it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_their_order_and_the_first_one_counts() {
        let json = r#"{"b": "1", "": "", "a\n": "é", "b": "2"}"#;
        let metadata: Metadata = serde_json::from_str(json).unwrap();
        let pairs: Vec<(&str, &str)> = metadata.iter().collect();
        assert_eq!(pairs, [("b", "1"), ("", ""), ("a\n", "é"), ("b", "2")]);
        assert_eq!((metadata.get("b"), metadata.get("c")), (Some("1"), None));
        let mut twice = metadata.clone();
        twice.extend(&metadata).unwrap();
        assert_eq!(
            twice.iter().collect::<Vec<_>>(),
            [pairs.clone(), pairs].concat()
        );
    }

    #[test]
    fn too_much_metadata_is_refused() {
        let mut metadata = Metadata::default();
        let half = "x".repeat(MAX_METADATA_BYTES / 2);
        metadata.push("", &half).unwrap();
        metadata.push(&half, "").unwrap();
        assert!(metadata.push("", "").is_ok());
        assert!(
            metadata
                .push("k", "")
                .unwrap_err()
                .contains("67108864 bytes")
        );
        let pairs = std::iter::repeat_n(r#""":"""#, MAX_METADATA_PAIRS + 1);
        let json = format!("{{{}}}", pairs.collect::<Vec<_>>().join(","));
        let error = serde_json::from_str::<Metadata>(&json).unwrap_err();
        assert!(error.to_string().contains("1048576 pairs"), "{error}");
    }
}
