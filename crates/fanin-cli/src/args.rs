//! The command line's arguments. Scripts depend on their names.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use fanin::{DType, Layout};
use fanin_signal::Activation;

use crate::size::size;
use crate::suggest::{self, preset_names};
use crate::table::terminal_width;

/// The most threads that can be asked for. More than the machine has cores only cost memory.
const MAX_THREADS: i64 = 1024;

/// Makes initial weights of neural networks. The same seed gives the same bits on every device.
#[derive(Parser)]
#[command(
    name = "fanin",
    version,
    after_help = "`fanin COMMAND -h` lists the options of a command, `fanin COMMAND --help` explains them."
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// Print no status, warnings or progress.
    ///
    /// Errors and what is asked for are still printed.
    #[arg(long, short, global = true, display_order = LAST)]
    pub quiet: bool,
}

/// The place of `--quiet` in the lists of options: before `--help`, which has 999.
const LAST: usize = 998;

// The first paragraph is printed by -h, in one line. All of it is printed by --help.
#[derive(Subcommand)]
pub enum Command {
    /// Write the initial weights of a model.
    ///
    /// A recipe gives each tensor its initializer. The weights go to one file, or to a folder of
    /// shards.
    #[command(after_long_help = "\
Examples:
  fanin init gpt2 --tensors list.json --seed 42 --out gpt2.safetensors
  fanin init own.toml --tensors model/ --seed 42 --out start/
  mpirun -n 8 fanin init gpt2 --tensors list.json --seed 42 \\
    --out gpt2/ --distributed")]
    Init(InitArguments),
    /// Show the initializer that a recipe gives each tensor.
    ///
    /// Nothing is filled or written.
    #[command(after_long_help = "\
Examples:
  fanin plan llama --tensors model.safetensors.index.json
  fanin plan own.toml --tensors list.json --json")]
    Plan(PlanArguments),
    /// Write one tensor, or a slice of it.
    #[command(after_long_help = "\
Examples:
  fanin fill --init kaiming_normal --shape 512,784 --name fc.weight \\
    --seed 42 --out fc.npy
  fanin fill --init \"constant(1e-5)\" --shape 768 --name gamma \\
    --seed 0 --out gamma.safetensors

`fanin inits` lists the initializers.")]
    Fill(FillArguments),
    /// List the GPUs and other adapters, best first.
    Devices(DevicesArguments),
    /// Make some tensors of a model again, whole or sliced.
    ///
    /// Recipe, list and seed determine every weight, so weights of the start need not be stored.
    #[command(after_long_help = "\
Examples:
  fanin regenerate gpt2 --tensors list.json --seed 42 \\
    --tensor \"*.mlp.*\" --out part.safetensors
  fanin regenerate gpt2 --tensors list.json --seed 42 \\
    --tensor transformer.wte.weight --slice 0:100,: --out rows.npy")]
    Regenerate(RegenerateArguments),
    /// Check weights against their recipe and seed, bit for bit.
    ///
    /// The exit status is 0 if all bits are those that recipe and seed give, and 1 if some differ. A
    /// table then names the tensors that differ.
    #[command(after_long_help = "\
Examples:
  fanin verify gpt2.safetensors
  fanin verify gpt2/ --recipe gpt2 --seed 42")]
    Verify(VerifyArguments),
    /// Show how far training has moved the weights from their start.
    ///
    /// It prints a row for each tensor, and one for all together: the norm of the change, absolute and
    /// relative to the norm of the start, the cosine between start and trained weights, and the share
    /// of unchanged elements.
    #[command(after_long_help = "\
Examples:
  fanin diff gpt2 trained.safetensors --seed 42
  fanin diff step-0.safetensors step-1000.safetensors")]
    Diff(DiffArguments),
    /// Show statistics of the tensors in a file, with a row for each.
    ///
    /// With a recipe, the expected statistics stand beside them, and those that differ by more than
    /// chance are flagged.
    #[command(after_long_help = "\
Examples:
  fanin stats model.safetensors
  fanin stats model/ --recipe llama")]
    Stats(StatsArguments),
    /// Draw the distribution of weights in the terminal or as a picture.
    ///
    /// It draws histograms and quantiles of some tensors, and the std of each tensor. With a recipe,
    /// the expected distributions are drawn, too.
    #[command(after_long_help = "\
Examples:
  fanin plot model.safetensors
  fanin plot model.safetensors --recipe gpt2 --out model.png
  fanin plot model.safetensors --tensor \"*.mlp.*\" --out mlp.svg")]
    Plot(PlotArguments),
    /// List the preset recipes, or print one.
    #[command(after_long_help = "\
