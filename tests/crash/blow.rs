//! One blow: at which call, which one of them, and how.

use std::{collections::BTreeMap, fmt, fs, path::Path, process::Command};

use super::bench::{
    Stand,
    daemon::run,
    injection::{struck, under},
};

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
        struck(strace, self.call, &format!("{}:when={}", self.what, self.when), command)
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} number {}", self.what, self.call, self.when)
    }
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
