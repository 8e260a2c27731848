//! The count itself.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    AnswerKind, FailureReason, Quorum, QuorumError, ReplicaAnswer, ReplicaFault, ReplicaOutcome,
    TallyEvent, TallyIgnored, TallyStep, Verdict,
};
use crate::protocol::id::{NodeName, Partition};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::rules::Rules;

/// Where one partition of the request stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Standing {
    /// This node was asked and has not answered.
    Waiting { asked: NodeName },
    /// Nobody is asked at this moment; somebody will be.
    Postponed,
    /// Nobody is left to ask.
    Failed,
    /// A stand-in told this, while an owner that is up might still answer.
    Told { from: NodeName, reply: Bytes },
    /// Executed.
    Done { from: NodeName, kind: AnswerKind, reply: Bytes },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Replica {
    partition: Partition,
    standing: Standing,
}

/// The tally of one request, from the first question to the verdict and beyond: what comes late is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tally {
    quorum: Quorum,
    replicas: Vec<Replica>,
    /// The last failure of each node for each partition.
    failures: Vec<ReplicaFault>,
    /// Whether a failed node may have executed the command, also one whose failure was replaced.
    may_have_run: bool,
    phase: Phase,
    #[serde(skip)]
    rules: Rules,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Phase {
    Waiting,
    Reported { late: u32 },
}

