//! Whether a node takes what another offers: one decision over what the offer says and what this node knows.

use super::message::{Grant, Offer, Rejection, TransferKind};
use crate::protocol::id::{ClusterId, NodeId, Token};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::ring::Ring;
use crate::protocol::rules::Rules;

/// What a node knows when it is offered something.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// This node in this life.
    pub me: &'a NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its newest ring.
    pub ring: &'a Ring,
    /// The highest token it knows of the vnode.
    pub token: Option<Token>,
    /// Whether it hosts the vnode's type.
    pub hosts: bool,
    /// Whether this node lost its data and has not been readmitted.
    pub is_unreadmitted: bool,
    /// The rules it judges by.
    pub rules: Rules,
}

/// Judges an offer. Whether a slot is free and the vnode can take it is asked later.
///
/// # Errors
///
/// [`Rejection`]; the source keeps everything.
pub fn judge(offer: &Offer, known: &Known<'_>) -> Result<(), Rejection> {
    let meant = offer.target.clone();
    let is_meant = meant == *known.me;
    #[cfg(tanodb_mutants)]
    let is_meant = is_meant || known.rules.breaks(Mutant::OfferToAnybody);
    if !is_meant || offer.cluster != known.cluster || offer.source.name == known.me.name {
        return Err(Rejection::NotMe { meant, is: known.me.clone() });
    }
    if known.is_unreadmitted {
        let reason = "it lost its data and waits for readmission".to_owned();
        return Err(Rejection::NotServing { reason });
    }
    let epoch = known.ring.epoch();
    if offer.epoch > epoch {
        return Err(Rejection::Behind { epoch });
    }
    if !known.ring.lists(&offer.source) {
        return Err(Rejection::SourceNotListed { epoch, source_node: offer.source.clone() });
    }
    if !known.hosts {
        let vnode_type = offer.vnode.vnode_type.clone();
        return Err(Rejection::TypeNotHosted { vnode_type });
    }
    if !known.ring.size().contains(offer.vnode.partition) {
        return Err(Rejection::Superseded { epoch });
    }
    match &offer.kind {
        TransferKind::Ownership { token, .. } => {
            if *known.ring.owner(offer.vnode.partition) != known.me.name {
                return Err(Rejection::Superseded { epoch });
            }
            match known.token {
                Some(newer) if newer > *token => Err(Rejection::TokenNotNewer { token: newer }),
                Some(_) | None => Ok(()),
            }
        }
        TransferKind::Hinted { .. } => Ok(()),
    }
}

/// Whether a grant is for this node in this life. What another life of it has done with the grant is not
/// known here, so nobody else may answer it.
#[must_use]
#[cfg_attr(
    not(tanodb_mutants),
    expect(unused_variables, reason = "the shipped rule is the only one")
)]
pub fn is_granted_to(grant: &Grant, me: &NodeId, rules: Rules) -> bool {
    #[cfg(tanodb_mutants)]
    if rules.breaks(Mutant::LaterIncarnationDeclines) {
        return grant.target.name == me.name;
    }
    grant.target == *me
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::digest::Summary;
    use crate::protocol::hash::RingSize;
    use crate::protocol::id::{
        Epoch, Incarnation, NodeName, Partition, TransferId, VnodeRef, VnodeType, VoterId,
    };
    use crate::protocol::ring::Member;

    fn node(name: &str, boot: u64) -> NodeId {
        let name = NodeName::new(&format!("{name}@host")).unwrap();
        NodeId { name, incarnation: Incarnation { boot, nonce: 1 } }
    }

    /// Epoch 2 of `source` and `target`; the target owns the odd partitions.
    fn ring() -> Ring {
        let member = |voter| Member::valid(node("x", 1).incarnation, VoterId(voter));
        let (source, target) = (node("source", 1).name, node("target", 1).name);
        let size = RingSize::new(8).unwrap();
        let founded = Ring::founded(ClusterId(1), size, source.clone(), member(1));
        let members = [(source.clone(), member(1)), (target.clone(), member(2))].into();
        let owners: Vec<_> = (0..8)
            .map(|number| if number % 2 == 1 { target.clone() } else { source.clone() })
            .collect();
        founded.successor(members, &owners).unwrap()
    }

    fn offer() -> Offer {
        let vnode_type = VnodeType::new("kv").unwrap();
        Offer {
            transfer: TransferId { nonce: 1, number: 1 },
            vnode: VnodeRef { vnode_type, partition: Partition(1) },
            kind: TransferKind::Ownership { token: Token::minted(Epoch(1)), rebuilding: false },
            source: node("source", 1),
            target: node("target", 1),
            cluster: ClusterId(1),
            epoch: Epoch(2),
            estimate: Summary::default(),
        }
    }

    fn ask(offer: &Offer, token: Option<Token>) -> Result<(), Rejection> {
        let (me, ring) = (node("target", 1), ring());
        let cluster = ClusterId(1);
        judge(
            offer,
            &Known {
                me: &me,
                cluster,
                ring: &ring,
                token,
                hosts: true,
                is_unreadmitted: false,
                rules: Rules::default(),
            },
        )
    }

    #[test]
    fn an_offer_meant_for_this_life_of_this_node_is_taken() {
        assert_eq!(ask(&offer(), Some(Token::minted(Epoch(1)))), Ok(()));
    }

    #[test]
    fn a_node_never_takes_its_own_data_nor_another_nodes() {
        let own = Offer { source: node("target", 1), ..offer() };
        let another = Offer { target: node("other", 1), ..offer() };
        let earlier_life = Offer { target: node("target", 0), ..offer() };
        let foreign = Offer { cluster: ClusterId(2), ..offer() };
        for wrong in [own, another, earlier_life, foreign] {
            assert!(matches!(ask(&wrong, None), Err(Rejection::NotMe { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn a_source_the_ring_does_not_list_is_refused() {
        let stranger = Offer { source: node("source", 2), ..offer() };
        assert!(matches!(ask(&stranger, None), Err(Rejection::SourceNotListed { .. })));
    }

    #[test]
    fn offers_by_another_ring_or_an_older_token_are_refused() {
        let ahead = Offer { epoch: Epoch(3), ..offer() };
        assert_eq!(ask(&ahead, None), Err(Rejection::Behind { epoch: Epoch(2) }));
        let mut not_mine = offer();
        not_mine.vnode.partition = Partition(2);
        assert_eq!(ask(&not_mine, None), Err(Rejection::Superseded { epoch: Epoch(2) }));
        let newer = Token::minted(Epoch(1)).granted();
        assert_eq!(ask(&offer(), Some(newer)), Err(Rejection::TokenNotNewer { token: newer }));
    }
}
