//! A picture is traced to masters that agents told of, and nobody can lie about the masters of others.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test fails where it cannot go on

mod world;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use vitrine_collector::store::Role;
use vitrine_fingerprint::{Entry, Index, Limits, measure};
use world::{AGENT, Data, Server, blocked, client, cookie, csrf, good, jpeg, lines, refused, token};

const OTHER: &str = "0198c0de-0000-7000-8000-000000000002";
const PATH: &str = "/srv/scans/masters/K2B_0012.tif";

fn picture(start: &str) -> Option<PathBuf> {
    let masters = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/pictures/masters");
    let found = std::fs::read_dir(masters).ok()?.flatten().map(|entry| entry.path());
    found.into_iter().find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)))
}

/// A collector with two workstations, and pictures.
struct Lab {
    data: Data,
    pictures: tempfile::TempDir,
    server: Server,
    client: Client,
    tokens: [String; 2],
}

impl Lab {
    /// None, with a word why, where the real pictures are not there.
    async fn new() -> Option<Lab> {
        if picture("art_se__bram").is_none() {
            eprintln!("skipped: it needs the pictures of ../shared");
            return None;
        }
        let data = Data::new();
        let tokens = [token(data.path(), "one", Role::Agent).await, token(data.path(), "two", Role::Agent).await];
        let server = Server::start(data.path());
        let lab = Lab { data, pictures: tempfile::tempdir().unwrap(), server, client: client(), tokens };
        for (number, (agent, host)) in [(AGENT, "scan-07"), (OTHER, "scan-08")].into_iter().enumerate() {
            let heartbeat = json!({"agent": agent, "host": host, "guard": "gate", "mode": "enforce", "spool_depth": 0, "last_sequence": 0});
            let request = lab.client.post(lab.url("/v1/heartbeat")).bearer_auth(&lab.tokens[number]).json(&heartbeat);
            good(request.send().await.unwrap()).await;
        }
        for (name, start) in [("master", "art_se__bram"), ("another", "art_se__jane-austen_pride")] {
            let picture = picture(start).unwrap();
            lab.run(&format!("convert '{}' -resize 1600x1600 -quality 92 {name}.jpg", picture.display()));
        }
        lab.run("convert master.jpg -crop 60%x60%+100+80 +repage -resize 80% -quality 80 crop.jpg");
        Some(lab)
    }

    fn run(&self, command: &str) {
        let done = Command::new("sh").args(["-c", command]).current_dir(self.pictures.path()).output().unwrap();
        assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.pictures.path().join(name)
    }

    /// A line that says that there is this master.
    fn line(&self, path: &str, picture: &str) -> Value {
        let measurement = measure(&File::open(self.path(picture)).unwrap(), &Limits::default(), &mut |_| {}).unwrap();
        let index = Index::in_memory().unwrap();
        index.insert(&Entry::new(path, "masters", measurement)).unwrap();
        let portrait = index.portrait(Path::new(path)).unwrap().unwrap();
        json!({"path": path, "collection": "masters", "object": "K2B", "portrait": portrait})
    }