Examples:
  fanin recipe
  fanin recipe gpt2 > own.toml")]
    Recipe(RecipeArguments),
    /// Time the devices of this machine, and compare their bits.
    Bench(BenchArguments),
    /// List the initializers, with their keys and defaults.
    Inits(InitsArguments),
    /// Show how initializers change the signal of a deep network.
    ///
    /// Inputs go through the layers before any training, and gradients go back. The table says how the
    /// variance grows or shrinks.
    #[command(after_long_help = "\
Examples:
  fanin signal
  fanin signal --activation relu --out signal.svg \\
    --init \"kaiming_normal,normal(std=0.02)\"")]
    Signal(SignalArguments),
    /// Print a script that completes commands in a shell.
    ///
    /// In bash and zsh it completes commands, options, presets, initializers, dtypes and files. In fish it
    /// completes all but the presets, and in PowerShell and elvish commands and options.
    #[command(after_long_help = "\
Examples:
  fanin completions bash > /etc/bash_completion.d/fanin
  fanin completions zsh > ~/.zfunc/_fanin     # a folder of $fpath
  fanin completions fish > ~/.config/fish/completions/fanin.fish
  fanin completions powershell >> $PROFILE
  fanin completions elvish > ~/.config/elvish/lib/fanin.elv")]
    Completions(CompletionsArguments),
    /// Print a manual page, or write all of them to a folder.
    #[command(after_long_help = "\
Examples:
  fanin man init > fanin-init.1
  fanin man --out ~/.local/share/man/man1")]
    Man(ManArguments),
}

impl Command {
    /// Returns true if it computes on all cores. The others print what is at hand, and a shell may run them
    /// whenever it starts.
    pub fn uses_threads(&self) -> bool {
        !matches!(
            self,
            Command::Plan(_)
                | Command::Devices(_)
                | Command::Recipe(_)
                | Command::Inits(_)
                | Command::Completions(_)
                | Command::Man(_)
        )
    }

    /// Returns the requested number of threads.
    pub fn threads(&self) -> Option<u16> {
        let backend = match self {
            Command::Init(arguments) => &arguments.backend,
            Command::Fill(arguments) => &arguments.backend,
            Command::Regenerate(arguments) => &arguments.backend,
            Command::Verify(arguments) => &arguments.backend,
            Command::Diff(arguments) => &arguments.backend,
            Command::Bench(arguments) => return arguments.threads,
            _ => return None,
        };
        backend.threads
    }
}

/// The model of init, plan and regenerate.
#[derive(Args)]
pub struct ModelArguments {
    #[arg(
        help = "A preset (`fanin recipe` lists them) or a .toml file",
        long_help = format!("A preset ({}) or a .toml file with rules.", preset_names().join(", ")),
        value_parser = suggest::presets(),
        hide_possible_values = true
    )]
    pub recipe: String,
    /// The model's tensors: a list, file or folder.
    ///
    /// A .safetensors file (only its header is read), a model.safetensors.index.json, a folder that
    /// holds one of these or the files of all ranks, or a JSON list {"tensors": [{"name", "shape",
    /// "dtype"?}]} [default: the recipe's tensors].
    #[arg(long, value_name = "SOURCE")]
    pub tensors: Option<PathBuf>,
    /// The seed [default: the recipe's].
    ///
    /// A number of 64 bits, decimal or hexadecimal as in 0x2a.
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// The dtype of all tensors of floats.
    ///
    /// f32, f16, bf16, f64, f8_e4m3 or f8_e5m2. Tensors of whole numbers, by the list or their rule, and
    /// tensors that are kept have their own [default: that of the rule, recipe or list, else f32].
    #[arg(long, value_parser = suggest::dtypes(floats), hide_possible_values = true)]
    pub dtype: Option<DType>,
    /// Fail if a rule applies to no tensor.
    ///
    /// Without it, this is a warning. Rules of presets do not count.
    #[arg(long)]
    pub strict: bool,
}

