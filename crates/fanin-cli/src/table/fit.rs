//! The columns of a table that fit a width.

use super::{Column, GAP, Kind};

/// The least width of a text that is cut.
const LEAST: usize = 18;

/// The columns of a table that are shown, and their widths.
#[derive(Debug, PartialEq, Eq)]
pub struct Fit {
    /// The number and the width of each column that is shown.
    pub shown: Vec<(usize, usize)>,
    /// True if a text is cut.
    pub is_cut: bool,
}

/// Fits columns into a width, if there is one. `natural` has the width that each column needs.
///
/// First, texts are cut down to a least width. Then the columns of the highest rank are left out. The
/// columns that remain share what is left, from left to right.
pub fn fit(columns: &[Column], natural: &[usize], width: Option<usize>) -> Fit {
    let all = natural.iter().copied().enumerate();
    let Some(width) = width.filter(|width| total(all.clone()) > *width) else {
        return Fit {
            shown: all.collect(),
            is_cut: false,
        };
    };
    let least = |i: usize| match columns[i].kind {
        Kind::Whole => natural[i],
        // The first column says what a row is about.
        _ if i == 0 => natural[i].min(width * 3 / 8),
        _ => natural[i].min(LEAST.max(columns[i].heading.len())),
    };
    let mut shown: Vec<(usize, usize)> = (0..columns.len()).map(|i| (i, least(i))).collect();
    while total(shown.iter().copied()) > width {
        let last = shown.iter().enumerate().rev();
        let last = last.filter(|(_, (i, _))| columns[*i].rank > 0);
        match last.max_by_key(|(_, (i, _))| columns[*i].rank) {
            Some((at, _)) => shown.remove(at),
            None => break,
        };
    }
    let mut spare = width.saturating_sub(total(shown.iter().copied()));
    for (i, width) in &mut shown {
        let more = (natural[*i] - *width).min(spare);
        *width += more;
        spare -= more;
    }
    let is_cut = shown
        .iter()
        .any(|(i, width)| *width < natural[*i] && columns[*i].kind != Kind::Folded);
    Fit { shown, is_cut }
}

/// Returns the width of all columns with the gaps between them.
fn total(columns: impl Iterator<Item = (usize, usize)>) -> usize {
    let widths = columns.map(|(_, width)| width + GAP.len());
    widths.sum::<usize>().saturating_sub(GAP.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::left("name").name(),
        Column::right("n").rank(2),
        Column::left("init").text().rank(1),
        Column::right("bytes").rank(3),
    ];

    fn shown(width: usize) -> Vec<(usize, usize)> {
        fit(&COLUMNS, &[40, 6, 30, 9], Some(width)).shown
    }

    #[test]
    fn without_a_width_all_columns_are_shown_in_full() {
        let all = fit(&COLUMNS, &[40, 6, 30, 9], None);
        assert_eq!(all.shown, [(0, 40), (1, 6), (2, 30), (3, 9)]);
        assert!(!all.is_cut);
        assert_eq!(fit(&COLUMNS, &[40, 6, 30, 9], Some(91)), all);
    }

    #[test]
    fn texts_are_cut_before_columns_are_left_out() {
        // 3/8 of 80 is 30, and the gaps take 6.
        assert_eq!(shown(80), [(0, 40), (1, 6), (2, 19), (3, 9)]);
        assert_eq!(shown(70), [(0, 31), (1, 6), (2, 18), (3, 9)]);
        assert_eq!(shown(60), [(0, 32), (1, 6), (2, 18)]);
        assert_eq!(shown(40), [(0, 20), (2, 18)]);
        assert_eq!(shown(30), [(0, 30)]);
        assert_eq!(shown(8), [(0, 8)]);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 1..200 {
            assert!(total(shown(width).into_iter()) <= width, "{width}");
        }
    }
}
