//! Actors: they carry out what `protocol` decides.
