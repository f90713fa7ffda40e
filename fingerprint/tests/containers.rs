//! Masters inside other files, packed by the tools that people pack with: they are found, and what nobody can
//! look into says so. Needs `../../shared/pictures` and the tools; says so and passes where they are not there.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod lab;

use lab::Lab;
use vitrine_fingerprint::{Content, Kind, Limits, Opaque};

#[test]
fn what_lies_in_a_container_is_found() {
    let Some(lab) = Lab::new("containers") else { return };
    let cases = [
        ("a.zip", "zip -q a.zip notes.txt small.jpg", "small.jpg"),
        ("stored.zip", "zip -q -0 stored.zip small.jpg", "small.jpg"),
        (
            "a.docx",
            "mkdir -p word/media && cp small.jpg word/media/image1.jpeg && zip -qr a.docx word",
            "word/media/image1.jpeg",
        ),
        (
            "a.pptx",
            "mkdir -p ppt/media && cp small.jpg ppt/media/image1.jpeg && zip -qr a.pptx ppt",
            "ppt/media/image1.jpeg",
        ),
        ("a.odt", "mkdir Pictures && cp small.png Pictures/1.png && zip -qr a.odt Pictures", "Pictures/1.png"),
        ("a.epub", "mkdir -p OEBPS/img && cp small.jpg OEBPS/img && zip -qr a.epub OEBPS", "OEBPS/img/small.jpg"),
        ("a.7z", "7z a -bso0 a.7z notes.txt small.jpg", "small.jpg"),
        ("bzip2.7z", "7z a -bso0 -m0=BZip2 bzip2.7z small.jpg", "small.jpg"),
        ("a.tar", "tar cf a.tar notes.txt small.jpg", "small.jpg"),
        ("a.tar.gz", "tar czf a.tar.gz notes.txt small.jpg", "content > small.jpg"),
        ("a.tar.bz2", "tar cjf a.tar.bz2 notes.txt small.jpg", "content > small.jpg"),
        ("a.tar.xz", "tar cJf a.tar.xz notes.txt small.jpg", "content > small.jpg"),
        ("a.tar.zst", "tar --zstd -cf a.tar.zst notes.txt small.jpg", "content > small.jpg"),
        ("small.png.gz", "gzip -k small.png", "content"),
        ("deep.zip", "zip -q deep.zip a.tar.gz", "a.tar.gz > content > small.jpg"),
        ("a.iso", "mkdir disc && cp small.jpg disc && genisoimage -quiet -o a.iso disc", "SMALL.JPG"),
        ("dct.pdf", "img2pdf small.jpg -o dct.pdf", "picture "),
        ("flate.pdf", "img2pdf small.png -o flate.pdf", "picture "),
        ("objects.pdf", "qpdf --object-streams=generate flate.pdf objects.pdf", "picture "),
        ("attached.pdf", "qpdf flate.pdf --pages . -- --add-attachment a.zip -- attached.pdf", "attachment "),
        ("a.eml", "(echo 'Subject: x'; echo; base64 small.jpg; echo; echo --b) > a.eml", "base64 at byte 12"),
        ("a.mbox", "(cat a.eml; echo From x; cat a.eml) > a.mbox", "base64 at byte 12"),
        (
            "a.html",
            "(printf '<img src=\"data:image/jpeg;base64,'; base64 -w0 small.jpg; echo '\">') > a.html",
            "base64 at byte ",
        ),
        ("sfx.exe", "(head -c 5000 /bin/true; cat a.zip) > sfx.exe", "small.jpg"),
        (
            "unknown.bin",
            "(head -c 5000 /bin/true; cat small.jpg; head -c 999 /bin/true) > unknown.bin",
            "preview at byte 5000",
        ),
    ];
    for (name, command, place) in cases {
        lab.run(command);
        let told = lab.told(name);
        let first = told.iter().find(|(path, _, _)| path.starts_with(place));
        assert_eq!(
            first.map(|(_, master, kind)| (master.as_str(), *kind)),
            Some(("scroll.tif", Kind::Derivative)),
            "{name}: {told:?}"
        );
        assert!(told.iter().all(|(_, master, _)| master == "scroll.tif"), "{name}: {told:?}");
    }
}

