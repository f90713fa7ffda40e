//! A directory of masters and of pictures made from them, for tests of what lies inside other files.

#![allow(dead_code, reason = "no test needs all of it")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use vitrine_fingerprint::{Entry, Index, Inside, Kind, Limits, Match, Measurement, measure};

const TOOLS: [&str; 12] =
    ["vips", "zip", "7z", "tar", "gzip", "bzip2", "xz", "zstd", "genisoimage", "qpdf", "img2pdf", "exiftool"];

/// A directory with two masters, an index that knows them, and an unrelated cover.
pub(super) struct Lab {
    pub(super) dir: tempfile::TempDir,
    pub(super) index: Index,
}

impl Lab {
    pub(super) fn new(test: &str) -> Option<Lab> {
        let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/pictures");
        let missing = TOOLS.iter().find(|tool| Command::new(tool).arg("--help").output().is_err());
        if !pictures.join("masters").is_dir() || missing.is_some() {
            println!("skipped: {test}: needs {} and {TOOLS:?}", pictures.display());
            return None;
        }
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(pictures.join("masters")).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        let lab = Lab { dir: tempfile::tempdir().unwrap(), index: Index::in_memory().unwrap() };
        for (name, picture) in ["scroll", "novel", "cover"].iter().zip(&found) {
            lab.run(&format!("vips thumbnail '{}' {name}.tif 1600 --height 1600", picture.display()));
        }
        lab.run("vips copy novel.tif 'novel.jpg[Q=92,strip]' && rm novel.tif");
        lab.run("vips thumbnail cover.tif cover.jpg[Q=85] 700 && vips copy cover.jpg 'cover.png[strip]'");
        lab.run("vips thumbnail scroll.tif small.jpg[Q=85] 800 && vips copy small.jpg small.png");
        lab.run("vips thumbnail scroll.tif thumb.jpg[Q=70] 200 && echo nothing > notes.txt");
        for name in ["scroll.tif", "novel.jpg"] {
            lab.register(name);
        }
        Some(lab)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn register(&self, name: &str) {
        let (measurement, _) = self.look(name);
        let entry = Entry::new(PathBuf::from("/masters").join(name), "masters", measurement);
        self.index.insert(&entry).unwrap();
    }

    pub(super) fn run(&self, command: &str) {
        let output = Command::new("bash").args(["-euc", command]).current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(super) fn look_within(&self, name: &str, limits: &Limits) -> (Measurement, Vec<Inside>) {
        let mut inside = Vec::new();
        let file = File::open(self.path(name)).unwrap();
        (measure(&file, limits, &mut |found| inside.push(found)).unwrap(), inside.split_off(1))
    }

    pub(super) fn look(&self, name: &str) -> (Measurement, Vec<Inside>) {
        self.look_within(name, &Limits::default())
    }

    /// Everything that is found in a file, with the place where it is.
    pub(super) fn found(&self, name: &str) -> Vec<(String, Match)> {
        let (measurement, inside) = self.look(name);
        let inside = inside.into_iter().map(|inside| (inside.path, inside.measurement));
        let all = std::iter::once((String::new(), measurement)).chain(inside);
        let found = all.flat_map(|(path, measurement)| {
            self.index.find(&measurement).unwrap().into_iter().map(move |found| (path.clone(), found))
        });
        found.collect()
    }

    /// The master, how it is there, and the place where it was found first.
    pub(super) fn told(&self, name: &str) -> Vec<(String, String, Kind)> {
        let found = self.found(name).into_iter();
        let name_of = |found: &Match| found.master.path.file_name().unwrap().to_str().unwrap().to_owned();
        found.map(|(path, found)| (path, name_of(&found), found.kind)).collect()
    }
}
