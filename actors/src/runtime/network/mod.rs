//! Links to other nodes, and the door through which they and clients come in.
//!
//! ```text
//!   Peers ---- one link per member ----->  ~ network ~  -----> Listener ---- one session per connection
//!     | AskPeer, TellPeer                                                      | PeerAsked, ClientAsked,
//!     +---> Watcher <----------- PeerHeard, PeerLost --------------------------+ TransferArrived
//! ```
//!
//! Two members have two connections: each asks on its own and is answered there. What is asked goes to the
//! router; nothing here knows rings beyond whom to let in.

pub mod connection;
pub mod dial;
pub mod listener;
pub mod message;
pub mod peers;
pub mod watcher;

mod alarm;
mod peer_link;
mod session;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::runtime::message::DoorRules;
use crate::wire::door::Door;

/// The rules, as the decision wants them.
#[must_use]
pub fn door(rules: &DoorRules) -> Door<'_> {
    Door { me: &rules.me, ring: &rules.ring, staged: &rules.staged, ready: rules.ready }
}

/// The watcher is told of one peer at most this often by each connection.
const HEARD_PAUSE: Duration = Duration::from_millis(100);

/// The frame id of what wants no answer.
const NO_ANSWER: u64 = 0;
