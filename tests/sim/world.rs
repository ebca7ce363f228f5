//! One world: a seed, a machine with a daemon, an issuer, clients and people, and what must always hold.

use std::{cmp::Reverse, collections::BinaryHeap, path::Path, sync::Arc, time::Duration};

use bearerd::{
    key::api_key::ApiKey,
    okta::classify::Grant,
    process::clock::Clock,
    token::{
        cache::Cache,
        handle::{Claim, Handle, Rejection},
        lease::Lease,
        timing::{RefreshSettings, Tick, Wall},
    },
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    clock::SimClock,
    daemon::{CREDENTIAL, Daemon, Machine},
    dice::Dice,
    disk::Disk,
    issuer::{SimIssuer, short},
    plan::Plan,
    story::{Counts, Story},
    watch::Watch,
    weather::{DEADLINE, Weather},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// How long refused content of the key file is not tried again, and more.
const REFUSED_MEMORY: Duration = Duration::from_secs(16 * 60);

/// What happens to a world from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ev {
    /// A client asks.
    Ask,
    /// A client asks around the end of a token.
    Edge,
    Weather,
    Clocks,
    Crash,
    Start,
    People,
    Mend,
    Report,
    StormEnds,
}

/// What was found.
pub(crate) struct Found {
    pub(crate) broken: Option<String>,
    pub(crate) counts: Counts,
    pub(crate) digest: u64,
    pub(crate) passed: Duration,
}

/// Runs the world of a seed for so long, in the time of that world.
pub(crate) fn run(seed: u64, time: Duration, home: &Path) -> Found {
    paused(async {
        let mut world = World::new(seed, Plan::draw(seed), home);
        world.live(time).await;
        world.finale().await;
        world.found()
    })
}

/// Runs a world in which a key is rotated, and no token comes any more after a while.
pub(crate) fn run_dry(home: &Path) -> Found {
    let plan = Plan {
        life: MINUTE,
        every: Some(24 * HOUR),
        storms: 10_000 * HOUR,
        clocks: None,
        crashes: None,
        people: None,
        reports: None,
        ..Plan::draw(1)
    };
    paused(async {
        let mut world = World::new(1, plan, home);
        world.live(10 * MINUTE).await;
        world.machine.issuer.turn(Weather::Refused);
        world.live(HOUR).await;
        world.finale().await;
        world.found()
    })
}

fn paused(world: impl Future<Output = Found>) -> Found {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(world)
}

struct World<'h> {
    machine: Machine,
    home: &'h Path,
    daemon: Option<Daemon>,
    clients: JoinSet<()>,
    settings: RefreshSettings,
    dice: Dice,
    schedule: BinaryHeap<Reverse<(Instant, u64, Ev)>>,
    scheduled: u64,
    boot: u64,
    /// Since when issuer and key are as they should be.
    well_since: Option<Tick>,
    disturbed: Tick,
    /// The end, by both clocks, of the token that was served last.
    /// What was served when it was last looked at: its two ends, and when that was.
    held: Option<(Tick, Wall, Tick)>,
    /// When a clock was last set forward, or there was no token any more after that.
    stepped: Option<Tick>,
    recalled: Option<(Grant, Lease)>,
    keys: Vec<ApiKey>,
    /// Somebody has changed the key.
    meddled: bool,
    storm: Option<(Tick, Tick)>,
}

