//! Messages of the network's own actors, beside those in [`crate::runtime::message`].

use actix::Message;

use crate::protocol::id::NodeId;
use crate::wire::message::Introduction;

// ---- heard by the Watcher ------------------------------------------------------------------------

/// A member introduced itself in another life than the ring lists, and was refused.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct OtherLifeSeen(pub Introduction);

// ---- heard by the RingManager --------------------------------------------------------------------

/// A member was met in this incarnation, for the first time or after another one. The ring may list it
/// or not.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct IncarnationSeen(pub NodeId);
