//! PDF (ISO 32000) through hayro-syntax: pictures, however they are coded, and attached files.

use std::borrow::Cow;

use hayro_syntax::object::stream::{ImageColorSpace, ImageDecodeParams};
use hayro_syntax::object::{self, Array, Dict, Name, Object, Stream};
use hayro_syntax::{Filter, LoadPdfError, Pdf};
use memchr::memmem;

use super::bomb::{has_bomb, is_bomb, is_picture, unpacked};
use super::leftover::Accounts;
use super::walk::Walk;
use super::{Opaque, join};
use crate::decode::{Failure, Format, Layout, Source, samples};
use crate::measure::{Content, Picture, Reason, Size, Unscanned};

/// How a document begins (ISO 32000-1, 7.5.2).
const BEGINNING: &[u8] = b"%PDF-";
/// Pictures with a longer side below this are icons and rules.
const SMALLEST: u32 = 64;

impl Walk<'_> {
    pub(super) fn pdf(&mut self, path: &str, source: Source<'_>, depth: u32) -> Result<(), Opaque> {
        let bytes = source.bytes(self.limits).map_err(|failure| Opaque::Damaged(failure.reason.to_string()))?;
        // Its objects are found without a look at the clock, so that it has to be soon.
        let most = self.limits.max_memory / 8;
        if has_bomb(&bytes, most) {
            return Err(Opaque::TooLarge(most));
        }
        let pdf = Pdf::new(bytes.into_owned()).map_err(|error| match error {
            LoadPdfError::Decryption(_) => Opaque::Encrypted,
            LoadPdfError::Invalid => Opaque::Damaged("its objects cannot be found".to_owned()),
        })?;
        let data = pdf.data();
        let whole: &[u8] = data.as_ref();
        let mut accounts = Accounts::default();
        let begin = memmem::find(whole, BEGINNING).unwrap_or_default();
        accounts.seen(begin as u64, BEGINNING.len() as u64);
        let mut beside = 0;
        for object in pdf.objects() {
            self.budget.check()?;
            let Object::Stream(stream) = object else { continue };
            let kind = |key: &str| stream.dict().get::<Name<'_>>(key);
            let raw = stream.raw_data();
            // Where it lies in the file; what is decrypted lies elsewhere.
            let start = (raw.as_ptr() as usize).checked_sub(whole.as_ptr() as usize).filter(|at| *at < whole.len());
            let place = start.map_or((0, 0), |start| (start as u64, raw.len() as u64));
            let name = |what: &str| join(path, format!("{what} {}", stream.obj_id().obj_number).as_bytes());
            if kind("Subtype").is_some_and(|kind| kind.as_str() == "Image") {
                accounts.seen(place.0, place.1);
                self.image(name("picture"), &stream, depth)?;
            } else if kind("Type").is_some_and(|kind| kind.as_str() == "EmbeddedFile") {
                accounts.seen(place.0, place.1);
                let attached = match self.is_bomb(&stream) {
                    true => Err(Opaque::TooLarge(self.limits.max_memory)),
                    false => stream
                        .decoded_data()
                        .map_err(|_| Opaque::Damaged("the attached file cannot be unpacked".to_owned())),
                };
                match attached {
                    Ok(attached) => self.bytes(name("attachment"), &attached, depth)?,
                    Err(why) => self.picture(name("attachment"), Content::Opaque(why))?,
                }
            } else {
                beside += raw.len() as u64;
                let filters = stream.filters();
                let before = filters.iter().position(|filter| is_picture(*filter)).unwrap_or(filters.len());
                if let Some(data) = unpacked(&raw, &filters[..before], self.limits.max_memory) {
                    accounts.seen(place.0, place.1);
                    self.budget.unpack(data.len())?;
                    self.search(&name("stream"), Source::Memory(&data), 0, depth);
                }
            }
        }
        self.beside(path, "other streams", beside)?;
        let end = memmem::rfind(whole, b"%%EOF").unwrap_or(whole.len());
        accounts.explained(0, end as u64);
        self.left_over(path, "behind the document", Source::Memory(whole), accounts, depth)
    }

    fn is_bomb(&self, stream: &Stream<'_>) -> bool {
        is_bomb(&stream.raw_data(), &stream.filters(), self.limits.max_memory)
    }

    fn image(&mut self, path: String, stream: &Stream<'_>, depth: u32) -> Result<(), Opaque> {
        let dict = stream.dict();
        let side = |key: &str| dict.get::<u32>(key).unwrap_or(0);
        let (width, height) = (side("Width"), side("Height"));
        // As it is in the document: the same bytes as the file that was put in.
        if let Some((Filter::DctDecode | Filter::JpxDecode, before)) = stream.filters().split_last()
            && let Some(bytes) = unpacked(&stream.raw_data(), before, self.limits.max_memory)
        {
            return self.bytes(path, &bytes, depth);
        }
        if width.max(height) < SMALLEST {
            return Ok(());
        }
        let content = match self.samples(stream, width, height).and_then(Picture::new) {
            Ok(picture) => Content::Picture(picture),
            Err(Failure { reason, size }) => Content::Unscanned(Unscanned { format: Format::Bare, reason, size }),
        };
        self.picture(path, content)
    }

    fn samples(&self, stream: &Stream<'_>, width: u32, height: u32) -> Result<crate::decode::Decoded, Failure> {
        let dict = stream.dict();
        let is_mask = dict.get::<bool>("ImageMask").unwrap_or(false);
        let bits = if is_mask { 1 } else { dict.get::<u8>("BitsPerComponent").unwrap_or(8) };
        // The width of a fax is that of its parameters.
        let faxed = if stream.filters().contains(&Filter::CcittFaxDecode) { columns(dict) } else { 0 };
        let pixels = u64::from(width).max(faxed).saturating_mul(height.into());
        let promised = pixels.saturating_mul(bits.div_ceil(8).into());
        if promised > self.limits.max_memory / 4 || self.is_bomb(stream) {
            let size = Size { width, height, bit_depth: bits };
            let reason = Reason::TooMuchMemory { bytes: pixels.saturating_mul(4), limit: self.limits.max_memory };
            return Err(Failure { reason, size: Some(size) });
        }
        let palette = palette(dict);
        let parameters = ImageDecodeParams {
            is_indexed: palette.is_some(),
            bpc: Some(bits),
            num_components: None,
            target_dimension: None,
            width,
            height,
        };
        let damaged = || Reason::Damaged("its samples cannot be unpacked".to_owned());
        let decoded = stream.decoded_image(&parameters).map_err(|_| damaged())?;
        let size = match &decoded.image_data {
            Some(data) => Size { width: data.width, height: data.height, bit_depth: data.bits_per_component },
            None => Size { width, height, bit_depth: bits },
        };
        let space = decoded.image_data.as_ref().and_then(|data| data.color_space);
        let row = (u64::from(size.width) * u64::from(size.bit_depth)).div_ceil(8);
        let rows = row.saturating_mul(size.height.into());
        let layout = match (palette, space) {
            (Some(colours), _) => Layout::Palette(colours),
            (None, Some(ImageColorSpace::Gray)) => Layout::Grey { samples: 1 },
            (None, Some(ImageColorSpace::Rgb)) => Layout::Rgb { samples: 3 },
            (None, Some(ImageColorSpace::Cmyk)) => Layout::Cmyk { samples: 4 },
            // Whatever the colour space is called, the number of its components shows in the number of bytes.
            (None, _) => match decoded.data.len() as u64 / rows.max(1) {
                0 | 1 => Layout::Grey { samples: 1 },
                3 => Layout::Rgb { samples: 3 },
                4 => Layout::Cmyk { samples: 4 },
                more => Layout::Grey { samples: more as usize },
            },
        };
        samples::decode(size, &layout, &decoded.data, self.limits)
    }
}

