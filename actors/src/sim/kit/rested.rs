//! A simulated cluster at rest, as the author's check sees it.

use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::check::encode;
use super::told::Workload;
use crate::protocol::hash::RingHash;
use crate::protocol::id::OpId;
use crate::runtime::node::Ask;
use crate::runtime::vnode::{Class, Vnode};
use crate::sim::cluster::Cluster;
use crate::sim::failure::Failure;

/// How often, and how soon again, the check of a cluster at rest asks one command.
const TRIES_AT_REST: usize = 30;
const AGAIN_AT_REST: Duration = Duration::from_secs(1);

/// Operations of the check are told from those of clients and nodes.
const CHECK_MINTER: u64 = 1 << 41;

/// The cluster at rest, for the author's check to look at.
pub struct Rested<'a> {
    pub(super) town: &'a mut Cluster,
    pub(super) workload: &'a Workload,
    pub(super) asked: usize,
    pub(super) op: u64,
    /// What went wrong while it was asked.
    pub(super) failure: Option<Failure>,
}

impl Rested<'_> {
    /// Asks a command, each time through another node, and again while there is no reply: the same operation.
    ///
    /// # Errors
    ///
    /// Why there is no reply, in words.
    pub fn ask<V: Vnode>(
        &mut self,
        hash: RingHash,
        command: &V::Command,
    ) -> Result<V::Reply, String> {
        let reply = self.ask_raw(hash, encode(command))?;
        decode(&reply).ok_or_else(|| "the reply cannot be read".to_owned())
    }

    /// As [`Rested::ask`], with an encoded command.
    ///
    /// # Errors
    ///
    /// Why there is no reply, in words.
    pub fn ask_raw(&mut self, hash: RingHash, command: Bytes) -> Result<Bytes, String> {
        let nodes = self.workload.nodes.borrow().clone();
        let mut why = "no node runs".to_owned();
        self.op += 1;
        for _ in 0..TRIES_AT_REST {
            self.asked += 1;
            let Some((_, node)) = nodes.get(self.asked % nodes.len().max(1)).cloned() else {
                break;
            };
            let (name, ask, command) =
                (self.workload.name.clone(), self.workload.ask, command.clone());
            // Stand-ins know less than owners: only those count here.
            let owners_needed = match self.workload.class {
                Class::Single => ask.owners_needed,
                Class::Merged => ask.needed,
            };
            let op = Some(OpId { minter: CHECK_MINTER, counter: self.op });
            let ask = Ask { op, owners_needed, ..ask };
            let asking = async move { node.run(&name, hash, command, ask).await };
            match self.town.try_ask("the check is answered", asking) {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) => why = error.to_string(),
                Err(failure) => return Err(self.failed(failure)),
            }
            // A link that was cut stands again when somebody has dialled anew.
            if let Err(failure) = self.town.advance(AGAIN_AT_REST) {
                return Err(self.failed(failure));
            }
        }
        Err(why)
    }

    fn failed(&mut self, failure: Failure) -> String {
        let what = failure.to_string();
        self.failure.get_or_insert(failure);
        what
    }
}

/// A reply; an empty one is read as nil.
pub(super) fn decode<T: DeserializeOwned>(bytes: &Bytes) -> Option<T> {
    let nil: &[u8] = &[0xc0];
    rmp_serde::from_slice(if bytes.is_empty() { nil } else { bytes }).ok()
}
