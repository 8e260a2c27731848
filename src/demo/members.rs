//! The demo's conversations with its nodes: one each, made anew when it breaks.

use std::time::Duration;

use tanodb_actors::protocol::id::NodeName;
use tanodb_actors::wire::admin::{
    AdminAnswer, AdminRequest, MemberTable, PartitionTable, RingReport, TransferReport,
};

use super::ANSWER_WITHIN;
use crate::config::address::HostPort;
use crate::contact::{Connect, ask, connect_to, unexpected};
use crate::failure::Failure;

/// How long a node may take to say what is left when another has died.
const LEFT_WITHIN: Duration = Duration::from_secs(3);

/// Everybody the demo can ask, in the order of their start.
pub(super) struct Members<'a, C: Connect> {
    network: &'a C,
    known: Vec<Member<C>>,
}

struct Member<C: Connect> {
    name: NodeName,
    address: HostPort,
    conversation: Option<C::Node>,
}

impl<'a, C: Connect> Members<'a, C> {
    pub(super) fn new(network: &'a C) -> Self {
        Self { network, known: Vec::new() }
    }

    pub(super) fn add(&mut self, name: NodeName, address: HostPort) {
        self.known.push(Member { name, address, conversation: None });
    }

    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// The name and address of the node that was started as number `place`, from 0.
    pub(super) fn at(&self, place: usize) -> Option<(&NodeName, &HostPort)> {
        self.known.get(place).map(|member| (&member.name, &member.address))
    }

    /// A conversation with a node; made if there is none.
    pub(super) async fn talk(&mut self, place: usize) -> Result<&mut C::Node, Failure> {
        let Some(member) = self.known.get_mut(place) else {
            return Err(Failure::failed(format!("there is no node {place}"), "use more nodes"));
        };
        if member.conversation.is_none() {
            let (name, address) = (&member.name, &member.address);
            let node = connect_to(self.network, name, address, ANSWER_WITHIN).await?;
            member.conversation = Some(node);
        }
        member.conversation.as_mut().ok_or_else(|| unexpected("a conversation"))
    }

    /// One answer. A conversation that failed is not used again.
    pub(super) async fn ask(
        &mut self,
        place: usize,
        request: AdminRequest,
    ) -> Result<AdminAnswer, Failure> {
        let answer = match self.talk(place).await {
            Ok(node) => ask(node, request, ANSWER_WITHIN).await,
            Err(failure) => Err(failure),
        };
        let (Err(failure), Some(member)) = (&answer, self.known.get_mut(place)) else {
            return answer;
        };
        member.conversation = None;
        let reason = format!("'{}' does not answer: {failure}", member.name);
        Err(Failure { reason, ..failure.clone() })
    }

    pub(super) async fn ring(&mut self, place: usize) -> Result<RingReport, Failure> {
        let answer = self.ask(place, AdminRequest::RingStatus).await?;
        let AdminAnswer::RingStatus(report) = answer else { return Err(unexpected("ring-status")) };
        Ok(*report)
    }

    pub(super) async fn members(&mut self, place: usize) -> Result<MemberTable, Failure> {
        let answer = self.ask(place, AdminRequest::MemberStatus).await?;
        let AdminAnswer::MemberStatus(table) = answer else {
            return Err(unexpected("member-status"));
        };
        Ok(table)
    }

    pub(super) async fn partitions(&mut self, place: usize) -> Result<PartitionTable, Failure> {
        let answer = self.ask(place, AdminRequest::Partitions).await?;
        let AdminAnswer::Partitions(table) = answer else { return Err(unexpected("partitions")) };
        Ok(table)
    }

    pub(super) async fn transfers(&mut self, place: usize) -> Result<TransferReport, Failure> {
        let answer = self.ask(place, AdminRequest::Transfers).await?;
        let AdminAnswer::Transfers(report) = answer else { return Err(unexpected("transfers")) };
        Ok(*report)
    }

    /// What the first node that still lives says everybody holds; nothing if nobody answers in time.
    pub(super) async fn partitions_of_the_living(&mut self, dead: &[NodeName]) -> PartitionTable {
        let lives = |member: &Member<C>| !dead.contains(&member.name);
        let living = self.known.iter().position(lives);
        let nothing = PartitionTable { rows: Vec::new(), silent: dead.to_vec() };
        let Some(place) = living else { return nothing };
        let answer = actix_rt::time::timeout(LEFT_WITHIN, self.partitions(place)).await;
        answer.ok().and_then(Result::ok).unwrap_or(nothing)
    }
}
