//! The certificates of TLS listeners: read before anything opens, then followed.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{AppError, Commons, supervise::supervise};
use crate::{
    config::{Config, model::Tls},
    local::{
        server::{App, Server},
        tls::Certificate,
    },
    process::{
        clock::Clock,
        feed::{Feed, News},
    },
};

/// Certificates by the name of their listener.
pub(super) type Certificates = BTreeMap<String, Arc<Certificate>>;

/// Reads the certificates of all listeners that have one.
pub(super) fn load(config: &Config, clock: &dyn Clock) -> Result<Certificates, AppError> {
    let mut certificates = Certificates::new();
    for (name, listener) in &config.listeners {
        if let Some(files) = &listener.tls {
            let certificate = Certificate::load(files);
            let certificate = certificate.map_err(|error| AppError::Tls(name.clone(), error))?;
            warn(name, &certificate, clock);
            certificates.insert(name.clone(), Arc::new(certificate));
        }
    }
    Ok(certificates)
}

fn warn(listener: &str, certificate: &Certificate, clock: &dyn Clock) {
    if let Some(warning) = certificate.warning(clock.wall()) {
        tracing::warn!(listener, %warning, "look at the certificate");
    }
}

/// Watches the files of one listener for as long as it lives.
pub(super) struct Follower {
    files: Tls,
    nudge: Arc<Notify>,
    stop: CancellationToken,
}

impl Follower {
    /// Starts to watch; what is new is shown by the server until `close`.
    pub(super) fn start<A: App>(
        commons: &Commons,
        listener: &str,
        files: &Tls,
        server: &Arc<Server<A>>,
        close: &CancellationToken,
    ) -> Self {
        let this = Self { files: files.clone(), nudge: Arc::default(), stop: close.child_token() };
        let (files, nudge) = (files.clone(), Arc::clone(&this.nudge));
        let (listener, server) = (listener.to_owned(), Arc::clone(server));
        let clock = Arc::clone(&commons.clock);
        let task = format!("certificate {listener}");
        supervise(commons, task, this.stop.clone(), move || {
            let feed = Feed::new(files.clone(), Arc::clone(&nudge));
            follow(feed, listener.clone(), Arc::clone(&server), Arc::clone(&clock))
        });
        this
    }

    /// Tells whether it is these files that are watched.
    pub(super) fn has(&self, files: &Tls) -> bool {
        self.files == *files
    }

    /// Looks again, whether there was an event or not.
    pub(super) fn look(&self) {
        self.nudge.notify_one();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Shows each certificate that takes the place of the one before it; never ends.
async fn follow<A: App>(
    mut feed: Feed<Tls>,
    listener: String,
    server: Arc<Server<A>>,
    clock: Arc<dyn Clock>,
) {
    let mut is_broken = false;
    loop {
        match feed.next().await {
            News::Broken(error) => {
                is_broken = true;
                let reason = error.label();
                tracing::error!(listener, reason, problem = %error, "the old certificate stays");
            }
            News::Changed(new) if !server.shown().is_some_and(|shown| shown.is_same(&new)) => {
                is_broken = false;
                warn(&listener, &new, &*clock);
                server.show(Some(Arc::new(new)));
                tracing::info!(listener, "a new certificate is shown");
            }
            // It is what is shown already; so is the first news.
            News::Changed(_) | News::Recovered => {
                if std::mem::take(&mut is_broken) {
                    tracing::info!(listener, "the certificate can be read again");
                }
            }
        }
    }
}