/// The format of a table.
#[derive(Args)]
pub struct TableArguments {
    /// Print all columns in full, whatever the width.
    ///
    /// Without it, a table is made to fit the terminal: long texts are cut, and the least important
    /// columns are left out. A file or a pipe always gets all.
    #[arg(long)]
    wide: bool,
}

impl TableArguments {
    /// Returns the width that a table must fit, if there is one.
    pub fn width(&self) -> Option<usize> {
        if self.wide { None } else { terminal_width() }
    }
}

#[derive(Args)]
#[command(next_help_heading = "Backend")]
pub struct BackendArguments {
    /// The backend: auto, gpu or cpu.
    ///
    /// Every backend makes the same bits. auto takes a GPU if there is one, else the CPU.
    #[arg(long, value_enum, default_value = "auto", hide_possible_values = true)]
    pub backend: BackendKind,
    /// The GPU: words of its name, backend or driver.
    ///
    /// `fanin devices` shows them.
    #[arg(long, value_name = "TEXT")]
    pub adapter: Option<String>,
    /// The threads of the CPU backend [default: cores].
    ///
    /// Their number changes no bit.
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
    /// A .safetensors file, a folder, or null:.
    ///
    /// A path without an extension, or with / at its end, is a folder of shards with the names of
    /// Hugging Face. null: measures without writing.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub out: String,
    /// The maximum size of a shard [default: 5GB].
    ///
    /// A number of bytes, as in 5GB or 500MiB. A larger tensor gets a shard of its own.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_shard_size: Option<u64>,
    /// Write a file for each rank, by a .toml file.
    ///
    /// Each file holds the rank's part of each tensor, for a distributed training. The .toml file gives
    /// the mesh, and placements by tensor names (see the library's type ShardSpec).
    #[arg(long, value_name = "FILE")]
    pub shard_spec: Option<PathBuf>,
    /// The memory for buffers.
    ///
    /// It does not depend on the size of the model.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "256MiB")]
    pub memory: u64,
    /// Continue a run that was interrupted.
    ///
    /// The weights that are correct to the bit stay, and the rest is written. If the run fails, its
    /// incomplete files stay for the next run.
    #[arg(long)]
    pub resume: bool,
    /// Replace files that have other contents.
    ///
    /// In a folder, files of another model, such as shards of another size or those of another number of
    /// ranks, are removed once the new model is complete, if fanin wrote them.
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub distributed: DistributedArguments,
    #[command(flatten)]
    pub backend: BackendArguments,
}

#[derive(Args)]
#[command(next_help_heading = "Several processes")]
pub struct DistributedArguments {
    /// Share the files among all processes.
    ///
    /// mpirun, torchrun or srun set the rank and the number of processes. No process waits for another.
    #[arg(long)]
    pub distributed: bool,
    /// The rank of this process, from 0.
    ///
    /// It is needed if no launcher sets it.
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
    /// The maximum size of a shard.
    ///
    /// A number of bytes, as for `fanin init`. It determines the column file.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "5GB")]
    pub max_shard_size: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub table: TableArguments,
}

