//! The life of every transfer, rebuilt from the logs of all nodes: the lines of the tutorial's chapter, in
//! order, with the same numbers on both sides.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Cluster, entries};
use crate::log_lines::{Line, lines};

/// A transfer's texts on its source and on its target, in the order in which they were logged.
#[derive(Debug, Default)]
struct Life {
    at: BTreeMap<usize, Vec<String>>,
}

/// A transfer that has come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completed {
    pub partition: String,
    pub kind: String,
    pub source: usize,
    pub target: usize,
    pub objects: u64,
}

/// Rebuilds every transfer that any node has logged. Complains of lines that are missing, that are too many
/// or in another order than the chapter's; those of a transfer that was cancelled may end early.
pub fn rebuilt(cluster: &Cluster) -> Result<Vec<Completed>, Vec<String>> {
    let mut lives: BTreeMap<String, Life> = BTreeMap::new();
    for number in 0..cluster.count() {
        for Line { text, transfer, .. } in lines(&cluster.log(number)) {
            let Some(transfer) = transfer else { continue };
            let text = text.replace(&format!(" transfer={transfer}"), "");
            lives.entry(transfer).or_default().at.entry(number).or_default().push(text);
        }
    }
    let (mut completed, mut complaints) = (Vec::new(), Vec::new());
    for (transfer, life) in lives {
        match life.told(cluster) {
            Ok(told) => completed.extend(told),
            Err(why) => complaints.push(format!("{transfer}: {why}; {life:#?}")),
        }
    }
    if complaints.is_empty() { Ok(completed) } else { Err(complaints) }
}

impl Life {
    /// `None`: it was cancelled.
    fn told(&self, cluster: &Cluster) -> Result<Option<Completed>, String> {
        let begins =
            |texts: &Vec<String>| texts.iter().any(|text| text.starts_with("handoff starting "));
        let mut sources = self.at.iter().filter(|(_, texts)| begins(texts));
        let (Some((source, sent)), None) = (sources.next(), sources.next()) else {
            return Err("it was not begun on one node".to_owned());
        };
        let (partition, kind, target) = beginning(sent)?;
        let target = (0..cluster.count()).find(|number| cluster.name(*number).as_str() == target);
        let target = target.ok_or("its target is not in the cluster")?;
        let silent = Vec::new();
        let received = self.at.get(&target).unwrap_or(&silent);
        if let Some(third) = self.at.keys().find(|number| ![*source, target].contains(number)) {
            return Err(format!("{} speaks of it too", cluster.name(*third)));
        }
        if sent.iter().any(|text| text.starts_with("handoff cancelled ")) {
            return Ok(None);
        }
        let names = (format!("'{}'", cluster.name(*source)), format!("'{}'", cluster.name(target)));
        let objects = objects_sent(sent)?;
        let is_empty = objects == 0;
        same(sent, &sources_lines(&partition, &kind, &names, is_empty))?;
        same(received, &targets_lines(&partition, &kind, objects))?;
        let (source, target) = (*source, target);
        Ok(Some(Completed { partition, kind, source, target, objects }))
    }
}

/// Partition, kind and target of `handoff starting P: {ownership,{P,'T'}}`.
fn beginning(sent: &[String]) -> Result<(String, String, String), String> {
    let first = sent.first().and_then(|text| text.strip_prefix("handoff starting "));
    let (partition, what) =
        first.and_then(|text| text.split_once(": {")).ok_or("another beginning")?;
    let (kind, whom) = what.split_once(",{").ok_or("no kind")?;
    let target =
        whom.strip_suffix("'}}").and_then(|whom| whom.split_once(",'")).ok_or("no target")?;
    if target.0 != partition {
        return Err(format!("partition {partition} goes to partition {}", target.0));
    }
    Ok((partition.to_owned(), kind.to_owned(), target.1.to_owned()))
}

