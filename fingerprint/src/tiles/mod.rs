//! Tile sets: a picture that was cut into many files, for a viewer or by a script, recognised as one object.
//!
//! The name of a file says that it may be a tile, and where it lies ([`TileName`]); what it looks like says whether that
//! is true. Along the seams of a picture that was cut, one tile goes on where its neighbour ends, and no two pictures of
//! a series do ([`seams`]). So a hostile name hides nothing: what does not fit its neighbours is looked at by itself.
//!
//! Every level of a pyramid is a set of its own: the largest one decides the tier, and none can stand for another.

mod name;
mod place;
mod pool;
mod seams;
mod stitch;

pub use name::TileName;
pub(crate) use pool::{Pool, Set, Settled};

/// How the name of a set of tiles ends that was seen as one picture.
pub const SET_NAME_END: &str = " tiles)";
