//! The simulated cluster: the actors of [`crate::runtime`], unchanged, many nodes on one thread, in virtual
//! time, from a seed.
//!
//! Owns: the world around the nodes (network, disks, clocks, the order of polls), what clients were told, and
//! the search for the smallest run that fails. It implements no actor: what runs here is what runs in a
//! process.
//!
//! # For authors of vnodes
//!
//! The crate is a dependency as ever, and once more a dependency of the tests, with the simulator:
//!
//! ```toml
//! [dev-dependencies]
//! tanodb-actors = { version = "0.1", features = ["sim"] }
//! ```
//!
//! [`check_vnode`] drives one vnode through all that a transfer does to it, without a cluster: it needs a function
//! that draws commands. [`simulate`] starts a cluster of nodes with the vnode, has clients ask drawn commands while
//! nodes join and links, disks and clocks fail, and gives what the clients were told to the author's own check.
//! Vnodes with a state of their own have [`check_raw_vnode`] and [`simulate_raw`]. A failure says what was
//! broken, where, and after what.
//!
//! Everything follows from a seed. [`for_each_seed`](harness::for_each_seed) runs a test on the first so many; the
//! environment variable `TANODB_SEED`, a number or a range like `0..300`, chooses others. It is the only one, and
//! only [`harness`] reads it.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tanodb_actors::sim::{Check, Heard, Simulation, check_vnode, simulate};
//! use tanodb_actors::{Answer, Class, CommandContext, Items, Partition, RingHash, Vnode, key_hash};
//!
//! struct Notes;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Note(u64, Option<String>);
//!
//! impl Vnode for Notes {
//!     type Command = Note;
//!     type Reply = Option<String>;
//!     const CLASS: Class = Class::Single;
//!
//!     fn start(_: Partition) -> Self {
//!         Self
//!     }
//!
//!     fn handle_command(
//!         &mut self,
//!         Note(number, text): Note,
//!         _: &CommandContext,
//!         items: &mut Items<'_>,
//!     ) -> Answer<Option<String>, Note> {
//!         match &text {
//!             Some(text) => items.put(&number.to_be_bytes(), text.clone()),
//!             None => items.remove(&number.to_be_bytes()),
//!         }
//!         Answer::Reply(text)
//!     }
//!
//!     fn ring_hash(key: &[u8]) -> RingHash {
//!         key_hash(b"notes", key)
//!     }
//! }
//!
//! let drawn = |draw: &tanodb_actors::sim::Draw| {
//!     Note(draw.below(50), draw.one_in(2, 3).then(|| draw.number().to_string()))
//! };
//! let report = check_vnode::<Notes>(&Check::seeded(7), drawn)?;
//! assert!(report.crashes > 0);
//!
//! let placed = move |draw: &tanodb_actors::sim::Draw| {
//!     let note = drawn(draw);
//!     (Notes::ring_hash(&note.0.to_be_bytes()), note)
//! };
//! let report = simulate::<Notes>(&Simulation::seeded(7), placed, |told, _rested| {
//!     let echoes = |heard: &Heard<_>, text| !matches!(heard, Heard::Done(said) if said != text);
//!     match told.iter().all(|told| echoes(&told.heard, &told.command.1)) {
//!         true => Ok(()),
//!         false => Err("another note came back".to_owned()),
//!     }
//! })?;
//! assert!(report.transfers_completed > 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cluster;
pub mod disk;
pub mod driver;
pub mod failure;
pub mod harness;
pub mod history;
pub mod invariant;
pub mod kit;
pub mod network;
mod panics;
pub mod shrink;
pub mod trace;
mod watch;

pub use kit::{
    Check, CheckFailure, CheckReport, Draw, Faults, Heard, Points, Promise, Report, Rested,
    SimulateFailure, Simulation, Told, check_raw_vnode, check_vnode, simulate, simulate_raw,
};
