//! The view in the terminal: a histogram of block characters, and a bar for each tensor's std.

use fanin::checkpoint::Examined;
use fanin::text::excerpt;
use unicode_width::UnicodeWidthStr;

use super::page::laws;
use super::{Detail, range};
use crate::format::number_text;
use crate::table::{cut_middle, terminal_width};

/// Block characters by the number of eighths that they fill, from below and from the left.
const VERTICAL: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const HORIZONTAL: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// The number of tensors that are drawn in detail: a screen has room for one histogram.
pub const DETAILED: usize = 1;

/// The number of lines of a histogram.
const HEIGHT: usize = 8;
/// The minimum and maximum width of the view.
const WIDTHS: (usize, usize) = (40, 120);

/// Returns the view, as wide as the terminal.
pub fn view(rows: &[Examined], details: &[Detail]) -> String {
    let width = terminal_width().unwrap_or(80).clamp(WIDTHS.0, WIDTHS.1);
    let mut text = String::new();
    for detail in &details[..details.len().min(DETAILED)] {
        text += &histogram(detail, width);
    }
    if rows.len() > 1 {
        text += &spread(rows, width);
    }
    text
}

/// Returns a tensor's histogram and statistics.
fn histogram(detail: &Detail, width: usize) -> String {
    let Some(range) = range(detail.row) else {
        return String::new();
    };
    let bars = detail.histogram.bars(width);
    let bars = &bars[..bars.len().min(width)];
    let highest = bars.iter().map(|bar| bar.2).fold(0.0, f64::max);
    let mut text = excerpt(&detail.row.stats.name) + "\n";
    for line in (0..HEIGHT).rev() {
        let cells = bars.iter().map(|bar| {
            let eighths = (bar.2 / highest * (8 * HEIGHT) as f64).round() as usize;
            VERTICAL[eighths.saturating_sub(8 * line).min(8)]
        });
        let cells: String = cells.collect();
        text += cells.trim_end();
        text.push('\n');
    }
    let (low, high) = (number_text(range.start), number_text(range.end));
    let gap = width.saturating_sub(low.len() + high.len());
    text += &format!("{low}{}{high}\n", " ".repeat(gap));
    let stats = &detail.row.stats;
    let number = |x: Option<f64>| number_text(x.unwrap_or(f64::NAN));
    text += &format!(
        "mean {}, std {}, kurtosis {}\n",
        number(stats.mean),
        number(stats.std),
        number(stats.kurtosis)
    );
    if detail.drawn_from.is_some() {
        for (name, law) in laws(detail) {
            let (mean, std) = (number_text(law.mean()), number_text(law.std()));
            text += &format!("{}: mean {mean}, std {std}\n", excerpt(&name));
        }
    }
    for flag in &detail.row.flags {
        text += &format!("flag: {}\n", flag.text);
    }
    text
}

/// Returns a bar for each tensor, whose length is proportional to the std.
fn spread(rows: &[Examined], width: usize) -> String {
    let rows: Vec<(&Examined, f64)> = rows
        .iter()
        .filter_map(|row| Some((row, row.stats.std.filter(|std| std.is_finite())?)))
        .collect();
    let most = rows.iter().map(|(_, std)| *std).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let name_width = rows
        .iter()
        .map(|(row, _)| excerpt(&row.stats.name).width())
        .max();
    let name_width = name_width.unwrap_or(0).min(width / 2);
    let room = width.saturating_sub(name_width + 14).max(8);
    let mut text = "\nstd of each tensor\n".to_owned();
    for (row, std) in rows {
        let name = cut_middle(&excerpt(&row.stats.name), name_width);
        let pad = " ".repeat(name_width - name.width().min(name_width));
        let eighths = (std / most * (8 * room) as f64).round() as usize;
        let bar = "█".repeat(eighths / 8) + &HORIZONTAL[eighths % 8].to_string();
        let flag = if row.flags.is_empty() { "" } else { " !" };
        text += &format!(
            "{name}{pad}  {:>11} {}{flag}\n",
            number_text(std),
            bar.trim_end()
        );
    }
    text
}
