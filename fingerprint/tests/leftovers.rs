//! Masters where nobody looks: in the metadata of a picture, behind the end of a file, in the gaps of one, written as text.
//! Needs `../../shared/pictures` and the tools; says so and passes where they are not there.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod lab;

use lab::Lab;
use vitrine_fingerprint::{Content, Limits, Opaque, measure};

impl Lab {
    /// The master is seen somewhere inside the file that `command` makes.
    fn sees(&self, name: &str, command: &str) {
        self.run(command);
        let told = self.told(name);
        let seen = told.iter().any(|(path, master, _)| !path.is_empty() && master == "scroll.tif");
        assert!(
            seen,
            "{name}: {told:?} of {:?}",
            self.look(name).1.iter().map(|found| &found.path).collect::<Vec<_>>()
        );
    }
}

#[test]
fn what_a_picture_hides_is_found() {
    let Some(lab) = Lab::new("hidden pictures") else { return };
    let cases = [
        (
            "thumb_in_exif.jpg",
            "cp cover.jpg thumb_in_exif.jpg && exiftool -q -overwrite_original '-ThumbnailImage<=thumb.jpg' thumb_in_exif.jpg",
        ),
        ("behind.jpg", "cat cover.jpg small.jpg > behind.jpg"),
        ("zip_behind.jpg", "zip -q a.zip small.jpg && cat cover.jpg a.zip > zip_behind.jpg"),
        ("behind.png", "cat cover.png small.png > behind.png"),
        ("exif.png", "cp cover.png exif.png && exiftool -q -overwrite_original '-ThumbnailImage<=thumb.jpg' exif.png"),
        (
            "segments.jpg",
            "cp cover.jpg segments.jpg && exiftool -q -overwrite_original '-Comment<=small.jpg' segments.jpg",
        ),
        (
            "zip_behind.gif",
            "convert-im6.q16 cover.jpg cover.gif && zip -q b.zip small.jpg && cat cover.gif b.zip > zip_behind.gif",
        ),
        ("zip_behind.tif", "cat cover.tif a.zip > zip_behind.tif"),
        ("behind.bmp", "convert-im6.q16 cover.jpg cover.bmp && cat cover.bmp small.jpg > behind.bmp"),
        ("exif.webp", "vips copy thumb_in_exif.jpg exif.webp"),
    ];
    for (name, command) in cases {
        lab.run(command);
        let told = lab.told(name);
        assert!(told.iter().any(|(path, master, _)| !path.is_empty() && master == "scroll.tif"), "{name}: {told:?}");
        assert!(matches!(lab.look(name).0.content, Content::Picture(_)), "{name}");
    }
    assert_eq!(lab.told("cover.jpg"), []);
}

#[test]
fn what_a_picture_hides_is_found_where_it_is_too_large_for_memory() {
    let Some(lab) = Lab::new("large pictures") else { return };
    lab.run("(cat cover.png; head -c 40000000 /dev/urandom; cat small.jpg) > large.png");
    let limits = Limits { max_memory: 32 << 20, ..Limits::default() };
    let mut inside = Vec::new();
    let file = std::fs::File::open(lab.dir.path().join("large.png")).unwrap();
    let whole = measure(&file, &limits, &mut |found| inside.push(found)).unwrap();
    assert!(matches!(whole.content, Content::Picture(_)), "{:?}", whole.content);
    let seen = inside.iter().any(|found| !lab.index.find(&found.measurement).unwrap().is_empty());
    assert!(seen, "{:?}", inside.iter().map(|found| &found.path).collect::<Vec<_>>());
}