impl<'h> World<'h> {
    fn new(seed: u64, plan: Plan, home: &'h Path) -> Self {
        let clock = Arc::new(SimClock::new());
        let story = Arc::new(Story::new(Arc::clone(&clock)));
        let dice = |stream| Dice::new(seed, stream);
        let issuer =
            SimIssuer::new(Arc::clone(&clock), Arc::clone(&story), plan.clone(), dice("issuer"));
        let key = issuer.new_key(true);
        let disk = Arc::new(Disk::new(&key, dice("disk")));
        let settings = plan.settings;
        story.tell("plan", &format!("{plan:?}"));
        let issuer = Arc::new(issuer);
        let machine = Machine { clock, story, issuer, disk, plan, dice: dice("machine") };
        let mut world = Self {
            machine,
            home,
            daemon: None,
            clients: JoinSet::new(),
            settings,
            dice: dice("world"),
            schedule: BinaryHeap::new(),
            scheduled: 0,
            boot: 0,
            well_since: None,
            disturbed: Tick::default(),
            held: None,
            stepped: None,
            recalled: None,
            keys: vec![key],
            meddled: false,
            storm: None,
        };
        let plan = world.machine.plan.clone();
        world.at(Duration::ZERO, Ev::Start);
        world.at(plan.clients, Ev::Ask);
        world.again(Some(plan.storms), Ev::Weather);
        world.again(plan.clocks, Ev::Clocks);
        world.again(plan.crashes, Ev::Crash);
        world.again(plan.people, Ev::People);
        world.again(plan.reports, Ev::Report);
        world
    }

    fn at(&mut self, wait: Duration, ev: Ev) {
        self.scheduled += 1;
        self.schedule.push(Reverse((Instant::now() + wait, self.scheduled, ev)));
    }

    fn again(&mut self, mean: Option<Duration>, ev: Ev) {
        if let Some(mean) = mean {
            let wait = self.dice.wait(mean);
            self.at(wait, ev);
        }
    }

    fn now(&self) -> Tick {
        self.machine.clock.tick()
    }

    fn tell(&self, kind: &'static str, text: impl AsRef<str>) {
        self.machine.story.tell(kind, text.as_ref());
    }

    fn found(&self) -> Found {
        let story = &self.machine.story;
        let (counts, digest) = story.sum();
        Found { broken: story.verdict(), counts, digest, passed: self.machine.clock.passed() }
    }

    fn is_broken(&self) -> bool {
        self.machine.story.verdict().is_some()
    }

    async fn live(&mut self, time: Duration) {
        while self.machine.clock.passed() < time {
            let Some(Reverse((at, _, ev))) = self.schedule.pop() else { return };
            let disk = Arc::clone(&self.machine.disk);
            let story = Arc::clone(&self.machine.story);
            tokio::select! {
                biased;
                () = story.ended.notified() => return,
                () = sleep_until(at) => self.happen(ev).await,
                () = disk.died.notified() => {
                    self.scheduled += 1;
                    self.schedule.push(Reverse((at, self.scheduled, ev)));
                    self.crash("in the middle of a rotation").await;
                }
            }
            while self.clients.try_join_next().is_some() {}
            self.look();
            if self.is_broken() {
                return;
            }
        }
    }

    async fn happen(&mut self, ev: Ev) {
        let plan = self.machine.plan.clone();
        match ev {
            Ev::Ask => {
                self.asks();
                self.again(Some(plan.clients), Ev::Ask);
            }
            Ev::Edge => {}
            Ev::Weather => self.turn_weather(),
            Ev::Clocks => {
                self.set_clocks();
                self.again(plan.clocks, Ev::Clocks);
            }
            Ev::Crash => {
                if self.machine.plan.every.is_some() && self.dice.hits(0.7) {
                    let moves = 1 + self.dice.below(30);
                    self.machine.disk.light_fuse(moves);
                } else if self.dice.hits(0.2) {
                    self.restart_broker();
                } else {
                    self.crash("at any time").await;
                }
                self.again(plan.crashes, Ev::Crash);
            }
            Ev::Start => self.start(),
            Ev::People => {
                self.people();
                self.again(plan.people, Ev::People);
            }
            Ev::Mend => self.mend(),
            Ev::Report => {
                self.report();
                self.again(plan.reports, Ev::Report);
            }
            Ev::StormEnds => self.judge_storm(),
        }
    }

    // What happens.

    fn start(&mut self) {
        let recalled = self.recalled.take();
        self.tell(
            "start",
            if recalled.is_some() { "with a token that was kept" } else { "without a token" },
        );
        self.daemon = Some(self.machine.start(self.settings, recalled));
        self.held = None;
        self.disturb();
    }

