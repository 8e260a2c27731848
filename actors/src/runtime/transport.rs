//! How a node reaches other nodes: byte streams between addresses that are opaque texts.
//!
//! Owns: the traits. The back end over TCP is [`super::tcp`]; the simulator brings its own. What the
//! bytes mean is `wire`'s business.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

/// A future that can be kept, named and sent.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Both directions of one connection.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// One connection, whatever carries it.
pub type BoxIo = Box<dyn Io>;

/// Opens connections and doors.
///
/// Addresses are texts that only the back end understands; over TCP they are `HOST:PORT`.
pub trait Transport: Send + Sync {
    /// Opens a connection. Ends by itself, also when nobody is there.
    ///
    /// # Errors
    ///
    /// `TimedOut` when nobody answered, `ConnectionRefused` when nobody listens; the text names `to`.
    fn connect(&self, to: &str) -> BoxFuture<io::Result<BoxIo>>;

    /// Opens a door at which others can connect, until the listener is dropped.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when another process listens there; the text names `at`.
    fn bind(&self, at: &str) -> BoxFuture<io::Result<Box<dyn Listener>>>;
}

/// An open door.
pub trait Listener: Send {
    /// Where others can connect. With port 0 asked for, the port that was given.
    fn local_address(&self) -> String;

    /// The next connection and the address it came from, which is good for logs only. May be dropped
    /// while it waits: no connection is lost.
    ///
    /// # Errors
    ///
    /// The node is short of something, such as file handles. The door stays open: wait a little, then
    /// ask again.
    fn accept(&mut self) -> BoxFuture<io::Result<(BoxIo, String)>>;
}
