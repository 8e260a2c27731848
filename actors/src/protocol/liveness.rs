//! Which other members answer, judged by when they were last heard.
//!
//! A judgement, never a fact: a peer taken for down may be running behind a cut link. Nothing that
//! must be right depends on it; it only says where a request is worth sending. Members marked `down` by
//! an operator are another thing and stand in the ring.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::{Incarnation, NodeName};
use super::time::Moment;

/// A peer is now judged otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LivenessChange {
    /// The peer answers. Said again when it answers under another incarnation: it restarted meanwhile.
    Up {
        /// Who answers.
        peer: NodeName,
        /// The life it answers in.
        incarnation: Incarnation,
    },
    /// The peer has not been heard for too long.
    Down {
        /// Who is silent.
        peer: NodeName,
    },
}

/// How one peer is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Liveness {
    /// Never heard since this node started. Counts as not up: nothing is sent before its hello.
    Unknown,
    /// Heard lately.
    Up {
        /// The life it was heard in.
        incarnation: Incarnation,
        /// When it was last heard.
        heard: Moment,
    },
    /// Its connection was refused or ended. Still counts as up: a connection that is opened anew
    /// within the grace time is no reason to write hints.
    Suspect {
        /// The life it was heard in.
        incarnation: Incarnation,
        /// When it was last heard.
        heard: Moment,
        /// When the connection was first found lost.
        lost: Moment,
    },
    /// Silent for too long.
    Down {
        /// When that was found.
        since: Moment,
    },
}

impl Liveness {
    /// Whether a request may go there.
    #[must_use]
    pub fn is_up(self) -> bool {
        match self {
            Self::Up { .. } | Self::Suspect { .. } => true,
            Self::Unknown | Self::Down { .. } => false,
        }
    }
}

/// Judges peers from what was heard of them. Deterministic: the same calls give the same judgements.
///
/// There is one for small clusters, [`Heartbeats`]; a gossiping one may stand behind the same calls.
pub trait FailureDetector {
    /// Judges these peers from now on and no others. Who is new is [`Liveness::Unknown`].
    fn watch(&mut self, peers: &BTreeSet<NodeName>);

    /// A frame of the peer arrived. Answers with the change, if it is one.
    fn heard(
        &mut self,
        peer: &NodeName,
        incarnation: Incarnation,
        now: Moment,
    ) -> Option<LivenessChange>;

    /// The connection to the peer was refused or ended.
    fn lost(&mut self, peer: &NodeName, now: Moment);

    /// Judges everyone anew, in the order of names.
    fn tick(&mut self, now: Moment) -> Vec<LivenessChange>;

    /// When the next [`FailureDetector::tick`] could change something, if nothing is heard before.
    fn next_deadline(&self) -> Option<Moment>;

    /// Whether a request may go to the peer. A peer that is not watched is not up.
    fn is_up(&self, peer: &NodeName) -> bool;
}

/// How patient [`Heartbeats`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Patience {
    /// A peer silent for this long is down. Default 3 s: several heartbeats of a second each may be late
    /// on a busy machine. Must be longer than the period of heartbeats.
    pub silent_after: Duration,
    /// A peer whose connection is lost is down after this long, unless it is heard. Default 500 ms: a
    /// process that ended refuses at once, and one that opens the connection anew needs a round trip.
    pub lost_grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { silent_after: Duration::from_secs(3), lost_grace: Duration::from_millis(500) }
    }
}

/// Judges each peer by its own frames: every member sends a heartbeat to every other one.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Heartbeats {
    patience: Patience,
    peers: BTreeMap<NodeName, Liveness>,
}

