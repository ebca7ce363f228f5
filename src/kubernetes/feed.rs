//! News about the key in a Secret. A watch and a poll are only hints: each look reads it anew.

use std::{sync::Arc, time::Duration};

use reqwest::Response;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use zeroize::Zeroizing;

use super::{
    client::{CallError, failed},
    secret::{SecretError, SecretPlace, WATCH_SECONDS},
    wire::{self, Event},
};
use crate::{key::api_key::ApiKey, process::fingerprint::Fingerprint};

/// Time between two looks without a hint.
const POLL: Duration = Duration::from_secs(30);
/// First and last rest after a look or a watch that failed.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Time after which a watch without a word is given up.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS + 60);
/// Longest line of a watch: it carries metadata only.
const LONGEST_LINE: usize = 4 * 1024 * 1024;

/// Tells what is new about a key.
pub enum SecretNews {
    /// A key that is not the one told last.
    Changed(ApiKey),
    /// It can be read again, and is what was told last.
    Recovered,
    /// It cannot be read; told once for each kind of trouble. The key told last stays.
    Broken(SecretError),
}

/// Follows the key in one Secret.
pub struct SecretFeed {
    place: SecretPlace,
    nudge: Arc<Notify>,
    watch: Watch,
    next_look: Instant,
    rest: Duration,
    told: Option<Fingerprint>,
    trouble: Option<SecretError>,
    /// A trouble that one look has met; a second one has to agree, as long as there is a key.
    suspect: bool,
}

impl SecretFeed {
    /// Makes a feed; `nudge` makes it look again at once.
    #[must_use]
    pub fn new(place: SecretPlace, nudge: Arc<Notify>) -> Self {
        Self {
            watch: Watch::new(place.clone()),
            place,
            nudge,
            next_look: Instant::now(),
            rest: REST.0,
            told: None,
            trouble: None,
            suspect: false,
        }
    }

    /// Waits for the next news. May be cancelled and called again: nothing is lost.
    pub async fn next(&mut self) -> SecretNews {
        loop {
            tokio::select! {
                () = sleep_until(self.next_look) => {}
                () = self.nudge.notified() => {}
                () = self.watch.hint() => {}
            }
            // Whoever gives up here looks at once when called again.
            self.next_look = Instant::now();
            let found = self.place.read().await;
            let found = found.and_then(|it| it.key().map_err(|flaw| self.place.flawed(flaw)));
            let news = match found {
                Ok(key) => self.weigh(key),
                Err(error) => self.weigh_trouble(error),
            };
            if let Some(news) = news {
                return news;
            }
        }
    }

    fn weigh(&mut self, key: ApiKey) -> Option<SecretNews> {
        (self.next_look, self.rest, self.suspect) = (Instant::now() + POLL, REST.0, false);
        let was_in_trouble = self.trouble.take().is_some();
        let print = key.fingerprint();
        if self.told == Some(print) {
            return was_in_trouble.then_some(SecretNews::Recovered);
        }
        self.told = Some(print);
        Some(SecretNews::Changed(key))
    }

    fn weigh_trouble(&mut self, error: SecretError) -> Option<SecretNews> {
        self.next_look = Instant::now() + self.rest;
        self.rest = self.rest.saturating_mul(2).min(REST.1);
        let is_sure = self.told.is_none() || std::mem::replace(&mut self.suspect, true);
        if !is_sure || self.trouble.as_ref() == Some(&error) {
            return None;
        }
        self.trouble = Some(error.clone());
        Some(SecretNews::Broken(error))
    }
}

/// A watch that is opened again and again, and resumed where it ended.
struct Watch {
    place: SecretPlace,
    stream: Option<Response>,
    /// The last version that was heard of.
    from: Option<String>,
    line: Zeroizing<Vec<u8>>,
    open_at: Instant,
    rest: Duration,
    last_word: Instant,
    told: Option<CallError>,
}

impl Watch {
    fn new(place: SecretPlace) -> Self {
        Self {
            place,
            stream: None,
            from: None,
            line: Zeroizing::default(),
            open_at: Instant::now(),
            rest: REST.0,
            last_word: Instant::now(),
            told: None,
        }
    }

    /// Waits until there may be something new. May be cancelled: nothing is lost.
    async fn hint(&mut self) {
        loop {
            match self.step().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => self.end(&error),
            }
        }
    }

    /// Opens the stream or takes one piece of it; tells whether there may be something new.
    async fn step(&mut self) -> Result<bool, CallError> {
        let Some(stream) = &mut self.stream else {
            sleep_until(self.open_at).await;
            // Should this be given up, the next one waits as after a failure.
            self.open_at = Instant::now() + self.rest;
            self.stream = Some(self.place.watch(self.from.as_deref()).await?);
            self.line.clear();
            self.last_word = Instant::now();
            // What changed before there was a watch is found by a look, too.
            return Ok(self.from.is_none());
        };
        if let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line = Zeroizing::new(self.line.drain(..=end).collect::<Vec<_>>());
            return self.take(&line);
        }
        let chunk = tokio::time::timeout_at(self.last_word + SILENCE, stream.chunk());
        let chunk = chunk.await.map_err(|_| CallError::Timeout)?;
        match chunk.map_err(|error| failed(&error))? {
            Some(chunk) if self.line.len() + chunk.len() <= LONGEST_LINE => {
                self.line.extend_from_slice(&chunk);
                self.last_word = Instant::now();
                Ok(false)
            }
            Some(_) => Err(CallError::Malformed),
            None => {
                // The ordinary end of a watch: it goes on from the last version.
                (self.stream, self.open_at) = (None, Instant::now() + REST.0);
                Ok(false)
            }
        }
    }

    fn take(&mut self, line: &[u8]) -> Result<bool, CallError> {
        let event = wire::event(line).ok_or(CallError::Malformed)?;
        (self.rest, self.told) = (REST.0, None);
        match event {
            Event::Changed(version) => {
                self.from = Some(version);
                Ok(true)
            }
            Event::Bookmark(version) => {
                self.from = Some(version);
                Ok(false)
            }
            Event::Forgotten => Err(CallError::Gone),
        }
    }

    /// Rests after a trouble, longer each time, and begins anew where the version is forgotten.
    fn end(&mut self, error: &CallError) {
        self.stream = None;
        if *error == CallError::Gone {
            self.from = None;
        }
        self.open_at = Instant::now() + self.rest;
        self.rest = self.rest.saturating_mul(2).min(REST.1);
        // A look meets the same trouble and tells of it, but for the right to watch.
        if *error == CallError::Forbidden && self.told.as_ref() != Some(error) {
            let secret = self.place.name.to_string();
            tracing::warn!(secret, problem = %error, "the Secret is only looked at each 30 s");
        }
        self.told = Some(error.clone());
    }
}
