//! The chapters of the demo, one after the other.

use std::time::{Duration, Instant};

use tanodb_actors::protocol::id::{Epoch, NodeName};
use tanodb_actors::wire::admin::{
    AdminAnswer, AdminRequest, PartitionTable, PlanShown, RingReport,
};

use super::checks::{Entry, REPLICAS, changed, left_over, moved};
use super::{ANSWER_WITHIN, Demo};
use crate::contact::{Connect, Item, Talk, unexpected};
use crate::failure::Failure;
use crate::launch::wait::{Seen, wait_for};
use crate::output::numbers::counted;
use crate::output::{self, Align, Columns, quoted};

/// How long staged joins may take to show in the plan.
const STAGED_WITHIN: Duration = Duration::from_secs(15);

/// How long all nodes together may take to say what they hold.
const REPORTED_WITHIN: Duration = Duration::from_secs(15);

/// How long all transfers together may take.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// How long the deletion of the old copies may take after that.
const DELETED_WITHIN: Duration = Duration::from_secs(30);

/// Wrong values that are named one by one.
const NAMED_MAX: usize = 5;

impl<C: Connect> Demo<'_, C> {
    pub(super) async fn story(&mut self) -> Result<(), Failure> {
        self.screen.print("# One node\n\n")?;
        self.start_up_to(1).await?;
        self.fill().await?;

        let more = self.options.nodes - 1;
        self.screen.chapter(&format!("{} join", counted(more.into(), "more node")))?;
        self.start_up_to(self.options.nodes).await?;
        self.stage_joins().await?;

        self.screen.chapter("The plan")?;
        let plan = self.plan().await?;
        let before = self.full_report("every node says what it holds before the commit").await?;
        let epoch = self.commit(&plan).await?;

        self.screen.chapter("Transfers")?;
        let total = plan.transfers.iter().map(|transfer| u64::from(transfer.count)).sum();
        self.watch(epoch, total).await?;
        self.show_members().await?;

        self.screen.chapter("What has moved")?;
        let after = self.until_old_copies_are_deleted().await?;
        self.show_moves(&before, &after, total)?;

        self.screen.chapter("Every value, through every node")?;
        self.read_back().await
    }

    async fn start_up_to(&mut self, count: u8) -> Result<(), Failure> {
        for (name, address) in self.nodes.start_up_to(count, &self.options).await? {
            self.screen.print(&format!("{} listens on {address}\n", quoted(&name)))?;
            self.members.add(name, address);
        }
        Ok(())
    }

    /// Quorum puts: acknowledged by a majority of three replicas.
    async fn fill(&mut self) -> Result<(), Failure> {
        let node = self.members.talk(0).await?;
        let mut count = 0_u64;
        let mut last = None;
        for entry in self.options.entries() {
            let value = entry.value();
            node.put(&item(&entry), value.as_bytes(), ANSWER_WITHIN).await.map_err(|failure| {
                let reason = format!("put {} {}: {failure}", entry.bucket, entry.key);
                Failure { reason, ..failure }
            })?;
            count += 1;
            last = Some(value);
        }
        let (buckets, keys) = (self.options.buckets, self.options.keys);
        let count = counted(count, "value");
        let text =
            format!("put {count}: {buckets} buckets x {keys} keys, {REPLICAS} replicas each\n");
        self.screen.print(&text)?;
        self.screen.print(&last.map_or_else(String::new, |value| format!("the last is {value}\n")))
    }

    async fn stage_joins(&mut self) -> Result<(), Failure> {
        let contact = self.members.at(0).map(|(_, address)| address.to_string());
        let contact = contact.ok_or_else(|| unexpected("the first node"))?;
        for place in 1..self.members.count() {
            let request = AdminRequest::Join { contact: contact.clone() };
            let answer = self.members.ask(place, request).await?;
            let AdminAnswer::JoinStaged { node, contact } = answer else {
                return Err(unexpected("cluster join"));
            };
            self.screen.print(&output::join_staged(&node, &contact))?;
        }
        Ok(())
    }

    async fn plan(&mut self) -> Result<Box<PlanShown>, Failure> {
        let joins = self.members.count() - 1;
        let plan = wait_for("the plan has every join", STAGED_WITHIN, async || {
            self.nodes.all_run()?;
            Ok::<_, Failure>(match self.members.ask(0, AdminRequest::Plan).await {
                Ok(AdminAnswer::Plan(plan)) if plan.changes.len() == joins => Seen::Yes(plan),
                Ok(answer) => Seen::NotYet(format!("{answer:?}")),
                Err(failure) => Seen::NotYet(failure.reason),
            })
        })
        .await?;
        self.screen.print(&output::plan(&plan))?;
        Ok(plan)
    }

    async fn commit(&mut self, plan: &PlanShown) -> Result<Epoch, Failure> {
        let answer = self.members.ask(0, AdminRequest::Commit { plan: Some(plan.id) }).await?;
        let AdminAnswer::Committed { epoch } = answer else {
            return Err(unexpected("cluster commit"));
        };
        self.screen.print("\nCluster changes committed\n")?;
        Ok(epoch)
    }

    /// Shows the transfers until no node knows of any partition that has yet to move.
    async fn watch(&mut self, epoch: Epoch, total: u64) -> Result<(), Failure> {
        let settled =
            wait_for("all nodes agree and nothing moves any more", SETTLED_WITHIN, async || {
                self.nodes.all_run()?;
                let look = self.look(epoch).await;
                // Before the first node has seen the new ring, nothing is pending anywhere.
                let done = look.pending.map_or(0, |pending| total.saturating_sub(pending));
                self.screen.progress(done, total, &look.moving)?;
                Ok::<_, Failure>(match look.behind.is_empty() {
                    true => Seen::Yes(()),
                    false => Seen::NotYet(look.behind.join("; ")),
                })
            })
            .await;
        self.screen.end_progress();
        settled
    }

    /// How far things are, by everybody's account.
    async fn look(&mut self, epoch: Epoch) -> Look {
        let mut look = Look { pending: None, moving: "nobody knows".to_owned(), behind: vec![] };
        match self.members.transfers(0).await {
            Ok(report) => {
                let (active, waiting) = (report.active.len(), report.waiting.len());
                look.moving = format!("{active} active, {waiting} waiting");
                let why = report.waiting.first().map(|row| format!("; one waits: {}", row.why));
                if active + waiting > 0 {
                    look.behind.push(look.moving.clone() + &why.unwrap_or_default());
                }
            }
            Err(failure) => look.behind.push(failure.reason),
        }
        for place in 0..self.members.count() {
            let ring = match self.members.ring(place).await {
                Ok(ring) => ring,
                Err(failure) => {
                    look.behind.push(failure.reason);
                    continue;
                }
            };
            let pending = u64::try_from(ring.pending.len()).unwrap_or(u64::MAX);
            if place == 0 && ring.epoch >= epoch {
                look.pending = Some(pending);
            }
            look.behind.extend(what_is_behind(&ring, epoch));
        }
        if let Err(failure) = self.remember_what_is_held().await {
            look.behind.push(failure.reason);
        }
        look
    }

    async fn remember_what_is_held(&mut self) -> Result<PartitionTable, Failure> {
        let table = self.members.partitions(0).await?;
        if table.silent.is_empty() {
            self.last_seen = Some((table.clone(), Instant::now()));
        }
        Ok(table)
    }

    async fn full_report(&mut self, condition: &str) -> Result<PartitionTable, Failure> {
        wait_for(condition, REPORTED_WITHIN, async || {
            self.nodes.all_run()?;
            Ok::<_, Failure>(match self.remember_what_is_held().await {
                Ok(table) if table.silent.is_empty() => Seen::Yes(table),
                Ok(table) => Seen::NotYet(format!("{:?} are silent", table.silent)),
                Err(failure) => Seen::NotYet(failure.reason),
            })
        })
        .await
    }

    async fn show_members(&mut self) -> Result<(), Failure> {
        let table = self.members.members(0).await?;
        self.screen.print(&format!("\n{}", output::member_status(&table)))
    }

    async fn until_old_copies_are_deleted(&mut self) -> Result<PartitionTable, Failure> {
        wait_for("every old copy is deleted", DELETED_WITHIN, async || {
            self.nodes.all_run()?;
            Ok::<_, Failure>(match self.remember_what_is_held().await {
                Ok(table) => {
                    let left = left_over(&table);
                    match left.first() {
                        None => Seen::Yes(table),
                        Some(first) => Seen::NotYet(format!("{}, one of {}", first, left.len())),
                    }
                }
                Err(failure) => Seen::NotYet(failure.reason),
            })
        })
        .await
    }

    fn show_moves(
        &mut self,
        before: &PartitionTable,
        after: &PartitionTable,
        planned: u64,
    ) -> Result<(), Failure> {
        let moves = moved(before, after);
        let mut columns = Columns::new(&[
            ("Partition", Align::Right),
            ("From", Align::Left),
            ("To", Align::Left),
            ("Objects", Align::Right),
        ]);
        for one in &moves {
            columns.row([
                one.partition.to_string(),
                quoted(&one.source),
                quoted(&one.target),
                one.objects.to_string(),
            ]);
        }
        let objects = moves.iter().map(|one| one.objects).fold(0, u64::saturating_add);
        let count = u64::try_from(moves.len()).unwrap_or(u64::MAX);
        let (partitions, objects) = (counted(count, "partition"), counted(objects, "object"));
        self.screen.print(&columns.render())?;
        self.screen.print(&format!("\n{partitions} moved with {objects}\n"))?;
        let differences = changed(before, after);
        if !differences.is_empty() {
            let reason = format!("{} changed by moving", counted_len(&differences, "partition"));
            return Err(Failure::failed(reason, "").with(first_few(differences)));
        }
        if count != planned {
            let reason = format!("the plan said {planned} transfers, but {count} were made");
            return Err(Failure::failed(reason, ""));
        }
        self.screen.print("every old copy is deleted at its source\n")
    }

    async fn read_back(&mut self) -> Result<(), Failure> {
        for place in 0..self.members.count() {
            let name = self.members.at(place).map(|(name, _)| name.clone());
            let name = name.ok_or_else(|| unexpected("a member"))?;
            let node = self.members.talk(place).await?;
            let (mut right, mut wrong) = (0_u64, Vec::new());
            for entry in self.options.entries() {
                match read_one(node, &entry).await {
                    None => right += 1,
                    Some(what) => wrong.push(what),
                }
            }
            self.report_reads(&name, right, wrong)?;
        }
        Ok(())
    }

    fn report_reads(
        &mut self,
        name: &NodeName,
        right: u64,
        wrong: Vec<String>,
    ) -> Result<(), Failure> {
        let name = quoted(name);
        self.screen.print(&format!("{} read through {name}\n", counted(right, "value")))?;
        if wrong.is_empty() {
            return Ok(());
        }
        let reason = format!("{} not what was put, through {name}", counted_len(&wrong, "value"));
        Err(Failure::failed(reason, "").with(first_few(wrong)))
    }
}

