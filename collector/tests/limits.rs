//! Clients that are slow, many or cut off.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod world;

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use vitrine_collector::tls::Tls;
use world::{World, blocked, lines, refused, until};

async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut text)).await.expect("an end");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off() {
    let world = World::with(|settings| settings.limits.head = Duration::from_millis(300)).await;
    let begun = Instant::now();
    let silent = TcpStream::connect(world.running.address).await.unwrap();
    let mut dripping = TcpStream::connect(world.running.address).await.unwrap();
    dripping.write_all(b"POST /v1/records HTTP/1.1\r\nHost: x\r\nX-Drip: ").await.unwrap();
    let (silent, dripping) = tokio::join!(rest(silent), rest(dripping));
    assert!(!silent.contains("200") && !dripping.contains("200"));
    assert!(begun.elapsed() < Duration::from_secs(5));
    world.send(&[blocked(1)]).await;
}

#[tokio::test]
async fn a_handshake_that_drips_is_cut_off() {
    let world = World::with(|settings| {
        settings.tls = Tls::Own;
        settings.limits.head = Duration::from_millis(300);
    })
    .await;
    let begun = Instant::now();
    let mut dripping = TcpStream::connect(world.running.address).await.unwrap();
    // The beginning of a ClientHello (RFC 8446, 5.1): a record of 512 bytes, of which nothing follows.
    dripping.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
    assert!(!rest(dripping).await.contains("HTTP"));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_body_that_drips_is_answered_408() {
    let world = World::with(|settings| settings.limits.request = Duration::from_millis(300)).await;
    let mut stream = TcpStream::connect(world.running.address).await.unwrap();
    let head = format!(
        "POST /v1/records HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 100000\r\n\r\n{{",
        world.agent
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn too_many_requests_at_once_are_told_to_come_back() {
    let world = World::with(|settings| settings.limits.requests = 0).await;
    let response = world.send_lines(lines(&[blocked(1)])).await;
    assert!(response.headers().contains_key("retry-after"));
    refused(response, StatusCode::SERVICE_UNAVAILABLE).await;
}

#[tokio::test]
async fn slow_strangers_keep_no_record_out() {
    let world = World::with(|settings| settings.limits.requests = 2).await;
    let mut dripping = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(world.running.address).await.unwrap();
        let head = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                     Content-Length: 1000\r\n\r\nname=";
        stream.write_all(head).await.unwrap();
        dripping.push(stream);
    }
    until("all places for pages are taken", async || {
        let login = world.client.get(world.url("/login")).send().await.unwrap();
        (login.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    world.send(&[blocked(1)]).await;
}

#[tokio::test]
async fn one_address_leaves_connections_to_others_and_agents_hold_none_where_there_are_few() {
    let world = World::with(|settings| settings.limits.connections = 4).await;
    let from_another = async || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        socket.connect(world.running.address).await.unwrap()
    };
    let response = world.send_lines(lines(&[blocked(1)])).await;
    assert!(response.status().is_success() && !response.headers().contains_key("connection"));
    let (_first, _second) = (from_another().await, from_another().await);
    // The third of that address is closed unheard.
    assert_eq!(rest(from_another().await).await, "");
    let response = world.send_lines(lines(&[blocked(2)])).await;
    assert_eq!(response.headers()["connection"], "close");
    assert!(response.status().is_success());
}

#[tokio::test]
async fn a_huge_header_is_refused() {
    let world = World::new().await;
    let mut stream = TcpStream::connect(world.running.address).await.unwrap();
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: ").await;
    let _ = stream.write_all(&[b'x'; 200_000]).await;
    let answer = rest(stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    world.send(&[blocked(1)]).await;
}

#[tokio::test]
async fn a_stop_lets_requests_end() {
    let world = World::new().await;
    let mut stream = TcpStream::connect(world.running.address).await.unwrap();
    let body = lines(&[blocked(1)]);
    let head = format!(
        "POST /v1/records HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\n\r\n",
        world.agent,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body: the request is under way.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let answer = async {
        stream.write_all(&body).await.unwrap();
        rest(stream).await
    };
    let (answer, ()) = tokio::join!(answer, world.running.stop());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