    /// What one of the two workstations says of its masters; gives the lines that are not kept.
    async fn tell(&self, agent: usize, lines: &[Value]) -> Vec<Value> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let body = zstd::encode_all(text.as_bytes(), 3).unwrap();
        let answer = good(self.post(agent, body).await).await;
        assert_eq!(answer["epoch"].as_str().map(str::len), Some(32));
        answer["rejected"].as_array().unwrap().clone()
    }

    async fn post(&self, agent: usize, body: Vec<u8>) -> Response {
        let request = self.client.post(self.url("/v1/masters")).bearer_auth(&self.tokens[agent]);
        request.header("content-encoding", "zstd").body(body).send().await.unwrap()
    }

    /// Traces on the command line; gives the masters.
    fn trace(&self, name: &str) -> Vec<Value> {
        let mut command = Command::new(world::binary());
        let done = command.args(["trace", "--json"]).arg(self.path(name)).arg("--data").arg(self.data.path()).output();
        let done = done.unwrap();
        let found: Value = serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&done.stderr)));
        let masters = found["masters"].as_array().unwrap().clone();
        assert_eq!(done.status.code(), Some(i32::from(!masters.is_empty())));
        masters
    }

    fn hosts(&self, name: &str) -> Vec<(String, String)> {
        let pair = |master: &Value, one: &Value| {
            (master["path"].as_str().unwrap().to_owned(), one["host"].as_str().unwrap().to_owned())
        };
        let of = |master: Value| {
            let stations = master["workstations"].as_array().unwrap().clone();
            stations.iter().map(|one| pair(&master, one)).collect::<Vec<_>>()
        };
        self.trace(name).into_iter().flat_map(of).collect()
    }

    async fn set_up(&mut self) -> String {
        let token = self.server.setup();
        let form =
            [("token", token.as_str()), ("name", "ines"), ("password", world::PASSWORD), ("repeated", world::PASSWORD)];
        cookie(&self.client.post(self.url("/setup")).form(&form).send().await.unwrap())
    }

    async fn page(&self, session: &str, path: &str) -> String {
        self.client.get(self.url(path)).header("cookie", session).send().await.unwrap().text().await.unwrap()
    }

    /// Sends the form of the page.
    async fn upload(&self, session: &str, csrf: &str, site: &str, content: &[u8]) -> Response {
        let mut body = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n{csrf}\r\n--edge\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"<b>found.jpg\"\r\n\
             Content-Type: image/jpeg\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--edge--\r\n");
        let request = self.client.post(self.url("/trace")).header("cookie", session).header("sec-fetch-site", site);
        request.header("content-type", "multipart/form-data; boundary=edge").body(body).send().await.unwrap()
    }
}

