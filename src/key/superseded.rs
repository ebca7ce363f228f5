//! Keys that a rotation has replaced: one that comes back into the file is an accident (fault 94).

use std::sync::{Mutex, PoisonError};

/// Remembers the ids of keys that were rotated away.
#[derive(Debug, Default)]
pub struct Superseded(Mutex<Vec<String>>);

impl Superseded {
    /// Replaces all of them.
    pub fn replace(&self, ids: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ids;
    }

    /// Tells whether a key was rotated away.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        let ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.iter().any(|known| known.eq_ignore_ascii_case(id))
    }
}