#[test]
fn pixels_are_known_whatever_is_around_them() {
    let Some(lab) = Lab::new("pixels") else { return };
    let cases = [
        ("lzw.tif", "vips copy scroll.tif lzw.tif[compression=lzw,predictor=horizontal]", "scroll.tif"),
        (
            "tiled.tif",
            "vips copy scroll.tif tiled.tif[compression=deflate,tile,tile-width=256,tile-height=256]",
            "scroll.tif",
        ),
        ("lossless.png", "vips copy scroll.tif lossless.png", "scroll.tif"),
        ("lossless.webp", "vips copy scroll.tif lossless.webp[lossless]", "scroll.tif"),
        (
            "tagged.jpg",
            "cp novel.jpg tagged.jpg && exiftool -q -overwrite_original -Artist=x -Comment=y tagged.jpg",
            "novel.jpg",
        ),
        ("packed.pdf", "img2pdf novel.jpg -o packed.pdf", "novel.jpg"),
    ];
    for (name, command, master) in cases {
        lab.run(command);
        let told = lab.told(name);
        assert!(told.iter().any(|(_, found, kind)| found == master && *kind == Kind::Exact), "{name}: {told:?}");
    }
}

#[test]
fn a_piece_of_the_bytes_is_found_wherever_it_lies() {
    let Some(lab) = Lab::new("pieces") else { return };
    let cases = [
        ("piece", "dd if=scroll.tif of=piece bs=1000 skip=1234 count=262 status=none", "", Kind::Fragment),
        ("amid", "(head -c 99999 /dev/urandom; cat piece; head -c 7 /dev/urandom) > amid", "", Kind::Fragment),
        ("all", "(head -c 99999 /dev/urandom; cat scroll.tif) > all", "", Kind::Embedded),
        ("piece.gz", "gzip -k piece", "content", Kind::Fragment),
        ("piece.eml", "base64 piece > piece.eml", "base64 at byte 0", Kind::Fragment),
    ];
    for (name, command, place, kind) in cases {
        lab.run(command);
        let expected = (place.to_owned(), "scroll.tif".to_owned(), kind);
        assert!(lab.told(name).contains(&expected), "{name}: {:?}", lab.told(name));
    }
    lab.run("head -c 9999999 /dev/urandom > noise");
    assert_eq!(lab.told("noise"), []);
}

#[test]
fn what_nobody_can_look_into_says_so() {
    let Some(lab) = Lab::new("opaque") else { return };
    let encrypted = [
        ("locked.zip", "zip -q -P secret locked.zip small.jpg"),
        ("locked.7z", "7z a -bso0 -psecret locked.7z small.jpg"),
        ("hidden.7z", "7z a -bso0 -psecret -mhe=on hidden.7z small.jpg"),
        ("locked.pdf", "img2pdf small.jpg -o a.pdf && qpdf --encrypt a b 256 -- a.pdf locked.pdf"),
    ];
    for (name, command) in encrypted {
        lab.run(command);
        assert!(
            matches!(lab.look(name).0.content, Content::Opaque(Opaque::Encrypted)),
            "{name}: {:?}",
            lab.look(name).0.content
        );
    }
    lab.run("zip -q -P secret half.zip notes.txt && zip -q half.zip small.jpg");
    assert!(matches!(lab.look("half.zip").0.content, Content::Opaque(Opaque::Encrypted)));
    assert_eq!(lab.told("half.zip").len(), 1, "what is not locked is found");
    lab.run("tar czf cut.tgz small.jpg scroll.tif && truncate -s -5000 cut.tgz");
    let (cut, inside) = lab.look("cut.tgz");
    assert!(
        matches!(cut.content, Content::Opaque(_))
            || inside.iter().any(|found| matches!(found.measurement.content, Content::Opaque(_))),
        "{cut:?}"
    );
    assert!(lab.told("cut.tgz").iter().any(|(path, ..)| path.ends_with("small.jpg")));
    lab.run("printf 'Rar!\\x1a\\x07\\0 and so on' > a.rar");
    assert!(matches!(lab.look("a.rar").0.content, Content::Opaque(Opaque::Unsupported(_))));
}

