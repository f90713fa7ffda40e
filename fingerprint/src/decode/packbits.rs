//! PackBits: runs of bytes, as Apple's toolbox packed them; TIFF and PSD still do.

use std::io::{self, BufRead, Read};

/// PackBits (TIFF 6.0, section 9).
pub(super) struct PackBits<R> {
    bytes: R,
    /// Bytes of the run that are still to come.
    left: usize,
    /// What the run repeats; nothing where its bytes follow each by itself.
    repeated: Option<u8>,
}

impl<R: BufRead> PackBits<R> {
    pub(super) fn new(bytes: R) -> PackBits<R> {
        PackBits { bytes, left: 0, repeated: None }
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        let byte = self.bytes.fill_buf()?.first().copied();
        self.bytes.consume(usize::from(byte.is_some()));
        Ok(byte)
    }
}

impl<R: BufRead> Read for PackBits<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            let Some(head) = self.byte()? else { return Ok(0) };
            match head {
                0..=127 => (self.left, self.repeated) = (usize::from(head) + 1, None),
                128 => {}
                _ => (self.left, self.repeated) = (257 - usize::from(head), Some(self.byte()?.unwrap_or(0))),
            }
        }
        let length = buffer.len().min(self.left);
        let Some(wanted) = buffer.get_mut(..length) else { return Ok(0) };
        let got = match self.repeated {
            Some(value) => {
                wanted.fill(value);
                length
            }
            None => self.bytes.read(wanted)?,
        };
        self.left -= got;
        Ok(got)
    }
}
