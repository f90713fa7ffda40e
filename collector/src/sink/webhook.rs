//! The webhook. Its signature is made as Stripe and many after it make theirs, so that receivers know how
//! to check it: HMAC-SHA256 over the time, a dot and the body.

use std::path::Path;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Url;
use sha2::Sha256;

use super::SendError;
use crate::config::{self, ConfigError, is_this_machine, mistake};
use crate::store::{Message, now};

pub(super) struct Webhook {
    client: reqwest::Client,
    url: Url,
    key: Hmac<Sha256>,
}

impl Webhook {
    pub(super) fn new(config: &config::Webhook, data: &Path) -> Result<Webhook, ConfigError> {
        let url: Url =
            config.url.parse().map_err(|error| mistake(data, format!("[webhook] url = {:?}: {error}", config.url)))?;
        let local = url.host_str().is_some_and(is_this_machine);
        if url.scheme() != "https" && !(url.scheme() == "http" && local) {
            let reason = "[webhook] url must begin with https:// (http:// only to this machine): alerts name people";
            return Err(mistake(data, reason));
        }
        let secret = config::secret(data, &config.secret_file, true)?;
        let key = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .map_err(|error| mistake(data, format!("[webhook] secret-file: {error}")))?;
        let mut builder = reqwest::Client::builder()
            .timeout(Duration::from_secs(20))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("vitrine-collector/", env!("CARGO_PKG_VERSION")));
        if local {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| mistake(data, format!("[webhook]: {error}")))?;
        Ok(Webhook { client, url, key })
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), SendError> {
        let time = now() / 1000;
        let mut mac = self.key.clone();
        mac.update(format!("{time}.{}", message.body).as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let response = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("vitrine-message", message.number)
            .header("vitrine-signature", format!("t={time},v1={signature}"))
            .body(message.body.clone())
            .send()
            .await
            // The address may hold a secret of the receiver.
            .map_err(reqwest::Error::without_url)?;
        let status = response.status();
        if status.is_success() { Ok(()) } else { Err(SendError::Status(status.as_u16())) }
    }
}
