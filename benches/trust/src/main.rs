//! Statistical tests of the stream: words for batteries such as TestU01, and counts of many draws.
//! `benches/trust/README.md` has the commands.

mod counts;
mod layouts;
mod normal;
mod pack;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

type Failure = Box<dyn std::error::Error>;

const USAGE: &str =
    "usage: fanin-trust layouts | words LAYOUT SEED | counts DISTRIBUTION LOG2_DRAWS SEED";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["layouts"] => {
            for layout in layouts::LAYOUTS {
                println!("{:<18}  {}", layout.name, layout.about);
            }
            Ok(())
        }
        ["words", layout, seed] => write_words(layout, seed),
        ["counts", distribution, log2, seed] => count(distribution, log2, seed),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanin-trust: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the words of a layout to standard output, little-endian, until its reader has enough.
fn write_words(name: &str, seed: &str) -> Result<(), Failure> {
    let layout = layouts::LAYOUTS
        .iter()
        .find(|layout| layout.name == name)
        .ok_or_else(|| format!("layout {name:?}: `fanin-trust layouts` lists those there are"))?;
    let mut next = (layout.words)(seed.parse()?);
    let mut out = std::io::stdout().lock();
    let (mut words, mut bytes) = (Vec::new(), Vec::new());
    loop {
        words.clear();
        next(&mut words)?;
        bytes.clear();
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        match out.write_all(&bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
}

fn count(distribution: &str, log2: &str, seed: &str) -> Result<(), Failure> {
    let log2: u32 = log2.parse()?;
    if !(20..=40).contains(&log2) {
        return Err(format!("2^{log2} draws: use an exponent from 20 to 40").into());
    }
    let lines = match distribution {
        "normal" => counts::normal_tails(1 << log2, seed.parse()?)?,
        "truncated" => counts::truncated_tails(1 << log2, seed.parse()?)?,
        "uniform" => counts::uniform_bits(1 << log2, seed.parse()?)?,
        _ => return Err(format!("{distribution:?}: use normal, truncated or uniform").into()),
    };
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}