#[test]
fn what_lies_behind_an_end_is_found() {
    let Some(lab) = Lab::new("ends") else { return };
    lab.run("tar cf a.tar notes.txt cover.jpg && tar cf b.tar small.jpg && tar cf n.tar notes.txt");
    let cases = [
        ("two.tar", "cat a.tar b.tar > two.tar"),
        ("picture_behind.tar", "cat a.tar small.jpg > picture_behind.tar"),
        ("two.tar.gz", "cat a.tar b.tar | gzip > two.tar.gz"),
        ("members.gz", "(gzip -c cover.jpg; gzip -c small.jpg) > members.gz"),
        ("tars.gz", "(gzip -c n.tar; gzip -c b.tar) > tars.gz"),
        ("behind.gz", "(gzip -c cover.jpg; cat small.jpg) > behind.gz"),
        ("padded.gz", "(gzip -c cover.jpg; head -c 5000 /dev/zero; gzip -c small.jpg) > padded.gz"),
        ("behind.bz2", "(bzip2 -c cover.jpg; cat small.jpg) > behind.bz2"),
        ("behind.xz", "(xz -c cover.jpg; cat small.jpg) > behind.xz"),
        ("behind.zst", "(zstd -qc cover.jpg; cat small.jpg) > behind.zst"),
        ("mixed.gz", "(gzip -c cover.jpg; xz -c small.jpg) > mixed.gz"),
        ("behind.7z", "7z a -bso0 a.7z cover.jpg && cat a.7z small.jpg > behind.7z"),
        ("behind.pdf", "img2pdf cover.jpg -o a.pdf && cat a.pdf small.jpg > behind.pdf"),
        (
            "behind.iso",
            "mkdir disc && cp notes.txt disc && genisoimage -quiet -o a.iso disc && cat a.iso small.jpg > behind.iso",
        ),
        ("before.zip", "zip -q a.zip cover.jpg && (echo MZ; cat small.png a.zip) > before.zip"),
        ("amid.zip", "zip -q a.zip cover.jpg && (cat b.tar; cat a.zip) > amid.zip"),
    ];
    for (name, command) in cases {
        lab.sees(name, command);
    }
    lab.run("(gzip -c cover.jpg; head -c 999 /dev/zero) > zeros.gz");
    assert!(matches!(lab.look("zeros.gz").0.content, Content::Container(_)), "{:?}", lab.look("zeros.gz").0.content);
}

#[test]
fn what_lies_in_the_gaps_of_a_picture_is_found() {
    let Some(lab) = Lab::new("gaps") else { return };
    let chunk = "import sys,zlib,struct; p=open('cover.png','rb').read(); s=open('small.jpg','rb').read(); \
        add=lambda k,b: struct.pack('>I',len(b))+k+b+struct.pack('>I',zlib.crc32(k+b)); \
        text={'zTXt':b'x\\0\\0'+zlib.compress(s),'iTXt':b'x\\0\\1\\0en\\0y\\0'+zlib.compress(s),'iCCP':b'x\\0\\0'+zlib.compress(s)}; \
        k=sys.argv[1]; c=add(k.encode(),text[k]) if k in text else b''.join(add(k.encode(),s[i:i+999]) for i in range(0,len(s),999)); \
        open(k+'.png','wb').write(p[:33]+c+p[33:])";
    lab.run(&format!("printf '%s' \"{chunk}\" > chunk.py"));
    let tiff = "import sys,struct; t=open('cover.tif','rb').read(); s=open('small.jpg','rb').read(); \
        at=struct.unpack('<I',t[4:8])[0]; n=struct.unpack('<H',t[at:at+2])[0]; ifd=t[at+2:at+2+12*n]; \
        new=len(t)+len(s)+(len(t)+len(s))%2; tag=struct.pack('<HHII',65000,7,len(s),len(t)) if sys.argv[1]=='tag' else b''; \
        open(sys.argv[1]+'.tif','wb').write(t[:4]+struct.pack('<I',new)+t[8:]+s+b'\\0'*((len(t)+len(s))%2)+struct.pack('<H',n+len(tag)//12)+ifd+tag+struct.pack('<I',0))";
    lab.run(&format!("printf '%s' \"{tiff}\" > tiff.py"));
    let cases = [
        ("zTXt.png", "python3 chunk.py zTXt"),
        ("iTXt.png", "python3 chunk.py iTXt"),
        ("iCCP.png", "python3 chunk.py iCCP"),
        ("prVt.png", "python3 chunk.py prVt"),
        ("tag.tif", "python3 tiff.py tag"),
        ("gap.tif", "python3 tiff.py gap"),
        ("behind.tif", "cat cover.tif small.jpg > behind.tif"),
        ("two.tif", "vips copy small.jpg small.tif && cat cover.tif small.tif > two.tif"),
        ("packed.tif", "vips copy cover.tif lzw.tif[compression=lzw] && cat lzw.tif small.png > packed.tif"),
    ];
    for (name, command) in cases {
        lab.sees(name, command);
        assert!(matches!(lab.look(name).0.content, Content::Picture(_)), "{name}");
    }
    let (_, inside) = lab.look("cover.tif");
    assert!(inside.is_empty(), "{:?}", inside.iter().map(|found| &found.path).collect::<Vec<_>>());
}

