//! How the provider is asked: over TLS, within a time, without following redirects, and no more is read than such
//! answers hold.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::Url;

use super::{is_this_machine, mistake};
use crate::config::{self, ConfigError, Oidc};

/// Time for a whole request with its answer.
const TIME: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const ANSWER: usize = 1 << 20;

pub(super) struct Web(reqwest::Client);

#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("expected https:// (http:// only to this machine)")]
    Clear,
    #[error("the answer has more than {} MiB", ANSWER >> 20)]
    Long,
    #[error("{0}")]
    Response(#[from] openidconnect::http::Error),
}

/// Whether an address may be used.
pub(super) fn check(url: &Url) -> Result<(), WebError> {
    let is_local = url.scheme() == "http" && url.host_str().is_some_and(is_this_machine);
    if url.scheme() == "https" || is_local { Ok(()) } else { Err(WebError::Clear) }
}

impl Web {
    pub(super) fn new(config: &Oidc, issuer: &Url, data: &Path) -> Result<Web, ConfigError> {
        let mut builder = reqwest::Client::builder()
            .timeout(TIME)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("vitrine-collector/", env!("CARGO_PKG_VERSION")));
        if issuer.host_str().is_some_and(is_this_machine) {
            builder = builder.no_proxy();
        }
        if let Some(file) = &config.ca_file {
            builder = builder.tls_certs_only(config::certificates(data, file)?);
        }
        let client = builder.build().map_err(|error| mistake(data, format!("[console.oidc]: {error}")))?;
        Ok(Web(client))
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, WebError> {
        let request = reqwest::Request::try_from(request)?;
        check(request.url())?;
        let mut response = self.0.execute(request).await?;
        let mut answer = openidconnect::http::Response::builder().status(response.status());
        for (name, value) in response.headers() {
            answer = answer.header(name, value);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > ANSWER {
                return Err(WebError::Long);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(answer.body(body)?)
    }
}

impl<'c> AsyncHttpClient<'c> for Web {
    type Error = WebError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, WebError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}
