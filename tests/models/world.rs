//! What a broker has around it: an issuer that answers when the schedule says so, keys, a clock.

use std::{
    cell::RefCell,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use bearerd::{
    key::api_key::ApiKey,
    okta::{
        classify::Grant,
        issuer::{Issuer, Outcome},
        key_answers::{KeyError, ListedKey, NewKey},
        keys::{KeyIssuer, Told},
    },
    process::{
        clock::{Clock, Sleep},
        secret::Secret,
    },
    telemetry::metrics::Metrics,
    token::{
        broker::BrokerSeat,
        handle::Handle,
        keys::{KeyTrouble, Keys},
        lease::Serial,
        published::Published,
        timing::{RefreshSettings, Tick, Wall},
    },
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::cores::{pass, point, settle, spawn};

const BOOT: Tick = Tick::from_boot(Duration::from_secs(1_000_000));
const DAWN: Wall = Wall::from_seconds(1_769_846_400);
/// Life of every token.
pub(crate) const LIFE: Duration = Duration::from_secs(60 * 60);
/// Age of the first token when a model begins: no longer young.
const AGE: Duration = Duration::from_secs(10 * 60);

/// The service user, by name.
pub(crate) const USER: &str = "robot";
/// The keys in the order in which they are made.
pub(crate) const LETTERS: &str = "ABCDEFGH";

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

type News = Result<Arc<ApiKey>, KeyTrouble>;

/// Holds a broker and everything around it.
pub(crate) struct World {
    pub(crate) handle: Handle,
    pub(crate) settings: watch::Sender<RefreshSettings>,
    clock: Arc<ModelClock>,
    issuer: Arc<Desk>,
    seat: RefCell<Option<Arc<BrokerSeat>>>,
    /// Of the broker that runs.
    keys: RefCell<mpsc::UnboundedSender<News>>,
    stop: RefCell<CancellationToken>,
}

impl World {
    /// Starts a broker that has no key yet.
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ModelClock(Instant::now()));
        let (seat, handle) = BrokerSeat::new("default", Arc::clone(&clock) as _, &METRICS);
        let world = Self {
            handle,
            settings: watch::Sender::new(RefreshSettings::default()),
            issuer: Arc::new(Desk {
                clock: Arc::clone(&clock),
                mints: Mutex::default(),
                made: Mutex::default(),
            }),
            clock,
            seat: RefCell::new(Some(Arc::new(seat))),
            keys: RefCell::new(mpsc::unbounded_channel().0),
            stop: RefCell::default(),
        };
        world.start();
        world
    }

    /// Starts a broker that serves a token of key `A`, ten minutes old.
    pub(crate) fn started() -> Self {
        let world = Self::new();
        world.put('A');
        settle();
        pass(AGE);
        assert_eq!(world.serial(), Serial::new(1));
        world
    }

    /// Starts a broker on the seat, as the fleet does.
    pub(crate) fn start(&self) {
        let seat = self.seat.borrow().clone().expect("the seat is still there");
        let (keys, news) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        self.keys.replace(keys);
        self.stop.replace(stop.clone());
        let (settings, issuer) = (self.settings.subscribe(), Arc::clone(&self.issuer));
        let run = async move {
            let chance = Box::new(|| 0.5);
            seat.run(settings, issuer, Place(news), chance).await;
        };
        spawn("broker", async move {
            stop.run_until_cancelled_owned(run).await;
        });
    }

    /// Puts the key of a letter where the broker finds it.
    pub(crate) fn put(&self, letter: char) {
        // A broker that has ended reads nothing more.
        self.keys.borrow().send(Ok(Arc::new(key(letter)))).ok();
    }

    /// Ends the broker.
    pub(crate) fn stop(&self) {
        self.stop.borrow().cancel();
    }

    /// Gives up the seat: there is never another broker.
    pub(crate) fn leave_seat(&self) {
        self.seat.replace(None);
    }

    /// Gives the issuer, who also makes keys.
    pub(crate) fn issuer(&self) -> Arc<Desk> {
        Arc::clone(&self.issuer)
    }

    /// Gives the clocks.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as _
    }

    /// Tells the letters of all keys that the issuer has made.
    pub(crate) fn made(&self) -> Vec<char> {
        self.issuer.made.lock().unwrap().clone()
    }

    /// Tells the letters of the keys of all mints that were started.
    pub(crate) fn mints(&self) -> Vec<char> {
        self.issuer.mints.lock().unwrap().clone()
    }

    /// Tells the place of the token that is served.
    pub(crate) fn serial(&self) -> Serial {
        self.handle.current().map_or(Serial::NONE, |(token, _)| token.serial())
    }

    /// Tells how far the next refresh is from the start of the mint of the token that is served.
    pub(crate) fn next_refresh(&self) -> Duration {
        let (token, _) = self.handle.current().unwrap();
        self.handle.state().next_refresh.unwrap().since(token.lease().issued)
    }

    /// Tells that the time has not moved since the first token was old enough.
    pub(crate) fn stands_still(&self) -> bool {
        self.clock.0.elapsed() == AGE
    }
}

