//! How fast the simulator runs: virtual seconds in a real one, on one thread, with every promise checked.

use std::time::{Duration, Instant};

use tanodb_actors::protocol::rules::Rules;
use tanodb_actors::runtime::node::NodeSettings;
use tanodb_actors::sim::failure::Failure;

use super::draw::KEYS;
use super::plan::{Ask, Asked, Plan, Quality};
use super::play::Play;

/// One measurement: nodes, requests in a second, virtual seconds.
const CASES: [(u8, u64, u64); 3] = [(5, 50, 120), (5, 2_500, 10), (20, 50, 60)];

/// Partitions of each.
const RING_SIZE: u32 = 64;

/// Prints a line for each case.
pub fn speed() -> Result<(), Failure> {
    println!("  nodes  partitions  requests/s  virtual s   real s  virtual s per real s");
    for (nodes, rate, seconds) in CASES {
        let mut play = Play::new(plan(nodes, rate, seconds), Rules::default());
        let real = play.timed()?.as_secs_f64();
        let ratio = seconds as f64 / real;
        println!(
            "  {nodes:>5}  {RING_SIZE:>10}  {rate:>10}  {seconds:>9}  {real:>7.3}  {ratio:>20.0}"
        );
    }
    Ok(())
}

/// Every second request is a put, every other one a get, by turns through all nodes.
fn plan(nodes: u8, rate: u64, seconds: u64) -> Plan {
    let ask = |number: u64| {
        let key = u16::try_from(number / 2 % u64::from(KEYS)).unwrap_or(0);
        let what = if number.is_multiple_of(2) {
            Asked::Put { key, strict: true }
        } else {
            Asked::Get { key, strict: true }
        };
        let at = Duration::from_micros(number * 1_000_000 / rate);
        Ask { at, of: u8::try_from(number % u64::from(nodes)).unwrap_or(0), what }
    };
    Plan {
        seed: 1,
        founders: nodes,
        ring_size: RING_SIZE,
        quality: Quality::Busy,
        page_items: 1_024,
        transfer_limit: 4,
        permits: NodeSettings::default().permits,
        hinted_idle: Duration::from_secs(5),
        active: Duration::from_secs(seconds),
        asks: (0..rate * seconds).map(ask).collect(),
        changes: Vec::new(),
        faults: Vec::new(),
    }
}

impl Play {
    /// Forms the cluster, and measures the real time that the active part of the plan takes.
    fn timed(&mut self) -> Result<Duration, Failure> {
        self.begin()?;
        let began = Instant::now();
        self.run_to(self.plan.active)?;
        Ok(began.elapsed())
    }
}
