//! What the name of a file says of it as a tile: pure, and proof against any name.

use std::fmt;

/// Formats of tiles, by the ends of their names.
const ENDINGS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "tif", "tiff", "jp2", "gif"];
/// Digits of a number: none in a name is larger than 10^9.
const DIGITS: usize = 9;
/// Longest word between row and column: `_`, `-c`, `_col_`.
const BETWEEN: usize = 6;
const SEPARATORS: [char; 2] = ['/', '\\'];

/// How the files of a tile set are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layout {
    /// `NAME_files/LEVEL/COLUMN_ROW.jpg` (Deep Zoom; <https://github.com/openseadragon/openseadragon>, `dzitilesource.js`).
    DeepZoom,
    /// `TileGroupN/LEVEL-COLUMN-ROW.jpg` (Zoomify; the same, `zoomifytilesource.js`).
    Zoomify,
    /// `ID/X,Y,W,H/W,H/0/default.jpg` (IIIF Image API 3.0, chapter 4, and 2.1: <https://iiif.io/api/image/3.0/>).
    Iiif,
    /// `LEVEL/ROW/COLUMN.jpg` or the other way round, as maps have it.
    Map,
    /// Two numbers, or one, at the end of the name, as scripts and `convert -crop` make them.
    Plain,
}

/// Where in its set a tile lies, as far as its name says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Cell {
        column: u32,
        row: u32,
    },
    /// In pixels of the whole picture, at full size.
    Region {
        x: u32,
        y: u32,
        width: u32,
    },
    /// Row and column, or column and row.
    Pair(u32, u32),
    /// One after the other.
    Number(u32),
}

/// Which tiles belong together: the set that they are of, and the level in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) set: String,
    pub(super) layout: Layout,
    /// The number of the level; of IIIF by how much the tiles are reduced.
    pub(super) level: u32,
}

/// The name of a file that may be a tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileName {
    pub(super) key: Key,
    pub(super) place: Place,
}

impl TileName {
    /// What the path of a file says, if it may be that of a tile. `\` separates as `/` does.
    #[must_use]
    pub fn of(path: &str) -> Option<TileName> {
        let (stem, ending) = path.rsplit_once('.')?;
        if !ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)) {
            return None;
        }
        let parts: Vec<&str> = stem.rsplitn(6, SEPARATORS).collect();
        // The path without its last parts.
        let above = |count: usize| stem.rsplitn(count + 1, SEPARATORS).nth(count).unwrap_or_default().to_owned();
        let (layout, level, set, place) = match parts.as_slice() {
            [_, _, size, region, ..] if let Some((level, place)) = iiif(size, region) => {
                (Layout::Iiif, level, above(4), place)
            }
            [file, group, ..] if let Some((level, place)) = zoomify(file, group) => {
                (Layout::Zoomify, level, above(2), place)
            }
            [file, level, set, ..] if let Some((level, place)) = deep_zoom(file, level, set) => {
                (Layout::DeepZoom, level, above(2), place)
            }
            [file, row, level, ..] if let Some((level, place)) = map(file, row, level) => {
                (Layout::Map, level, above(3), place)
            }
            _ => {
                let (set, place) = plain(stem)?;
                (Layout::Plain, 0, set.to_owned(), place)
            }
        };
        Some(TileName { key: Key { set, layout, level }, place })
    }

    /// Whether both may be tiles of one picture, at one size.
    #[must_use]
    pub fn is_with(&self, other: &TileName) -> bool {
        self.key == other.key
    }

    /// How many of the last parts of its path lie below the directory that holds all tiles of the set.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self.key.layout {
            Layout::Iiif => 4,
            Layout::Zoomify | Layout::Map => 2,
            Layout::DeepZoom | Layout::Plain => 1,
        }
    }

    /// Whether programs that show pictures name tiles so, and nobody anything else.
    pub(super) fn is_of_a_viewer(&self) -> bool {
        matches!(self.key.layout, Layout::DeepZoom | Layout::Zoomify | Layout::Iiif)
    }

    /// The same as one of many that are numbered, in a set of all that have this first number.
    pub(super) fn as_numbered(&self) -> Option<(u32, Place)> {
        match self.place {
            Place::Pair(first, second) => Some((first, Place::Number(second))),
            _ => None,
        }
    }
}

impl fmt::Display for TileName {
    /// The set, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { set, layout, level } = &self.key;
        match layout {
            Layout::DeepZoom => write!(f, "{set}/{level}"),
            Layout::Zoomify | Layout::Map => write!(f, "{set} (level {level})"),
            Layout::Iiif => write!(f, "{set} (1/{level})"),
            Layout::Plain => write!(f, "{set}*"),
        }
    }
}

