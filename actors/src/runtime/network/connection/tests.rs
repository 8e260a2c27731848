//! Connections over pipes in memory: order, bounds, and what becomes of a frame when one end is gone.

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::wire::frame::encode;

fn near_and_far(pipe_bytes: usize, limits: ConnectionLimits) -> (Connection, DuplexStream) {
    let (near, far) = tokio::io::duplex(pipe_bytes);
    (Connection::over(Box::new(near), "far".to_owned(), limits), far)
}

fn both(pipe_bytes: usize) -> (Connection, Connection) {
    let (near, far) = near_and_far(pipe_bytes, ConnectionLimits::default());
    (near, Connection::over(Box::new(far), "near".to_owned(), ConnectionLimits::default()))
}

fn of_bytes(id: u64, length: usize) -> Frame {
    Frame { kind: 7, id, body: vec![1; length].into() }
}

#[actix::test]
async fn frames_cross_both_ways_in_order() {
    let (mut near, mut far) = both(100);
    for id in 0..50 {
        near.writer.send(of_bytes(id, 300)).await.unwrap();
        far.writer.try_send(of_bytes(id, 10)).unwrap();
    }
    for id in 0..50 {
        assert_eq!(far.reader.next().await.unwrap(), Some(of_bytes(id, 300)));
        assert_eq!(near.reader.next().await.unwrap(), Some(of_bytes(id, 10)));
    }
}

#[actix::test]
async fn what_was_queued_arrives_before_the_end_when_the_writers_are_gone() {
    let (Connection { writer, .. }, mut far) = both(100);
    let clone = writer.clone();
    clone.try_send(of_bytes(1, 1_000)).unwrap();
    drop((clone, writer));
    assert_eq!(far.reader.next().await.unwrap(), Some(of_bytes(1, 1_000)));
    assert_eq!(far.reader.next().await.unwrap(), None);
}

#[actix::test]
async fn a_full_queue_refuses_by_frames() {
    let limits = ConnectionLimits { queue_frames: 2, ..ConnectionLimits::default() };
    let (near, _far) = near_and_far(10, limits);
    near.writer.try_send(of_bytes(1, 10)).unwrap();
    near.writer.try_send(of_bytes(2, 10)).unwrap();
    assert_eq!(near.writer.try_send(of_bytes(3, 10)), Err(WriteError::Full));
}

#[actix::test]
async fn a_full_queue_refuses_by_bytes_until_the_stream_took_some() {
    let (near, mut far) = near_and_far(10, ConnectionLimits::default());
    near.writer.try_send(of_bytes(1, FRAME_BYTES_MAX)).unwrap();
    assert_eq!(near.writer.try_send(of_bytes(2, 2 * 1024 * 1024)), Err(WriteError::Full));

    let waits = near.writer.send(of_bytes(2, 2 * 1024 * 1024));
    let mut taken = vec![0; 2 * 1024 * 1024];
    let (sent, read) = tokio::join!(waits, far.read_exact(&mut taken));
    sent.unwrap();
    read.unwrap();
}

#[actix::test]
async fn a_frame_no_peer_accepts_is_refused_and_the_connection_goes_on() {
    let (near, mut far) = both(1_000);
    let length = FRAME_BYTES_MAX + 1;
    assert_eq!(near.writer.try_send(of_bytes(1, length)), Err(WriteError::TooLong { length }));
    near.writer.try_send(of_bytes(2, 1)).unwrap();
    assert_eq!(far.reader.next().await.unwrap(), Some(of_bytes(2, 1)));
}

#[actix::test]
async fn a_peer_that_takes_nothing_for_too_long_ends_the_writing() {
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    let (near, _far) = near_and_far(10, ConnectionLimits::default());
    near.writer.try_send(of_bytes(1, 100)).unwrap();
    near.writer.closed().await;
    assert_eq!(near.writer.send(of_bytes(2, 1)).await, Err(WriteError::Closed));
    let waited = started.elapsed();
    assert!(waited >= WRITE_STALL_MAX && waited < WRITE_STALL_MAX + Duration::from_millis(10));
    assert_eq!(near.writer.taken_bytes(), 10);
}

#[actix::test]
async fn a_peer_that_takes_a_byte_now_and_then_is_waited_for() {
    tokio::time::pause();
    let (near, mut far) = near_and_far(1, ConnectionLimits::default());
    near.writer.try_send(of_bytes(1, 0)).unwrap();
    for _ in 0..FRAME_HEADER_BYTES {
        tokio::time::sleep(WRITE_STALL_MAX - Duration::from_secs(1)).await;
        far.read_u8().await.unwrap();
    }
    assert_eq!(near.writer.taken_bytes(), FRAME_HEADER_BYTES as u64);
}

#[actix::test]
async fn cutting_tells_how_much_the_peer_can_have_and_writes_no_more() {
    let (near, mut far) = near_and_far(40, ConnectionLimits::default());
    near.writer.try_send(of_bytes(1, 0)).unwrap();
    near.writer.try_send(of_bytes(2, 100)).unwrap();
    let mut first = [0; FRAME_HEADER_BYTES];
    far.read_exact(&mut first).await.unwrap();
    tokio::task::yield_now().await;

    let taken = near.writer.cut();
    assert!((FRAME_HEADER_BYTES as u64..124).contains(&taken), "{taken}");
    assert_eq!(near.writer.try_send(of_bytes(3, 0)), Err(WriteError::Closed));
    drop(near);
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).await.unwrap();
    assert_eq!((first.len() + rest.len()) as u64, taken);
}

#[actix::test]
async fn a_frame_over_the_limit_is_refused_and_the_limit_can_be_raised() {
    let limits = ConnectionLimits { frame_bytes_max: 10, ..ConnectionLimits::default() };
    let (mut near, mut far) = near_and_far(1_000, limits);
    near.reader.set_limit(20);
    let mut bytes = bytes::BytesMut::new();
    encode(&of_bytes(1, 20), &mut bytes).unwrap();
    encode(&of_bytes(2, 21), &mut bytes).unwrap();
    far.write_all(&bytes).await.unwrap();
    assert_eq!(near.reader.next().await.unwrap(), Some(of_bytes(1, 20)));
    let error = near.reader.next().await.unwrap_err();
    assert!(matches!(error, ConnectionError::Frame(_)), "{error}");
}

#[actix::test]
async fn a_reader_dropped_while_it_waits_loses_nothing() {
    let (mut near, mut far) = near_and_far(1_000, ConnectionLimits::default());
    let mut bytes = bytes::BytesMut::new();
    encode(&of_bytes(1, 50), &mut bytes).unwrap();
    for half in bytes.chunks(40) {
        assert!(near.reader.next().now_or_never().is_none(), "no whole frame has arrived");
        far.write_all(half).await.unwrap();
    }
    assert_eq!(near.reader.next().await.unwrap(), Some(of_bytes(1, 50)));
}

#[test]
fn a_message_survives_its_frame_and_another_body_does_not_parse() {
    let there = frame(3, 9, &("text".to_owned(), 5_u8));
    assert_eq!((there.kind, there.id), (3, 9));
    assert_eq!(parse::<(String, u8)>(&there), Ok(("text".to_owned(), 5)));
    assert!(parse::<Vec<u64>>(&there).unwrap_err().to_string().contains("kind 3"));
}