    fn restart_broker(&mut self) {
        self.disturb();
        if let Some(daemon) = &mut self.daemon {
            self.machine.story.tell("broker", "ends and begins anew");
            self.machine.start_broker_anew(daemon);
        }
    }

    async fn crash(&mut self, when: &str) {
        let Some(mut daemon) = self.daemon.take() else { return };
        daemon.tasks.shutdown().await;
        self.machine.issuer.watch(Watch::end);
        let cuts_power = self.dice.hits(0.3);
        self.boot += u64::from(cuts_power);
        self.machine.disk.restart(cuts_power);
        let end = if cuts_power { "the power is cut" } else { "the process is killed" };
        self.tell(if cuts_power { "power cut" } else { "kill" }, format!("{end} {when}"));
        self.judge_disk();
        self.recalled = None;
        let down = self.dice.span(Duration::from_millis(10), HOUR);
        if self.machine.plan.has_cache {
            self.recall(&daemon, cuts_power);
        }
        self.at(down, Ev::Start);
        self.storm = None;
        self.disturb();
    }

    /// Seals the token as the daemon that died did, and opens it as the next one does.
    fn recall(&mut self, daemon: &Daemon, rebooted: bool) {
        let kept = daemon.kept.lock().expect("nobody panics with it");
        // The last write may not have come to its end.
        let Some((key, published)) =
            kept.get(usize::try_from(self.dice.below(kept.len() as u64)).unwrap_or(0))
        else {
            return;
        };
        let boot = self.boot.to_string();
        let cache =
            |boot: &str| Cache::new(self.home, CREDENTIAL, "https://sim.example", "acme", boot);
        cache("before").keep(key, published).expect("a file in a directory of our own");
        let Some(file) = self.machine.disk.key() else { return };
        let opened = if rebooted { cache(&boot) } else { cache("before") };
        let (tick, wall) = (self.now(), self.machine.clock.wall());
        self.recalled = opened.recall(&file, tick, wall).expect("a file of our own");
    }

    fn turn_weather(&mut self) {
        let (weather, lasts) = if self.machine.issuer.weather() == Weather::Fine {
            let weather = Weather::bad(&mut self.dice);
            let trouble = self.machine.plan.disk_trouble;
            self.machine.disk.trouble(trouble);
            (weather, self.dice.span(SECOND, 6 * HOUR))
        } else {
            self.machine.disk.trouble(0.0);
            (Weather::Fine, self.dice.wait(self.machine.plan.storms))
        };
        self.tell("weather", format!("{weather:?}"));
        self.machine.issuer.turn(weather);
        self.disturb();
        self.at(lasts, Ev::Weather);
    }

    fn set_clocks(&mut self) {
        // What the wall clock ends must have been seen before.
        self.look();
        let clock = Arc::clone(&self.machine.clock);
        // With a rotation the days have to be told apart.
        let most = if self.machine.plan.every.is_some() { HOUR / 2 } else { 72 * HOUR };
        let by = self.dice.span(SECOND, most);
        match self.dice.below(3) {
            0 => {
                let by = by.min(12 * HOUR);
                let now = self.now();
                self.machine.issuer.watch(|watch| watch.sleeps(now, by));
                clock.suspend(by);
                self.tell("suspend", format!("for {by:?}"));
            }
            1 => {
                clock.forward(by);
                self.stepped = Some(self.now());
                self.tell("wall clock", format!("forward by {by:?}"));
            }
            _ => {
                clock.back(by);
                self.tell("wall clock", format!("back by {by:?}"));
            }
        }
        self.disturb();
    }

    /// What has just happened may need a moment to be mended.
    fn disturb(&mut self) {
        self.disturbed = self.now();
        let now = self.now();
        self.machine.issuer.watch(|watch| watch.prompt(now, MINUTE));
    }

    fn put(&mut self, key: &ApiKey, what: &str) {
        self.tell("key", format!("{what}: the file holds key {}", short(key.id())));
        self.machine.disk.put(key);
        self.meddled = true;
        self.note_key(Some(key.id()));
        self.disturb();
    }

