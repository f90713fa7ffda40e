//! A master is recognised by each picture in it, and by none of its previews.
#![allow(clippy::unwrap_used, clippy::panic)] // a test fails where it cannot go on

mod lab;

use std::ops::ControlFlow;
use std::path::Path;

use lab::Lab;
use vitrine_fingerprint::{Entry, Index, Kind, Pages};

/// Three pictures of about the same size, and what files are made of them.
fn lab(test: &str) -> Option<Lab> {
    let lab = Lab::new(test)?;
    lab.run("vips thumbnail cover.png cover.tif 1600 --height 1600 --size force && vips copy novel.jpg novel.tif");
    lab.run(
        "tiffcp -c lzw cover.tif scroll.tif novel.tif book.tif && vips copy cover.tif large.jpg && img2pdf large.jpg small.jpg novel.jpg -o book.pdf",
    );
    Some(lab)
}

fn entry(lab: &Lab, name: &str) -> Entry {
    let (measurement, inside) = lab.look(name);
    let mut pages = Pages::default();
    inside.into_iter().for_each(|inside| pages.take(inside));
    assert_eq!(pages.dropped(), 0);
    let pages = pages.of(&measurement).unwrap();
    let path = Path::new("/masters").join(name);
    Entry { device: 1, inode: 7, pages, ..Entry::new(path, "masters", measurement) }
}

fn found(index: &Index, lab: &Lab, name: &str) -> Vec<(String, Kind, f64)> {
    let matches = index.find(&lab.look(name).0).unwrap().into_iter();
    matches.map(|found| (found.master.path.display().to_string(), found.kind, found.scale)).collect()
}

#[test]
fn a_crop_of_any_page_names_the_file_and_its_own_scale() {
    let Some(lab) = lab("a_crop_of_any_page_names_the_file_and_its_own_scale") else { return };
    lab.run("vips crop novel.jpg crop.jpg 100 100 800 800 && vips crop scroll.tif other.jpg 200 200 600 900");
    lab.run("vips resize crop.jpg half.jpg 0.5");
    for (name, pages) in [("book.tif", 2), ("book.pdf", 3)] {
        let index = Index::in_memory().unwrap();
        let entry = entry(&lab, name);
        assert_eq!(entry.pages.len(), pages, "{name}");
        index.insert(&entry).unwrap();
        let path = format!("/masters/{name}");
        let named = found(&index, &lab, "half.jpg");
        let [(master, kind, scale)] = named.as_slice() else { panic!("{name}: {named:?}") };
        assert_eq!((master, *kind), (&path, Kind::Fragment));
        assert!((scale - 0.5).abs() < 0.01, "{scale}");
        assert_eq!(found(&index, &lab, "novel.jpg")[0].0, path);
        assert_eq!((index.len(), index.stats().unwrap().masters), (1, 1), "a file is one master");
        assert_eq!(index.at_inode(1, 7), Some(1));
        assert_eq!(index.verify().unwrap(), []);
    }
}

#[test]
fn levels_of_a_pyramid_and_previews_are_no_pages() {
    let Some(lab) = lab("levels_of_a_pyramid_and_previews_are_no_pages") else { return };
    lab.run("vips tiffsave scroll.tif pyramid.tif --tile --pyramid --compression lzw");
    lab.run("vips resize scroll.tif half.jpg 0.5 && vips copy scroll.tif scroll.jpg && cat scroll.jpg half.jpg > behind.jpg");
    for name in ["pyramid.tif", "behind.jpg"] {
        assert!(entry(&lab, name).pages.is_empty(), "{name}");
    }
    lab.run(
        "vips resize novel.jpg overview.jpg 0.9 && vips crop novel.jpg part.jpg 100 100 600 600 && \
             vips resize part.jpg finer.jpg 1.3 && cat overview.jpg finer.jpg > detail.jpg",
    );
    assert_eq!(entry(&lab, "detail.jpg").pages.len(), 1, "a finer detail is one");
    lab.run("vips thumbnail novel.jpg page.jpg 900 && cat scroll.jpg page.jpg > two.jpg");
    assert_eq!(entry(&lab, "two.jpg").pages.len(), 1, "another picture is one");
}

#[test]
fn pages_go_where_their_master_goes() {
    let Some(lab) = lab("pages_go_where_their_master_goes") else { return };
    let path = lab.path("index.db");
    let index = Index::open(&path).unwrap();
    let mut book = entry(&lab, "book.tif");
    let id = index.insert(&book).unwrap();
    assert_eq!(index.rename(Path::new("/masters/book.tif"), Path::new("/masters/old/book.tif")).unwrap(), 1);
    assert_eq!(found(&index, &lab, "novel.jpg")[0].0, "/masters/old/book.tif");
    drop(index);

    let index = Index::open(&path).unwrap();
    assert_eq!(found(&index, &lab, "novel.jpg")[0].0, "/masters/old/book.tif");
    book.path = "/masters/old/book.tif".into();
    book.pages.truncate(1);
    assert_eq!(index.insert(&book).unwrap(), id);
    let mut seen = 0;
    index
        .each_below(Path::new("/"), &mut |_, _| {
            seen += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(seen, 1, "who scans a collection meets files alone");
    let known = ["novel.jpg", "scroll.tif"].map(|name| found(&index, &lab, name).len());
    assert_eq!(known.iter().sum::<usize>(), 1, "the page that is not there any more is forgotten: {known:?}");
    assert!(index.remove(Path::new("/masters/old/book.tif")).unwrap());
    assert_eq!(["novel.jpg", "scroll.tif"].map(|name| found(&index, &lab, name).len()), [0, 0]);
    assert_eq!(index.verify().unwrap(), []);
}
