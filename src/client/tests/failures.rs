//! Calls that fail, and what they say became of the data.

use super::*;

#[tokio::test]
async fn a_node_that_cannot_be_reached_is_passed_over() {
    let server = Server::start(|_| met(&KvReply::Stored)).await;
    let (_socket, nobody) = nobody();
    let client = Client::new([nobody, server.address.clone()]).unwrap();
    for _ in 0..4 {
        client.put(b"bucket", b"key", "value", &Options::default()).await.unwrap();
    }
}

#[tokio::test]
async fn without_any_node_nothing_is_stored_and_all_are_named() {
    let (_sockets, addresses): (Vec<_>, Vec<_>) = [nobody(), nobody()].into_iter().unzip();
    let client = Client::new(addresses.clone()).unwrap();
    let error = client.put(b"bucket", b"key", "value", &Options::default()).await.unwrap_err();
    assert!(!error.may_have_been_stored() && error.is_retryable());
    let ClientError::NotConnected { tried } = error else { panic!("{error:?}") };
    assert_eq!(
        tried.iter().map(|one| &one.address).collect::<Vec<_>>(),
        [&addresses[0], &addresses[1]]
    );
    let error = client.connect(Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(error, ClientError::NotConnected { .. }), "{error:?}");
    assert_eq!(Client::new(Vec::<String>::new()).unwrap_err(), ClientError::NoAddress);
}

#[tokio::test]
async fn a_killed_node_ends_all_outstanding_calls_at_once() {
    let mut server = Server::start(|_| Act::Silence).await;
    let client = Client::new([server.address.clone()]).unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let client = client.clone();
        let long = within(Duration::from_secs(600));
        calls.spawn(async move { client.put(b"bucket", b"key", "value", &long).await });
    }
    for _ in 0..10 {
        server.next().await;
    }
    server.kill();
    while let Some(call) = calls.join_next().await {
        let error = call.unwrap().unwrap_err();
        assert!(matches!(error, ClientError::ConnectionLost { .. }), "{error:?}");
        assert!(error.may_have_been_stored() && error.is_retryable());
    }
}

#[tokio::test]
async fn a_read_whose_answer_was_lost_is_asked_of_another_node_and_a_write_is_not() {
    let mut dying = Server::start(|_| Act::HangUp).await;
    let mut other = Server::start(|message| met(&key_as_value(message))).await;
    let client = Client::new([dying.address.clone(), other.address.clone()]).unwrap();
    let value = client.get(b"bucket", b"key", &Options::default()).await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"key"[..]));
    assert_eq!(dying.next_command().await.op, other.next_command().await.op, "the same operation");

    // The second call begins with the second node, the third with the first again.
    client.get(b"bucket", b"key", &Options::default()).await.unwrap();
    let error = client.put(b"bucket", b"key", "value", &Options::default()).await.unwrap_err();
    assert!(error.may_have_been_stored(), "{error:?}");
    dying.next_command().await;
    other.next_command().await;
    assert!(other.heard.try_recv().is_err(), "the put was not sent again");
}

