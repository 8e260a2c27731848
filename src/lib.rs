//! TanoDB: the node program and the key/value store, the first embedder of `tanodb-actors`.

pub mod config;
pub mod logging;