/// A number, whatever zeros it begins with.
fn number(text: &str) -> Option<u32> {
    let is_number = (1..=DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Exactly so many numbers.
fn numbers<const COUNT: usize>(text: &str, separator: char) -> Option<[u32; COUNT]> {
    let numbers: Option<Vec<u32>> = text.splitn(COUNT + 1, separator).map(number).collect();
    numbers?.try_into().ok()
}

fn iiif(size: &str, region: &str) -> Option<(u32, Place)> {
    let [x, y, width, height] = numbers(region, ',')?;
    let reduced = match size {
        "full" | "max" => width,
        _ => number(size.split(',').next()?)?,
    };
    if width == 0 || height == 0 || reduced == 0 {
        return None;
    }
    // The last column of a level was rounded up, and says the same as the others all the same: they are powers of two.
    let level = match width.is_multiple_of(reduced) {
        true => width / reduced,
        false => width.div_ceil(reduced).next_power_of_two(),
    };
    Some((level, Place::Region { x, y, width }))
}

fn zoomify(file: &str, group: &str) -> Option<(u32, Place)> {
    number(group.strip_prefix("TileGroup")?)?;
    let [level, column, row] = numbers(file, '-')?;
    Some((level, Place::Cell { column, row }))
}

fn deep_zoom(file: &str, level: &str, set: &str) -> Option<(u32, Place)> {
    set.strip_suffix("_files")?;
    let [column, row] = numbers(file, '_')?;
    Some((number(level)?, Place::Cell { column, row }))
}

fn map(file: &str, row: &str, level: &str) -> Option<(u32, Place)> {
    Some((number(level)?, Place::Pair(number(row)?, number(file)?)))
}

/// Numbers at the end, and what stands before them.
fn plain(stem: &str) -> Option<(&str, Place)> {
    let digits = |text: &str| text.len() - text.trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
    let (rest, last) = stem.split_at(stem.len() - digits(stem));
    let last = number(last)?;
    let is_between = |letter: char| letter.is_ascii_alphabetic() || matches!(letter, '_' | '-' | ',' | '.' | ' ');
    let before = rest.trim_end_matches(is_between);
    let (set, first) = before.split_at(before.len() - digits(before));
    match number(first) {
        Some(first) if (1..=BETWEEN).contains(&(rest.len() - before.len())) => Some((set, Place::Pair(first, last))),
        _ => Some((rest, Place::Number(last))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Option<(Layout, u32, String, Place)> {
        TileName::of(path).map(|TileName { key, place }| (key.layout, key.level, key.set, place))
    }

    #[test]
    fn the_layouts_of_viewers_are_known() {
        let cell = |column, row| Place::Cell { column, row };
        let region = |x, y, width| Place::Region { x, y, width };
        let cases = [
            ("a.zip > x_files/12/3_4.jpeg", Layout::DeepZoom, 12, "a.zip > x_files", cell(3, 4)),
            ("x_files\\0\\0_0.PNG", Layout::DeepZoom, 0, "x_files", cell(0, 0)),
            ("x/TileGroup1/4-15-7.jpg", Layout::Zoomify, 4, "x", cell(15, 7)),
            ("x/0,512,256,256/256,256/0/default.jpg", Layout::Iiif, 1, "x", region(0, 512, 256)),
            ("x/0,0,1024,1024/256,/0/default.jpg", Layout::Iiif, 4, "x", region(0, 0, 1024)),
            ("x/1024,0,301,1024/76,256/0/default.webp", Layout::Iiif, 4, "x", region(1024, 0, 301)),
            ("b/x/3/2/1.png", Layout::Map, 3, "b/x", Place::Pair(2, 1)),
        ];
        for (path, layout, level, set, place) in cases {
            assert_eq!(of(path), Some((layout, level, set.to_owned(), place)), "{path}");
        }
    }

    #[test]
    fn numbers_at_the_end_are_plain_tiles() {
        let cases = [
            ("d/tile_000.jpg", "d/tile_", Place::Number(0)),
            ("a.zip > 17.jpg", "a.zip > ", Place::Number(17)),
            ("d/scroll_02_13.tif", "d/scroll_", Place::Pair(2, 13)),
            ("r1-c2.jpg", "r", Place::Pair(1, 2)),
            ("map_row3_col4.png", "map_row", Place::Pair(3, 4)),
            ("d1/x_512,256.png", "d1/x_", Place::Pair(512, 256)),
            ("3/tile7.jpg", "3/tile", Place::Number(7)),
        ];
        for (path, set, place) in cases {
            assert_eq!(of(path), Some((Layout::Plain, 0, set.to_owned(), place)), "{path}");
        }
    }

    #[test]
    fn other_names_are_no_tiles_whatever_they_are() {
        let long = format!("{}.jpg", "9".repeat(4000));
        for path in ["", ".", ".jpg", "/", "notes.txt", "a/b.jpg", "7", "x_1.dzi", "é\u{202e}.jpg", "/.jpg", &long] {
            assert_eq!(of(path), None, "{path}");
        }
        for path in
            ["x_files/1/1_2_3.jpg", "x_files/99999999999/0_0.jpg", "TileGroup/1-2-3.jpg", "x/1,2,0,4/0,/0/d1.png"]
        {
            assert_eq!(of(path).map(|(layout, ..)| layout), Some(Layout::Plain), "{path}");
        }
    }

    #[test]
    fn tiles_of_one_level_belong_together() {
        let name = |path| TileName::of(path).unwrap();
        assert!(name("x_files/12/3_4.jpg").is_with(&name("x_files/12/0_9.jpg")));
        assert!(!name("x_files/12/3_4.jpg").is_with(&name("x_files/11/3_4.jpg")));
        assert!(name("x/0,0,256,256/256,/0/default.jpg").is_with(&name("x/256,0,99,256/99,/0/default.jpg")));
        assert!(!name("a_01.jpg").is_with(&name("b_01.jpg")));
    }
}
