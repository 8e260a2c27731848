//! A vnode of either class that a test can take apart: numbered places, each with a number on it.

use serde::{Deserialize, Serialize};
use tanodb_actors::sim::kit::Draw;
use tanodb_actors::{
    Answer, Class, CommandContext, HandoffChoice, Items, Partition, RingHash, Vnode, VnodeType,
    key_hash,
};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    Put(u64, u64),
    Clear(u64),
    Read(u64),
    Add(u64, u64),
    /// Puts after work elsewhere.
    Later(u64, u64),
    /// Puts, and stops the vnode.
    Stop(u64),
}

/// Places chosen from. Few enough that commands meet.
pub const PLACES: u64 = 40;

pub struct Shelf<const SINGLE: bool>;

impl<const SINGLE: bool> Vnode for Shelf<SINGLE> {
    type Command = Place;
    type Reply = Option<u64>;
    const CLASS: Class = if SINGLE { Class::Single } else { Class::Merged };

    fn start(_: Partition) -> Self {
        Self
    }

    fn handle_command(
        &mut self,
        command: Place,
        _: &CommandContext,
        items: &mut Items<'_>,
    ) -> Answer<Option<u64>, Place> {
        match command {
            Place::Put(place, number) => {
                items.put(&place.to_be_bytes(), number.to_be_bytes().to_vec());
                Answer::Reply(Some(number))
            }
            Place::Clear(place) => {
                items.remove(&place.to_be_bytes());
                Answer::NoReply
            }
            Place::Read(place) => {
                let stored = items.get(&place.to_be_bytes());
                let number = stored.and_then(|stored| stored.first_chunk().copied());
                Answer::Reply(number.map(u64::from_be_bytes))
            }
            Place::Add(place, amount) => {
                let stored = items.get(&place.to_be_bytes());
                let number = stored.and_then(|stored| stored.first_chunk().copied());
                let sum = number.map_or(0, u64::from_be_bytes) + amount;
                items.put(&place.to_be_bytes(), sum.to_be_bytes().to_vec());
                Answer::Reply(Some(sum))
            }
            Place::Later(place, number) => {
                Answer::Async(Box::new(move || Place::Put(place, number)))
            }
            Place::Stop(place) => {
                items.put(&place.to_be_bytes(), b"never seen".to_vec());
                Answer::Stop("as told".to_owned())
            }
        }
    }

    fn handle_handoff_command(&mut self, command: &Place) -> HandoffChoice {
        match command {
            Place::Put(..) | Place::Clear(_) | Place::Add(..) => HandoffChoice::Handle,
            Place::Later(..) | Place::Stop(_) => HandoffChoice::Forward,
            Place::Read(_) => HandoffChoice::Drop,
        }
    }

    /// One replica may have missed what another has.
    fn combine(replies: Vec<Option<u64>>) -> Option<Option<u64>> {
        replies.into_iter().max()
    }

    fn ring_hash(key: &[u8]) -> RingHash {
        key_hash(b"shelf", key)
    }
}

pub fn shelves() -> VnodeType {
    VnodeType::new("shelves").unwrap()
}

pub fn hash_of(place: u64) -> RingHash {
    Shelf::<true>::ring_hash(&place.to_be_bytes())
}

/// All that a shelf can be told.
pub fn anything(draw: &Draw) -> Place {
    let place = draw.below(PLACES);
    match draw.below(20) {
        0..10 => Place::Put(place, draw.number()),
        10..15 => Place::Clear(place),
        15..17 => Place::Read(place),
        17..19 => Place::Later(place, draw.number()),
        _ => Place::Stop(place),
    }
}
