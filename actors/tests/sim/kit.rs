//! The kit for embedders, tried on vnodes that keep their promises and on vnodes that do not.

mod checked;
mod flawed;
mod shelf;
mod simulated;
