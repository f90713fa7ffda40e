//! Containers that were made to hurt: each ends soon and within its limits, and says why it was not seen whole.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use vitrine_fingerprint::{Content, Inside, Limits, Measurement, Opaque, Reason, Unscanned, measure};

fn look(bytes: &[u8], limits: &Limits) -> (Measurement, Vec<Inside>) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let mut inside = Vec::new();
    let whole = measure(&file, limits, &mut |found| inside.push(found)).unwrap();
    // First of all comes the file by its bytes alone, so that these are known whatever happens to its decoder.
    let first = inside.remove(0);
    assert!(first.path.is_empty() && matches!(first.measurement.content, Content::Other));
    assert_eq!((first.measurement.digest, first.measurement.parts), (whole.digest, whole.parts.clone()));
    (whole, inside)
}

/// A document with one stream object.
fn pdf(dictionary: &str, stream: &[u8]) -> Vec<u8> {
    let before = "%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n";
    let object = format!("4 0 obj<<{dictionary}/Length {}>>stream\n", stream.len());
    let after = "\nendstream\nendobj\ntrailer<</Root 1 0 R>>\n%%EOF\n";
    [before.as_bytes(), object.as_bytes(), stream, after.as_bytes()].concat()
}

#[test]
fn directories_of_a_disc_that_lie_in_each_other_end_in_time() {
    const SECTOR: usize = 2048;
    let sectors = 1024u32;
    // Each sector begins a directory that goes on to the end of the disc.
    let record = |start: u32| {
        let mut record = vec![34, 0];
        record.extend_from_slice(&start.to_le_bytes());
        record.extend_from_slice(&[0; 4]);
        record.extend_from_slice(&(sectors * SECTOR as u32).to_le_bytes());
        record.resize(25, 0);
        record.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 1, b'd']);
        record
    };
    let mut disc = vec![0; 16 * SECTOR];
    disc.extend_from_slice(b"\x01CD001\x01");
    disc.resize(16 * SECTOR + 156, 0);
    disc.extend_from_slice(&record(18));
    disc.resize(18 * SECTOR, 0);
    let mut start = (18..sectors).cycle();
    while disc.len() < sectors as usize * SECTOR {
        (0..SECTOR / 34).for_each(|_| disc.extend_from_slice(&record(start.next().unwrap())));
        disc.resize(disc.len().next_multiple_of(SECTOR), 0);
    }
    let limits = Limits { max_time: Duration::from_secs(1), ..Limits::default() };
    let began = Instant::now();
    let (measurement, _) = look(&disc, &limits);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(matches!(measurement.content, Content::Opaque(Opaque::TooSlow(1))), "{:?}", measurement.content);
}

#[test]
fn a_picture_in_a_document_cannot_be_larger_than_numbers_are() {
    for (width, height) in [(u32::MAX, u32::MAX), (1 << 31, 1 << 31), (1 << 31, 1 << 30)] {
        let picture =
            format!("/Subtype/Image/Width {width}/Height {height}/BitsPerComponent 16/Filter/RunLengthDecode");
        let (_, inside) = look(&pdf(&picture, b"\x81\x00\x80"), &Limits::default());
        let found: Vec<&Content> = inside.iter().map(|inside| &inside.measurement.content).collect();
        let refused = |reason: &Reason| matches!(reason, Reason::TooMuchMemory { .. } | Reason::TooManyPixels { .. });
        assert!(
            matches!(found.as_slice(), [Content::Unscanned(Unscanned { reason, .. })] if refused(reason)),
            "{width} x {height}: {found:?}"
        );
    }
}

#[test]
fn a_fax_in_a_document_is_not_wider_than_there_is_memory_for() {
    let picture = "/Subtype/Image/Width 90/Height 90/BitsPerComponent 1/Filter/CCITTFaxDecode/DecodeParms";
    for parameters in ["<</K -1/Columns 2000000000>>", "[<</Columns 2000000000/K -1>>]"] {
        let (_, inside) = look(&pdf(&format!("{picture}{parameters}"), &[0xff; 100]), &Limits::default());
        let found: Vec<&Content> = inside.iter().map(|inside| &inside.measurement.content).collect();
        let refused = |found: &Unscanned| matches!(found.reason, Reason::TooMuchMemory { .. });
        assert!(matches!(found.as_slice(), [Content::Unscanned(found)] if refused(found)), "{found:?}");
    }
}

