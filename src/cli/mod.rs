//! The command line: from words to requests, from answers to text and exit codes.
//!
//! Data goes to standard output. Every failure is one line of reason and one `next:` line on standard
//! error, and an exit code: 0 done, 1 refused or failed (nothing changed), 2 usage, 3 outcome unknown.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

use crate::config::NodeConfig;
use crate::contact::Connect;
use crate::demo;
use crate::failure::Failure;

mod arguments;
mod cluster;
mod development;
mod items;
mod node;
mod node_flags;
mod resolve;
mod usage;

use arguments::{Arguments, Ask, Command, Common, DemoArguments};
use cluster::Question;

/// Called with the address as soon as a node serves.
pub type OnReady = Box<dyn FnOnce(&str)>;

/// Runs the program with its own arguments: `network` reaches other nodes, `run_node` is one.
/// Everything is printed; the caller only ends with the code.
#[must_use]
pub fn main(
    network: &impl Connect,
    run_node: impl FnOnce(NodeConfig, OnReady) -> Result<(), Failure>,
) -> ExitCode {
    let done = match Arguments::try_parse() {
        Ok(Arguments { common, command }) => match command {
            Command::Node(arguments) => node::run(arguments, run_node),
            Command::Demo(arguments) => in_runtime(demo(network, arguments)),
            Command::Devrel(command) => in_runtime(development::devrel(network, &common, command)),
            Command::Ask(command) => in_runtime(ask(network, &common, command)),
            Command::Completions { shell } => print(&completions(shell)),
        },
        Err(error) => match usage::failure(&error, std::env::args().skip(1)) {
            Some(failure) => Err(failure),
            None => print(error.render().to_string().as_bytes()),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // When standard error is closed, the code still tells.
            failure.write(&mut io::stderr().lock()).ok();
            ExitCode::from(failure.exit as u8)
        }
    }
}

async fn ask(network: &impl Connect, common: &Common, command: Ask) -> Result<(), Failure> {
    let question = async |question| cluster::question(network, common, question).await;
    let text = match command {
        Ask::Put(arguments) => items::put(network, common, arguments).await?,
        Ask::Get(arguments) => items::get(network, common, arguments).await?,
        Ask::Delete(arguments) => items::delete(network, common, arguments).await?,
        Ask::Ping => question(Question::Ping).await?.into_bytes(),
        Ask::MemberStatus => question(Question::MemberStatus).await?.into_bytes(),
        Ask::RingStatus => question(Question::RingStatus).await?.into_bytes(),
        Ask::Partitions => question(Question::Partitions).await?.into_bytes(),
        Ask::Transfers => question(Question::Transfers).await?.into_bytes(),
        Ask::Cluster(change) => cluster::change(network, common, change).await?.into_bytes(),
    };
    print(&text)
}

async fn demo(network: &impl Connect, arguments: DemoArguments) -> Result<(), Failure> {
    let DemoArguments { nodes, ring_size, buckets, keys } = arguments;
    let options = demo::Options { nodes, ring_size, buckets, keys };
    demo::run(network, development::program()?, options, &mut io::stdout()).await
}

fn in_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    actix_rt::System::new().block_on(work)
}

fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "tanodb", &mut script);
    script
}

/// Prints data. A reader that has seen enough (`| head`) is no failure.
fn print(data: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(data).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let reason = format!("the command was carried out, but not printed: {error}");
            Err(Failure::unknown(reason, "print it again to another place"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