impl Tally {
    /// The tally of a request that goes to these partitions, each at first to this node: the n
    /// partitions of the key, also those for which nobody can be asked.
    ///
    /// # Errors
    ///
    /// [`QuorumError::BadAsked`] when they are not n different partitions.
    pub fn new(quorum: Quorum, asked: Vec<(Partition, NodeName)>) -> Result<Self, QuorumError> {
        let mut partitions: Vec<Partition> =
            asked.iter().map(|(partition, _)| *partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let n = usize::from(quorum.n());
        if partitions.len() != n || asked.len() != n {
            return Err(QuorumError::BadAsked { n: quorum.n(), asked: partitions.len() });
        }
        let waiting =
            |(partition, asked)| Replica { partition, standing: Standing::Waiting { asked } };
        Ok(Self {
            quorum,
            replicas: asked.into_iter().map(waiting).collect(),
            failures: Vec::new(),
            may_have_run: false,
            phase: Phase::Waiting,
            rules: Rules::default(),
        })
    }

    /// The same by given rules.
    #[must_use]
    pub fn under(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// What must be met.
    #[must_use]
    pub fn quorum(&self) -> Quorum {
        self.quorum
    }

    /// Events that came after the verdict.
    #[must_use]
    pub fn late(&self) -> u32 {
        match self.phase {
            Phase::Waiting => 0,
            Phase::Reported { late } => late,
        }
    }

    /// Counts one event.
    pub fn step(mut self, event: TallyEvent) -> TallyStep {
        match &mut self.phase {
            Phase::Reported { late } => {
                *late = late.saturating_add(1);
                return TallyStep::Ignored(self, TallyIgnored::Late);
            }
            Phase::Waiting => {}
        }
        let counted = match event {
            TallyEvent::Answered { partition, from, kind, outcome: ReplicaOutcome::Ok(reply) } => {
                self.done(partition, Standing::Done { from, kind, reply })
            }
            TallyEvent::Answered {
                partition, from, outcome: ReplicaOutcome::Failed(why), ..
            } => self.failed(ReplicaFault { partition, node: from, reason: why }, Standing::Failed),
            TallyEvent::Unreachable { partition, node, may_have_run } => {
                let reason = FailureReason::Unreachable { may_have_run };
                self.failed(ReplicaFault { partition, node, reason }, Standing::Failed)
            }
            TallyEvent::AskedInstead { partition, failed, reason, instead } => {
                let fault = ReplicaFault { partition, node: failed, reason };
                self.failed(fault, Standing::Waiting { asked: instead })
            }
            TallyEvent::Postponed { partition, node, reason } => {
                self.failed(ReplicaFault { partition, node, reason }, Standing::Postponed)
            }
            TallyEvent::Told { partition, from, reply } => {
                self.done(partition, Standing::Told { from, reply })
            }
            TallyEvent::OwnersHeard => self.owners_heard(),
            TallyEvent::AskedAgain { partition, node } => self.asked_again(partition, node),
            TallyEvent::Overtaken { partition, node } => self.overtaken(partition, node),
            TallyEvent::DeadlinePassed => return self.run_out(),
        };
        match counted {
            Ok(()) => self.judge(),
            Err(ignored) => TallyStep::Ignored(self, ignored),
        }
    }

    fn replica(&mut self, partition: Partition) -> Result<&mut Replica, TallyIgnored> {
        let found = self.replicas.iter_mut().find(|replica| replica.partition == partition);
        found.ok_or(TallyIgnored::NotAsked)
    }

    fn done(&mut self, partition: Partition, answer: Standing) -> Result<(), TallyIgnored> {
        let replica = self.replica(partition)?;
        let better = match (&replica.standing, &answer) {
            (Standing::Done { kind: known, .. }, Standing::Done { kind, .. }) => kind > known,
            (
                Standing::Waiting { .. }
                | Standing::Postponed
                | Standing::Failed
                | Standing::Told { .. },
                Standing::Done { .. },
            )
            | (
                Standing::Waiting { .. } | Standing::Postponed | Standing::Failed,
                Standing::Told { .. },
            ) => true,
            (Standing::Done { .. } | Standing::Told { .. }, Standing::Told { .. })
            | (_, Standing::Waiting { .. } | Standing::Postponed | Standing::Failed) => false,
        };
        if !better {
            return Err(TallyIgnored::Duplicate);
        }
        replica.standing = answer;
        Ok(())
    }

    fn failed(&mut self, fault: ReplicaFault, next: Standing) -> Result<(), TallyIgnored> {
        let replica = self.replica(fault.partition)?;
        match (&replica.standing, &next) {
            (Standing::Done { .. } | Standing::Told { .. }, _) => {
                return Err(TallyIgnored::Duplicate);
            }
            // Another node was asked meanwhile, and may still answer.
            (Standing::Waiting { asked }, Standing::Failed | Standing::Postponed)
                if *asked != fault.node => {}
            (Standing::Waiting { .. } | Standing::Postponed | Standing::Failed, _) => {
                replica.standing = next;
            }
        }
        self.blame(fault);
        Ok(())
    }

    fn asked_again(&mut self, partition: Partition, asked: NodeName) -> Result<(), TallyIgnored> {
        let replica = self.replica(partition)?;
        match replica.standing {
            Standing::Done { .. } | Standing::Told { .. } => Err(TallyIgnored::Duplicate),
            Standing::Waiting { .. } | Standing::Postponed | Standing::Failed => {
                replica.standing = Standing::Waiting { asked };
                Ok(())
            }
        }
    }

    fn owners_heard(&mut self) -> Result<(), TallyIgnored> {
        for replica in &mut self.replicas {
            match &replica.standing {
                Standing::Told { from, reply } => {
                    let (from, reply) = (from.clone(), reply.clone());
                    replica.standing = Standing::Done { from, kind: AnswerKind::Sloppy, reply };
                }
                Standing::Waiting { .. }
                | Standing::Postponed
                | Standing::Failed
                | Standing::Done { .. } => {}
            }
        }
        Ok(())
    }

    fn overtaken(&mut self, partition: Partition, node: NodeName) -> Result<(), TallyIgnored> {
        self.replica(partition)?;
        for replica in &mut self.replicas {
            match replica.standing {
                Standing::Done { .. } => {
                    replica.standing = Standing::Postponed;
                    self.may_have_run = true;
                }
                Standing::Told { .. } => replica.standing = Standing::Postponed,
                Standing::Waiting { .. } | Standing::Postponed | Standing::Failed => {}
            }
        }
        let reason = FailureReason::Overtaken;
        self.blame(ReplicaFault { partition, node, reason });
        Ok(())
    }

    /// Keeps one failure for each node and partition, so that the list is bounded by who was asked.
    fn blame(&mut self, fault: ReplicaFault) {
        self.may_have_run |= fault.reason.may_have_run();
        let same = |known: &&mut ReplicaFault| {
            (known.partition, &known.node) == (fault.partition, &fault.node)
        };
        match self.failures.iter_mut().find(same) {
            Some(known) => *known = fault,
            None => self.failures.push(fault),
        }
    }

    fn run_out(mut self) -> TallyStep {
        let fault = |replica: &Replica, node: &NodeName, reason| {
            Some(ReplicaFault { partition: replica.partition, node: node.clone(), reason })
        };
        let silent = |replica: &Replica| match &replica.standing {
            Standing::Waiting { asked } => fault(replica, asked, FailureReason::Silent),
            Standing::Told { from, .. } => fault(replica, from, FailureReason::Unconfirmed),
            Standing::Postponed | Standing::Failed | Standing::Done { .. } => None,
        };
        // What is lost was lost when it was asked last, and says more than that this answer is late.
        let is_lost = |fault: &ReplicaFault| {
            let lost = ReplicaFault { reason: FailureReason::Lost, ..fault.clone() };
            self.failures.contains(&lost)
        };
        let silent = self.replicas.iter().filter_map(silent).filter(|fault| !is_lost(fault));
        let silent: Vec<ReplicaFault> = silent.collect();
        for fault in silent {
            self.blame(fault);
        }
        self.report_failed(true)
    }

    /// Reports as soon as nothing that may still come could change the verdict.
    fn judge(mut self) -> TallyStep {
        let Counts { ok, primaries_ok, waiting, postponed } = self.counts();
        let open = waiting + postponed;
        let Quorum { needed, primaries_needed, .. } = self.quorum;
        if ok >= needed && primaries_ok >= primaries_needed {
            self.phase = Phase::Reported { late: 0 };
            let verdict = Verdict::Met { strict: primaries_ok >= needed, answers: self.answers() };
            return TallyStep::Reached(self, verdict);
        }
        if ok + open < needed || primaries_ok + open < primaries_needed {
            return self.report_failed(false);
        }
        TallyStep::Counted(self)
    }

    fn report_failed(mut self, deadline_passed: bool) -> TallyStep {
        let Counts { ok, primaries_ok, waiting, postponed: _ } = self.counts();
        self.phase = Phase::Reported { late: 0 };
        let verdict = Verdict::Failed {
            ok,
            needed: self.quorum.needed,
            primaries_ok,
            primaries_needed: self.quorum.primaries_needed,
            deadline_passed,
            // Whoever was asked and is silent may execute it yet.
            may_have_been_stored: self.may_have_run || ok > 0 || waiting > 0,
            failures: std::mem::take(&mut self.failures),
        };
        TallyStep::Reached(self, verdict)
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for replica in &self.replicas {
            match &replica.standing {
                Standing::Waiting { .. } => counts.waiting += 1,
                Standing::Postponed | Standing::Told { .. } => counts.postponed += 1,
                Standing::Failed => {}
                Standing::Done { kind, .. } => {
                    counts.ok += 1;
                    let is_owner = *kind == AnswerKind::Strict;
                    #[cfg(tanodb_mutants)]
                    let is_owner = is_owner || self.rules.breaks(Mutant::StandInsCountAsOwners);
                    counts.primaries_ok += u8::from(is_owner);
                }
            }
        }
        counts
    }

    fn answers(&self) -> Vec<ReplicaAnswer> {
        let mut answers = Vec::with_capacity(self.replicas.len());
        for replica in &self.replicas {
            let (from, kind, reply) = match &replica.standing {
                Standing::Done { from, kind, reply } => (from, *kind, reply),
                // It does no harm to know more than is needed.
                Standing::Told { from, reply } => (from, AnswerKind::Sloppy, reply),
                Standing::Waiting { .. } | Standing::Postponed | Standing::Failed => continue,
            };
            let (partition, from, reply) = (replica.partition, from.clone(), reply.clone());
            answers.push(ReplicaAnswer { partition, from, kind, reply });
        }
        answers
    }
}

/// At most 16 of each.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    ok: u8,
    primaries_ok: u8,
    /// Asked and silent.
    waiting: u8,
    /// Not asked at this moment, or not counted yet.
    postponed: u8,
}