/// How far the transfers are.
struct Look {
    /// Partitions that have yet to move; `None`: the first node has not seen the new ring.
    pending: Option<u64>,
    /// What moves and waits, in words.
    moving: String,
    /// Who or what is not done yet.
    behind: Vec<String>,
}

fn what_is_behind(ring: &RingReport, epoch: Epoch) -> Option<String> {
    let (node, pending) = (quoted(&ring.node), ring.pending.len());
    if ring.epoch < epoch {
        return Some(format!("{node} has not seen epoch {epoch}"));
    }
    if !ring.not_seen_by.is_empty() {
        return Some(format!("{node} waits for {:?} to see epoch {epoch}", ring.not_seen_by));
    }
    (pending > 0).then(|| format!("{node} knows of {pending} partitions that have yet to move"))
}

/// `None`: the value is what was put.
async fn read_one(node: &mut impl Talk, entry: &Entry) -> Option<String> {
    let found = node.get(&item(entry), ANSWER_WITHIN).await;
    let what = match found {
        Ok(Some(value)) if value == entry.value().as_bytes() => return None,
        Ok(Some(value)) => format!("is {}", String::from_utf8_lossy(&value)),
        Ok(None) => "does not exist".to_owned(),
        Err(failure) => failure.reason,
    };
    Some(format!("{} {}: {what}", entry.bucket, entry.key))
}

fn item(entry: &Entry) -> Item {
    let (bucket, key) = (entry.bucket.clone(), entry.key.clone());
    Item { bucket, key, n: Some(REPLICAS), needed: None }
}

fn counted_len(list: &[String], noun: &str) -> String {
    counted(u64::try_from(list.len()).unwrap_or(u64::MAX), noun)
}

fn first_few(mut list: Vec<String>) -> Vec<String> {
    list.truncate(NAMED_MAX);
    list
}