/// The most columns that the parameters of a filter speak of (ISO 32000-1, 7.4.6).
fn columns(dict: &Dict<'_>) -> u64 {
    const USUAL: u64 = 1728;
    // Cut off above 32 bits, as its decoder does.
    let number = |parameters: &Dict<'_>| parameters.get::<usize>("Columns").map(|columns| u64::from(columns as u32));
    let of = |parameters: Dict<'_>| number(&parameters).unwrap_or(USUAL);
    let one = ["DecodeParms", "DP"].into_iter().filter_map(|key| dict.get::<Dict<'_>>(key)).map(of).max();
    let arrays = ["DecodeParms", "DP"].into_iter().filter_map(|key| dict.get::<Array<'_>>(key));
    let many = arrays.flat_map(|array| array.iter::<Dict<'_>>().map(of).collect::<Vec<_>>()).max();
    one.max(many).unwrap_or(USUAL)
}

/// The colours of an indexed colour space (ISO 32000-1, 8.6.6.3).
fn palette(dict: &Dict<'_>) -> Option<Vec<[u8; 3]>> {
    let space = dict.get::<Array<'_>>("ColorSpace").or_else(|| dict.get::<Array<'_>>("CS"))?;
    let mut items = space.iter::<Object<'_>>();
    if !matches!(items.next()?, Object::Name(name) if matches!(name.as_str(), "Indexed" | "I")) {
        return None;
    }
    let highest = match items.nth(1)? {
        Object::Number(number) => number.as_i64().clamp(0, 255) as usize,
        _ => return None,
    };
    let table: Cow<'_, [u8]> = match items.next()? {
        Object::String(text) => Cow::Owned(object::String::as_bytes(&text).to_vec()),
        Object::Stream(stream) => Cow::Owned(stream.decoded_data().ok()?.into_owned()),
        _ => return None,
    };
    let layout = match table.len() / (highest + 1) {
        0 => return None,
        1 | 2 => Layout::Grey { samples: 1 },
        3 => Layout::Rgb { samples: 3 },
        _ => Layout::Cmyk { samples: 4 },
    };
    let mut colours = Vec::new();
    layout.to_rgb(&table, &mut colours);
    Some(colours.as_chunks::<3>().0.to_vec())
}
