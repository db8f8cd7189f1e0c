//! Shard specs: files of rules that place each tensor of a model on a mesh.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::{Mesh, Placement};
use crate::error::{Error, Result};
use crate::fill::Fill;
use crate::read::{MAX_TOML_BYTES, Positions, read_text, without_bom};
use crate::recipe::{GlobCount, GlobTexts, Globs};
use crate::text::one_line;

/// A mesh of ranks, and rules that give each tensor of a model its placements on it.
///
/// The file is TOML:
///
/// ```toml
/// [[mesh]]                       # the dimensions of the mesh, outermost first
/// name = "fsdp"
/// size = 4
/// [[mesh]]
/// name = "tp"
/// size = 2
///
/// [[rule]]                       # the first rule that matches a tensor decides
/// match = ["*.q_proj.weight", "*.up_proj.weight"]    # a glob on the whole name, or a list
/// placements = ["strided_shard(0,split_factor=2)", "shard(0)"]   # one a dimension of the mesh
///
/// [[rule]]
/// match = "*"
/// placements = ["shard(0)", "replicate"]
/// ```
///
/// Globs are those of a [`Recipe`](crate::Recipe). Placements are texts that [`Placement`] reads,
/// and [`Mesh::local`] gives the part that they make. A tensor that no rule matches is an error,
/// and so is a key that is not listed here.
///
/// ```
/// use fanin::{Recipe, ShardSpec, checkpoint, cpu};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let list = folder.path().join("list.json");
/// # std::fs::write(&list, r#"{"tensors": [{"name": "0.weight", "shape": [32, 16]}]}"#).unwrap();
/// let spec = ShardSpec::from_toml(r#"
///     mesh = [{ name = "fsdp", size = 4 }]
///     [[rule]]
///     match = "*"
///     placements = ["shard(0)"]
/// "#)?;
/// let list = checkpoint::read_tensor_list(&list)?;
/// let plan = Recipe::preset("lecun")?.resolve(&list, Some(42), None)?;
/// for rank in 0..spec.ranks() {
///     let parts = spec.local_fills(&plan.fills(), rank)?;
///     let mut metadata = vec![("rank".to_owned(), rank.to_string())];
///     metadata.extend(parts.iter().flat_map(|part| part.metadata()));
///     let metadata: Vec<(&str, String)> =
///         metadata.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
///     let fills: Vec<_> = parts.into_iter().map(|part| part.fill).collect();
///     let contents = checkpoint::Contents::safetensors(&fills, &metadata)?;
///     let path = folder.path().join(format!("rank-{rank}.safetensors"));
///     checkpoint::save(&path, &contents, &mut cpu::fill_range, &mut checkpoint::silent)?;
///     assert_eq!(checkpoint::stats(&path)?[0].n, 8 * 16);
/// }
/// # Ok::<(), fanin::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ShardSpec {
    name: String,
    text: String,
    mesh: Mesh,
    rules: Vec<SpecRule>,
}

/// The part of one tensor that a rank holds, from [`ShardSpec::local_fills`].
#[derive(Clone, Debug, PartialEq)]
pub struct LocalPart {
    /// The fill of the part, which may have no elements. [`Fill::shape`] is that of the whole
    /// tensor, [`Fill::local`] is the part.
    pub fill: Fill,
    /// The first index of the part along each of its dimensions, in the whole tensor. For a run of
    /// elements it is the first element.
    pub offsets: Vec<u64>,
    /// The indices that the part has less than the largest rank's, along each of its dimensions:
    /// [`Local::padding`](crate::placement::Local::padding). The fill does not contain them.
    pub padding: Vec<u64>,
}

impl LocalPart {
    /// Returns the metadata for a file with this part: the whole tensor's shape under the key
    /// `shape:NAME`, as in `[4096, 4096]`, and the part under `slice:NAME`, as
    /// [`Part`](crate::Part) writes it. Returns nothing if the part is the whole tensor.
    #[must_use]
    pub fn metadata(&self) -> Vec<(String, String)> {
        if self.fill.is_whole() {
            return Vec::new();
        }
        let name = self.fill.name();
        vec![
            (format!("shape:{name}"), self.fill.shape().to_string()),
            (format!("slice:{name}"), self.fill.local().to_string()),
        ]
    }
}

/// The TOML of a shard spec.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpecFile {
    mesh: Spanned<Vec<MeshDimension>>,
    rule: Vec<WrittenRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MeshDimension {
    name: String,
    size: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    #[serde(rename = "match")]
    globs: Spanned<GlobTexts>,
    placements: Spanned<Vec<Spanned<String>>>,
}

/// A rule that passed all checks.
#[derive(Clone, Debug)]
struct SpecRule {
    globs: Globs,
    /// The globs as text.
    texts: Vec<String>,
    placements: Vec<Placement>,
}

impl ShardSpec {
    /// Reads a shard spec from TOML.
    ///
    /// # Errors
    ///
    /// [`Error::Recipe`] with line and column: for text that is not TOML, unknown keys, invalid
    /// globs and placements, meshes that [`Mesh::new`] refuses, and rules with another number of
    /// placements than the mesh has dimensions.
    pub fn from_toml(text: &str) -> Result<Self> {
        ShardSpec::parse("shard spec", text)
    }

