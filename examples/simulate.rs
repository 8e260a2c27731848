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
struct Count {
    counter: u64,
    /// `None` has the counter start again.
    amount: Option<u64>,
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
        let Count { counter, amount } = count;
        let key = counter.to_be_bytes();
        let stored = items.get(&key).and_then(|bytes| bytes.first_chunk().copied());
        let sum = stored.map_or(0, u64::from_be_bytes) + amount.unwrap_or(0);
        match amount {
            Some(_) => items.put(&key, sum.to_be_bytes().to_vec()),
            None => items.remove(&key),
        }
        Answer::Reply(sum)
    }

    fn ring_hash(key: &[u8]) -> RingHash {
        key_hash(b"counters", key)
    }
}

fn anything(draw: &Draw) -> Count {
    let amount = (!draw.one_in(1, 5)).then(|| draw.below(9));
    Count { counter: draw.below(50), amount }
}

/// Additions only, so that their sum is known.
fn additions(draw: &Draw) -> (RingHash, Count) {
    let counter = draw.below(50);
    let add = Count { counter, amount: Some(1 + draw.below(9)) };
    (Counter::ring_hash(&counter.to_be_bytes()), add)
}

/// Every counter holds what was acknowledged, and no more than what was asked.
fn exact(told: &[Told<Count, u64>], rested: &mut Rested<'_>) -> Result<(), String> {
    let mut sums: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for Told { command, heard, .. } in told {
        let (least, most) = sums.entry(command.counter).or_default();
        let amount = command.amount.unwrap_or(0);
        *least += if let Heard::Done(_) = heard { amount } else { 0 };
        *most += if let Heard::NotExecuted(_) = heard { 0 } else { amount };
    }
    for (counter, (least, most)) in sums {
        let hash = Counter::ring_hash(&counter.to_be_bytes());
        let sum = rested.ask::<Counter>(hash, &Count { counter, amount: Some(0) })?;
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
        let (crashes, acked, moved) = (checked.crashes, run.acked, run.transfers_completed);
        let faults: u64 = run.faults.values().sum();
        println!(
            "seed {seed}: {crashes} crashes; {acked} additions, {moved} moves, {faults} faults"
        );
    }
    Ok(())
}
