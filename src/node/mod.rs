//! The node process: a folder, TCP and the system's clock around a [`Node`], until a signal ends it.

use tanodb_actors::runtime::disk::{FolderDisk, OpenError};
use tanodb_actors::runtime::env::Env;
use tanodb_actors::runtime::network::listener::ListenError;
use tanodb_actors::runtime::node::{Node, NodeSettings, StartError};
use tanodb_actors::runtime::vnode::kind::ItemsKind;
use tanodb_actors::runtime::workers::Workers;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::OnReady;
use crate::config::NodeConfig;
use crate::failure::Failure;
use crate::kv::{KvVnode, vnode_type};

/// Threads for the work of `Async` answers.
const WORKERS: usize = 2;

/// Runs a node until SIGTERM or SIGINT. `on_ready` is called with its address as soon as it serves.
///
/// # Errors
///
/// [`Failure`] when it cannot start; nothing of it is left running.
pub fn run(config: NodeConfig, on_ready: OnReady) -> Result<(), Failure> {
    actix_rt::System::new().block_on(serve(config, on_ready))
}

async fn serve(config: NodeConfig, on_ready: OnReady) -> Result<(), Failure> {
    let settings = config.settings();
    let disk = FolderDisk::open(&settings.data_dir, &settings.name).map_err(not_opened)?;
    let env = Env::for_process(settings.name.clone(), disk).map_err(|error| {
        Failure::failed(
            format!("the system gives no random numbers: {error}"),
            "look at the system",
        )
    })?;
    let mut node_settings = NodeSettings {
        listen: settings.listen.to_string(),
        advertise: settings.advertise.as_ref().map(ToString::to_string),
        ring_size: settings.ring_size,
        ..NodeSettings::default()
    };
    node_settings.transfers.limit = settings.transfer_limit.get();
    node_settings.hinted_idle = settings.hinted_idle;
    node_settings.workers = Workers::threads(WORKERS).map_err(|error| {
        Failure::failed(format!("threads cannot be started: {error}"), "start fewer processes")
    })?;
    let kind = ItemsKind::<KvVnode>::in_memory(vnode_type());
    let node = Node::start(env, node_settings, vec![kind]).await.map_err(not_started)?;
    log::info!(node:% = node.id(), address = node.address(); "node started");
    on_ready(node.address());
    stopped().await;
    log::info!("stopping");
    Ok(())
}

/// Ends with the first signal that asks the process to stop.
async fn stopped() {
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    match (terminate, interrupt) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                biased;
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        (Ok(mut one), Err(_)) | (Err(_), Ok(mut one)) => {
            one.recv().await;
        }
        (Err(error), Err(_)) => {
            log::warn!(error:%; "signals cannot be heard; only kill ends this node");
            std::future::pending::<()>().await;
        }
    }
}

fn not_opened(error: OpenError) -> Failure {
    let next = match &error {
        OpenError::Held { .. } => "stop that node, or give this one another --data-dir",
        OpenError::Unusable { .. } | _ => "give another --data-dir, or make that one writable",
    };
    Failure::failed(error.to_string(), next)
}

fn not_started(error: StartError) -> Failure {
    let next = match &error {
        StartError::Listen(ListenError::InUse { .. }) => {
            "give another --listen (port 0 takes a free one), or stop the process that has this one"
        }
        StartError::Listen(_) => "give --listen an address of this machine",
        StartError::OtherNode { .. } => "give another --data-dir, or the right --name",
        StartError::Load(_) | StartError::Save(_) | StartError::Disk(_) | _ => {
            "mend the data directory, or give another --data-dir; nothing in it was changed"
        }
    };
    Failure::failed(error.to_string(), next)
}
