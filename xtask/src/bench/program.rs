//! Builds the node that is measured: the program alone, as it is shipped.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Why there is no program.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo could not be started.
    #[error("cargo: {0}")]
    Cargo(#[from] io::Error),
    /// The build failed; cargo has said why.
    #[error("the build of tanodb failed")]
    Failed,
    /// The build went well and named no program.
    #[error("cargo did not say where the program is")]
    NoProgram,
}

/// Builds `tanodb` for release and tells where it is. Not with the whole workspace: features of tests would
/// slip in.
///
/// # Errors
///
/// [`BuildError`].
pub fn build() -> Result<PathBuf, BuildError> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--package", "tanodb", "--bin", "tanodb"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(BuildError::Failed);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().rev().find_map(executable).ok_or(BuildError::NoProgram)
}

/// The program that a line of cargo's names.
fn executable(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    message.get("executable")?.as_str().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_in_what_cargo_says() {
        let line =
            r#"{"reason":"compiler-artifact","executable":"/a/release/tanodb","fresh":true}"#;
        assert_eq!(executable(line), Some(PathBuf::from("/a/release/tanodb")));
        for other in [r#"{"reason":"compiler-artifact","executable":null}"#, "{}", "warning"] {
            assert_eq!(executable(other), None, "{other}");
        }
    }
}
