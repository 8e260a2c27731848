//! What clients did and saw, and whether a store that keeps every acknowledged write could have answered so.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Stamps count milliseconds: two writes through different nodes within one have no order that a client
/// could know.
const SAME_MOMENT: Duration = Duration::from_millis(2);

/// What was done to one key; nothing stands for a delete, and for a key that was never written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// An acknowledged put or delete. No value is put twice.
    Wrote(Option<String>),
    /// An answered get.
    Read(Option<String>),
}

/// One operation that was answered. Times count from the test's beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub key: String,
    pub deed: Deed,
    pub began: Duration,
    pub ended: Duration,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} from {:?} to {:?}", self.key, self.deed, self.began, self.ended)
    }
}

/// Every read that missed a write acknowledged before it began, or saw what nobody wrote.
pub fn complaints(operations: &[Operation]) -> Vec<String> {
    let mut by_key: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        by_key.entry(&operation.key).or_default().push(operation);
    }
    by_key.into_values().flat_map(|of_key| complaints_of_key(&of_key)).collect()
}

fn complaints_of_key(operations: &[&Operation]) -> Vec<String> {
    let mut writes = vec![Write { value: None, began: Duration::ZERO, ended: Duration::ZERO }];
    for Operation { deed, began, ended, .. } in operations {
        if let Deed::Wrote(value) = deed {
            writes.push(Write { value: value.as_deref(), began: *began, ended: *ended });
        }
    }
    let complaint = |read: &&Operation| {
        let Deed::Read(seen) = &read.deed else { return None };
        let mut sources = writes.iter().filter(|write| write.value == seen.as_deref());
        let is_right = sources.any(|write| {
            let missed =
                writes.iter().find(|other| other.follows(write) && other.ended < read.began);
            write.began <= read.ended && missed.is_none()
        });
        (!is_right).then(|| {
            let before = operations.iter().filter(|one| one.began <= read.ended);
            let last: Vec<String> = before.map(ToString::to_string).collect();
            format!("{read}, after {:?}", last.iter().rev().take(6).collect::<Vec<_>>())
        })
    };
    operations.iter().filter_map(complaint).collect()
}

struct Write<'a> {
    value: Option<&'a str>,
    began: Duration,
    ended: Duration,
}

impl Write<'_> {
    fn follows(&self, other: &Write<'_>) -> bool {
        self.began > other.ended + SAME_MOMENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(deed: Deed, began: u64, ended: u64) -> Operation {
        let (began, ended) = (Duration::from_millis(began), Duration::from_millis(ended));
        Operation { key: "k".to_owned(), deed, began, ended }
    }

    fn put(value: &str, began: u64, ended: u64) -> Operation {
        operation(Deed::Wrote(Some(value.to_owned())), began, ended)
    }

    fn get(value: &str, began: u64, ended: u64) -> Operation {
        operation(Deed::Read(Some(value.to_owned())), began, ended)
    }

    fn delete(began: u64, ended: u64) -> Operation {
        operation(Deed::Wrote(None), began, ended)
    }

    fn nothing(began: u64, ended: u64) -> Operation {
        operation(Deed::Read(None), began, ended)
    }

    #[test]
    fn a_read_sees_the_last_write_or_one_that_runs_beside_it() {
        let one = [put("a", 10, 20), get("a", 30, 40)];
        assert_eq!(complaints(&one), [""; 0]);
        let beside = [put("a", 10, 20), put("b", 30, 60), get("a", 40, 50), get("b", 40, 50)];
        assert_eq!(complaints(&beside), [""; 0]);
        let rivals = [put("a", 10, 60), put("b", 30, 50), get("a", 70, 80), get("b", 90, 95)];
        assert_eq!(complaints(&rivals), [""; 0]);
        assert_eq!(complaints(&[nothing(1, 2), delete(3, 4), nothing(5, 6)]), [""; 0]);
    }

    #[test]
    fn an_acknowledged_write_that_is_missed_is_found() {
        for missed in [
            vec![put("a", 10, 20), nothing(30, 40)],
            vec![put("a", 10, 20), put("b", 30, 40), get("a", 50, 60)],
            vec![put("a", 10, 20), delete(30, 40), get("a", 50, 60)],
            vec![put("a", 10, 20), delete(30, 40), put("b", 50, 60), nothing(70, 80)],
            vec![get("never written", 10, 20)],
            vec![get("a", 10, 20), put("a", 30, 40)],
        ] {
            assert_eq!(complaints(&missed).len(), 1, "{missed:?}");
        }
    }
}
