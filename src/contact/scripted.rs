//! Nodes that answer from a script.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use tanodb_actors::protocol::hash::RingHash;
use tanodb_actors::protocol::id::{ClusterId, Epoch, NodeName};
use tanodb_actors::wire::admin::{AdminAnswer, AdminRequest, Pong};

use super::{Connect, Item, Talk};
use crate::config::address::HostPort;
use crate::failure::Failure;

type Answer = Result<AdminAnswer, Failure>;

/// One node: its name, what it will answer, what it was asked, what it stores.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) name: Option<NodeName>,
    pub(crate) answers: VecDeque<Answer>,
    pub(crate) asked: Vec<AdminRequest>,
    pub(crate) values: BTreeMap<(String, String), Vec<u8>>,
    pub(crate) items: Vec<Item>,
    /// The next command ends like this.
    pub(crate) trouble: Option<Failure>,
}

/// A network of scripted nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stage(Rc<RefCell<BTreeMap<HostPort, Script>>>);

impl Stage {
    pub(crate) fn with(self, address: &str, name: &str, answers: Vec<Answer>) -> Self {
        let script = Script {
            name: Some(NodeName::new(name).unwrap()),
            answers: answers.into(),
            ..Script::default()
        };
        self.0.borrow_mut().insert(address.parse().unwrap(), script);
        self
    }

    pub(crate) fn script<T>(&self, address: &str, use_it: impl FnOnce(&mut Script) -> T) -> T {
        use_it(self.0.borrow_mut().get_mut(&address.parse().unwrap()).unwrap())
    }

    pub(crate) fn asked(&self, address: &str) -> Vec<AdminRequest> {
        self.script(address, |script| script.asked.clone())
    }
}

impl Connect for Stage {
    type Node = Actor;

    async fn connect(&self, address: &HostPort, _: Duration) -> Result<Actor, Failure> {
        if !self.0.borrow().contains_key(address) {
            return Err(Failure::failed(format!("{address}: connection refused"), "start it"));
        }
        Ok(Actor { stage: self.clone(), address: address.to_string() })
    }
}

/// A conversation with a scripted node.
#[derive(Debug)]
pub(crate) struct Actor {
    stage: Stage,
    address: String,
}

impl Talk for Actor {
    async fn admin(&mut self, request: AdminRequest, _: Duration) -> Answer {
        self.stage.script(&self.address, |script| {
            if request == AdminRequest::Ping {
                let node = script.name.clone().unwrap();
                let (cluster, partition) = (ClusterId(1), RingHash([0; 20]));
                return Ok(AdminAnswer::Pong(Pong { node, cluster, epoch: Epoch(1), partition }));
            }
            script.asked.push(request);
            script
                .answers
                .pop_front()
                .unwrap_or_else(|| Err(Failure::failed("not in the script", "")))
        })
    }

    async fn put(&mut self, item: &Item, value: &[u8], _: Duration) -> Result<(), Failure> {
        self.stage.script(&self.address, |script| {
            script.items.push(item.clone());
            if let Some(trouble) = script.trouble.take() {
                return Err(trouble);
            }
            script.values.insert((item.bucket.clone(), item.key.clone()), value.to_vec());
            Ok(())
        })
    }

    async fn get(&mut self, item: &Item, _: Duration) -> Result<Option<Vec<u8>>, Failure> {
        self.stage.script(&self.address, |script| {
            script.items.push(item.clone());
            if let Some(trouble) = script.trouble.take() {
                return Err(trouble);
            }
            Ok(script.values.get(&(item.bucket.clone(), item.key.clone())).cloned())
        })
    }

    async fn delete(&mut self, item: &Item, _: Duration) -> Result<bool, Failure> {
        self.stage.script(&self.address, |script| {
            script.items.push(item.clone());
            if let Some(trouble) = script.trouble.take() {
                return Err(trouble);
            }
            Ok(script.values.remove(&(item.bucket.clone(), item.key.clone())).is_some())
        })
    }
}
