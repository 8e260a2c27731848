//! Timers in virtual time.

use actix::{Actor, Context, Handler};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::*;
use crate::runtime::env::testing;

/// Passes on what it hears, with the moment.
struct Probe {
    clock: Clock,
    heard: mpsc::UnboundedSender<(u64, &'static str)>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Rang(&'static str);

impl Actor for Probe {
    type Context = Context<Self>;
}

impl Handler<Rang> for Probe {
    type Result = ();

    fn handle(&mut self, Rang(text): Rang, _: &mut Context<Self>) {
        let millis = self.clock.now().0 / 1_000;
        self.heard.send((millis, text)).unwrap();
    }
}

struct Scene {
    env: Env,
    timers: Timers,
    probe: Recipient<Rang>,
    heard: mpsc::UnboundedReceiver<(u64, &'static str)>,
}

impl Scene {
    fn new() -> Self {
        let env = testing::env("ada@here", 1);
        let (sender, heard) = mpsc::unbounded_channel();
        let probe = Probe { clock: env.clock.clone(), heard: sender }.start().recipient();
        Self { timers: Timers::start(&env), env, probe, heard }
    }

    fn after(&self, millis: u64, text: &'static str) -> TimerId {
        let wait = Duration::from_millis(millis);
        self.timers.after(wait, self.probe.clone(), Rang(text)).unwrap()
    }

    async fn heard_until(&mut self, millis: u64) -> Vec<(u64, &'static str)> {
        self.env.clock.sleep_until(Moment(millis * 1_000)).await;
        // Let what is due at this very moment be heard too.
        self.env.clock.sleep(Duration::from_millis(1)).await;
        std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn messages_arrive_at_their_moment_in_the_order_of_moments_then_of_calls() {
    let story = async {
        let mut scene = Scene::new();
        scene.after(50, "third");
        scene.after(20, "first");
        scene.after(20, "second");
        scene.after(0, "at once");
        let expected = [(0, "at once"), (20, "first"), (20, "second"), (50, "third")];
        assert_eq!(scene.heard_until(60).await, expected);
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test(start_paused = true)]
async fn an_earlier_timer_set_later_does_not_wait_for_the_first() {
    let story = async {
        let mut scene = Scene::new();
        scene.after(1_000, "late");
        assert_eq!(scene.heard_until(10).await, []);
        scene.after(30, "early");
        assert_eq!(scene.heard_until(100).await, [(41, "early")]);
        assert_eq!(scene.heard_until(2_000).await, [(1_000, "late")]);
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_timer_stays_silent() {
    let story = async {
        let mut scene = Scene::new();
        let dropped = scene.after(20, "dropped");
        let kept = scene.after(20, "kept");
        assert!(scene.timers.cancel(dropped));
        assert!(!scene.timers.cancel(dropped), "only once");
        assert_eq!(scene.heard_until(30).await, [(20, "kept")]);
        assert!(!scene.timers.cancel(kept), "too late");
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test(start_paused = true)]
async fn one_timer_too_many_is_refused_and_fits_when_another_has_gone() {
    let story = async {
        let scene = Scene::new();
        let ids: Vec<_> = (0..TIMERS_MAX).map(|_| scene.after(10, "one of many")).collect();
        let refused = scene.timers.after(Duration::ZERO, scene.probe.clone(), Rang("no room"));
        assert_eq!(refused, Err(TimersFull));
        assert!(scene.timers.cancel(ids[7]));
        scene.after(10, "room");
        assert_eq!(scene.timers.waiting(), TIMERS_MAX);
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test(start_paused = true)]
async fn thousands_due_at_once_let_others_run_in_between() {
    let story = async {
        let scene = Scene::new();
        for _ in 0..10 * DELIVERIES_IN_A_ROW {
            scene.after(5, "one of many");
        }
        let (clock, timers) = (scene.env.clock.clone(), scene.timers.clone());
        let other = actix_rt::spawn(async move {
            clock.sleep_until(Moment(5_000)).await;
            let mut turns = 0;
            while timers.waiting() > 0 {
                turns += 1;
                tokio::task::yield_now().await;
            }
            turns
        });
        let turns: u32 = other.await.unwrap();
        assert!((5..=20).contains(&turns), "{turns}");
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_takes_the_task_and_the_waiting_messages_with_it() {
    let story = async {
        let Scene { env, timers, probe, mut heard } = Scene::new();
        let clone = timers.clone();
        timers.after(Duration::from_secs(5), probe, Rang("never")).unwrap();
        drop(timers);
        env.clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(clone.waiting(), 1, "a handle is left");
        drop(clone);
        // The probe lives only through its recipients: its end shows that the messages are gone.
        assert_eq!(heard.recv().await, None);
        assert_eq!(env.clock.now(), Moment(1_000_000), "and not only when they were due");
    };
    LocalSet::new().run_until(story).await;
}