    /// The key in use is no news: its rest after refusals goes on.
    fn note_key(&mut self, id: Option<&str>) {
        let used = self.handle().and_then(|handle| handle.state().key_id.clone());
        if id.is_some_and(|id| used.as_deref() != Some(id)) {
            let now = self.now();
            self.machine.issuer.watch(|watch| watch.key_news(now, used.as_deref()));
        }
    }

    fn people(&mut self) {
        let now = self.now();
        match self.dice.below(10) {
            0 | 1 => {
                let key = self.machine.issuer.new_key(self.dice.hits(0.5));
                self.keys.push(copy(&key));
                self.put(&key, "a new one");
            }
            2 => {
                let id = format!("0a1b2c3d-ffff-4000-8000-{:012}", self.dice.below(1000));
                let key = ApiKey::new(&id, "wrong", None).expect("well-formed");
                self.put(&key, "one that the issuer does not know");
                let wait = self.dice.span(MINUTE, 6 * HOUR);
                self.at(wait, Ev::Mend);
            }
            3 => {
                self.machine.disk.spoil(true);
                self.tell("key", "the file is spoilt");
                self.disturb();
                let wait = self.dice.span(SECOND, 6 * HOUR);
                self.at(wait, Ev::Mend);
            }
            4 | 5 => {
                let place = usize::try_from(self.dice.below(self.keys.len() as u64)).unwrap_or(0);
                let key = copy(&self.keys[place]);
                self.put(&key, "an earlier one");
                if !self.machine.issuer.is_alive(key.id()) {
                    let wait = self.dice.span(MINUTE, 6 * HOUR);
                    self.at(wait, Ev::Mend);
                }
            }
            6 | 7 => {
                let Some(handle) = self.handle() else { return };
                self.tell("operator", "asks for a token");
                self.machine.issuer.watch(|watch| watch.asked(now));
                self.clients.spawn(async move { drop(handle.refresh().await) });
            }
            8 => {
                let Some(rotation) = self.daemon.as_ref().and_then(|it| it.rotation.clone()) else {
                    return;
                };
                self.tell("operator", "asks for a rotation");
                self.clients.spawn(async move { drop(rotation.rotate().await) });
            }
            _ => {
                let Some(daemon) = &self.daemon else { return };
                let told = daemon.settings.clone();
                let at = self.dice.pick(&[0.3, 0.5, 0.7]);
                self.settings = RefreshSettings { at, ..self.settings };
                let settings = self.settings;
                self.tell("operator", format!("refreshes at {at}"));
                // The time of the token at hand is put off by nothing.
                let now = self.now();
                self.machine.issuer.watch(|watch| {
                    watch.settings = settings;
                    watch.prompt(now, settings.max_lifetime);
                });
                self.disturb();
                told.send_replace(settings);
            }
        }
    }

    /// Puts right what people have put wrong.
    fn mend(&mut self) {
        if self.machine.disk.is_spoilt() {
            self.machine.disk.spoil(false);
            self.tell("key", "the file is mended");
            let held = self.machine.disk.key();
            self.note_key(held.as_ref().map(ApiKey::id));
            self.disturb();
        }
        let is_good =
            self.machine.disk.key().is_some_and(|key| self.machine.issuer.is_alive(key.id()));
        if !is_good {
            let key = self.machine.issuer.new_key(true);
            self.keys.push(copy(&key));
            self.put(&key, "a new one, as the other does not mint");
        }
    }

    // What clients do.

    fn handle(&self) -> Option<Handle> {
        self.daemon.as_ref().map(|daemon| daemon.handle.clone())
    }

