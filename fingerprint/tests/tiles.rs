//! Tile sets in archives, cut by the tools that people cut with: they are one picture, and hide nothing. Needs
//! `../../shared/pictures` and the tools; says so and passes where they are not there.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use vitrine_fingerprint::{Content, Entry, Index, Inside, Limits, Match, Size, measure};

mod making;

const TOOLS: [&str; 6] = ["vips", "convert-im6.q16", "zip", "7z", "tar", "gzip"];

/// A directory with three masters of which an index knows the first two.
struct Lab {
    dir: tempfile::TempDir,
    index: Index,
}

/// Something inside a file that shows masters.
#[derive(Debug)]
struct Seen {
    place: String,
    size: Size,
    matches: Vec<Match>,
}

impl Lab {
    fn new(test: &str) -> Option<Lab> {
        let pictures = making::pictures(test, &TOOLS)?;
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(pictures.join("masters")).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        let lab = Lab { dir: tempfile::tempdir().unwrap(), index: Index::in_memory().unwrap() };
        let starts = [("painting", "art_nst__cys"), ("page", "ms_18__m18"), ("other", "art_se__bram")];
        for (name, start) in starts {
            let is_it = |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(start);
            let picture = found.iter().find(is_it).unwrap();
            lab.run(&format!("vips copy '{}' {name}.png[strip]", picture.display()));
        }
        for name in ["painting.png", "page.png"] {
            let measurement = making::look(&lab.dir.path().join(name));
            let entry = Entry::new(PathBuf::from("/masters").join(name), "masters", measurement);
            lab.index.insert(&entry).unwrap();
        }
        Some(lab)
    }

