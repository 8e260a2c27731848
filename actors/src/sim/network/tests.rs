//! The network behaves as TCP does: each promise of the module, tried between hosts without nodes.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, advance, timeout};

use super::*;
use crate::runtime::transport::{BoxIo, Listener};

const SECOND: Duration = Duration::from_secs(1);

/// Nothing is lost, and everything takes a millisecond.
fn quick() -> NetworkSettings {
    let millisecond = Duration::from_millis(1);
    NetworkSettings {
        delay_min: millisecond,
        delay_max: millisecond,
        lost_per_mille: 0,
        ..NetworkSettings::default()
    }
}

fn network(settings: NetworkSettings) -> Network {
    Network::new(settings, Rng::seeded(5), Trace::begun())
}

async fn door(network: &Network, host: &str) -> Box<dyn Listener> {
    network.transport_of(host).bind(&format!("{host}:1")).await.unwrap()
}

/// A connection from ada to bob: the ends of both.
async fn connected(network: &Network) -> (BoxIo, BoxIo) {
    let mut door = door(network, "bob").await;
    let calling = network.transport_of("ada").connect("bob:1");
    let (ada, accepted) = tokio::join!(calling, door.accept());
    (ada.unwrap(), accepted.unwrap().0)
}

/// How a read ends that must not go well.
async fn broken(io: &mut BoxIo) -> ErrorKind {
    io.read_u8().await.unwrap_err().kind()
}

