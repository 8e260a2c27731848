//! Links to other nodes, and the door through which they and clients come in.

pub mod connection;