    fn asks(&mut self) {
        self.machine.story.count("requests");
        if self.storm.is_some() || !self.dice.hits(0.1) {
            return;
        }
        let Some(handle) = self.handle() else { return };
        let min_ttl = self.machine.plan.life.mul_f64(self.dice.part());
        let now = self.now();
        let issuer = Arc::clone(&self.machine.issuer);
        issuer.watch(|watch| watch.prompt(now, 20 * SECOND));
        self.machine.story.count("requests with min_ttl");
        self.clients.spawn(async move {
            if let Some((served, _)) = handle.with_life(min_ttl).await {
                issuer.judge_served(&served);
            }
        });
    }

    fn report(&mut self) {
        let Some(handle) = self.handle().filter(|_| self.storm.is_none()) else { return };
        let Some((served, _)) = handle.current() else { return };
        let now = self.now();
        self.machine.issuer.watch(|watch| watch.prompt(now, 6 * MINUTE));
        match self.dice.below(4) {
            0 if self.machine.issuer.weather() == Weather::Fine => self.begin_storm(&handle),
            0 | 1 => {
                self.tell("report", "a false one");
                let (issuer, story) =
                    (Arc::clone(&self.machine.issuer), Arc::clone(&self.machine.story));
                self.clients.spawn(async move {
                    let told = handle.reject(Claim::Token(served.token().expose())).await;
                    if let Rejection::Refreshed(newer) | Rejection::Stale(newer) = told {
                        if newer.serial() == served.serial() {
                            story.broken("a reporter gets the same token back".to_owned());
                        }
                        issuer.judge_served(&newer);
                    }
                });
            }
            _ => {
                self.tell("report", "a true one: the token was revoked");
                self.machine.issuer.revoke(served.token().expose());
                let reporter = Reporter {
                    issuer: Arc::clone(&self.machine.issuer),
                    story: Arc::clone(&self.machine.story),
                    began: now,
                    late: 0,
                };
                self.clients.spawn(reporter.insist(handle));
            }
        }
    }

    /// One client reports every token, each time within a second.
    fn begin_storm(&mut self, handle: &Handle) {
        let lasts = self.dice.span(10 * SECOND, 20 * MINUTE);
        self.tell("report", format!("a storm of false ones for {lasts:?}"));
        let now = self.now();
        self.storm = Some((now, self.disturbed));
        self.machine.issuer.watch(|watch| {
            watch.begin_storm();
            watch.prompt(now, lasts + 6 * MINUTE);
        });
        let (handle, end, mut dice) = (handle.clone(), Instant::now() + lasts, self.dice.clone());
        let story = Arc::clone(&self.machine.story);
        self.clients.spawn(async move {
            while Instant::now() < end {
                if let Some((served, _)) = handle.current() {
                    let told = handle.reject(Claim::Token(served.token().expose())).await;
                    if let Rejection::Refreshed(newer) | Rejection::Stale(newer) = told
                        && newer.serial() == served.serial()
                    {
                        story.broken("a reporter gets the same token back".to_owned());
                    }
                }
                sleep(Duration::from_millis(300 + dice.below(650))).await;
            }
        });
        self.at(lasts, Ev::StormEnds);
    }

    // What must hold.

    /// Oracle: a storm of reports brings few mints.
    fn judge_storm(&mut self) {
        let Some((began, disturbed)) = self.storm.take() else { return };
        let lasted = self.now().since(began).as_secs_f64();
        let mints = self.machine.issuer.watch(|watch| watch.storm());
        let is_calm = self.disturbed == disturbed && self.machine.plan.lag.is_zero();
        if !is_calm || self.machine.issuer.weather() != Weather::Fine {
            return;
        }
        let mut of_reports = 2.0;
        let (mut interval, mut at) = (1.0_f64, 0.0);
        while at < lasted {
            of_reports += 1.0;
            at += interval;
            interval = (interval * 2.0).min(300.0);
        }
        let part = 0.8 * (self.settings.at - self.settings.jitter);
        let own = 2.0 + lasted / (self.machine.plan.life.as_secs_f64() * part);
        self.machine.story.count("storms of reports");
        if mints as f64 > of_reports + own {
            let most = of_reports + own;
            self.machine.story.broken(format!(
                "law 8: {mints} mints in a storm of reports of {lasted:.0} s, and at most {most:.0} are \
                 within the budget"
            ));
        }
    }