impl Heartbeats {
    /// Watches nobody yet.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self { patience, peers: BTreeMap::new() }
    }

    /// How the peer is judged; none if it is not watched.
    #[must_use]
    pub fn judgement(&self, peer: &NodeName) -> Option<Liveness> {
        self.peers.get(peer).copied()
    }

    /// When silence turns into [`Liveness::Down`].
    fn deadline(&self, peer: Liveness) -> Option<Moment> {
        let Patience { silent_after, lost_grace } = self.patience;
        match peer {
            Liveness::Unknown | Liveness::Down { .. } => None,
            Liveness::Up { heard, .. } => Some(heard.plus(silent_after)),
            Liveness::Suspect { heard, lost, .. } => {
                Some(heard.plus(silent_after).min(lost.plus(lost_grace)))
            }
        }
    }
}

impl FailureDetector for Heartbeats {
    fn watch(&mut self, peers: &BTreeSet<NodeName>) {
        self.peers.retain(|peer, _| peers.contains(peer));
        for peer in peers {
            self.peers.entry(peer.clone()).or_insert(Liveness::Unknown);
        }
    }

    fn heard(
        &mut self,
        peer: &NodeName,
        incarnation: Incarnation,
        now: Moment,
    ) -> Option<LivenessChange> {
        let judged = self.peers.get_mut(peer)?;
        let known = match *judged {
            // A frame of an earlier life that was overtaken by the restart. Only while the peer is up:
            // one that lost its disk counts its boots from 1 again, and must be able to come back.
            Liveness::Up { incarnation: known, .. } if incarnation.boot < known.boot => {
                return None;
            }
            Liveness::Up { incarnation: known, .. }
            | Liveness::Suspect { incarnation: known, .. } => Some(known),
            Liveness::Unknown | Liveness::Down { .. } => None,
        };
        *judged = Liveness::Up { incarnation, heard: now };
        (known != Some(incarnation)).then(|| LivenessChange::Up { peer: peer.clone(), incarnation })
    }

    fn lost(&mut self, peer: &NodeName, now: Moment) {
        if let Some(judged) = self.peers.get_mut(peer) {
            *judged = match *judged {
                Liveness::Up { incarnation, heard } => {
                    Liveness::Suspect { incarnation, heard, lost: now }
                }
                // The grace time runs from the first loss: each vain attempt to connect is another.
                other @ (Liveness::Unknown | Liveness::Suspect { .. } | Liveness::Down { .. }) => {
                    other
                }
            };
        }
    }

    fn tick(&mut self, now: Moment) -> Vec<LivenessChange> {
        let due = |peer: &Liveness| self.deadline(*peer).is_some_and(|deadline| deadline <= now);
        let silent: Vec<NodeName> =
            self.peers.iter().filter(|(_, peer)| due(peer)).map(|(name, _)| name.clone()).collect();
        let mut changes = Vec::with_capacity(silent.len());
        for peer in silent {
            self.peers.insert(peer.clone(), Liveness::Down { since: now });
            changes.push(LivenessChange::Down { peer });
        }
        changes
    }

    fn next_deadline(&self) -> Option<Moment> {
        self.peers.values().filter_map(|peer| self.deadline(*peer)).min()
    }

