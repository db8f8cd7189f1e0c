//! Parsers whose values shells can complete.

use std::ffi::OsStr;
use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::Error;
use clap::{Arg, Command, CommandFactory};
use fanin::init::CATALOGUE;
use fanin::{DType, Recipe};
use fanin_signal::Activation;

use crate::args::Arguments;

/// A parser of values, and the names that completions offer for them.
#[derive(Clone)]
pub struct Suggesting<T> {
    parse: fn(&str) -> Result<T, String>,
    names: fn() -> Vec<String>,
}

/// Returns a parser of recipes, which completes the presets.
pub fn presets() -> Suggesting<String> {
    Suggesting {
        parse: any,
        names: preset_names,
    }
}

/// Returns a parser of initializers, which completes their names.
pub fn inits() -> Suggesting<String> {
    Suggesting {
        parse: any,
        names: || {
            let names = CATALOGUE.iter().map(|entry| entry.name.to_owned());
            names.collect()
        },
    }
}

/// Returns a parser of dtypes, which completes those of floats.
pub fn dtypes(parse: fn(&str) -> Result<DType, String>) -> Suggesting<DType> {
    Suggesting {
        parse,
        names: || {
            let floats = DType::ALL.iter().filter(|dtype| dtype.is_drawn());
            floats.map(|dtype| dtype.to_string()).collect()
        },
    }
}

/// Returns a parser of activations, which completes their names.
pub fn activations() -> Suggesting<Activation> {
    Suggesting {
        parse: read,
        names: || {
            let names = Activation::ALL.iter().map(|activation| activation.name());
            names.map(str::to_owned).collect()
        },
    }
}

/// Returns a parser of the names of commands.
pub fn commands() -> Suggesting<String> {
    Suggesting {
        parse: |text| match command_names().iter().any(|name| name == text) {
            true => any(text),
            false => Err(format!("use one of {}", command_names().join(", "))),
        },
        names: command_names,
    }
}

fn command_names() -> Vec<String> {
    let fanin = Arguments::command();
    let names = fanin.get_subcommands().map(Command::get_name);
    names.map(str::to_owned).collect()
}

/// Returns the names of the presets.
pub fn preset_names() -> Vec<String> {
    Recipe::presets().map(str::to_owned).collect()
}

/// Reads a text by its type's own rules.
pub fn read<T: FromStr<Err = fanin::Error>>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|error: fanin::Error| error.to_string())
}

fn any(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Suggesting<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, Error> {
        self.parse.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.names)().into_iter().map(PossibleValue::new)))
    }
}
