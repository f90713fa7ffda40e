//! Portraits: what is handed on of a master recognises copies of it elsewhere, and what is no portrait is refused.
#![allow(clippy::unwrap_used, clippy::panic)] // a test fails where it cannot go on

mod lab;

use std::path::{Path, PathBuf};

use lab::Lab;
use serde_json::{Value, json};
use vitrine_fingerprint::{Entry, Index, Kind, Pages, Portrait};

/// A book of two pictures and a cover, as portraits that went over a wire.
fn portraits(lab: &Lab) -> Vec<Portrait> {
    lab.run("vips copy novel.jpg novel.tif && tiffcp -c lzw scroll.tif novel.tif book.tif");
    let mut handed = Vec::new();
    for name in ["book.tif", "cover.tif"] {
        let (measurement, inside) = lab.look(name);
        let mut pages = Pages::default();
        inside.into_iter().for_each(|inside| pages.take(inside));
        let pages = pages.of(&measurement).unwrap();
        let path = Path::new("/masters").join(name);
        lab.index.insert(&Entry { pages, ..Entry::new(&path, "masters", measurement) }).unwrap();
        let portrait = lab.index.portrait(&path).unwrap().unwrap();
        handed.push(serde_json::from_slice(&serde_json::to_vec(&portrait).unwrap()).unwrap());
        assert_eq!(handed.last(), Some(&portrait));
    }
    handed
}

#[test]
fn a_portrait_recognises_what_its_master_does() {
    let Some(lab) = Lab::new("a_portrait_recognises_what_its_master_does") else { return };
    let portraits = portraits(&lab);
    assert_eq!(lab.index.portrait(Path::new("/masters/none.tif")).unwrap(), None);
    lab.run("vips crop novel.jpg crop.jpg 100 100 800 800 && vips resize crop.jpg half.jpg 0.5");
    let elsewhere = Index::open(&lab.path("elsewhere.db")).unwrap();
    let named: Vec<_> =
        portraits.into_iter().enumerate().map(|(at, one)| (PathBuf::from(format!("/{at}")), one)).collect();
    elsewhere.insert_portraits(&named).unwrap();
    drop(elsewhere);
    for elsewhere in
        [Index::open_read_only(&lab.path("elsewhere.db")).unwrap(), Index::open(&lab.path("elsewhere.db")).unwrap()]
    {
        let found = |name: &str| {
            let found = elsewhere.find(&lab.look(name).0).unwrap();
            found.first().map(|found| (found.master.path.display().to_string(), found.kind, found.scale))
        };
        let Some((path, kind, scale)) = found("half.jpg") else { panic!("the page of the book is not found") };
        assert_eq!((path.as_str(), kind), ("/0", Kind::Fragment));
        assert!((scale - 0.5).abs() < 0.01, "{scale}");
        assert_eq!(found("small.jpg").unwrap().0, "/0");
        assert_eq!(found("cover.tif").unwrap(), ("/1".into(), Kind::Exact, 1.0));
        assert_eq!(found("cover.jpg").unwrap().1, Kind::Derivative);
        assert_eq!(elsewhere.len(), 2);
        assert_eq!(elsewhere.verify().unwrap(), []);
    }
    let elsewhere = Index::open(&lab.path("elsewhere.db")).unwrap();
    assert_eq!(elsewhere.portrait(Path::new("/1")).unwrap(), Some(named[1].1.clone()), "nothing is lost on the way");
    assert!(elsewhere.remove(Path::new("/0")).unwrap());
    assert_eq!(elsewhere.find(&lab.look("half.jpg").0).unwrap(), []);
}

#[test]
fn a_portrait_that_comes_twice_is_kept_once_and_goes_whole() {
    let Some(lab) = Lab::new("a_portrait_that_comes_twice_is_kept_once_and_goes_whole") else { return };
    let book = portraits(&lab).swap_remove(0);
    let path = lab.path("elsewhere.db");
    let elsewhere = Index::open(&path).unwrap();
    elsewhere.insert_portraits(&[(PathBuf::from("/0"), book.clone()), (PathBuf::from("/0"), book.clone())]).unwrap();
    assert_eq!((elsewhere.len(), elsewhere.portrait(Path::new("/0")).unwrap()), (1, Some(book)));
    assert!(elsewhere.remove(Path::new("/0")).unwrap());
    assert_eq!(elsewhere.len(), 0);
    drop(elsewhere);
    let keys = |database: &rusqlite::Connection| database.query_row("SELECT count(*) FROM keys", [], |row| row.get(0));
    assert_eq!(keys(&rusqlite::Connection::open(&path).unwrap()), Ok(0), "no key stays of what is gone");
    let again = Index::open(&path).unwrap();
    assert_eq!((again.len(), again.verify().unwrap()), (0, Vec::new()));
}

#[test]
fn of_very_many_with_the_same_pixels_some_are_told_of() {
    let Some(lab) = Lab::new("of_very_many_with_the_same_pixels_some_are_told_of") else { return };
    let cover = portraits(&lab).swap_remove(1);
    let elsewhere = Index::in_memory().unwrap();
    let many: Vec<_> = (0..400).map(|at| (PathBuf::from(format!("/{at}")), cover.clone())).collect();
    elsewhere.insert_portraits(&many).unwrap();
    // By the bytes, and by the pixels in other bytes.
    lab.run("vips copy cover.tif again.png");
    for name in ["cover.tif", "again.png"] {
        let found = elsewhere.find(&lab.look(name).0).unwrap();
        assert!((200..300).contains(&found.len()), "{name}: {}", found.len());
        assert_eq!(
            found.first().map(|found| (found.kind, found.master.path.clone())),
            Some((Kind::Exact, "/0".into()))
        );
    }
}

#[test]
fn what_is_no_portrait_is_refused_in_words() {
    let Some(lab) = Lab::new("what_is_no_portrait_is_refused_in_words") else { return };
    let sound = serde_json::to_value(&portraits(&lab)[0]).unwrap();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut portrait = sound.clone();
        change(&mut portrait);
        serde_json::from_value::<Portrait>(portrait).unwrap_err().to_string()
    };
    assert!(serde_json::from_value::<Portrait>(sound.clone()).is_ok());
    let why = refused(&|portrait| portrait["version"] = json!(1));
    assert!(why.contains("version 1, expected"), "{why}");
    let page = sound["pages"][0].clone();
    let why = refused(&|portrait| portrait["pages"] = vec![page.clone(); 257].into());
    assert!(why.contains("257 further pictures"), "{why}");
    for (field, value, says) in [
        ("features", "AAAA".to_owned(), "no local features"),
        // More than are kept of any master.
        ("features", "EAAAABAAAAA".to_owned() + &"A".repeat(4 * 38 * 500 - 3), "no local features"),
        ("picture", "/9j/2Q==".to_owned(), "no small picture"),
        ("picture", String::new(), "one is missing"),
        ("thumbnail", "PHNjcmlwdD4=".to_owned(), "no thumbnail"),
        ("digest", "abc".to_owned(), "64 hexadecimal"),
        ("owner", "x".to_owned(), "unknown field"),
    ] {
        for place in ["/whole", "/pages/0"] {
            let why = refused(&|portrait| portrait.pointer_mut(place).unwrap()[field] = json!(value));
            assert!(why.contains(says), "{field} of {place}: {why}");
        }
    }
    for place in ["/whole", "/pages/0"] {
        let why = refused(&|portrait| {
            let likeness = portrait.pointer_mut(place).unwrap();
            (likeness["features"], likeness["picture"]) = (json!(""), json!(""));
        });
        assert!(why.contains("a hash without the small picture"), "{place}: {why}");
    }
}
