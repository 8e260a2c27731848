//! Where the node is that somebody named.

use tanodb_actors::protocol::id::NodeName;
use tanodb_actors::wire::admin::{AdminAnswer, AdminRequest};

use super::arguments::{Common, Target};
use crate::config::address::HostPort;
use crate::contact::{Connect, DEFAULT_ADDRESS, ask, connect_to, unexpected};
use crate::devrel::folder;
use crate::failure::Failure;

/// Connects to the node that `--node` names.
///
/// # Errors
///
/// It is not known, does not answer, or somebody else does. Nothing was changed.
pub(super) async fn asked_node<C: Connect>(
    network: &C,
    common: &Common,
) -> Result<C::Node, Failure> {
    match &common.node {
        Target::Address(address) => network.connect(address, common.timeout).await,
        Target::Name(name) => {
            let default = DEFAULT_ADDRESS.parse::<HostPort>().ok();
            let address = resolve(network, common, name, default.as_ref()).await?;
            connect_to(network, name, &address, common.timeout).await
        }
    }
}

/// The address of a node that an argument names, as HOST:PORT.
///
/// # Errors
///
/// It is not known. Nothing was changed.
pub(super) async fn address_of(
    network: &impl Connect,
    common: &Common,
    target: &Target,
) -> Result<HostPort, Failure> {
    match (target, &common.node) {
        (Target::Address(address), _) => Ok(address.clone()),
        (Target::Name(name), Target::Address(asked)) => {
            resolve(network, common, name, Some(asked)).await
        }
        (Target::Name(name), Target::Name(asked)) => {
            // Whoever is asked may be in no cluster yet, so its own list comes first and ours second.
            let asked = folder::find(&common.dir, asked).map(|node| node.address);
            resolve(network, common, name, asked.as_ref()).await
        }
    }
}

/// From the asked node's member list, then from the development folder.
async fn resolve(
    network: &impl Connect,
    common: &Common,
    name: &NodeName,
    asked: Option<&HostPort>,
) -> Result<HostPort, Failure> {
    let said = match asked {
        Some(asked) => from_member_list(network, common, name, asked).await,
        None => Err(Failure::failed("nobody could be asked", "")),
    };
    let failure = match said {
        Ok(address) => return Ok(address),
        Err(failure) => failure,
    };
    if let Some(node) = folder::find(&common.dir, name) {
        return Ok(node.address);
    }
    let reason =
        format!("'{name}' is not known: {failure}; and {} has no such node", common.dir.display());
    Err(Failure::failed(reason, "give its HOST:PORT instead of its name"))
}

async fn from_member_list(
    network: &impl Connect,
    common: &Common,
    name: &NodeName,
    asked: &HostPort,
) -> Result<HostPort, Failure> {
    let mut node = network.connect(asked, common.timeout).await?;
    let request = AdminRequest::Resolve { name: name.clone() };
    let AdminAnswer::Resolved { address } = ask(&mut node, request, common.timeout).await? else {
        return Err(unexpected("where a member listens").of_a_read());
    };
    address.parse().map_err(|error| {
        Failure::failed(format!("{asked} says '{name}' listens at '{address}': {error}"), "")
    })
}

#[cfg(test)]
mod tests;
