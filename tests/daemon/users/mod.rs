//! `bearerd users` and `bearerd keys`: through the daemon and without one, from page to page.

mod changes;
mod lists;
mod refusals;
mod ways;

use bearerd::emulator::Emulator;
use serde_json::Value;

use crate::bench::{
    Daemon, Stand,
    daemon::{Ended, run},
};

/// An issuer with some users, and perhaps a daemon: what is asked must not tell the difference.
struct Scene {
    stand: Stand,
    daemon: Option<Daemon>,
}

impl Scene {
    async fn both() -> [Self; 2] {
        let with = Stand::new().await;
        let daemon = Some(with.start().await);
        [Self { stand: with, daemon }, Self { stand: Stand::new().await, daemon: None }]
    }

    async fn ask(&self, arguments: &[&str]) -> Ended {
        run(self.stand.home.command(arguments)).await
    }

    async fn done(&self, arguments: &[&str]) -> String {
        let ended = self.ask(arguments).await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}: {ended:?}");
        ended.out
    }

    /// Fails with this code, in one line with these words, and prints nothing.
    async fn fails(&self, arguments: &[&str], code: i32, words: &[&str]) {
        let ended = self.ask(arguments).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{arguments:?}: {ended:?}");
        assert_says(&ended, words);
    }

    fn issuer(&self) -> &Emulator {
        &self.stand.issuer
    }

    fn add_users(&self, count: usize) {
        (0..count).for_each(|number| drop(self.issuer().add_user(&format!("user-{number:03}"))));
    }

    /// Counts the calls at a path below the team, with any query.
    fn calls(&self, method: &str, below: &str) -> usize {
        let path = format!("/v1/teams/acme/{below}");
        let is_at = |target: &str| target.split('?').next() == Some(&path);
        let seen = self.issuer().requests();
        seen.iter().filter(|seen| seen.method == method && is_at(&seen.path)).count()
    }

    fn mints(&self) -> u64 {
        self.issuer().mints()
    }
}

fn assert_says(ended: &Ended, words: &[&str]) {
    assert!(ended.err.starts_with("bearerd: "), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    for word in words {
        assert!(ended.err.contains(word), "{word}: {ended:?}");
    }
}

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(lines: &str) -> Vec<String> {
    objects(lines).iter().map(|user| user["name"].as_str().unwrap().to_owned()).collect()
}
