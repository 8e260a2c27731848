//! Fills a node through its front door, with many puts under way at once.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::try_join_all;
use tanodb::client::{Client, ClientError, Options};

use super::shape::Shape;

/// The bucket of all entries.
pub const BUCKET: &str = "bench";

/// Puts under way at once. More would only wait at the node.
const LANES: usize = 64;

/// How long a put may take.
const PUT_WITHIN: Duration = Duration::from_secs(30);

/// Puts every entry of the shape, with one replica: what moves is then exactly what was put.
///
/// # Errors
///
/// The first put that failed; some entries are stored.
pub async fn load(client: &Client, shape: Shape) -> Result<(), ClientError> {
    let options = Options { n: 1, r: 1, w: 1, deadline: PUT_WITHIN, ..Options::default() };
    let numbers = RefCell::new(0..shape.objects);
    let lane = async || {
        loop {
            let number = numbers.borrow_mut().next();
            let Some(number) = number else { return Ok(()) };
            let key = Shape::key(number);
            client.put(BUCKET.as_bytes(), key.as_bytes(), shape.value(number), &options).await?;
        }
    };
    try_join_all((0..LANES).map(|_| lane())).await.map(drop)
}
