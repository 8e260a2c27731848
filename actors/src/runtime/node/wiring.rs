//! Who is given whose address: the mailboxes of a node's actors, made before the actors.

use actix::prelude::*;

use crate::protocol::id::NodeId;
use crate::protocol::rules::Rules;
use crate::runtime::coordinator::{Coordinator, CoordinatorLinks};
use crate::runtime::env::Env;
use crate::runtime::gossiper::{Gossiper, GossiperTells};
use crate::runtime::network::listener::{Listener, SessionTells};
use crate::runtime::network::peers::{LinkTells, Peers};
use crate::runtime::network::watcher::{Watcher, WatcherTells};
use crate::runtime::ring_manager::{ManagerLinks, RingManager};
use crate::runtime::router::Router;
use crate::runtime::timers::Timers;
use crate::runtime::vnode_host::VnodeHost;

/// Mailboxes whose actors do not run yet.
pub(super) struct Mailboxes {
    pub(super) host: Context<VnodeHost>,
    pub(super) peers: Context<Peers>,
    pub(super) manager: Context<RingManager>,
    pub(super) watcher: Context<Watcher>,
    pub(super) gossiper: Context<Gossiper>,
    pub(super) router: Context<Router>,
    pub(super) coordinator: Context<Coordinator>,
    pub(super) listener: Context<Listener>,
}

/// The addresses of those mailboxes.
pub(super) struct Addresses {
    pub(super) host: Addr<VnodeHost>,
    pub(super) peers: Addr<Peers>,
    pub(super) manager: Addr<RingManager>,
    pub(super) watcher: Addr<Watcher>,
    pub(super) gossiper: Addr<Gossiper>,
    pub(super) router: Addr<Router>,
    pub(super) coordinator: Addr<Coordinator>,
    pub(super) listener: Addr<Listener>,
}

impl Mailboxes {
    pub(super) fn new() -> (Self, Addresses) {
        let boxes = Self {
            host: Context::new(),
            peers: Context::new(),
            manager: Context::new(),
            watcher: Context::new(),
            gossiper: Context::new(),
            router: Context::new(),
            coordinator: Context::new(),
            listener: Context::new(),
        };
        let addresses = Addresses {
            host: boxes.host.address(),
            peers: boxes.peers.address(),
            manager: boxes.manager.address(),
            watcher: boxes.watcher.address(),
            gossiper: boxes.gossiper.address(),
            router: boxes.router.address(),
            coordinator: boxes.coordinator.address(),
            listener: boxes.listener.address(),
        };
        (boxes, addresses)
    }
}

impl Addresses {
    pub(super) fn link_tells(&self) -> LinkTells {
        LinkTells {
            heard: self.watcher.clone().recipient(),
            lost: self.watcher.clone().recipient(),
            other_life: self.watcher.clone().recipient(),
            nobody: self.manager.clone().recipient(),
        }
    }

    pub(super) fn session_tells(&self) -> SessionTells {
        SessionTells {
            asked: self.router.clone().recipient(),
            client: self.router.clone().recipient(),
            transfer: self.manager.clone().recipient(),
            heard: self.watcher.clone().recipient(),
            other_life: self.watcher.clone().recipient(),
        }
    }

    pub(super) fn manager_links(&self, env: Env, timers: Timers) -> ManagerLinks {
        ManagerLinks {
            env,
            timers,
            host: self.host.clone(),
            ask_peer: self.peers.clone().recipient(),
            tell_peer: self.peers.clone().recipient(),
            ring: vec![
                self.watcher.clone().recipient(),
                self.coordinator.clone().recipient(),
                self.host.clone().recipient(),
            ],
            tokens: vec![self.host.clone().recipient(), self.coordinator.clone().recipient()],
            doors: vec![
                self.peers.clone().recipient(),
                self.listener.clone().recipient(),
                self.watcher.clone().recipient(),
            ],
            addresses: self.peers.clone().recipient(),
            serving: self.coordinator.clone().recipient(),
            spread: self.gossiper.clone().recipient(),
            pass_on: self.gossiper.clone().recipient(),
        }
    }

    pub(super) fn coordinator_links(&self) -> CoordinatorLinks {
        CoordinatorLinks {
            execute_here: self.host.clone().recipient(),
            hint_here: self.host.clone().recipient(),
            ask_peer: self.peers.clone().recipient(),
        }
    }

    pub(super) fn gossiper_tells(&self) -> GossiperTells {
        GossiperTells {
            tell_peer: self.peers.clone().recipient(),
            ask_peer: self.peers.clone().recipient(),
            wanted: self.manager.clone().recipient(),
            arrived: self.manager.clone().recipient(),
        }
    }

    pub(super) fn watcher_tells(&self) -> WatcherTells {
        WatcherTells {
            liveness: vec![
                self.manager.clone().recipient(),
                self.coordinator.clone().recipient(),
                self.gossiper.clone().recipient(),
            ],
            incarnation: vec![
                self.manager.clone().recipient(),
                self.coordinator.clone().recipient(),
            ],
        }
    }

    pub(super) fn router(&self, env: Env, me: NodeId, rules: Rules) -> Router {
        Router {
            env,
            manager: self.manager.clone(),
            host: self.host.clone(),
            coordinator: self.coordinator.clone().recipient(),
            digests: self.gossiper.clone().recipient(),
            me,
            rules,
        }
    }
}
