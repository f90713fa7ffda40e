//! The webhook. In Vitrine's own shape it is signed. The signature is made as Stripe and many after it make theirs, so that receivers know how
//! to check it: HMAC-SHA256 over the time, a dot and the body.

use std::path::Path;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Url;
use serde_json::Value;
use sha2::Sha256;

use super::{SendError, shape};
use crate::config::{self, AlertShape, ConfigError, is_this_machine, mistake};
use crate::store::{Letter, Message, now};

/// Bytes of an answer that are read.
const SHOWN: usize = 1000;

pub(super) struct Webhook {
    client: reqwest::Client,
    url: Url,
    shape: Shape,
}

/// What is posted.
enum Shape {
    /// The letter as it is, signed.
    Signed(Hmac<Sha256>),
    PagerDuty(String),
    Plain(fn(&Letter) -> Value),
}

impl Webhook {
    pub(super) fn new(entry: &str, config: &config::Webhook, data: &Path) -> Result<Webhook, ConfigError> {
        let url: Url = config
            .url
            .parse()
            .map_err(|error| mistake(data, format!("{entry} webhook.url = {:?}: {error}", config.url)))?;
        let local = url.host_str().is_some_and(is_this_machine);
        if url.scheme() != "https" && !(url.scheme() == "http" && local) {
            let reason = "webhook.url must begin with https:// (http:// only to this machine): alerts name people";
            return Err(mistake(data, format!("{entry} {reason}")));
        }
        let secret = |what: &str| match &config.secret_file {
            Some(file) => config::secret(data, file, true),
            None => Err(mistake(data, format!("{entry}: secret-file is missing: {what}"))),
        };
        let shape = match config.shape {
            AlertShape::Vitrine => {
                let secret = secret("a file with the secret that signs")?;
                let key = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
                Shape::Signed(key.map_err(|error| mistake(data, format!("{entry} webhook.secret-file: {error}")))?)
            }
            AlertShape::Pagerduty => Shape::PagerDuty(secret("a file with PagerDuty's integration key")?),
            AlertShape::Slack => Shape::Plain(shape::slack),
            AlertShape::Mattermost => Shape::Plain(shape::mattermost),
            AlertShape::Teams => Shape::Plain(shape::teams),
            AlertShape::Alertmanager => Shape::Plain(shape::alertmanager),
        };
        if matches!(shape, Shape::Plain(_)) && config.secret_file.is_some() {
            return Err(mistake(
                data,
                format!("{entry} webhook.secret-file is for the shapes vitrine and pagerduty alone"),
            ));
        }
        let mut builder = reqwest::Client::builder()
            .timeout(Duration::from_secs(20))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("vitrine-collector/", env!("CARGO_PKG_VERSION")));
        if local {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| mistake(data, format!("{entry}: {error}")))?;
        Ok(Webhook { client, url, shape })
    }

    pub(super) fn target(&self) -> String {
        format!("webhook to {}", self.url.host_str().unwrap_or_default())
    }

    /// Gives the receiver's answer: its status, and the beginning of what else it says.
    pub(super) async fn send(&self, message: &Message) -> Result<String, SendError> {
        let mut request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("vitrine-message", message.number);
        let letter = || serde_json::from_str::<Letter>(&message.body);
        let body = match &self.shape {
            Shape::Signed(key) => {
                let time = now() / 1000;
                let mut mac = key.clone();
                mac.update(format!("{time}.{}", message.body).as_bytes());
                let signature = hex::encode(mac.finalize().into_bytes());
                request = request.header("vitrine-signature", format!("t={time},v1={signature}"));
                message.body.clone()
            }
            Shape::PagerDuty(key) => shape::pagerduty(&letter()?, key).to_string(),
            Shape::Plain(shape) => shape(&letter()?).to_string(),
        };
        let response = request
            .body(body)
            .send()
            .await
            // The address may hold a secret of the receiver.
            .map_err(reqwest::Error::without_url)?;
        let status = response.status();
        let said = read(response).await;
        let answer = format!("{status} {}", said.trim());
        if status.is_success() { Ok(answer) } else { Err(SendError::Answer(answer)) }
    }
}

/// The beginning of an answer. One that breaks off has been heard all the same.
async fn read(mut response: reqwest::Response) -> String {
    let mut said = Vec::new();
    while said.len() < SHOWN
        && let Ok(Some(chunk)) = response.chunk().await
    {
        said.extend_from_slice(&chunk);
    }
    said.truncate(SHOWN);
    String::from_utf8_lossy(&said).into_owned()
}