/// The objects of `... completed: sent N bytes in X of X objects in ...`: both numbers are the same.
fn objects_sent(sent: &[String]) -> Result<u64, String> {
    let completed = sent
        .iter()
        .find_map(|text| text.split_once("completed: sent "))
        .ok_or("it did not complete")?;
    let words: Vec<&str> = completed.1.split(' ').collect();
    let (some, all) = (words.get(3), words.get(5));
    match some.filter(|some| Some(some) == all.as_ref()).and_then(|some| some.parse().ok()) {
        Some(objects) => Ok(objects),
        None => Err(format!("{some:?} of {all:?} objects were sent")),
    }
}

fn sources_lines(
    partition: &str,
    kind: &str,
    (source, target): &(String, String),
    is_empty: bool,
) -> Vec<String> {
    let from_to = format!(
        "{kind} transfer of tanodb_vnode from {source} {partition} to {target} {partition}"
    );
    let fold = (!is_empty).then(|| format!("fold req {partition}"));
    [
        Some(format!("handoff starting {partition}: {{{kind},{{{partition},{target}}}}}")),
        Some(format!("is_empty {partition}: {is_empty}")),
        Some(format!("Starting {from_to}")),
        fold,
        Some(format!("{from_to} completed: sent ")),
        Some(format!("handoff finished {partition}: {{{partition},{target}}}")),
        Some(format!("delete {partition}")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn targets_lines(partition: &str, kind: &str, objects: u64) -> Vec<String> {
    let mut lines = vec![
        format!("Receiving handoff data for partition tanodb_vnode:{partition} from 127.0.0.1:"),
        format!(
            "Handoff receiver for partition {partition} exited after processing {objects} objects from 127.0.0.1:"
        ),
    ];
    if kind == "ownership" {
        lines.push(format!("owns the partition now partition={partition} "));
    }
    lines
}

/// Whether these lines, and no others, begin as they should.
fn same(logged: &[String], expected: &[String]) -> Result<(), String> {
    let differs = |(logged, expected): (&String, &String)| !logged.starts_with(expected);
    let place = logged.iter().zip(expected).position(differs);
    if let Some(place) =
        place.or((logged.len() != expected.len()).then_some(logged.len().min(expected.len())))
    {
        return Err(format!("line {place} ought to be {:?}", expected.get(place)));
    }
    Ok(())
}

#[tokio::test]
async fn the_life_of_each_transfer_can_be_read_from_the_logs_alone() {
    let stored = entries(40, 10);
    let mut cluster = Cluster::empty(64, &[]);
    cluster.start(1).await;
    cluster.put_all(0, &stored).await;
    cluster.start(2).await;
    cluster.join(1, 0).await;
    cluster.join(2, 0).await;
    let before = cluster.partitions(0).await;
    let plan = cluster.commit(0, 3).await;
    cluster.until_settled(0).await;

    let completed =
        rebuilt(&cluster).unwrap_or_else(|complaints| panic!("{}", complaints.join("\n")));
    assert_eq!(completed.len(), 42);
    let partitions: BTreeSet<&str> = completed.iter().map(|one| one.partition.as_str()).collect();
    assert_eq!(partitions.len(), 42, "each moved once");
    for transfers in &plan.transfers {
        let same = |one: &&Completed| {
            *cluster.name(one.source) == transfers.source
                && *cluster.name(one.target) == transfers.target
        };
        assert_eq!(completed.iter().filter(same).count(), transfers.count as usize);
    }
    let objects = |partition: &str| {
        let row = before.rows.iter().find(|row| row.partition.to_string() == partition);
        row.expect("it was held before").objects
    };
    for one in &completed {
        assert_eq!(one.kind, "ownership");
        assert_eq!(one.objects, objects(&one.partition), "{one:?}");
    }
    assert!(completed.iter().any(|one| one.objects == 0), "some were empty");
    assert!(completed.iter().any(|one| one.objects > 0), "some were not");
}
