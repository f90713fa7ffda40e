//! One strip or tile, decompressed while it is read: a picture in a single strip must not lie in memory at once.
//! Where the compression works on the whole strip or tile (JPEG, WebP, CCITT), that much is held.

use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom};

use hayro_ccitt::{DecodeSettings, DecoderContext, EncodingMode};
use image_webp::WebPDecoder;
use weezl::{BitOrder, LzwStatus};

use super::super::jpeg;
use super::super::packbits::PackBits;
use super::super::source::Reader;
use super::directory::read_failed;
use super::image::Image;
use crate::measure::{Limits, Reason, Size};

/// Largest window of a zstd stream, as a power of 2: what `zstd` itself accepts without `--long`.
const ZSTD_WINDOW: u32 = 27;

/// Opens strip or tile `index`, of which `rows` rows lie in the picture. What comes out are rows of
/// [`Image::row_bytes`] bytes each.
pub(super) fn open<'r>(
    reader: &'r mut Reader<'_>,
    image: &Image,
    index: usize,
    rows: u32,
    limits: &Limits,
) -> Result<Box<dyn Read + 'r>, Reason> {
    let offset = image.offsets.get(index).copied().unwrap_or(u64::MAX);
    // Some programs leave the length out, or write none.
    let length = image.counts.get(index).copied().filter(|length| *length > 0).unwrap_or(u64::MAX);
    reader.seek(SeekFrom::Start(offset)).map_err(|error| read_failed(&error))?;
    let mut bytes = reader.take(length);
    if image.reversed && image.compression != 7 {
        let mut whole = all(bytes, limits)?;
        whole.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
        return decompress(Cursor::new(whole), image, rows, limits);
    }
    // The order before TIFF 6.0 begins with the clear code in its reverse.
    if image.compression == 5
        && bytes.fill_buf().is_ok_and(|start| start.first() == Some(&0) && start.get(1).is_some_and(|b| b & 1 == 1))
    {
        return Err(Reason::Unsupported("LZW with the order of bits before TIFF 6.0".to_owned()));
    }
    decompress(bytes, image, rows, limits)
}

/// Whether strips or tiles of this compression are read.
pub(super) fn is_known(compression: u64) -> bool {
    matches!(compression, 1..=5 | 7 | 8 | 32773 | 32946 | 50000 | 50001)
}

fn decompress<'r>(
    bytes: impl BufRead + 'r,
    image: &Image,
    rows: u32,
    limits: &Limits,
) -> Result<Box<dyn Read + 'r>, Reason> {
    Ok(match image.compression {
        1 => Box::new(bytes),
        2..=4 => Box::new(Cursor::new(fax(&all(bytes, limits)?, image, rows, limits)?)),
        5 => {
            let configuration = weezl::decode::Configuration::with_tiff_size_switch(BitOrder::Msb, 8);
            Box::new(Lzw { bytes, decoder: configuration.with_yield_on_full_buffer(true).build() })
        }
        7 => Box::new(Cursor::new(jpeg(&all(bytes, limits)?, image, rows, limits)?)),
        8 | 32946 => Box::new(flate2::bufread::ZlibDecoder::new(bytes)),
        32773 => Box::new(PackBits::new(bytes)),
        50000 => {
            let mut decoder = zstd::Decoder::with_buffer(bytes).map_err(|error| read_failed(&error))?;
            decoder.window_log_max(ZSTD_WINDOW).map_err(|error| read_failed(&error))?;
            Box::new(decoder)
        }
        50001 => Box::new(Cursor::new(webp(&all(bytes, limits)?, image, rows, limits)?)),
        other => {
            let name = match other {
                6 => "\"old-style\" JPEG",
                33003..=33005 | 34712 => "JPEG 2000",
                34661 => "JBIG",
                34676 | 34677 => "SGI LogL",
                34887 => "LERC",
                34892 => "lossy JPEG of a camera's raw data",
                34925 => "LZMA",
                50002 | 52546 => "JPEG XL",
                _ => "of a kind that is not known here",
            };
            return Err(Reason::Unsupported(format!("TIFF with compression {other} ({name})")));
        }
    })
}

/// All bytes of a strip or tile, for what cannot be decompressed piece by piece.
fn all(bytes: impl Read, limits: &Limits) -> Result<Vec<u8>, Reason> {
    let most = limits.max_memory / 4;
    let mut whole = Vec::new();
    bytes.take(most + 1).read_to_end(&mut whole).map_err(|error| read_failed(&error))?;
    if whole.len() as u64 > most { Err(Reason::TooMuchMemory { bytes: most + 1, limit: most }) } else { Ok(whole) }
}

fn afford(bytes: u64, limits: &Limits) -> Result<usize, Reason> {
    let limit = limits.max_memory / 2;
    match usize::try_from(bytes) {
        Ok(length) if bytes <= limit => Ok(length),
        _ => Err(Reason::TooMuchMemory { bytes, limit }),
    }
}

