//! Names and addresses against scripted nodes.

use std::time::Duration;

use clap::Parser;

use super::super::arguments::{Arguments, Ask, Cluster, Command};
use super::super::{cluster, items};
use super::*;
use crate::contact::Item;
use crate::contact::scripted::Stage;
use crate::devrel::folder::DevelopmentNode;
use crate::failure::Exit;
use crate::launch::process::ProcessId;

const ONE: &str = "tanodb1@127.0.0.1";
const TWO: &str = "tanodb2@127.0.0.1";

fn parsed(words: &str) -> (Common, Command) {
    let words = ["tanodb"].into_iter().chain(words.split_whitespace());
    let arguments = Arguments::try_parse_from(words).unwrap();
    (arguments.common, arguments.command)
}

/// Runs one of the `cluster` commands.
async fn change(stage: &Stage, words: &str) -> Result<String, Failure> {
    let (common, command) = parsed(words);
    let Command::Ask(Ask::Cluster(command)) = command else {
        panic!("{words} is no cluster command")
    };
    cluster::change(stage, &common, command).await
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn resolved(address: &str) -> Result<AdminAnswer, Failure> {
    Ok(AdminAnswer::Resolved { address: address.to_owned() })
}

fn staged() -> Result<AdminAnswer, Failure> {
    Ok(AdminAnswer::JoinStaged { node: name(TWO), contact: name(ONE) })
}

#[actix_rt::test]
async fn a_name_is_looked_up_in_the_member_list_of_the_node_at_the_default_address() {
    let stage = Stage::default().with(DEFAULT_ADDRESS, ONE, vec![resolved("127.0.0.1:2")]).with(
        "127.0.0.1:2",
        TWO,
        vec![Ok(AdminAnswer::Cleared { count: 1 })],
    );
    let said = change(&stage, &format!("cluster clear --node {TWO}")).await.unwrap();
    assert_eq!(said, "Cleared staged cluster changes\n");
    assert_eq!(stage.asked(DEFAULT_ADDRESS), [AdminRequest::Resolve { name: name(TWO) }]);
}

#[actix_rt::test]
async fn a_name_no_member_knows_is_looked_up_in_the_development_folder() {
    let folder = tempfile::tempdir().unwrap();
    for (name_text, address) in [(ONE, "127.0.0.1:1"), (TWO, "127.0.0.1:2")] {
        let process = ProcessId { pid: 1, began: Some(1) };
        let (name, address) = (name(name_text), address.parse().unwrap());
        folder::write(folder.path(), &DevelopmentNode { name, address, process }).unwrap();
    }
    let unknown = || Err(Failure::failed("not a member", ""));
    let stage = Stage::default().with("127.0.0.1:1", ONE, vec![]).with(
        "127.0.0.1:2",
        TWO,
        vec![unknown(), staged()],
    );
    let words = format!("cluster join {ONE} --node {TWO} --dir {}", folder.path().display());
    let said = change(&stage, &words).await.unwrap();
    assert_eq!(said, format!("Success: staged join request for '{TWO}' to '{ONE}'\n"));
    let contact = "127.0.0.1:1".to_owned();
    assert_eq!(stage.asked("127.0.0.1:2").last(), Some(&AdminRequest::Join { contact }));
}

#[actix_rt::test]
async fn a_name_nobody_knows_is_refused_with_the_way_out() {
    let stage = Stage::default();
    let words = format!("cluster plan --node {TWO} --dir no/such/folder");
    let refused = change(&stage, &words).await.unwrap_err();
    assert!(refused.reason.contains("connection refused"), "{refused}");
    assert!(refused.reason.contains("no/such/folder has no such node"), "{refused}");
    assert!(refused.next.contains("HOST:PORT"), "{refused:?}");
    assert_eq!(refused.exit, Exit::Failed);
}

#[actix_rt::test]
async fn a_node_that_moved_in_at_an_old_address_is_not_mistaken_for_the_one_meant() {
    let stage = Stage::default().with(DEFAULT_ADDRESS, ONE, vec![resolved("127.0.0.1:2")]).with(
        "127.0.0.1:2",
        "stranger@127.0.0.1",
        vec![],
    );
    let refused = change(&stage, &format!("cluster clear --node {TWO}")).await.unwrap_err();
    assert!(refused.reason.contains("belongs to 'stranger@127.0.0.1'"), "{refused}");
    assert_eq!(stage.asked("127.0.0.1:2"), [], "nothing but its name was asked");
}

#[actix_rt::test]
async fn an_address_needs_no_look_up() {
    let stage = Stage::default().with("127.0.0.1:2", TWO, vec![staged()]);
    change(&stage, "cluster join 127.0.0.1:1 --node 127.0.0.1:2").await.unwrap();
    let contact = "127.0.0.1:1".to_owned();
    assert_eq!(stage.asked("127.0.0.1:2"), [AdminRequest::Join { contact }]);
}

#[actix_rt::test]
async fn a_commit_whose_answer_was_lost_is_unknown_but_a_plan_is_not() {
    let lost = || Err(Failure::unknown("the connection broke", "look at the ring"));
    let stage = Stage::default().with(DEFAULT_ADDRESS, ONE, vec![lost(), lost()]);
    let plan = change(&stage, "cluster plan").await.unwrap_err();
    assert_eq!(plan.exit, Exit::Failed);
    let commit = change(&stage, "cluster commit --plan 0123456789abcdef").await.unwrap_err();
    assert_eq!(commit.exit, Exit::Unknown);
}

#[actix_rt::test]
async fn a_node_that_answers_something_else_is_not_believed() {
    let stage = Stage::default().with(DEFAULT_ADDRESS, ONE, vec![resolved("127.0.0.1:2")]);
    let (common, _) = parsed("cluster plan");
    let refused = cluster::change(&stage, &common, Cluster::Plan).await.unwrap_err();
    assert!(refused.reason.contains("did not answer what it was asked"), "{refused}");
}

#[actix_rt::test]
async fn a_value_comes_back_byte_for_byte() {
    let stage = Stage::default().with(DEFAULT_ADDRESS, ONE, vec![]);
    let (common, command) = parsed("put bucket-1 key-1 42 --n 3 --w 2");
    let Command::Ask(Ask::Put(put)) = command else { panic!("not a put") };
    assert_eq!(items::put(&stage, &common, put).await.unwrap(), b"ok\n");
    let item = Item {
        bucket: "bucket-1".to_owned(),
        key: "key-1".to_owned(),
        n: Some(3),
        needed: Some(2),
    };
    assert_eq!(stage.script(DEFAULT_ADDRESS, |script| script.items.clone()), [item]);

    let (common, command) = parsed("get bucket-1 key-1 --output json");
    let Command::Ask(Ask::Get(get)) = command else { panic!("not a get") };
    let text = String::from_utf8(items::get(&stage, &common, get).await.unwrap()).unwrap();
    assert!(text.contains("\"value\": \"42\""), "{text}");

    let (common, command) = parsed("delete bucket-1 key-1");
    let Command::Ask(Ask::Delete(delete)) = command else { panic!("not a delete") };
    items::delete(&stage, &common, delete).await.unwrap();
    let (common, command) = parsed("get bucket-1 key-1");
    let Command::Ask(Ask::Get(get)) = command else { panic!("not a get") };
    let missing = items::get(&stage, &common, get).await.unwrap_err();
    assert_eq!(missing.exit, Exit::Failed);
}

#[actix_rt::test]
async fn a_put_whose_answer_was_lost_is_unknown_but_a_get_is_not() {
    let stage = Stage::default().with(DEFAULT_ADDRESS, ONE, vec![]);
    let lose = || {
        let lost = Failure::unknown("the deadline passed", "read it back");
        stage.script(DEFAULT_ADDRESS, |script| script.trouble = Some(lost));
    };
    lose();
    let (common, command) = parsed("put b k v --timeout 1s");
    assert_eq!(common.timeout, Duration::from_secs(1));
    let Command::Ask(Ask::Put(put)) = command else { panic!("not a put") };
    assert_eq!(items::put(&stage, &common, put).await.unwrap_err().exit, Exit::Unknown);
    lose();
    let (common, command) = parsed("get b k");
    let Command::Ask(Ask::Get(get)) = command else { panic!("not a get") };
    assert_eq!(items::get(&stage, &common, get).await.unwrap_err().exit, Exit::Failed);
}

#[actix_rt::test]
async fn more_answers_than_replicas_are_refused_before_anything_is_sent() {
    let stage = Stage::default().with(DEFAULT_ADDRESS, ONE, vec![]);
    let (common, command) = parsed("put b k v --n 2 --w 3");
    let Command::Ask(Ask::Put(put)) = command else { panic!("not a put") };
    assert_eq!(items::put(&stage, &common, put).await.unwrap_err().exit, Exit::Usage);
    assert_eq!(stage.script(DEFAULT_ADDRESS, |script| script.items.len()), 0);
}
