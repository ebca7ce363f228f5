//! The place of a key in a Secret, with all that a rotation keeps beside it.
//!
//! Beside `key_id` and `key_secret` these are the fields `next_key_id` and `next_key_secret`, the key
//! that is to follow, and `rotation`, the journal. Each change is one call that holds for one version
//! of the Secret only. What somebody else has changed of ours meanwhile is never written over: the work
//! is begun anew, with what stands there then.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::sleep};

use super::{
    client::CallError,
    lease::{Lease, Unheld},
    secret::{Content, SecretError, SecretPlace},
    wire::Change,
};
use crate::{
    config::model::SecretName,
    key::{
        api_key::ApiKey,
        journal::{Journal, JournalFlaw},
        shelf::{Replaced, ShelfError},
        step::Found,
    },
    process::fingerprint::Fingerprint,
};

/// Times that a change is tried, and the rest between.
const TRIES: u32 = 5;
/// The first rest between two tries; it doubles.
const REST: Duration = Duration::from_millis(200);

/// Names the Secret of a key and the Lease of its rotation, for as long as it is configured.
#[derive(Clone)]
pub struct SecretSite {
    place: SecretPlace,
    lease: Arc<Lease>,
}

impl SecretSite {
    /// Names them; nothing is asked yet.
    #[must_use]
    pub fn new(name: SecretName) -> Self {
        let place = SecretPlace::new(name);
        Self { lease: Arc::new(Lease::new(place.clone())), place }
    }

    /// Shows signs of life as long as this is polled and a rotation is ours.
    pub async fn keep(&self) -> std::convert::Infallible {
        self.lease.keep().await
    }
}

/// Holds the place of one key. Its methods block on calls, so they are for threads that may.
pub struct SecretShelf {
    site: SecretSite,
    /// Version of the Secret as it was seen last.
    version: String,
    /// What of it is ours, as it was seen last.
    seen: Fingerprint,
    has_next: bool,
}

impl SecretShelf {
    /// Looks at all that an earlier daemon may have left; where that is a rotation, takes its Lease.
    ///
    /// # Errors
    ///
    /// When there is no key, or another daemon is at work.
    pub fn open(site: &SecretSite) -> Result<(Self, Found, Option<ApiKey>), ShelfError> {
        let mut content = wait(site.place.read())?;
        let (mut found, mut beside) = look(site, &content)?;
        if !is_quiet(&found) {
            claim(site)?;
            // Whoever had it may have come further.
            content = wait(site.place.read())?;
            (found, beside) = look(site, &content)?;
        }
        let shelf = Self {
            site: site.clone(),
            seen: content.fingerprint(),
            has_next: content.has_next(),
            version: content.version,
        };
        Ok((shelf, found, beside))
    }

    /// Reads the key in use.
    ///
    /// # Errors
    ///
    /// When there is none, or something is not as it was left.
    pub fn key(&mut self) -> Result<ApiKey, ShelfError> {
        let content = self.unchanged()?;
        Ok(content.key().map_err(|flaw| self.site.place.flawed(flaw))?)
    }

