//! The log lines by which an operator follows a handoff, worded as in the tutorial's chapter.
//!
//! Every line of a transfer also carries its id as the key-value `transfer`, so that the life of each can be
//! rebuilt from the log alone. `{}` is filled in order by [`line()`].

use std::fmt::Display;

/// The vnode is asked whether it starts: partition, target.
pub const HANDOFF_STARTING: &str = "handoff starting {}: {}";
/// Whether there is nothing to fold: partition, bool.
pub const IS_EMPTY: &str = "is_empty {}: {}";
/// The sender begins: kind, vnode type, source, partition, target, partition.
pub const STARTING_TRANSFER: &str = "Starting {} transfer of {} from {} {} to {} {}";
/// The fold begins: partition.
pub const FOLD_REQUEST: &str = "fold req {}";
/// One item is sent (debug): partition, key.
pub const FOLD_ITEM: &str = "fold fun {}: {}";
/// Everything is at the target: kind, vnode type, source, partition, target, partition, bytes, objects,
/// objects, seconds, rate.
pub const TRANSFER_COMPLETED: &str = "{} transfer of {} from {} {} to {} {} completed: sent {} bytes in {} of {} objects in {} seconds ({}/second)";
/// The target owns the partition: partition, target.
pub const HANDOFF_FINISHED: &str = "handoff finished {}: {}";
/// The old copy is deleted: partition.
pub const DELETE: &str = "delete {}";
/// The attempt ended on the way: partition, reason.
pub const HANDOFF_CANCELLED: &str = "handoff cancelled {}: {}";
/// The receiver begins: vnode type, partition, peer.
pub const RECEIVING: &str = "Receiving handoff data for partition {}:{} from {}";
/// One item arrived (debug): key.
pub const HANDOFF_DATA_RECEIVED: &str = "handoff data received {}";
/// The receiver has done its work: partition, objects, peer.
pub const RECEIVER_EXITED: &str =
    "Handoff receiver for partition {} exited after processing {} objects from {}";
/// The receiver ended on the way: partition, objects, peer, reason.
pub const RECEIVER_EXITED_ABNORMALLY: &str =
    "Handoff receiver for partition {} exited abnormally after processing {} objects from {}: {}";

/// Fills a template's `{}` in order.
#[must_use]
pub fn line(template: &str, values: &[&dyn Display]) -> String {
    let mut filled = String::with_capacity(template.len() + 64);
    let mut values = values.iter();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{}") {
        filled.push_str(before);
        match values.next() {
            Some(value) => filled.push_str(&value.to_string()),
            None => filled.push_str("{}"),
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// Bytes as the chapter prints a rate: two decimals, in steps of 1,024.
#[must_use]
pub fn rate(bytes: u64, micros: u64) -> String {
    let per_second = u128::from(bytes) * 1_000_000 / u128::from(micros.max(1));
    let mut unit = 1_u128;
    let mut name = "B";
    for next in ["KB", "MB", "GB", "TB", "PB"] {
        if per_second < unit * 1024 {
            break;
        }
        unit *= 1024;
        name = next;
    }
    let hundredths = per_second * 100 / unit;
    format!("{}.{:02} {name}", hundredths / 100, hundredths % 100)
}

/// A duration in seconds with two decimals.
#[must_use]
pub fn seconds(micros: u64) -> String {
    let hundredths = micros / 10_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wording_is_the_chapters() {
        let partition = "1118962191081472546749696200048404186924073353216";
        let (one, two) = ("'tanodb1@127.0.0.1'", "'tanodb2@127.0.0.1'");
        assert_eq!(
            line(
                STARTING_TRANSFER,
                &[&"ownership", &"tanodb_vnode", &one, &partition, &two, &partition]
            ),
            format!(
                "Starting ownership transfer of tanodb_vnode from {one} {partition} to {two} {partition}"
            )
        );
        let kind = "ownership";
        assert_eq!(
            line(
                TRANSFER_COMPLETED,
                &[
                    &kind,
                    &"tanodb_vnode",
                    &one,
                    &partition,
                    &two,
                    &partition,
                    &575,
                    &7,
                    &7,
                    &seconds(41_000),
                    &rate(575, 41_000)
                ]
            ),
            format!(
                "ownership transfer of tanodb_vnode from {one} {partition} to {two} {partition} completed: \
                 sent 575 bytes in 7 of 7 objects in 0.04 seconds (13.69 KB/second)"
            )
        );
    }

    #[test]
    fn rates_and_times_of_any_size_can_be_printed() {
        assert_eq!(rate(0, 0), "0.00 B");
        assert_eq!(rate(u64::MAX, 1).split(' ').nth(1), Some("PB"));
        assert_eq!(seconds(u64::MAX).split('.').count(), 2);
        assert_eq!(line("{} and {}", &[&1]), "1 and {}");
    }
}
