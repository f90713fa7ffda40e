//! The files of an index, damaged or made up: it is opened and answers, or says what is wrong with it.
#![no_main]

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rusqlite::{Connection, params};
use vitrine_fingerprint::{Index, IndexError, Measurement};

/// Keys of the postings, bytes of one of them, and the mark that a file of them begins with.
const KEYS: usize = 1 << 18;
const POSTING: usize = 12;
const MAGIC: &[u8] = b"VtrPost1";

/// A sound index of two masters whose postings are in a segment, and a part of one of them.
struct Sound {
    file: Vec<u8>,
    part: Measurement,
}

static SOUND: LazyLock<Sound> = LazyLock::new(|| {
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().join("index");
    let index = Index::open(&path).expect("a new index");
    for seed in [7, 8] {
        let (measurement, _) = hostile::measured(&hostile::drawing(seed, 128));
        index.insert(&hostile::master(&format!("/masters/{seed}"), measurement)).expect("a master");
    }
    drop(index);
    let raw = Connection::open(&path).expect("the index");
    raw.execute_batch("INSERT INTO segment VALUES (1); DELETE FROM fresh").expect("its tables");
    raw.close().expect("the index");
    let (part, _) = hostile::measured(&hostile::drawing(7, 127));
    Sound { file: fs::read(&path).expect("the index"), part }
});

fuzz_target!(init: hostile::begin(), |bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().join("index");
    let segment = room.path().join("index-postings/1.segment");
    fs::create_dir(room.path().join("index-postings")).expect("a directory");
    let write = |path: &Path, bytes: &[u8]| fs::write(path, bytes).expect("room for a small file");
    match kind {
        b'f' => write(&path, rest),
        b'p' => write(&path, &hostile::patched(&SOUND.file, rest)),
        b's' => {
            write(&path, &SOUND.file);
            write(&segment, rest);
        }
        b'k' => {
            write(&path, &SOUND.file);
            write(&segment, &postings(rest));
        }
        _ => {
            write(&path, &SOUND.file);
            looks(&path, rest);
        }
    }
    hostile::contained(|| {
        let _ = Index::open_read_only(&path).and_then(|index| ask(&index));
        let _ = Index::open(&path).and_then(|index| {
            ask(&index)?;
            index.rename(Path::new("/masters"), Path::new("/moved"))?;
            index.remove(Path::new("/moved/7"))?;
            index.remove_below(Path::new("/"))?;
            ask(&index)
        });
    });
});

fn ask(index: &Index) -> Result<(), IndexError> {
    let verified = index.verify();
    let found = index.find(&SOUND.part);
    let stats = index.stats();
    for id in 0..3 {
        let _ = (index.thumbnail(id), index.master(id));
    }
    let _ = (index.get(Path::new("/masters/7")), index.at_inode(1, 1));
    let mut left = 1000;
    index.each_below(Path::new("/"), &mut |_, _| {
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    for found in &found? {
        assert!((0.0..=1.0).contains(&found.score) && (0.0..=1.0).contains(&found.coverage), "{found:?}");
    }
    verified.and(stats).map(drop)
}

/// A segment with right checksums. Each of its buckets comes as its key (three bytes), its count, and postings; a
/// count of 255 says that the key's postings begin where the next four bytes say.
fn postings(mut bytes: &[u8]) -> Vec<u8> {
    const MOST: u32 = 1 << 16;
    let (mut counts, mut starts, mut body) = (vec![0u32; KEYS], Vec::new(), Vec::new());
    while let [a, b, c, count, rest @ ..] = bytes {
        let key = u32::from_le_bytes([*a, *b, *c, 0]) as usize % KEYS;
        let length = if *count == u8::MAX { 4 } else { usize::from(*count) * POSTING };
        let (new, rest) = rest.split_at(length.min(rest.len()));
        match new.first_chunk::<4>() {
            Some(start) if *count == u8::MAX => starts.push((key, u32::from_le_bytes(*start))),
            _ => {
                counts[key] += u32::from(*count);
                body.extend_from_slice(new);
            }
        }
        bytes = rest;
    }
    let ends = counts.iter().scan(0u32, |end, count| {
        *end = end.saturating_add(*count);
        Some(*end)
    });
    let mut table: Vec<u32> = std::iter::once(0).chain(ends).collect();
    starts.into_iter().for_each(|(key, start)| table[key] = start);
    body.resize(table.last().copied().unwrap_or_default().min(MOST) as usize * POSTING, 0);
    let mut file = MAGIC.to_vec();
    table.iter().for_each(|start| file.extend_from_slice(&start.to_le_bytes()));
    let head = *blake3::hash(&file).as_bytes();
    file.extend_from_slice(&body);
    let whole = *blake3::hash(&file).as_bytes();
    file.extend_from_slice(&head);
    file.extend_from_slice(&whole);
    file
}

/// Changes what the index keeps of a master's looks, of which only `verify` reads the checksums.
fn looks(path: &Path, bytes: &[u8]) {
    let raw = Connection::open(path).expect("the index");
    let sound = raw.query_row("SELECT features, picture FROM looks WHERE id = 1", [], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
    });
    let (features, picture) = sound.expect("its looks");
    let (features, picture) = match bytes.split_first() {
        Some((b'f', bytes)) => (hostile::patched(&features, bytes), picture),
        Some((b'F', bytes)) => (bytes.to_vec(), picture),
        Some((b'p', bytes)) => (features, hostile::patched(&picture, bytes)),
        Some((_, bytes)) => (features, bytes.to_vec()),
        None => (Vec::new(), Vec::new()),
    };
    raw.execute("INSERT OR IGNORE INTO fresh VALUES (1)", []).expect("its row");
    raw.execute("UPDATE looks SET features = ?1, picture = ?2 WHERE id = 1", params![features, picture])
        .expect("its row");
    raw.close().expect("the index");
}
