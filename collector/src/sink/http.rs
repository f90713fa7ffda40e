//! Records over HTTP, in the words of Elasticsearch and OpenSearch
//! (<https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk>), of Splunk's HTTP Event Collector
//! (<https://docs.splunk.com/Documentation/Splunk/latest/Data/FormateventsforHTTPEventCollector>), or plainly.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Response, Url};
use serde::Deserialize;
use serde_json::json;
use vitrine_policy::record::Record;

use super::{DeliverError, Outgoing, Refused, json_line};
use crate::config::{self, ConfigError, Shape, is_this_machine, mistake};
use crate::console::words::machine_time;

/// Time for a whole request with its answer.
const TIME: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read; what Elasticsearch says of 500 records that it all refuses is less.
const ANSWER: usize = 4 << 20;
/// Characters of an answer that an error shows.
const SHOWN: usize = 200;
/// What is asked for of Elasticsearch's answer.
const ASKED: &str = "items.*.status,items.*.error.type,items.*.error.reason";

pub(super) struct Http {
    client: reqwest::Client,
    url: Url,
    shape: Shape,
    index: Option<String>,
    authorization: Option<HeaderValue>,
}

#[derive(Deserialize)]
struct Bulk {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Created,
}

#[derive(Deserialize)]
struct Created {
    status: u16,
    error: Option<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    r#type: String,
    reason: Option<String>,
}

impl Http {
    pub(super) fn new(config: &config::Http, data: &Path) -> Result<Http, ConfigError> {
        let wrong = |reason: String| mistake(data, format!("[[sink]] {:?}: {reason}", config.name));
        let mut url: Url = config.url.parse().map_err(|error| wrong(format!("url = {:?}: {error}", config.url)))?;
        let local = url.host_str().is_some_and(is_this_machine);
        if url.scheme() != "https" && !(url.scheme() == "http" && local) {
            return Err(wrong(
                "url must begin with https:// (http:// only to this machine): records name people".into(),
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("url holds a password: use username and password-file".into()));
        }
        let api: &[&str] = match config.shape {
            Shape::Elasticsearch => &["_bulk"],
            Shape::SplunkHec => &["services", "collector", "event"],
            Shape::Json | Shape::Ndjson => &[],
        };
        if !api.is_empty()
            && let Ok(mut path) = url.path_segments_mut()
        {
            path.pop_if_empty().extend(api);
        }
        if config.shape == Shape::Elasticsearch {
            url.query_pairs_mut().append_pair("filter_path", ASKED);
        }
        if config.index.is_some() && matches!(config.shape, Shape::Json | Shape::Ndjson) {
            return Err(wrong("index is for elasticsearch and splunk-hec alone".into()));
        }
        let mut builder = reqwest::Client::builder()
            .timeout(TIME)
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("vitrine-collector/", env!("CARGO_PKG_VERSION")));
        if local {
            builder = builder.no_proxy();
        }
        if let Some(file) = &config.ca_file {
            builder = builder.tls_certs_only(config::certificates(data, file)?);
        }
        let client = builder.build().map_err(|error| wrong(error.to_string()))?;
        let authorization = authorization(config, data)?;
        Ok(Http { client, url, shape: config.shape, index: config.index.clone(), authorization })
    }

