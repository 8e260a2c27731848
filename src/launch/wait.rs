//! Waiting for a named condition, never longer than a deadline.

use std::time::Duration;

use actix_rt::time::{sleep, timeout};

/// How often a condition is looked at.
const PACE: Duration = Duration::from_millis(25);

/// The deadline passed first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("waited {waited:?} for this: {condition}{}", .last.as_ref().map(|last| format!("; last seen: {last}")).unwrap_or_default())]
pub struct TimedOut {
    /// What was waited for.
    pub condition: String,
    /// For how long.
    pub waited: Duration,
    /// What was seen last instead.
    pub last: Option<String>,
}

/// What a look at a condition shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T> {
    /// It holds.
    Yes(T),
    /// Not yet; this is how things stand.
    NotYet(String),
}

/// Looks until the condition holds, the deadline passes, or a look fails. A look that is under way at the
/// deadline is given up, so it must be one that only reads.
///
/// # Errors
///
/// What a look failed with, or [`TimedOut`].
pub async fn wait_for<T, E: From<TimedOut>>(
    condition: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<Seen<T>, E>,
) -> Result<T, E> {
    let mut last = None;
    let looking = async {
        loop {
            match look().await? {
                Seen::Yes(result) => return Ok(result),
                Seen::NotYet(state) if state.is_empty() => {}
                Seen::NotYet(state) => last = Some(state),
            }
            sleep(PACE).await;
        }
    };
    let seen = timeout(deadline, looking).await;
    seen.unwrap_or_else(|_| {
        Err(TimedOut { condition: condition.to_owned(), waited: deadline, last }.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_condition_that_holds_ends_the_wait() {
        let mut looks = 0;
        let waited: Result<u32, TimedOut> = wait_for("third look", Duration::MAX, async || {
            looks += 1;
            Ok(if looks == 3 { Seen::Yes(looks) } else { Seen::NotYet(String::new()) })
        })
        .await;
        assert_eq!(waited, Ok(3));
    }

    #[actix_rt::test]
    async fn a_look_that_never_ends_does_not_hold_the_deadline_up() {
        let waited: Result<(), TimedOut> =
            wait_for("an answer", Duration::from_millis(1), async || std::future::pending().await)
                .await;
        assert_eq!(waited.unwrap_err().last, None);
    }

    #[actix_rt::test]
    async fn a_wait_that_ends_in_vain_says_for_what_and_how_things_stood() {
        let waited: Result<(), TimedOut> =
            wait_for("the moon is blue", Duration::ZERO, async || {
                Ok(Seen::NotYet("it is white".to_owned()))
            })
            .await;
        assert_eq!(
            waited.unwrap_err().to_string(),
            "waited 0ns for this: the moon is blue; last seen: it is white"
        );
    }
}