    fn is_up(&self, peer: &NodeName) -> bool {
        self.judgement(peer).is_some_and(Liveness::is_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::new(&format!("{text}@host")).unwrap()
    }

    fn life(boot: u64) -> Incarnation {
        Incarnation { boot, nonce: u32::try_from(boot).unwrap() ^ 0xabcd }
    }

    fn seconds(count: u64) -> Moment {
        Moment::START.plus(Duration::from_secs(count))
    }

    fn watching(peers: &[&str]) -> Heartbeats {
        let mut heartbeats = Heartbeats::default();
        heartbeats.watch(&peers.iter().map(|peer| name(peer)).collect());
        heartbeats
    }

    #[test]
    fn a_peer_that_was_never_heard_is_not_up_and_never_reported_down() {
        let mut heartbeats = watching(&["ada"]);
        assert!(!heartbeats.is_up(&name("ada")));
        assert_eq!(heartbeats.next_deadline(), None);
        assert_eq!(heartbeats.tick(seconds(60)), vec![]);
        assert_eq!(heartbeats.judgement(&name("ada")), Some(Liveness::Unknown));
    }

    #[test]
    fn silence_turns_up_into_down_at_the_deadline_that_was_announced() {
        let mut heartbeats = watching(&["ada", "bob"]);
        let ada_up = LivenessChange::Up { peer: name("ada"), incarnation: life(1) };
        assert_eq!(heartbeats.heard(&name("ada"), life(1), seconds(1)), Some(ada_up));
        assert_eq!(heartbeats.heard(&name("ada"), life(1), seconds(2)), None);

        let deadline = heartbeats.next_deadline().unwrap();
        assert_eq!(deadline, seconds(5));
        assert_eq!(heartbeats.tick(Moment(deadline.0 - 1)), vec![]);
        assert!(heartbeats.is_up(&name("ada")));
        let ada_down = LivenessChange::Down { peer: name("ada") };
        assert_eq!(heartbeats.tick(deadline), vec![ada_down]);
        assert!(!heartbeats.is_up(&name("ada")));
        assert_eq!(heartbeats.tick(seconds(99)), vec![], "it is said once");
    }

    #[test]
    fn a_lost_connection_makes_a_peer_down_after_the_grace_time_however_often_it_is_tried() {
        let mut heartbeats = watching(&["ada"]);
        heartbeats.heard(&name("ada"), life(1), seconds(1));
        for tenth in 0..5 {
            heartbeats.lost(&name("ada"), seconds(1).plus(Duration::from_millis(tenth * 100)));
        }
        assert!(heartbeats.is_up(&name("ada")), "suspect is not yet down");
        let end_of_grace = seconds(1).plus(Duration::from_millis(500));
        assert_eq!(heartbeats.next_deadline(), Some(end_of_grace));
        assert_eq!(heartbeats.tick(end_of_grace).len(), 1);
    }

    #[test]
    fn a_peer_that_connects_anew_within_the_grace_time_stays_up_without_a_word() {
        let mut heartbeats = watching(&["ada"]);
        heartbeats.heard(&name("ada"), life(1), seconds(1));
        heartbeats.lost(&name("ada"), seconds(1));
        let soon = seconds(1).plus(Duration::from_millis(200));
        assert_eq!(heartbeats.heard(&name("ada"), life(1), soon), None);
        assert_eq!(heartbeats.tick(seconds(2)), vec![]);
    }

    #[test]
    fn a_restart_is_reported_although_the_peer_was_never_down() {
        let mut heartbeats = watching(&["ada"]);
        heartbeats.heard(&name("ada"), life(1), seconds(1));
        let again = LivenessChange::Up { peer: name("ada"), incarnation: life(2) };
        assert_eq!(heartbeats.heard(&name("ada"), life(2), seconds(2)), Some(again));
        assert_eq!(heartbeats.heard(&name("ada"), life(1), seconds(3)), None, "a late frame");
        assert_eq!(heartbeats.next_deadline(), Some(seconds(5)), "which does not count as heard");
    }

    #[test]
    fn a_peer_that_lost_its_disk_comes_back_with_its_boots_counted_anew() {
        let mut heartbeats = watching(&["ada"]);
        heartbeats.heard(&name("ada"), life(9), seconds(1));
        heartbeats.lost(&name("ada"), seconds(1));
        assert!(heartbeats.heard(&name("ada"), life(1), seconds(1)).is_some());
    }

    #[test]
    fn a_peer_that_left_the_ring_is_forgotten_and_one_that_stayed_is_not() {
        let mut heartbeats = watching(&["ada", "bob"]);
        heartbeats.heard(&name("ada"), life(1), seconds(1));
        heartbeats.heard(&name("bob"), life(1), seconds(1));
        heartbeats.watch(&BTreeSet::from([name("bob"), name("cyd")]));
        assert!(heartbeats.is_up(&name("bob")));
        assert!(!heartbeats.is_up(&name("ada")));
        assert_eq!(heartbeats.heard(&name("ada"), life(1), seconds(2)), None, "a stranger");
        assert_eq!(heartbeats.tick(seconds(4)), vec![LivenessChange::Down { peer: name("bob") }]);
    }
}
