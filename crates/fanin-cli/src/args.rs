//! The arguments: names that scripts depend on.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fanin::{DType, Layout, Recipe};
use fanin_signal::Activation;

use crate::size::size;

/// Initial weights of neural networks: the same seed gives the same bits on every device.
#[derive(Parser)]
#[command(name = "fanin", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Initialize all tensors of a model and write them to a file, or to a folder of shards.
    Init(InitArguments),
    /// Show what a recipe makes of a model's tensors, a row each; nothing is filled.
    Plan(PlanArguments),
    /// Initialize one tensor, or a slice of it.
    Fill(FillArguments),
    /// List the adapters that fanin can fill on, best first.
    Devices(DevicesArguments),
    /// Make tensors of a model again from recipe and seed: one, some, or a slice of them.
    Regenerate(RegenerateArguments),
    /// Check that weights are those that a recipe and a seed give, to the bit.
    Verify(VerifyArguments),
    /// Show how far trained weights have moved from their start, a row a tensor.
    Diff(DiffArguments),
    /// Show statistics of the tensors in a file, a row each.
    Stats(StatsArguments),
    /// Draw how weights are distributed, against what is expected: histogram, quantiles, and the
    /// spread of each tensor.
    Plot(PlotArguments),
    /// Print a preset recipe, to read or to start an own one from.
    Recipe(RecipeArguments),
    /// Time fills on this machine's CPU and adapters, and check that they make the same bits.
    Bench(BenchArguments),
    /// List the initializers, with their keys and defaults.
    Inits(InitsArguments),
    /// Show what starts do to the signal of a deep network, up and down, before any training.
    Signal(SignalArguments),
}

#[derive(Args)]
pub struct InitsArguments {
    /// As docs/INITIALIZERS.md has it, with sources and advice.
    #[arg(long)]
    pub markdown: bool,
}

#[derive(Args)]
pub struct InitArguments {
    #[arg(help = format!("A preset's name ({}) or a .toml file", presets()))]
    pub recipe: String,
    /// Where the tensors are listed: a .safetensors file (only its header is read), a
    /// model.safetensors.index.json, a folder that holds one of these, or a JSON list
    /// {"tensors": [{"name", "shape", "dtype"?}]}.
    #[arg(long, value_name = "SOURCE")]
    pub tensors: PathBuf,
    /// The seed, decimal or 0x...; needed unless the recipe gives one.
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Where the weights go: a .safetensors file; a folder, for files as Hugging Face has them
    /// (a name without an ending, or with / at its end); null: to measure without writing.
    #[arg(long, value_name = "PATH")]
    pub out: String,
    /// The largest file of a folder, as in 5GB or 500MiB; a larger tensor has one for itself
    /// [default: 5GB].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_shard_size: Option<u64>,
    /// Write a file for each rank of a training, with its part of each tensor: a .toml file that
    /// gives the mesh, and placements by tensor names (see the type ShardSpec of the library).
    #[arg(long, value_name = "FILE")]
    pub shard_spec: Option<PathBuf>,
    /// Memory for weights on their way to the files, whatever the size of the model.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "256MiB")]
    pub memory: u64,
    /// Go on with what a run that ended early has left: keep what is right, to the bit, and
    /// write the rest. A run with --resume that fails leaves its beginnings for the next.
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    pub distributed: DistributedArguments,
    /// The dtype of all tensors: f32, f16 or bf16 [default: what recipe or list say, else f32].
    #[arg(long)]
    pub dtype: Option<DType>,
    #[command(flatten)]
    pub backend: BackendArguments,
}

#[derive(Args)]
pub struct DistributedArguments {
    /// Be one of several processes that share the files of a folder: rank and number are those
    /// that mpirun, torchrun or srun gave it. No process waits for another.
    #[arg(long)]
    pub distributed: bool,
    /// This process' rank, from 0, where no launcher says it.
    #[arg(long, value_name = "R", requires = "world_size")]
    pub rank: Option<u64>,
    /// The number of processes.
    #[arg(long, value_name = "N", requires = "rank")]
    pub world_size: Option<u64>,
}

