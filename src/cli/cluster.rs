//! Commands about the cluster: what is asked, and how the answer is printed.

use tanodb_actors::wire::admin::{AdminAnswer, AdminRequest};

use super::arguments::{Cluster, Common, Format};
use super::resolve::{address_of, asked_node};
use crate::contact::{Connect, ask, unexpected};
use crate::failure::Failure;
use crate::output::{self, json, quoted};

/// What can be asked without an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Ping,
    MemberStatus,
    RingStatus,
    Partitions,
    Transfers,
}

/// Asks, and gives back what to print.
pub(super) async fn question(
    network: &impl Connect,
    common: &Common,
    question: Question,
) -> Result<String, Failure> {
    let request = match question {
        Question::Ping => AdminRequest::Ping,
        Question::MemberStatus => AdminRequest::MemberStatus,
        Question::RingStatus => AdminRequest::RingStatus,
        Question::Partitions => AdminRequest::Partitions,
        Question::Transfers => AdminRequest::Transfers,
    };
    let answer = to_answer(network, common, request).await?;
    printed(common.output, &answer).ok_or_else(|| unexpected("a report").of_a_read())
}

/// Carries out one of the `cluster` commands, and gives back what to print.
pub(super) async fn change(
    network: &impl Connect,
    common: &Common,
    command: Cluster,
) -> Result<String, Failure> {
    let only_reads = command == Cluster::Plan;
    let request = match command {
        Cluster::Join { contact } => {
            let address = address_of(network, common, &contact).await?;
            AdminRequest::Join { contact: address.to_string() }
        }
        Cluster::Plan => AdminRequest::Plan,
        Cluster::Commit { plan } => AdminRequest::Commit { plan },
        Cluster::Clear => AdminRequest::Clear,
    };
    let answer = to_answer(network, common, request).await?;
    printed(common.output, &answer).ok_or_else(|| {
        let failure = unexpected("a change of the cluster");
        if only_reads { failure.of_a_read() } else { failure }
    })
}

async fn to_answer(
    network: &impl Connect,
    common: &Common,
    request: AdminRequest,
) -> Result<AdminAnswer, Failure> {
    let mut node = asked_node(network, common).await?;
    ask(&mut node, request, common.timeout).await
}

/// `None`: not an answer to a command.
fn printed(format: Format, answer: &AdminAnswer) -> Option<String> {
    let (table, json): (String, String) = match answer {
        AdminAnswer::Pong(pong) => {
            let table = format!("pong from {}, partition {}\n", quoted(&pong.node), pong.partition);
            (table, json::ping(pong))
        }
        AdminAnswer::JoinStaged { node, contact } => {
            (output::join_staged(node, contact), json::join_staged(node, contact))
        }
        AdminAnswer::Plan(plan) => (output::plan(plan), json::plan(plan)),
        AdminAnswer::Committed { epoch } => {
            ("Cluster changes committed\n".to_owned(), json::committed(epoch.0))
        }
        AdminAnswer::Cleared { count } => {
            let text = match count {
                0 => "There are no staged changes\n",
                _ => "Cleared staged cluster changes\n",
            };
            (text.to_owned(), json::cleared(*count))
        }
        AdminAnswer::MemberStatus(table) => {
            (output::member_status(table), json::member_status(table))
        }
        AdminAnswer::RingStatus(report) => (output::ring_status(report), json::ring_status(report)),
        AdminAnswer::Partitions(table) => (output::partitions(table), json::partitions(table)),
        AdminAnswer::Transfers(report) => (output::transfers(report), json::transfers(report)),
        AdminAnswer::Resolved { .. } | AdminAnswer::Refused(_) => return None,
    };
    match format {
        Format::Table => Some(table),
        Format::Json => Some(json),
    }
}
