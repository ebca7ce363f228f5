//! The daemon's task for the key of one credential: it rests, rotates, and looks after the key's end.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ring::digest::{SHA256, digest};
use tokio::{
    sync::{Mutex, Notify, mpsc},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

use super::{
    handle::{Command, RotatorHandle, View},
    hands::{Hands, Token, Tokens},
    place::{Site, TakenPlace, site_of},
    told::hand_over,
    work::Work,
};
use crate::{
    config::model::{Credential, Rotation as Settings},
    key::{shelf::ShelfError, step::Plan, superseded::Superseded},
    okta::{issuer::Allowance, keys::KeyIssuer},
    outlet::command::Hook,
    process::clock::Clock,
    token::handle::Handle,
};

/// First and last rest before the place of the key is looked at anew.
const PLACE_REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Longest rest while somebody else is at work there, who may die of it.
const LONGEST_WATCH: Duration = Duration::from_secs(5);

/// Finds the broker of the credential that asks.
pub type Lookup = Arc<dyn Fn() -> Option<Handle> + Send + Sync>;

/// Holds all that the task of one credential needs, each time that it is started.
pub struct Seat<I> {
    pub(super) name: String,
    pub(super) site: Arc<dyn Site>,
    user: String,
    pub(super) plan: Plan,
    issuer: Arc<I>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) own: Handle,
    pub(super) asking: Lookup,
    pub(super) nudge: Arc<Notify>,
    pub(super) superseded: Arc<Superseded>,
    on_rotated: Option<Hook>,
    view: Arc<ArcSwap<View>>,
    line: Mutex<mpsc::Receiver<Command>>,
}

/// What the rest of the daemon gives to a rotation.
pub struct Neighbours<I> {
    /// Speaks to the issuer.
    pub issuer: Arc<I>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The broker of the key.
    pub own: Handle,
    /// The broker whose tokens ask for new keys.
    pub asking: Lookup,
    /// Makes the broker look at the file.
    pub nudge: Arc<Notify>,
    /// The keys that the broker is not to take.
    pub superseded: Arc<Superseded>,
    /// What gets each new key.
    pub on_rotated: Option<Hook>,
}

/// Makes the plan of a credential on this machine.
#[must_use]
pub fn plan(name: &str, settings: &Settings) -> Plan {
    let host = rustix::system::uname();
    let place = place(host.nodename().to_bytes(), name);
    Plan { every: settings.every, place, delete_old: settings.delete_old }
}

impl<I: KeyIssuer> Seat<I> {
    /// Makes the seat, and what others hold of it; `None` for a key that is not rotated.
    #[must_use]
    pub fn new(
        name: &str,
        credential: &Credential,
        neighbours: Neighbours<I>,
    ) -> Option<(Self, RotatorHandle)> {
        let (site, settings) = site_of(credential).zip(credential.rotation.as_ref())?;
        Some(Self::at(name, site, &settings.user, plan(name, settings), neighbours))
    }

    /// Makes the seat for a key that lies at this place, and what others hold of it.
    #[must_use]
    pub fn at(
        name: &str,
        site: Arc<dyn Site>,
        user: &str,
        plan: Plan,
        neighbours: Neighbours<I>,
    ) -> (Self, RotatorHandle) {
        let (handle, line, view) = RotatorHandle::new();
        let Neighbours { issuer, clock, own, asking, nudge, superseded, on_rotated } = neighbours;
        let seat = Self {
            name: name.to_owned(),
            site,
            user: user.to_owned(),
            plan,
            issuer,
            clock,
            own,
            asking,
            nudge,
            superseded,
            on_rotated,
            view,
            line: Mutex::new(line),
        };
        (seat, handle)
    }

