//! Tests that change what belongs to the whole process, each in a process of its own.

use std::process::Command;

/// Tells a test's process that it is there for this test alone.
const ALONE: &str = "BEARERD_TEST_ALONE";

/// Tells whether this process is there for one test alone; else runs it, by its module and name, in
/// one that is.
///
/// Tests of one binary are threads of one process, unless nextest runs them: the umask of one made
/// directories of another open to all.
pub(crate) fn is_alone(module: &str, test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let (_crate, module) = module.split_once("::").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("{module}::{test}"), "--exact"]).env(ALONE, "1");
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    false
}
