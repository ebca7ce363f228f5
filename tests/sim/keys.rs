//! Follows the key on the simulated disk, as the daemon follows a file: hints, and looks after them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bearerd::{
    key::{api_key::ApiKey, superseded::Superseded},
    okta::classify::Grant,
    token::{
        keys::{KeyTrouble, Keys},
        lease::Lease,
        published::Published,
    },
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::disk::Disk;

/// Time between two looks that must agree.
const SETTLING: Duration = Duration::from_millis(200);

/// The last tokens that were given to be kept, the latest last.
pub(crate) type Kept = Arc<Mutex<Vec<(Arc<ApiKey>, Arc<Published>)>>>;

/// Gives a broker what lies on the disk.
pub(crate) struct DiskKeys {
    disk: Arc<Disk>,
    nudge: Arc<Notify>,
    superseded: Arc<Superseded>,
    look_at: Option<Instant>,
    latest: Option<Arc<ApiKey>>,
    is_broken: bool,
    kept: Kept,
    recalled: Option<(Grant, Lease)>,
}

impl DiskKeys {
    pub(crate) fn new(
        disk: &Arc<Disk>,
        superseded: &Arc<Superseded>,
        kept: Kept,
        recalled: Option<(Grant, Lease)>,
    ) -> Self {
        Self {
            disk: Arc::clone(disk),
            nudge: Arc::clone(&disk.changed),
            superseded: Arc::clone(superseded),
            look_at: Some(Instant::now()),
            latest: None,
            is_broken: false,
            kept,
            recalled,
        }
    }

    fn look(&mut self) -> Option<Result<Arc<ApiKey>, KeyTrouble>> {
        let Some(key) = self.disk.key() else {
            return (!std::mem::replace(&mut self.is_broken, true))
                .then(|| Err(trouble("missing")));
        };
        let was_broken = std::mem::take(&mut self.is_broken);
        let is_known = self.latest.as_ref().is_some_and(|it| it.fingerprint() == key.fingerprint());
        if is_known && !was_broken {
            return None;
        }
        let is_stale = self.superseded.contains(key.id())
            && self.latest.as_ref().is_some_and(|it| !self.superseded.contains(it.id()));
        if is_stale {
            self.is_broken = true;
            return (!was_broken).then(|| Err(trouble("superseded")));
        }
        let key = Arc::new(key);
        self.latest = Some(Arc::clone(&key));
        Some(Ok(key))
    }
}

fn trouble(label: &'static str) -> KeyTrouble {
    KeyTrouble { label, sentence: format!("the key file is {label}") }
}

impl Keys for DiskKeys {
    async fn next(&mut self) -> Result<Arc<ApiKey>, KeyTrouble> {
        loop {
            if let Some(at) = self.look_at {
                sleep_until(at).await;
                self.look_at = None;
                if let Some(news) = self.look() {
                    return news;
                }
            }
            self.nudge.notified().await;
            self.look_at = Some(Instant::now() + SETTLING);
        }
    }

    fn look_again(&mut self) {
        self.nudge.notify_one();
    }

    fn keep(&mut self, key: &Arc<ApiKey>, published: &Arc<Published>) {
        let mut kept = self.kept.lock().expect("nobody panics with it");
        kept.push((Arc::clone(key), Arc::clone(published)));
        if kept.len() > 2 {
            kept.remove(0);
        }
    }

    fn recall(&mut self) -> Option<(Grant, Lease)> {
        self.recalled.take()
    }
}
