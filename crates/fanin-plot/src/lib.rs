//! Draws charts in one style, as SVG and PNG, for fanin's command line, examples and benches.
//!
//! A [`Page`] holds [`Panel`]s. A panel has two [`Axis`]es and series: lines, points, bars, bands.
//! The crate is a thin layer over [plotters](https://docs.rs/plotters). It decides colours, ticks
//! and layout; the caller supplies numbers and labels.
//!
//! ```
//! use fanin_plot::{Axis, Page, Panel};
//!
//! let layers = (1..=50).map(f64::from);
//! let gain = |gain: f64| layers.clone().map(move |layer| (layer, gain.powf(layer)));
//! let panel = Panel::new("Through 50 layers", Axis::linear("layer"), Axis::log10("variance"))
//!     .line("half the gain", gain(0.5))
//!     .line("the right gain", gain(1.0))
//!     .line("expected", [(1.0, 1.0), (50.0, 1.0)])
//!     .reference();
//! let page = Page::new("Why the gain matters").panel(panel);
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("gain.svg");
//! page.save(&path)?;
//! assert!(std::fs::read_to_string(&path).unwrap().starts_with("<svg "));
//! # Ok::<(), fanin_plot::Error>(())
//! ```
//!
//! An SVG has a transparent background, and a style sheet that swaps its colours for readers who
//! prefer dark pages. A PNG has a white background. The same page gives the same bytes. Untrusted
//! text, such as tensor names, is safe: it is escaped, and cut to the room that it has.

mod axis;
mod draw;
mod error;
mod style;

use std::path::Path;

use plotters::prelude::{BitMapBackend, IntoDrawingArea, SVGBackend};

pub use axis::Axis;
pub use error::{Error, Result};

use fanin::checkpoint;

use draw::{Canvas, UNIT};

/// A picture: a title with rows of panels below it.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    notes: Vec<String>,
    columns: usize,
    panels: Vec<Panel>,
}

impl Page {
    /// The width of every page, in pixels of an SVG. A PNG has twice as many, for high-resolution
    /// screens and for print.
    pub const WIDTH: u32 = 960;

    /// The maximum number of panels of a page.
    pub const MAX_PANELS: usize = 64;

