//! Tiles among what is inside a file: members of an archive that make one picture.

use super::Opaque;
use super::walk::Walk;
use crate::decode::{Format, Source};
use crate::measure::{Content, decode, picture};
use crate::tiles::{Set, Settled, TileName};

impl Walk<'_> {
    /// What a picture shows, or that it may be a tile and is told later.
    pub(super) fn seen(&mut self, path: &str, format: Format, source: Source<'_>) -> Content {
        let decoded = decode(format, source, self.limits);
        if let (Some(name), Ok(decoded)) = (TileName::of(path), &decoded) {
            let is_later = self.tiles.add(path, name, decoded);
            if self.tiles.is_full() {
                let settled = self.tiles.settle();
                // Where the budget is spent the container says so.
                let _ = self.told(settled);
            }
            if is_later {
                return Content::Tile(decoded.size);
            }
        }
        picture(format, decoded)
    }

    /// No more tiles come: tells of the sets, and of what belongs to none.
    pub(super) fn tiles_are_all(&mut self) -> Result<(), Opaque> {
        let settled = self.tiles.finish();
        self.told(settled)
    }

    fn told(&mut self, settled: Settled) -> Result<(), Opaque> {
        for Set { title, decoded, filled } in settled.sets {
            let mut content = picture(decoded.format, Ok(decoded));
            if let Content::Picture(picture) = &mut content {
                picture.filled = filled;
            }
            self.picture(title, content)?;
        }
        for (path, decoded) in settled.single {
            self.picture(path, picture(decoded.format, Ok(decoded)))?;
        }
        Ok(())
    }
}
