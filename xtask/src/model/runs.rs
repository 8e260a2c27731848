//! Which models are explored, and how far.

use tanodb_actors::protocol::rules::Rules;

use super::agreement::{self, AgreementModel};
use super::handoff::{Bounds, HandoffModel, Messages, SecondRing};
use super::{Run, explore};

/// How far the models are explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// In less than a minute on an idle machine, for CI.
    Default,
    /// In minutes, with gigabytes of memory.
    Full,
}

/// A run that has not begun.
pub(super) type Start = Box<dyn FnOnce() -> Run>;

/// A handoff in which nothing goes wrong but messages. `Terminates` is asked for where [`Messages`] tell what
/// is lost for good.
const CALM: Bounds = Bounds {
    operations: 0,
    cancels: 0,
    cuts: 0,
    falls: 0,
    wipes: 0,
    restarts: 0,
    second_ring: SecondRing::AtOnce,
    messages: Messages::Anyhow,
};

/// The same with one write, and with what must end.
const ONE: Bounds = Bounds { operations: 1, ..CALM };
const ENDS: Bounds = Bounds { messages: Messages::OnceOrNever, ..CALM };

const RIVALS: agreement::Bounds = agreement::Bounds { attempts: [2, 2], crashes: 0, restarts: 0 };
const SHORT: agreement::Bounds = agreement::Bounds { attempts: [1, 1], ..RIVALS };

fn handoffs(bound: Bound) -> Vec<(&'static str, Bounds)> {
    match bound {
        Bound::Default => vec![
            ("handoff: 3 writes, a delete", Bounds { operations: 4, ..CALM }),
            ("handoff: a cut", Bounds { cuts: 1, ..ONE }),
            ("handoff: a vnode falls", Bounds { falls: 1, ..ONE }),
            ("handoff: a durable restart", Bounds { restarts: 1, ..ONE }),
            ("handoff: a cancel, 2 wipes", Bounds { cancels: 1, wipes: 2, ..ONE }),
            ("handoff ends: a cut", Bounds { cuts: 1, ..ENDS }),
            ("handoff ends: a cancel", Bounds { cancels: 1, ..ENDS }),
            ("handoff ends: a vnode falls", Bounds { falls: 1, ..ENDS }),
            ("handoff ends: a durable restart", Bounds { restarts: 1, ..ENDS }),
            ("handoff ends: 2 wipes", Bounds { wipes: 2, ..ENDS }),
        ],
        Bound::Full => {
            let apart = SecondRing::Apart;
            let told = Bounds { messages: Messages::Told, second_ring: apart, ..CALM };
            vec![
                ("handoff: 3 writes, a delete, a cut", Bounds { operations: 4, cuts: 1, ..CALM }),
                (
                    "handoff: 2 writes, cancel, 2 wipes",
                    Bounds { operations: 2, cancels: 1, wipes: 2, ..CALM },
                ),
                ("handoff: 2 vnodes fall", Bounds { falls: 2, second_ring: apart, ..ONE }),
                ("handoff: a fall, a restart", Bounds { falls: 1, restarts: 1, ..ONE }),
                ("handoff: 2 durable restarts", Bounds { restarts: 2, ..ONE }),
                (
                    "handoff: a fall, a cut, a cancel",
                    Bounds { falls: 1, cuts: 1, cancels: 1, ..CALM },
                ),
                ("handoff ends: late, a fall", Bounds { falls: 1, ..told }),
                ("handoff ends: late, a restart", Bounds { restarts: 1, ..told }),
                ("handoff ends: a write, a fall", Bounds { operations: 1, falls: 1, ..ENDS }),
                ("handoff ends: a cancel, 2 wipes", Bounds { cancels: 1, wipes: 2, ..ENDS }),
            ]
        }
    }
}

fn agreements(bound: Bound) -> Vec<(&'static str, agreement::Bounds)> {
    match bound {
        Bound::Default => vec![
            ("agreement: 2 attempts each", RIVALS),
            ("agreement: 2 crashes", agreement::Bounds { attempts: [2, 1], crashes: 2, ..RIVALS }),
            ("agreement: a proposer restarts", agreement::Bounds { restarts: 1, ..SHORT }),
        ],
        Bound::Full => vec![
            ("agreement: 2 attempts each, a crash", agreement::Bounds { crashes: 1, ..RIVALS }),
            (
                "agreement: a crash, a restart",
                agreement::Bounds { crashes: 1, restarts: 1, ..SHORT },
            ),
        ],
    }
}

/// What is to be explored by given rules: what CI runs first.
pub(super) fn of(rules: Rules, bound: Bound) -> Vec<Start> {
    let bounds = match bound {
        Bound::Default => vec![Bound::Default],
        Bound::Full => vec![Bound::Default, Bound::Full],
    };
    let mut all: Vec<Start> = Vec::new();
    for bound in bounds {
        for (name, bounds) in agreements(bound) {
            let make = move |_| AgreementModel::new(bounds, rules, None);
            all.push(Box::new(move || explore(name, make, false)));
        }
        for (name, bounds) in handoffs(bound) {
            let has_ends = bounds.messages != Messages::Anyhow;
            let make = move |graph| HandoffModel::new(bounds, rules, None, graph);
            all.push(Box::new(move || explore(name, make, has_ends)));
        }
    }
    all
}
