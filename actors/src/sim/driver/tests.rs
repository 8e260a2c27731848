//! The driver's promises, with tasks that are no nodes.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Poll;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn driver(seed: u64) -> Driver {
    Driver::new(Rng::seeded(seed))
}

/// Lets so much time pass, whoever says what.
fn pass(driver: &mut Driver, time: Duration) -> Result<Returned, Failure> {
    let deadline = driver.now() + time;
    driver.run_until(deadline, &mut || Look::On)
}

/// What tasks leave behind, in order.
type Notes<T> = Rc<RefCell<Vec<T>>>;

async fn ticks(notes: Notes<Duration>, began: Instant) {
    loop {
        tokio::time::sleep(SECOND).await;
        notes.borrow_mut().push(began.elapsed());
    }
}

#[test]
fn time_leaps_to_the_next_timer_and_stands_still_while_something_runs() {
    let mut driver = driver(1);
    let (notes, began) = (Notes::default(), driver.now());
    driver.open(ticks(Rc::clone(&notes), began));
    assert_eq!(pass(&mut driver, SECOND * 3), Ok(Returned::Elapsed));
    assert_eq!(*notes.borrow(), [SECOND, SECOND * 2, SECOND * 3], "also what is due at the end");
    assert_eq!(driver.now().duration_since(began), SECOND * 3);
}

#[test]
fn a_task_that_wakes_itself_without_end_is_a_livelock() {
    let mut driver = driver(1);
    driver.open(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
    let failed = pass(&mut driver, SECOND).unwrap_err();
    assert!(matches!(failed, Failure::Livelock { polls } if polls > POLLS_AT_AN_INSTANT_MAX));
}

#[test]
fn two_tasks_that_wake_each_other_without_end_are_a_livelock() {
    let mut driver = driver(1);
    let ball = Rc::new(tokio::sync::Notify::new());
    let back = Rc::new(tokio::sync::Notify::new());
    for (mine, theirs) in [(&ball, &back), (&back, &ball)] {
        let (mine, theirs) = (Rc::clone(mine), Rc::clone(theirs));
        driver.open(async move {
            loop {
                theirs.notify_one();
                mine.notified().await;
            }
        });
    }
    assert!(matches!(pass(&mut driver, SECOND), Err(Failure::Livelock { .. })));
}

#[test]
fn work_that_takes_time_is_no_livelock() {
    let mut driver = driver(1);
    driver.open(async {
        for _ in 0..POLLS_AT_AN_INSTANT_MAX / 190 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
        }
    });
    assert_eq!(pass(&mut driver, SECOND * 10), Ok(Returned::Elapsed));
    assert!(driver.polls() > POLLS_AT_AN_INSTANT_MAX);
}

#[test]
fn a_panic_fails_the_run_with_what_it_said() {
    let mut driver = driver(1);
    driver.open(async { panic!("this panic belongs to the test") });
    let Err(Failure::Panicked { message }) = pass(&mut driver, SECOND) else {
        panic!("the run went on")
    };
    assert!(message.contains("this panic belongs to the test"), "{message}");
}

#[test]
fn a_panic_in_a_later_task_of_a_home_fails_the_run_too() {
    let mut driver = driver(1);
    let home = driver.open(std::future::pending());
    assert_eq!(pass(&mut driver, SECOND), Ok(Returned::Elapsed));
    driver.spawn(home, async {
        tokio::time::sleep(SECOND).await;
        panic!("this panic belongs to the test");
    });
    assert!(matches!(pass(&mut driver, SECOND * 2), Err(Failure::Panicked { .. })));
}

#[test]
fn a_panic_that_is_expected_ends_its_task_alone() {
    let mut driver = driver(1);
    driver.expect_panics();
    let (notes, began) = (Notes::default(), driver.now());
    let home = driver.open(async { panic!("this panic belongs to the test") });
    driver.spawn(home, ticks(Rc::clone(&notes), began));
    assert_eq!(pass(&mut driver, SECOND * 2), Ok(Returned::Elapsed));
    assert_eq!(notes.borrow().len(), 2);
}