#[test]
fn streams_of_a_document_are_searched() {
    let Some(lab) = Lab::new("streams") else { return };
    let document = "import zlib; s=open('small.jpg','rb').read(); \
        b=b'%PDF-1.7\\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\\n'; \
        z=zlib.compress(s); e=b'\\nendstream\\nendobj\\ntrailer<</Root 1 0 R>>\\n%%EOF\\n'; \
        open('flate.pdf','wb').write(b+b'4 0 obj<</Filter/FlateDecode/Length %d>>stream\\n'%len(z)+z+e); \
        open('plain.pdf','wb').write(b+b'4 0 obj<</Length %d>>stream\\n'%len(s)+s+e); \
        open('between.pdf','wb').write(b+s+b'\\n4 0 obj<</Length 2>>stream\\nxx'+e)";
    lab.run(&format!("printf '%s' \"{document}\" > document.py && python3 document.py"));
    for name in ["flate.pdf", "plain.pdf", "between.pdf"] {
        lab.sees(name, "true");
    }
}

#[test]
fn whatever_begins_in_the_midst_of_a_file_is_found() {
    let Some(lab) = Lab::new("the midst") else { return };
    lab.run("head -c 5001 /dev/urandom > noise; zip -q a.zip notes.txt small.jpg; tar cf a.tar small.jpg; 7z a -bso0 a.7z small.jpg");
    lab.run("vips copy small.jpg small.webp; vips copy small.jpg small.jp2; vips copy small.jpg small.tif; img2pdf small.jpg -o small.pdf");
    lab.run("vips copy small.jpg big.tif[bigtiff]; convert-im6.q16 small.jpg -endian MSB msb.tif; convert-im6.q16 small.jpg small.gif; gzip -k small.jpg; xz -k small.jpg; zstd -qk small.jpg; bzip2 -k small.jpg");
    let files = [
        "small.webp",
        "small.jp2",
        "small.tif",
        "big.tif",
        "msb.tif",
        "small.gif",
        "small.pdf",
        "a.zip",
        "a.tar",
        "a.7z",
        "small.jpg.gz",
        "small.jpg.xz",
        "small.jpg.zst",
        "small.jpg.bz2",
    ];
    for file in files {
        let name = format!("{file}.bin");
        lab.sees(&name, &format!("cat noise {file} noise > {name}"));
        let name = format!("{file}.twice.bin");
        lab.sees(&name, &format!("cat noise cover.png {file} noise > {name}"));
    }
    lab.run("cat noise small.gif small.tif small.webp small.tif small.gif a.zip a.zip > all.bin");
    assert!(lab.told("all.bin").len() >= 7, "{:?}", lab.told("all.bin"));
    let (_, inside) = lab.look("all.bin");
    let unseen = inside.iter().filter(|found| matches!(found.measurement.content, Content::Opaque(_)));
    let unseen: Vec<String> = unseen.map(|found| format!("{}: {}", found.path, found.measurement.content)).collect();
    assert_eq!(unseen, Vec::<String>::new());
}

