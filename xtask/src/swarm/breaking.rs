//! Breaks things as the plan says, mends them again, and forms the first cluster.

use std::time::Duration;

use tanodb_actors::RingSize;
use tanodb_actors::protocol::preference::primaries;
use tanodb_actors::sim::cluster::PATIENCE;
use tanodb_actors::sim::disk::WriteFailure;
use tanodb_actors::sim::failure::Failure;

use super::clients::key_hash_of;
use super::operators;
use super::plan::{Ask, Asked, Broken, NAMES, Who, Whom, name};
use super::play::{Due, Mend, Paused, Play};
use super::tracker::Entered;

impl Play {
    /// The first cluster: started, joined, and everything where its ring wants it.
    pub(super) fn found(&mut self) -> Result<(), Failure> {
        for who in 0..self.plan.founders {
            self.cluster.try_start(name(who))?;
        }
        let Some(first) = self.cluster.find(name(0)) else { return Ok(()) };
        for who in 1..self.plan.founders {
            if let Some(joiner) = self.cluster.find(name(who)) {
                let joining = operators::join(joiner, first.address().to_owned());
                self.cluster.try_ask("a founder joins", joining)?;
            }
        }
        let founders = usize::from(self.plan.founders);
        if founders == 1 {
            return Ok(());
        }
        loop {
            let asked = first.clone();
            let committed = self.cluster.try_ask("the founders commit", async move {
                match asked.plan().await {
                    Ok(plan) if plan.changes.len() + 1 == founders => {
                        asked.commit(plan.id).await.is_ok()
                    }
                    Ok(_) | Err(_) => false,
                }
            })?;
            if committed {
                break;
            }
            self.cluster.advance(Duration::from_millis(20))?;
        }
        for who in 0..self.plan.founders {
            let Some(node) = self.cluster.find(name(who)) else { continue };
            let settling = async move { node.settled(PATIENCE / 2).await };
            if !self.cluster.try_ask("the founders settle", settling)? {
                let what = format!("{} sees the first ring settle", name(who));
                return Err(Failure::InVain { what, waited: PATIENCE / 2 });
            }
        }
        Ok(())
    }

    fn resolve(&self, whom: Whom, entered: Option<&Entered>) -> Option<Who> {
        let of = |node: &str| {
            let place = NAMES.iter().position(|known| *known == node)?;
            u8::try_from(place).ok()
        };
        match whom {
            Whom::Node(who) => Some(who),
            Whom::Source => of(&entered?.source),
            Whom::Target => of(&entered?.target),
        }
    }

    /// Breaks something, if there is somebody to whom it can happen.
    pub(super) fn break_now(&mut self, what: Broken, entered: Option<&Entered>) {
        if self.try_break(what, entered).is_some() {
            let is_moving = self.tracker.borrow().is_moving();
            self.counts.broke(&what, entered.map(|entered| entered.stage), is_moving);
        }
    }

    fn try_break(&mut self, what: Broken, entered: Option<&Entered>) -> Option<()> {
        match what {
            Broken::Kill { whom, back } => {
                let who = self.resolve(whom, entered)?;
                self.end(who, back, |play, node| play.cluster.kill(node))
            }
            Broken::PowerOff { whom, back } => {
                let who = self.resolve(whom, entered)?;
                self.end(who, back, |play, node| play.cluster.power_off(node))
            }
            Broken::Cut { one, other, both, lasts } => {
                let (one, other) = self.two(one, other, entered)?;
                self.cluster.with_network(|network| {
                    network.cut_one_way(name(one), name(other));
                    if both {
                        network.cut_one_way(name(other), name(one));
                    }
                });
                self.after(lasts, Due::Mend(Mend::Heal(one, other)));
                Some(())
            }
            Broken::Isolate { whom, lasts } => {
                let who = self.resolve(whom, entered)?;
                for other in NAMES.iter().filter(|other| **other != name(who)) {
                    self.cluster.with_network(|network| {
                        network.cut_one_way(name(who), other);
                        network.cut_one_way(other, name(who));
                    });
                }
                self.after(lasts, Due::Mend(Mend::Rejoin(who)));
                Some(())
            }
            Broken::Reset { one, other } => {
                let (one, other) = self.two(one, other, entered)?;
                self.cluster.with_network(|network| network.reset(name(one), name(other)));
                Some(())
            }
            Broken::HalfOpen { one, other } => {
                let (one, other) = self.two(one, other, entered)?;
                self.cluster.with_network(|network| network.half_open(name(one), name(other)));
                Some(())
            }
            Broken::Slow { one, other, rate, lasts } => {
                let (one, other) = self.two(one, other, entered)?;
                self.cluster
                    .with_network(|network| network.limit(name(one), name(other), Some(rate)));
                self.after(lasts, Due::Mend(Mend::Speed(one, other)));
                Some(())
            }
            Broken::Pause { whom, lasts } => {
                let who = self.resolve(whom, entered)?;
                self.cluster.find(name(who))?;
                self.cluster.pause(name(who));
                let from = self.cluster.elapsed();
                self.pauses.push(Paused { who, from, until: from + lasts });
                self.after(lasts, Due::Mend(Mend::Resume(who)));
                Some(())
            }
            Broken::Skew { whom, millis } => {
                let who = self.resolve(whom, entered)?;
                self.cluster.find(name(who))?;
                self.cluster.skew(name(who), millis);
                Some(())
            }
            Broken::SlowDisk { .. } | Broken::FullDisk { .. } | Broken::FailingDisk { .. } => {
                self.break_disk(what, entered)
            }
            Broken::Burst { puts, deletes } => self.burst(puts, deletes, entered?),
        }
    }