/// CCITT (ITU-T T.4 and T.6) to one bit a pixel, 1 for black.
fn fax(bytes: &[u8], image: &Image, rows: u32, limits: &Limits) -> Result<Vec<u8>, Reason> {
    if image.bits != 1 || image.samples != 1 {
        return Err(Reason::Damaged("a CCITT compression of what is not black and white".to_owned()));
    }
    let length = afford(image.row_bytes() * u64::from(rows), limits)?;
    let encoding = match (image.compression, image.fax_options & 1) {
        (4, _) => EncodingMode::Group4,
        (3, 1) => EncodingMode::Group3_2D,
        _ => EncodingMode::Group3_1D,
    };
    let mut context = DecoderContext::new(DecodeSettings {
        columns: image.chunk.0,
        rows,
        end_of_block: true,
        end_of_line: image.compression == 3,
        rows_are_byte_aligned: image.compression == 2,
        encoding,
        strict: false,
    });
    let row_bytes = image.row_bytes() as usize;
    let mut sink = FaxRows { packed: Vec::new(), row_bytes, columns: image.chunk.0 };
    match hayro_ccitt::decode(bytes, &mut sink, &mut context) {
        Ok(_) => {}
        Err(hayro_ccitt::DecodeError::UnexpectedEof) if sink.packed.len() < length => {
            return Err(Reason::Truncated("a strip ends before its last row".to_owned()));
        }
        Err(error) => return Err(Reason::Damaged(error.to_string())),
    }
    Ok(sink.packed)
}

struct FaxRows {
    packed: Vec<u8>,
    row_bytes: usize,
    columns: u32,
}

impl hayro_ccitt::Decoder for FaxRows {
    fn push_row(&mut self, changes: &[u32]) {
        let start = self.packed.len();
        self.packed.resize(start + self.row_bytes, 0);
        let Some(row) = self.packed.get_mut(start..) else { return };
        for run in changes.chunks(2) {
            let from = run.first().copied().unwrap_or(0);
            for x in from..run.get(1).copied().unwrap_or(self.columns) {
                if let Some(byte) = row.get_mut(x as usize / 8) {
                    *byte |= 0x80 >> (x % 8);
                }
            }
        }
    }
}

/// JPEG by TIFF Technical Note 2: the tables of all strips lie apart.
fn jpeg(bytes: &[u8], image: &Image, rows: u32, limits: &Limits) -> Result<Vec<u8>, Reason> {
    // Only luminance and colour differences are converted; the other kinds mean what the directory says.
    let transform = if image.photometric == 6 { jpeg::Transform::YCbCr } else { jpeg::Transform::None };
    let frame = jpeg::frame(bytes)?;
    if image.bits != 8 {
        return Err(Reason::Unsupported(format!("JPEG with samples of {} bits in a TIFF", image.bits)));
    }
    let fits = frame.size.width == image.chunk.0 && (rows..=image.chunk.1).contains(&frame.size.height);
    if !fits || usize::from(frame.components) != image.together() {
        let ((width, height), Size { width: across, height: down, .. }) = (image.chunk, frame.size);
        return Err(Reason::Damaged(format!(
            "a strip or tile of {width} by {height} pixels holds a JPEG of {across} by {down}, {} components",
            frame.components
        )));
    }
    jpeg::raw(&image.jpeg_tables, bytes, transform, limits)
}

fn webp(bytes: &[u8], image: &Image, rows: u32, limits: &Limits) -> Result<Vec<u8>, Reason> {
    let failed = |error: image_webp::DecodingError| Reason::Damaged(error.to_string());
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(failed)?;
    let (width, height) = decoder.dimensions();
    let samples = if decoder.has_alpha() { 4 } else { 3 };
    let fits = width == image.chunk.0 && (rows..=image.chunk.1).contains(&height);
    if !fits || image.bits != 8 || !matches!(image.together(), 3 | 4) {
        return Err(Reason::Damaged(format!("a strip or tile holds a WebP picture of {width} by {height} pixels")));
    }
    let pixels = u64::from(width) * u64::from(height);
    let length = afford(pixels * (samples + 4), limits)? / (samples as usize + 4) * samples as usize;
    decoder.set_memory_limit(usize::try_from(limits.max_memory).unwrap_or(usize::MAX));
    let mut decoded = vec![0; length];
    decoder.read_image(&mut decoded).map_err(failed)?;
    if samples as usize == image.together() {
        return Ok(decoded);
    }
    // WebP leaves out an opacity that is full everywhere.
    let full = |pixel: &[u8]| [pixel.first(), pixel.get(1), pixel.get(2)].map(|s| s.copied().unwrap_or(255));
    Ok(decoded
        .chunks_exact(samples as usize)
        .flat_map(|pixel| full(pixel).into_iter().chain((image.together() == 4).then_some(255)))
        .collect())
}

struct Lzw<R> {
    bytes: R,
    decoder: weezl::decode::Decoder,
}

impl<R: BufRead> Read for Lzw<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let result = self.decoder.decode_bytes(self.bytes.fill_buf()?, buffer);
            self.bytes.consume(result.consumed_in);
            match result.status {
                Ok(LzwStatus::Ok) if result.consumed_out == 0 => {}
                Ok(LzwStatus::Ok | LzwStatus::Done) => return Ok(result.consumed_out),
                Ok(LzwStatus::NoProgress) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }
}