#[test]
fn old_archives_and_second_members_are_opened() {
    let Some(lab) = Lab::new("old archives") else { return };
    let twice = "import zipfile,warnings; warnings.simplefilter('ignore'); z=zipfile.ZipFile('twice.zip','w'); \
        s=open('small.jpg','rb').read(); n=b'nothing'; z.writestr('a',n); z.writestr('a',s); z.close(); \
        z=zipfile.ZipFile('once.zip','w'); z.writestr('a',s); z.writestr('a',n); z.close()";
    let headless = "import zipfile; z=zipfile.ZipFile('h.zip','w',zipfile.ZIP_DEFLATED); z.write('notes.txt'); z.write('small.jpg'); \
        at=z.fp.tell(); z.close(); b=open('h.zip','rb').read(); open('headless.zip','wb').write(b[:at]); \
        z=zipfile.ZipFile('n.zip','w'); z.write('notes.txt'); z.close(); n=open('n.zip','rb').read(); open('unlisted.zip','wb').write(b[:at]+n)";
    let cases = [
        ("v7.tar", "tar --format=v7 -cf v7.tar small.jpg notes.txt".to_owned()),
        ("v7.tar.gz", "tar --format=v7 -czf v7.tar.gz small.jpg notes.txt".to_owned()),
        ("twice.zip", format!("python3 -c \"{twice}\"")),
        ("once.zip", "true".to_owned()),
        ("headless.zip", format!("python3 -c \"{headless}\"")),
        ("unlisted.zip", "true".to_owned()),
        ("streamed.bin", "cat small.jpg | zip -q - - > s.zip && head -c -100 s.zip > streamed.bin".to_owned()),
    ];
    for (name, command) in cases {
        lab.sees(name, &command);
    }
    assert!(matches!(lab.look("headless.zip").0.content, Content::Opaque(Opaque::Damaged(_)) | Content::Container(_)));
}

#[test]
fn text_that_stands_for_bytes_is_read_however_it_is_written() {
    let Some(lab) = Lab::new("text") else { return };
    let cases = [
        ("slashes.json", "(printf '{\"a\":\"'; base64 -w0 small.jpg | sed 's,/,\\\\/,g'; echo '\"}') > slashes.json"),
        ("url.txt", "base64 -w0 small.jpg | tr '+/' '-_' > url.txt"),
        ("quoted.eml", "base64 -w75 small.jpg | sed 's/$/=\\r/' > quoted.eml"),
        ("wide.txt", "base64 small.jpg | iconv -f ascii -t utf-16 > wide.txt"),
        ("wide_be.txt", "(printf x; base64 small.jpg | iconv -f ascii -t utf-16be) > wide_be.txt"),
        ("phase1.txt", "(printf 'a'; base64 -w0 small.jpg) > phase1.txt"),
        ("phase2.txt", "(printf 'ab'; base64 -w0 small.jpg) > phase2.txt"),
        ("phase3.txt", "(printf 'abc'; base64 -w0 small.jpg) > phase3.txt"),
        ("answer.eml", "base64 small.jpg | sed 's/^/> /' > answer.eml"),
        (
            "preview.xmp",
            "(printf '<x>'; base64 -w76 small.jpg | sed -z 's/\\n/\\&#xA;/g'; printf '</x>') > preview.xmp",
        ),
        ("digits.txt", "od -An -v -tx1 small.jpg | tr -d ' ' > digits.txt"),
    ];
    for (name, command) in cases {
        lab.sees(name, command);
    }
}

#[test]
fn the_same_picture_is_measured_once_however_often_it_lies_there() {
    let Some(lab) = Lab::new("the same picture") else { return };
    lab.run("exiftool -q -overwrite_original '-ThumbnailImage<=thumb.jpg' small.jpg && mkdir same");
    lab.run(
        "for i in $(seq 40); do cp small.jpg same/$i.jpg; done && zip -qr0 same.zip same && zip -qr9 packed.zip same",
    );
    for name in ["same.zip", "packed.zip"] {
        let (_, inside) = lab.look(name);
        let pictures = inside.iter().filter(|found| matches!(found.measurement.content, Content::Picture(_)));
        // What it hides is told with the first of them.
        assert_eq!(pictures.count(), 41, "{name}");
        assert_eq!(lab.told(name).iter().filter(|(path, ..)| path.ends_with(".jpg")).count(), 40, "{name}");
    }
}
