//! Commands about keys and values.

use std::io::{IsTerminal, Read};

use super::arguments::{Common, DeleteArguments, Format, GetArguments, KeyArguments, PutArguments};
use super::resolve::asked_node;
use crate::contact::{Connect, Item, Talk};
use crate::failure::Failure;
use crate::kv::VALUE_BYTES_MAX;
use crate::output::json;

/// Stands for standard input instead of a value.
const FROM_INPUT: &str = "-";

/// Stores a value.
pub(super) async fn put(
    network: &impl Connect,
    common: &Common,
    arguments: PutArguments,
) -> Result<Vec<u8>, Failure> {
    let value = match arguments.value.as_str() {
        FROM_INPUT => read_value(&mut std::io::stdin().lock())?,
        text => text.as_bytes().to_vec(),
    };
    let item = item(arguments.key, arguments.w)?;
    let mut node = asked_node(network, common).await?;
    node.put(&item, &value, common.timeout).await?;
    Ok(match common.output {
        Format::Table => b"ok\n".to_vec(),
        Format::Json => json::stored(&item.bucket, &item.key).into_bytes(),
    })
}

/// Reads a value. On a terminal its end is made visible by a line end.
pub(super) async fn get(
    network: &impl Connect,
    common: &Common,
    arguments: GetArguments,
) -> Result<Vec<u8>, Failure> {
    let item = item(arguments.key, arguments.r)?;
    let mut node = asked_node(network, common).await?;
    let found = node.get(&item, common.timeout).await.map_err(Failure::of_a_read)?;
    let Some(value) = found else {
        let reason = format!("'{}' in bucket '{}' does not exist", item.key, item.bucket);
        return Err(Failure::failed(reason, "check bucket and key, or put a value first"));
    };
    Ok(match common.output {
        Format::Table if std::io::stdout().is_terminal() => [value.as_slice(), b"\n"].concat(),
        Format::Table => value,
        Format::Json => json::got(&item.bucket, &item.key, &value).into_bytes(),
    })
}

/// Deletes a value.
pub(super) async fn delete(
    network: &impl Connect,
    common: &Common,
    arguments: DeleteArguments,
) -> Result<Vec<u8>, Failure> {
    let item = item(arguments.key, arguments.w)?;
    let mut node = asked_node(network, common).await?;
    let existed = node.delete(&item, common.timeout).await?;
    Ok(match common.output {
        Format::Table => b"ok\n".to_vec(),
        Format::Json => json::deleted(&item.bucket, &item.key, existed).into_bytes(),
    })
}

fn item(key: KeyArguments, needed: Option<u8>) -> Result<Item, Failure> {
    let item = Item { bucket: key.bucket, key: key.key, n: key.n, needed };
    if item.needed() > item.n() {
        let reason =
            format!("{} replicas cannot answer when there are {}", item.needed(), item.n());
        return Err(Failure::usage(reason, "make --n larger, or --r or --w smaller"));
    }
    Ok(item)
}

/// Reads to the end, but never more than a value may have.
fn read_value(input: &mut dyn Read) -> Result<Vec<u8>, Failure> {
    let limit = u64::try_from(VALUE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut value = Vec::new();
    let failed = |error| Failure::failed(format!("standard input: {error}"), "mend the input");
    input.take(limit.saturating_add(1)).read_to_end(&mut value).map_err(failed)?;
    if value.len() > VALUE_BYTES_MAX {
        let reason = format!("the value is longer than {VALUE_BYTES_MAX} bytes");
        return Err(Failure::usage(reason, "store it in several keys"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_too_long_is_refused_before_it_is_sent() {
        let mut endless = std::io::repeat(b'x');
        let refused = read_value(&mut endless).unwrap_err();
        assert!(refused.reason.contains("8388608 bytes"), "{refused}");
        assert_eq!(read_value(&mut &b"value\n"[..]).unwrap(), b"value\n");
    }
}
