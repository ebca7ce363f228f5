//! One blow: at which call, which one of them, and how.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use super::bench::{Stand, daemon::run};

/// Strikes at the n-th call of one kind in any thread.
pub(crate) struct Blow {
    pub(crate) call: &'static str,
    /// As strace has it: `signal=KILL`, `error=EIO`, `retval=1`.
    pub(crate) what: &'static str,
    /// As strace has it: `3`, `3+`.
    pub(crate) when: String,
}

impl Blow {
    /// Makes a command of one that runs under the blow.
    pub(crate) fn strike(&self, strace: &Path, command: &Command) -> Command {
        let inject = format!("inject={}:{}:when={}", self.call, self.what, self.when);
        let trace = format!("trace={}", self.call);
        // By -D the command is our own child, so that it is the one who is killed at the end.
        under(strace, &["-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject], command)
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} number {}", self.what, self.call, self.when)
    }
}

/// Finds strace, and tries whether it may trace; says aloud if not.
pub(crate) fn find_strace() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let strace = std::env::split_paths(&path).map(|dir| dir.join("strace")).find(|it| it.is_file());
    let works = |strace: &PathBuf| {
        let tried = Command::new(strace).args(["-qq", "-o", "/dev/null", "true"]).status();
        tried.is_ok_and(|status| status.success())
    };
    let strace = strace.filter(works);
    if strace.is_none() {
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: strace is not here, or may not trace").unwrap();
    }
    strace
}

/// Counts the calls of a command that goes well: for each kind, those of the busiest thread.
pub(crate) async fn counts(
    strace: &Path,
    command: &Command,
    stand: &Stand,
) -> BTreeMap<String, usize> {
    let log = stand.home.path("strace.log");
    run(under(strace, &["-f", "-qq", "-o", log.to_str().unwrap()], command)).await;
    let mut by_thread: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in fs::read_to_string(log).unwrap().lines() {
        let mut words = line.split_whitespace();
        let (Some(thread), Some(call)) = (words.next(), words.next()) else { continue };
        if let Some((call, _)) = call.split_once('(') {
            *by_thread.entry((call.to_owned(), thread.to_owned())).or_default() += 1;
        }
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for ((call, _), count) in by_thread {
        let most = counts.entry(call).or_default();
        *most = count.max(*most);
    }
    counts
}

/// Puts a command under strace, with these flags.
pub(crate) fn under(strace: &Path, flags: &[&str], command: &Command) -> Command {
    let mut traced = Command::new(strace);
    traced.args(flags).arg(command.get_program()).args(command.get_args()).env_clear();
    if let Some(directory) = command.get_current_dir() {
        traced.current_dir(directory);
    }
    traced
}
