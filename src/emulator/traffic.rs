//! What the issuer has seen and done.

use std::collections::VecDeque;

use http::Method;
use serde::Serialize;

/// Most requests that are remembered.
const REMEMBERED: usize = 4096;

/// Remembers one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query, as they were sent.
    pub path: String,
    /// The status of the answer; `None` where a fault broke HTTP.
    pub status: Option<u16>,
}

/// Counts requests and remembers the latest.
#[derive(Default)]
pub(super) struct Traffic {
    /// All that came for the API, however it was answered.
    pub(super) requests: u64,
    /// Those of them that asked for a token.
    pub(super) mint_calls: u64,
    /// Tokens that were granted.
    pub(super) mints: u64,
    latest: VecDeque<Seen>,
}

impl Traffic {
    /// Counts a request that has come in.
    pub(super) fn arrive(&mut self, is_mint: bool) {
        self.requests += 1;
        self.mint_calls += u64::from(is_mint);
    }

    /// Remembers how a request ended.
    pub(super) fn leave(&mut self, method: &Method, path: &str, status: Option<u16>) {
        if self.latest.len() == REMEMBERED {
            self.latest.pop_front();
        }
        let (method, path) = (method.to_string(), path.to_owned());
        self.latest.push_back(Seen { method, path, status });
    }

    /// Tells the latest requests, the oldest first.
    pub(super) fn latest(&self) -> Vec<Seen> {
        self.latest.iter().cloned().collect()
    }
}
