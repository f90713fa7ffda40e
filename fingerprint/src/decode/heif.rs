//! AVIF and HEIC: HEIF files (ISO/IEC 23008-12) with pictures coded by AV1 and HEVC, whole or in a grid of tiles that
//! are decoded one after another. What is cut off by a "clean aperture" is looked at as well.

mod av1;
mod frame;
mod hevc;
mod items;
mod turn;

use self::frame::{Coding, Frame};
use self::items::Items;
use self::turn::Turn;
use super::boxes::Fields;
use super::{Budget, Each, Failure, Format, Reduced, Reducer, Source, admit, jpeg, report};
use crate::measure::{Limits, Reason, Size};

/// Most items that stand for one another.
const IDENTITIES: usize = 8;

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let items = Items::read(source, limits)?;
    let Some(primary) = items.primary else {
        let film = Reason::Unsupported("a film without a picture beside it".to_owned());
        let none = Reason::Damaged("it names no main picture".to_owned());
        return Err(if items.film { film } else { none }.into());
    };
    let picture = Picture::of(&items, primary, limits);
    picture.and_then(|picture| picture.reduce(&items, limits)).map_err(|failure| told(failure, &items, primary))
}

/// The pictures beside the main one: thumbnails, opacity and depth, further photographs, and what overlays are made
/// from. The tiles of a grid are none.
pub(super) fn further(
    format: Format,
    source: Source<'_>,
    limits: &Limits,
    budget: &mut Budget,
    each: Each<'_>,
) -> Result<(), Failure> {
    let Ok(items) = Items::read(source, limits) else { return Ok(()) };
    let tiles = items.tiles();
    for &id in items.items.keys() {
        let is_picture = items.property(id, b"ispe").is_some() || is_coded(items.kind(id)) || items.kind(id) == b"grid";
        let is_derived = matches!(items.kind(id), b"iovl" | b"tmap" | b"iden");
        if Some(id) == items.primary || tiles.contains(&id) || !is_picture || is_derived {
            continue;
        }
        let picture = Picture::of(&items, id, limits);
        if let Ok(picture) = &picture
            && budget.spend(picture.cost, each).is_break()
        {
            return Ok(());
        }
        let found = picture.and_then(|picture| picture.reduce(&items, limits));
        let found = found.map_err(|failure| told(failure, &items, id));
        if report(each, format, format!("picture {id}"), found).is_break() {
            return Ok(());
        }
    }
    if items.film && items.primary.is_some() {
        let _ = each("film".to_owned(), Err(Reason::Unsupported("a film beside the picture".to_owned()).into()));
    }
    Ok(())
}

/// The colour profile of the main picture (ISO/IEC 23008-12, 6.5.5).
pub(super) fn profile(source: Source<'_>, limits: &Limits) -> Option<Vec<u8>> {
    let items = Items::read(source, limits).ok()?;
    let mut said = items.said_of(items.primary?).filter(|(kind, _)| *kind == b"colr");
    said.find_map(|(_, body)| body.strip_prefix(b"prof").or_else(|| body.strip_prefix(b"rICC"))).map(<[u8]>::to_vec)
}

/// With the size that the file names, where its coded data did not say.
fn told(failure: Failure, items: &Items<'_>, id: u32) -> Failure {
    Failure { size: failure.size.or_else(|| named(items, id)), ..failure }
}

/// The size in the property "ispe", and the bits in "pixi" (6.5.3 and 6.5.6).
fn named(items: &Items<'_>, id: u32) -> Option<Size> {
    let mut fields = Fields(items.property(id, b"ispe")?);
    fields.version()?;
    let (width, height) = (fields.number(4)? as u32, fields.number(4)? as u32);
    let bits = items.property(id, b"pixi").and_then(|body| body.get(5));
    Some(Size { width, height, bit_depth: bits.copied().unwrap_or(8) })
}

fn is_coded(kind: &[u8; 4]) -> bool {
    matches!(kind, b"av01" | b"hvc1" | b"hev1" | b"jpeg")
}

/// A picture of which only headers were read.
struct Picture {
    /// As it is stored.
    size: Size,
    /// What is decoded for it.
    cost: Size,
    turn: Turn,
    coding: Option<Coding>,
    kind: Kind,
}

enum Kind {
    Coded(Coded),
    /// Items, their columns, and the size of each.
    Grid(Vec<u32>, u32, Size),
}

/// One coded picture.
enum Coded {
    Av1(av1::Coded),
    Hevc(hevc::Coded),
    Jpeg(Vec<u8>, Size),
}

impl Coded {
    fn of(items: &Items<'_>, id: u32, limits: &Limits) -> Result<Coded, Failure> {
        match items.kind(id) {
            b"av01" => Ok(Coded::Av1(av1::Coded::of(items.bytes(id, limits)?, items.property(id, b"av1C"))?)),
            b"hvc1" | b"hev1" => {
                Ok(Coded::Hevc(hevc::Coded::of(&items.bytes(id, limits)?, items.property(id, b"hvcC"))?))
            }
            b"jpeg" => {
                let bytes = items.bytes(id, limits)?;
                let size = jpeg::frame(&bytes)?.size;
                Ok(Coded::Jpeg(bytes, size))
            }
            b"\0\0\0\0" => Err(Reason::Damaged(format!("nothing is said of item {id}")).into()),
            kind => Err(Reason::Unsupported(format!("HEIF with pictures of kind \"{}\"", kind.escape_ascii())).into()),
        }
    }

    fn size(&self) -> Size {
        match self {
            Coded::Av1(coded) => coded.size,
            Coded::Hevc(coded) => coded.size,
            Coded::Jpeg(_, size) => *size,
        }
    }

