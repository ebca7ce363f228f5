//! The access tokens of the listeners: there before a socket is, followed while it is open.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Commons, supervise::supervise};
use crate::{
    config::{Config, model::Listener},
    local::access_token::{AccessTokenError, AccessTokenFile},
    process::{
        feed::{Feed, News},
        secret::Secret,
    },
    proxy::local_token::LocalToken,
};

/// Holds the access token of each listener that asks for one.
pub(super) struct AccessTokens {
    commons: Commons,
    held: BTreeMap<String, Held>,
}

struct Held {
    file: AccessTokenFile,
    token: Arc<LocalToken>,
    nudge: Arc<Notify>,
    stop: CancellationToken,
}

/// The tokens that a new configuration needs, read or made before anything is changed.
pub(super) struct Plan(BTreeMap<String, (AccessTokenFile, Secret)>);

impl AccessTokens {
    pub(super) const fn new(commons: Commons) -> Self {
        Self { commons, held: BTreeMap::new() }
    }

    /// Reads the tokens whose files are new; one that is followed already keeps what it has.
    pub(super) fn plan(&self, config: &Config) -> Result<Plan, AccessTokenError> {
        let mut plan = BTreeMap::new();
        for (name, listener) in &config.listeners {
            let Some(file) = file_of(listener) else { continue };
            if self.held.get(name).is_none_or(|held| held.file != file) {
                let token = file.read_or_make(listener.socket.group)?;
                plan.insert(name.clone(), (file, token));
            }
        }
        Ok(Plan(plan))
    }

    /// Takes the new tokens and lets go of those that nobody asks for; cannot fail.
    pub(super) fn commit(&mut self, plan: Plan, config: &Config) {
        self.held.retain(|name, held| {
            let listener = config.listeners.get(name);
            let stays = listener.and_then(file_of).is_some_and(|file| file == held.file);
            if !stays {
                held.stop.cancel();
            }
            stays
        });
        self.look_around();
        for (name, (file, token)) in plan.0 {
            let held = self.follow(&name, file, token);
            self.held.insert(name, held);
        }
    }

    /// Gives the token of a listener, if it asks for one.
    pub(super) fn of(&self, listener: &str) -> Option<Arc<LocalToken>> {
        self.held.get(listener).map(|held| Arc::clone(&held.token))
    }

    /// Lets every file be looked at.
    pub(super) fn look_around(&self) {
        self.held.values().for_each(|held| held.nudge.notify_one());
    }

    fn follow(&self, listener: &str, file: AccessTokenFile, token: Secret) -> Held {
        let held = Held {
            file,
            token: Arc::new(LocalToken::access(token)),
            nudge: Arc::default(),
            stop: self.commons.closing.child_token(),
        };
        let (file, nudge) = (held.file.clone(), Arc::clone(&held.nudge));
        let (listener, token) = (listener.to_owned(), Arc::clone(&held.token));
        let task = format!("access token of {listener}");
        supervise(&self.commons, task, held.stop.clone(), move || {
            let feed = Feed::new(file.clone(), Arc::clone(&nudge));
            update(listener.clone(), feed, Arc::clone(&token))
        });
        held
    }
}

fn file_of(listener: &Listener) -> Option<AccessTokenFile> {
    listener.guard.access_token_file.clone().map(AccessTokenFile)
}

/// Takes over what the file holds, whenever that is an access token; open connections stay.
async fn update(listener: String, mut feed: Feed<AccessTokenFile>, token: Arc<LocalToken>) {
    loop {
        match feed.next().await {
            News::Changed(new) if *token.current() == new => {}
            News::Changed(new) => {
                token.replace(new);
                tracing::info!(listener, "the access token has changed");
            }
            News::Recovered => tracing::info!(listener, "the access token can be read again"),
            News::Broken(error) => {
                tracing::warn!(listener, problem = %error, "the old access token stays");
            }
        }
    }
}
