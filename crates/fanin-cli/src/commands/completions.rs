//! `fanin completions` prints a script that completes the command line in a shell.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Failure;
use crate::args::{Arguments, CompletionsArguments};
use crate::output::print;
use crate::suggest::preset_names;

pub fn run(arguments: &CompletionsArguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Arguments::command(),
        "fanin",
        &mut script,
    );
    let script = String::from_utf8_lossy(&script);
    print(&with_recipe_files(&script, arguments.shell))
}

/// Completes files beside the presets, because a recipe can be a .toml file. clap completes files or
/// values, not both. The script of bash has both, and those of PowerShell and elvish have no values.
fn with_recipe_files(script: &str, shell: Shell) -> String {
    let presets = preset_names().join(" ");
    match shell {
        Shell::Zsh => script.replace(
            &format!(":({presets})'"),
            &format!(":{{compadd {presets}; _files}}'"),
        ),
        Shell::Fish => {
            let first = presets.split(' ').next().unwrap_or_default();
            script.replace(
                &format!("-r -f -a \"{first}"),
                &format!("-r -F -a \"{first}"),
            )
        }
        _ => script.to_owned(),
    }
}
