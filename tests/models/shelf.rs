//! The place of one key: what a rotation does there is done at once, on a thread for what blocks.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use bearerd::{
    key::{
        api_key::ApiKey,
        journal::{Journal, JournalFlaw},
        shelf::{Replaced, ShelfError},
        step::Found,
    },
    rotator::place::{Place, Site, TakenPlace},
};
use tokio::sync::Notify;

use crate::world::{id_of, key, letter};

/// Holds a key by its letter, and what a rotation keeps beside it.
pub(crate) struct Shelf {
    content: Mutex<Content>,
    /// Wakes whoever follows the key.
    pub(crate) changed: Arc<Notify>,
}

struct Content {
    key: char,
    beside: Option<char>,
    journal: Option<Journal>,
}

impl Shelf {
    /// Holds a key of which no journal tells.
    pub(crate) fn with(key: char) -> Arc<Self> {
        let content = Mutex::new(Content { key, beside: None, journal: None });
        Arc::new(Self { content, changed: Arc::default() })
    }

    /// Tells the letter of the key in use.
    pub(crate) fn key(&self) -> char {
        self.lock().key
    }

    /// Tells whether the key of a letter is in use, or beside it.
    pub(crate) fn holds(&self, letter: char) -> bool {
        let content = self.lock();
        content.key == letter || content.beside == Some(letter)
    }

    /// Gives the journal, which tells of every key that was rotated away.
    pub(crate) fn journal(&self) -> Journal {
        self.lock().journal.clone().unwrap()
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap()
    }
}

/// The place, for one process.
pub(crate) struct ShelfSite(pub(crate) Arc<Shelf>);

impl Site for ShelfSite {
    fn path(&self) -> &Path {
        Path::new("key.json")
    }

    fn take(&self) -> Result<TakenPlace, ShelfError> {
        let content = self.0.lock();
        let found = Found {
            journal: content.journal.clone().ok_or(JournalFlaw::Missing),
            file: id_of(content.key),
            beside: content.beside.map(id_of),
        };
        Ok((Box::new(Hand(Arc::clone(&self.0))), found, content.beside.map(key)))
    }
}

/// The right to change it.
struct Hand(Arc<Shelf>);

impl Place for Hand {
    fn key(&mut self) -> Result<ApiKey, ShelfError> {
        Ok(key(self.0.key()))
    }

    fn probe(&mut self) -> Result<(), ShelfError> {
        Ok(())
    }

    fn prove(&mut self) -> Result<(), ShelfError> {
        Ok(())
    }

    fn hold(&mut self) -> Result<(), ShelfError> {
        Ok(())
    }

    fn record(&mut self, journal: &Journal) -> Result<(), ShelfError> {
        self.0.lock().journal = Some(journal.clone());
        Ok(())
    }

    fn save(&mut self, new: &ApiKey) -> Result<(), ShelfError> {
        self.0.lock().beside = Some(letter(new.id()));
        Ok(())
    }

    fn replace(&mut self, over: &str, new: &ApiKey) -> Result<Replaced, ShelfError> {
        let mut content = self.0.lock();
        if content.key != letter(over) {
            return Ok(Replaced::Overtaken);
        }
        (content.key, content.beside) = (letter(new.id()), None);
        self.0.changed.notify_one();
        Ok(Replaced::Done)
    }

    fn tidy(&mut self) -> Result<(), ShelfError> {
        self.0.lock().beside = None;
        Ok(())
    }

    fn put_down(&mut self) {}
}
