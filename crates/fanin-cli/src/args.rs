//! The command line's arguments. Scripts depend on their names.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fanin::{DType, Layout, Recipe};
use fanin_signal::Activation;

use crate::size::size;

/// The most threads that can be asked for. More than the machine has cores only cost memory.
const MAX_THREADS: i64 = 1024;

/// Makes initial weights of neural networks: the same seed gives the same bits on every device.
#[derive(Parser)]
#[command(name = "fanin", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// Print no status, warnings or progress. Errors and what is asked for are still printed.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Subcommand)]
pub enum Command {
    /// Initialize all tensors of a model and write them to a file, or to a folder of shards.
    Init(InitArguments),
    /// Show the initializer that a recipe gives each tensor, without filling any.
    Plan(PlanArguments),
    /// Initialize one tensor, or a slice of it.
    Fill(FillArguments),
    /// List the adapters that fanin can fill on, best first.
    Devices(DevicesArguments),
    /// Make some tensors of a model again from recipe and seed, whole or sliced.
    Regenerate(RegenerateArguments),
    /// Check that weights have exactly the bits that a recipe and a seed give.
    Verify(VerifyArguments),
    /// Show how far trained weights have moved from their start, with a row for each tensor.
    Diff(DiffArguments),
    /// Show statistics of the tensors in a file, with a row for each.
    Stats(StatsArguments),
    /// Draw the distribution of weights: a histogram, quantiles, and the std of each tensor.
    Plot(PlotArguments),
    /// List the preset recipes, or print one, to read or as a starting point for your own.
    Recipe(RecipeArguments),
    /// Time fills on this machine's CPU and adapters, and check that they make the same bits.
    Bench(BenchArguments),
    /// List the initializers, with their keys and defaults.
    Inits(InitsArguments),
    /// Show how initializers change the signal of a deep network before any training.
    Signal(SignalArguments),
}

/// The model of init, plan and regenerate.
#[derive(Args)]
pub struct ModelArguments {
    #[arg(help = format!("A preset's name ({}) or a .toml file", presets()))]
    pub recipe: String,
    /// The list of the model's tensors: a .safetensors file (only its header is read), a
    /// model.safetensors.index.json, a folder that holds one of these or the files of all ranks, or
    /// a JSON list {"tensors": [{"name", "shape", "dtype"?}]} [default: the recipe's tensors].
    #[arg(long, value_name = "SOURCE")]
    pub tensors: Option<PathBuf>,
    /// The seed, decimal or 0x... [default: the recipe's seed].
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// The dtype of all tensors of floats: f32, f16, bf16, f64, f8_e4m3 or f8_e5m2. Tensors of whole
    /// numbers, by the list or their rule, and tensors that are kept have their own [default: that
    /// of the rule, recipe or list, else f32].
    #[arg(long, value_parser = floats)]
    pub dtype: Option<DType>,
    /// Fail if a rule of the recipe applies to no tensor. Without it, this is a warning. Rules of
    /// presets do not count.
    #[arg(long)]
    pub strict: bool,
}

#[derive(Args)]
pub struct BackendArguments {
    /// The backend that makes the weights. Every backend makes the same bits. auto takes a GPU if
    /// there is one, else the CPU.
    #[arg(long, value_enum, default_value = "auto")]
    pub backend: BackendKind,
    /// The GPU: words of its name, backend or driver, as `fanin devices` shows them.
    #[arg(long, value_name = "TEXT")]
    pub adapter: Option<String>,
    /// The number of threads of the CPU backend [default: the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    pub threads: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendKind {
    Auto,
    Gpu,
    Cpu,
}

