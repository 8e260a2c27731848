//! What nodes log, line by line: `HH:MM:SS.mmm [level] text key=value`.

/// Milliseconds of a day. Times are compared over midnight.
const DAY: u64 = 24 * 60 * 60 * 1_000;

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Milliseconds since midnight, UTC.
    pub at: u64,
    /// `info`, `warning`, ...
    pub level: String,
    /// Without the level, with the key-values.
    pub text: String,
    /// The transfer it is about.
    pub transfer: Option<String>,
}

/// The lines of a log; what is none, like the ready line, is left out.
pub fn lines(log: &str) -> impl Iterator<Item = Line> {
    log.lines().filter_map(|line| {
        let (time, rest) = line.split_once(" [")?;
        let (level, text) = rest.split_once("] ")?;
        let transfer = text.split(' ').find_map(|word| word.strip_prefix("transfer="));
        Some(Line {
            at: milliseconds(time)?,
            level: level.to_owned(),
            text: text.to_owned(),
            transfer: transfer.map(str::to_owned),
        })
    })
}

fn milliseconds(time: &str) -> Option<u64> {
    let (clock, millis) = time.split_once('.')?;
    let mut seconds = 0;
    for part in clock.split(':') {
        seconds = seconds * 60 + part.parse::<u64>().ok()?;
    }
    Some(seconds * 1_000 + millis.parse::<u64>().ok()?)
}

/// Whether a moment lies between two others, each in milliseconds of a day.
pub fn is_between(moment: u64, first: u64, last: u64) -> bool {
    (moment + DAY - first) % DAY <= (last + DAY - first) % DAY
}

/// Now, in milliseconds of the day, UTC.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.expect("it is after 1970").as_millis())
        .expect("it is before the year 500 million")
        % DAY
}

#[test]
fn a_line_of_a_log_is_taken_apart() {
    let log = "listening on 127.0.0.1:1\n00:17:24.240 [info] fold req 5 transfer=ab-1\n";
    let lines: Vec<Line> = lines(log).collect();
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].at, lines[0].level.as_str()), ((17 * 60 + 24) * 1_000 + 240, "info"));
    assert_eq!(lines[0].transfer.as_deref(), Some("ab-1"));
    assert!(lines[0].text.starts_with("fold req 5"));
}

#[test]
fn a_night_lies_between_evening_and_morning() {
    assert!(is_between(5, DAY - 5, 10));
    assert!(!is_between(15, DAY - 5, 10));
    assert!(is_between(7, 5, 10) && !is_between(4, 5, 10));
}