#[test]
fn a_panic_of_another_run_is_not_this_runs() {
    let mut quiet = driver(1);
    let mut loud = driver(2);
    quiet.open(std::future::pending());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut elsewhere = driver(3);
            elsewhere.open(async { panic!("this panic belongs to the test") });
            assert!(pass(&mut elsewhere, SECOND).is_err());
        });
    });
    loud.open(std::future::pending());
    assert_eq!(pass(&mut quiet, SECOND), Ok(Returned::Elapsed));
    assert_eq!(pass(&mut loud, SECOND), Ok(Returned::Elapsed));
}

#[test]
fn a_paused_home_does_nothing_until_it_goes_on() {
    let mut driver = driver(1);
    let (notes, began) = (Notes::default(), driver.now());
    let home = driver.open(ticks(Rc::clone(&notes), began));
    pass(&mut driver, SECOND).unwrap();
    driver.pause(home);
    pass(&mut driver, SECOND * 10).unwrap();
    assert_eq!(*notes.borrow(), [SECOND]);
    driver.resume(home);
    pass(&mut driver, SECOND).unwrap();
    assert_eq!(
        *notes.borrow(),
        [SECOND, SECOND * 11, SECOND * 12],
        "what was due is late, not lost"
    );
}

/// Notes when it is dropped, by the clock it sees then.
struct Dropped(Notes<Duration>, Instant);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.borrow_mut().push(self.1.elapsed());
    }
}

#[test]
fn a_closed_home_drops_its_tasks_at_that_instant_and_takes_no_more() {
    let mut driver = driver(1);
    let (notes, began) = (Notes::default(), driver.now());
    let held = Dropped(Rc::clone(&notes), began);
    let home = driver.open(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    pass(&mut driver, SECOND * 5).unwrap();
    driver.close(home);
    assert_eq!(*notes.borrow(), [SECOND * 5]);
    assert!(!driver.spawn(home, async {}), "it is closed");
    assert_eq!(pass(&mut driver, SECOND), Ok(Returned::Elapsed));
}

#[test]
fn what_is_left_at_the_end_is_dropped_in_virtual_time() {
    let mut driver = driver(1);
    let (notes, began) = (Notes::default(), driver.now());
    let held = Dropped(Rc::clone(&notes), began);
    driver.open(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    pass(&mut driver, SECOND * 7).unwrap();
    drop(driver);
    assert_eq!(*notes.borrow(), [SECOND * 7]);
}

#[test]
fn who_looks_may_stop_before_anybody_does_anything_more() {
    let mut driver = driver(1);
    let notes: Notes<u32> = Notes::default();
    for number in 0..10 {
        let notes = Rc::clone(&notes);
        driver.open(async move { notes.borrow_mut().push(number) });
    }
    let deadline = driver.now() + SECOND;
    let seen = Rc::clone(&notes);
    let mut look = || if seen.borrow().len() == 3 { Look::Stop } else { Look::On };
    assert_eq!(driver.run_until(deadline, &mut look), Ok(Returned::Stopped));
    assert_eq!(notes.borrow().len(), 3);
    assert_eq!(pass(&mut driver, SECOND), Ok(Returned::Elapsed));
    assert_eq!(notes.borrow().len(), 10);
}

#[test]
fn who_looks_may_fail_the_run() {
    let mut driver = driver(1);
    driver.open(async {});
    let failure = Failure::Broken { invariant: "None", what: "by the test".to_owned() };
    let deadline = driver.now() + SECOND;
    let failed = driver.run_until(deadline, &mut || Look::Failed(failure.clone()));
    assert_eq!(failed, Err(failure));
}

/// The order in which eight homes run that are all woken at once.
fn order(seed: u64) -> Vec<u32> {
    let mut driver = driver(seed);
    let notes: Notes<u32> = Notes::default();
    for number in 0..8 {
        let notes = Rc::clone(&notes);
        driver.open(async move {
            for _ in 0..3 {
                tokio::time::sleep(SECOND).await;
                notes.borrow_mut().push(number);
            }
        });
    }
    pass(&mut driver, SECOND * 4).unwrap();
    notes.take()
}

#[test]
fn the_order_follows_from_the_seed_and_is_another_for_each() {
    let orders: Vec<_> = (0..20).map(order).collect();
    let again: Vec<_> = (0..20).map(order).collect();
    assert_eq!(orders, again);
    for (place, one) in orders.iter().enumerate() {
        assert_eq!(one.len(), 24);
        assert!(!orders[..place].contains(one), "two seeds have one order");
    }
}
