//! The style of all charts: colours that are readable on white and on black, and the font.

use std::sync::OnceLock;

use plotters::style::{FontStyle, RGBColor, register_font};

/// A pair of colours: one for white pages, one for dark pages.
///
/// No two tones share a light colour, because the style sheet selects shapes by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tone {
    light: (u8, u8, u8),
    dark: (u8, u8, u8),
}

const fn tone(light: u32, dark: u32) -> Tone {
    const fn channels(rgb: u32) -> (u8, u8, u8) {
        ((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8)
    }
    Tone {
        light: channels(light),
        dark: channels(dark),
    }
}

impl Tone {
    /// Returns the light colour, which shapes are drawn with.
    pub fn colour(self) -> RGBColor {
        let (r, g, b) = self.light;
        RGBColor(r, g, b)
    }
}

/// Text and references.
pub(super) const INK: Tone = tone(0x24292f, 0xe6edf3);
/// Notes and the labels of ticks.
pub(super) const MUTED: Tone = tone(0x59636e, 0x9aa4af);
pub(super) const GRID: Tone = tone(0xdfe4e9, 0x30363d);
pub(super) const FRAME: Tone = tone(0x8c959f, 0x6e7681);

/// The colours of series, in order: the palette of Okabe and Ito for all kinds of colour vision
/// ("Color universal design", 2008), darkened for white pages and lightened for dark pages until
/// each has the contrast that WCAG 2 asks of graphics.
pub(super) const PALETTE: [Tone; 6] = [
    tone(0x0072b2, 0x4ea3e0),
    tone(0xd55e00, 0xf28444),
    tone(0x009e73, 0x2fc197),
    tone(0xb0609a, 0xdc92c2),
    tone(0xb58100, 0xe6ab1f),
    tone(0x2a9bd6, 0x86cff5),
];

/// Returns the rules that swap all colours for readers who prefer dark pages. They select shapes by
/// their colour attribute, which a style sheet overrides.
pub(super) fn style_sheet() -> String {
    let hex = |(r, g, b): (u8, u8, u8)| format!("#{r:02X}{g:02X}{b:02X}");
    let tones = [INK, MUTED, GRID, FRAME].into_iter().chain(PALETTE);
    let rules = tones.map(|tone| {
        let (light, dark) = (hex(tone.light), hex(tone.dark));
        format!("[fill='{light}']{{fill:{dark}}}[stroke='{light}']{{stroke:{dark}}}\n")
    });
    let rules: String = rules.collect();
    format!("<style>\n@media (prefers-color-scheme:dark){{\n{rules}}}\n</style>\n")
}

/// The font's name, for both backends. An SVG's reader takes the first of these that is installed.
/// Texts are measured in DejaVu Sans; Verdana has the same widths.
pub(super) const FONT: &str = "DejaVu Sans,Verdana,sans-serif";

/// Registers the font with plotters, which has no other font in this build, and returns `false` if
/// plotters cannot parse it.
pub(super) fn load_font() -> bool {
    static LOADED: OnceLock<bool> = OnceLock::new();
    *LOADED.get_or_init(|| register_font(FONT, FontStyle::Normal, dejavu::sans::regular()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the relative luminance, as WCAG 2 defines it.
    fn luminance((r, g, b): (u8, u8, u8)) -> f64 {
        let linear = |channel: u8| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.03928 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
    }

    fn contrast(a: (u8, u8, u8), b: (u8, u8, u8)) -> f64 {
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        a.max(b) / a.min(b)
    }

    /// WCAG 2 asks for a contrast of 3 for graphics and 4.5 for text.
    #[test]
    fn colours_contrast_with_white_and_with_black() {
        let (white, black) = ((255, 255, 255), (0x0d, 0x11, 0x17));
        for tone in PALETTE {
            assert!(contrast(tone.light, white) >= 3.0, "{tone:?}");
            assert!(contrast(tone.dark, black) >= 3.0, "{tone:?}");
        }
        for tone in [INK, MUTED] {
            assert!(contrast(tone.light, white) >= 4.5, "{tone:?}");
            assert!(contrast(tone.dark, black) >= 4.5, "{tone:?}");
        }
    }

    #[test]
    fn light_colours_are_distinct() {
        let all = [INK, MUTED, GRID, FRAME].into_iter().chain(PALETTE);
        let all: Vec<_> = all.map(|tone| tone.light).collect();
        for (i, colour) in all.iter().enumerate() {
            assert!(!all[..i].contains(colour), "{colour:?}");
        }
    }

    #[test]
    fn the_font_is_valid() {
        assert!(load_font());
    }
}
