//! `fanin man` prints a manual page, or writes all of them.

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use fanin::checkpoint::Writer;

use crate::Failure;
use crate::args::{Arguments, ManArguments};
use crate::format::count;
use crate::output::{check_folder, print, status};

pub fn run(arguments: &ManArguments) -> Result<(), Failure> {
    let mut fanin = Arguments::command().disable_help_subcommand(true);
    // It gives the commands their usage, and names such as fanin-init.
    fanin.build();
    let Some(folder) = &arguments.out else {
        // The parser of the arguments accepts only names of commands.
        let name = arguments.command.as_deref();
        let command = name.map_or(Some(&fanin), |name| fanin.find_subcommand(name));
        let text = command.map(|command| text(&page(command))).transpose()?;
        return print(&text.unwrap_or_default());
    };
    let writer = Writer::default().with_overwrite(arguments.overwrite);
    let commands = std::iter::once(&fanin).chain(fanin.get_subcommands());
    let pages: Vec<Man> = commands.map(page).collect();
    for page in &pages {
        let path = folder.join(page.get_filename());
        check_folder(&path)?;
        writer.save_bytes(&path, text(page)?.as_bytes())?;
    }
    let pages = count(pages.len() as u128, "page");
    status(&format!("{pages}, to {}", folder.display()));
    Ok(())
}

/// Returns the page of a command.
fn page(command: &Command) -> Man {
    Man::new(command.clone())
        // An empty date is left out of the title line, and the source would stand in its place.
        .date(" ")
        .source(concat!("fanin ", env!("CARGO_PKG_VERSION")))
}

/// Returns a page in roff.
fn text(page: &Man) -> Result<String, Failure> {
    let mut text = Vec::new();
    page.render(&mut text)
        .map_err(|error| Failure::Run(format!("cannot write the manual: {error}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