/// What one client has seen; no token may be older than one before it.
#[derive(Default)]
pub(crate) struct Eyes(Serial);

impl Eyes {
    /// Looks at a token that was served.
    pub(crate) fn see(&mut self, token: &Published) -> Serial {
        assert!(token.serial() >= self.0, "{} after {}", token.serial(), self.0);
        self.0 = token.serial();
        self.0
    }
}

/// Tells the letter of the key that made a token.
pub(crate) fn maker(token: &Published) -> char {
    char::from(token.token().expose()[0])
}

/// Makes the key of a letter.
pub(crate) fn key(letter: char) -> ApiKey {
    ApiKey::new(&id_of(letter), "secret", None).ok().unwrap()
}

/// Tells the id of the key of a letter.
pub(crate) fn id_of(letter: char) -> String {
    format!("{letter:0>8}-0000-4000-8000-000000000000")
}

/// Tells the letter of a key by its id.
pub(crate) fn letter(id: &str) -> char {
    id.chars().nth(7).unwrap()
}

/// Tells a time that stands still until nobody can go on.
pub(crate) struct ModelClock(Instant);

impl Clock for ModelClock {
    fn tick(&self) -> Tick {
        point();
        BOOT + self.0.elapsed()
    }

    fn wall(&self) -> Wall {
        point();
        DAWN + self.0.elapsed()
    }

    fn sleep_until(&self, deadline: Tick) -> Sleep {
        Box::pin(tokio::time::sleep_until(self.0 + deadline.since(BOOT)))
    }
}

/// Grants everything, but answers nothing before the schedule lets it.
pub(crate) struct Desk {
    clock: Arc<ModelClock>,
    mints: Mutex<Vec<char>>,
    /// New keys, after the one that is called `A`.
    made: Mutex<Vec<char>>,
}

impl Desk {
    async fn turn_to_answer(&self) {
        let (answer, answered) = oneshot::channel();
        // Who has abandoned the question does not need it.
        let answers = async move { answer.send(()).unwrap_or_default() };
        spawn("the issuer answers", answers);
        answered.await.unwrap();
    }

    async fn told<T>(&self, result: Result<T, KeyError>) -> Told<T> {
        self.turn_to_answer().await;
        Told { result, allowance: None }
    }
}

impl Issuer for Desk {
    async fn mint(&self, key: &ApiKey) -> Outcome {
        let letter = letter(key.id());
        let number = {
            let mut mints = self.mints.lock().unwrap();
            mints.push(letter);
            mints.len()
        };
        self.turn_to_answer().await;
        let grant = Grant {
            token: Secret::copy_of(format!("{letter}.{number}").as_bytes()),
            lifetime: LIFE,
            expires_at: self.clock.wall() + LIFE,
            team_name: "acme".to_owned(),
        };
        Outcome { result: Ok(grant), observed: None, took: Duration::ZERO }
    }

    async fn refuses(&self, _: &Secret) -> bool {
        false
    }
}

impl KeyIssuer for Desk {
    async fn whose(&self, _: &Secret) -> Told<(String, String)> {
        self.told(Ok((USER.to_owned(), id_of('0')))).await
    }

    async fn list_keys(&self, _: &Secret, _: &str) -> Told<Vec<ListedKey>> {
        self.told(Err(KeyError::Role)).await
    }

    async fn rotate_key(&self, _: &Secret, _: &str) -> Told<NewKey> {
        let letter = {
            let mut made = self.made.lock().unwrap();
            let next = LETTERS.chars().nth(made.len() + 1).unwrap();
            made.push(next);
            next
        };
        self.told(Ok(NewKey { key: key(letter), ends: None })).await
    }

    async fn delete_key(&self, _: &Secret, _: &str, _: &str) -> Told<()> {
        self.told(Err(KeyError::Role)).await
    }
}

/// Gives a broker the keys that are put there.
struct Place(mpsc::UnboundedReceiver<News>);

impl Keys for Place {
    async fn next(&mut self) -> News {
        match self.0.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    fn look_again(&mut self) {
        point();
    }

    fn keep(&mut self, _: &Arc<ApiKey>, _: &Arc<Published>) {
        point();
    }
}