    /// Reads a shard spec from a file. Its name is the file's, without folders.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file cannot be read, [`Error::Format`] if it is not UTF-8 or larger
    /// than 3 MiB, and as [`ShardSpec::from_toml`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let (text, name) = read_text(path.as_ref(), MAX_TOML_BYTES, "a shard spec is TOML")?;
        ShardSpec::parse(&name, &text)
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let text = without_bom(text);
        let refused = |byte: Option<usize>, reason: &str| Error::Recipe {
            recipe: name.to_owned(),
            position: byte.map(|byte| Positions::new(text).line_and_column(byte)),
            // The parser may quote the file.
            reason: one_line(reason),
        };
        let file: SpecFile = toml::from_str(text)
            .map_err(|error| refused(error.span().map(|span| span.start), error.message()))?;
        let mesh_at = file.mesh.span().start;
        let dims = file.mesh.into_inner().into_iter();
        let mesh = Mesh::new(dims.map(|dimension| (dimension.name, dimension.size)))
            .map_err(|error| refused(Some(mesh_at), &error.to_string()))?;
        if file.rule.is_empty() {
            return Err(refused(None, "has no [[rule]]: it needs at least one"));
        }
        let globs = file
            .rule
            .iter()
            .flat_map(|rule| rule.globs.get_ref().iter());
        // Counted before any glob is compiled, because compiled globs take far more memory than their texts.
        let counted = GlobCount::default().add(globs);
        counted.map_err(|reason| refused(None, &reason))?;
        let rule = |written: WrittenRule| {
            let at = written.placements.span().start;
            let placements = written.placements.into_inner().into_iter();
            let placements = placements.map(|text| {
                let placement = text.get_ref().parse::<Placement>();
                placement.map_err(|error| refused(Some(text.span().start), &error.to_string()))
            });
            let placements = placements.collect::<Result<Vec<_>>>()?;
            mesh.check_count(&placements)
                .map_err(|error| refused(Some(at), &error.to_string()))?;
            let at = written.globs.span().start;
            let texts = written.globs.into_inner().0;
            let globs = Globs::new(&texts);
            Ok(SpecRule {
                globs: globs.map_err(|reason| refused(Some(at), &reason))?,
                texts,
                placements,
            })
        };
        let rules = file.rule.into_iter().map(rule).collect::<Result<_>>()?;
        Ok(ShardSpec {
            name: name.to_owned(),
            text: text.to_owned(),
            mesh,
            rules,
        })
    }

    /// The name: the file's, or `shard spec` for text.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The TOML that the shard spec was read from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The mesh.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// The number of ranks of the mesh.
    #[must_use]
    pub fn ranks(&self) -> u64 {
        self.mesh.ranks()
    }

    /// Returns the placements of a tensor by its name, one for each dimension of the mesh, or
    /// `None` if no rule matches.
    #[must_use]
    pub fn placements(&self, name: &str) -> Option<&[Placement]> {
        let rule = self.rules.iter().find(|rule| rule.globs.matches(name))?;
        Some(&rule.placements)
    }

    /// Returns the globs of each rule that applies to none of these tensors, which is often a mistake.
    ///
    /// ```
    /// use fanin::ShardSpec;
    ///
    /// let spec = ShardSpec::from_toml(r#"
    ///     mesh = [{ name = "tp", size = 2 }]
    ///     [[rule]]
    ///     match = "c_proj.weight"
    ///     placements = ["shard(1)"]
    ///     [[rule]]
    ///     match = "*"
    ///     placements = ["replicate"]
    /// "#)?;
    /// let unused: Vec<_> = spec.unused(["h.0.c_proj.weight"]).collect();
    /// assert_eq!(unused, [["c_proj.weight"]]);
    /// # Ok::<(), fanin::Error>(())
    /// ```
    pub fn unused<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> impl Iterator<Item = &[String]> {
        let mut used = vec![false; self.rules.len()];
        for name in names {
            let rule = self.rules.iter().position(|rule| rule.globs.matches(name));
            if let Some(rule) = rule {
                used[rule] = true;
            }
        }
        let rules = self.rules.iter().zip(used).filter(|(_, used)| !used);
        rules.map(|(rule, _)| rule.texts.as_slice())
    }

    /// Returns the parts of a model's tensors that a rank holds, in the order of the fills, such as
    /// those of [`Plan::fills`](crate::Plan::fills).
    ///
    /// A part may be empty, and replicated tensors are whole. The fills can be written to one file
    /// for the rank: each is a tensor of its own shape, [`Part::dims`](crate::Part::dims).
    ///
    /// # Errors
    ///
    /// [`Error::Placement`] for a rank that the mesh does not have, and, naming the tensor, as
    /// [`Mesh::local`] and [`Local::fill`](crate::placement::Local::fill). [`Error::Unmatched`] for
    /// a tensor without a rule. [`Error::Slice`] for a fill that is a part of its tensor.
    pub fn local_fills(&self, fills: &[Fill], rank: u64) -> Result<Vec<LocalPart>> {
        // The rank is checked here, because without fills no call of `Mesh::local` would check it.
        self.mesh.coordinate(rank)?;
        let placements: Vec<Option<&[Placement]>> = fills
            .iter()
            .map(|fill| self.placements(fill.name()))
            .collect();
        let unmatched = fills.iter().zip(&placements);
        let unmatched = unmatched.filter(|(_, placements)| placements.is_none());
        let unmatched = unmatched.map(|(fill, _)| (fill.name(), fill.shape()));
        Error::refuse_unmatched(unmatched, &self.name, "placements")?;
        let part = |(fill, placements): (&Fill, &[Placement])| {
            if !fill.is_whole() {
                return Err(Error::Slice {
                    slice: fill.local().to_string(),
                    reason: "is a part of the tensor: give the fill of the whole".to_owned(),
                }
                .named(fill.name()));
            }
            let local = self
                .mesh
                .local(fill.shape(), placements, rank)
                .map_err(|error| error.named(fill.name()))?;
            Ok(LocalPart {
                offsets: local.offsets(),
                padding: local.padding().to_vec(),
                fill: local.fill(fill.clone())?,
            })
        };
        fills
            .iter()
            .zip(placements.into_iter().flatten())
            .map(part)
            .collect()
    }
}
