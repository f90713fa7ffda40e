//! A record that is too long for the wire is cut to size: a file name made of escapes, or a thousand
//! masters, must not make the record of it go astray.

use vitrine_policy::record::{Event, MAX_BYTES, Record, Transfer};

/// How often the wire repeats a part of the record at most (the explanation: thrice), with room to spare.
const REPEATED: usize = 5;

/// Room for the seal and the sequence number, which are added later.
const SEAL: usize = 512;

/// The record's own JSON, short enough that its OCSF event has at most [`MAX_BYTES`].
pub(super) fn body(record: &Record) -> serde_json::Result<String> {
    let whole = serde_json::to_string(record)?;
    if whole.len() < MAX_BYTES / REPEATED || fits(record) {
        return Ok(whole);
    }
    let mut cut = record.clone();
    for longest in [2048, 512, 128] {
        match &mut cut.event {
            Event::Notice(notice) => {
                shorten(&mut notice.message, longest);
                notice.subject.iter_mut().for_each(|text| shorten(text, longest));
            }
            Event::Transfer(transfer) => cut_transfer(transfer, longest),
        }
        if fits(&cut) {
            break;
        }
    }
    serde_json::to_string(&cut)
}

fn fits(record: &Record) -> bool {
    record.to_ocsf().to_string().len() <= MAX_BYTES - SEAL
}

fn cut_transfer(transfer: &mut Transfer, longest: usize) {
    transfer.masters.truncate(16);
    transfer.processes.truncate(8);
    shorten(&mut transfer.explanation, longest);
    shorten(&mut transfer.file.path, longest);
    for master in &mut transfer.masters {
        shorten(&mut master.path, longest);
        shorten(&mut master.collection, longest);
        master.object.iter_mut().for_each(|text| shorten(text, longest));
    }
    for process in &mut transfer.processes {
        shorten(&mut process.path, longest);
        shorten(&mut process.command_line, longest);
        shorten(&mut process.name, longest);
    }
    if let Some(destination) = &mut transfer.destination {
        shorten(&mut destination.target, longest);
    }
}

/// Keeps start and end, because the end of a path tells most.
fn shorten(text: &mut String, longest: usize) {
    if text.len() <= longest {
        return;
    }
    let head = text.floor_char_boundary(longest / 2);
    let tail = text.ceil_char_boundary(text.len() - longest / 2);
    *text = format!("{}…{}", &text[..head], &text[tail..]);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{notice, record, transfer};
    use super::*;

    #[test]
    fn what_is_too_long_for_the_wire_is_cut_and_keeps_its_end() {
        let mut hostile = transfer();
        hostile.file.path = format!("/{}/end.tif", "\\u{1}".repeat(4000));
        hostile.masters = vec![hostile.masters[0].clone(); 1000];
        for event in [Event::Transfer(Box::new(hostile)), notice(&"\"".repeat(100), Some(&"é".repeat(99_999)))] {
            let body = body(&record(event)).unwrap();
            let cut: Record = serde_json::from_str(&body).unwrap();
            assert!(fits(&cut));
            if let Event::Transfer(transfer) = cut.event {
                assert!(transfer.file.path.ends_with("/end.tif"));
            }
        }
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        let whole = record(Event::Transfer(Box::new(transfer())));
        assert_eq!(serde_json::from_str::<Record>(&body(&whole).unwrap()).unwrap(), whole);
    }
}
