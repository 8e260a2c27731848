//! Failures that happened to others, played again: each story names the pieces of the museum it is about.
//! `tests/museum.md` says for every piece where it is played, or why not here.

mod attempts;
mod losses;
mod membership;
mod overtaken;
mod reading;
mod stuck;
mod town;
