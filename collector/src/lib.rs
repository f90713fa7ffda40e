//! Vitrine's collector: takes in the agents' records, keeps them, raises alerts, sends them out and shows
//! them. `server.rs` has every route on one screen.

#![forbid(unsafe_code)]

pub mod alert;
mod approval;
pub mod config;
mod console;
mod enroll;
mod evidence;
mod heartbeat;
mod ingest;
pub mod masters;
pub mod policy;
mod provider;
pub mod rate;
mod refusal;
mod route;
pub mod server;
pub mod sink;
pub mod store;
pub mod tls;
pub mod trace;