#[tokio::test(start_paused = true)]
async fn bytes_arrive_whole_and_in_order_whatever_is_lost() {
    for seed in 0..20 {
        let settings = NetworkSettings { lost_per_mille: 300, ..NetworkSettings::default() };
        let network = Network::new(settings, Rng::seeded(seed), Trace::begun());
        let (mut ada, mut bob) = connected(&network).await;
        let sent: Vec<u8> = (0..20_000_u32).flat_map(u32::to_be_bytes).collect();
        let mut arrived = Vec::new();
        let writing = async {
            for piece in sent.chunks(777) {
                ada.write_all(piece).await.unwrap();
            }
            ada.shutdown().await.unwrap();
        };
        let (_, read) = tokio::join!(writing, bob.read_to_end(&mut arrived));
        assert_eq!(read.unwrap(), sent.len());
        assert!(arrived == sent, "seed {seed}");
        assert!(network.counts().retransmitted > 0, "seed {seed} lost nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_over_a_cut_link_arrives_when_it_heals() {
    let network = network(quick());
    let (mut ada, mut bob) = connected(&network).await;
    network.cut_one_way("ada", "bob");
    ada.write_all(b"late").await.unwrap();
    assert!(timeout(SECOND * 5, bob.read_u8()).await.is_err(), "the link is cut");
    network.heal("ada", "bob");
    let mut arrived = [0; 4];
    timeout(SECOND, bob.read_exact(&mut arrived)).await.unwrap().unwrap();
    assert_eq!(&arrived, b"late");
    assert_eq!(network.counts().cut, 1);
}

#[tokio::test(start_paused = true)]
async fn what_has_arrived_before_a_cut_can_be_read_behind_it() {
    let network = network(quick());
    let (mut ada, mut bob) = connected(&network).await;
    ada.write_all(b"a").await.unwrap();
    advance(Duration::from_millis(2)).await;
    network.cut_one_way("ada", "bob");
    assert_eq!(timeout(SECOND, bob.read_u8()).await.unwrap().unwrap(), b'a');
    advance(SECOND * 60).await;
    assert!(timeout(SECOND, ada.read_u8()).await.is_err(), "nothing went unacknowledged");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_cut_one_way_carries_bytes_the_other_way() {
    let network = network(quick());
    let (mut ada, mut bob) = connected(&network).await;
    network.cut_one_way("ada", "bob");
    bob.write_all(b"b").await.unwrap();
    assert_eq!(timeout(SECOND, ada.read_u8()).await.unwrap().unwrap(), b'b');
    assert_eq!(broken(&mut bob).await, ErrorKind::TimedOut, "ada's acknowledgement is lost");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_heals_does_not_touch_other_links() {
    let network = network(quick());
    let (mut ada, mut bob) = connected(&network).await;
    network.cut_one_way("cyd", "dan");
    ada.write_all(b"a").await.unwrap();
    network.heal_all();
    let begun = Instant::now();
    bob.read_u8().await.unwrap();
    assert!(begun.elapsed() <= Duration::from_millis(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_sender_without_acknowledgement_is_told_in_time() {
    let network = network(quick());
    let (mut ada, _bob) = connected(&network).await;
    network.cut_one_way("bob", "ada");
    ada.write_all(b"a").await.unwrap();
    let begun = Instant::now();
    assert_eq!(broken(&mut ada).await, ErrorKind::TimedOut);
    assert_eq!(begun.elapsed().as_secs(), quick().dead_after.as_secs());
    assert_eq!(network.counts().timed_out, 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_outlives_a_cut() {
    let network = network(quick());
    let (mut ada, mut bob) = connected(&network).await;
    network.cut_one_way("ada", "bob");
    network.cut_one_way("bob", "ada");
    assert!(timeout(SECOND * 600, ada.read_u8()).await.is_err());
    network.heal("ada", "bob");
    bob.write_all(b"b").await.unwrap();
    assert_eq!(ada.read_u8().await.unwrap(), b'b');
}

#[tokio::test(start_paused = true)]
async fn who_closes_is_heard_behind_what_was_sent() {
    let network = network(quick());
    let (mut ada, mut bob) = connected(&network).await;
    ada.write_all(b"last words").await.unwrap();
    drop(ada);
    let mut arrived = Vec::new();
    bob.read_to_end(&mut arrived).await.unwrap();
    assert_eq!(arrived, b"last words");
    bob.write_all(b"hello?").await.unwrap();
    assert_eq!(broken_write(&mut bob).await, ErrorKind::ConnectionReset);
}

/// How writing ends when it does not go well any more.
async fn broken_write(io: &mut BoxIo) -> ErrorKind {
    loop {
        advance(Duration::from_millis(5)).await;
        if let Err(error) = io.write_all(b"x").await {
            return error.kind();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_power_says_nothing_until_it_is_back_and_written_to() {
    let network = network(quick());
    let (ada, mut bob) = connected(&network).await;
    network.power_off("ada");
    drop(ada);
    assert!(timeout(SECOND * 600, bob.read_u8()).await.is_err(), "nobody says anything");
    network.power_on("ada");
    assert!(timeout(SECOND * 600, bob.read_u8()).await.is_err(), "it knows nothing of bob");
    bob.write_all(b"hello?").await.unwrap();
    assert_eq!(broken(&mut bob).await, ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn who_has_written_to_a_machine_without_power_is_told_by_its_silence_or_its_return() {
    for returns in [false, true] {
        let network = network(quick());
        let (ada, mut bob) = connected(&network).await;
        network.power_off("ada");
        drop(ada);
        bob.write_all(b"hello?").await.unwrap();
        advance(SECOND).await;
        if returns {
            network.power_on("ada");
        }
        let told = if returns { ErrorKind::ConnectionReset } else { ErrorKind::TimedOut };
        assert_eq!(broken(&mut bob).await, told);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_machine_had_sent_before_its_power_went_arrives() {
    let network = network(quick());
    let (mut ada, mut bob) = connected(&network).await;
    ada.write_all(b"a").await.unwrap();
    network.power_off("ada");
    drop(ada);
    assert_eq!(bob.read_u8().await.unwrap(), b'a');
    assert!(timeout(SECOND * 600, bob.read_u8()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn nobody_answers_where_nobody_listens_or_nothing_is_heard() {
    let network = network(quick());
    let transport = network.transport_of("ada");
    let refused = transport.connect("bob:1").await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(refused.to_string().contains("bob:1"), "{refused}");

    let _door = door(&network, "bob").await;
    network.cut_one_way("bob", "ada");
    let begun = Instant::now();
    let silent = transport.connect("bob:1").await.err().unwrap();
    assert_eq!(silent.kind(), ErrorKind::TimedOut);
    assert_eq!(begun.elapsed().as_secs(), quick().connect_within.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_call_over_a_cut_link_is_heard_when_the_link_heals() {
    let network = network(quick());
    let mut door = door(&network, "bob").await;
    network.cut_one_way("ada", "bob");
    let calling = network.transport_of("ada").connect("bob:1");
    let healing = async {
        tokio::time::sleep(SECOND * 4).await;
        network.heal("ada", "bob");
    };
    let (called, accepted, ()) = tokio::join!(calling, door.accept(), healing);
    assert!(called.is_ok() && accepted.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_address_is_taken_until_its_door_is_closed() {
    let network = network(quick());
    let door = door(&network, "bob").await;
    let transport = network.transport_of("bob");
    let taken = transport.bind("bob:1").await.err().unwrap();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    drop(door);
    assert!(transport.bind("bob:1").await.is_ok());
    let any = transport.bind("bob:0").await.unwrap();
    assert_ne!(any.local_address(), "bob:0");
}

#[tokio::test(start_paused = true)]
async fn a_door_takes_no_more_callers_than_it_has_room_for() {
    let network = network(quick());
    let door = door(&network, "bob").await;
    let transport = network.transport_of("ada");
    let mut callers = Vec::new();
    let refused = loop {
        match transport.connect("bob:1").await {
            Ok(io) => callers.push(io),
            Err(error) => break error.kind(),
        }
    };
    assert_eq!((callers.len(), refused), (128, ErrorKind::ConnectionRefused));
    drop(door);
    let end = callers[0].read(&mut [0; 8]).await;
    assert_eq!(end.unwrap(), 0, "who waits at a door that closes is told");
}

#[tokio::test(start_paused = true)]
async fn both_ends_of_a_reset_connection_are_told() {
    let network = network(quick());
    let (mut ada, mut bob) = connected(&network).await;
    network.reset("bob", "ada");
    for end in [&mut ada, &mut bob] {
        assert_eq!(broken(end).await, ErrorKind::ConnectionReset);
    }
    assert_eq!(network.counts().reset, 1);
}

#[tokio::test(start_paused = true)]
async fn the_other_end_of_a_half_open_connection_is_told_when_it_writes() {
    let network = network(quick());
    let (mut ada, mut bob) = connected(&network).await;
    network.half_open("ada", "bob");
    assert_eq!(broken(&mut ada).await, ErrorKind::ConnectionReset);
    drop(ada);
    assert!(timeout(SECOND * 600, bob.read_u8()).await.is_err(), "bob has not heard of it");
    bob.write_all(b"hello?").await.unwrap();
    assert_eq!(broken(&mut bob).await, ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_takes_its_time_and_the_way_back_does_not() {
    let network = network(quick());
    let (mut ada, mut bob) = connected(&network).await;
    network.limit("ada", "bob", Some(1_000));
    let begun = Instant::now();
    ada.write_all(&[0; 10_000]).await.unwrap();
    bob.write_all(b"b").await.unwrap();
    ada.read_u8().await.unwrap();
    assert!(begun.elapsed() < SECOND);
    bob.read_exact(&mut [0; 10_000]).await.unwrap();
    assert!((10..=11).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    network.limit("ada", "bob", None);
    ada.write_all(&[0; 10_000]).await.unwrap();
    let begun = Instant::now();
    bob.read_exact(&mut [0; 10_000]).await.unwrap();
    assert!(begun.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_when_as_much_is_on_its_way_as_there_may_be() {
    let network = network(NetworkSettings { window: 1_000, ..quick() });
    let (mut ada, mut bob) = connected(&network).await;
    assert!(timeout(SECOND * 60, ada.write_all(&[0; 1_001])).await.is_err(), "nobody reads");
    bob.read_exact(&mut [0; 600]).await.unwrap();
    assert!(timeout(SECOND, ada.write_all(&[0; 600])).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_connection_that_nobody_holds() {
    let network = network(quick());
    for fault in 0..5 {
        let (mut ada, mut bob) = connected(&network).await;
        assert_eq!(network.open_connections(), 1);
        match fault {
            0 => {}
            1 => network.reset("ada", "bob"),
            2 => network.half_open("bob", "ada"),
            3 => network.power_off("bob"),
            _ => {
                network.cut_one_way("ada", "bob");
                let _ = ada.write_all(b"a").await;
                advance(SECOND * 60).await;
                let _ = broken(&mut ada).await;
            }
        }
        let _ = bob.write_all(b"b").await;
        drop(ada);
        drop(bob);
        assert_eq!(network.open_connections(), 0, "fault {fault}");
        network.heal_all();
        network.power_on("bob");
    }
}
