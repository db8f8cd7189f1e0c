//! The `fanin` command: see `fanin --help`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
