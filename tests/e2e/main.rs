//! The whole product on real files, a real kernel and real tools. A world is built, something is done in
//! it, and what arrived and what was recorded is looked at.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may end loudly

mod approval;
mod dead;
mod desk;
mod doctor;
mod documents;
mod enrolled;
mod export;
mod faults;
mod flow;
mod gate;
mod given;
mod history;
mod inside;
mod justify;
mod life;
mod maintenance;
mod notify;
mod ocsf;
mod replay;
mod rest;
mod seals;
mod service;
mod shell;
mod signed;
mod staff;
mod tiles;
mod trace;
mod watch;
mod world;
