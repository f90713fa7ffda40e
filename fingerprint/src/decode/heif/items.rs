//! The items of a HEIF file: which pictures there are, where they lie, and what is said of them (ISO/IEC 14496-12,
//! 8.11; ISO/IEC 23008-12, 6).

use std::collections::{BTreeMap, BTreeSet};

use super::super::boxes::{Fields, child, children, places};
use crate::decode::Source;
use crate::measure::{Limits, Reason};

/// Longest description of all items: a grid of 65,536 tiles takes some 2 MiB.
const META: u64 = 16 << 20;
/// Most pieces of all items together.
const EXTENTS: usize = 1 << 20;

/// One item.
#[derive(Default)]
pub(super) struct Item {
    pub(super) kind: [u8; 4],
    /// Its pieces: offset and length, 0 for all the rest; in the description itself where `inside`.
    extents: Vec<(u64, u64)>,
    inside: bool,
    /// Its pieces lie in another item, or in another file.
    elsewhere: bool,
    properties: Vec<usize>,
}

/// All items of a file.
pub(super) struct Items<'a> {
    source: Source<'a>,
    pub(super) primary: Option<u32>,
    pub(super) items: BTreeMap<u32, Item>,
    properties: Vec<([u8; 4], Vec<u8>)>,
    /// What an item is made from, in order.
    made_from: BTreeMap<u32, Vec<u32>>,
    data: Vec<u8>,
    /// There is a film beside the pictures, or instead of them.
    pub(super) film: bool,
}

impl<'a> Items<'a> {
    pub(super) fn read(source: Source<'a>, limits: &Limits) -> Result<Items<'a>, Reason> {
        let places = places(source, 0, source.size());
        let film = places.iter().any(|place| &place.kind == b"moov");
        let mut items = Items {
            source,
            primary: None,
            items: BTreeMap::new(),
            properties: Vec::new(),
            made_from: BTreeMap::new(),
            data: Vec::new(),
            film,
        };
        let Some(meta) = places.iter().find(|place| &place.kind == b"meta") else {
            return if film {
                Ok(items)
            } else {
                Err(Reason::Truncated("it ends before its items are named".to_owned()))
            };
        };
        let length = meta.end - meta.start;
        if length > META.min(limits.max_memory / 4) {
            return Err(Reason::TooMuchMemory { bytes: length, limit: META.min(limits.max_memory / 4) });
        }
        let meta = source.peek(meta.start, length as usize);
        for (kind, contents) in children(meta.get(4..).unwrap_or_default()) {
            let read = match &kind {
                b"pitm" => items.primary(contents),
                b"iinf" => items.kinds(contents),
                b"iloc" => items.locations(contents),
                b"iref" => items.references(contents),
                b"iprp" => items.properties(contents),
                b"idat" => {
                    items.data = contents.to_vec();
                    Some(())
                }
                _ => Some(()),
            };
            if read.is_none() {
                return Err(Reason::Damaged(format!("the box \"{}\" ends too early", kind.escape_ascii())));
            }
        }
        Ok(items)
    }

    fn primary(&mut self, contents: &[u8]) -> Option<()> {
        let mut fields = Fields(contents);
        let (version, _) = fields.version()?;
        self.primary = Some(fields.number(if version == 0 { 2 } else { 4 })? as u32);
        Some(())
    }

    fn kinds(&mut self, contents: &[u8]) -> Option<()> {
        let mut fields = Fields(contents);
        let (version, _) = fields.version()?;
        fields.number(if version == 0 { 2 } else { 4 })?;
        for (_, entry) in children(fields.0).filter(|(kind, _)| kind == b"infe") {
            let mut fields = Fields(entry);
            let (version, _) = fields.version()?;
            if version < 2 {
                continue; // Of no kind.
            }
            let id = fields.number(if version == 2 { 2 } else { 4 })? as u32;
            fields.number(2)?;
            self.items.entry(id).or_default().kind = fields.take(4)?.try_into().ok()?;
        }
        Some(())
    }

    fn locations(&mut self, contents: &[u8]) -> Option<()> {
        let mut fields = Fields(contents);
        let (version, _) = fields.version()?;
        let sizes = fields.number(2)? as usize;
        let [offset, length, base, index] = [12, 8, 4, 0].map(|shift| (sizes >> shift & 15).min(8));
        let index = if version == 0 { 0 } else { index };
        let wide = if version < 2 { 2 } else { 4 };
        let mut left = EXTENTS;
        for _ in 0..fields.number(wide)? {
            let id = fields.number(wide)? as u32;
            let method = if version == 0 { 0 } else { fields.number(2)? & 15 };
            let file = fields.number(2)?;
            let base = fields.number(base)?;
            let count = fields.number(2)? as usize;
            left = left.checked_sub(count)?;
            let mut extents = Vec::new();
            for _ in 0..count {
                fields.number(index)?;
                extents.push((base.saturating_add(fields.number(offset)?), fields.number(length)?));
            }
            let item = self.items.entry(id).or_default();
            (item.extents, item.inside, item.elsewhere) = (extents, method == 1, method > 1 || file != 0);
        }
        Some(())
    }

    fn references(&mut self, contents: &[u8]) -> Option<()> {
        let mut fields = Fields(contents);
        let wide = if fields.version()?.0 == 0 { 2 } else { 4 };
        for (_, reference) in children(fields.0).filter(|(kind, _)| kind == b"dimg") {
            let mut fields = Fields(reference);
            let from = fields.number(wide)? as u32;
            let count = fields.number(2)?;
            let to: Option<Vec<u32>> = (0..count).map(|_| Some(fields.number(wide)? as u32)).collect();
            self.made_from.insert(from, to?);
        }
        Some(())
    }

    fn properties(&mut self, contents: &[u8]) -> Option<()> {
        let all = child(contents, b"ipco").unwrap_or_default();
        self.properties = children(all).map(|(kind, contents)| (kind, contents.to_vec())).collect();
        for (_, associations) in children(contents).filter(|(kind, _)| kind == b"ipma") {
            let mut fields = Fields(associations);
            let (version, flags) = fields.version()?;
            let wide = if flags & 1 == 0 { 1 } else { 2 };
            for _ in 0..fields.number(4)? {
                let id = fields.number(if version == 0 { 2 } else { 4 })? as u32;
                let count = fields.number(1)?;
                // The highest bit says whether the property is essential; the numbers count from 1.
                let number = |field: u64| (field & if wide == 1 { 0x7f } else { 0x7fff }) as usize;
                let numbers: Option<Vec<usize>> = (0..count).map(|_| Some(number(fields.number(wide)?))).collect();
                let numbers = numbers?.into_iter().filter_map(|number| number.checked_sub(1));
                self.items.entry(id).or_default().properties = numbers.collect();
            }
        }
        Some(())
    }

    /// What is said of an item, in order.
    pub(super) fn said_of(&self, id: u32) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
        let numbers = self.items.get(&id).map(|item| item.properties.as_slice()).unwrap_or_default();
        numbers.iter().filter_map(|number| self.properties.get(*number)).map(|(kind, body)| (kind, body.as_slice()))
    }