    fn run(&self, command: &str) {
        let output = Command::new("bash").args(["-euc", command]).current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn inside(&self, name: &str, limits: &Limits) -> Vec<Inside> {
        let mut inside = Vec::new();
        let file = File::open(self.dir.path().join(name)).unwrap();
        measure(&file, limits, &mut |found| inside.push(found)).unwrap();
        inside.split_off(1)
    }

    /// What shows masters inside a file.
    fn seen_within(&self, name: &str, limits: &Limits) -> Vec<Seen> {
        let seen = self.inside(name, limits).into_iter().map(|Inside { path, measurement }| Seen {
            place: path,
            size: measurement.content.size().unwrap_or_default(),
            matches: self.index.find(&measurement).unwrap(),
        });
        seen.filter(|seen| !seen.matches.is_empty()).collect()
    }

    fn seen(&self, name: &str) -> Vec<Seen> {
        self.seen_within(name, &Limits::default())
    }
}

fn is_set(seen: &&Seen) -> bool {
    seen.place.ends_with(" tiles)")
}

/// The largest set of tiles that shows a master.
fn largest(seen: &[Seen]) -> Option<&Seen> {
    seen.iter().filter(is_set).max_by_key(|seen| seen.size.width)
}

#[test]
fn the_sets_of_viewers_and_scripts_are_one_picture() {
    let Some(lab) = Lab::new("tile sets") else { return };
    let save = |layout: &str, more: &str| {
        format!(
            "mkdir x && vips dzsave painting.png x/t --layout {layout} --suffix .jpg[Q=85] {more} && rm -f x/*/*.xml"
        )
    };
    let crop = |size: &str, name: &str| {
        format!("mkdir x && convert-im6.q16 painting.png -crop {size} +repage -quality 85 x/{name}")
    };
    let by_name = |name: &str| {
        let numbers = "c=$((n % 5)); r=$((n / 5)); x=$((c * 256)); y=$((r * 256))";
        format!("{} && for n in $(seq 0 29); do {numbers}; mv x/$n.jpg \"x/{name}\"; done", crop("256x256", "%d.jpg"))
    };
    let cases = [
        ("Deep Zoom", save("dz", ""), 1.0),
        ("Deep Zoom, 128", save("dz", "--tile-size 128 --overlap 8"), 1.0),
        ("Zoomify", save("zoomify", ""), 1.0),
        ("IIIF 2", save("iiif", "--tile-size 256"), 1.0),
        ("IIIF 3", save("iiif3", "--tile-size 256"), 1.0),
        ("map", save("google", ""), 0.93), // Its last tiles are filled up.
        ("numbered", crop("256x256", "tile_%03d.jpg"), 1.0),
        ("numbered, all equal", crop("240x191", "%d.png"), 1.0),
        ("strips", crop("x64", "s%d.jpg"), 1.0),
        ("rows and columns", by_name("map_${r}_$c.jpg"), 1.0),
        ("columns and rows", by_name("map_c${c}r$r.jpg"), 1.0),
        ("pixels", by_name("page 1 x$x y$y.jpg"), 1.0),
    ];
    for (name, command, part) in cases {
        lab.run(&command);
        lab.run("(cd x && zip -qr0 ../t.zip .) && tar cf t.tar x && tar czf t.tgz x && 7z a -bso0 t.7z x && rm -r x");
        for archive in ["t.zip", "t.tar", "t.tgz", "t.7z"] {
            let seen = lab.seen(archive);
            let set = largest(&seen).unwrap_or_else(|| panic_with(name, archive, &seen));
            let found = &set.matches[0];
            let told = format!("{name} in {archive}: {}: {:?}, {found:?}", set.place, set.size);
            assert!(found.master.path.ends_with("painting.png") && set.matches.len() == 1, "{told}");
            assert!((found.coverage - 1.0).abs() < 0.02 && (found.scale - 1.0).abs() < 0.02, "{told}");
            let megapixels = 1.2 * 1.528 / part;
            assert!((set.size.megapixels() / megapixels - 1.0).abs() < 0.1, "{told}");
        }
        lab.run("rm t.*");
    }
}

#[allow(clippy::panic, reason = "a test fails where it cannot go on")]
fn panic_with(name: &str, archive: &str, seen: &[Seen]) -> ! {
    panic!("{name} in {archive}: {seen:?}")
}

#[test]
fn what_is_missing_does_not_count() {
    let Some(lab) = Lab::new("missing tiles") else { return };
    lab.run("vips dzsave painting.png t --layout dz --depth one --suffix .png && cd t_files/0 && rm 2_2.png 3_3.png 0_5.png");
    lab.run("zip -qr0 some.zip t_files");
    lab.run("cd t_files/0 && rm *_3.png *_4.png *_5.png *_6.png && cd ../.. && zip -qr0 half.zip t_files");
    for (archive, share) in [("some.zip", 32.0 / 35.0), ("half.zip", 3.0 * 254.0 / 1528.0 * 14.0 / 15.0)] {
        let seen = lab.seen(archive);
        let set = largest(&seen).unwrap_or_else(|| panic_with("missing", archive, &seen));
        assert!((set.matches[0].coverage - share).abs() < 0.03, "{archive}: {share}, {set:?}");
    }
}

#[test]
fn a_gigapixel_takes_little_memory_and_one_look() {
    let Some(lab) = Lab::new("many tiles") else { return };
    lab.run("vips resize page.png large.v 2.5 && vips dzsave large.v t --layout dz --depth one --tile-size 128 --suffix .jpg[Q=70]");
    lab.run("tar cf many.tar t_files && rm large.v");
    // What is held is reduced many times.
    let seen = lab.seen_within("many.tar", &Limits { max_memory: 64 << 20, ..Limits::default() });
    let set = largest(&seen).unwrap_or_else(|| panic_with("many", "many.tar", &seen));
    assert!(set.size.megapixels() > 50.0 && (set.matches[0].scale / 2.5 - 1.0).abs() < 0.02, "{set:?}");
    assert!((set.matches[0].coverage - 1.0).abs() < 0.02, "{set:?}");
    println!("{} of {:.0} megapixels", set.place, set.size.megapixels());
}

#[test]
fn a_series_is_no_picture_and_a_name_hides_nothing() {
    let Some(lab) = Lab::new("a series") else { return };
    lab.run("mkdir s d_files d_files/3 && vips dzsave other.png t --layout dz --depth one --suffix .jpg");
    lab.run("for n in $(seq 0 5); do vips thumbnail other.png o.png 40$n && cp o.png s/IMG_000$n.png; done");
    lab.run("vips thumbnail painting.png s/IMG_0006.png 400 && vips thumbnail page.png s/IMG_0007.png 420");
    // Among real tiles of something else, in the place of one of them.
    lab.run("vips thumbnail painting.png t_files/0/1_1.png 254 && mv t_files/0/1_1.png t_files/0/1_1.jpg");
    lab.run("n=0; for f in s/*.png; do cp $f d_files/3/$((n % 4))_$((n / 4)).png; n=$((n + 1)); done");
    lab.run("zip -qr0 series.zip s && zip -qr0 named.zip d_files && zip -qr0 amid.zip t_files");
    let names = |archive: &str| -> Vec<String> {
        let matches = lab.seen(archive).into_iter().flat_map(|seen| seen.matches);
        let mut names: Vec<String> =
            matches.map(|found| found.master.path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    };
    assert_eq!(names("series.zip"), ["page.png", "painting.png"]);
    assert_eq!(names("named.zip"), ["page.png", "painting.png"]);
    assert_eq!(names("amid.zip"), ["painting.png"]);
    assert!(lab.seen("series.zip").iter().all(|seen| !is_set(&seen)));
}

#[test]
fn hostile_sets_end_within_their_limits() {
    let Some(lab) = Lab::new("hostile sets") else { return };
    lab.run("mkdir -p h_files/1 && vips thumbnail painting.png p.jpg 64");
    lab.run("for n in 0_0 999999999_0 0_999999999 5_5 999999999_999999999; do cp p.jpg h_files/1/$n.jpg; done");
    lab.run("for n in $(seq 0 40); do cp p.jpg h$n.jpg; cp p.jpg $((n * 24999999)).jpg; done");
    lab.run("for n in $(seq 0 40); do printf '\\xff\\xd8\\xff junk' > j_$n.jpg; : > z_$n.jpg; done");
    lab.run("zip -qr0 hostile.zip h_files h*.jpg j_*.jpg z_*.jpg [0-9]*.jpg");
    let inside = lab.inside("hostile.zip", &Limits::default());
    let by_itself = inside.iter().filter(|inside| matches!(inside.measurement.content, Content::Picture(_)));
    assert_eq!(by_itself.filter(|inside| !inside.path.ends_with(" tiles)")).count(), 5 + 41 + 41);
}