#[derive(Args)]
pub struct FillArguments {
    /// The initializer, as in "normal(std=0.02)".
    ///
    /// A name, and values for some of its keys, as in "kaiming_normal(mode=fan_out)". `fanin inits`
    /// lists names, keys and defaults.
    #[arg(long, value_name = "SPEC", value_parser = suggest::inits(), hide_possible_values = true)]
    pub init: String,
    /// The shape of the whole tensor, as in 512,784.
    ///
    /// The empty text is the shape of a scalar.
    #[arg(long, value_name = "DIMS", value_parser = shape, allow_hyphen_values = true)]
    pub shape: Dims,
    /// The tensor's name, which determines the stream.
    #[arg(long, required_unless_present = "stream")]
    pub name: Option<String>,
    /// The stream id, in place of a name.
    ///
    /// A number of 64 bits, decimal or hexadecimal as in 0x2a.
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub stream: Option<u64>,
    /// The seed.
    ///
    /// A number of 64 bits, decimal or hexadecimal as in 0x2a.
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: u64,
    /// A .npy, .safetensors or .bin file, -, or null:.
    ///
    /// A .bin file has raw little-endian numbers. - writes them to standard output. null: measures
    /// without writing.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub out: String,
    /// Replace a file that has other contents.
    #[arg(long)]
    pub overwrite: bool,
    /// The dtype.
    ///
    /// f32, f16, bf16, f64, f8_e4m3 or f8_e5m2. An initializer that gives whole numbers only, such as
    /// zeros, also takes bool, u8 to u64 and i8 to i64.
    #[arg(long, default_value_t, value_parser = suggest::dtypes(suggest::read), hide_possible_values = true)]
    pub dtype: DType,
    /// out_in (torch) or in_out (Keras).
    ///
    /// The order of output and input axes: out_in as in torch, or in_out as in Keras, JAX and numpy. It
    /// determines the fans.
    #[arg(long, default_value_t)]
    pub layout: Layout,
    /// The groups of a grouped convolution.
    ///
    /// They divide the outputs of the fans.
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true, default_value = "1")]
    pub groups: u64,
    /// The axes of the inputs, for the fans.
    ///
    /// A number, or several as in 0,1. Negative ones count from the end [default with one of the axes:
    /// -2].
    #[arg(long, value_name = "AXES", value_parser = axes, allow_hyphen_values = true, conflicts_with = "layout")]
    pub in_axis: Option<Axes>,
    /// The axes of the outputs, for the fans.
    ///
    /// As --in-axis [default with one of the axes: -1].
    #[arg(long, value_name = "AXES", value_parser = axes, allow_hyphen_values = true, conflicts_with = "layout")]
    pub out_axis: Option<Axes>,
    /// The axes of independent weights.
    ///
    /// They belong to no fan. Experts are an example.
    #[arg(long, value_name = "AXES", value_parser = axes, allow_hyphen_values = true, conflicts_with = "layout")]
    pub batch_axis: Option<Axes>,
    /// The part to fill, as in 0:100,:.
    ///
    /// It has the bits that the whole tensor has there [default: all].
    #[arg(long, allow_hyphen_values = true)]
    pub slice: Option<String>,
    #[command(flatten)]
    pub backend: BackendArguments,
}

#[derive(Args)]
pub struct RegenerateArguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// A tensor to make: a name or a glob.
    ///
    /// A glob is a text such as "*.mlp.*" or "h.[0-3].*". The option can be repeated.
    #[arg(long, value_name = "NAME", required = true)]
    pub tensor: Vec<String>,
    /// The part to make, as in 0:100,:.
    ///
    /// It has the bits that the whole tensor has there. It applies to each tensor [default: all].
    #[arg(long, allow_hyphen_values = true)]
    pub slice: Option<String>,
    /// A .safetensors, .npy or .bin file, -, or null:.
    ///
    /// Several tensors need a .safetensors file. A .bin file has raw little-endian numbers. - writes
    /// them to standard output. null: measures without writing.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub out: String,
    /// Replace a file that has other contents.
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub backend: BackendArguments,
}

#[derive(Args)]
pub struct VerifyArguments {
    /// The weights: a file, an index or a folder.
    ///
    /// A .safetensors file, a model.safetensors.index.json with its shards beside it, or a folder that
    /// holds one of these or the files of all ranks. The file of one rank is compared with the parts
    /// that it holds.
    pub file: PathBuf,
    /// A preset or a .toml file [default: the file's].
    ///
    /// Without it, the file's metadata name the recipe: a preset, or a .toml file here or beside the
    /// weights.
    #[arg(long, value_parser = suggest::presets(), hide_possible_values = true)]
    pub recipe: Option<String>,
    /// The seed [default: that of recipe or file].
    ///
    /// A number of 64 bits, decimal or hexadecimal as in 0x2a [default: the recipe's seed, or without
    /// --recipe that of the file's metadata].
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// The model's tensors, if the file lacks some.
    ///
    /// A list, a file or a folder, as for `fanin init` [default: the recipe's tensors, else the file
    /// itself].
    #[arg(long, value_name = "SOURCE")]
    pub tensors: Option<PathBuf>,
    /// Print JSON, even if the weights differ.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub table: TableArguments,
    #[command(flatten)]
    pub backend: BackendArguments,
}

