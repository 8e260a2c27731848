//! Calls that are answered.

use super::*;

#[tokio::test]
async fn a_put_is_a_command_with_its_quorum_and_an_id_of_its_own() {
    let mut server = Server::start(|_| met(&KvReply::Stored)).await;
    let client = Client::new([server.address.clone()]).unwrap();
    let options = Options { n: 5, w: 4, r: 1, owners: 2, ..Options::default() };
    client.put(b"bucket", b"key", "value", &options).await.unwrap();
    client.put(b"bucket", b"key", "value", &Options::default()).await.unwrap();

    let (first, second) = (server.next_command().await, server.next_command().await);
    assert_eq!((first.n, first.needed, first.owners_needed), (5, 4, 2));
    assert_eq!((second.n, second.needed, second.owners_needed), (3, 2, 0));
    assert_eq!(first.hash, key_hash(b"bucket", b"key"));
    assert_eq!(first.vnode_type.as_str(), "tanodb_vnode");
    assert!((4_500..=4_900).contains(&first.deadline_ms), "the node answers before we give up");
    let put: KvCommand = rmp_serde::from_slice(&first.command).unwrap();
    let expected = KvCommand::Put {
        bucket: Bytes::from_static(b"bucket"),
        key: Bytes::from_static(b"key"),
        value: Bytes::from_static(b"value"),
    };
    assert_eq!(put, expected);
    let (first, second) = (first.op.unwrap(), second.op.unwrap());
    assert_eq!((first.minter, first.counter + 1), (second.minter, second.counter));
    let other = Client::new([server.address.clone()]).unwrap();
    assert_ne!(other.next_op().minter, first.minter);
}

#[tokio::test]
async fn an_operation_can_be_repeated_under_its_id() {
    let mut server = Server::start(|_| met(&KvReply::Stored)).await;
    let client = Client::new([server.address.clone()]).unwrap();
    let options = Options { op: Some(client.next_op()), ..Options::default() };
    for _ in 0..2 {
        client.put(b"bucket", b"key", "value", &options).await.unwrap();
        assert_eq!(server.next_command().await.op, options.op);
    }
}

#[tokio::test]
async fn a_get_gives_the_value_or_nothing() {
    let server = Server::start(|message| {
        let KvReply::Found(record) = key_as_value(message) else { return Act::Silence };
        met(&if record.content == Content::Live("gone".into()) {
            KvReply::Found(Record { content: Content::Tombstone, ..record })
        } else if record.content == Content::Live("never".into()) {
            KvReply::Nothing
        } else {
            KvReply::Found(record)
        })
    })
    .await;
    let client = Client::new([server.address.clone()]).unwrap();
    let options = Options::default();
    let value = client.get(b"bucket", b"there", &options).await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"there"[..]));
    assert_eq!(client.get(b"bucket", b"gone", &options).await.unwrap(), None);
    assert_eq!(client.get(b"bucket", b"never", &options).await.unwrap(), None);
    let record = client.get_record(b"bucket", b"gone", &options).await.unwrap().unwrap();
    assert_eq!((record.content, record.stamp.millis), (Content::Tombstone, 1));
}

#[tokio::test]
async fn a_delete_says_whether_something_was_there() {
    let server = Server::start(|_| met(&KvReply::Deleted { existed: true })).await;
    let client = Client::new([server.address.clone()]).unwrap();
    assert!(client.delete(b"bucket", b"key", &Options::default()).await.unwrap());
}

#[tokio::test]
async fn a_ping_says_who_answers_and_administration_is_passed_on() {
    let mut server = Server::start(|message| {
        let pong = Pong {
            node: name(),
            cluster: ClusterId(1),
            epoch: Epoch(3),
            partition: key_hash(b"bucket", b"key"),
        };
        let is_ping = *message == ClientMessage::Admin(Box::new(AdminRequest::Ping));
        let answer =
            if is_ping { AdminAnswer::Pong(pong) } else { AdminAnswer::Cleared { count: 4 } };
        Act::Answer(ClientMessage::AdminAnswer(Box::new(answer)))
    })
    .await;
    let client = Client::new([server.address.clone()]).unwrap();
    let deadline = Duration::from_secs(5);
    assert_eq!(client.connect(deadline).await.unwrap(), me());
    assert_eq!(client.ping(deadline).await.unwrap().epoch, Epoch(3));
    let answer = client.admin(AdminRequest::Clear, deadline).await.unwrap();
    assert_eq!(answer, AdminAnswer::Cleared { count: 4 });
    server.next().await;
    assert_eq!(server.next().await.1, ClientMessage::Admin(Box::new(AdminRequest::Clear)));
}

/// A server that answers the calls it has heard only when it has heard this many, the last one first.
async fn answers_backwards(count: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (_hearing, heard) = mpsc::unbounded_channel();
    let accepting = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut frames = Framed::new(stream, FrameCodec::default());
        frames.next().await.unwrap().unwrap();
        frames.send(frame(kind::WELCOME, 0, &Welcome { from: me() })).await.unwrap();
        let mut asked = Vec::new();
        while asked.len() < count {
            asked.push(frames.next().await.unwrap().unwrap());
        }
        for asked in asked.iter().rev() {
            let Act::Answer(answer) = met(&key_as_value(&parse(asked).unwrap())) else { continue };
            frames.send(frame(kind::CLIENT_ANSWER, asked.id, &answer)).await.unwrap();
        }
        frames.next().await;
    });
    Server { address, heard, accepting: accepting.abort_handle() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_share_a_connection_and_each_gets_its_own_answer() {
    let server = answers_backwards(200).await;
    let settings = ClientSettings { connections_per_node: 1, ..ClientSettings::default() };
    let client = Client::with_settings([server.address.clone()], settings).unwrap();
    let mut calls = JoinSet::new();
    for number in 0..200 {
        let client = client.clone();
        calls.spawn(async move {
            let key = format!("key-{number}");
            let value = client.get(b"bucket", key.as_bytes(), &Options::default()).await;
            assert_eq!(value.unwrap().unwrap(), key);
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
}

#[tokio::test]
async fn a_node_gets_as_many_connections_as_are_set_and_no_more() {
    let mut server = Server::start(|_| met(&KvReply::Stored)).await;
    let client = Client::new([server.address.clone()]).unwrap();
    let mut connections = Vec::new();
    for _ in 0..6 {
        client.put(b"bucket", b"key", "value", &Options::default()).await.unwrap();
        connections.push(server.next().await.0);
    }
    assert_eq!(connections, [1, 2, 1, 2, 1, 2]);
}

#[tokio::test]
async fn calls_go_to_the_nodes_in_turn() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Server::start(|_| met(&KvReply::Stored)).await);
    }
    let client = Client::new(servers.iter().map(|server| server.address.clone())).unwrap();
    for _ in 0..6 {
        client.put(b"bucket", b"key", "value", &Options::default()).await.unwrap();
    }
    for server in &mut servers {
        server.next().await;
        server.next().await;
        assert!(server.heard.try_recv().is_err());
    }
}

#[actix::test]
async fn a_client_works_among_actors_too() {
    let server = Server::start(|_| met(&KvReply::Stored)).await;
    let client = Client::new([server.address.clone()]).unwrap();
    client.put(b"bucket", b"key", "value", &Options::default()).await.unwrap();
}
