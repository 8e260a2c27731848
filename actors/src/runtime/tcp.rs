//! Connections over TCP. The only file that touches sockets.
//!
//! Small messages leave at once (`TCP_NODELAY` on both sides), and a door can be opened again right
//! after a restart (`SO_REUSEADDR`, which tokio sets on every listener). Idle links are not probed
//! here: the mesh has its own heartbeat.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::transport::{BoxFuture, BoxIo, Listener, Transport};

/// How long a connection may take to open, looking the name up included.
///
/// Long enough for two lost SYN packets (sent again after 1 s and 3 s), short enough that an operator
/// still looks at the screen.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// TCP. Addresses are `HOST:PORT`; port 0 asks for any free one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Transport for Tcp {
    fn connect(&self, to: &str) -> BoxFuture<io::Result<BoxIo>> {
        let to = to.to_owned();
        Box::pin(async move {
            let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(&to)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return Err(explain(&error, "connect to", &to)),
                Err(_elapsed) => {
                    let text = format!("cannot connect to {to}: no answer in {CONNECT_TIMEOUT:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
            };
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxIo)
        })
    }

    fn bind(&self, at: &str) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        let at = at.to_owned();
        Box::pin(async move {
            let socket =
                TcpListener::bind(&at).await.map_err(|error| explain(&error, "listen on", &at))?;
            let address = socket.local_addr()?.to_string();
            Ok(Box::new(TcpDoor { socket: Arc::new(socket), address }) as Box<dyn Listener>)
        })
    }
}

fn explain(error: &io::Error, what: &str, address: &str) -> io::Error {
    let why = if error.kind() == io::ErrorKind::AddrInUse {
        "port in use by another process".to_owned()
    } else {
        error.to_string()
    };
    io::Error::new(error.kind(), format!("cannot {what} {address}: {why}"))
}

struct TcpDoor {
    /// Shared with the futures of `accept`, which do not borrow the listener.
    socket: Arc<TcpListener>,
    address: String,
}

impl Listener for TcpDoor {
    fn local_address(&self) -> String {
        self.address.clone()
    }

    fn accept(&mut self) -> BoxFuture<io::Result<(BoxIo, String)>> {
        let socket = Arc::clone(&self.socket);
        Box::pin(async move {
            loop {
                match socket.accept().await {
                    Ok((stream, peer)) => {
                        // Fails only for a connection that is gone already; its reader will see that.
                        let _ = stream.set_nodelay(true);
                        return Ok((Box::new(stream) as BoxIo, peer.to_string()));
                    }
                    // The caller left while it queued. That is its own affair, not the door's.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => return Err(error),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_travel_both_ways_through_a_port_the_system_chose() {
        let mut door = Tcp.bind("127.0.0.1:0").await.unwrap();
        let address = door.local_address();
        let (out, inward) = tokio::join!(Tcp.connect(&address), door.accept());
        let (mut out, (mut inward, peer)) = (out.unwrap(), inward.unwrap());
        assert!(peer.starts_with("127.0.0.1:"), "{peer}");

        let mut four = [0; 4];
        out.write_all(b"ping").await.unwrap();
        inward.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"ping");
        inward.write_all(b"pong").await.unwrap();
        out.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"pong");
    }

    #[tokio::test]
    async fn a_port_in_use_is_told_apart_and_named() {
        let door = Tcp.bind("127.0.0.1:0").await.unwrap();
        let address = door.local_address();
        let error = Tcp.bind(&address).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address), "{error}");
    }

    #[tokio::test]
    async fn a_port_with_an_old_connection_on_it_can_be_bound_again() {
        let mut door = Tcp.bind("127.0.0.1:0").await.unwrap();
        let address = door.local_address();
        let (out, inward) = tokio::join!(Tcp.connect(&address), door.accept());
        // The side that closes first keeps the port in TIME_WAIT: let it be the listening one.
        drop((inward, door));
        let mut rest = Vec::new();
        out.unwrap().read_to_end(&mut rest).await.unwrap();
        assert_eq!(Tcp.bind(&address).await.unwrap().local_address(), address);
    }

    #[tokio::test]
    async fn a_closed_port_refuses_and_a_bad_address_is_an_error() {
        let door = Tcp.bind("127.0.0.1:0").await.unwrap();
        let address = door.local_address();
        drop(door);
        let error = Tcp.connect(&address).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&address), "{error}");
        assert!(Tcp.connect("no port here").await.is_err());
    }
}