#[derive(Args)]
pub struct InitArguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// The output: a .safetensors file, a folder of shards with the names of Hugging Face (a path
    /// without an extension, or with / at its end), or null: to measure without writing.
    #[arg(long, value_name = "PATH")]
    pub out: String,
    /// The maximum size of a shard, as in 5GB or 500MiB. A larger tensor gets a shard of its own
    /// [default: 5GB].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_shard_size: Option<u64>,
    /// Write a file for each rank of a distributed training, with the rank's part of each tensor.
    /// The .toml file gives the mesh, and placements by tensor names (see the library's type
    /// ShardSpec).
    #[arg(long, value_name = "FILE")]
    pub shard_spec: Option<PathBuf>,
    /// The memory for buffers of weights. It does not depend on the size of the model.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "256MiB")]
    pub memory: u64,
    /// Continue an earlier run that was interrupted: keep the weights that are correct to the bit
    /// and write the rest. If the run fails, its incomplete files stay for the next run.
    #[arg(long)]
    pub resume: bool,
    /// Replace files that exist with other contents, and take the place of another model in the
    /// folder that has other files, such as shards of another size or those of another number of
    /// ranks. These are removed once the new model is complete, if fanin wrote them.
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub distributed: DistributedArguments,
    #[command(flatten)]
    pub backend: BackendArguments,
}

#[derive(Args)]
pub struct DistributedArguments {
    /// Share the files of a folder among several processes, with the rank and the number of
    /// processes that mpirun, torchrun or srun set. No process waits for another.
    #[arg(long)]
    pub distributed: bool,
    /// The rank of this process, from 0, if no launcher sets it.
    #[arg(long, value_name = "R", requires = "world_size")]
    pub rank: Option<u64>,
    /// The number of processes.
    #[arg(long, value_name = "N", requires = "rank")]
    pub world_size: Option<u64>,
}

#[derive(Args)]
pub struct PlanArguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// The maximum size of a shard, as for `fanin init`.
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
    /// The shape of the whole tensor, as in 4096,4096. The empty text is the shape of a scalar.
    #[arg(long, value_parser = shape, allow_hyphen_values = true)]
    pub shape: Dims,
    /// The tensor's name, which determines the stream.
    #[arg(long, required_unless_present = "stream")]
    pub name: Option<String>,
    /// The stream id, decimal or 0x..., instead of the one that the name determines.
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub stream: Option<u64>,
    /// The seed, decimal or 0x....
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: u64,
    /// The output: a .npy, .safetensors or .bin (raw little-endian) file, - for raw bytes on
    /// standard output, or null: to measure without writing.
    #[arg(long, value_name = "PATH")]
    pub out: String,
    /// Replace a file that exists with other contents.
    #[arg(long)]
    pub overwrite: bool,
    /// The dtype: f32, f16, bf16, f64, f8_e4m3 or f8_e5m2. An initializer that gives whole numbers
    /// only, such as zeros, also takes bool, u8 to u64 and i8 to i64.
    #[arg(long, default_value_t)]
    pub dtype: DType,
    /// The order of output and input axes: out_in (torch) or in_out (Keras, JAX, numpy).
    #[arg(long, default_value_t)]
    pub layout: Layout,
    /// The groups of a grouped convolution, which divide the outputs of the fans.
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true, default_value = "1")]
    pub groups: u64,
    /// The axes of the inputs, for the fans: a number, or several as in 0,1. Negative ones count from
    /// the end. [default with one of the axes: -2]
    #[arg(long, value_name = "AXES", value_parser = axes, allow_hyphen_values = true, conflicts_with = "layout")]
    pub in_axis: Option<Axes>,
    /// The axes of the outputs, for the fans [default with one of the axes: -1].
    #[arg(long, value_name = "AXES", value_parser = axes, allow_hyphen_values = true, conflicts_with = "layout")]
    pub out_axis: Option<Axes>,
    /// The axes of independent weights, such as experts, which belong to no fan.
    #[arg(long, value_name = "AXES", value_parser = axes, allow_hyphen_values = true, conflicts_with = "layout")]
    pub batch_axis: Option<Axes>,
    /// The part to fill, as in 0:100,0:512. It has the bits that the whole tensor has there
    /// [default: all].
    #[arg(long, allow_hyphen_values = true)]
    pub slice: Option<String>,
    #[command(flatten)]
    pub backend: BackendArguments,
}

