//! Bytes inside of something sound, so that what is deep is reached: the first byte says in what. Checksums that
//! a reader looks at first are made right; those of pictures are not looked at in a build for fuzzing.
#![no_main]

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::write::GzEncoder;
use flate2::{Compression, Crc};
use libfuzzer_sys::fuzz_target;

/// A sector of a disc, and a block of a tar archive.
const SECTOR: usize = 2048;
const BLOCK: usize = 512;

fuzz_target!(init: hostile::begin(), |bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    hostile::measured(&wrapped(*kind, rest));
});

fn wrapped(kind: u8, bytes: &[u8]) -> Vec<u8> {
    match kind {
        b'g' => gzip(bytes),
        b'G' => gzip(&tar_repaired(bytes)),
        b't' => tar(bytes),
        b'T' => tar_repaired(bytes),
        b'z' => zip(bytes),
        b'7' => seven_zip_repaired(bytes),
        b'p' => pdf(bytes),
        b'i' => disc(bytes),
        b'b' => text(bytes),
        b'j' => jpeg(bytes),
        _ => [b"nothing that is known\n", bytes].concat(),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).expect("memory");
    packed.finish().expect("memory")
}

fn tar(bytes: &[u8]) -> Vec<u8> {
    let mut header = vec![0; BLOCK];
    header[..6].copy_from_slice(b"member");
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let mut archive = [&header, bytes].concat();
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    tar_repaired(&archive)
}

/// With the checksum of each block that looks like a header (POSIX.1-1988, ustar).
fn tar_repaired(bytes: &[u8]) -> Vec<u8> {
    let mut archive = bytes.to_vec();
    for block in archive.as_chunks_mut::<BLOCK>().0 {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    archive
}

/// One member that is stored, of a sound archive (APPNOTE 4.3).
fn zip(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u32).to_le_bytes();
    let sum = crc(bytes).to_le_bytes();
    let fields = [b"\x14\0\0\0\0\0\0\0\0\0".as_slice(), &sum, &length, &length, b"\x01\0\0\0"].concat();
    let local = [b"PK\x03\x04", fields.as_slice(), b"a", bytes].concat();
    let central = [b"PK\x01\x02\x14\0", fields.as_slice(), &[0; 14], b"a"].concat();
    let [size, start] = [central.len(), local.len()].map(|number| (number as u32).to_le_bytes());
    let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(), &size, &start, b"\0\0"].concat();
    [local, central, end].concat()
}

/// With the checksums of both its headers.
fn seven_zip_repaired(bytes: &[u8]) -> Vec<u8> {
    let mut archive = bytes.to_vec();
    let word = |archive: &[u8], at: usize| {
        let word = archive.get(at..).and_then(|word| word.first_chunk::<8>());
        word.and_then(|word| usize::try_from(u64::from_le_bytes(*word)).ok())
    };
    if let (Some(start), Some(size)) = (word(&archive, 12), word(&archive, 20)) {
        let start = start.saturating_add(32);
        if let Some(header) = archive.get(start..start.saturating_add(size)) {
            let sum = crc(header).to_le_bytes();
            archive[28..32].copy_from_slice(&sum);
        }
        if archive.len() >= 32 {
            let sum = crc(&archive[12..32]).to_le_bytes();
            archive[8..12].copy_from_slice(&sum);
        }
    }
    archive
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A document with a picture: its dictionary up to an empty line, then its bytes.
fn pdf(bytes: &[u8]) -> Vec<u8> {
    let split = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (dictionary, stream) = split.map_or((bytes, [].as_slice()), |at| (&bytes[..at], &bytes[at + 2..]));
    let before =
        b"%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n\
        3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Resources<</XObject<</I 4 0 R>>>>>>endobj\n4 0 obj<<";
    let length = format!("/Length {}", stream.len());
    let after = b"\nendstream\nendobj\ntrailer<</Root 1 0 R>>\n%%EOF\n";
    [before, dictionary, length.as_bytes(), b">>stream\n", stream, after].concat()
}

/// A disc whose volume descriptors and directories they are.
fn disc(bytes: &[u8]) -> Vec<u8> {
    let mut disc = vec![0; 16 * SECTOR];
    disc.extend_from_slice(b"\x01CD001\x01");
    disc.extend_from_slice(bytes);
    disc
}

/// A message that they are attached to.
fn text(bytes: &[u8]) -> Vec<u8> {
    let mut text = b"Content-Transfer-Encoding: base64\r\n\r\n".to_vec();
    for line in STANDARD.encode(bytes).as_bytes().chunks(76) {
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// Metadata of a picture, and what lies behind its end.
fn jpeg(bytes: &[u8]) -> Vec<u8> {
    let (inside, behind) = bytes.split_at(bytes.len() / 2);
    let mut picture = b"\xff\xd8".to_vec();
    for segment in inside.chunks(60_000) {
        picture.extend_from_slice(b"\xff\xe1");
        picture.extend_from_slice(&(segment.len() as u16 + 2).to_be_bytes());
        picture.extend_from_slice(segment);
    }
    [&picture, b"\xff\xd9".as_slice(), behind].concat()
}
