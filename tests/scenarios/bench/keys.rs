//! Keys that are handed to a broker one by one.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bearerd::{
    key::api_key::ApiKey,
    token::keys::{KeyTrouble, Keys},
};
use tokio::sync::mpsc;

/// Names a key by a letter, `A` to `F`.
pub(crate) type Letter = char;

/// Makes the key of a letter.
pub(crate) fn key(letter: Letter) -> Arc<ApiKey> {
    let id = format!("{letter:0>8}-0000-4000-8000-000000000000");
    let secret = format!("SNTL-secret-of-{letter}");
    let key = ApiKey::new(&id, &secret, None);
    Arc::new(key.expect("letters A to F make well-formed keys"))
}

/// Tells the letter of a key.
pub(crate) fn letter(key: &ApiKey) -> Letter {
    key.id().chars().nth(7).unwrap_or('?')
}

type News = Result<Arc<ApiKey>, KeyTrouble>;

/// Puts keys into the place that a broker watches.
#[derive(Default)]
pub(crate) struct KeyDesk {
    news: Mutex<Option<mpsc::UnboundedSender<News>>>,
    looks: Arc<AtomicUsize>,
}

impl KeyDesk {
    /// Opens the place for one broker.
    pub(crate) fn open(&self) -> FakeKeys {
        let (sender, news) = mpsc::unbounded_channel();
        *self.news.lock().expect("nobody panics with it") = Some(sender);
        FakeKeys { news, looks: Arc::clone(&self.looks) }
    }

    /// Puts the key of a letter there.
    pub(crate) fn put(&self, letter: Letter) {
        self.tell(Ok(key(letter)));
    }

    /// Spoils what lies there.
    pub(crate) fn spoil(&self) {
        self.tell(Err(KeyTrouble {
            label: "missing",
            sentence: "the key file is not there".to_owned(),
        }));
    }

    /// Tells how often a broker has asked for another look.
    pub(crate) fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }

    fn tell(&self, news: News) {
        if let Some(desk) = &*self.news.lock().expect("nobody panics with it") {
            // A broker that has been dropped reads nothing more.
            desk.send(news).ok();
        }
    }
}

/// Gives a broker what its desk is given.
pub(crate) struct FakeKeys {
    news: mpsc::UnboundedReceiver<News>,
    looks: Arc<AtomicUsize>,
}

impl Keys for FakeKeys {
    async fn next(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    fn look_again(&mut self) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }
}
