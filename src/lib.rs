//! TanoDB: the node program and the key/value store, the first embedder of `tanodb-actors`.

pub mod cli;
pub mod client;
pub mod config;
pub mod contact;
pub mod demo;
pub mod devrel;
pub mod failure;
pub mod kv;
pub mod launch;
pub mod logging;
pub mod node;
pub mod output;