    /// One thing that is said of an item.
    pub(super) fn property(&self, id: u32, kind: &[u8; 4]) -> Option<&[u8]> {
        self.said_of(id).find(|(found, _)| *found == kind).map(|(_, body)| body)
    }

    /// What an item is made from.
    pub(super) fn made_from(&self, id: u32) -> &[u32] {
        self.made_from.get(&id).map(Vec::as_slice).unwrap_or_default()
    }

    /// What is only a part of a grid, and no picture of its own.
    pub(super) fn tiles(&self) -> BTreeSet<u32> {
        let grids = self.made_from.iter().filter(|(id, _)| self.kind(**id) == b"grid");
        grids.flat_map(|(_, tiles)| tiles).copied().collect()
    }

    pub(super) fn kind(&self, id: u32) -> &[u8; 4] {
        self.items.get(&id).map_or(b"\0\0\0\0", |item| &item.kind)
    }

    /// The bytes of an item.
    pub(super) fn bytes(&self, id: u32, limits: &Limits) -> Result<Vec<u8>, Reason> {
        let item = self.items.get(&id).filter(|item| !item.extents.is_empty());
        let item = item.ok_or_else(|| Reason::Damaged(format!("item {id} lies nowhere")))?;
        if item.elsewhere {
            return Err(Reason::Unsupported(format!("item {id} lies in another item or file")));
        }
        let source = if item.inside { Source::Memory(&self.data) } else { self.source };
        let (mut bytes, most) = (Vec::new(), limits.max_memory / 4);
        for (offset, length) in &item.extents {
            let left = source.size().saturating_sub(*offset);
            let length = if *length == 0 { left } else { *length };
            let together = length.saturating_add(bytes.len() as u64);
            if length > left {
                return Err(Reason::Truncated(format!("item {id} lies beyond its end")));
            }
            if together > most {
                return Err(Reason::TooMuchMemory { bytes: together, limit: most });
            }
            bytes.extend_from_slice(&source.peek(*offset, length as usize));
        }
        Ok(bytes)
    }
}
