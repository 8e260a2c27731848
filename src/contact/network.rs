//! Nodes on the network, by the store's own client.

use std::time::Duration;

use tanodb_actors::wire::admin::{AdminAnswer, AdminRequest};

use super::{Connect, Item, Talk};
use crate::client::{Client, ClientError, ClientSettings, Options};
use crate::config::address::HostPort;
use crate::failure::Failure;

/// The network of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Network;

impl Connect for Network {
    type Node = Client;

    async fn connect(&self, address: &HostPort, deadline: Duration) -> Result<Client, Failure> {
        // One command after the other needs one connection.
        let settings = ClientSettings { connections_per_node: 1, ..ClientSettings::default() };
        let client = Client::with_settings([address.to_string()], settings)?;
        client.connect(deadline).await?;
        Ok(client)
    }
}

impl Talk for Client {
    async fn admin(
        &mut self,
        request: AdminRequest,
        deadline: Duration,
    ) -> Result<AdminAnswer, Failure> {
        Ok(Client::admin(self, request, deadline).await?)
    }

    async fn put(&mut self, item: &Item, value: &[u8], deadline: Duration) -> Result<(), Failure> {
        let (bucket, key) = (item.bucket.as_bytes(), item.key.as_bytes());
        Ok(Client::put(self, bucket, key, value.to_vec(), &options(item, deadline)).await?)
    }

    async fn get(&mut self, item: &Item, deadline: Duration) -> Result<Option<Vec<u8>>, Failure> {
        let (bucket, key) = (item.bucket.as_bytes(), item.key.as_bytes());
        let found = Client::get(self, bucket, key, &options(item, deadline)).await?;
        Ok(found.map(Vec::from))
    }

    async fn delete(&mut self, item: &Item, deadline: Duration) -> Result<bool, Failure> {
        let (bucket, key) = (item.bucket.as_bytes(), item.key.as_bytes());
        Ok(Client::delete(self, bucket, key, &options(item, deadline)).await?)
    }
}

fn options(item: &Item, deadline: Duration) -> Options {
    let needed = item.needed();
    Options { n: item.n(), r: needed, w: needed, deadline, ..Options::default() }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let (reason, next) = (error.to_string(), error.hint());
        match error.may_have_been_stored() {
            true => Self::unknown(reason, next),
            false => Self::failed(reason, next),
        }
    }
}