    /// Rotates until `stop`; then ends `done`, once no answer of Okta can be lost any more.
    pub async fn run(self: Arc<Self>, stop: CancellationToken, done: CancellationToken) {
        let mut line = self.line.lock().await;
        let mut rest = PLACE_REST.0;
        while !stop.is_cancelled() {
            match self.take_place().await {
                Ok((shelf, found, beside)) => {
                    let tokens = Arc::new(Brokers {
                        own: self.own.clone(),
                        asking: Arc::clone(&self.asking),
                    });
                    let issuer = Arc::clone(&self.issuer);
                    let hands = Hands::new(&self.user, issuer, tokens, shelf, beside);
                    let work = Work::new(&self, hands, found);
                    work.run(&mut line, &stop).await;
                    rest = PLACE_REST.0;
                }
                Err(error) => {
                    self.wait_for_place(&error, rest, &mut line, &stop).await;
                    let longest = if error.is_of_another() { LONGEST_WATCH } else { PLACE_REST.1 };
                    rest = rest.saturating_mul(2).min(longest);
                }
            }
        }
        done.cancel();
    }

    async fn take_place(&self) -> Result<TakenPlace, ShelfError> {
        let site = Arc::clone(&self.site);
        let moved = ShelfError::Moved { path: site.path().to_owned() };
        spawn_blocking(move || site.take()).await.unwrap_or(Err(moved))
    }

    /// Says what is in the way, once, and rests; nobody can ask for anything meanwhile.
    async fn wait_for_place(
        &self,
        error: &ShelfError,
        rest: Duration,
        line: &mut mpsc::Receiver<Command>,
        stop: &CancellationToken,
    ) {
        let sentence = error.to_string();
        if self.view.load().trouble.as_ref() != Some(&sentence) {
            if error.is_of_another() {
                tracing::info!(
                    credential = self.name,
                    problem = sentence,
                    "the key is not rotated here"
                );
            } else {
                tracing::warn!(
                    credential = self.name,
                    problem = sentence,
                    "the key cannot be rotated"
                );
            }
        }
        self.show(View { trouble: Some(sentence.clone()), ..View::default() });
        let again = self.clock.tick() + rest;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep_until(again) => return,
                command = line.recv() => match command {
                    Some(Command::Rotate(reply)) => drop(reply.send(Err(sentence.clone()))),
                    Some(Command::Reloaded(_)) => return,
                    None => stop.cancelled().await,
                },
            }
        }
    }

    /// Hands the key that the file holds to the command, if there is one.
    pub(super) async fn tell_command(&self) -> Result<(), String> {
        let Some(hook) = &self.on_rotated else {
            return Ok(());
        };
        // Whoever wants a key that is no file watches its place: the configuration refuses a command.
        match self.site.file() {
            Some((path, group)) => hand_over(hook, &self.name, path, group).await,
            None => Ok(()),
        }
    }

    pub(super) fn show(&self, view: View) {
        if **self.view.load() != view {
            self.view.store(Arc::new(view));
        }
    }
}

/// The tokens of the running brokers.
struct Brokers {
    own: Handle,
    asking: Lookup,
}

impl Tokens for Brokers {
    fn own(&self) -> Option<Token> {
        self.own.current().map(|(published, _)| Token::Served(published))
    }

    fn asking(&self) -> Option<Token> {
        (self.asking)()?.current().map(|(published, _)| Token::Served(published))
    }

    fn note_allowance(&self, told: Allowance) {
        (self.asking)().into_iter().for_each(|handle| handle.note_allowance(told));
    }

    fn is_allowance_low(&self) -> bool {
        (self.asking)().is_none_or(|handle| handle.is_allowance_low())
    }
}

/// Draws a place in 0..1 from what differs between machines, the same one at each start.
pub fn place(host: &[u8], credential: &str) -> f64 {
    let hash = digest(&SHA256, &[host, b"\0", credential.as_bytes()].concat());
    let first = hash.as_ref().first_chunk().copied().unwrap_or_default();
    f64::from(u32::from_be_bytes(first)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // fault 120
    #[test]
    fn a_fleet_is_spread_evenly_and_each_machine_keeps_its_place() {
        let places: Vec<_> =
            (0..1000).map(|host| place(format!("host-{host}").as_bytes(), "default")).collect();
        assert!(places.iter().all(|place| (0.0..1.0).contains(place)));
        for part in 0..10 {
            let part = f64::from(part) / 10.0..f64::from(part + 1) / 10.0;
            let count = places.iter().filter(|place| part.contains(place)).count();
            assert!((60..140).contains(&count), "{count} of a thousand in {part:?}");
        }
        assert_eq!(place(b"host-1", "default"), places[1]);
        assert_ne!(place(b"host-1", "other"), places[1]);
    }
}