#[derive(Args)]
pub struct PlanArguments {
    /// A preset's name (see `fanin recipe --help`) or a .toml file.
    pub recipe: String,
    /// Where the tensors are listed: a .safetensors file (only its header is read), a
    /// model.safetensors.index.json, or a JSON list {"tensors": [{"name", "shape", "dtype"?}]}.
    #[arg(long, value_name = "SOURCE")]
    pub tensors: PathBuf,
    /// The seed, decimal or 0x...; it is only shown.
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// The dtype of all tensors: f32, f16 or bf16 [default: what recipe or list say, else f32].
    #[arg(long)]
    pub dtype: Option<DType>,
    /// The largest file of a folder that the model is written to, as for `fanin init`.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "5GB")]
    pub max_shard_size: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct FillArguments {
    /// The initializer, as in "kaiming_normal(mode=fan_out)" or "normal(mean=0,std=0.02)".
    #[arg(long, value_name = "SPEC")]
    pub init: String,
    /// The shape of the whole tensor, as in 4096,4096; empty for a scalar.
    #[arg(long, value_parser = shape, allow_hyphen_values = true)]
    pub shape: Dims,
    /// The tensor's name: it picks the stream.
    #[arg(long, required_unless_present = "stream")]
    pub name: Option<String>,
    /// The stream id, decimal or 0x..., in place of the one that the name picks.
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub stream: Option<u64>,
    /// The seed, decimal or 0x....
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: u64,
    /// Where the weights go: a .npy, .safetensors or .bin (raw little-endian) file; - for raw
    /// bytes on standard output; null: to measure without writing.
    #[arg(long, value_name = "PATH")]
    pub out: String,
    /// The dtype: f32, f16 or bf16.
    #[arg(long, default_value_t)]
    pub dtype: DType,
    /// Which axes are inputs and outputs: out_in (torch) or in_out (Keras, JAX, numpy).
    #[arg(long, default_value_t)]
    pub layout: Layout,
    /// The part to fill, as in 0:100,0:512; it holds the bits of the whole. [default: all]
    #[arg(long, allow_hyphen_values = true)]
    pub slice: Option<String>,
    #[command(flatten)]
    pub backend: BackendArguments,
}

#[derive(Args)]
pub struct RegenerateArguments {
    /// A preset's name, as for `fanin init`, or a .toml file.
    pub recipe: String,
    /// Where the model's tensors are listed, as for `fanin init`; all of them, since the recipe
    /// may count them.
    #[arg(long, value_name = "SOURCE")]
    pub tensors: PathBuf,
    /// The seed, decimal or 0x...; needed unless the recipe gives one.
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// The tensor to make: its name, or a glob, as in "*.mlp.*" or "h.[0-3].*"; can be repeated.
    #[arg(long, value_name = "NAME", required = true)]
    pub tensor: Vec<String>,
    /// The part to make, of each tensor, as in 0:100,:; it holds the bits of the whole.
    /// [default: all]
    #[arg(long, allow_hyphen_values = true)]
    pub slice: Option<String>,
    /// Where the weights go: a .safetensors file, or null: to measure without writing; one tensor
    /// can also go to a .npy or .bin (raw little-endian) file, or to standard output by -.
    #[arg(long, value_name = "PATH")]
    pub out: String,
    /// The dtype: f32, f16 or bf16 [default: what recipe or list say, else f32].
    #[arg(long)]
    pub dtype: Option<DType>,
    #[command(flatten)]
    pub backend: BackendArguments,
}

#[derive(Args)]
pub struct VerifyArguments {
    /// The weights: a .safetensors file, a model.safetensors.index.json with its shards beside
    /// it, or a folder that holds one of these.
    pub file: PathBuf,
    /// A preset's name, as for `fanin init`, or a .toml file.
    #[arg(long)]
    pub recipe: String,
    /// The seed, decimal or 0x...; needed unless the recipe gives one.
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Where the model's tensors are listed, as for `fanin init`, if the file holds only some of
    /// them, or a slice [default: the file itself].
    #[arg(long, value_name = "SOURCE")]
    pub tensors: Option<PathBuf>,
    /// Print JSON on standard output, also where the weights differ.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub backend: BackendArguments,
}

#[derive(Args)]
pub struct DiffArguments {
    /// Where training started: weights, as for B, or a recipe (a preset's name or a .toml file)
    /// whose weights are made on the fly.
    #[arg(value_name = "A")]
    pub start: String,
    /// The trained weights: a .safetensors file, a model.safetensors.index.json with its shards
    /// beside it, or a folder that holds one of these.
    #[arg(value_name = "B")]
    pub trained: PathBuf,
    /// The recipe's seed, decimal or 0x...; needed unless the recipe gives one.
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Where the recipe's tensors are listed, as for `fanin init` [default: B itself].
    #[arg(long, value_name = "SOURCE")]
    pub tensors: Option<PathBuf>,
    /// The dtype that the recipe's weights had [default: what recipe or list say, else that of B].
    #[arg(long)]
    pub dtype: Option<DType>,
    /// Print JSON; what is not a finite number is null.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub backend: BackendArguments,
}

#[derive(Args)]
pub struct BackendArguments {
    /// Who makes the weights; the bits are the same. auto: a GPU if there is one, else the CPU.
    #[arg(long, value_enum, default_value = "auto")]
    pub backend: BackendKind,
    /// The GPU to take: words that its name, backend or driver hold, as `fanin devices` shows
    /// them.
    #[arg(long, value_name = "TEXT")]
    pub adapter: Option<String>,
    /// Threads of the CPU backend [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendKind {
    Auto,
    Gpu,
    Cpu,
}

#[derive(Args)]
pub struct DevicesArguments {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct BenchArguments {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Who is timed. auto: the CPU and every adapter; gpu: the adapters only.
    #[arg(long, value_enum, default_value = "auto")]
    pub backend: BackendKind,
    /// The adapters to time: words that name, backend or driver hold, as `fanin devices` shows
    /// them [default: all].
    #[arg(long, value_name = "TEXT")]
    pub adapter: Option<String>,
    /// Threads of the CPU, beside the row of one thread [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// About how long to measure, all in all; below 5 seconds the buffers get smaller too.
    #[arg(long, value_name = "S", value_parser = seconds, default_value = "20")]
    pub seconds: f64,
}

#[derive(Args)]
pub struct StatsArguments {
    /// A .safetensors or .npy file, a model.safetensors.index.json with its shards beside it, or a
    /// folder that holds one.
    pub file: PathBuf,
    /// A preset's name, as for `fanin init`, or a .toml file: show what it expects beside what is
    /// seen, and flag what cannot be chance. No seed is needed.
    #[arg(long)]
    pub recipe: Option<String>,
    /// Print JSON; what is not a finite number is null.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct PlotArguments {
    /// The weights, as for `fanin stats`.
    pub file: PathBuf,
    /// The tensors to draw: a name, or a glob, as in "*.mlp.*" [default: all]. Three of them are
    /// drawn in detail: the first that are not constant and, by the recipe, not alike; all of them
    /// in the chart of spreads.
    #[arg(long, value_name = "GLOB")]
    pub tensor: Option<String>,
    /// A preset's name, as for `fanin init`, or a .toml file: what the weights should be. No seed
    /// is needed. [default: a normal and a uniform distribution with the weights' own mean and std]
    #[arg(long)]
    pub recipe: Option<String>,
    /// Where the picture goes: a .svg or .png file [default: a small view in the terminal].
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
}

#[derive(Args)]
pub struct SignalArguments {
    /// What stands between the layers: linear, tanh, sigmoid, relu, gelu, selu; several are
    /// separated by commas.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "tanh,sigmoid,relu,gelu,selu"
    )]
    pub activation: Vec<Activation>,
    /// The start of the weights, as for `fanin fill`; several are separated by commas, or by
    /// repeating --init [default: zeros, normal(std=1), normal(std=0.01), xavier_normal,
    /// kaiming_normal, lecun_normal, orthogonal].
    #[arg(long, value_name = "SPEC")]
    pub init: Vec<String>,
    /// The number of layers, 2 to 1000.
    #[arg(long, value_name = "N", default_value = "50")]
    pub depth: usize,
    /// Neurons of each layer.
    #[arg(long, value_name = "N", default_value = "256")]
    pub width: usize,
    /// Inputs that are sent through; at least 2.
    #[arg(long, value_name = "N", default_value = "128")]
    pub batch: usize,
    /// The seed of weights and inputs, decimal or 0x....
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true, default_value = "42")]
    pub seed: u64,
    /// Also draw a page, a panel an activation and way: a .svg or .png file.
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Print JSON, with every layer; what is not a finite number is null.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct RecipeArguments {
    #[arg(help = format!("The preset's name: {}", presets()))]
    pub name: String,
}