#[derive(Args)]
pub struct DiffArguments {
    /// The start: weights, a preset or a .toml file; alone, it is B.
    ///
    /// The weights of a recipe are made in memory. The start of B alone is the recipe that its metadata
    /// name.
    // An optional position before a required one could not be apart from it, as in `A --seed 1 B`.
    #[arg(value_name = "A", value_parser = suggest::presets(), hide_possible_values = true)]
    first: String,
    /// The trained weights: a file, an index or a folder.
    ///
    /// A .safetensors file, a model.safetensors.index.json with its shards beside it, or a folder that
    /// holds one of these or the files of all ranks.
    #[arg(value_name = "B")]
    second: Option<PathBuf>,
    /// The seed of a recipe [default: the recipe's].
    ///
    /// A number of 64 bits, decimal or hexadecimal as in 0x2a [default: the recipe's seed, or without A
    /// that of B's metadata].
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// The tensors of a recipe: a list, file or folder.
    ///
    /// As for `fanin init` [default: the recipe's tensors, else B itself].
    #[arg(long, value_name = "SOURCE")]
    pub tensors: Option<PathBuf>,
    /// The dtype of a recipe's weights.
    ///
    /// As for `fanin init` [default: that of the rule, recipe or list, else that of B].
    #[arg(long, value_parser = suggest::dtypes(floats), hide_possible_values = true)]
    pub dtype: Option<DType>,
    /// Print JSON.
    ///
    /// Numbers that are not finite are null.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub table: TableArguments,
    #[command(flatten)]
    pub backend: BackendArguments,
}

impl DiffArguments {
    /// Returns the start of training, if it is given.
    pub fn start(&self) -> Option<&str> {
        self.second.is_some().then_some(&self.first)
    }

    /// Returns the trained weights.
    pub fn trained(&self) -> &Path {
        self.second.as_deref().unwrap_or(Path::new(&self.first))
    }
}

#[derive(Args)]
pub struct DevicesArguments {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub table: TableArguments,
}

#[derive(Args)]
pub struct BenchArguments {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The devices: auto, gpu or cpu.
    ///
    /// auto times the CPU and every adapter, gpu only the adapters.
    #[arg(long, value_enum, default_value = "auto", hide_possible_values = true)]
    pub backend: BackendKind,
    /// The adapters to time [default: all].
    ///
    /// Words of their name, backend or driver, as `fanin devices` shows them.
    #[arg(long, value_name = "TEXT")]
    pub adapter: Option<String>,
    /// The number of CPU threads [default: cores].
    ///
    /// One thread is timed as well.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    pub threads: Option<u16>,
    /// The approximate total time.
    ///
    /// With less than 5 seconds, buffers are smaller too.
    #[arg(long, value_name = "S", value_parser = seconds, default_value = "20")]
    pub seconds: f64,
    #[command(flatten)]
    pub table: TableArguments,
}

#[derive(Args)]
pub struct StatsArguments {
    /// The weights: a file, an index or a folder.
    ///
    /// A .safetensors or .npy file, a model.safetensors.index.json with its shards beside it, or a
    /// folder that holds one of these or the files of all ranks.
    pub file: PathBuf,
    /// A preset or a .toml file to compare with.
    ///
    /// No seed is needed [default: the recipe that the file's metadata name, if it is here].
    #[arg(long, value_parser = suggest::presets(), hide_possible_values = true)]
    pub recipe: Option<String>,
    /// Print JSON.
    ///
    /// Numbers that are not finite are null.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub table: TableArguments,
}

#[derive(Args)]
pub struct PlotArguments {
    /// The weights: a file, an index or a folder.
    ///
    /// A .safetensors or .npy file, a model.safetensors.index.json with its shards beside it, or a
    /// folder that holds one of these or the files of all ranks.
    pub file: PathBuf,
    /// The tensors: a name or a glob [default: all].
    ///
    /// A glob is a text such as "*.mlp.*". The std of all of them is drawn. At most three are drawn in
    /// detail: the first that are not constant and whose distributions, by the recipe, differ.
    #[arg(long, value_name = "GLOB")]
    pub tensor: Option<String>,
    /// A preset or a .toml file to compare with.
    ///
    /// Its distributions are drawn. No seed is needed [default: the recipe that the file's metadata
    /// name, if it is here, else a normal and a uniform distribution with the mean and std of the
    /// weights].
    #[arg(long, value_parser = suggest::presets(), hide_possible_values = true)]
    pub recipe: Option<String>,
    /// A .svg or .png file [default: the terminal].
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Replace a file that has other contents.
    #[arg(long)]
    pub overwrite: bool,
}

