//! The `tiff` crate refuses palettes and CIE L*a*b*, although it could read their samples: their
//! interpretation is shown to it as "black is zero", and applied by us.

use std::io::{self, Read, Seek, SeekFrom};

use super::super::source::Reader;

/// PhotometricInterpretation (TIFF 6.0, section 8, tag 262).
const PHOTOMETRIC: u16 = 262;
/// Most entries of a directory that are looked at.
const ENTRIES: u64 = 4096;

/// What the samples mean, as far as it is treated apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interpretation {
    /// As the decoder says.
    Plain,
    /// 0 is white.
    WhiteIsZero,
    /// Indices into a colour map.
    Palette,
    /// CIE L*a*b* or one of its variants.
    Lab,
}

/// A TIFF file whose interpretation reads "black is zero" where the decoder would refuse it.
pub(super) struct Patched<'a> {
    inner: Reader<'a>,
    position: u64,
    /// Where the low byte of the interpretation lies, if it is to be replaced.
    patch: Option<u64>,
    interpretation: Interpretation,
}

impl<'a> Patched<'a> {
    pub(super) fn new(mut inner: Reader<'a>) -> io::Result<Patched<'a>> {
        let found = find(&mut inner)?;
        inner.seek(SeekFrom::Start(0))?;
        let interpretation = match found {
            Some((_, 0)) => Interpretation::WhiteIsZero,
            Some((_, 3)) => Interpretation::Palette,
            Some((_, 8..=10)) => Interpretation::Lab,
            _ => Interpretation::Plain,
        };
        let refused = matches!(interpretation, Interpretation::Palette | Interpretation::Lab);
        let patch = found.filter(|_| refused).map(|(offset, _)| offset);
        Ok(Patched { inner, position: 0, patch, interpretation })
    }

    pub(super) fn interpretation(&self) -> Interpretation {
        self.interpretation
    }
}

/// Offset and value of the low byte of the first directory's interpretation.
fn find(reader: &mut Reader<'_>) -> io::Result<Option<(u64, u8)>> {
    let mut header = [0u8; 16];
    reader.read_exact(&mut header[..8])?;
    let little = header[0] == b'I';
    let big = header[2..4].contains(&43);
    let number = |bytes: &[u8]| {
        let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) }
    };
    if big {
        reader.read_exact(&mut header[8..])?;
    }
    let start = if big { number(&header[8..16]) } else { number(&header[4..8]) };
    let (count_bytes, entry_bytes, value_at) = if big { (8, 20, 12) } else { (2, 12, 8) };
    reader.seek(SeekFrom::Start(start))?;
    let mut count = [0u8; 8];
    reader.read_exact(&mut count[..count_bytes])?;
    for index in 0..number(&count[..count_bytes]).min(ENTRIES) {
        let mut entry = [0u8; 20];
        reader.read_exact(&mut entry[..entry_bytes])?;
        if number(&entry[..2]) == u64::from(PHOTOMETRIC) {
            let low = value_at + usize::from(!little);
            let at = start.checked_add((count_bytes + low) as u64 + index * entry_bytes as u64);
            let short = number(&entry[2..4]) == 3 && number(&entry[value_at..value_at + 2]) <= 255;
            return Ok(at.filter(|_| short).map(|at| (at, entry[low])));
        }
    }
    Ok(None)
}

impl Read for Patched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        if let Some(index) = self.patch.and_then(|at| at.checked_sub(self.position))
            && let Some(byte) = usize::try_from(index).ok().and_then(|index| buffer[..got].get_mut(index))
        {
            *byte = 1;
        }
        self.position += got as u64;
        Ok(got)
    }
}

impl Seek for Patched<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.inner.seek(to)?;
        Ok(self.position)
    }
}