    /// Finds out, and leaves no trace, whether the Secret may be changed.
    ///
    /// # Errors
    ///
    /// Says what is in the way.
    pub fn probe(&mut self) -> Result<(), ShelfError> {
        let change = Change::default();
        match wait(self.site.place.change(&change, &self.version, true)) {
            Err(error) if error.call() != Some(&CallError::Conflict) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Takes the Lease, and sees that all is as it was left and may be changed.
    ///
    /// # Errors
    ///
    /// Says what is in the way.
    pub fn prove(&mut self) -> Result<(), ShelfError> {
        self.hold()?;
        self.probe()
    }

    /// Takes the Lease or shows that it is still held, and sees that all is as it was left.
    ///
    /// # Errors
    ///
    /// When another daemon has it, or was here.
    pub fn hold(&mut self) -> Result<(), ShelfError> {
        claim(&self.site)?;
        self.unchanged().map(drop)
    }

    /// Writes the journal.
    ///
    /// # Errors
    ///
    /// Then either the old or the new one stands there.
    pub fn record(&mut self, journal: &Journal) -> Result<(), ShelfError> {
        claim(&self.site)?;
        self.change(&Change { rotation: Some(&journal.written()), ..Change::default() })
    }

    /// Puts the new key beside the one in use.
    ///
    /// Also where somebody has put another key into the Secret meanwhile: as long as the Lease is ours
    /// nobody else rotates, and a key that was issued is not to be lost.
    ///
    /// # Errors
    ///
    /// When the Lease is lost, or the Secret cannot be changed.
    pub fn save(&mut self, new: &ApiKey) -> Result<(), ShelfError> {
        claim(&self.site)?;
        let content = wait(self.site.place.read())?;
        self.take_note(&content);
        self.change(&Change { next: Some(Some(new)), ..Change::default() })
    }

    /// Puts the new key in the place of the one with this id, which is gone from the Secret then.
    ///
    /// # Errors
    ///
    /// When something is not as it was left, or the Secret cannot be changed.
    pub fn replace(&mut self, over: &str, new: &ApiKey) -> Result<Replaced, ShelfError> {
        claim(&self.site)?;
        let there = self.key()?;
        if there.id() == new.id() {
            return Ok(Replaced::Done);
        }
        if there.id() != over {
            return Ok(Replaced::Overtaken);
        }
        let change = Change { key: Some(new), next: Some(None), rotation: None };
        self.change(&change).map(|()| Replaced::Done)
    }

    /// Takes away what is left of a key that was to follow.
    ///
    /// # Errors
    ///
    /// When it cannot be taken away.
    pub fn tidy(&mut self) -> Result<(), ShelfError> {
        if !self.has_next {
            return Ok(());
        }
        claim(&self.site)?;
        self.change(&Change { next: Some(None), ..Change::default() })
    }

    /// Gives the Lease back, if it is held.
    pub fn put_down(&self) {
        wait(self.site.lease.release());
    }

    /// Reads the Secret, in which all that is ours has to be as it was left.
    fn unchanged(&mut self) -> Result<Content, ShelfError> {
        let content = wait(self.site.place.read())?;
        if content.fingerprint() != self.seen {
            return Err(self.overtaken());
        }
        self.version.clone_from(&content.version);
        Ok(content)
    }

    /// Makes a change. A call whose answer is lost, or that a stranger's change of the rest of the
    /// Secret has refused, is made again; one that has come through is not.
    fn change(&mut self, change: &Change<'_>) -> Result<(), ShelfError> {
        let mut rest = REST;
        for tries_left in (0..TRIES).rev() {
            let error = match wait(self.site.place.change(change, &self.version, false)) {
                Ok(content) => {
                    self.take_note(&content);
                    return Ok(());
                }
                Err(error) => error,
            };
            let call = error.call();
            let is_conflict = call == Some(&CallError::Conflict);
            if tries_left == 0 || !is_conflict && !call.is_some_and(CallError::may_pass) {
                return Err(error.into());
            }
            wait(sleep(rest));
            rest = rest.saturating_mul(2);
            let Ok(content) = wait(self.site.place.read()) else { continue };
            if content.holds(change) {
                self.take_note(&content);
                return Ok(());
            }
            if content.fingerprint() != self.seen {
                return Err(self.overtaken());
            }
            self.version = content.version;
        }
        Err(self.overtaken())
    }

    fn take_note(&mut self, content: &Content) {
        self.seen = content.fingerprint();
        self.has_next = content.has_next();
        self.version.clone_from(&content.version);
    }

    fn overtaken(&self) -> ShelfError {
        ShelfError::Overtaken { place: self.site.place.name.to_string() }
    }
}

fn look(site: &SecretSite, content: &Content) -> Result<(Found, Option<ApiKey>), ShelfError> {
    let key = content.key().map_err(|flaw| site.place.flawed(flaw))?;
    let file = key.id().to_owned();
    let beside = content.next().filter(|next| !next.id().eq_ignore_ascii_case(&file));
    let journal = match content.rotation().map(Journal::read) {
        None => Err(JournalFlaw::Missing),
        Some(Err(JournalFlaw::Version(version))) => {
            let path = format!("the field rotation of {}", site.place.name).into();
            return Err(ShelfError::LaterJournal { path, version });
        }
        Some(journal) => journal,
    };
    let found = Found { journal, file, beside: beside.as_ref().map(|key| key.id().to_owned()) };
    Ok((found, beside))
}

/// Tells whether nothing has to be written before the next rotation.
fn is_quiet(found: &Found) -> bool {
    let is_known = |journal: &Journal| journal.asked.is_none() && journal.key_id == found.file;
    found.beside.is_none() && found.journal.as_ref().is_ok_and(is_known)
}

fn claim(site: &SecretSite) -> Result<(), ShelfError> {
    wait(site.lease.claim()).map_err(|unheld| match unheld {
        Unheld::Taken { holder } => {
            ShelfError::Leased { place: site.place.name.to_string(), holder }
        }
        Unheld::Call(error) => {
            ShelfError::Remote { problem: format!("the Lease for {} {error}", site.place.name) }
        }
    })
}

impl From<SecretError> for ShelfError {
    fn from(error: SecretError) -> Self {
        Self::Remote { problem: error.to_string() }
    }
}

/// Waits for a call on a thread that may block.
fn wait<T>(call: impl Future<Output = T>) -> T {
    Handle::current().block_on(call)
}
