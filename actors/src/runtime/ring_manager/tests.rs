//! What a ring manager answers its vnodes, in a node without any.

use tokio::task::LocalSet;

use crate::protocol::digest::Summary;
use crate::protocol::handoff::Outgoing;
use crate::protocol::id::{
    Epoch, Incarnation, NodeId, NodeName, Partition, Token, TransferId, VnodeRef, VnodeType,
};
use crate::runtime::network::testing::{paused_env, probe};
use crate::runtime::node::{Node, NodeSettings};
use crate::runtime::vnode::message::{AttemptKind, SenderAsk, SenderAsked, VnodeNews, VnodeTold};

/// The cancel of an attempt may overtake its beginning at the vnode. Then the ring manager has forgotten it already
/// when the vnode asks for a sender, and without a word from anybody the vnode would wait for one for ever.
#[tokio::test]
async fn a_vnode_that_begins_an_attempt_nobody_remembers_is_told_that_it_is_over() {
    LocalSet::new()
        .run_until(async {
            let (env, _network) = paused_env("ada");
            let node = Node::start(env, NodeSettings::default(), vec![]).await.unwrap();
            for kind in [AttemptKind::Ownership, AttemptKind::Hinted { generation: 1 }] {
                let (vnode, mut heard) = probe::<SenderAsked>();
                let attempt = TransferId { nonce: 7, number: 9 };
                node.manager().do_send(begun(kind, attempt, vnode));
                let SenderAsked { transfer, ask } = heard.recv().await.unwrap();
                assert_eq!(transfer, attempt);
                assert!(matches!(ask, SenderAsk::Ended(_)), "the vnode is told that it is over");
            }
        })
        .await;
}

fn begun(
    kind: AttemptKind,
    transfer: TransferId,
    asked: actix::Recipient<SenderAsked>,
) -> VnodeTold {
    let name = NodeName::new("bob@here").unwrap();
    let target = NodeId { name, incarnation: Incarnation { boot: 1, nonce: 1 } };
    VnodeTold {
        vnode: VnodeRef { vnode_type: VnodeType::new("pairs").unwrap(), partition: Partition(3) },
        news: VnodeNews::StartSender {
            kind,
            outgoing: Outgoing { transfer, target },
            token: Token::minted(Epoch(1)),
            rebuilding: false,
            estimate: Summary::default(),
            vnode: asked,
        },
    }
}
