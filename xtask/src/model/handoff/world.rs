//! What a state of the handoff model is: three nodes, the connections between them, what is under way.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tanodb_actors::protocol::digest::ItemPosition;
use tanodb_actors::protocol::handoff::{Handoff, Incoming};
use tanodb_actors::protocol::id::{Epoch, Incarnation, NodeId, NodeName, Token, TransferId};
use tanodb_actors::protocol::receiver::Receiver;
use tanodb_actors::protocol::sender::Sender;
use tanodb_actors::protocol::stream::Stream;

use super::Bounds;

/// The ring that wants the partition at B, and the one after it, which wants it at C.
pub(crate) const FIRST_RING: Epoch = Epoch(2);
pub(crate) const SECOND_RING: Epoch = Epoch(3);

/// One of the three nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    A,
    B,
    C,
}

impl Place {
    pub(crate) const ALL: [Self; 3] = [Self::A, Self::B, Self::C];

    /// Who ought to own the partition by a ring.
    pub(crate) fn desired(epoch: Epoch) -> Self {
        if epoch >= SECOND_RING { Self::C } else { Self::B }
    }

    fn number(self) -> u32 {
        match self {
            Self::A => 1,
            Self::B => 2,
            Self::C => 3,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What does not change over a run.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    names: [NodeName; 3],
    /// The keys' positions, in their order.
    positions: [ItemPosition; KEYS],
}

pub(crate) const KEYS: usize = 2;

impl Ground {
    pub(crate) fn new() -> Self {
        let name = |text: &str| {
            #[expect(clippy::expect_used, reason = "a letter at a host is a node name")]
            NodeName::new(text).expect("a node name")
        };
        let mut positions = [
            ItemPosition::of(Bytes::from_static(b"x")),
            ItemPosition::of(Bytes::from_static(b"y")),
        ];
        positions.sort();
        Self { names: ["A@model", "B@model", "C@model"].map(name), positions }
    }

    /// A node in one of its lives.
    pub(crate) fn node(&self, place: Place, boot: u64) -> NodeId {
        let [a, b, c] = &self.names;
        let name = match place {
            Place::A => a,
            Place::B => b,
            Place::C => c,
        };
        let nonce = place.number() * 10 + u32::try_from(boot).unwrap_or(0);
        NodeId { name: name.clone(), incarnation: Incarnation { boot, nonce } }
    }

    pub(crate) fn place(&self, node: &NodeId) -> Place {
        let [a, b, _] = &self.names;
        if node.name == *a {
            Place::A
        } else if node.name == *b {
            Place::B
        } else {
            Place::C
        }
    }

    pub(crate) fn positions(&self) -> impl Iterator<Item = (usize, &ItemPosition)> {
        self.positions.iter().enumerate()
    }
}

/// A change of one item: the key's number, and what stands under it afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Change {
    pub(crate) key: usize,
    pub(crate) value: Option<u8>,
}

/// What the client does, in this order: three writes and a delete, on two keys.
pub(crate) const OPERATIONS: [Change; 4] = [
    Change { key: 0, value: Some(1) },
    Change { key: 1, value: Some(2) },
    Change { key: 0, value: None },
    Change { key: 1, value: Some(3) },
];

/// What a container holds: a value for each key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Items([Option<u8>; KEYS]);

impl Items {
    pub(crate) fn apply(&mut self, change: Change) {
        if let Some(value) = self.0.get_mut(change.key) {
            *value = change.value;
        }
    }

    pub(crate) fn get(&self, key: usize) -> Option<u8> {
        self.0.get(key).copied().flatten()
    }

    /// Whether every item of `other` is here.
    pub(crate) fn contain(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(mine, theirs)| theirs.is_none() || mine == theirs)
    }

    /// Whether nothing is here that `other` does not have at all.
    pub(crate) fn has_no_key_beyond(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(mine, theirs)| mine.is_none() || theirs.is_some())
    }
}

/// What travels on the connection of an attempt, towards the target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Forward {
    Offer(Incoming, Epoch, NodeId),
    /// The content of the keys named, and nothing else under them.
    Page {
        sequence: u64,
        covered: Vec<usize>,
        items: Items,
        is_last: bool,
    },
    Delta {
        sequence: u64,
        changes: Vec<Change>,
    },
    Fence {
        fence: u64,
        items: Items,
    },
    Cancel,
}

/// What travels on the connection of an attempt, towards the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Backward {
    Accepted,
    FenceOk(u64),
    Cancel,
}

/// What a sender has asked its vnode for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Asked {
    Part,
    Fence,
}

/// The receiver's end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum End {
    /// The offer has not been read.
    Unread,
    Open(Receiver),
    Closed,
}

/// The connection of one attempt, with the shipped sender at one end and the shipped receiver at the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Link {
    pub(crate) transfer: TransferId,
    pub(crate) source: Place,
    pub(crate) target: Place,
    pub(crate) sender: Option<Sender>,
    pub(crate) asked: Option<Asked>,
    pub(crate) receiver: End,
    pub(crate) forward: VecDeque<Forward>,
    pub(crate) backward: VecDeque<Backward>,
    /// Nothing gets through any more, and the ends do not know it yet.
    pub(crate) is_cut: bool,
}

impl Link {
    /// Whether nobody is at either end, or will be.
    pub(crate) fn is_over(&self) -> bool {
        let nobody_reads = match self.receiver {
            End::Unread => self.is_cut || self.forward.is_empty(),
            End::Open(_) => false,
            End::Closed => true,
        };
        self.sender.is_none() && nobody_reads
    }
}

