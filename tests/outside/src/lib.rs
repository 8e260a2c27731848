//! Seats of a hall: one name for each, and whoever comes second is told who was first.

use serde::{Deserialize, Serialize};
use tanodb_actors::{
    Answer, Class, CommandContext, HandoffChoice, Items, Partition, RingHash, Vnode, key_hash,
};

/// One partition of the hall.
pub struct Seats;

/// What guests ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// A seat for a name.
    Take(u64, String),
    /// The seat is free again.
    Leave(u64),
    /// Who sits there?
    Who(u64),
}

impl Ask {
    /// The seat it is about.
    pub fn seat(&self) -> u64 {
        match self {
            Self::Take(seat, _) | Self::Leave(seat) | Self::Who(seat) => *seat,
        }
    }
}

/// Where a seat belongs.
pub fn place_of(seat: u64) -> RingHash {
    Seats::ring_hash(&seat.to_be_bytes())
}

impl Vnode for Seats {
    type Command = Ask;
    /// Who sits there now.
    type Reply = Option<String>;
    const CLASS: Class = Class::Single;

    fn start(_: Partition) -> Self {
        Self
    }

    fn handle_command(
        &mut self,
        ask: Ask,
        _: &CommandContext,
        items: &mut Items<'_>,
    ) -> Answer<Option<String>, Ask> {
        let key = ask.seat().to_be_bytes();
        let sits = items.get(&key).map(|name| String::from_utf8_lossy(&name).into_owned());
        match ask {
            Ask::Take(_, name) if sits.is_none() => {
                items.put(&key, name.clone());
                Answer::Reply(Some(name))
            }
            Ask::Leave(_) => {
                items.remove(&key);
                Answer::Reply(None)
            }
            Ask::Take(..) | Ask::Who(_) => Answer::Reply(sits),
        }
    }

    fn handle_handoff_command(&mut self, ask: &Ask) -> HandoffChoice {
        match ask {
            Ask::Take(..) | Ask::Who(_) => HandoffChoice::Handle,
            Ask::Leave(_) => HandoffChoice::Forward,
        }
    }

    fn ring_hash(key: &[u8]) -> RingHash {
        key_hash(b"seats", key)
    }
}
