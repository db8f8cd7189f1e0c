//! `fanin plan` shows the initializer that a recipe gives each tensor, without filling any.

use std::io::{self, BufWriter, Write};

use fanin::checkpoint::{Shards, Sources};
use fanin::init::{Distribution, DistributionKind};
use fanin::recipe::{PlanEntry, PlanRule};
use fanin::text::excerpt;
use fanin::{DType, Fill, Plan, Shape};
use serde::{Serialize, Serializer};

use crate::Failure;
use crate::args::PlanArguments;
use crate::format::{count, short_text};
use crate::model::{recipe, report_unused, tensor_list};
use crate::output::{cannot_write, raw_stdout, status, write_json};
use crate::table::{self, Column, write_table};

pub fn run(arguments: &PlanArguments) -> Result<(), Failure> {
    let model = &arguments.model;
    let recipe = recipe(&model.recipe)?;
    let source = model.source(&recipe)?;
    let list = tensor_list(source)?;
    let seed = model.seed.or(recipe.seed());
    // Only the seed column depends on the seed, so a plan can do without one.
    let mut plan = recipe.resolve(&list, Some(seed.unwrap_or(0)), model.dtype)?;
    // Kept tensors have the dtypes of their files.
    let sources = Sources::of_plan(&plan, Some(source))?;
    sources.apply(plan.entries.iter_mut().map(|entry| &mut entry.fill))?;
    report_unused(&plan, model.strict)?;
    let layout = Shards::layout(plan.iter().map(Fill::bytes), arguments.max_shard_size);
    let files = layout
        .iter()
        .flat_map(|(name, tensors)| tensors.clone().map(|_| name.as_str()));
    let report = Report {
        recipe: recipe.name(),
        recipe_sha256: recipe.sha256(),
        seed,
        tensors: Rows {
            plan: &plan,
            seed,
            files: &files.collect::<Vec<_>>(),
        },
        skipped: plan
            .skipped
            .iter()
            .map(|tensor| tensor.name.as_str())
            .collect(),
        total: Total {
            tensors: plan.entries.len(),
            parameters: plan.elements(),
            bytes: plan.bytes(),
        },
    };
    // Rows are written as they are made, because the text of a large model is larger than its plan.
    let written = raw_stdout().and_then(|stdout| {
        let mut out = BufWriter::new(stdout);
        let unfit = if arguments.json {
            write_json(&mut out, &report).map(|()| None)
        } else {
            report.write_text(&mut out, arguments.table.width())
        }?;
        out.flush().map(|()| unfit)
    });
    let unfit = written.map_err(cannot_write)?;
    unfit.into_iter().for_each(|line| status(&line));
    Ok(())
}

/// The output, in the order of its JSON keys.
#[derive(Serialize)]
struct Report<'a> {
    recipe: &'a str,
    recipe_sha256: String,
    seed: Option<u64>,
    tensors: Rows<'a>,
    /// The tensors that rules leave out.
    skipped: Vec<&'a str>,
    total: Total,
}

#[derive(Serialize)]
struct Total {
    tensors: usize,
    parameters: u128,
    bytes: u128,
}

/// The rows of a plan, one for each tensor, made on the fly.
struct Rows<'a> {
    plan: &'a Plan,
    /// The seed, if `--seed` or the recipe gives one.
    seed: Option<u64>,
    /// The file of each tensor in a folder of shards.
    files: &'a [&'a str],
}

impl<'a> Rows<'a> {
    fn iter(&self) -> impl Iterator<Item = Row<'a>> + '_ {
        let entries = self.plan.entries.iter().zip(self.files);
        entries.map(|(entry, file)| row(self.plan, entry, self.seed, file))
    }
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// One tensor of a plan.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    shape: &'a Shape,
    dtype: DType,
    init: String,
    /// The initializer as the recipe has it, before numbers are computed.
    #[serde(skip)]
    init_of_rule: Option<&'a str>,
    distribution: &'a Distribution,
    fan_in: Option<u64>,
    fan_out: Option<u64>,
    elements: u64,
    bytes: u64,
    rule: Option<RulePosition<'a>>,
    tied_to: Option<&'a str>,
    same_as: Option<&'a str>,
    parts: Vec<PartRow<'a>>,
    seed: Option<u64>,
    stream: u64,
    file: &'a str,
}

/// A part of a tensor with an initializer of its own.
#[derive(Serialize)]
struct PartRow<'a> {
    slice: String,
    init: String,
    distribution: &'a Distribution,
    fan_in: Option<u64>,
    fan_out: Option<u64>,
}

/// The position of a rule in its recipe.
#[derive(Serialize)]
struct RulePosition<'a> {
    recipe: &'a str,
    line: usize,
    column: usize,
}

impl<'a> RulePosition<'a> {
    fn of(rule: &'a PlanRule) -> Self {
        RulePosition {
            recipe: &rule.recipe,
            line: rule.line,
            column: rule.column,
        }
    }
}