#[tokio::test]
async fn a_crop_is_traced_to_its_master_by_command_and_by_page() {
    let Some(mut lab) = Lab::new().await else { return };
    assert_eq!(lab.tell(0, &[lab.line(PATH, "master.jpg")]).await, Vec::<Value>::new());
    assert_eq!(lab.tell(1, &[lab.line("/srv/other.tif", "another.jpg")]).await, Vec::<Value>::new());
    let request = lab.client.post(lab.url("/v1/records")).bearer_auth(&lab.tokens[0]).body(lines(&[blocked(1)]));
    good(request.send().await.unwrap()).await;
    // Another workstation tells of a file of its own at the same path.
    let mut foreign = blocked(1);
    (foreign.host.agent, foreign.host.name) = (OTHER.into(), "scan-08".into());
    let request = lab.client.post(lab.url("/v1/records")).bearer_auth(&lab.tokens[1]).body(lines(&[foreign]));
    good(request.send().await.unwrap()).await;
    let found = world::until("the records are summed up", async || {
        let found = lab.trace("crop.jpg");
        let transfers = found[0]["transfers"].as_array().unwrap().len();
        (transfers > 0 && transfers as u64 + found[0]["elsewhere"].as_u64().unwrap() == 2).then_some(found)
    })
    .await;
    assert_eq!(
        (found.len(), &found[0]["elsewhere"], &found[0]["transfers"][0]["host"]),
        (1, &json!(1), &json!("scan-07"))
    );
    assert_eq!((&found[0]["path"], &found[0]["kind"]), (&PATH.into(), &"fragment".into()));
    let transfer = &found[0]["transfers"][0];
    assert_eq!((&transfer["user"], &transfer["destination"]), (&"wen".into(), &"courier disk".into()));

    let session = lab.set_up().await;
    let form = lab.page(&session, "/trace").await;
    assert!(form.contains("Masters known: 2, on workstations: 2."), "{form}");
    let before: Vec<_> = std::fs::read_dir(lab.data.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let picture = std::fs::read(lab.path("crop.jpg")).unwrap();
    let answer = lab.upload(&session, &csrf(&form), "same-origin", &picture).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("img-src 'self' data:") && policy.contains("default-src 'none'"), "{policy}");
    let page = answer.text().await.unwrap();
    for part in
        [PATH, "refused before the first byte", "wen", "scan-07", "a part of it", "<polygon", "&#60;b&#62;found.jpg"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(page.matches("src=\"data:image/jpeg;base64,").count(), 2);
    let after: Vec<_> = std::fs::read_dir(lab.data.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(before, after, "nothing of the picture is kept");
    let log = lab.page(&session, "/audit.ndjson").await;
    let told: Vec<_> = log.lines().filter(|line| line.contains("\"trace\"")).collect();
    assert!(told.iter().any(|line| line.contains("ines") && line.contains(PATH)), "{log}");
    assert!(told.iter().any(|line| line.contains("command line")), "{log}");
}

#[tokio::test]
async fn a_form_that_is_not_of_the_page_traces_nothing_and_a_bomb_is_told_in_words() {
    let Some(mut lab) = Lab::new().await else { return };
    let session = lab.set_up().await;
    let token = csrf(&lab.page(&session, "/trace").await);
    refused(lab.upload(&session, "wrong", "same-origin", b"x").await, StatusCode::FORBIDDEN).await;
    refused(lab.upload(&session, &token, "cross-site", b"x").await, StatusCode::FORBIDDEN).await;
    refused(lab.upload(&session, &token, "same-origin", b"").await, StatusCode::BAD_REQUEST).await;
    assert_eq!(lab.upload("", &token, "same-origin", b"x").await.status(), StatusCode::SEE_OTHER);
    // 100,000 by 100,000 pixels in 70 bytes.
    lab.run("convert -size 1x1 xc:red png24:small.png");
    let mut bomb = std::fs::read(lab.path("small.png")).unwrap();
    bomb[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0]);
    let answer = lab.upload(&session, &token, "same-origin", &bomb).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let page = answer.text().await.unwrap();
    assert!(page.contains("It was not seen whole"), "{page}");
    // So is one that is packed twice.
    lab.run("head -c 600000000 /dev/zero | gzip -1 | gzip > zeros.gz.gz");
    let bomb = std::fs::read(lab.path("zeros.gz.gz")).unwrap();
    let page = lab.upload(&session, &token, "same-origin", &bomb).await.text().await.unwrap();
    assert!(page.contains("It was not seen whole") && page.contains("No master is known that"), "{page}");
    let strange = lab.upload(&session, &token, "same-origin", &jpeg()).await.text().await.unwrap();
    assert!(strange.contains("No master is known that"), "{strange}");
}

#[tokio::test]
async fn no_workstation_speaks_for_the_masters_of_another() {
    let Some(lab) = Lab::new().await else { return };
    lab.tell(0, &[lab.line(PATH, "master.jpg")]).await;
    let own = vec![(PATH.to_owned(), "scan-07".to_owned())];
    assert_eq!(lab.hosts("crop.jpg"), own);
    // It says that it is gone, and that it shows something else.
    lab.tell(1, &[json!({"path": PATH})]).await;
    assert_eq!(lab.hosts("crop.jpg"), own);
    lab.tell(1, &[lab.line(PATH, "another.jpg")]).await;
    assert_eq!(lab.hosts("crop.jpg"), own);
    // It has the same: kept once, and taken back for itself alone.
    lab.tell(1, &[lab.line("/mnt/copy.tif", "master.jpg")]).await;
    assert_eq!(lab.hosts("crop.jpg").len(), 2);
    lab.tell(1, &[json!({"path": "/mnt/copy.tif"})]).await;
    assert_eq!(lab.hosts("crop.jpg"), own);
    // However many copies it says it has, they hide nobody else's.
    let copies: Vec<_> = (0..150).map(|number| format!("/mnt/{number:03}.tif")).collect();
    let mut line = lab.line("/mnt/copy.tif", "master.jpg");
    let told = copies.iter().map(|path| {
        line["path"] = json!(path);
        line.clone()
    });
    lab.tell(1, &told.collect::<Vec<_>>()).await;
    let hosts = lab.hosts("crop.jpg");
    assert!(hosts.len() == 6 && hosts.contains(&own[0]), "{hosts:?}");
    lab.tell(1, &copies.iter().map(|path| json!({"path": path})).collect::<Vec<_>>()).await;
    assert_eq!(lab.hosts("crop.jpg"), own);

    // What is no master is left out in words, and hinders no other.
    let mut lying = lab.line("/lie.tif", "another.jpg");
    lying["portrait"]["whole"]["features"] = json!("AAAA");
    let mut old = lab.line("/old.tif", "another.jpg");
    old["portrait"]["version"] = json!(1);
    let rejected = lab.tell(1, &[lying, json!([7]), old, lab.line("/good.tif", "another.jpg")]).await;
    let told: Vec<_> = rejected.iter().map(|one| (one["line"].as_u64().unwrap(), one["reason"].to_string())).collect();
    assert_eq!(told.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(told[0].1.contains("no local features") && told[2].1.contains("version 1, expected"), "{told:?}");
    assert!(lab.hosts("another.jpg").contains(&("/good.tif".into(), "scan-08".into())));
    refused(lab.post(0, zstd::encode_all(&vec![b'\n'; 64 << 20][..], 1).unwrap()).await, StatusCode::PAYLOAD_TOO_LARGE)
        .await;
}

#[tokio::test]
async fn a_slow_workstation_keeps_no_other_one_out() {
    let Some(lab) = Lab::new().await else { return };
    let head = format!(
        "POST /v1/masters HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Encoding: zstd\r\n\
         Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
        lab.tokens[0]
    );
    world::until("the masters are open", async || {
        let body = zstd::encode_all(&b"\n"[..], 3).unwrap();
        (lab.post(1, body).await.status() == StatusCode::OK).then_some(())
    })
    .await;
    // It waits with its masters until they are asked for: then its request has its place.
    let mut slow = TcpStream::connect(lab.server.url.strip_prefix("http://").unwrap()).unwrap();
    slow.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(slow.try_clone().unwrap()).read_line(&mut answer).unwrap();
    assert!(answer.contains(" 100 "), "{answer}");
    assert_eq!(lab.tell(1, &[lab.line(PATH, "master.jpg")]).await, Vec::<Value>::new());
    let own = zstd::encode_all(lab.line(PATH, "another.jpg").to_string().as_bytes(), 3).unwrap();
    let why = refused(lab.post(0, own.clone()).await, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(why.contains("of this workstation"), "{why}");
    drop(slow);
    world::until("its place is free again", async || {
        (lab.post(0, own.clone()).await.status() == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_was_taken_survives_a_crash_and_what_is_damaged_is_asked_for_again() {
    let Some(mut lab) = Lab::new().await else { return };
    lab.tell(0, &[lab.line(PATH, "master.jpg")]).await;
    lab.server.child.kill().unwrap();
    lab.server.child.wait().unwrap();
    assert_eq!(lab.hosts("crop.jpg").len(), 1);
    lab.server = Server::start(lab.data.path());
    lab.tell(1, &[lab.line("/mnt/copy.tif", "master.jpg")]).await;
    assert_eq!(lab.hosts("crop.jpg").len(), 2);

    lab.server.child.kill().unwrap();
    lab.server.child.wait().unwrap();
    // As if the index had lost with the power what the list has.
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(lab.data.path().join(format!("masters/index.db{end}")));
    }
    lab.server = Server::start(lab.data.path());
    world::until("the masters are begun anew", async || {
        let body = zstd::encode_all(&b"\n"[..], 3).unwrap();
        (lab.post(0, body).await.status() == StatusCode::OK).then_some(())
    })
    .await;
    assert_eq!(lab.trace("crop.jpg"), Vec::<Value>::new());
    lab.tell(0, &[lab.line(PATH, "master.jpg")]).await;
    assert_eq!(lab.hosts("crop.jpg").len(), 1);
}
