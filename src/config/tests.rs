//! Which value wins, and what is refused.

use tanodb_actors::protocol::slots::TRANSFER_LIMIT_DEFAULT;

use super::*;

fn flag(setting: &'static Setting, text: &str) -> Sources {
    Sources { flags: vec![(setting, text.to_owned())], ..Sources::default() }
}

fn refusal(sources: Sources) -> String {
    NodeConfig::load(sources).unwrap_err().to_string()
}

fn variable(name: &str, value: &str) -> (OsString, OsString) {
    (name.into(), value.into())
}

#[test]
fn without_any_source_the_table_of_defaults_holds() {
    let config = NodeConfig::load(Sources::default()).unwrap();
    let settings = config.settings();
    assert_eq!(settings.name.as_str(), "tanodb1@127.0.0.1");
    assert_eq!(settings.listen.to_string(), "127.0.0.1:7650");
    assert_eq!(settings.advertise, None);
    assert_eq!(settings.data_dir, Path::new("tanodb-data/tanodb1@127.0.0.1"));
    assert_eq!(settings.ring_size.count(), 64);
    assert_eq!(settings.transfer_limit.get(), TRANSFER_LIMIT_DEFAULT);
    assert_eq!(settings.hinted_idle, Duration::from_secs(60));
    assert!(!settings.insecure_open && !settings.stdin_guard);
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "[node]\nring_size = 8\ntransfer_limit = 3\nhinted_idle = '5s'\n";
    std::fs::write(file.path(), text).unwrap();
    let sources = Sources {
        flags: vec![(&setting::RING_SIZE, "32".to_owned())],
        variables: vec![
            variable("TANODB_NODE__RING_SIZE", "16"),
            variable("TANODB_NODE__TRANSFER_LIMIT", "4"),
            variable("PATH", "/bin"),
        ],
        file: Some(file.path().to_owned()),
    };
    let config = NodeConfig::load(sources).unwrap();
    assert_eq!(config.settings().ring_size.count(), 32);
    assert_eq!(config.settings().transfer_limit.get(), 4);
    assert_eq!(config.settings().hinted_idle, Duration::from_secs(5));
}

#[test]
fn an_illegal_ring_size_names_the_nearest_legal_ones() {
    assert_eq!(
        refusal(flag(&setting::RING_SIZE, "100")),
        "--ring-size: node.ring_size: a ring cannot have 100 partitions, only a power of two or \
         three times one: the nearest are 96 and 128"
    );
}

#[test]
fn a_variable_nobody_reads_is_refused_with_the_nearest_one() {
    let sources =
        Sources { variables: vec![variable("TANODB_NODE__RINGSIZE", "64")], ..Sources::default() };
    assert_eq!(
        refusal(sources),
        "environment variable TANODB_NODE__RINGSIZE: unknown key 'TANODB_NODE__RINGSIZE'; \
         the nearest known key is 'TANODB_NODE__RING_SIZE'"
    );
}

#[test]
fn variables_of_others_with_our_prefix_are_passed_over() {
    let variables = vec![variable("TANODB_PORT", "tcp://10.0.0.1:7650")];
    assert!(NodeConfig::load(Sources { variables, ..Sources::default() }).is_ok());
}

#[test]
fn nothing_but_loopback_is_opened_without_consent() {
    let refused = NodeConfig::load(flag(&setting::LISTEN, "10.0.0.1:7650")).unwrap_err();
    assert!(refused.to_string().contains("neither encryption nor login"), "{refused}");
    assert!(refused.hint().contains("--insecure-open"), "{}", refused.hint());

    let mut consenting = flag(&setting::LISTEN, "10.0.0.1:7650");
    consenting.flags.push((&setting::INSECURE_OPEN, "true".to_owned()));
    assert!(NodeConfig::load(consenting).is_ok());
}

#[test]
fn a_node_that_listens_everywhere_must_say_where_it_is_reached() {
    let everywhere = |advertise: Option<&str>| {
        let mut sources = flag(&setting::LISTEN, "0.0.0.0:7650");
        sources.flags.push((&setting::INSECURE_OPEN, "true".to_owned()));
        sources.flags.extend(advertise.map(|text| (&setting::ADVERTISE, text.to_owned())));
        NodeConfig::load(sources)
    };
    assert!(matches!(everywhere(None), Err(ConfigError::NotReachable { .. })));
    assert!(matches!(everywhere(Some("0.0.0.0:7650")), Err(ConfigError::BadAdvertise { .. })));
    assert!(matches!(everywhere(Some("db1:0")), Err(ConfigError::BadAdvertise { .. })));
    assert!(everywhere(Some("db1:7650")).is_ok());
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    for (setting, text, said) in [
        (&setting::TRANSFER_LIMIT, "0", "1 to 256"),
        (&setting::TRANSFER_LIMIT, "65537", "1 to 256"),
        (&setting::TRANSFER_LIMIT, "many", "not a whole number"),
        (&setting::HINTED_IDLE, "60", "no unit"),
        (&setting::HINTED_IDLE, "1ms", "100ms"),
        (&setting::HINTED_IDLE, "30d", "86400s"),
        (&setting::NAME, "tanodb1", "NAME@HOST"),
        (&setting::INSECURE_OPEN, "yes", "neither true nor false"),
        (&setting::DATA_DIR, "", "needs a name"),
    ] {
        let refused = refusal(flag(setting, text));
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let sources = Sources { file: Some("no/such/tanodb.toml".into()), ..Sources::default() };
    let refused = NodeConfig::load(sources).unwrap_err();
    assert!(refused.to_string().starts_with("no/such/tanodb.toml: cannot be read"), "{refused}");
    assert!(refused.hint().contains("--config"));
}
