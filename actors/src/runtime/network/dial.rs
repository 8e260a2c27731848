//! The side that connects: opens a connection and says hello.
//!
//! Used by the links to members, by the source of a transfer, by a node that joins and by clients. It
//! does not judge the welcome: whoever dialled knows whom it expected.

use std::io;
use std::time::Duration;

use super::connection::{
    Connection, ConnectionError, ConnectionLimits, ParseError, WriteError, frame, parse,
};
use crate::runtime::env::Env;
use crate::wire::door::HELLO_BYTES_MAX;
use crate::wire::frame::Frame;
use crate::wire::message::{Hello, Refusal, Welcome, kind};

/// How long the connection may take to open, and then how long the answer to the hello may take.
///
/// Long enough for a lost SYN packet, which is sent again after 1 s.
pub const DIAL_STEP_MAX: Duration = Duration::from_secs(2);

/// Why there is no connection. Nothing was asked of the other side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nobody is there, or nobody can be reached.
    #[error(transparent)]
    Unreachable(#[from] io::Error),
    /// Nobody answered, not even with a refusal.
    #[error("{address} does not answer within {DIAL_STEP_MAX:?}")]
    Silent {
        /// Who was dialled.
        address: String,
    },
    /// The other side refuses this node.
    #[error(transparent)]
    Refused(Refusal),
    /// The connection ended before the hello was answered.
    #[error("{address} closed the connection before it answered the hello")]
    Closed {
        /// Who was dialled.
        address: String,
    },
    /// What came is no frame.
    #[error(transparent)]
    Broken(#[from] ConnectionError),
    /// What came is a frame, but no answer to a hello.
    #[error("the answer to the hello cannot be understood: {0}")]
    NotUnderstood(#[from] ParseError),
}

/// Connects to `address`, says hello and waits for the welcome. May be dropped while it waits.
///
/// # Errors
///
/// [`DialError`]; the connection is closed.
pub async fn dial(
    env: &Env,
    address: &str,
    hello: &Hello,
    limits: ConnectionLimits,
) -> Result<(Connection, Welcome), DialError> {
    let silent = |_| DialError::Silent { address: address.to_owned() };
    let opened = env.clock.timeout(DIAL_STEP_MAX, env.transport.connect(address)).await;
    let io = opened.map_err(silent)??;
    let cautious = ConnectionLimits { frame_bytes_max: HELLO_BYTES_MAX, ..limits };
    let mut connection = Connection::over(io, address.to_owned(), cautious);
    let greeted = env.clock.timeout(DIAL_STEP_MAX, greet(&mut connection, hello)).await;
    let welcome = greeted.map_err(silent)??;
    connection.reader.set_limit(limits.frame_bytes_max);
    Ok((connection, welcome))
}

async fn greet(connection: &mut Connection, hello: &Hello) -> Result<Welcome, DialError> {
    let closed = |connection: &Connection| DialError::Closed { address: connection.peer.clone() };
    match connection.writer.send(frame(kind::HELLO, 0, hello)).await {
        Ok(()) => {}
        Err(WriteError::Closed | WriteError::Full | WriteError::TooLong { .. }) => {
            return Err(closed(connection));
        }
    }
    match connection.reader.next().await? {
        Some(frame) => answer_to_hello(&frame),
        None => Err(closed(connection)),
    }
}

fn answer_to_hello(frame: &Frame) -> Result<Welcome, DialError> {
    match frame.kind {
        kind::WELCOME => Ok(parse::<Welcome>(frame)?),
        kind::REFUSAL => Err(DialError::Refused(parse::<Refusal>(frame)?)),
        other => {
            let detail = "neither a welcome nor a refusal".to_owned();
            Err(DialError::NotUnderstood(ParseError { kind: other, detail }))
        }
    }
}
