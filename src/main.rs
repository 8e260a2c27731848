//! The `tanodb` program.
fn main() {}
