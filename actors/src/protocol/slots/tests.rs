//! Every short sequence of calls against a plain account of who should hold what.

use super::*;

const TTL: Duration = Duration::from_secs(10);

fn transfer(number: u64) -> TransferId {
    TransferId { nonce: 7, number }
}

fn outbound(slots: &Slots) -> Vec<TransferId> {
    slots.leases(Direction::Outbound).held().collect()
}

#[test]
fn each_direction_has_its_own_two_slots() {
    let mut slots = Slots::default();
    for (number, direction) in [
        (1, Direction::Outbound),
        (2, Direction::Inbound),
        (3, Direction::Inbound),
        (4, Direction::Outbound),
    ] {
        assert_eq!(slots.try_lease(transfer(number), direction, Moment::START, TTL), Ok(()));
    }
    let full = slots.try_lease(transfer(5), Direction::Inbound, Moment::START, TTL);
    assert_eq!(full, Err(SlotsFull { limit: 2, held_by: vec![transfer(2), transfer(3)] }));
    assert_eq!(full.unwrap_err().to_string(), "2 of 2 transfer slots are taken");
}

#[test]
fn a_lower_limit_lets_running_transfers_go_on_and_none_begin() {
    let mut slots = Slots::default();
    slots.try_lease(transfer(1), Direction::Outbound, Moment::START, TTL).unwrap();
    slots.set_limit(Direction::Outbound, 0);

    assert_eq!(slots.renew(transfer(1), Moment(5), TTL), Ok(()));
    assert_eq!(slots.try_lease(transfer(1), Direction::Outbound, Moment(5), TTL), Ok(()));
    assert!(slots.try_lease(transfer(2), Direction::Outbound, Moment(5), TTL).is_err());
    assert!(slots.release(transfer(1)));
    assert!(slots.try_lease(transfer(1), Direction::Outbound, Moment(6), TTL).is_err());
}

#[test]
fn a_lease_that_is_not_renewed_comes_back_and_is_named() {
    let mut slots = Slots::with_limit(1);
    slots.try_lease(transfer(1), Direction::Outbound, Moment::START, TTL).unwrap();
    let end = Moment::START.plus(TTL);
    assert_eq!(slots.next_deadline(), Some(end));
    assert_eq!(slots.expire(Moment(end.0 - 1)), vec![]);
    assert_eq!(slots.expire(end), vec![transfer(1)]);
    assert_eq!(slots.expire(end), vec![], "it is named once");
    assert_eq!(slots.renew(transfer(1), end, TTL), Err(NotHeld { id: transfer(1) }));
}

#[test]
fn an_overtaken_renewal_does_not_shorten_the_lease() {
    let mut slots = Slots::with_limit(1);
    slots.try_lease(transfer(1), Direction::Outbound, Moment(9), TTL).unwrap();
    slots.renew(transfer(1), Moment(3), TTL).unwrap();
    assert_eq!(slots.next_deadline(), Some(Moment(9).plus(TTL)));
}

#[derive(Debug, Clone, Copy)]
enum Call {
    Lease(u64, Direction),
    Renew(u64),
    Release(u64),
    Wait,
    Limit(u16),
}

const CALLS: [Call; 10] = [
    Call::Lease(1, Direction::Outbound),
    Call::Lease(2, Direction::Outbound),
    Call::Lease(3, Direction::Inbound),
    Call::Renew(1),
    Call::Renew(3),
    Call::Release(1),
    Call::Release(2),
    Call::Wait,
    Call::Limit(0),
    Call::Limit(1),
];

/// The plain account: who holds an outbound or inbound slot until when.
#[derive(Debug, Clone)]
struct Account {
    now: Moment,
    limit: usize,
    holders: Vec<(u64, Direction, Moment)>,
}

impl Account {
    fn holds(&self, number: u64, direction: Direction) -> bool {
        self.holders.iter().any(|(held, way, _)| (*held, *way) == (number, direction))
    }

    fn count(&self, direction: Direction) -> usize {
        self.holders.iter().filter(|(_, way, _)| *way == direction).count()
    }

    /// Applies one call to both and compares what they say.
    fn apply(&mut self, slots: &mut Slots, call: Call) {
        let end = self.now.plus(TTL);
        match call {
            Call::Lease(number, direction) => {
                let granted = self.holds(number, direction) || self.count(direction) < self.limit;
                let answer = slots.try_lease(transfer(number), direction, self.now, TTL);
                assert_eq!(answer.is_ok(), granted, "{call:?}");
                if granted {
                    self.holders.retain(|(held, way, _)| (*held, *way) != (number, direction));
                    self.holders.push((number, direction, end));
                }
            }
            Call::Renew(number) => {
                let renewed = slots.renew(transfer(number), self.now, TTL).is_ok();
                let mut found = false;
                for holder in self.holders.iter_mut().filter(|holder| holder.0 == number) {
                    holder.2 = end;
                    found = true;
                }
                assert_eq!(renewed, found, "{call:?}");
            }
            Call::Release(number) => {
                slots.release(transfer(number));
                self.holders.retain(|holder| holder.0 != number);
            }
            Call::Wait => {
                self.now = self.now.plus(TTL / 2);
                let mut expired = slots.expire(self.now);
                expired.sort_unstable();
                let now = self.now;
                let mut due: Vec<_> =
                    self.holders.extract_if(.., |holder| holder.2 <= now).collect();
                due.sort_unstable();
                assert_eq!(expired, due.iter().map(|due| transfer(due.0)).collect::<Vec<_>>());
            }
            Call::Limit(limit) => {
                slots.set_limit(Direction::Outbound, limit);
                slots.set_limit(Direction::Inbound, limit);
                self.limit = usize::from(limit);
            }
        }
    }
}

fn walk(slots: &Slots, account: &Account, depth: u32, walked: &mut u64) {
    *walked += 1;
    let held = account.holders.len();
    let counted = slots.leases(Direction::Inbound).held().len() + outbound(slots).len();
    assert_eq!(counted, held, "a slot is held exactly by those who hold it: {account:?}");

    // A slot that nobody renews comes back: nothing leaks, whatever went before.
    let mut later = slots.clone();
    assert_eq!(later.expire(account.now.plus(TTL)).len(), held);
    assert_eq!(later.next_deadline(), None);

    if depth == 0 {
        return;
    }
    for call in CALLS {
        let (mut slots, mut account) = (slots.clone(), account.clone());
        account.apply(&mut slots, call);
        walk(&slots, &account, depth - 1, walked);
    }
}

#[test]
fn no_sequence_of_calls_leaks_a_slot() {
    let account = Account { now: Moment::START, limit: 1, holders: Vec::new() };
    let mut walked = 0;
    walk(&Slots::with_limit(1), &account, 5, &mut walked);
    assert_eq!(walked, 111_111);
}