    /// The server that it sends to; path and query can hold a secret and are left out.
    pub(super) fn target(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    pub(super) fn shape(&self, record: &Record) -> String {
        let mut event = record.to_ocsf();
        match self.shape {
            Shape::Json | Shape::Ndjson => json_line(&event),
            Shape::Elasticsearch => {
                // Data streams want it, and take documents by `create` alone.
                event["@timestamp"] = json!(machine_time(record.time));
                json_line(&event)
            }
            Shape::SplunkHec => {
                let mut hec = json!({
                    "time": format!("{}.{:03}", record.time.div_euclid(1000), record.time.rem_euclid(1000)),
                    "host": record.host.name,
                    "source": "vitrine",
                    "sourcetype": "vitrine:ocsf",
                    "event": event,
                });
                if let Some(index) = &self.index {
                    hec["index"] = json!(index);
                }
                json_line(&hec)
            }
        }
    }

    /// Sends a batch. When the server refuses it for what is in it, the halves are tried, so that one bad record holds
    /// up no other.
    pub(super) async fn deliver(&self, batch: &[Outgoing]) -> Result<Vec<Refused>, DeliverError> {
        let mut refused = Vec::new();
        let mut parts = vec![(0, batch)];
        while let Some((start, part)) = parts.pop() {
            let response = self.send(part).await?;
            let status = response.status();
            let after = retry_after(&response);
            let answer = read(response).await?;
            if status.is_success() {
                refused.extend(self.judge(part, &answer)?.into_iter().map(|(place, reason)| (start + place, reason)));
            } else if !is_for_content(status.as_u16()) {
                return Err(DeliverError::Status { status: status.as_u16(), said: shown(&answer), after });
            } else if part.len() == 1 {
                refused.push((start, format!("{}: {}", status.as_u16(), shown(&answer).unwrap_or_default())));
            } else {
                let (first, second) = part.split_at(part.len() / 2);
                parts.push((start + first.len(), second));
                parts.push((start, first));
            }
        }
        Ok(refused)
    }

    async fn send(&self, part: &[Outgoing]) -> Result<Response, DeliverError> {
        let bodies = || part.iter().map(|outgoing| outgoing.body.as_str());
        let lines = || bodies().flat_map(|body| [body, "\n"]).collect::<String>();
        let (kind, body) = match self.shape {
            Shape::Json => ("application/json", format!("[{}]", bodies().collect::<Vec<_>>().join(","))),
            Shape::Ndjson => ("application/x-ndjson", lines()),
            Shape::SplunkHec => ("application/json", lines()),
            Shape::Elasticsearch => {
                let index = self.index.as_deref().unwrap_or("vitrine");
                let mut body = String::new();
                for outgoing in part {
                    // With an id of its own a record that comes again is a conflict, and not a second document.
                    body.push_str(&json_line(&json!({"create": {"_index": index, "_id": outgoing.id}})));
                    body.push('\n');
                    body.push_str(&outgoing.body);
                    body.push('\n');
                }
                ("application/x-ndjson", body)
            }
        };
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, kind).body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        // The address may hold a secret of the receiver.
        Ok(request.send().await.map_err(reqwest::Error::without_url)?)
    }

    /// What a success means: to Elasticsearch, something for each record.
    fn judge(&self, part: &[Outgoing], answer: &[u8]) -> Result<Vec<Refused>, DeliverError> {
        if self.shape != Shape::Elasticsearch {
            return Ok(Vec::new());
        }
        let bulk: Bulk = serde_json::from_slice(answer).map_err(|error| {
            DeliverError::Answer(format!(
                "the answer is not that of _bulk ({error}): check that url is Elasticsearch's"
            ))
        })?;
        if bulk.items.len() != part.len() {
            let said = format!("the answer tells of {} records, and {} were sent", bulk.items.len(), part.len());
            return Err(DeliverError::Answer(said));
        }
        let mut refused = Vec::new();
        for (place, Item { create: Created { status, error } }) in bulk.items.into_iter().enumerate() {
            let said = error.map(|error| format!("{}: {}", error.r#type, error.reason.unwrap_or_default()));
            match status {
                // 409: it is there already, from an attempt of which no answer came.
                200..=299 | 409 => {}
                status if is_for_content(status) => refused.push((place, said.unwrap_or_default())),
                // All of it comes again; what is there already does no harm.
                status => return Err(DeliverError::Status { status, said, after: None }),
            }
        }
        Ok(refused)
    }
}

/// Whether a status speaks of what was sent, and not of the server, its address or who sends.
fn is_for_content(status: u16) -> bool {
    matches!(status, 400 | 413 | 422)
}

fn authorization(config: &config::Http, data: &Path) -> Result<Option<HeaderValue>, ConfigError> {
    let scheme = match config.shape {
        Shape::Elasticsearch => "ApiKey",
        Shape::SplunkHec => "Splunk",
        Shape::Json | Shape::Ndjson => "Bearer",
    };
    let (file, value) = match (&config.token_file, &config.username, &config.password_file) {
        (None, None, None) => return Ok(None),
        (Some(file), None, None) => (file, format!("{scheme} {}", config::secret(data, file, false)?)),
        (None, Some(user), Some(file)) => {
            let pair = format!("{user}:{}", config::secret(data, file, false)?);
            (file, format!("Basic {}", BASE64.encode(pair)))
        }
        _ => {
            let reason = "token-file stands alone, or username and password-file together";
            return Err(mistake(data, format!("[[sink]] {:?}: {reason}", config.name)));
        }
    };
    let mut value = HeaderValue::from_str(&value).map_err(|_| ConfigError::Value {
        path: data.join(file),
        reason: "holds characters that no HTTP header can: it must be one line of printable ASCII".into(),
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn read(mut response: Response) -> Result<Vec<u8>, DeliverError> {
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        if answer.len() + chunk.len() > ANSWER {
            return Err(DeliverError::Answer(format!("the answer has more than {} MiB", ANSWER >> 20)));
        }
        answer.extend_from_slice(&chunk);
    }
    Ok(answer)
}

fn shown(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer.get(..SHOWN * 4).unwrap_or(answer));
    let text: String = text.trim().chars().take(SHOWN).collect();
    (!text.is_empty()).then_some(text)
}
