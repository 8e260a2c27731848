//! Who may come in: one decision for both sides of a new connection.
//!
//! The side that connects says [`Hello`], the other answers [`Welcome`] or [`Refusal`]; then the first one
//! looks at the welcome in the same way. Nothing is changed by a refusal on either side. How long a
//! hello may take, and what becomes of the connection, is the runtime's business.

use std::collections::BTreeSet;

use super::message::{Hello, Introduction, PROTOCOL_VERSION, Purpose, Refusal, Welcome};
use crate::protocol::id::{NodeId, NodeName};
use crate::protocol::ring::Ring;

/// Longest body of a frame until both sides know each other, in bytes.
pub const HELLO_BYTES_MAX: usize = 64 * 1024;

/// What a node knows when somebody introduces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door<'a> {
    /// What this node says of itself.
    pub me: &'a Introduction,
    /// The newest ring it has.
    pub ring: &'a Ring,
    /// Nodes that are staged to join: they talk to members before the ring lists them.
    pub staged: &'a BTreeSet<NodeId>,
    /// Whether the node serves.
    pub ready: bool,
}

impl Door<'_> {
    /// Judges a hello. A ring of another epoch is no reason to refuse: gossip brings the newer one.
    ///
    /// # Errors
    ///
    /// The first reason to refuse, in this order: another protocol, somebody else meant, no introduction
    /// where one is needed, another cluster, not ready, not listed, another ring of the same epoch.
    pub fn check(&self, hello: &Hello) -> Result<(), Refusal> {
        let node = || self.me.node.name.clone();
        if hello.protocol != PROTOCOL_VERSION {
            let (theirs, yours) = (PROTOCOL_VERSION, hello.protocol);
            return Err(Refusal::OtherProtocol { node: node(), theirs, yours });
        }
        if let Some(meant) = hello.to.as_ref().filter(|meant| **meant != self.me.node.name) {
            return Err(Refusal::NotMe { meant: meant.clone(), is: node() });
        }
        match (&hello.purpose, &hello.from) {
            (Purpose::Client, _) => self.check_ready(),
            (Purpose::Join, Some(from)) => {
                self.check_other_name(from)?;
                self.check_ready()
            }
            (Purpose::Member, Some(from)) => {
                self.check_other_name(from)?;
                self.check_cluster(from)?;
                self.check_ready()?;
                self.check_life(from)?;
                self.check_ring(from)
            }
            (Purpose::Transfer, Some(from)) => {
                self.check_other_name(from)?;
                self.check_cluster(from)?;
                self.check_ready()?;
                self.check_listed(from)?;
                self.check_ring(from)
            }
            (Purpose::Join | Purpose::Member | Purpose::Transfer, None) => {
                let detail = "a node must introduce itself".to_owned();
                Err(Refusal::Malformed { node: node(), detail })
            }
        }
    }

    /// Judges a member's answer to the hello of this node.
    ///
    /// # Errors
    ///
    /// Why this node does not go on, in the words in which it would refuse; `node` is this node.
    pub fn check_welcome(&self, welcome: &Welcome, expected: &NodeName) -> Result<(), Refusal> {
        let from = &welcome.from;
        if from.node.name != *expected {
            return Err(Refusal::NotMe { meant: expected.clone(), is: from.node.name.clone() });
        }
        self.check_member(from)?;
        self.check_ring(from)
    }

    /// Whether a member that was let in belongs here still, after the ring or the staged changes changed.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check_member(&self, from: &Introduction) -> Result<(), Refusal> {
        self.check_cluster(from)?;
        self.check_life(from)
    }

    /// Whether a refused node is a member in another life than the ring lists: it restarted and lost its
    /// data, or its readmission has not arrived here yet.
    #[must_use]
    pub fn is_other_life_of_member(&self, from: &Introduction) -> bool {
        from.cluster == self.me.cluster
            && self.ring.is_member(&from.node.name)
            && self.check_listed(from).is_err()
    }

    /// Two nodes that were given one name must not talk as one.
    fn check_other_name(&self, from: &Introduction) -> Result<(), Refusal> {
        if from.node.name != self.me.node.name {
            return Ok(());
        }
        let node = self.me.node.name.clone();
        Err(Refusal::Malformed { node, detail: "the connecting node has my own name".to_owned() })
    }

    fn check_cluster(&self, from: &Introduction) -> Result<(), Refusal> {
        if from.cluster == self.me.cluster {
            return Ok(());
        }
        let (theirs, yours) = (self.me.cluster, from.cluster);
        Err(Refusal::OtherCluster { node: self.me.node.name.clone(), theirs, yours })
    }

    fn check_ready(&self) -> Result<(), Refusal> {
        if self.ready { Ok(()) } else { Err(Refusal::NotReady { node: self.me.node.name.clone() }) }
    }

    fn check_listed(&self, from: &Introduction) -> Result<(), Refusal> {
        if self.ring.lists(&from.node) || self.staged.contains(&from.node) {
            return Ok(());
        }
        Err(Refusal::NotListed { node: self.me.node.name.clone(), who: from.node.clone() })
    }

    /// A member that lost its data and came back talks like any other: it votes, coordinates, and answers
    /// `Lost` for what it held. It takes part in no transfer before a ring lists its new life.
    fn check_life(&self, from: &Introduction) -> Result<(), Refusal> {
        let listed = self.ring.members().get(&from.node.name);
        let is_later = |boot: u64| boot < from.node.incarnation.boot;
        if listed.is_some_and(|member| is_later(member.incarnation.boot)) {
            return Ok(());
        }
        self.check_listed(from)
    }

    fn check_ring(&self, from: &Introduction) -> Result<(), Refusal> {
        if from.epoch != self.me.epoch || from.ring == self.me.ring {
            return Ok(());
        }
        Err(Refusal::OtherRing { node: self.me.node.name.clone(), epoch: self.me.epoch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::hash::RingSize;
    use crate::protocol::id::{ClusterId, Epoch, Incarnation, VoterId};
    use crate::protocol::ring::{Member, RingDigest};

    fn node(text: &str, boot: u64) -> NodeId {
        let name = NodeName::new(&format!("{text}@host")).unwrap();
        NodeId { name, incarnation: Incarnation { boot, nonce: 7 } }
    }

    fn introduction(node: NodeId) -> Introduction {
        Introduction {
            node,
            address: "host:1".to_owned(),
            cluster: ClusterId(1),
            epoch: Epoch(2),
            ring: RingDigest(22),
            ring_size: RingSize::new(64).unwrap(),
        }
    }

    /// Ada and Bob are members, Cyd is staged.
    struct Here {
        me: Introduction,
        ring: Ring,
        staged: BTreeSet<NodeId>,
        ready: bool,
    }

    impl Here {
        fn is_ada() -> Self {
            let (ada, bob) = (node("ada", 1), node("bob", 1));
            let member = |boot| Member::valid(Incarnation { boot, nonce: 7 }, VoterId(boot));
            let first = Ring::founded(
                ClusterId(1),
                RingSize::new(64).unwrap(),
                ada.name.clone(),
                member(1),
            );
            let members = [(ada.name.clone(), member(1)), (bob.name, member(1))].into();
            let owners = vec![ada.name.clone(); 64];
            let ring = first.successor(members, &owners).unwrap();
            Self { me: introduction(ada), ring, staged: [node("cyd", 1)].into(), ready: true }
        }

        fn door(&self) -> Door<'_> {
            Door { me: &self.me, ring: &self.ring, staged: &self.staged, ready: self.ready }
        }

        fn check(&self, purpose: Purpose, from: Option<Introduction>) -> Result<(), Refusal> {
            let to = Some(self.me.node.name.clone());
            self.door().check(&Hello { purpose, protocol: PROTOCOL_VERSION, from, to })
        }
    }

    #[test]
    fn members_and_staged_nodes_come_in_whatever_epoch_they_have() {
        for epoch in [1, 2, 9] {
            for name in ["bob", "cyd"] {
                let mut from = introduction(node(name, 1));
                from.epoch = Epoch(epoch);
                from.ring = RingDigest(11 * epoch);
                for purpose in [Purpose::Member, Purpose::Transfer] {
                    assert_eq!(Here::is_ada().check(purpose, Some(from.clone())), Ok(()));
                }
            }
        }
    }

    #[test]
    fn a_member_that_lost_its_data_talks_and_transfers_nothing() {
        let here = Here::is_ada();
        let later = || Some(introduction(node("bob", 2)));
        assert_eq!(here.check(Purpose::Member, later()), Ok(()));
        assert!(matches!(here.check(Purpose::Transfer, later()), Err(Refusal::NotListed { .. })));
    }

    #[test]
    fn a_stranger_and_a_member_in_an_earlier_life_are_not_listed() {
        let here = Here::is_ada();
        for (who, is_member) in [(node("dan", 1), false), (node("bob", 0), true)] {
            let refused = here.check(Purpose::Member, Some(introduction(who.clone())));
            assert_eq!(here.door().is_other_life_of_member(&introduction(who.clone())), is_member);
            assert_eq!(refused, Err(Refusal::NotListed { node: here.me.node.name.clone(), who }));
        }
        assert!(!here.door().is_other_life_of_member(&introduction(node("bob", 1))));
    }

    #[test]
    fn another_ring_of_the_same_epoch_is_refused() {
        let here = Here::is_ada();
        let mut from = introduction(node("bob", 1));
        from.ring = RingDigest(5);
        let refused = here.check(Purpose::Member, Some(from.clone()));
        let node = here.me.node.name.clone();
        assert_eq!(refused, Err(Refusal::OtherRing { node, epoch: Epoch(2) }));
        let welcome = Welcome { from: from.clone() };
        assert_eq!(here.door().check_welcome(&welcome, &from.node.name), refused);
    }

    #[test]
    fn a_joiner_needs_no_cluster_and_a_client_no_name() {
        let here = Here::is_ada();
        let mut from = introduction(node("dan", 1));
        from.cluster = ClusterId(9);
        assert_eq!(here.check(Purpose::Join, Some(from.clone())), Ok(()));
        assert_eq!(here.check(Purpose::Client, None), Ok(()));
        let refused = here.check(Purpose::Member, Some(from));
        assert!(matches!(refused, Err(Refusal::OtherCluster { .. })));
    }

    #[test]
    fn nobody_comes_in_before_the_node_is_ready() {
        let here = Here { ready: false, ..Here::is_ada() };
        let bob = Some(introduction(node("bob", 1)));
        for purpose in [Purpose::Member, Purpose::Join, Purpose::Transfer, Purpose::Client] {
            let refused = here.check(purpose, bob.clone());
            assert!(matches!(refused, Err(Refusal::NotReady { .. })));
        }
    }

    #[test]
    fn the_first_reason_is_told() {
        let here = Here { ready: false, ..Here::is_ada() };
        let mut from = introduction(node("dan", 1));
        from.cluster = ClusterId(9);
        let mut hello = Hello {
            purpose: Purpose::Member,
            protocol: PROTOCOL_VERSION + 1,
            from: Some(from),
            to: Some(node("eve", 1).name),
        };
        let mut reasons = Vec::new();
        for _ in 0..4 {
            let refusal = here.door().check(&hello).unwrap_err();
            match &refusal {
                Refusal::OtherProtocol { .. } => hello.protocol = PROTOCOL_VERSION,
                Refusal::NotMe { .. } => hello.to = None,
                Refusal::OtherCluster { .. } => {
                    hello.from = Some(introduction(node("dan", 1)));
                }
                Refusal::OtherRing { .. }
                | Refusal::NotListed { .. }
                | Refusal::Malformed { .. }
                | Refusal::NotReady { .. } => {}
            }
            reasons.push(refusal);
        }
        assert!(matches!(reasons[0], Refusal::OtherProtocol { .. }));
        assert!(matches!(reasons[1], Refusal::NotMe { .. }));
        assert!(matches!(reasons[2], Refusal::OtherCluster { .. }));
        assert!(matches!(reasons[3], Refusal::NotReady { .. }));
    }

    #[test]
    fn a_node_must_introduce_itself_and_not_by_my_name() {
        let here = Here::is_ada();
        for purpose in [Purpose::Member, Purpose::Join, Purpose::Transfer] {
            for from in [None, Some(introduction(node("ada", 1)))] {
                let refused = here.check(purpose.clone(), from);
                assert!(matches!(refused, Err(Refusal::Malformed { .. })));
            }
        }
    }

    #[test]
    fn a_welcome_must_come_from_the_member_that_was_meant() {
        let here = Here::is_ada();
        let bob = node("bob", 1);
        let welcome = |who| Welcome { from: introduction(who) };
        let check = |who| here.door().check_welcome(&welcome(who), &bob.name);
        assert_eq!(check(bob.clone()), Ok(()));
        assert!(matches!(check(node("cyd", 1)), Err(Refusal::NotMe { .. })));
        assert!(matches!(check(node("bob", 0)), Err(Refusal::NotListed { .. })));
        let mut foreign = welcome(bob.clone());
        foreign.from.cluster = ClusterId(9);
        let refused = here.door().check_welcome(&foreign, &bob.name);
        assert!(matches!(refused, Err(Refusal::OtherCluster { .. })));
    }
}