#[tokio::test]
async fn a_read_that_was_lost_everywhere_stored_nothing() {
    let server = Server::start(|_| Act::HangUp).await;
    let client = Client::new([server.address.clone()]).unwrap();
    let error = client.get(b"bucket", b"key", &Options::default()).await.unwrap_err();
    assert!(!error.may_have_been_stored() && error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_node_that_takes_no_commands_is_passed_over() {
    let full = Server::start(|_| failed(overloaded())).await;
    let joining = Server::start(|_| {
        let (node, reason) = (name(), "it joins".to_owned());
        failed(CommandError::NotServing { node, reason })
    })
    .await;
    let well = Server::start(|_| met(&KvReply::Stored)).await;
    let addresses = [full.address.clone(), joining.address.clone(), well.address.clone()];
    let client = Client::new(addresses).unwrap();
    client.put(b"bucket", b"key", "value", &Options::default()).await.unwrap();

    let client = Client::new([full.address.clone()]).unwrap();
    let error = client.put(b"bucket", b"key", "value", &Options::default()).await.unwrap_err();
    assert_eq!(error, ClientError::Command(overloaded()));
    assert!(!error.may_have_been_stored() && error.is_retryable());
}

#[tokio::test]
async fn a_silent_node_ends_the_call_at_its_deadline_and_gets_a_new_connection() {
    let mut server = Server::start(|_| Act::Silence).await;
    let settings = ClientSettings { connections_per_node: 1, ..ClientSettings::default() };
    let client = Client::with_settings([server.address.clone()], settings).unwrap();
    let before = Instant::now();
    let error = client.put(b"bucket", b"key", "value", &within(SHORT)).await.unwrap_err();
    assert!(before.elapsed() >= SHORT && before.elapsed() < Duration::from_secs(4));
    assert!(error.may_have_been_stored(), "{error:?}");
    let error = client.get(b"bucket", b"key", &within(SHORT)).await.unwrap_err();
    assert!(matches!(error, ClientError::DeadlinePassed { may_have_been_stored: false, .. }));
    assert_eq!((server.next().await.0, server.next().await.0), (1, 2));
}

#[tokio::test]
async fn a_call_that_finds_no_place_on_its_connection_is_not_sent() {
    let mut server = Server::start(|_| Act::Silence).await;
    let settings = ClientSettings {
        connections_per_node: 1,
        calls_per_connection: 2,
        ..ClientSettings::default()
    };
    let client = Client::with_settings([server.address.clone()], settings).unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..2 {
        let client = client.clone();
        let long = within(Duration::from_secs(600));
        calls.spawn(async move { client.put(b"bucket", b"key", "value", &long).await });
        server.next().await;
    }
    let error = client.put(b"bucket", b"key", "value", &within(SHORT)).await.unwrap_err();
    assert!(matches!(error, ClientError::DeadlinePassed { may_have_been_stored: false, .. }));

    // Calls that are given up give their places back.
    calls.shutdown().await;
    let error = client.put(b"bucket", b"key", "value", &within(SHORT)).await.unwrap_err();
    assert!(error.may_have_been_stored(), "it was sent: {error:?}");
}

#[tokio::test]
async fn a_refused_hello_is_told_in_the_words_of_the_node() {
    let not_ready = Refusal::NotReady { node: name() };
    let other = Refusal::OtherProtocol { node: name(), theirs: 2, yours: 1 };
    for (refusal, is_retryable) in [(not_ready, true), (other, false)] {
        let greeting = Arc::new(Greeting::Refuse(refusal.clone()));
        let server = Server::greeting(greeting, |_| Act::Silence).await;
        let client = Client::new([server.address.clone()]).unwrap();
        let error = client.put(b"bucket", b"key", "value", &Options::default()).await.unwrap_err();
        assert_eq!((error.is_retryable(), error.may_have_been_stored()), (is_retryable, false));
        assert!(error.to_string().contains(&refusal.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_stranger_at_the_address_is_told_from_a_node() {
    let server = Server::greeting(Arc::new(Greeting::Http), |_| Act::Silence).await;
    let client = Client::new([server.address.clone()]).unwrap();
    let error = client.ping(Duration::from_secs(5)).await.unwrap_err();
    assert!(error.to_string().contains("the peer does not speak this protocol"), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn an_answer_to_something_else_is_not_taken_for_one() {
    let server = Server::start(|message| {
        if let ClientMessage::Command(_) = message {
            return met(&KvReply::Nothing);
        }
        Act::Answer(ClientMessage::NotUnderstood { detail: "what?".to_owned() })
    })
    .await;
    let client = Client::new([server.address.clone()]).unwrap();
    let error = client.put(b"bucket", b"key", "value", &Options::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::UnexpectedAnswer { .. }) && error.may_have_been_stored());
    let error = client.ping(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(error.to_string(), "the node did not understand the request: what?");
    assert!(!error.may_have_been_stored());
}

#[tokio::test]
async fn a_command_over_a_limit_is_not_sent() {
    let mut server = Server::start(|_| met(&KvReply::Stored)).await;
    let client = Client::new([server.address.clone()]).unwrap();
    let value = Bytes::from(vec![0; crate::kv::VALUE_BYTES_MAX + 1]);
    let error = client.put(b"bucket", b"key", value, &Options::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the value has 8388609 bytes, at most 8388608 are allowed");
    assert!(client.get(b"", b"key", &Options::default()).await.is_err());
    assert!(server.heard.try_recv().is_err());
}

#[test]
fn an_error_says_what_became_of_the_data_and_what_to_do() {
    let quorum = |may_have_been_stored| {
        ClientError::Command(CommandError::QuorumNotMet {
            ok: 1,
            needed: 2,
            may_have_been_stored,
            failures: vec![],
        })
    };
    let illegal = ClientError::Command(CommandError::Illegal { reason: "no".to_owned() });
    let unreadable = ClientError::Unreadable { reason: "rotten".to_owned() };
    let table = [
        (quorum(true), true, true),
        (quorum(false), false, true),
        (illegal, false, false),
        (unreadable, false, false),
        (ClientError::lost("ada:1"), true, true),
        (ClientError::timed_out("ada:1", SHORT, false), false, true),
    ];
    for (error, may_have_been_stored, is_retryable) in table {
        assert_eq!(error.may_have_been_stored(), may_have_been_stored, "{error}");
        assert_eq!(error.is_retryable(), is_retryable, "{error}");
        assert!(!error.hint().is_empty());
        assert!(!error.of_a_read().may_have_been_stored());
    }
}
