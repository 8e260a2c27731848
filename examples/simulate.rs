//! The counters of the example `counter`, in simulated clusters where links are cut, nodes pause and disks fail:
//! they stay exact, on as many seeds as you like, in virtual time.
//!
//! `cargo run --example simulate`, or with one seed: `TANODB_SEED=7 cargo run --example simulate`
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tanodb_actors::sim::harness::seeds;
use tanodb_actors::sim::kit::{
    Check, Draw, Heard, Rested, Simulation, Told, check_vnode, simulate,
};
use tanodb_actors::{Answer, Class, CommandContext, Items, Partition, RingHash, Vnode, key_hash};

struct Counter;

#[derive(Serialize, Deserialize)]
enum Count {
    Add(u64, u64),
    Reset(u64),
}

impl Vnode for Counter {
    type Command = Count;
    type Reply = u64;
    const CLASS: Class = Class::Single;

    fn start(_: Partition) -> Self {
        Self
    }

    fn handle_command(
        &mut self,
        count: Count,
        _: &CommandContext,
        items: &mut Items<'_>,
    ) -> Answer<u64, Count> {
        let read = |items: &Items<'_>, key: &[u8]| {
            items
                .get(key)
                .and_then(|bytes| bytes.first_chunk().copied())
                .map_or(0, u64::from_be_bytes)
        };
        match count {
            Count::Add(counter, amount) => {
                let sum = read(items, &counter.to_be_bytes()) + amount;
                items.put(&counter.to_be_bytes(), sum.to_be_bytes().to_vec());
                Answer::Reply(sum)
            }
            Count::Reset(counter) => {
                let sum = read(items, &counter.to_be_bytes());
                items.remove(&counter.to_be_bytes());
                Answer::Reply(sum)
            }
        }
    }

    fn ring_hash(key: &[u8]) -> RingHash {
        key_hash(b"counters", key)
    }
}

/// Sometimes a counter starts again from nothing.
fn anything(draw: &Draw) -> Count {
    let counter = draw.below(50);
    if draw.one_in(1, 5) { Count::Reset(counter) } else { Count::Add(counter, draw.below(9)) }
}

/// Additions only, so that their sum is known.
fn additions(draw: &Draw) -> (RingHash, Count) {
    let counter = draw.below(50);
    (Counter::ring_hash(&counter.to_be_bytes()), Count::Add(counter, 1 + draw.below(9)))
}

/// Every counter holds what was acknowledged, and no more than what was asked.
fn exact(told: &[Told<Count, u64>], rested: &mut Rested<'_>) -> Result<(), String> {
    let mut sums: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for Told { command, heard, .. } in told {
        let Count::Add(counter, amount) = command else { continue };
        let (least, most) = sums.entry(*counter).or_default();
        *least += if let Heard::Done(_) = heard { *amount } else { 0 };
        *most += if let Heard::NotExecuted(_) = heard { 0 } else { *amount };
    }
    for (counter, (least, most)) in sums {
        let hash = Counter::ring_hash(&counter.to_be_bytes());
        let sum = rested.ask::<Counter>(hash, &Count::Add(counter, 0))?;
        if sum < least || sum > most {
            return Err(format!("counter {counter} is {sum}, not {least} to {most}"));
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for seed in seeds(5) {
        let checked = check_vnode::<Counter>(&Check::seeded(seed), anything)?;
        let run = simulate::<Counter>(&Simulation::seeded(seed), additions, exact)?;
        println!(
            "seed {seed}: {} crashes survived alone; {} additions exact over {} transfers and {} faults",
            checked.crashes,
            run.acked,
            run.transfers_completed,
            run.faults.values().sum::<u64>()
        );
    }
    Ok(())
}