#[derive(Args)]
pub struct SignalArguments {
    /// The activations to compare [default: all but linear].
    ///
    /// linear, tanh, sigmoid, relu, gelu or selu, separated by commas.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = suggest::activations(),
        hide_possible_values = true,
        default_value = "tanh,sigmoid,relu,gelu,selu",
        hide_default_value = true
    )]
    pub activation: Vec<Activation>,
    /// The initializers to compare [default: seven].
    ///
    /// As for `fanin fill`. Separate them by commas, or repeat --init [default: zeros, normal(std=1),
    /// normal(std=0.01), xavier_normal, kaiming_normal, lecun_normal, orthogonal].
    #[arg(long, value_name = "SPEC", value_parser = suggest::inits(), hide_possible_values = true)]
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
    /// The seed of weights and inputs.
    ///
    /// A number of 64 bits, decimal or hexadecimal as in 0x2a.
    #[arg(
        long,
        value_name = "N",
        value_parser = number,
        allow_negative_numbers = true,
        default_value = "42"
    )]
    pub seed: u64,
    /// Also draw every layer to a .svg or .png file.
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Replace a file that has other contents.
    #[arg(long)]
    pub overwrite: bool,
    /// Print JSON with every layer.
    ///
    /// Numbers that are not finite are null.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub table: TableArguments,
}

#[derive(Args)]
pub struct RecipeArguments {
    #[arg(
        help = "The preset to print [default: a list of them]",
        long_help = format!("The preset to print: {} [default: a list of them].", preset_names().join(", ")),
        value_parser = suggest::presets(),
        hide_possible_values = true
    )]
    pub name: Option<String>,
}

#[derive(Args)]
pub struct InitsArguments {
    /// Print docs/INITIALIZERS.md, with sources and advice.
    #[arg(long)]
    pub markdown: bool,
    #[command(flatten)]
    pub table: TableArguments,
}

#[derive(Args)]
pub struct CompletionsArguments {
    /// The shell.
    pub shell: Shell,
}

#[derive(Args)]
pub struct ManArguments {
    /// The command to describe [default: fanin itself].
    #[arg(value_parser = suggest::commands(), hide_possible_values = true)]
    pub command: Option<String>,
    /// Write all pages to this folder.
    ///
    /// They are fanin.1, fanin-init.1 and so on.
    #[arg(long, value_name = "FOLDER", conflicts_with = "command", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Replace files that have other contents.
    #[arg(long, requires = "out")]
    pub overwrite: bool,
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
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    /// Returns the commands, each for a terminal of 80 columns.
    fn commands() -> Vec<clap::Command> {
        let mut fanin = Arguments::command().term_width(80);
        fanin.build();
        let commands = fanin.get_subcommands().cloned().collect::<Vec<_>>();
        let commands = commands
            .into_iter()
            .filter(|command| command.get_name() != "help");
        commands.chain([fanin]).collect()
    }

    #[test]
    fn help_fits_a_terminal() {
        for mut command in commands() {
            let (short, long) = (command.render_help(), command.render_long_help());
            for line in short.to_string().lines().chain(long.to_string().lines()) {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
        }
    }

    /// A manual page has margins of 9 columns.
    #[test]
    fn examples_fit_a_manual_page() {
        let help = commands().into_iter().filter_map(|command| {
            let help = command.get_after_long_help();
            help.map(ToString::to_string)
        });
        let help: Vec<String> = help.collect();
        assert!(help.len() > 10, "{help:?}");
        for line in help.iter().flat_map(|help| help.lines()) {
            assert!(line.chars().count() <= 71, "{line}");
        }
    }

    #[test]
    fn short_help_has_a_line_for_each_argument() {
        for mut command in commands() {
            let help = command.render_help().to_string();
            let arguments = command
                .get_arguments()
                .filter(|a| !a.is_hide_short_help_set());
            let entries = arguments.count() + command.get_subcommands().count();
            let lines = help.lines().filter(|line| line.starts_with("  "));
            assert_eq!(lines.count(), entries, "{help}");
        }
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
