//! What a process of a mutation test is told to break.
//!
//! Only a build with `--cfg tanodb_mutants` has it. The tests of this package can be started with a rule broken
//! for everything that names no rules itself, to see which of them fail.

use std::env;

use crate::protocol::rules::Rules;

/// The environment variable that names a mutant, or a pair with a `+` between.
pub const VARIABLE: &str = "TANODB_MUTANT";

/// The rules that are not broken by what the process was started with.
pub(crate) fn rules() -> Rules {
    match env::var(VARIABLE) {
        Ok(names) => names.parse().unwrap_or_else(|unknown| panic!("{VARIABLE}: {unknown}")),
        Err(_) => Rules::whole(),
    }
}