    /// Returns a page without panels.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Page {
            title: title.into(),
            notes: Vec::new(),
            columns: 1,
            panels: Vec::new(),
        }
    }

    /// Adds a line under the title.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Sets the number of panels in a row, clamped to 1 to 4. \[default: 1]
    #[must_use]
    pub fn columns(mut self, columns: usize) -> Self {
        self.columns = columns.clamp(1, 4);
        self
    }

    /// Adds a panel after the ones added before.
    #[must_use]
    pub fn panel(mut self, panel: Panel) -> Self {
        self.panels.push(panel);
        self
    }

    /// Checks that [`Page::save`] accepts the path's extension, so that a bad path is reported
    /// before the work of making a page.
    ///
    /// # Errors
    ///
    /// [`Error::Ending`] if the path ends in neither .svg nor .png.
    pub fn check_path(path: impl AsRef<Path>) -> Result<()> {
        Format::of(path.as_ref()).map(drop)
    }

    /// Writes the page to a file. A failed write leaves no incomplete file.
    ///
    /// # Errors
    ///
    /// [`Error::Ending`] if the path ends in neither .svg nor .png, [`Error::Write`] if it cannot
    /// be written, and the errors of [`Page::svg`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        Ok(checkpoint::save_bytes(path, &self.encoded(path)?)?)
    }

    /// Returns the bytes that [`Page::save`] writes, in the format that the path's extension names.
    ///
    /// # Errors
    ///
    /// [`Error::Ending`] if the path ends in neither .svg nor .png, and the errors of [`Page::svg`].
    pub fn encoded(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        Ok(match Format::of(path.as_ref())? {
            Format::Svg => self.svg()?.into_bytes(),
            Format::Png => self.png()?,
        })
    }

    /// Returns the page as an SVG document.
    ///
    /// # Errors
    ///
    /// [`Error::Chart`] if the range of an axis is invalid, or if the page has more than
    /// [`Page::MAX_PANELS`] panels.
    pub fn svg(&self) -> Result<String> {
        let (width, height) = self.size()?;
        let mut svg = String::new();
        {
            let backend = SVGBackend::with_string(&mut svg, (width * UNIT, height * UNIT));
            let root = backend.into_drawing_area();
            Canvas::svg(&root).page(self)?;
            root.present().map_err(|error| self.fault(error))?;
        }
        // The coordinates are in drawn units, UNIT to a pixel. The view box keeps them; the width
        // and height that a reader shows are in pixels.
        let (drawn_tag, rest) = svg.split_once('\n').unwrap_or_default();
        let tag = drawn_tag.replacen(
            &format!("width=\"{}\" height=\"{}\"", width * UNIT, height * UNIT),
            &format!("width=\"{width}\" height=\"{height}\""),
            1,
        );
        Ok(format!("{tag}\n{}{rest}", style::style_sheet()))
    }

    /// Returns the page as a PNG file.
    ///
    /// # Errors
    ///
    /// The errors of [`Page::svg`].
    pub fn png(&self) -> Result<Vec<u8>> {
        /// Anti-aliasing: a pixel is the mean of a square of drawn pixels with this side length.
        const AVERAGED: u32 = UNIT / 2;
        const CHANNELS: usize = 3;
        let (width, height) = self.size()?;
        let (drawn_width, drawn_height) = (width * UNIT, height * UNIT);
        let mut drawn = vec![0xff; CHANNELS * drawn_width as usize * drawn_height as usize];
        {
            let size = (drawn_width, drawn_height);
            let root = BitMapBackend::with_buffer(&mut drawn, size).into_drawing_area();
            Canvas::bitmap(&root).page(self)?;
            root.present().map_err(|error| self.fault(error))?;
        }

        let (width, height) = (drawn_width / AVERAGED, drawn_height / AVERAGED);
        let mut pixels = Vec::with_capacity(CHANNELS * width as usize * height as usize);
        for rows in drawn.chunks_exact(CHANNELS * (drawn_width * AVERAGED) as usize) {
            for column in 0..width as usize {
                for channel in 0..CHANNELS {
                    let of_row = |row: &[u8]| -> u32 {
                        let first = CHANNELS * AVERAGED as usize * column + channel;
                        let part = row[first..].iter().step_by(CHANNELS);
                        part.take(AVERAGED as usize).map(|&x| u32::from(x)).sum()
                    };
                    let rows = rows.chunks_exact(CHANNELS * drawn_width as usize);
                    let sum: u32 = rows.map(of_row).sum();
                    let count = AVERAGED * AVERAGED;
                    pixels.push(((sum + count / 2) / count) as u8);
                }
            }
        }
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(&pixels)?;
            writer.finish()
        });
        written.map_err(|error| self.fault(error))?;
        Ok(file)
    }

    /// Returns width and height in pixels.
    fn size(&self) -> Result<(u32, u32)> {
        if self.panels.len() > Page::MAX_PANELS {
            let count = self.panels.len();
            return Err(self.fault(format!("{count} panels: use at most {}", Page::MAX_PANELS)));
        }
        Ok((Page::WIDTH, draw::height(self)))
    }

    fn fault(&self, reason: impl ToString) -> Error {
        Error::Chart {
            chart: self.title.clone(),
            reason: reason.to_string(),
        }
    }
}

/// The format of a picture file.
enum Format {
    Svg,
    Png,
}

impl Format {
    /// Returns the format that a path's extension names.
    fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().unwrap_or_default();
        if extension.eq_ignore_ascii_case("svg") {
            Ok(Format::Svg)
        } else if extension.eq_ignore_ascii_case("png") {
            Ok(Format::Png)
        } else {
            Err(Error::Ending {
                path: path.to_owned(),
            })
        }
    }
}