    /// Looks at the token that is served, or not.
    fn look(&mut self) {
        let now = self.now();
        self.note_health(now);
        let Some(handle) = self.handle() else { return };
        let current = handle.current();
        match &current {
            Some((served, remaining)) => {
                self.machine.issuer.judge_served(served);
                self.held = Some((served.lease().expires, served.wall_end(), now));
                // The end is where mistakes are.
                if *remaining < served.lease().lifetime() / 4 && self.dice.hits(0.3) {
                    for beside in [0, 1, 500, 4_000] {
                        self.at(*remaining + Duration::from_millis(beside), Ev::Edge);
                    }
                }
            }
            None => {
                self.judge_loss(now);
                self.note_lapse(now);
                self.judge_outage(now);
            }
        }
        self.judge_progress(&handle);
        self.judge_adoption(now, &handle);
    }

    fn note_health(&mut self, now: Tick) {
        let is_alive = |id: &str| self.machine.issuer.is_alive(id);
        let used = self.handle().and_then(|handle| handle.state().key_id.clone());
        let file = self.machine.disk.key();
        let has_key = used.is_some_and(|id| is_alive(&id))
            || file.as_ref().is_some_and(|key| is_alive(key.id()));
        let is_well = has_key && self.machine.issuer.weather() == Weather::Fine;
        self.well_since = self.well_since.or(Some(now)).filter(|_| is_well);
        let is_lost = file.is_some_and(|key| !is_alive(key.id())) && !has_key;
        if is_lost && self.dice.hits(0.1) {
            self.mend();
        }
    }

    /// How long anything may take that has to be mended, besides what the issuer asked for.
    fn bound(&self) -> Duration {
        DEADLINE + 2 * self.machine.plan.latency + self.settings.min_interval + 3 * SECOND
    }

    /// Oracle, law 4: what was served is served until its end.
    fn judge_loss(&self, now: Tick) {
        let held = self.held.filter(|_| self.machine.plan.every.is_none());
        let Some((expires, wall_end, seen)) = held else {
            return;
        };
        // A token that nobody has seen may have come in its place, after a report, and have ended.
        let was_replaced = self.machine.issuer.watch(|watch| watch.came_and_ended(seen, now));
        if !was_replaced && now < expires && self.machine.clock.wall() < wall_end {
            self.machine
                .story
                .broken("law 4: a token that has not ended is served no longer".to_owned());
        }
    }

    /// Only a look finds that a token has ended by a clock that was set: this one is the first.
    ///
    /// The daemon looks every 30 s, and with every request.
    fn note_lapse(&mut self, now: Tick) {
        let held = self.held.take();
        if held.is_some_and(|(expires, ..)| self.stepped.is_some() && now < expires) {
            self.stepped = None;
            self.disturb();
        }
        if held.is_some() {
            self.at(self.bound() + SECOND, Ev::Edge);
        }
    }

    /// Oracle: while all is well, and was for long enough, there is a token.
    fn judge_outage(&self, now: Tick) {
        let Some(well) = self.well_since else { return };
        let excused = self.machine.issuer.watch(|watch| watch.excused_until());
        let since = well.max(self.disturbed).max(excused);
        if now > since + self.bound() {
            let lasted = now.since(since);
            self.machine.story.broken(format!("a needless outage: all is well for {lasted:?}"));
        }
    }

    /// Oracle, law 2: whoever has a key mints or knows when.
    fn judge_progress(&self, handle: &Handle) {
        let state = handle.state();
        if state.key_id.is_some() && !state.minting && state.next_refresh.is_none() {
            self.machine
                .story
                .broken("law 2: no mint is in flight, and none is planned".to_owned());
        }
    }

