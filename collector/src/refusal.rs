//! How a request is refused: a status, what is wrong, and what was expected instead.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::store::StoreError;

/// A refusal, as JSON `{"error", "expected"}`.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    error: String,
    expected: String,
    retry_after: Option<u32>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>, expected: impl Into<String>) -> Refusal {
        Refusal { status, error: error.into(), expected: expected.into(), retry_after: None }
    }

    /// Tells the sender to come back in so many seconds.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Refusal {
        self.retry_after = Some(seconds);
        self
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Refusal {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is too large",
                "a body within the limits of this address",
            ),
            status => Refusal::new(status, rejection.body_text(), "a whole body"),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        match error {
            StoreError::OtherAgent(reason) => {
                Refusal::new(StatusCode::FORBIDDEN, reason, "a token of this agent's own")
            }
            StoreError::Taken(reason) | StoreError::User(reason) => {
                Refusal::new(StatusCode::CONFLICT, reason, "what the page of users shows")
            }
            StoreError::Policy(reason) => Refusal::new(StatusCode::CONFLICT, reason, "what the page of policies shows"),
            StoreError::Full => {
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), "the same request later")
                    .retry_after(30)
            }
            StoreError::Slow => {
                let expected = "a narrower filter, or the same request when less is going on";
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), expected).retry_after(5)
            }
            other => {
                tracing::error!(error = %other, "a request could not be served");
                let reason = "the collector cannot reach its database just now";
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason, "the same request later").retry_after(5)
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": self.error, "expected": self.expected}));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