    fn decode(&self, limits: &Limits) -> Result<Frame, Failure> {
        match self {
            Coded::Av1(coded) => coded.decode(limits),
            Coded::Hevc(coded) => coded.decode(limits),
            Coded::Jpeg(_, size) => Err(Reason::Unsupported("a grid of JPEG pictures".to_owned()).at(*size)),
        }
    }
}

impl Picture {
    fn of(items: &Items<'_>, id: u32, limits: &Limits) -> Result<Picture, Failure> {
        let (mut id, mut ids) = (id, vec![id]);
        while let (b"iden", [other]) = (items.kind(id), items.made_from(id)) {
            if ids.len() > IDENTITIES {
                return Err(Reason::Damaged("items that stand for one another".to_owned()).into());
            }
            id = *other;
            ids.push(id);
        }
        let said = ids.iter().rev().flat_map(|id| items.said_of(*id));
        let turn = said.fold(Turn::default(), |turn, (kind, body)| turn.then(kind, body));
        let coding = ids.iter().find_map(|id| {
            items.said_of(*id).filter(|(kind, _)| *kind == b"colr").find_map(|(_, body)| Coding::of(body))
        });
        if items.kind(id) != b"grid" {
            let coded = Coded::of(items, id, limits)?;
            return Ok(Picture { size: coded.size(), cost: coded.size(), turn, coding, kind: Kind::Coded(coded) });
        }
        let described = items.bytes(id, limits)?;
        let grid = grid(&described).ok_or_else(|| Reason::Damaged("its grid ends too early".to_owned()))?;
        let tiles = items.made_from(id);
        let Some(&first) =
            tiles.first().filter(|_| tiles.len() as u64 == u64::from(grid.columns) * u64::from(grid.rows))
        else {
            let message = format!("a grid of {} by {} tiles has {}", grid.columns, grid.rows, tiles.len());
            return Err(Reason::Damaged(message).into());
        };
        let tile = Coded::of(items, first, limits)?.size();
        let size = Size { bit_depth: tile.bit_depth, ..grid.size };
        let cost = Size {
            width: tile.width.saturating_mul(grid.columns),
            height: tile.height.saturating_mul(grid.rows),
            bit_depth: tile.bit_depth,
        };
        if cost.width < size.width || cost.height < size.height {
            return Err(Reason::Damaged("its tiles do not fill it".to_owned()).at(size));
        }
        Ok(Picture { size, cost, turn, coding, kind: Kind::Grid(tiles.to_vec(), grid.columns, tile) })
    }

    /// The size as it is shown, and what it looks like.
    fn reduce(self, items: &Items<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
        admit(self.size, limits)?;
        admit(self.cost, limits)?;
        match &self.kind {
            Kind::Coded(Coded::Jpeg(bytes, _)) => jpeg::decode(Source::Memory(bytes), limits),
            Kind::Coded(coded) => {
                let frame = coded.decode(limits)?;
                let size = Size { width: frame.width, height: frame.height, bit_depth: frame.bit_depth };
                let mut canvas = Canvas::new(size, self.turn, self.coding, limits);
                canvas.draw(0, 0, frame);
                Ok(canvas.finish())
            }
            Kind::Grid(tiles, columns, tile) => {
                let mut canvas = Canvas::new(self.size, self.turn, self.coding, limits);
                for (number, &id) in (0u32..).zip(tiles) {
                    let coded = Coded::of(items, id, limits).map_err(|failure| failure.reason.at(self.size))?;
                    if (coded.size().width, coded.size().height) != (tile.width, tile.height) {
                        return Err(Reason::Damaged("its tiles are of several sizes".to_owned()).at(self.size));
                    }
                    let frame = coded.decode(limits).map_err(|failure| failure.reason.at(self.size))?;
                    canvas.draw(number % columns * tile.width, number / columns * tile.height, frame);
                }
                Ok(canvas.finish())
            }
        }
    }
}

/// What frames are drawn on, where they lie.
struct Canvas {
    stored: Size,
    shown: (u32, u32),
    turn: Turn,
    /// As the container says, which comes before what the coded data says (6.5.5.1).
    coding: Option<Coding>,
    reducer: Reducer,
}

impl Canvas {
    fn new(stored: Size, turn: Turn, coding: Option<Coding>, limits: &Limits) -> Canvas {
        let shown = turn.shown((stored.width, stored.height));
        Canvas { stored, shown, turn, coding, reducer: Reducer::new(shown.0, shown.1, limits) }
    }

    fn draw(&mut self, left: u32, top: u32, mut frame: Frame) {
        frame.coding = self.coding.unwrap_or(frame.coding);
        let Canvas { stored, shown, turn, reducer, .. } = self;
        let columns = stored.width.saturating_sub(left) as usize;
        frame.rows(&mut |y, rgb| {
            let y = top.saturating_add(y);
            let fits = rgb.len().min(columns * 3);
            if y < stored.height && fits > 0 {
                turn.add(reducer, *shown, (left, y), &mut rgb[..fits]);
            }
        });
    }

    fn finish(self) -> (Size, Reduced) {
        let (width, height) = self.shown;
        (Size { width, height, bit_depth: self.stored.bit_depth }, self.reducer.finish())
    }
}

/// How tiles make a picture (6.6.2.3).
struct Grid {
    columns: u32,
    rows: u32,
    size: Size,
}

fn grid(bytes: &[u8]) -> Option<Grid> {
    let mut fields = Fields(bytes);
    fields.number(1)?;
    let wide = if fields.number(1)? & 1 == 0 { 2 } else { 4 };
    let (rows, columns) = (fields.number(1)? as u32 + 1, fields.number(1)? as u32 + 1);
    let (width, height) = (fields.number(wide)? as u32, fields.number(wide)? as u32);
    Some(Grid { columns, rows, size: Size { width, height, bit_depth: 8 } })
}
