//! The `tanodb` program: the command line, with the network and the node that it needs.

use std::process::ExitCode;

fn main() -> ExitCode {
    tanodb::cli::main(&tanodb::contact::Network, tanodb::node::run)
}
