//! The arguments: names that scripts depend on.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fanin::{DType, Layout};

/// Initial weights of neural networks: the same seed gives the same bits on every device.
#[derive(Parser)]
#[command(name = "fanin", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Initialize all tensors of a model and write them to one file.
    Init(InitArguments),
    /// Show what a recipe makes of a model's tensors, a row each; nothing is filled.
    Plan(PlanArguments),
    /// Initialize one tensor, or a slice of it.
    Fill(FillArguments),
    /// List the adapters that fanin can fill on, best first.
    Devices(DevicesArguments),
    /// Show statistics of the tensors in a file, a row each.
    Stats(StatsArguments),
    /// Print a preset recipe, to read or to start an own one from.
    Recipe(RecipeArguments),
    /// Time fills on this machine's CPU and adapters, and check that they make the same bits.
    Bench(BenchArguments),
    /// List the initializers, with their keys and defaults.
    Inits(InitsArguments),
}

#[derive(Args)]
pub struct InitsArguments {
    /// As docs/INITIALIZERS.md has it, with sources and advice.
    #[arg(long)]
    pub markdown: bool,
}

#[derive(Args)]
pub struct InitArguments {
    /// A preset's name (bert, convnext, gpt2, kaiming, lecun, llama, llama_torchtitan, mixtral,
    /// mobilenet_v3, resnet, t5, torch, vit, whisper, xavier) or a .toml file.
    pub recipe: String,
    /// Where the tensors are listed: a .safetensors file (only its header is read), a
    /// model.safetensors.index.json, or a JSON list {"tensors": [{"name", "shape", "dtype"?}]}.
    #[arg(long, value_name = "SOURCE")]
    pub tensors: PathBuf,
    /// The seed, decimal or 0x...; needed unless the recipe gives one.
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Where the weights go: a .safetensors file, or null: to measure without writing.
    #[arg(long, value_name = "PATH")]
    pub out: String,
    /// The dtype of all tensors: f32, f16 or bf16 [default: what recipe or list say, else f32].
    #[arg(long)]
    pub dtype: Option<DType>,
    #[command(flatten)]
    pub backend: BackendArguments,
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
    /// A .safetensors or .npy file.
    pub file: PathBuf,
    /// Print JSON; what is not a finite number is null.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct RecipeArguments {
    /// bert, convnext, gpt2, kaiming, lecun, llama, llama_torchtitan, mixtral, mobilenet_v3,
    /// resnet, t5, torch, vit, whisper or xavier.
    pub name: String,
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
