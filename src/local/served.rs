//! What one listener serves, as its configuration and the credentials of the moment have it.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    credentials::{Credentials, Member},
    guard::Proof,
    problem::{Kind, Problem},
};
use crate::{
    config::model::Listener,
    process::clock::Clock,
    proxy::{Proxy, local_token::LocalToken},
    token::handle::Handle,
};

/// What a listener serves; replaced as a whole on a reload.
pub(super) struct Served {
    /// The listener's credentials, its default first; never empty.
    credentials: Vec<Handle>,
    pub(super) serves_token: bool,
    pub(super) serves_auth: bool,
    pub(super) proxy: Option<Proxy>,
    access_token: Option<Arc<LocalToken>>,
    pub(super) first_token_wait: Duration,
    /// Places of requests that wait for a change: these must not take the places of all others.
    pub(super) waits: Semaphore,
    pub(super) watches: Watches,
}

/// Part of a listener's connections that may wait for a change, as a divisor.
const WAITING_PART: usize = 4;
/// Part that may be watches: a quarter is left to those who only ask.
const WATCHING_PART: usize = 2;

impl Served {
    pub(super) fn new(
        listener: &Listener,
        local: Option<Arc<LocalToken>>,
        everybody: &Credentials,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let names = listener.credentials.iter();
        let members: Vec<_> = names.filter_map(|name| everybody.find(name)).collect();
        let access_token = local.clone().filter(|token| token.is_access_token());
        let proxy = listener.proxy.as_ref().zip(local).map(|(settings, local)| {
            let upstreams = members.iter().map(Member::upstream).collect();
            Proxy::new(settings, upstreams, local, Arc::clone(clock))
        });
        Self {
            credentials: members.into_iter().map(|member| member.handle).collect(),
            serves_token: listener.serves_token,
            serves_auth: listener.serves_auth,
            proxy,
            access_token,
            first_token_wait: listener.first_token_wait,
            waits: Semaphore::new(listener.limits.max_connections.div_ceil(WAITING_PART)),
            watches: Watches::new(listener.limits.max_connections.div_ceil(WATCHING_PART)),
        }
    }

    /// Lets the watches of an older configuration go on if they would find the same here.
    ///
    /// Else it ends them.
    pub(super) fn after(mut self, before: &Self) -> Self {
        if self.has_what_is_watched(before) {
            self.watches = before.watches.clone();
        } else {
            before.watches.over.cancel();
        }
        self
    }

    /// More credentials behind the old ones are no reason to come again.
    fn has_what_is_watched(&self, before: &Self) -> bool {
        let mut pairs = self.credentials.iter().zip(&before.credentials);
        self.serves_token
            && self.watches.most == before.watches.most
            && self.credentials.len() >= before.credentials.len()
            && pairs.all(|(own, old)| own.is_of_same_broker(old))
    }

    /// Tells what requests show that are not about Okta's paths.
    pub(super) fn proof(&self) -> Proof {
        self.access_token.as_ref().map_or(Proof::Header, |it| Proof::AccessToken(it.current()))
    }

    /// Tells what a question of a reverse proxy shows.
    pub(super) fn visitor_proof(&self) -> Proof {
        Proof::Visitor(self.access_token.as_ref().map(|it| it.current()))
    }

    /// Finds the credential that a request names, or the listener's default.
    pub(super) fn credential(&self, name: Option<&str>) -> Result<&Handle, Problem> {
        let found = match name {
            None => self.credentials.first(),
            Some(name) => self.credentials.iter().find(|handle| handle.name() == name),
        };
        found.ok_or_else(|| Kind::NotFound.because("this listener has no such credential"))
    }
}

/// The watches of a listener: their places, and their end.
#[derive(Clone)]
pub(super) struct Watches {
    places: Arc<Semaphore>,
    most: usize,
    over: CancellationToken,
}

impl Watches {
    fn new(most: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), most, over: CancellationToken::new() }
    }

    /// Gives a place, if there is one left.
    pub(super) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Tells when what is watched is no longer served.
    pub(super) fn over(&self) -> CancellationToken {
        self.over.clone()
    }
}
