//! Starts a node and takes a seat in it.

use outside::{Ask, Seats, place_of};
use tanodb_actors::{
    Ask as Asked, Env, ItemsKind, MemoryDisk, Node, NodeName, NodeSettings, VnodeType,
};

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hall = VnodeType::new("seats")?;
    let env = Env::for_process(NodeName::new("hall@127.0.0.1")?, MemoryDisk::default())?;
    let kind = ItemsKind::<Seats>::in_memory(hall.clone());
    let node = Node::start(env, NodeSettings::default(), vec![kind]).await?;
    for name in ["ada", "bob"] {
        let take = Ask::Take(7, name.to_owned());
        let sits = node.command::<Seats>(&hall, place_of(7), &take, Asked::single()).await?;
        println!("{name} asks for seat 7, where {} sits", sits.as_deref().unwrap_or("nobody"));
        if sits.as_deref() != Some("ada") {
            return Err("a seat was given away twice".into());
        }
    }
    Ok(())
}
