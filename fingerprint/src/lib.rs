//! Fingerprints of files and pictures: [`measure`] reads a file once and says what it is, [`Index`] keeps
//! the masters and finds those that a file was made from.
//!
//! The layers, all behind the same interface: BLAKE3 of the whole file ([`Digest`]) and of its pixels, of its
//! content-defined [`Parts`], and, as a [`Fingerprint`], a perceptual hash of the whole picture and local features
//! of its parts. Whatever master the last two lead to is verified by pixels. Everything that lies inside a file
//! goes through all of them ([`Inside`]). Nothing outside this crate knows which algorithms they are.
//!
//! Decoders parse hostile bytes, some of them in C. Every one runs behind limits that are checked against
//! the header before anything is allocated, and behind `catch_unwind`; a caller that must survive
//! anything runs [`measure`] in a process of its own with resource limits.

#![forbid(unsafe_code)]

mod container;
mod decode;
mod derive;
mod exact;
mod index;
mod local;
mod measure;
mod perceptual;
mod tiles;

pub use container::{Container, Inside, Opaque, PREVIEW_NAME};
pub use decode::Format;
pub use derive::{Derivative, DeriveError, Kind as Derived, Largest, derive};
pub use exact::{Digest, Parts};
pub use index::{Entry, Index, IndexError, Kind, Known, Master, Match, Pages, Portrait, Problem, Stats};
pub use local::Area;
pub use measure::{Content, Limits, MeasureError, Measurement, Picture, Reason, Size, Unscanned, measure};
pub use perceptual::Fingerprint;
pub use tiles::{SET_NAME_END, TileName};
