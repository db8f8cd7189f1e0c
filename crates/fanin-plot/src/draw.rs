//! The layout of a page, and the drawing of its parts.

use std::iter;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::{Span, Tick};
use super::style::{FONT, FRAME, GRID, INK, MUTED, PALETTE, Tone, load_font};
use super::{Marks, Page, Panel, Series};
use crate::error::{Error, Result};
use fanin::text::excerpt;

/// Drawn units per pixel of the page. Plotters rounds coordinates to whole units, and curves need
/// finer steps than pixels.
pub(super) const UNIT: u32 = 4;

// All lengths are in pixels of the page.
const MARGIN: f64 = 18.0;
const TITLE: f64 = 17.0;
const PANEL_TITLE: f64 = 14.0;
const TEXT: f64 = 12.0;
const SMALL: f64 = 11.0;
/// The line height of text, as a multiple of its size.
const LINE: f64 = 1.5;
/// The gap between panels.
const GAP: f64 = 24.0;
/// The ratio of a panel's height to its width, and the bounds of its height.
const ASPECT: f64 = 0.62;
const HEIGHTS: (f64, f64) = (250.0, 520.0);
const TICK: f64 = 4.0;
const SWATCH: f64 = 22.0;
/// The number of characters of a text that are measured. No text of more characters has room, so
/// the rest need not be looked at.
const MAX_CHARS: usize = 500;
/// The maximum number of lines of a panel's note.
const NOTE_LINES: usize = 4;
/// The number of markers on each of several lines, which tell lines apart where they overlap.
const MARKERS: usize = 6;
/// The largest share of a panel's height that its legend takes.
const LEGEND_PART: f64 = 0.3;
/// With this many coloured lines or more, lines also differ by their dashes, because colours alone
/// are hard to tell apart.
const MANY_LINES: usize = 6;

/// Returns the height of a page in pixels.
pub(super) fn height(page: &Page) -> u32 {
    let rows = rows(page);
    let panels = rows.len() as f64 * (panel_height(page) + GAP);
    (head_height(page) + panels - GAP.min(panels) + MARGIN).ceil() as u32
}

fn head_height(page: &Page) -> f64 {
    MARGIN + LINE * (TITLE + TEXT * page.notes.len() as f64) + 10.0
}

fn panel_width(page: &Page) -> f64 {
    let columns = page.columns as f64;
    (f64::from(Page::WIDTH) - 2.0 * MARGIN - (columns - 1.0) * GAP) / columns
}

fn panel_height(page: &Page) -> f64 {
    (ASPECT * panel_width(page))
        .clamp(HEIGHTS.0, HEIGHTS.1)
        .round()
}

/// Returns the panels, row by row.
fn rows(page: &Page) -> Vec<Vec<&Panel>> {
    let mut rows: Vec<Vec<&Panel>> = Vec::new();
    for panel in &page.panels {
        match rows.last_mut() {
            Some(row) if !panel.wide && !row[0].wide && row.len() < page.columns => {
                row.push(panel);
            }
            _ => rows.push(vec![panel]),
        }
    }
    rows
}

/// A rectangle of the page, in pixels.
#[derive(Clone, Copy, Debug)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn width(&self) -> f64 {
        self.right - self.left
    }

    fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// Maps a point of the unit square, whose y axis points up, to the page.
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (
            self.left + x * self.width(),
            self.bottom - y * self.height(),
        )
    }
}

/// The point of a text that is placed at the given coordinates.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing area whose coordinates are pixels of the page.
pub(super) struct Canvas<'a, DB: DrawingBackend> {
    root: &'a DrawingArea<DB, Shift>,
    /// The font size that gives an em of 1 with this backend.
    size_per_em: f64,
    /// The distance from the top of a text to its baseline with this backend, in em.
    baseline: f64,
}

/// The height of DejaVu Sans from ascent to descent, in em: the unit of `ab_glyph`'s font sizes.
const FONT_HEIGHT: f64 = (1901.0 + 483.0) / 2048.0;

impl<'a, 'b> Canvas<'a, SVGBackend<'b>> {
    pub fn svg(root: &'a DrawingArea<SVGBackend<'b>, Shift>) -> Self {
        Canvas {
            root,
            size_per_em: 1.24,
            baseline: 0.76,
        }
    }
}