#[test]
fn bombs_end_within_their_limits() {
    let Some(lab) = Lab::new("bombs") else { return };
    lab.run("head -c 600M /dev/zero | gzip -1 > zeros.gz && gzip -k zeros.gz -c > zeros.gz.gz");
    assert!(matches!(lab.look("zeros.gz.gz").0.content, Content::Opaque(Opaque::TooLarge(_))));
    lab.run("cp small.jpg 0.gz && for i in $(seq 12); do gzip -c $((i - 1)).gz > $i.gz; done");
    let opaque = |name: &str, limits: &Limits| {
        let (whole, inside) = lab.look_within(name, limits);
        let contents = inside.into_iter().map(|inside| inside.measurement.content).chain([whole.content]);
        contents
            .filter_map(|content| if let Content::Opaque(why) = content { Some(why) } else { None })
            .collect::<Vec<_>>()
    };
    assert!(opaque("12.gz", &Limits::default()).contains(&Opaque::TooDeep(8)));
    lab.run("mkdir many && cd many && for i in $(seq 300); do echo $i > $i; done && zip -qr ../many.zip . && tar cf ../many.tar .");
    let few = Limits { max_members: 100, ..Limits::default() };
    assert_eq!(
        (opaque("many.zip", &few), opaque("many.tar", &few)),
        (vec![Opaque::TooMany(100)], vec![Opaque::TooMany(100)])
    );
    let hurried = Limits { max_time: std::time::Duration::ZERO, ..Limits::default() };
    assert!(opaque("many.tar", &hurried).contains(&Opaque::TooSlow(0)));
}

#[test]
fn many_bytes_beside_what_is_looked_at_are_told() {
    let Some(lab) = Lab::new("bytes beside") else { return };
    lab.run("head -c 400000 /dev/urandom > noise && zip -q a.zip small.jpg && (cat noise a.zip) > before.zip");
    lab.run("tar cf behind.tar small.jpg && cat noise >> behind.tar");
    let noise = std::fs::read(lab.path("noise")).unwrap();
    let small = std::fs::read(lab.path("small.jpg")).unwrap();
    let mut filled = small[..2].to_vec();
    for block in noise.chunks(60_000) {
        filled.extend_from_slice(&[0xff, 0xe4]);
        filled.extend_from_slice(&(block.len() as u16 + 2).to_be_bytes());
        filled.extend_from_slice(block);
    }
    filled.extend_from_slice(&small[2..]);
    std::fs::write(lab.path("filled.jpg"), &filled).unwrap();
    lab.run("img2pdf small.jpg -o a.pdf");
    for (name, place) in
        [("before.zip", "between the members"), ("behind.tar", "behind the members"), ("filled.jpg", "metadata")]
    {
        let (_, inside) = lab.look(name);
        let told =
            inside.iter().any(|found| found.path == place && matches!(found.measurement.content, Content::Other));
        assert!(told, "{name}: {:?}", inside.iter().map(|found| &found.path).collect::<Vec<_>>());
    }
    for name in ["small.jpg", "a.zip", "a.pdf"] {
        let (_, inside) = lab.look(name);
        let other = inside.iter().find(|found| matches!(found.measurement.content, Content::Other));
        assert!(other.is_none(), "{name}: {:?}", other.map(|found| &found.path));
    }
}
