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
}