#[derive(Args)]
pub struct RegenerateArguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// A tensor to make: a name, or a glob, as in "*.mlp.*" or "h.[0-3].*". It can be repeated.
    #[arg(long, value_name = "NAME", required = true)]
    pub tensor: Vec<String>,
    /// The part of each tensor to make, as in 0:100,:. It has the bits that the whole tensor has
    /// there [default: all].
    #[arg(long, allow_hyphen_values = true)]
    pub slice: Option<String>,
    /// The output: a .safetensors file, or null: to measure without writing. One tensor can also go
    /// to a .npy or .bin (raw little-endian) file, or with - to standard output.
    #[arg(long, value_name = "PATH")]
    pub out: String,
    /// Replace a file that exists with other contents.
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub backend: BackendArguments,
}

#[derive(Args)]
pub struct VerifyArguments {
    /// The weights: a .safetensors file, a model.safetensors.index.json with its shards beside
    /// it, or a folder that holds one of these or the files of all ranks. The file of one rank is
    /// compared with the parts that it holds.
    pub file: PathBuf,
    /// The recipe: a preset's name, as for `fanin init`, or a .toml file [default: the recipe that
    /// the file's metadata name, a preset or a .toml file here or beside the weights].
    #[arg(long)]
    pub recipe: Option<String>,
    /// The seed, decimal or 0x... [default: the recipe's seed, or without --recipe that of the file's
    /// metadata].
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// The list of the model's tensors, as for `fanin init`, if the file holds only some of them
    /// [default: the recipe's tensors, else the file itself].
    #[arg(long, value_name = "SOURCE")]
    pub tensors: Option<PathBuf>,
    /// Print JSON on standard output, even if the weights differ.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub backend: BackendArguments,
}

#[derive(Args)]
pub struct DiffArguments {
    /// The start of training: weights, as for B, or a recipe (a preset's name or a .toml file),
    /// whose weights are made in memory.
    #[arg(value_name = "A")]
    pub start: String,
    /// The trained weights: a .safetensors file, a model.safetensors.index.json with its shards
    /// beside it, or a folder that holds one of these or the files of all ranks.
    #[arg(value_name = "B")]
    pub trained: PathBuf,
    /// The seed, decimal or 0x... [default: the recipe's seed].
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// The list of the recipe's tensors, as for `fanin init` [default: the recipe's
    /// tensors, else B itself].
    #[arg(long, value_name = "SOURCE")]
    pub tensors: Option<PathBuf>,
    /// The dtype of the recipe's weights, as for `fanin init` [default: that of the rule, recipe or
    /// list, else that of B].
    #[arg(long, value_parser = floats)]
    pub dtype: Option<DType>,
    /// Print JSON. Numbers that are not finite are null.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub backend: BackendArguments,
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
    /// The devices to time. auto: the CPU and every adapter; gpu: only the adapters.
    #[arg(long, value_enum, default_value = "auto")]
    pub backend: BackendKind,
    /// The adapters to time: words of their name, backend or driver, as `fanin devices` shows
    /// them [default: all].
    #[arg(long, value_name = "TEXT")]
    pub adapter: Option<String>,
    /// The number of CPU threads. One thread is timed as well [default: the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    pub threads: Option<u16>,
    /// The approximate total time. With less than 5 seconds, buffers are smaller too.
    #[arg(long, value_name = "S", value_parser = seconds, default_value = "20")]
    pub seconds: f64,
}

#[derive(Args)]
pub struct StatsArguments {
    /// The weights: a .safetensors or .npy file, a model.safetensors.index.json with its shards
    /// beside it, or a folder that holds one of these or the files of all ranks.
    pub file: PathBuf,
    /// A preset's name, as for `fanin init`, or a .toml file. The recipe's expected statistics are
    /// shown, and statistics that differ by more than chance are flagged. No seed is needed
    /// [default: the recipe that the file's metadata name, if it is here].
    #[arg(long)]
    pub recipe: Option<String>,
    /// Print JSON. Numbers that are not finite are null.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct PlotArguments {
    /// The weights, as for `fanin stats`.
    pub file: PathBuf,
    /// The tensors to draw: a name, or a glob, as in "*.mlp.*" [default: all]. The std of all of
    /// them is drawn. At most three are drawn in detail: the first that are not constant and whose
    /// distributions, by the recipe, differ.
    #[arg(long, value_name = "GLOB")]
    pub tensor: Option<String>,
    /// A preset's name, as for `fanin init`, or a .toml file, whose distributions are drawn for
    /// comparison. No seed is needed [default: a normal and a uniform distribution with the mean
    /// and std of the weights].
    #[arg(long)]
    pub recipe: Option<String>,
    /// The output: a .svg or .png file [default: a small view in the terminal].
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Replace a file that exists with other contents.
    #[arg(long)]
    pub overwrite: bool,
}