fn presets() -> String {
    Recipe::presets().collect::<Vec<_>>().join(", ")
}

/// A list of dimensions. A type of its own: clap takes a `Vec` for a repeated argument.
#[derive(Clone)]
pub struct Dims(pub Vec<u64>);

/// A 64-bit number, decimal or hexadecimal after 0x.
fn number(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        // The standard library would let a sign through.
        Some(hex) if !hex.starts_with('+') => u64::from_str_radix(hex, 16),
        _ => text.parse(),
    };
    number.map_err(|_| {
        "use a whole number from 0 to 18446744073709551615, decimal or 0x...".to_owned()
    })
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("use a number of seconds from 0.001 to 86400".to_owned()),
    }
}

fn shape(text: &str) -> Result<Dims, String> {
    if text.trim().is_empty() {
        return Ok(Dims(Vec::new()));
    }
    let dims = text.split(',').map(|dim| dim.trim().parse().ok());
    match dims.collect() {
        Some(dims) => Ok(Dims(dims)),
        None => Err("use whole numbers from 0, separated by commas, as in 4096,4096".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn numbers() {
        assert_eq!(number("42"), Ok(42));
        assert_eq!(number("0xFFFFffffFFFFffff"), Ok(u64::MAX));
        for text in ["", "-1", "0x", "0x+1", "1.5", "18446744073709551616"] {
            assert!(number(text).is_err(), "{text}");
        }
    }
}