    fn break_disk(&mut self, what: Broken, entered: Option<&Entered>) -> Option<()> {
        match what {
            Broken::SlowDisk { whom, by, lasts } => {
                let who = self.resolve(whom, entered)?;
                self.cluster.disk(name(who))?.set_slow(by);
                self.after(lasts, Due::Mend(Mend::Disk(who)));
            }
            Broken::FullDisk { whom, lasts } => {
                let who = self.resolve(whom, entered)?;
                self.cluster.disk(name(who))?.fill();
                self.after(lasts, Due::Mend(Mend::Disk(who)));
            }
            Broken::FailingDisk { whom, records, count } => {
                let who = self.resolve(whom, entered)?;
                let disk = self.cluster.disk(name(who))?;
                disk.fail_writes(records.prefix(), count, WriteFailure::NotWritten);
            }
            Broken::Kill { .. }
            | Broken::PowerOff { .. }
            | Broken::Cut { .. }
            | Broken::Isolate { .. }
            | Broken::Reset { .. }
            | Broken::HalfOpen { .. }
            | Broken::Slow { .. }
            | Broken::Pause { .. }
            | Broken::Skew { .. }
            | Broken::Burst { .. } => return None,
        }
        Some(())
    }

    fn two(&self, one: Whom, other: Whom, entered: Option<&Entered>) -> Option<(Who, Who)> {
        let (one, other) = (self.resolve(one, entered)?, self.resolve(other, entered)?);
        (one != other).then_some((one, other))
    }

    fn end(
        &mut self,
        who: Who,
        back: Option<Duration>,
        end: impl FnOnce(&mut Self, &str),
    ) -> Option<()> {
        let node = name(who);
        self.cluster.find(node)?;
        end(self, node);
        self.memory_is_lost(node);
        if let Some(back) = back {
            self.after(back, Due::Mend(Mend::Start(who)));
        }
        Some(())
    }

    /// Writes to keys of which the vnode that was waited for holds a replica, all at once.
    fn burst(&mut self, puts: u8, deletes: u8, entered: &Entered) -> Option<()> {
        let size = RingSize::new(self.plan.ring_size).ok()?;
        let is_here = |key: &u16| {
            let replicas = primaries(size, key_hash_of(*key), 3);
            replicas.contains(&entered.vnode.partition)
        };
        let keys: Vec<u16> = (0..super::draw::KEYS).filter(is_here).collect();
        let count = u16::from(puts) + u16::from(deletes);
        for number in 0..count {
            let place = usize::from(number).checked_rem(keys.len())?;
            let key = *keys.get(place)?;
            let what = if number < u16::from(puts) {
                Asked::Put { key, strict: true }
            } else {
                Asked::Delete { key, strict: true }
            };
            let of = u8::try_from(number % 9).unwrap_or(0);
            self.ask(Ask { at: Duration::ZERO, of, what });
        }
        Some(())
    }

    /// Ends one fault.
    pub(super) fn mend(&mut self, mend: Mend) {
        match mend {
            Mend::Start(who) => {
                if self.cluster.find(name(who)).is_none() {
                    self.cluster.start_soon(name(who));
                }
            }
            Mend::Heal(one, other) => {
                self.cluster.with_network(|network| network.heal(name(one), name(other)));
            }
            Mend::Rejoin(who) => {
                for other in NAMES {
                    self.cluster.with_network(|network| network.heal(name(who), other));
                }
            }
            Mend::Speed(one, other) => {
                self.cluster.with_network(|network| network.limit(name(one), name(other), None));
            }
            Mend::Resume(who) => self.cluster.resume(name(who)),
            Mend::Disk(who) => {
                if let Some(disk) = self.cluster.disk(name(who)) {
                    disk.mend();
                }
            }
        }
    }

    /// Ends all faults that still last. Machines without power stay off.
    pub(super) fn mend_all(&mut self) {
        self.cluster.with_network(tanodb_actors::sim::network::Network::heal_all);
        self.waiting.clear();
        for due in std::mem::take(&mut self.agenda).into_values() {
            if let Due::Mend(mend) = due {
                self.mend(mend);
            }
        }
    }
}