/// A chart: two axes, the series between them, and a legend above the plot.
///
/// Series are drawn in the order in which they are added, each in the next colour. A series
/// without a name does not appear in the legend. [`thin`](Panel::thin),
/// [`dashed`](Panel::dashed), [`solid`](Panel::solid), [`reference`](Panel::reference) and
/// [`same_colour`](Panel::same_colour) change the series that was added last.
#[derive(Clone, Debug)]
pub struct Panel {
    title: String,
    note: String,
    x: Axis,
    y: Axis,
    wide: bool,
    series: Vec<Series>,
}

#[derive(Clone, Debug)]
struct Series {
    name: String,
    marks: Marks,
    /// The index into the palette, or `None` for a reference, which is drawn in the text colour.
    colour: Option<usize>,
    thin: bool,
    dashed: bool,
}

#[derive(Clone, Debug)]
enum Marks {
    Line(Vec<(f64, f64)>),
    Points(Vec<(f64, f64)>),
    /// Left edge, right edge and height of each bar.
    Bars(Vec<(f64, f64, f64)>),
    /// x, and the lower and upper y there.
    Band(Vec<(f64, f64, f64)>),
}

impl Panel {
    /// Returns a panel without series.
    #[must_use]
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Panel {
            title: title.into(),
            note: String::new(),
            x,
            y,
            wide: false,
            series: Vec::new(),
        }
    }

    /// Sets the text under the panel's title. A long one is broken into lines, at most four.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.note = text.into();
        self
    }

    /// Gives the panel a row of its own, across all columns of the page.
    #[must_use]
    pub fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    /// Adds a line through points, in their order. Several coloured lines of a panel also get markers
    /// of different shapes, which tell them apart where they overlap. The line has a gap at each point that has no
    /// place on the axes: one that is not finite, or not above 0 on a logarithmic axis.
    #[must_use]
    pub fn line(
        self,
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        self.series(name.into(), Marks::Line(points.into_iter().collect()))
    }

    /// Adds points. Points that have no place on the axes are left out.
    #[must_use]
    pub fn points(
        self,
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        self.series(name.into(), Marks::Points(points.into_iter().collect()))
    }

    /// Adds the bars of a histogram: left edge, right edge and height of each. Bars start at 0, or
    /// at the bottom of a logarithmic axis.
    #[must_use]
    pub fn bars(
        self,
        name: impl Into<String>,
        bars: impl IntoIterator<Item = (f64, f64, f64)>,
    ) -> Self {
        self.series(name.into(), Marks::Bars(bars.into_iter().collect()))
    }

    /// Adds a shaded region: x, and the lower and upper y there.
    #[must_use]
    pub fn band(
        self,
        name: impl Into<String>,
        region: impl IntoIterator<Item = (f64, f64, f64)>,
    ) -> Self {
        self.series(name.into(), Marks::Band(region.into_iter().collect()))
    }

    fn series(mut self, name: String, marks: Marks) -> Self {
        let coloured = self.series.iter().filter_map(|series| series.colour);
        let next = coloured.max().map_or(0, |last| last + 1);
        self.series.push(Series {
            name,
            marks,
            colour: Some(next),
            thin: false,
            dashed: false,
        });
        self
    }

    /// Draws the series that was added last with a thin line, or with small points.
    #[must_use]
    pub fn thin(self) -> Self {
        self.last(|series| series.thin = true)
    }

    /// Draws the series that was added last with a dashed line.
    #[must_use]
    pub fn dashed(self) -> Self {
        self.last(|series| series.dashed = true)
    }

    /// Draws the series that was added last as a reference: in the text colour, thin and dashed.
    #[must_use]
    pub fn reference(self) -> Self {
        self.last(|series| {
            series.colour = None;
            series.thin = true;
            series.dashed = true;
        })
    }

    /// Draws the series that was added last with a solid line. Use it after
    /// [`reference`](Panel::reference), which makes the line dashed.
    #[must_use]
    pub fn solid(self) -> Self {
        self.last(|series| series.dashed = false)
    }

    /// Gives the series that was added last the colour of the one before it.
    #[must_use]
    pub fn same_colour(mut self) -> Self {
        if let [.., before, last] = self.series.as_mut_slice() {
            last.colour = before.colour;
        }
        self
    }

    /// Changes the series that was added last.
    fn last(mut self, change: impl FnOnce(&mut Series)) -> Self {
        if let Some(series) = self.series.last_mut() {
            change(series);
        }
        self
    }
}

