//! `fanin plan`: what a recipe makes of a model's tensors, without filling any.

use std::io::{self, BufWriter, Write};

use fanin::checkpoint::{self, Shards};
use fanin::init::Distribution;
use fanin::recipe::{PlanEntry, PlanRule};
use fanin::{DType, Error, Fill, Plan, Shape};
use serde::{Serialize, Serializer};

use crate::Failure;
use crate::args::PlanArguments;
use crate::format::count;
use crate::model::recipe;
use crate::output::STDOUT;
use crate::table::{Align, write_table};

pub fn run(arguments: &PlanArguments) -> Result<(), Failure> {
    let recipe = recipe(&arguments.recipe)?;
    let list = checkpoint::read_tensor_list(&arguments.tensors)?;
    let seed = arguments.seed.or(recipe.seed());
    // Nothing that a plan shows depends on the seed, but the seed itself.
    let plan = recipe.resolve(&list, Some(seed.unwrap_or(0)), arguments.dtype)?;
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
        total: Total {
            tensors: plan.entries.len(),
            parameters: plan.elements(),
            bytes: plan.bytes(),
        },
    };
    // Written as it is made: the text of a large model is larger than its plan.
    let mut out = BufWriter::new(io::stdout().lock());
    let written = if arguments.json {
        report.write_json(&mut out)
    } else {
        report.write_text(&mut out)
    };
    written.and_then(|()| out.flush()).map_err(|source| {
        Failure::from(Error::Io {
            path: STDOUT.to_owned(),
            action: "write",
            source,
        })
    })
}

/// All that is shown of a plan.
#[derive(Serialize)]
struct Report<'a> {
    recipe: &'a str,
    recipe_sha256: String,
    seed: Option<u64>,
    tensors: Rows<'a>,
    total: Total,
}

#[derive(Serialize)]
struct Total {
    tensors: usize,
    parameters: u128,
    bytes: u128,
}

/// A row for each tensor of a plan.
struct Rows<'a> {
    plan: &'a Plan,
    /// The plan's seed, where somebody gave one.
    seed: Option<u64>,
    /// The file that each tensor goes to in a folder.
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
    distribution: &'a Distribution,
    fan_in: Option<u64>,
    fan_out: Option<u64>,
    elements: u64,
    bytes: u64,
    rule: Place<'a>,
    tied_to: Option<&'a str>,
    seed: Option<u64>,
    stream: u64,
    file: &'a str,
}

/// Where a rule stands.
#[derive(Serialize)]
struct Place<'a> {
    recipe: &'a str,
    line: usize,
    column: usize,
}

fn row<'a>(plan: &'a Plan, entry: &'a PlanEntry, seed: Option<u64>, file: &'a str) -> Row<'a> {
    let PlanRule {
        recipe,
        line,
        column,
    } = &plan.rules[entry.rule];
    let fill = &entry.fill;
    Row {
        name: fill.name(),
        shape: fill.shape(),
        dtype: fill.dtype(),
        init: entry.init.to_string(),
        distribution: fill.distribution(),
        fan_in: entry.fans.map(|fans| fans.fan_in),
        fan_out: entry.fans.map(|fans| fans.fan_out),
        elements: fill.elements(),
        bytes: fill.bytes(),
        rule: Place {
            recipe,
            line: *line,
            column: *column,
        },
        tied_to: entry.tied_to.as_deref(),
        seed: (seed.is_some() || entry.seed_is_pinned).then(|| fill.seed()),
        stream: fill.stream(),
        file,
    }
}

impl Report<'_> {
    fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }

    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut columns = vec![
            ("name", Align::Left),
            ("shape", Align::Left),
            ("dtype", Align::Left),
            ("init", Align::Left),
            ("drawn from", Align::Left),
            ("fan_in", Align::Right),
            ("fan_out", Align::Right),
            ("bytes", Align::Right),
            ("rule", Align::Left),
            ("file", Align::Left),
        ];
        // What few models have is no column of the others.
        let tied = self.tensors.iter().any(|row| row.tied_to.is_some());
        columns.extend(tied.then_some(("tied to", Align::Left)));
        let cells = |row: Row<'_>| {
            let or_none = |text: Option<&str>| text.unwrap_or("-").to_owned();
            let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
            let mut cells = vec![
                row.name.to_owned(),
                row.shape.to_string(),
                row.dtype.to_string(),
                row.init,
                row.distribution.to_string(),
                number(row.fan_in),
                number(row.fan_out),
                row.bytes.to_string(),
                format!("{}:{}", row.rule.recipe, row.rule.line),
                row.file.to_owned(),
            ];
            cells.extend(tied.then(|| or_none(row.tied_to)));
            cells
        };
        write_table(out, &columns, || self.tensors.iter().map(cells))?;
        let seed = self
            .seed
            .map_or_else(|| "-".to_owned(), |seed| seed.to_string());
        writeln!(
            out,
            "total: {}, {}, {}; seed {seed}",
            count(self.total.tensors as u128, "tensor"),
            count(self.total.parameters, "parameter"),
            count(self.total.bytes, "byte"),
        )
    }
}
