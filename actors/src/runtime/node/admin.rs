//! What an operator does, as calls of a program.

use std::time::Duration;

use super::Node;
use crate::protocol::id::Epoch;
use crate::protocol::plan::PlanId;
use crate::wire::admin::{
    AdminAnswer, AdminRefusal, AdminRequest, Effect, MemberTable, PlanShown, RingReport,
    TransferReport,
};

/// How often a wait looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Node {
    /// Has this node staged to join the cluster of `contact`, a member's HOST:PORT. It joins when a plan with it
    /// is committed.
    ///
    /// # Errors
    ///
    /// [`AdminRefusal`] says why not, and what to do next.
    pub async fn join(&self, contact: &str) -> Result<(), AdminRefusal> {
        let contact = contact.to_owned();
        let answer = self.admin(AdminRequest::Join { contact }).await;
        if let AdminAnswer::JoinStaged { .. } = answer { Ok(()) } else { Err(refusal(answer)) }
    }

    /// What a commit of the staged changes would do. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`AdminRefusal`], for example when nothing is staged.
    pub async fn plan(&self) -> Result<PlanShown, AdminRefusal> {
        let answer = self.admin(AdminRequest::Plan).await;
        if let AdminAnswer::Plan(plan) = answer { Ok(*plan) } else { Err(refusal(answer)) }
    }

    /// Applies the plan that was shown, and returns the number of the ring that does.
    ///
    /// # Errors
    ///
    /// [`AdminRefusal`]; its effect says whether the plan may have been applied all the same.
    pub async fn commit(&self, plan: PlanId) -> Result<Epoch, AdminRefusal> {
        let answer = self.admin(AdminRequest::Commit { plan: Some(plan) }).await;
        if let AdminAnswer::Committed { epoch } = answer { Ok(epoch) } else { Err(refusal(answer)) }
    }

    /// The members, and what each holds and will hold, as this node knows it.
    ///
    /// # Errors
    ///
    /// [`AdminRefusal`]: the node has ended.
    pub async fn members(&self) -> Result<MemberTable, AdminRefusal> {
        let answer = self.admin(AdminRequest::MemberStatus).await;
        if let AdminAnswer::MemberStatus(table) = answer { Ok(table) } else { Err(refusal(answer)) }
    }

    /// The ring, who has not seen it, and what has yet to move, as this node knows it.
    ///
    /// # Errors
    ///
    /// [`AdminRefusal`]: the node has ended.
    pub async fn ring(&self) -> Result<RingReport, AdminRefusal> {
        let answer = self.admin(AdminRequest::RingStatus).await;
        if let AdminAnswer::RingStatus(report) = answer {
            Ok(*report)
        } else {
            Err(refusal(answer))
        }
    }

    /// Transfers that wait, run and have ended, of all members. Members that cannot be reached are named.
    ///
    /// # Errors
    ///
    /// [`AdminRefusal`]: the node has ended.
    pub async fn transfers(&self) -> Result<TransferReport, AdminRefusal> {
        let answer = self.admin(AdminRequest::Transfers).await;
        if let AdminAnswer::Transfers(report) = answer { Ok(*report) } else { Err(refusal(answer)) }
    }

    /// Waits until every partition is where the newest ring wants it, as far as this node knows. False when
    /// that took longer than `within`, or the node has ended.
    pub async fn settled(&self, within: Duration) -> bool {
        let settling = async {
            loop {
                match self.members().await {
                    Ok(table) if !table.pending => return true,
                    Ok(_) => self.env.clock.sleep(LOOK_AGAIN).await,
                    Err(_) => return false,
                }
            }
        };
        self.env.clock.timeout(within, settling).await.unwrap_or(false)
    }
}

/// Why the answer is not the one that was asked for.
fn refusal(answer: AdminAnswer) -> AdminRefusal {
    if let AdminAnswer::Refused(refusal) = answer {
        return refusal;
    }
    AdminRefusal {
        reason: format!("the node answered something else: {answer:?}"),
        hint: "look at it with 'tanodb member-status'".to_owned(),
        effect: Effect::Unknown,
    }
}