    /// Oracle: a good key in the file comes into use.
    fn judge_adoption(&self, now: Tick, handle: &Handle) {
        let Some(well) = self.well_since else { return };
        let Some(key) = self.machine.disk.key() else { return };
        let state = handle.state();
        let is_used = state.key_id.as_deref() == Some(key.id());
        // An old file that came back is left alone while a newer key is in use (fault 94).
        if is_used || self.machine.plan.every.is_some() || !self.machine.issuer.is_alive(key.id()) {
            return;
        }
        let excused = self.machine.issuer.watch(|watch| watch.excused_until());
        let since = well.max(self.disturbed).max(excused);
        if now > since + REFUSED_MEMORY + self.bound() {
            self.machine.story.broken(format!("law 12: good key {} is not taken", short(key.id())));
        }
    }

    /// Oracle: after every crash the disk holds a key that mints, and at most one answer was lost.
    fn judge_disk(&self) {
        let ids = self.machine.disk.key_ids();
        if self.meddled || self.machine.disk.is_spoilt() {
            return;
        }
        let passed = self.machine.clock.passed();
        let is_alive = ids.iter().any(|id| self.machine.issuer.is_alive(id));
        let (was_lost, made) =
            self.machine.issuer.watch(|watch| (watch.has_lost(passed, &ids), watch.made_by(&ids)));
        if !is_alive && !was_lost {
            self.machine.story.broken("law 1 of a rotation: no key on the disk mints".to_owned());
        }
        if made > 2 {
            self.machine
                .story
                .broken(format!("law 4 of a rotation: {made} keys were made with one"));
        }
    }

    /// When all is put right there is a token soon: no world ends in a dead end.
    async fn finale(&mut self) {
        if self.is_broken() {
            return;
        }
        self.tell("finale", "all is put right");
        self.machine.issuer.turn(Weather::Fine);
        self.machine.disk.trouble(0.0);
        self.mend();
        if self.daemon.is_none() {
            self.start();
        }
        self.disturb();
        self.look();
        let excused = self.machine.issuer.watch(|watch| watch.excused_until());
        let wait = excused.since(self.now()) + REFUSED_MEMORY + 2 * self.bound();
        sleep(wait).await;
        self.look();
    }
}

/// A client whose token was revoked, and who says so until it gets another one.
struct Reporter {
    issuer: Arc<SimIssuer>,
    story: Arc<Story>,
    began: Tick,
    late: u32,
}

impl Reporter {
    async fn insist(mut self, handle: Handle) {
        for _ in 0..200 {
            let Some((served, _)) = handle.current() else { return };
            if !self.issuer.is_revoked(served.token().expose()) {
                return;
            }
            let now = self.issuer.clock.tick();
            self.issuer.watch(|watch| watch.prompt(now, 6 * MINUTE));
            match handle.reject(Claim::Token(served.token().expose())).await {
                Rejection::Refreshed(newer) | Rejection::Stale(newer) => {
                    if newer.token_id() == served.token_id() {
                        self.story.broken("a reporter gets the same token back".to_owned());
                    }
                    self.issuer.judge_served(&newer);
                    self.story.count("revoked tokens replaced");
                    return;
                }
                Rejection::Throttled(wait) => sleep(wait.min(10 * SECOND)).await,
                Rejection::Failed | Rejection::NoToken => sleep(3 * SECOND).await,
            }
            if !self.issuer.watch(|watch| watch.is_there(self.began)) {
                // The process has ended: this client finds nobody, or another one.
                return;
            }
            self.judge_patience();
        }
    }

    /// Oracle: who says the truth is not kept waiting once the issuer is well.
    fn judge_patience(&mut self) {
        let now = self.issuer.clock.tick();
        let excused = self.issuer.watch(|watch| watch.excused_until());
        let since = excused.max(self.issuer.fine_since()).max(self.began);
        let is_fine = self.issuer.weather() == Weather::Fine;
        self.late = if is_fine && now > since + MINUTE { self.late + 1 } else { 0 };
        if self.late > 6 {
            self.story.broken(format!("a token that was revoked stays for {:?}", now.since(since)));
        }
    }
}

fn copy(key: &ApiKey) -> ApiKey {
    ApiKey::new(key.id(), key.expose_secret(), None).expect("it was one already")
}
