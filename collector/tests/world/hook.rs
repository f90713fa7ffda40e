//! A real HTTP server as the receiver of a webhook.

#![allow(dead_code, unreachable_pub)] // each test uses a part of it

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;

use super::world::{World, until};

pub const SECRET: &str = "a secret of the webhook's own";

pub struct Hook {
    pub url: String,
    received: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Hook {
    /// One that answers 500 to the first `failures` posts.
    pub async fn start(failures: usize) -> Hook {
        let received = Arc::<Mutex<Vec<(HeaderMap, Bytes)>>>::default();
        let kept = Arc::clone(&received);
        let answer = async move |headers: HeaderMap, body: Bytes| {
            let mut kept = kept.lock().unwrap();
            kept.push((headers, body));
            if kept.len() <= failures {
                (StatusCode::INTERNAL_SERVER_ERROR, "no <b>room</b>\n")
            } else {
                (StatusCode::OK, "taken")
            }
        };
        let app = Router::new().route("/hook", post(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Hook { url, received }
    }

    /// A route to it, in Vitrine's own shape; `more` stands in its entry.
    pub fn route(&self, name: &str, more: &str) -> String {
        format!(
            "[[route]]\nname = \"{name}\"\ngroup-wait = \"0s\"\n{more}\n[route.webhook]\nurl = \"{}\"\n\
             secret-file = \"hook.secret\"\n",
            self.url
        )
    }

    pub fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    pub fn received(&self) -> Vec<(HeaderMap, Bytes)> {
        self.received.lock().unwrap().clone()
    }

    pub fn letters(&self) -> Vec<Value> {
        self.received().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }

    /// Event, and numbers of the alerts, of each post.
    pub fn told(&self) -> Vec<(String, Vec<i64>)> {
        let numbers = |letter: &Value| {
            let alerts = letter["alerts"].as_array().unwrap();
            alerts.iter().map(|alert| alert["id"].as_i64().unwrap()).collect()
        };
        self.letters().iter().map(|letter| (letter["event"].as_str().unwrap().to_owned(), numbers(letter))).collect()
    }

    /// Waits for so many posts.
    pub async fn wait_for(&self, count: usize) {
        until(&format!("{count} posts"), async || (self.count() >= count).then_some(())).await;
    }
}

pub async fn world_with(config: &str, attempts: u32) -> World {
    World::with(|settings| {
        std::fs::write(settings.data.join("collector.toml"), config).unwrap();
        std::fs::write(settings.data.join("hook.secret"), format!("{SECRET}\n")).unwrap();
        settings.pace.first_retry = Duration::from_millis(10);
        settings.pace.attempts = attempts;
    })
    .await
}
