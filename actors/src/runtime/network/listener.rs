//! The actor at the node's door.
//!
//! Owns: the open door, the task that accepts, and the number of sessions.
//! Hears: [`DoorRulesChanged`] from the ring manager, which it hands to every session.
//! Tells: nobody itself; its sessions tell the router, the watcher and whoever receives transfers.
//!
//! It reads nothing from a connection: that is the session's.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use tokio::sync::Semaphore;

use super::session::Session;
pub use super::session::SessionTells;
use crate::runtime::env::Env;
use crate::runtime::latest::{Follower, Latest};
use crate::runtime::message::{DoorRules, DoorRulesChanged};
use crate::runtime::transport;

/// Connections that are served at once; one more is closed unanswered.
///
/// Each has two tasks and at most as many requests under way.
pub const SESSIONS_MAX: usize = 1_024;

/// Pause after the node was too short of something, such as file handles, to accept.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no door. The node cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Choose another address, or stop the process that has this one.
    #[error("another process listens on {address}")]
    InUse {
        /// The address that was asked for.
        address: String,
    },
    /// The address is not one of this machine, or may not be used.
    #[error(transparent)]
    Unusable(io::Error),
}

/// Opens the door. Nobody comes in before a [`Listener`] is made of it.
///
/// # Errors
///
/// [`ListenError`]; nothing was opened.
pub async fn open(env: &Env, address: &str) -> Result<Box<dyn transport::Listener>, ListenError> {
    env.transport.bind(address).await.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            ListenError::InUse { address: address.to_owned() }
        } else {
            ListenError::Unusable(error)
        }
    })
}

/// The open door. When the actor ends, the door closes and all sessions end.
pub struct Listener {
    rules: Latest<Arc<DoorRules>>,
}

impl Listener {
    /// Lets people in. To be called on the arbiter that is to serve the sessions.
    #[must_use]
    pub fn behind(
        door: Box<dyn transport::Listener>,
        env: &Env,
        rules: Arc<DoorRules>,
        tell: SessionTells,
    ) -> Self {
        let rules = Latest::new(rules);
        let arrivals = Arrivals { env: env.clone(), rules: rules.follow(), tell };
        actix_rt::spawn(arrivals.run(door));
        Self { rules }
    }
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<DoorRulesChanged> for Listener {
    type Result = ();

    fn handle(&mut self, DoorRulesChanged(rules): DoorRulesChanged, _: &mut Context<Self>) {
        self.rules.set(rules);
    }
}

/// The task that accepts.
struct Arrivals {
    env: Env,
    rules: Follower<Arc<DoorRules>>,
    tell: SessionTells,
}

impl Arrivals {
    async fn run(mut self, mut door: Box<dyn transport::Listener>) {
        let places = Arc::new(Semaphore::new(SESSIONS_MAX));
        loop {
            let accepted = tokio::select! {
                biased;
                changed = self.rules.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                accepted = door.accept() => accepted,
            };
            let (io, peer) = match accepted {
                Ok(arrival) => arrival,
                Err(error) => {
                    log::warn!(error:%; "cannot accept connections");
                    self.env.clock.sleep(SHORTAGE_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                log::warn!(peer:%; "{SESSIONS_MAX} connections are open: this one is closed");
                continue;
            };
            let session = Session {
                env: self.env.clone(),
                rules: self.rules.clone(),
                tell: self.tell.clone(),
            };
            actix_rt::spawn(async move {
                session.run(io, peer).await;
                drop(place);
            });
        }
    }
}
