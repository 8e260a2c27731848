//! `ring-status`: the ring, what has yet to move, and who cannot be reached.
//!
//! `riak_core` begins with its claimant. There is none here: any node decides with a majority, so the
//! first section is about the ring itself.

use std::collections::BTreeMap;

use tanodb_actors::protocol::hash::RingHash;
use tanodb_actors::protocol::id::{NodeName, VnodeType};
use tanodb_actors::wire::admin::RingReport;

use super::{dashes, list, quoted, title};

/// The whole report.
#[must_use]
pub fn ring_status(report: &RingReport) -> String {
    [ring(report), handoff(report), unreachable(report)].join("\n")
}

fn ring(report: &RingReport) -> String {
    let is_ready = report.not_seen_by.is_empty();
    let mut text = title("Ring");
    text += &format!("Asked:      {}\n", quoted(&report.node));
    text += &format!("Cluster:    {}\n", report.cluster);
    text += &format!("Partitions: {}\n", report.ring_size);
    text += &format!("Epoch:      {}\n", report.epoch);
    text += &format!("Ring Ready: {is_ready}\n");
    for name in &report.not_seen_by {
        text += &format!("  Waiting for {} to see epoch {}\n", quoted(name), report.epoch);
    }
    text
}

/// Partitions that one node has yet to give to another, with the types that wait.
type Moves<'a> = BTreeMap<RingHash, Vec<&'a VnodeType>>;

fn handoff(report: &RingReport) -> String {
    let mut pairs: BTreeMap<(&NodeName, &NodeName), Moves<'_>> = BTreeMap::new();
    for pending in &report.pending {
        let moves = pairs.entry((&pending.holder, &pending.next)).or_default();
        moves.entry(pending.partition).or_default().push(&pending.vnode_type);
    }
    let mut text = title("Ownership Handoff");
    if pairs.is_empty() {
        text += "No pending changes.\n";
    }
    for ((holder, next), moves) in pairs {
        text += &format!("Owner:      {}\nNext Owner: {}\n", quoted(holder), quoted(next));
        let down = [holder, next].into_iter().filter(|node| report.unreachable.contains(node));
        let down: String = down.map(|node| format!("!!! {} is DOWN !!!\n", quoted(node))).collect();
        text +=
            &if down.is_empty() { waiting(&moves) } else { format!("\n{down}\n{}", plain(&moves)) };
        text += "\n";
        text += &dashes();
    }
    text
}

fn waiting(moves: &Moves<'_>) -> String {
    let one = |(index, types): (&RingHash, &Vec<&VnodeType>)| {
        let types: Vec<_> = types.iter().map(|name| name.as_str()).collect();
        format!("\nIndex: {index}\n  Waiting on: [{}]\n", types.join(","))
    };
    moves.iter().map(one).collect()
}

fn plain(moves: &Moves<'_>) -> String {
    moves.keys().map(|index| format!("Index: {index}\n")).collect()
}

fn unreachable(report: &RingReport) -> String {
    let text = title("Unreachable Nodes");
    if report.unreachable.is_empty() {
        return text + "All nodes are up and reachable\n";
    }
    let names = list(&report.unreachable);
    text + &format!("The following nodes are unreachable: [{names}]\n\n")
        + "WARNING: A node that cannot be reached does not see new rings, and no\n\
           transfer starts before every member has seen the newest one. Reads\n\
           and writes go on with the replicas that are left. A new ring needs a\n\
           majority of the members. Start the nodes named above, or mend the\n\
           network to them; what they hold in memory only is lost once they\n\
           have ended.\n"
}
