//! Actors: they carry out what `protocol` decides.

pub mod codec;
