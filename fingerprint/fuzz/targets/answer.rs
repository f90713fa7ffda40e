//! What the process that measures says to the agent, which trusts it in nothing: whatever it says, the index answers.
#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use vitrine_fingerprint::{Index, Inside, Measurement};

/// Bytes of a feature as it is sent, and of what it looks like in a mirror.
const FEATURE: usize = 38;
const MIRRORED: usize = 32;

/// A small index, and a sound answer about a picture that is in it.
struct Sound {
    index: Index,
    answer: Value,
}

static SOUND: LazyLock<Sound> = LazyLock::new(|| {
    let index = Index::in_memory().expect("an index");
    for seed in [7, 8, 9] {
        let (measurement, _) = hostile::measured(&hostile::drawing(seed, 128));
        index.insert(&hostile::master(&format!("/masters/{seed}"), measurement)).expect("a master");
    }
    let (mut measurement, _) = hostile::measured(&hostile::drawing(7, 128));
    // Not the master itself: what it looks like has to lead there.
    measurement.digest = [0; 32].into();
    Sound { index, answer: serde_json::to_value(measurement).expect("JSON") }
});

fuzz_target!(init: hostile::begin(), |bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    hostile::contained(|| {
        let measurement = match kind {
            b'i' => serde_json::from_slice::<Inside>(rest).map(|inside| inside.measurement),
            b'j' => serde_json::from_slice::<Measurement>(rest),
            _ => serde_json::from_value(changed(rest)),
        };
        let Ok(measurement) = measurement else { return };
        for found in SOUND.index.find(&measurement).expect("a sound index answers") {
            assert!((0.0..=1.0).contains(&found.score) && (0.0..=1.0).contains(&found.coverage), "{found:?}");
        }
        // It may be taken in as a master as well.
        let index = Index::in_memory().expect("an index");
        index.insert(&hostile::master("/masters/a", measurement.clone())).expect("a sound index takes it");
        let _ = index.find(&measurement).expect("a sound index answers");
        assert_eq!(index.verify().expect("a sound index answers"), []);
    });
});

/// A sound answer with changes: each is a letter for the field, its length (two bytes, little endian), and bytes.
fn changed(mut changes: &[u8]) -> Value {
    let mut answer = SOUND.answer.clone();
    while let [field, low, high, rest @ ..] = changes {
        let (new, rest) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
        change(&mut answer, *field, new);
        changes = rest;
    }
    answer
}

fn change(answer: &mut Value, field: u8, new: &[u8]) {
    let number = |at: usize| new.get(at..at + 2).map_or(1, |bytes| u32::from_le_bytes([bytes[0], bytes[1], 0, 0]));
    let patched = |value: &Value| {
        let sound = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
        json!(STANDARD.encode(hostile::patched(&sound, new)))
    };
    if field == b'x' {
        answer["parts"] = json!(STANDARD.encode(new));
        return;
    }
    let picture = &mut answer["content"]["picture"];
    match field {
        b'w' => (picture["width"], picture["height"]) = (json!(number(0) << 16), json!(number(2))),
        b't' => picture["thumbnail"] = json!(STANDARD.encode(new)),
        b'h' => {
            let which = usize::from(new.first().copied().unwrap_or_default() % 8);
            let mut hash = new.get(1..).unwrap_or_default().to_vec();
            hash.resize(32, 0);
            picture["fingerprint"]["hashes"][which] = json!(STANDARD.encode(hash));
        }
        _ => {
            let local = &mut picture["fingerprint"]["local"];
            match field {
                b's' => local["size"] = json!([number(0) + 1, number(2) + 1]),
                b'f' => local["features"] = patched(&local["features"]),
                b'm' => local["mirrored"] = patched(&local["mirrored"]),
                b'p' => local["picture"] = patched(&local["picture"]),
                b'P' => local["picture"] = json!(STANDARD.encode(new)),
                b'r' => local["recognisable"] = json!(new.is_empty()),
                // Features that are all new.
                _ => {
                    let count = new.len() / FEATURE;
                    local["features"] = json!(STANDARD.encode(&new[..count * FEATURE]));
                    let mirrored: Vec<u8> = new.iter().rev().copied().cycle().take(count * MIRRORED).collect();
                    local["mirrored"] = json!(STANDARD.encode(mirrored));
                }
            }
        }
    }
}