impl<'a, 'b> Canvas<'a, BitMapBackend<'b>> {
    pub fn bitmap(root: &'a DrawingArea<BitMapBackend<'b>, Shift>) -> Self {
        Canvas {
            root,
            size_per_em: FONT_HEIGHT,
            baseline: FONT_HEIGHT / 2.0,
        }
    }
}

/// Colour, opacity and width in pixels of a stroke.
type Stroke = (Tone, f64, f64);

impl<DB: DrawingBackend> Canvas<'_, DB> {
    pub fn page(&self, page: &Page) -> Result<()> {
        let fault = |reason| Error::Chart {
            chart: page.title.clone(),
            reason,
        };
        if !load_font() {
            return Err(fault("the font cannot be read".to_owned()));
        }
        let mut spans = Vec::new();
        for panel in &page.panels {
            spans.push(axes(panel)?);
        }
        let drawn = self.draw_page(page, &mut spans.into_iter());
        drawn.map_err(|error| fault(error.to_string()))
    }

    fn draw_page(&self, page: &Page, spans: &mut dyn Iterator<Item = (Span, Span)>) -> Drawn<DB> {
        let width = f64::from(Page::WIDTH) - 2.0 * MARGIN;
        let mut y = MARGIN + TITLE;
        self.text(&page.title, TITLE, INK, (MARGIN, y), Anchor::Start, width)?;
        for note in &page.notes {
            y += LINE * TEXT + 2.0;
            self.text(note, TEXT, MUTED, (MARGIN, y), Anchor::Start, width)?;
        }
        let mut top = head_height(page);
        for row in rows(page) {
            let mut left = MARGIN;
            for panel in row {
                let width = if panel.wide { width } else { panel_width(page) };
                let area = Area {
                    left,
                    top,
                    right: left + width,
                    bottom: top + panel_height(page),
                };
                if let Some(spans) = spans.next() {
                    self.panel(panel, area, spans)?;
                }
                left += width + GAP;
            }
            top += panel_height(page) + GAP;
        }
        Ok(())
    }

    fn panel(&self, panel: &Panel, area: Area, (x, y): (Span, Span)) -> Drawn<DB> {
        let mut top = area.top;
        if !panel.title.is_empty() {
            top += PANEL_TITLE;
            let at = (area.left, top);
            self.text(
                &panel.title,
                PANEL_TITLE,
                INK,
                at,
                Anchor::Start,
                area.width(),
            )?;
        }
        for line in self.lines(&panel.note, SMALL, area.width(), NOTE_LINES) {
            top += LINE * SMALL + 1.0;
            let at = (area.left, top);
            self.text(&line, SMALL, MUTED, at, Anchor::Start, area.width())?;
        }
        top = self.legend(
            panel,
            Area {
                top: top + 6.0,
                ..area
            },
        )? + 8.0;

        let bottom = area.bottom - TICK - LINE * SMALL - LINE * TEXT;
        let y_ticks = y.ticks((((bottom - top) / 34.0) as usize).clamp(2, 10));
        let widths = y_ticks.iter().map(|tick| self.width(&tick.label, SMALL));
        let widest = widths.fold(0.0, f64::max);
        let plot = Area {
            left: area.left + LINE * TEXT + widest + TICK + 4.0,
            top,
            // Room for half of the last tick's label.
            right: area.right - 14.0,
            bottom,
        };
        let x_ticks = self.fitting_ticks(&x, plot.width());
        self.axes(panel, area, plot, &x_ticks, &y_ticks)?;
        if let Some(at) = y.break_at() {
            let ends = [(0.0, at), (1.0, at)].map(|end| plot.at(end));
            self.path(&ends, (FRAME, 1.0, 1.0))?;
        }
        for series in &panel.series {
            self.series(series, plot, (&x, &y), has_many_lines(panel))?;
        }
        self.markers(panel, plot, (&x, &y))
    }

    /// Draws markers on the lines of a panel that has several, each line's beside those of the
    /// others.
    fn markers(&self, panel: &Panel, plot: Area, (x, y): (&Span, &Span)) -> Drawn<DB> {
        let lines = lines(panel);
        if lines < 2 {
            return Ok(());
        }
        let coloured = panel
            .series
            .iter()
            .filter(|series| is_coloured_line(series));
        for (i, series) in coloured.enumerate() {
            let Marks::Line(points) = &series.marks else {
                continue;
            };
            let place = |&(a, b): &(f64, f64)| Some((x.place(a)?, y.place(b)?));
            let parts = visible_parts(points.iter().map(place));
            for j in 0..MARKERS {
                let share = (j * lines + i) as f64 + 0.5;
                let at = share / (MARKERS * lines) as f64;
                for point in parts.iter().filter_map(|part| height_at(part, at)) {
                    self.mark((at, point), series, plot)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the largest number of ticks whose labels have room.
    fn fitting_ticks(&self, span: &Span, room: f64) -> Vec<Tick> {
        let mut ticks = Vec::new();
        for most in (2..=10).rev() {
            ticks = span.ticks(most);
            let widths = ticks.iter().map(|tick| self.width(&tick.label, SMALL));
            let widest = widths.fold(0.0, f64::max);
            if ticks.len() as f64 * (widest + 1.5 * SMALL) <= room {
                break;
            }
        }
        ticks
    }

    fn axes(
        &self,
        panel: &Panel,
        area: Area,
        plot: Area,
        x_ticks: &[Tick],
        y_ticks: &[Tick],
    ) -> Drawn<DB> {
        let grid = (GRID, 1.0, 1.0);
        let frame = (FRAME, 1.0, 1.0);
        for tick in x_ticks {
            let (x, bottom) = plot.at((tick.at, 0.0));
            self.path(&[(x, plot.top), (x, bottom)], grid)?;
            self.path(&[(x, bottom), (x, bottom + TICK)], frame)?;
            let at = (x, bottom + TICK + 2.0 + SMALL);
            self.text(&tick.label, SMALL, MUTED, at, Anchor::Middle, plot.width())?;
        }
        for tick in y_ticks {
            let (left, y) = plot.at((0.0, tick.at));
            self.path(&[(left, y), (plot.right, y)], grid)?;
            self.path(&[(left - TICK, y), (left, y)], frame)?;
            // The middle of a digit lies about a third of the font size above the baseline.
            let at = (left - TICK - 4.0, y + 0.36 * SMALL);
            self.text(&tick.label, SMALL, MUTED, at, Anchor::End, plot.width())?;
        }
        let corners = [(0.0, 1.0), (0.0, 0.0), (1.0, 0.0)].map(|corner| plot.at(corner));
        self.path(&corners, frame)?;
        let middle = 0.5 * (plot.left + plot.right);
        let at = (middle, area.bottom - 0.25 * TEXT);
        self.text(&panel.x.label, TEXT, INK, at, Anchor::Middle, plot.width())?;
        // A label longer than the plot extends into the free corner beside the x axis' labels.
        let label = &panel.y.label;
        let bottom = match self.width(label, TEXT) <= plot.height() {
            true => plot.bottom,
            false => area.bottom,
        };
        let at = (area.left + TEXT, 0.5 * (plot.top + bottom));
        self.upright_text(label, TEXT, INK, at, bottom - plot.top)
    }

    /// Draws the legend, and returns the y coordinate of its bottom.
    fn legend(
        &self,
        panel: &Panel,
        area: Area,
    ) -> Result<f64, DrawingAreaErrorKind<DB::ErrorType>> {
        let room = LEGEND_PART * area.height();
        let line = LINE * SMALL + 1.0;
        let many = has_many_lines(panel);
        let named: Vec<&Series> = panel.series.iter().filter(|s| !s.name.is_empty()).collect();
        let (mut x, mut y) = (area.left, area.top);
        let lines = lines(panel);
        for (i, series) in named.iter().enumerate() {
            let most = area.width() - SWATCH - 6.0;
            let name = self.cut(&series.name, SMALL, most);
            let width = SWATCH + 6.0 + self.width(&name, SMALL);
            if x > area.left && x + width > area.right {
                (x, y) = (area.left, y + line);
            }
            if y + line > area.top + room && i + 1 < named.len() {
                let rest = format!("and {} more", named.len() - i);
                self.text(&rest, SMALL, MUTED, (x, y + SMALL), Anchor::Start, most)?;
                break;
            }
            let swatch = Area {
                left: x,
                top: y + 0.1 * SMALL,
                right: x + SWATCH,
                bottom: y + 1.2 * SMALL,
            };
            self.swatch(series, swatch, many)?;
            if lines > 1 && is_coloured_line(series) {
                self.mark((0.5, 0.5), series, swatch)?;
            }
            let at = (x + SWATCH + 6.0, y + SMALL);
            self.text(&name, SMALL, INK, at, Anchor::Start, most)?;
            x += width + 16.0;
        }
        Ok(if named.is_empty() { area.top } else { y + line })
    }

    /// Draws a series' sample in the legend.
    fn swatch(&self, series: &Series, area: Area, many: bool) -> Drawn<DB> {
        let middle = 0.5;
        match series.marks {
            Marks::Line(_) => self.line(&[(0.0, middle), (1.0, middle)], series, area, many),
            Marks::Points(_) => self.mark((0.5, middle), series, area),
            Marks::Bars(_) => self.bars(&[(0.0, 1.0, 1.0)], 0.0, series, area),
            Marks::Band(_) => self.region(&[(0.0, 0.0, 1.0), (1.0, 0.0, 1.0)], series, area),
        }
    }

    fn series(&self, series: &Series, plot: Area, (x, y): (&Span, &Span), many: bool) -> Drawn<DB> {
        let place = |&(a, b): &(f64, f64)| Some((x.place(a)?, y.place(b)?));
        match &series.marks {
            Marks::Line(points) => {
                for part in visible_parts(points.iter().map(place)) {
                    self.line(&part, series, plot, many)?;
                }
            }
            Marks::Points(points) => {
                for point in points.iter().filter_map(place) {
                    if inside(point.0) && inside(point.1) {
                        self.mark(point, series, plot)?;
                    }
                }
            }
            Marks::Bars(bars) => {
                let foot = y.place(0.0).unwrap_or(0.0);
                let placed = bars.iter().map(|&(left, right, height)| {
                    Some((x.place(left)?, x.place(right)?, y.place(height)?))
                });
                // Bars that touch are drawn as one polygon, because anti-aliasing would show seams.
                let mut shape: Vec<(f64, f64, f64)> = Vec::new();
                for bar in placed.chain(iter::once(None)) {
                    let touches = match (shape.last(), bar) {
                        (Some(last), Some(bar)) => (last.1 - bar.0).abs() < 1e-6,
                        (None, _) => true,
                        (_, None) => false,
                    };
                    if !touches {
                        self.bars(&shape, foot, series, plot)?;
                        shape.clear();
                    }
                    shape.extend(bar);
                }
            }
            Marks::Band(band) => {
                let placed = band.iter().map(|&(at, low, high)| {
                    let at = x.place(at).filter(|&at| inside(at))?;
                    let clamped = |end| y.place(end).map(|end| end.clamp(0.0, 1.0));
                    Some((at, clamped(low)?, clamped(high)?))
                });
                let placed: Vec<Option<(f64, f64, f64)>> = placed.collect();
                for part in placed.split(Option::is_none) {
                    let part: Vec<(f64, f64, f64)> = part.iter().copied().flatten().collect();
                    self.region(&part, series, plot)?;
                }
            }
        }
        Ok(())
    }

    /// Draws a line through points of the unit square.
    fn line(&self, points: &[(f64, f64)], series: &Series, plot: Area, many: bool) -> Drawn<DB> {
        let points: Vec<(f64, f64)> = points.iter().map(|&point| plot.at(point)).collect();
        let stroke = (tone(series), 1.0, if series.thin { 1.25 } else { 2.25 });
        let dashes = match series.colour {
            _ if series.dashed => Some(&DASHES[1]),
            Some(i) if many => DASHES.get(i % DASHES.len()),
            _ => Some(&DASHES[0]),
        };
        match (points.as_slice(), dashes.copied().unwrap_or_default()) {
            // A single point between two gaps.
            ([only], _) => self.circle(*only, stroke.2, stroke.0, 1.0),
            (points, (0, _)) => self.path(points, stroke),
            (points, dashes) => self.dashed_path(points, dashes, stroke),
        }
    }

    fn mark(&self, point: (f64, f64), series: &Series, plot: Area) -> Drawn<DB> {
        let (x, y) = plot.at(point);
        let r = if series.thin { 1.75 } else { 3.0 };
        let tone = tone(series);
        match series.colour.unwrap_or(0) % 4 {
            0 => self.circle((x, y), r, tone, 0.9),
            1 => self.polygon(
                &[
                    (x - r, y - r),
                    (x + r, y - r),
                    (x + r, y + r),
                    (x - r, y + r),
                ],
                tone,
                0.9,
            ),
            2 => self.polygon(
                &[(x, y - 1.3 * r), (x + 1.2 * r, y + r), (x - 1.2 * r, y + r)],
                tone,
                0.9,
            ),
            _ => self.polygon(
                &[
                    (x, y - 1.4 * r),
                    (x + 1.4 * r, y),
                    (x, y + 1.4 * r),
                    (x - 1.4 * r, y),
                ],
                tone,
                0.9,
            ),
        }
    }

    /// Draws bars that touch: left edge, right edge and height of each.
    fn bars(&self, bars: &[(f64, f64, f64)], foot: f64, series: &Series, plot: Area) -> Drawn<DB> {
        let (Some(first), Some(last)) = (bars.first(), bars.last()) else {
            return Ok(());
        };
        let tops = bars
            .iter()
            .flat_map(|&(left, right, height)| [(left, height), (right, height)]);
        let outline = iter::once((first.0, foot))
            .chain(tops)
            .chain([(last.1, foot)]);
        let corners = outline.map(|(x, y)| plot.at((x.clamp(0.0, 1.0), y.clamp(0.0, 1.0))));
        self.polygon(&corners.collect::<Vec<_>>(), tone(series), 0.45)
    }

    fn region(&self, region: &[(f64, f64, f64)], series: &Series, plot: Area) -> Drawn<DB> {
        if region.len() < 2 {
            return Ok(());
        }
        let above = region.iter().map(|&(x, _, high)| plot.at((x, high)));
        let below = region.iter().rev().map(|&(x, low, _)| plot.at((x, low)));
        let outline: Vec<(f64, f64)> = above.chain(below).collect();
        self.polygon(&outline, tone(series), 0.18)
    }

    fn path(&self, points: &[(f64, f64)], stroke: Stroke) -> Drawn<DB> {
        let mut points = units(points);
        // A picture shows no line between equal points.
        if let [point] = points[..] {
            points.push((point.0 + 1, point.1));
        }
        self.root.draw(&PathElement::new(points, style(stroke)))
    }

    fn dashed_path(
        &self,
        points: &[(f64, f64)],
        (dash, gap): (u32, u32),
        stroke: Stroke,
    ) -> Drawn<DB> {
        let points = units(points);
        let (dash, gap) = (dash * UNIT, gap * UNIT);
        let path = DashedPathElement::new(points, dash, gap, style(stroke));
        self.root.draw(&path)
    }

    fn polygon(&self, points: &[(f64, f64)], tone: Tone, opacity: f64) -> Drawn<DB> {
        let fill = tone.colour().mix(opacity).filled();
        self.root.draw(&Polygon::new(units(points), fill))
    }

    fn circle(&self, at: (f64, f64), radius: f64, tone: Tone, opacity: f64) -> Drawn<DB> {
        let fill = tone.colour().mix(opacity).filled();
        self.root
            .draw(&Circle::new(unit(at), unit((radius, 0.0)).0, fill))
    }

    /// Draws a text with its baseline at y, cut to the width.
    fn text(
        &self,
        text: &str,
        size: f64,
        tone: Tone,
        (x, y): (f64, f64),
        anchor: Anchor,
        width: f64,
    ) -> Drawn<DB> {
        let text = self.cut(text, size, width);
        if text.is_empty() {
            return Ok(());
        }
        let style = self.font(size).color(&tone.colour()).pos(top(anchor));
        let at = unit((x, y - self.baseline * size));
        self.root.draw(&Text::new(text, at, style))
    }

    /// Draws a text that reads from bottom to top, centred at (x, y).
    fn upright_text(
        &self,
        text: &str,
        size: f64,
        tone: Tone,
        (x, y): (f64, f64),
        width: f64,
    ) -> Drawn<DB> {
        let text = self.cut(text, size, width);
        if text.is_empty() {
            return Ok(());
        }
        let font = self.font(size).transform(FontTransform::Rotate270);
        let style = font.color(&tone.colour()).pos(top(Anchor::Middle));
        let at = unit((x - self.baseline * size, y));
        self.root.draw(&Text::new(text, at, style))
    }

    fn font(&self, size: f64) -> FontDesc<'static> {
        (FONT, size * self.size_per_em * f64::from(UNIT)).into_font()
    }

    /// Returns the width of a text in pixels.
    fn width(&self, text: &str, size: f64) -> f64 {
        // Measured in the font itself, so that both backends have the same layout.
        let font = (FONT, size * FONT_HEIGHT * f64::from(UNIT)).into_font();
        font.box_size(text)
            .map_or(0.0, |(width, _)| f64::from(width) / f64::from(UNIT))
    }

    /// Returns a text broken at spaces into lines that have room, at most `most` of them. The last
    /// line holds the rest.
    fn lines(&self, text: &str, size: f64, width: f64, most: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let text: String = text.chars().take(MAX_CHARS).collect();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let is_last = lines.len() == most;
            match lines.last_mut() {
                Some(line) if is_last || self.width(&format!("{line} {word}"), size) <= width => {
                    *line += " ";
                    *line += word;
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines
    }

    /// Returns the text with control characters escaped, cut to the width.
    fn cut(&self, text: &str, size: f64, width: f64) -> String {
        let head: String = text.chars().take(MAX_CHARS).collect();
        let printable = excerpt(&head);
        // Noncharacters, which XML does not allow.
        let printable = printable.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
        if head.len() == text.len() && self.width(&printable, size) <= width {
            return printable;
        }
        let ends: Vec<usize> = printable.char_indices().map(|(end, _)| end).collect();
        let cut = |count: usize| format!("{}…", printable[..ends[count]].trim_end());
        // The longest prefix that has room, by binary search.
        let fits = |&end: &usize| self.width(&format!("{}…", &printable[..end]), size) <= width;
        match ends.partition_point(fits) {
            0 => String::new(),
            count => cut(count - 1),
        }
    }
}

type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Lengths of dashes and of the gaps between them. A dash of 0 stands for a solid line.
const DASHES: [(u32, u32); 4] = [(0, 0), (6, 4), (2, 3), (12, 4)];

fn top(anchor: Anchor) -> Pos {
    let along = match anchor {
        Anchor::Start => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::End => HPos::Right,
    };
    Pos::new(along, VPos::Top)
}

fn tone(series: &Series) -> Tone {
    series.colour.map_or(INK, |i| PALETTE[i % PALETTE.len()])
}

fn style((tone, opacity, width): Stroke) -> ShapeStyle {
    let units = (width * f64::from(UNIT)).round() as u32;
    tone.colour().mix(opacity).stroke_width(units)
}

fn unit((x, y): (f64, f64)) -> (i32, i32) {
    let unit = f64::from(UNIT);
    ((x * unit).round() as i32, (y * unit).round() as i32)
}

/// Converts points to drawn units, and drops consecutive duplicates.
fn units(points: &[(f64, f64)]) -> Vec<(i32, i32)> {
    let mut units: Vec<(i32, i32)> = points.iter().map(|&point| unit(point)).collect();
    units.dedup();
    units
}

/// Returns true if colours alone cannot tell the panel's lines apart.
fn has_many_lines(panel: &Panel) -> bool {
    lines(panel) >= MANY_LINES
}

/// Returns the number of coloured lines.
fn lines(panel: &Panel) -> usize {
    panel.series.iter().filter(|s| is_coloured_line(s)).count()
}

fn is_coloured_line(series: &Series) -> bool {
    matches!(series.marks, Marks::Line(_)) && series.colour.is_some()
}

/// Returns the y of a line at an x, or `None` beside the line. A line that turns back gives the
/// first one.
fn height_at(line: &[(f64, f64)], x: f64) -> Option<f64> {
    let crosses = |pair: &&[(f64, f64)]| pair[0].0 <= x && x <= pair[1].0 && pair[0].0 < pair[1].0;
    let pair = line.windows(2).find(crosses)?;
    let [(left, from), (right, to)] = [pair[0], pair[1]];
    Some(from + (to - from) * (x - left) / (right - left))
}

fn inside(place: f64) -> bool {
    (0.0..=1.0).contains(&place)
}

/// Returns the spans of the x and the y axis.
fn axes(panel: &Panel) -> Result<(Span, Span)> {
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    let mut bars = false;
    for series in &panel.series {
        match &series.marks {
            Marks::Line(points) | Marks::Points(points) => {
                xs.extend(points.iter().map(|point| point.0));
                ys.extend(points.iter().map(|point| point.1));
            }
            Marks::Bars(all) => {
                bars = true;
                xs.extend(all.iter().flat_map(|bar| [bar.0, bar.1]));
                ys.extend(all.iter().map(|bar| bar.2));
            }
            Marks::Band(band) => {
                xs.extend(band.iter().map(|part| part.0));
                ys.extend(band.iter().flat_map(|part| [part.1, part.2]));
            }
        }
    }
    let x = panel.x.span(xs.into_iter(), false)?;
    Ok((x, panel.y.span(ys.into_iter(), bars)?))
}

/// Returns the parts of a line that lie within the unit square. The line breaks at missing points.
fn visible_parts(points: impl Iterator<Item = Option<(f64, f64)>>) -> Vec<Vec<(f64, f64)>> {
    let mut parts: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut open = false;
    let mut before: Option<(f64, f64)> = None;
    for point in points.chain(iter::once(None)) {
        let visible = match (before, point) {
            (Some(a), Some(b)) => clip(a, b).map(|(from, to)| (from, to, to == b)),
            // A point without neighbours is a part of its own.
            (Some(a), None) if !open && inside(a.0) && inside(a.1) => Some((a, a, false)),
            _ => None,
        };
        match (visible, parts.last_mut()) {
            (Some((_, to, _)), Some(part)) if open => part.push(to),
            (Some((from, to, _)), _) if from == to => parts.push(vec![from]),
            (Some((from, to, _)), _) => parts.push(vec![from, to]),
            _ => {}
        }
        open = matches!(visible, Some((_, _, true)));
        before = point;
    }
    parts
}

/// Returns the part of a segment that lies within the unit square, by the algorithm of Liang and
/// Barsky, "A new concept and method for line clipping", ACM Transactions on Graphics 3, 1984.
fn clip(a: (f64, f64), b: (f64, f64)) -> Option<((f64, f64), (f64, f64))> {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (mut enters, mut leaves) = (0.0f64, 1.0f64);
    for (step, room) in [(-dx, a.0), (dx, 1.0 - a.0), (-dy, a.1), (dy, 1.0 - a.1)] {
        if step == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if step < 0.0 {
            enters = enters.max(room / step);
        } else {
            leaves = leaves.min(room / step);
        }
    }
    let at = |t: f64| (a.0 + t * dx, a.1 + t * dy);
    (enters <= leaves).then(|| {
        let from = if enters == 0.0 { a } else { at(enters) };
        (from, if leaves == 1.0 { b } else { at(leaves) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_clipped_to_the_square() {
        assert_eq!(clip((0.2, 0.2), (0.8, 0.4)), Some(((0.2, 0.2), (0.8, 0.4))));
        assert_eq!(
            clip((-1.0, 0.5), (2.0, 0.5)),
            Some(((0.0, 0.5), (1.0, 0.5)))
        );
        assert_eq!(clip((0.5, 0.5), (0.5, 9.0)), Some(((0.5, 0.5), (0.5, 1.0))));
        assert_eq!(clip((-1.0, 0.5), (0.5, 2.5)), None);
        assert_eq!(clip((2.0, 0.0), (2.0, 1.0)), None);
    }

    #[test]
    fn lines_break_where_a_point_is_missing() {
        let line = [
            Some((0.1, 0.1)),
            Some((0.2, 0.2)),
            None,
            Some((0.5, 0.5)),
            None,
            Some((0.8, 0.8)),
        ];
        let parts = visible_parts(line.into_iter());
        assert_eq!(
            parts,
            [
                vec![(0.1, 0.1), (0.2, 0.2)],
                vec![(0.5, 0.5)],
                vec![(0.8, 0.8)]
            ]
        );
        // The line leaves at the top and comes back.
        let line = [(0.0, 0.5), (0.25, 1.5), (0.75, 1.5), (1.0, 0.5)];
        let parts = visible_parts(line.into_iter().map(Some));
        assert_eq!(
            parts,
            [
                vec![(0.0, 0.5), (0.125, 1.0)],
                vec![(0.875, 1.0), (1.0, 0.5)]
            ]
        );
    }
}