/// The example of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a page with each kind of series, some with numbers that have no place on the axes.
    fn page(title: &str, name: &str) -> Page {
        let x = || (0..=100).map(|i| f64::from(i) / 10.0 - 5.0);
        let density = |x: f64| (-0.5 * x * x).exp() / (std::f64::consts::TAU).sqrt();
        let bars = (-8..8).map(|i| {
            let left = f64::from(i) / 2.0;
            (left, left + 0.5, density(left + 0.25) * 1.05)
        });
        let histogram = Panel::new(title, Axis::linear("value"), Axis::linear("density"))
            .note(name)
            .bars(name, bars)
            .line("expected", x().map(|x| (x, density(x))))
            .reference();
        let holes = [
            (-1.0, 1.0),
            (1.0, f64::NAN),
            (2.0, 0.0),
            (3.0, 1e-3),
            (4.0, f64::INFINITY),
        ];
        let band = x().map(|x| (x, density(x) / 2.0, density(x) * 2.0));
        let mut logarithms = Panel::new(title, Axis::linear(name), Axis::log10(name))
            .band("between", band)
            .line(name, x().map(|x| (x, density(x))))
            .same_colour()
            .line("", x().map(|x| (x, density(x) / 3.0)))
            .same_colour()
            .thin()
            .points("points", holes)
            .line("", holes);
        for i in 0..7 {
            let level = 0.2 * f64::from(i + 1);
            logarithms = logarithms.line(format!("{name} {i}"), [(-5.0, level), (5.0, level)]);
        }
        Page::new(title)
            .note(name)
            .columns(2)
            .panel(histogram)
            .panel(logarithms.wide())
            .panel(Panel::new("empty", Axis::linear("x"), Axis::log2("y")))
    }

    fn texts(svg: &str) -> Vec<String> {
        let document = roxmltree::Document::parse(svg).expect("well-formed XML");
        let texts = document
            .descendants()
            .filter(|node| node.has_tag_name("text"));
        texts
            .map(|node| node.text().unwrap_or_default().trim().to_owned())
            .collect()
    }

    #[test]
    fn a_page_shows_its_texts() {
        let texts = texts(&page("Weights", "h.0.attn").svg().unwrap());
        for text in [
            "Weights", "h.0.attn", "expected", "value", "density", "10⁰", "0.1",
        ] {
            assert!(
                texts.iter().any(|found| found == text),
                "{text:?} of {texts:?}"
            );
        }
    }

    #[test]
    fn a_long_note_is_broken_into_lines() {
        let words: Vec<String> = (0..40).map(|i| format!("flag-{i}")).collect();
        let panel = Panel::new("t", Axis::linear("x"), Axis::linear("y")).note(words.join("; "));
        let texts = texts(&Page::new("p").columns(2).panel(panel).svg().unwrap());
        let lines: Vec<&String> = texts.iter().filter(|text| text.contains("flag")).collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[0].starts_with("flag-0;") && lines[3].ends_with('…'));
    }

    #[test]
    fn several_lines_have_markers() {
        let line = || [(0.0, 1.0), (1.0, 2.0)];
        let panel = || Panel::new("", Axis::linear("x"), Axis::linear("y")).line("a", line());
        let marks = |panel| {
            let svg = Page::new("p").panel(panel).svg().unwrap();
            svg.matches("<circle").count() + svg.matches("<polygon").count()
        };
        assert_eq!(marks(panel()), 0);
        assert_eq!(marks(panel().line("b", line()).reference()), 0);
        // Six markers on each line, and one of each in the legend.
        assert_eq!(marks(panel().line("b", line())), 14);
    }

    #[test]
    fn the_same_page_gives_the_same_bytes() {
        let page = page("Weights", "h.0.attn");
        assert_eq!(page.svg().unwrap(), page.clone().svg().unwrap());
        assert_eq!(page.png().unwrap(), page.clone().png().unwrap());
    }

    #[test]
    fn hostile_text_is_escaped_and_cut() {
        let long = "very.long.".repeat(100_000);
        let hostile = [
            "<script>alert('1')</script> & \"quotes\" ]]> <!--",
            "\0\u{1}\u{8}\u{b}\u{1b}[31m\u{7f}\u{85}\u{fffe}\u{ffff}",
            "line\nbreak\r\ttab",
            "\u{202e}turned around\u{2066}",
            "名前.重み é 🎲",
            "",
            " ",
            long.as_str(),
        ];
        for name in hostile {
            let page = page(name, name);
            let svg = page.svg().unwrap();
            let texts = texts(&svg);
            assert!(texts.iter().any(|text| text == "expected"), "{name:.40?}");
            assert!(
                !svg.contains(['\0', '\u{1b}', '\u{202e}', '\u{ffff}']),
                "{name:.40?}"
            );
            assert!(svg.len() < 200_000, "{} bytes for {name:.40?}", svg.len());
            assert!(page.png().is_ok());
        }
    }

    #[test]
    fn every_drawn_colour_is_swapped_on_dark_pages() {
        let svg = page("Weights", "h.0.attn").svg().unwrap();
        let (sheet, shapes) = svg.split_once("</style>").unwrap();
        let colours = shapes.split('"').filter(|value| value.starts_with('#'));
        for colour in colours {
            assert!(sheet.contains(&format!("[fill='{colour}']")), "{colour}");
        }
    }

    #[test]
    fn a_png_has_twice_the_pixels() {
        let page = page("Weights", "h.0.attn");
        let (width, height) = page.size().unwrap();
        let png = page.png().unwrap();
        let decoder = png::Decoder::new(std::io::Cursor::new(png));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (2 * width, 2 * height));
        assert_eq!(pixels[..3], [255, 255, 255]);
        let dark = pixels.iter().filter(|&&channel| channel < 100).count();
        assert!(dark > 10_000, "{dark}: little is drawn");
    }

    #[test]
    fn the_extension_picks_the_format() {
        let folder = tempfile::tempdir().unwrap();
        let page = page("Weights", "h.0.attn");
        for (name, start) in [("a.svg", &b"<svg "[..]), ("a.PNG", b"\x89PNG")] {
            let path = folder.path().join(name);
            page.save(&path).unwrap();
            assert!(std::fs::read(&path).unwrap().starts_with(start));
        }
        for name in ["a.pdf", "a", "svg"] {
            let error = page.save(folder.path().join(name)).unwrap_err().to_string();
            assert!(error.contains(".svg or .png"), "{error}");
        }
        let nowhere = folder.path().join("missing/a.svg");
        assert!(matches!(page.save(nowhere), Err(Error::Write(_))));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn invalid_pages_are_refused() {
        let axis = Axis::linear("x").range(1.0..1.0);
        let page = Page::new("p").panel(Panel::new("", axis, Axis::linear("y")));
        assert!(matches!(page.svg(), Err(Error::Chart { .. })));
        let panel = || Panel::new("", Axis::linear("x"), Axis::linear("y"));
        let crowded = (0..65).fold(Page::new("p"), |page, _| page.panel(panel()));
        let error = crowded.png().unwrap_err().to_string();
        assert!(error.contains("at most 64"), "{error}");
    }
}