fn row<'a>(plan: &'a Plan, entry: &'a PlanEntry, seed: Option<u64>, file: &'a str) -> Row<'a> {
    let fill = &entry.fill;
    Row {
        name: fill.name(),
        shape: fill.shape(),
        dtype: fill.dtype(),
        init: entry.init.to_string(),
        init_of_rule: entry.rule.and_then(|rule| plan.rules[rule].init.as_deref()),
        distribution: fill.distribution(),
        fan_in: entry.fans.map(|fans| fans.fan_in),
        fan_out: entry.fans.map(|fans| fans.fan_out),
        elements: fill.elements(),
        bytes: fill.bytes(),
        rule: entry.rule.map(|rule| RulePosition::of(&plan.rules[rule])),
        tied_to: entry.tied_to.as_deref(),
        same_as: entry.same_as.as_deref(),
        parts: entry
            .parts
            .iter()
            .zip(fill.parts())
            .map(|(part, filled)| PartRow {
                slice: part.slice.to_string(),
                init: part.init.to_string(),
                distribution: filled.distribution(),
                fan_in: part.fans.map(|fans| fans.fan_in),
                fan_out: part.fans.map(|fans| fans.fan_out),
            })
            .collect(),
        seed: (seed.is_some() || entry.seed_is_pinned).then(|| fill.seed()),
        stream: fill.stream(),
        file,
    }
}

impl Report<'_> {
    /// Writes a table that fits the width, if there is one. It returns a line about the columns that do
    /// not fit.
    fn write_text(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<Option<String>> {
        // A terminal has no room for the same numbers twice.
        let (heading, numbers): (_, fn(&Distribution) -> String) = match width {
            Some(_) => ("numbers", numbers),
            None => ("drawn from", Distribution::to_string),
        };
        let mut columns = vec![
            Column::left("name").name(),
            Column::left("shape").rank(3),
            Column::left("dtype").rank(5),
            Column::left("init").text().rank(1),
            Column::left(heading).text().rank(2),
            Column::right("fan_in").rank(8),
            Column::right("fan_out").rank(9),
            Column::right("bytes").rank(7),
            Column::left("rule").name().rank(6),
            Column::left("file").name().rank(10),
        ];
        // These columns appear only if a tensor has the weights of another one.
        let tied = self.tensors.iter().any(|row| row.tied_to.is_some());
        columns.extend(tied.then_some(Column::left("tied to").name().rank(4)));
        let same = self.tensors.iter().any(|row| row.same_as.is_some());
        columns.extend(same.then_some(Column::left("same as").name().rank(4)));
        // A tensor's row, and one for each of its parts.
        let cells = |row: Row<'_>| {
            let or_none = |text: Option<&str>| text.unwrap_or("-").to_owned();
            let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
            let cells_of_row = columns.len();
            let parts = row.parts.iter().map(|part| {
                let mut cells = vec![
                    format!("  [{}]", part.slice),
                    String::new(),
                    String::new(),
                    part.init.clone(),
                    numbers(part.distribution),
                    number(part.fan_in),
                    number(part.fan_out),
                ];
                cells.resize(cells_of_row, String::new());
                cells
            });
            let parts: Vec<Vec<String>> = parts.collect();
            let mut cells = vec![
                row.name.to_owned(),
                row.shape.to_string(),
                row.dtype.to_string(),
                row.init_of_rule.map_or(row.init, str::to_owned),
                numbers(row.distribution),
                number(row.fan_in),
                number(row.fan_out),
                row.bytes.to_string(),
                row.rule.map_or_else(
                    || "-".to_owned(),
                    |rule| format!("{}:{}", rule.recipe, rule.line),
                ),
                row.file.to_owned(),
            ];
            cells.extend(tied.then(|| or_none(row.tied_to)));
            cells.extend(same.then(|| or_none(row.same_as)));
            std::iter::once(cells).chain(parts)
        };
        let fit = write_table(out, &columns, || self.tensors.iter().flat_map(cells), width)?;
        if let [first, ..] = self.skipped.as_slice() {
            writeln!(
                out,
                "left out: {}, such as {}",
                count(self.skipped.len() as u128, "tensor"),
                excerpt(first)
            )?;
        }
        let seed = self
            .seed
            .map_or_else(|| "-".to_owned(), |seed| seed.to_string());
        writeln!(
            out,
            "total: {}, {}, {}; seed {seed}",
            count(self.total.tensors as u128, "tensor"),
            count(self.total.parameters, "parameter"),
            count(self.total.bytes, "byte"),
        )?;
        Ok(table::unfit(&columns, &fit))
    }
}

/// Returns the numbers of a distribution with four digits, such as `std 0.4019, ±0.8039`, where `±` and
/// `to` give its bounds. Its name follows from the initializer.
fn numbers(distribution: &Distribution) -> String {
    let Some(law) = distribution.law() else {
        return match distribution.kind() {
            DistributionKind::Constant { value } => short_text((*value).into()),
            _ => distribution.to_string(),
        };
    };
    // The mean of a symmetric distribution is 0 except for rounding.
    let is_zero = |x: f64| x.abs() < 1e-9 * law.std();
    let mean = match law.mean() {
        mean if is_zero(mean) => String::new(),
        mean => format!("mean {}, ", short_text(mean)),
    };
    let bounds = match law.support() {
        (low, high) if low.is_infinite() && high.is_infinite() => String::new(),
        (low, high) if is_zero(low + high) => format!(", ±{}", short_text(high)),
        (low, high) => format!(", {} to {}", short_text(low), short_text(high)),
    };
    format!("{mean}std {}{bounds}", short_text(law.std()))
}
