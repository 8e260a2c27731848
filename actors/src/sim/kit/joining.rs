//! How a node joins a simulated cluster in which links are cut and nodes paused.

use std::time::Duration;

use tokio::time::sleep;

use super::told::Workload;
use crate::protocol::ring::MemberStatus;
use crate::runtime::node::Node;
use crate::wire::admin::AdminRequest;

/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(200);

/// Has a joiner become a member, and then take commands: before, it is a cluster of its own. Tries again until it
/// is one, as an operator would.
pub(super) async fn admit(contact: Node, name: String, joiner: Node, workload: Workload) {
    loop {
        let Ok(known) = contact.members().await else { return };
        // One that has ended joins nothing.
        let Ok(theirs) = joiner.ring().await else { return };
        let mut members = known.members.iter().filter(|row| row.status != MemberStatus::Joining);
        let is_member = members.any(|row| row.node == joiner.id().name);
        if is_member && theirs.epoch >= known.epoch {
            workload.nodes.borrow_mut().push((name, joiner));
            return;
        }
        if !is_member {
            stage_and_commit(&contact, &name, &joiner, &workload).await;
        }
        sleep(AGAIN).await;
    }
}

async fn stage_and_commit(contact: &Node, name: &str, joiner: &Node, workload: &Workload) {
    if let Err(refusal) = joiner.join(contact.address()).await {
        workload.trace.said(name, format!("cannot join: {}", refusal.reason));
    }
    let committed = match contact.plan().await {
        Ok(plan) => contact.commit(plan.id).await.map(|_| ()),
        Err(refusal) => Err(refusal),
    };
    let Err(refusal) = committed else { return };
    workload.trace.said(name, format!("is not committed: {}", refusal.reason));
    let (Ok(ours), Ok(theirs)) = (contact.ring().await, joiner.ring().await) else { return };
    if ours.cluster != theirs.cluster {
        // A joiner whose staging was answered over a link that was cut does not know of it.
        contact.admin(AdminRequest::Clear).await;
    }
}
