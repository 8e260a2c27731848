//! Long-running programs for developers of TanoDB.
fn main() {}
