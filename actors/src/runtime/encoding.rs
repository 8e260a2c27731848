//! MessagePack as this node writes it: structs with the names of their fields.

use rmp_serde::encode::{Error, write_named};
use serde::Serialize;

/// Room for most messages: a buffer that starts empty grows five times for a message of a hundred bytes.
const USUAL_BYTES: usize = 192;

/// A value as MessagePack.
///
/// # Errors
///
/// [`Error`] if the value's own `Serialize` refuses.
pub(super) fn encoded<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    write_named(&mut bytes, value)?;
    Ok(bytes)
}
