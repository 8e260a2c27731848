//! What happens in a run, as values: who is there, what clients ask, what operators do and what breaks.
//!
//! A plan is drawn from a seed (`draw`), played (`play`), and made smaller when it fails (`smaller`). Playing
//! the same plan again is the same run.

use std::fmt;
use std::time::Duration;

/// A node, by its place in [`NAMES`].
pub type Who = u8;

/// The nodes' names.
pub const NAMES: [&str; 20] = [
    "ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ivy", "jon", "kim", "lea", "max",
    "nan", "ole", "pia", "rex", "sue", "tom", "uma",
];

/// The name of a node.
pub fn name(who: Who) -> &'static str {
    NAMES.get(usize::from(who)).copied().unwrap_or("ada")
}

/// How good the network of a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// A fast local one that loses nothing.
    Good,
    /// A busy local one.
    Busy,
    /// A slow one that loses one segment of fifty.
    Poor,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Everything the simulator draws follows from it.
    pub seed: u64,
    /// Nodes that are members before anything else happens. At least one.
    pub founders: u8,
    /// Partitions.
    pub ring_size: u32,
    /// The network.
    pub quality: Quality,
    /// Items of one page.
    pub page_items: usize,
    /// Transfers at once in each direction.
    pub transfer_limit: u16,
    /// Commands under way at a vnode.
    pub permits: usize,
    /// How long hints are left alone before they go home.
    pub hinted_idle: Duration,
    /// How long the clients ask.
    pub active: Duration,
    /// What clients ask.
    pub asks: Vec<Ask>,
    /// What operators do.
    pub changes: Vec<Change>,
    /// What breaks.
    pub faults: Vec<Fault>,
}

/// One thing a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// When, from the moment the founders are there.
    pub at: Duration,
    /// Of which node.
    pub of: Who,
    /// What.
    pub what: Asked,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Stores a new value.
    Put {
        /// The key's number.
        key: u16,
        /// Of owners only.
        strict: bool,
    },
    /// Removes a key.
    Delete {
        /// The key's number.
        key: u16,
        /// Of owners only.
        strict: bool,
    },
    /// Reads a key.
    Get {
        /// The key's number.
        key: u16,
        /// Of owners only.
        strict: bool,
    },
    /// Adds to a counter.
    Add {
        /// The counter's number.
        counter: u16,
    },
}

/// One thing an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// When, from the moment the founders are there.
    pub at: Duration,
    /// What.
    pub what: Changed,
}

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Starts a node and has it join through a member.
    Join {
        /// Who joins.
        who: Who,
        /// Through whom.
        through: Who,
    },
    /// Plans and commits what is staged, through one node.
    Commit {
        /// Which.
        through: Who,
        /// How long the plan is looked at.
        thinks: Duration,
    },
    /// Plans and commits through two nodes at once.
    CommitTwice {
        /// The one.
        one: Who,
        /// The other.
        other: Who,
    },
    /// Looks at every table of every node, again and again for ten seconds.
    Watch,
}

/// One thing that breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub when: When,
    /// What.
    pub what: Broken,
}

/// When something breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At a moment, from when the founders are there.
    At(Duration),
    /// When a vnode enters a state for the nth time, counted over the whole cluster from 1.
    Entered {
        /// The state.
        stage: Stage,
        /// Which time.
        nth: u32,
    },
}

