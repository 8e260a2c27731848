//! What operators do while time passes.

use std::time::Duration;

use tanodb_actors::protocol::id::Epoch;
use tanodb_actors::runtime::node::Node;
use tanodb_actors::wire::admin::PlanShown;

/// How often an operator tries before giving up.
const TRIES: u32 = 20;

/// How long an operator waits before trying again.
const TRY_AGAIN: Duration = Duration::from_millis(400);

/// How long an operator looks at the tables, and how often.
const WATCHES: u32 = 50;
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// Has a node stage to join.
pub async fn join(joiner: Node, contact: String) {
    for _ in 0..TRIES {
        if joiner.join(&contact).await.is_ok() {
            return;
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Plans what is staged, thinks about it, and commits it, until a commit succeeds or nothing is staged for long.
/// What was committed, and the number of its ring.
pub async fn commit(through: Node, thinks: Duration) -> Option<(PlanShown, Epoch)> {
    for _ in 0..TRIES {
        if let Ok(plan) = through.plan().await {
            tokio::time::sleep(thinks).await;
            if let Ok(epoch) = through.commit(plan.id).await {
                return Some((plan, epoch));
            }
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
    None
}

/// Looks at everything there is to see.
pub async fn watch(node: Node) {
    for _ in 0..WATCHES {
        let _ = node.members().await;
        let _ = node.ring().await;
        let _ = node.transfers().await;
        let _ = node.partitions().await;
        let _ = node.requests().await;
        tokio::time::sleep(WATCH_EVERY).await;
    }
}