/// A message between two nodes outside of a transfer's connection. It may arrive never, late, or often, in
/// any order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Letter {
    Grant {
        transfer: TransferId,
        to: NodeId,
        fence: u64,
        token: Token,
        rebuilding: bool,
    },
    /// The target holds the grant.
    Held {
        transfer: TransferId,
        to: Place,
    },
    /// The target will never honour the grant.
    Declined {
        transfer: TransferId,
        by: NodeId,
        to: Place,
    },
    /// The source is not granting that attempt any more.
    Retired {
        transfer: TransferId,
        to: Place,
    },
    /// The attempt is over.
    Over {
        transfer: TransferId,
        to: Place,
    },
    /// An operation that a fenced source passes on. The link it travels on delivers it once or never.
    Execute {
        transfer: TransferId,
        operation: usize,
        to: Place,
    },
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) me: NodeId,
    /// Lost what it held, and the ring lists its former life.
    pub(crate) is_unreadmitted: bool,
    /// The newest ring it has seen.
    pub(crate) epoch: Epoch,
    pub(crate) handoff: Handoff,
    /// The state its control record holds.
    pub(crate) record: Option<Handoff>,
    /// A record that is being written.
    pub(crate) writing: Option<Handoff>,
    pub(crate) owned: Option<Items>,
    pub(crate) staging: Option<Items>,
    pub(crate) receipt: Option<TransferId>,
    /// What the attempt under way sends.
    pub(crate) stream: Option<Stream<Change>>,
    /// The attempt whose receiver the vnode talks to.
    pub(crate) receiver: Option<TransferId>,
    /// The attempt after which it asks the source, again and again.
    pub(crate) asks_after: Option<TransferId>,
    /// The grant of which it says, again and again, that it holds it.
    pub(crate) says_held: Option<TransferId>,
    pub(crate) is_purging: bool,
    /// Operations that a source has passed on.
    pub(crate) queued: Vec<usize>,
    /// Attempts it has begun in this life.
    pub(crate) attempts: u64,
}

/// What may still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Left {
    pub(crate) operations: usize,
    pub(crate) cancels: u8,
    pub(crate) cuts: u8,
    pub(crate) falls: u8,
    pub(crate) wipes: u8,
    pub(crate) restarts: u8,
}

/// What was promised, beside what the nodes know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ghost {
    /// The outcome of every operation that was acknowledged.
    pub(crate) truth: Items,
    /// The highest token a node has spoken under.
    pub(crate) highest: Option<(Token, Option<NodeId>)>,
    /// Attempts by which a life of a target, which still lasts, has taken ownership of exactly what the source holds.
    pub(crate) proven: BTreeSet<TransferId>,
    pub(crate) wrong: Option<Wrong>,
}

/// What a step did that it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Wrong {
    /// Two nodes serve, or one under a token that is not newer.
    TwoOwners,
    /// A copy was deleted that nobody had proved to hold.
    Deleted,
    /// After the fence both sides held different items.
    Differs,
}

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    // Shared with the state before: a step changes little, and what is shared is equal at a glance.
    a: Arc<Node>,
    b: Arc<Node>,
    c: Arc<Node>,
    pub(crate) links: Vec<Arc<Link>>,
    /// Said, and not heard yet.
    pub(crate) fresh: Arc<BTreeSet<Letter>>,
    /// Heard or lost, and perhaps heard again.
    pub(crate) stale: Arc<BTreeSet<Letter>>,
    /// Whether the second ring is decided.
    pub(crate) is_decided: bool,
    pub(crate) left: Left,
    pub(crate) ghost: Ghost,
}

impl World {
    /// A owns the partition, which is empty, and the ring wants it at B.
    pub(crate) fn first(ground: &Ground, bounds: &Bounds) -> Self {
        let node = |place| Node {
            me: ground.node(place, 1),
            is_unreadmitted: false,
            epoch: FIRST_RING,
            handoff: Handoff::absent(),
            record: None,
            writing: None,
            owned: None,
            staging: None,
            receipt: None,
            stream: None,
            receiver: None,
            asks_after: None,
            says_held: None,
            is_purging: false,
            queued: Vec::new(),
            attempts: 0,
        };
        let token = Token::minted(Epoch(1));
        let founder = Node {
            handoff: Handoff::owner(token),
            record: Some(Handoff::owner(token)),
            owned: Some(Items::default()),
            ..node(Place::A)
        };
        Self {
            ghost: Ghost { highest: Some((token, Some(founder.me.clone()))), ..Ghost::default() },
            a: Arc::new(founder),
            b: Arc::new(node(Place::B)),
            c: Arc::new(node(Place::C)),
            links: Vec::new(),
            fresh: Arc::default(),
            stale: Arc::default(),
            is_decided: false,
            left: bounds.left(),
        }
    }

    pub(crate) fn node(&self, place: Place) -> &Node {
        match place {
            Place::A => &self.a,
            Place::B => &self.b,
            Place::C => &self.c,
        }
    }

    pub(crate) fn node_mut(&mut self, place: Place) -> &mut Node {
        match place {
            Place::A => Arc::make_mut(&mut self.a),
            Place::B => Arc::make_mut(&mut self.b),
            Place::C => Arc::make_mut(&mut self.c),
        }
    }

    pub(crate) fn link(&self, transfer: TransferId) -> Option<&Link> {
        self.links.iter().map(Arc::as_ref).find(|link| link.transfer == transfer)
    }

    pub(crate) fn link_mut(&mut self, transfer: TransferId) -> Option<&mut Link> {
        let link = self.links.iter_mut().find(|link| link.transfer == transfer);
        link.map(Arc::make_mut)
    }

    /// Whether a node is in the life that the rings list.
    pub(crate) fn is_listed(&self, place: Place) -> bool {
        !self.node(place).is_unreadmitted
    }
}
