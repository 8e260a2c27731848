//! How hosts find one another: doors at addresses, and the way through them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::io::SimIo;
use super::pipe::{Connection, End};
use super::{Host, Network, State};
use crate::runtime::transport::{BoxFuture, BoxIo, Listener, Transport};

/// Connections that may wait at a door.
const BACKLOG: usize = 128;

/// How long a caller waits before it knocks again; doubles.
const KNOCK_AGAIN: Duration = Duration::from_secs(1);

/// A port that is given to who asks for any.
const FIRST_FREE_PORT: u64 = 40_000;

/// An address somebody listens at.
pub(super) struct Door {
    pub(super) host: Host,
    /// Tells doors at one address apart.
    number: u64,
    arrived: VecDeque<(SimIo, String)>,
    waker: Option<Waker>,
}

/// The way into the network from one host.
pub(super) struct SimTransport {
    pub(super) network: Network,
    pub(super) host: Host,
}

impl Transport for SimTransport {
    fn connect(&self, to: &str) -> BoxFuture<io::Result<BoxIo>> {
        let (network, from, to) = (self.network.clone(), self.host.clone(), to.to_owned());
        Box::pin(async move {
            let (first, within) = {
                let mut state = network.state();
                // There and back again.
                let way = state.draw_delay() + state.draw_delay();
                (way, state.settings.connect_within)
            };
            let ends = Instant::now() + within;
            let (mut wait, mut again) = (first, KNOCK_AGAIN);
            loop {
                tokio::time::sleep_until((Instant::now() + wait).min(ends)).await;
                if let Some(answer) = knock(&network, &from, &to) {
                    return answer.map(|io| Box::new(io) as BoxIo);
                }
                if Instant::now() >= ends {
                    let why = format!("{to} does not answer");
                    return Err(io::Error::new(ErrorKind::TimedOut, why));
                }
                (wait, again) = (again, again * 2);
            }
        })
    }

    fn bind(&self, at: &str) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        let (network, host, at) = (self.network.clone(), self.host.clone(), at.to_owned());
        Box::pin(async move {
            let listener = network.state().open(&host, &at).map(|(address, number)| {
                SimListener { network: network.clone(), address, number }
            })?;
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }
}

/// `None`: nobody hears it.
fn knock(network: &Network, from: &Host, to: &str) -> Option<io::Result<SimIo>> {
    let mut state = network.state();
    // An address is HOST:PORT; a host that was never heard of does not answer.
    let host = to.rsplit_once(':').map_or(to, |(host, _)| host);
    if state.is_blocked(from, host) || state.is_blocked(host, from) {
        return None;
    }
    let refused =
        || io::Error::new(ErrorKind::ConnectionRefused, format!("nobody listens at {to}"));
    let number = state.connected + 1;
    let caller = format!("{from}:{}", FIRST_FREE_PORT + number);
    let Some(door) = state.doors.get_mut(to).filter(|door| door.arrived.len() < BACKLOG) else {
        return Some(Err(refused()));
    };
    let there = door.host.clone();
    door.arrived.push_back((SimIo::new(network.clone(), number, 1), caller));
    let waker = door.waker.take();
    state.connected = number;
    let connection = Connection { ends: [End::of(from.clone()), End::of(there)] };
    state.connections.insert(number, connection);
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
    Some(Ok(SimIo::new(network.clone(), number, 0)))
}

impl State {
    /// The address and the number of the new door.
    fn open(&mut self, host: &Host, at: &str) -> io::Result<(String, u64)> {
        self.connected += 1;
        let number = self.connected;
        let address = match at.rsplit_once(':') {
            Some((name, "0")) => format!("{name}:{}", FIRST_FREE_PORT + number),
            Some(_) | None => at.to_owned(),
        };
        if self.doors.contains_key(&address) {
            let why = format!("another process listens at {address}");
            return Err(io::Error::new(ErrorKind::AddrInUse, why));
        }
        let door = Door { host: host.clone(), number, arrived: VecDeque::new(), waker: None };
        self.doors.insert(address.clone(), door);
        Ok((address, number))
    }
}

struct SimListener {
    network: Network,
    address: String,
    number: u64,
}

impl Listener for SimListener {
    fn local_address(&self) -> String {
        self.address.clone()
    }

    fn accept(&mut self) -> BoxFuture<io::Result<(BoxIo, String)>> {
        let (network, address) = (self.network.clone(), self.address.clone());
        Box::pin(poll_fn(move |cx| {
            let mut state = network.state();
            let Some(door) = state.doors.get_mut(&address) else { return Poll::Pending };
            match door.arrived.pop_front() {
                Some((io, caller)) => Poll::Ready(Ok((Box::new(io) as BoxIo, caller))),
                None => {
                    door.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        }))
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut state = self.network.state();
        let is_mine = |door: &Door| door.number == self.number;
        let closed = if state.doors.get(&self.address).is_some_and(is_mine) {
            state.doors.remove(&self.address)
        } else {
            None
        };
        // Unlocked: who waits at the door closes connections.
        drop(state);
        drop(closed);
    }
}