#[derive(Args)]
pub struct SignalArguments {
    /// The activations to compare, separated by commas: linear, tanh, sigmoid, relu, gelu, selu.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "tanh,sigmoid,relu,gelu,selu"
    )]
    pub activation: Vec<Activation>,
    /// The initializers to compare, as for `fanin fill`. Separate them by commas, or repeat --init
    /// [default: zeros, normal(std=1), normal(std=0.01), xavier_normal, kaiming_normal,
    /// lecun_normal, orthogonal].
    #[arg(long, value_name = "SPEC")]
    pub init: Vec<String>,
    /// The number of layers, 2 to 1000.
    #[arg(long, value_name = "N", default_value = "50")]
    pub depth: usize,
    /// The number of neurons of each layer.
    #[arg(long, value_name = "N", default_value = "256")]
    pub width: usize,
    /// The number of inputs, at least 2.
    #[arg(long, value_name = "N", default_value = "128")]
    pub batch: usize,
    /// The seed of weights and inputs, decimal or 0x....
    #[arg(
        long,
        value_name = "N",
        value_parser = number,
        allow_negative_numbers = true,
        default_value = "42"
    )]
    pub seed: u64,
    /// Also draw the variances of every layer to a .svg or .png file.
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Replace a file that exists with other contents.
    #[arg(long)]
    pub overwrite: bool,
    /// Print JSON with every layer. Numbers that are not finite are null.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct RecipeArguments {
    #[arg(help = format!("The preset to print: {} [default: a list of them]", presets()))]
    pub name: Option<String>,
}

#[derive(Args)]
pub struct InitsArguments {
    /// Print docs/INITIALIZERS.md, with sources and advice.
    #[arg(long)]
    pub markdown: bool,
}

/// Returns the names of the presets, separated by commas.
fn presets() -> String {
    Recipe::presets().collect::<Vec<_>>().join(", ")
}

/// A list of dimensions. It is a newtype, because clap reads a `Vec` from a repeated argument.
#[derive(Clone)]
pub struct Dims(pub Vec<u64>);

/// A list of axes. It is a newtype for the same reason as [`Dims`].
#[derive(Clone)]
pub struct Axes(pub Vec<i64>);

/// Parses a 64-bit number, decimal or hexadecimal after 0x.
fn number(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        // `from_str_radix` accepts a sign.
        Some(hex) if !hex.starts_with('+') => u64::from_str_radix(hex, 16),
        _ => text.parse(),
    };
    number.map_err(|_| {
        "use a whole number from 0 to 18446744073709551615, decimal or 0x...".to_owned()
    })
}

/// Parses the dtype of a model's floats.
fn floats(text: &str) -> Result<DType, String> {
    const ACCEPTED: &str = "use f32, f16, bf16, f64, f8_e4m3 or f8_e5m2";
    match text.parse::<DType>() {
        Ok(dtype) if dtype.is_drawn() => Ok(dtype),
        Ok(dtype) => Err(format!(
            "{dtype} cannot hold drawn numbers: {ACCEPTED}; a rule can give one tensor another dtype"
        )),
        Err(_) => Err(format!("unknown dtype: {ACCEPTED}")),
    }
}

/// Parses a duration in seconds.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("use a number of seconds from 0.001 to 86400".to_owned()),
    }
}

/// Parses dimensions that are separated by commas.
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

/// Parses axes that are separated by commas.
fn axes(text: &str) -> Result<Axes, String> {
    if text.trim().is_empty() {
        return Ok(Axes(Vec::new()));
    }
    let axes = text.split(',').map(|axis| axis.trim().parse().ok());
    match axes.collect() {
        Some(axes) => Ok(Axes(axes)),
        None => Err("use whole numbers, separated by commas, as in 0,1 or -2".to_owned()),
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