#[test]
fn a_document_that_is_unpacked_to_more_than_there_is_memory_for_is_refused() {
    const LIMIT: u64 = 8 << 20;
    // What its reader unpacks on its own account, and what is packed twice, may be an eighth.
    const MOST: u64 = LIMIT / 8;
    let limits = Limits { max_memory: LIMIT, ..Limits::default() };
    let deflated = |bytes: &[u8]| {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    };
    let once = deflated(&vec![0; 2 * LIMIT as usize]);
    let cases = [(once.clone(), "/FlateDecode"), (deflated(&once), "[/FlateDecode/FlateDecode]")];
    for (stream, filter) in &cases {
        for kind in ["ObjStm/N 1/First 4", "XRef/Size 5/W[1 2 1]/Root 1 0 R"] {
            let (measurement, _) = look(&pdf(&format!("/Type/{kind}/Filter{filter}"), stream), &limits);
            let content = measurement.content;
            assert!(matches!(content, Content::Opaque(Opaque::TooLarge(MOST))), "{kind} {filter}: {content:?}");
        }
        let picture = "/Subtype/Image/Width 90/Height 90/BitsPerComponent 8/ColorSpace/DeviceGray";
        for dictionary in ["/Type/EmbeddedFile", picture] {
            let (measurement, inside) = look(&pdf(&format!("{dictionary}/Filter{filter}"), stream), &limits);
            let told = std::iter::once(&measurement).chain(inside.iter().map(|inside| &inside.measurement));
            let refused = |content: &Content| {
                let reason = |found: &Unscanned| matches!(found.reason, Reason::TooMuchMemory { .. });
                matches!(content, Content::Opaque(Opaque::TooLarge(LIMIT | MOST)))
                    || matches!(content, Content::Unscanned(found) if reason(found))
            };
            assert!(told.map(|told| &told.content).any(refused), "{dictionary} {filter}: {inside:?}");
        }
    }
}

#[test]
fn a_damaged_bzip2_file_is_told_and_ends_nobody() {
    let (whole, inside) = look(include_bytes!("../fuzz/corpus/measure/bzip2-overflow"), &Limits::default());
    let told = inside.iter().any(|found| matches!(found.measurement.content, Content::Opaque(Opaque::Damaged(_))));
    assert!(told || matches!(whole.content, Content::Opaque(Opaque::Damaged(_))), "{:?}", whole.content);
}

#[test]
fn a_file_full_of_beginnings_ends_in_time() {
    const BYTES: usize = 8 << 20;
    // Members whose end is told behind them, and is not; pictures whose directories all lead through the same chain.
    let member = [b"PK\x03\x04\x14\0\x08\0".as_slice(), &[0; 18], b"\x01\0\0\0a"].concat();
    let directory =
        b"II*\0\x08\0\0\0\x02\0\0\x01\x03\0\x01\0\0\0\xff\xff\0\0\x01\x01\x03\0\x01\0\0\0\xff\xff\0\0\x26\0\0\0";
    let archive = [b"7z\xbc\xaf\x27\x1c\0\x04".as_slice(), &[0x7f; 24]].concat();
    let stream = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x63\x60\0\0".to_vec();
    let beginnings =
        [member, directory.to_vec(), archive, stream, b"%PDF-".to_vec(), b"GIF89a\xff\xff\xff\xff\0\0\0".to_vec()];
    let limits = Limits { max_time: Duration::from_secs(1), ..Limits::default() };
    for beginning in beginnings {
        let bytes = [b"x".repeat(999), beginning.repeat(BYTES / beginning.len())].concat();
        let began = Instant::now();
        let (_, inside) = look(&bytes, &limits);
        let name = String::from_utf8_lossy(&beginning[..4]).into_owned();
        assert!(began.elapsed() < Duration::from_secs(20), "{name}: {:?}", began.elapsed());
        assert!(inside.len() <= 20_000, "{name}: {}", inside.len());
    }
}

#[test]
fn pieces_of_archives_in_archives_are_not_opened_for_ever() {
    // A gzip file behind a gzip file, and so on.
    let stream = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x04\0\x43\xbe\xb7\xe8\x01\0\0\0x".to_vec();
    let began = Instant::now();
    let (_, inside) = look(&stream.repeat(100_000), &Limits { max_time: Duration::from_secs(1), ..Limits::default() });
    assert!(began.elapsed() < Duration::from_secs(20) && inside.len() <= 20_000, "{:?}", began.elapsed());
}