/// A state of a vnode in a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The source streams.
    Sending,
    /// The source has stopped executing.
    Fenced,
    /// The source has the proof and grants.
    Granting,
    /// The source has given it away.
    Retired,
    /// The source deletes.
    Purging,
    /// The target takes pages.
    Staging,
    /// The target holds everything.
    Holding,
    /// The target has the grant.
    Accepting,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Sending,
        Self::Fenced,
        Self::Granting,
        Self::Retired,
        Self::Purging,
        Self::Staging,
        Self::Holding,
        Self::Accepting,
    ];
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Whom something happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// This node.
    Node(Who),
    /// The source of the transfer that was waited for; without one, nobody.
    Source,
    /// Its target.
    Target,
}

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A process is killed, and started again after a time, if there is one.
    Kill {
        /// Whose.
        whom: Whom,
        /// After how long it is started again.
        back: Option<Duration>,
    },
    /// A machine loses its power, and has it back after a time, if there is one.
    PowerOff {
        /// Whose.
        whom: Whom,
        /// After how long it is started again.
        back: Option<Duration>,
    },
    /// A link carries nothing for a time.
    Cut {
        /// One end.
        one: Whom,
        /// The other.
        other: Whom,
        /// Both ways.
        both: bool,
        /// For how long.
        lasts: Duration,
    },
    /// A node is cut off from everybody for a time.
    Isolate {
        /// Which.
        whom: Whom,
        /// For how long.
        lasts: Duration,
    },
    /// All connections between two nodes break.
    Reset {
        /// One end.
        one: Whom,
        /// The other.
        other: Whom,
    },
    /// One end of all connections between two nodes is forgotten.
    HalfOpen {
        /// Who forgets.
        one: Whom,
        /// Who is not told.
        other: Whom,
    },
    /// A link takes few bytes for a time.
    Slow {
        /// From here.
        one: Whom,
        /// To there.
        other: Whom,
        /// Bytes in a second.
        rate: u64,
        /// For how long.
        lasts: Duration,
    },
    /// A process stands still for a time.
    Pause {
        /// Whose.
        whom: Whom,
        /// For how long.
        lasts: Duration,
    },
    /// A clock goes wrong.
    Skew {
        /// Whose.
        whom: Whom,
        /// By how many milliseconds.
        millis: i64,
    },
    /// A disk is slow for a time.
    SlowDisk {
        /// Whose.
        whom: Whom,
        /// Added to each request.
        by: Duration,
        /// For how long.
        lasts: Duration,
    },
    /// A disk is full for a time.
    FullDisk {
        /// Whose.
        whom: Whom,
        /// For how long.
        lasts: Duration,
    },
    /// Some writes of records fail; what stood before stands.
    FailingDisk {
        /// Whose.
        whom: Whom,
        /// Which records.
        records: Records,
        /// How many.
        count: u32,
    },
    /// Clients write to the partition that was waited for, all at once.
    Burst {
        /// Puts.
        puts: u8,
        /// Deletes.
        deletes: u8,
    },
}

/// Control records, by the beginnings of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// What vnodes keep of their moves.
    Vnodes,
    /// The ring.
    Ring,
    /// Promises and votes.
    Agreement,
    /// All of them.
    All,
}

impl Records {
    /// The beginning of their names.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Vnodes => "vnode-",
            Self::Ring => "ring",
            Self::Agreement => "agreement",
            Self::All => "",
        }
    }
}

impl Broken {
    /// Its kind, for the table.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "process killed",
            Self::PowerOff { .. } => "power lost",
            Self::Cut { both: true, .. } => "link cut",
            Self::Cut { both: false, .. } => "link cut one way",
            Self::Isolate { .. } => "node cut off",
            Self::Reset { .. } => "connections reset",
            Self::HalfOpen { .. } => "connections half open",
            Self::Slow { .. } => "link slow",
            Self::Pause { .. } => "process paused",
            Self::Skew { .. } => "clock off",
            Self::SlowDisk { .. } => "disk slow",
            Self::FullDisk { .. } => "disk full",
            Self::FailingDisk { .. } => "disk failing",
            Self::Burst { .. } => "burst of writes",
        }
    }

    /// Whether it ends or cuts off a node or a link.
    pub fn is_crash_or_cut(&self) -> bool {
        match self {
            Self::Kill { .. }
            | Self::PowerOff { .. }
            | Self::Cut { .. }
            | Self::Isolate { .. }
            | Self::Reset { .. }
            | Self::HalfOpen { .. } => true,
            Self::Slow { .. }
            | Self::Pause { .. }
            | Self::Skew { .. }
            | Self::SlowDisk { .. }
            | Self::FullDisk { .. }
            | Self::FailingDisk { .. }
            | Self::Burst { .. } => false,
        }
    }
}

impl Plan {
    /// What clients ask and operators do.
    pub fn operations(&self) -> usize {
        self.asks.len() + self.changes.len()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} founders, {} partitions, {:?} network, pages of {}, {} transfers and {} commands \
             at once, hints go home after {:?}",
            self.seed,
            self.founders,
            self.ring_size,
            self.quality,
            self.page_items,
            self.transfer_limit,
            self.permits,
            self.hinted_idle
        )?;
        for Change { at, what } in &self.changes {
            writeln!(f, "  {:>8.3} s  {what:?}", at.as_secs_f64())?;
        }
        for Fault { when, what } in &self.faults {
            writeln!(f, "  {when:?}: {what:?}")?;
        }
        writeln!(f, "  {} requests", self.asks.len())?;
        for Ask { at, of, what } in self.asks.iter().take(20) {
            writeln!(f, "  {:>8.3} s  {} is asked {what:?}", at.as_secs_f64(), name(*of))?;
        }
        Ok(())
    }
}
