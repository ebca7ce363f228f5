//! The bare policy in a small simulation: what a broker does, without tasks and channels.

use std::{collections::BTreeMap, time::Duration};

use bearerd::{
    key::refused::Refused,
    token::{
        backoff::{Failure, Mend},
        broker::whole_seconds,
        lease::{Lease, Serial},
        policy::{Event, Key, Mint, Policy, Publish, Release, Step, Trigger, Verdict},
        timing::{Tick, Wall},
    },
};

use super::Stage;
use crate::{
    bench::{
        SETTLE,
        clock::{BOOT, DAWN},
        issuer::{Answer, ProbeAnswer, Script},
        keys::{Letter, key},
    },
    story::{Act, Due, Seen, Served, Story},
};

const CHANCE: f64 = 0.5;
/// Longest wait of a request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Plays on a policy, in a simulation that knows only what is due next.
pub(super) struct PolicyStage {
    policy: Policy,
    script: Script,
    now: Tick,
    wall: Wall,
    current: Letter,
    candidate: Option<Letter>,
    /// What lies in the file; only news of it are told.
    refused: Refused,
    flight: Option<Flight>,
    probe: Option<Probe>,
    published: Option<Held>,
    waiters: Vec<Request>,
    /// Number of the last request, and what it has heard.
    last: usize,
    heard: String,
    mints: Vec<Letter>,
    probes: usize,
    refreshed: BTreeMap<String, u64>,
    failed: BTreeMap<String, u64>,
}

struct Flight {
    mint: Mint,
    answer: Answer,
    lands: Tick,
}

struct Probe {
    serial: Serial,
    answer: ProbeAnswer,
    lands: Tick,
}

/// A token as it is served: also the wall clock has a say.
struct Held {
    lease: Lease,
    wall_end: Wall,
    lapse_told: bool,
}

/// A request that waits.
#[derive(Clone, Copy)]
struct Request {
    number: usize,
    kind: Kind,
    /// The token that was served when it came.
    before: Option<Serial>,
    gives_up: Tick,
}

#[derive(Clone, Copy)]
enum Kind {
    Report,
    /// A report that came when no token was valid.
    LateReport,
    Want,
    Ask,
}

#[derive(Clone, Copy)]
enum Heard {
    Stale,
    Look,
    Throttled(Duration),
}

impl PolicyStage {
    pub(super) fn new(story: &Story) -> Self {
        let mut stage = Self {
            policy: Policy::new(story.settings(), None),
            script: story.script(),
            now: BOOT,
            wall: DAWN,
            current: 'A',
            candidate: None,
            refused: Refused::default(),
            flight: None,
            probe: None,
            published: None,
            waiters: Vec::new(),
            last: 0,
            heard: String::new(),
            mints: Vec::new(),
            probes: 0,
            refreshed: BTreeMap::new(),
            failed: BTreeMap::new(),
        };
        stage.step(Event::Wake, None);
        stage.run_until(BOOT + SETTLE);
        stage
    }

    fn run_until(&mut self, end: Tick) {
        while let Some(due) = self.next_due().filter(|due| *due <= end) {
            self.move_to(due);
            if let Some(flight) = self.flight.take_if(|flight| flight.lands <= due) {
                self.land(&flight);
            } else if let Some(probe) = self.probe.take_if(|probe| probe.lands <= due) {
                let (serial, refused) = (probe.serial, probe.answer.refused);
                self.step(Event::Probed { serial, refused }, None);
            } else if self.policy.wake_at().is_some_and(|wake| wake <= due) {
                self.step(Event::Wake, None);
            }
            for waiter in
                self.waiters.extract_if(.., |waiter| waiter.gives_up <= due).collect::<Vec<_>>()
            {
                self.answer(waiter, Heard::Look);
            }
        }
        self.move_to(end);
    }

    fn next_due(&self) -> Option<Tick> {
        let lands = self.flight.as_ref().map(|flight| flight.lands);
        let probed = self.probe.as_ref().map(|probe| probe.lands);
        let patience = self.waiters.iter().map(|waiter| waiter.gives_up);
        let due = patience.chain(lands).chain(probed).chain(self.policy.wake_at());
        due.min()
    }

    fn move_to(&mut self, moment: Tick) {
        self.wall = self.wall + moment.since(self.now);
        self.now = self.now.max(moment);
    }

    /// The machine sleeps: boot time leaps, and what runs on the runtime's time does not notice.
    fn suspend(&mut self, time: Duration) {
        for waiter in &mut self.waiters {
            waiter.gives_up = waiter.gives_up + time;
        }
        if let Some(flight) = &mut self.flight {
            flight.lands = flight.lands + time;
        }
        if let Some(probe) = &mut self.probe {
            probe.lands = probe.lands + time;
        }
        self.move_to(self.now + time);
    }

    fn step(&mut self, event: Event, request: Option<Request>) {
        let step = self.policy.step(self.now, event, CHANCE);
        self.carry_out(step, request);
    }

    fn carry_out(&mut self, step: Step, request: Option<Request>) {
        if step.abandon.is_some() {
            self.flight = None;
        }
        if let Some(mint) = step.mint {
            self.start(mint);
        }
        self.release(step.release);
        if let Some(request) = request {
            self.judge(request, step.verdict);
        }
        if let Some(serial) = step.probe {
            self.probes += 1;
            let answer = self.script.probe();
            let lands = self.now + answer.latency;
            self.probe = Some(Probe { serial, answer, lands });
        }
    }

    fn start(&mut self, mint: Mint) {
        let key = match (mint.key, self.candidate) {
            (Key::Candidate, Some(candidate)) => candidate,
            _ => self.current,
        };
        self.mints.push(key);
        let answer = self.script.mint(key);
        let lands = self.now + answer.latency;
        self.flight = Some(Flight { mint, answer, lands });
    }

    fn land(&mut self, flight: &Flight) {
        let attempt = flight.mint.attempt;
        let event = match flight.answer.result {
            Ok(lifetime) => Event::Minted { attempt, lifetime },
            Err(error) => {
                let failure = Failure::from(&error);
                if let (Mend::Outside, Key::Candidate) = (failure.mend, flight.mint.key) {
                    self.note_refusal();
                }
                Event::Failed { attempt, failure }
            }
        };
        let mut step = self.policy.step(self.now, event, CHANCE);
        self.count(flight.mint.trigger, step.publish.is_some());
        if let Some(publish) = step.publish.take() {
            self.publish(publish);
        }
        self.carry_out(step, None);
    }

    fn note_refusal(&mut self) {
        if let Some(candidate) = self.candidate {
            self.refused.record(key(candidate).fingerprint(), self.now);
        }
    }

    fn count(&mut self, trigger: Trigger, success: bool) {
        let counts = if success { &mut self.refreshed } else { &mut self.failed };
        *counts.entry(trigger.label().to_owned()).or_default() += 1;
    }

    fn publish(&mut self, Publish { lease, key }: Publish) {
        if let (Key::Candidate, Some(candidate)) = (key, self.candidate) {
            self.current = candidate;
            self.candidate = None;
        }
        self.published = Some(Held {
            lease,
            wall_end: self.wall + lease.remaining(self.now),
            lapse_told: false,
        });
        for waiter in std::mem::take(&mut self.waiters) {
            self.answer(waiter, Heard::Look);
        }
    }

    fn release(&mut self, release: Option<Release>) {
        let heard = match release {
            None => return,
            Some(Release::Failed) => Heard::Look,
            Some(Release::Throttled(wait)) => Heard::Throttled(wait),
        };
        for waiter in std::mem::take(&mut self.waiters) {
            self.answer(waiter, heard);
        }
    }

    fn judge(&mut self, request: Request, verdict: Option<Verdict>) {
        match verdict {
            Some(Verdict::Wait) => self.waiters.push(request),
            Some(Verdict::Stale) => self.answer(request, Heard::Stale),
            Some(Verdict::Throttled(wait)) => self.answer(request, Heard::Throttled(wait)),
            Some(Verdict::Enough | Verdict::Resting(_)) | None => self.answer(request, Heard::Look),
        }
    }

    /// Tells a client what a handle would tell it.
    fn answer(&mut self, request: Request, heard: Heard) {
        let now = self.serves();
        let is_newer = now.is_some() && now != request.before;
        let text = match (request.kind, heard) {
            (Kind::Report, Heard::Stale) => "stale".to_owned(),
            (Kind::Want | Kind::LateReport, _) if now.is_none() => "no token".to_owned(),
            (Kind::LateReport, _) => "stale".to_owned(),
            (Kind::Want, _) if !is_newer => "same".to_owned(),
            _ if is_newer => "newer".to_owned(),
            (_, Heard::Throttled(wait)) => format!("throttled {}s", whole_seconds(wait)),
            _ => "no newer".to_owned(),
        };
        if request.number == self.last {
            self.heard = text;
        }
    }

    /// Tells what is valid by both clocks; an answer that finds them apart says so.
    fn serves(&mut self) -> Option<Serial> {
        let held = self.published.as_mut()?;
        let serial = held.lease.serial;
        match (held.lease.is_valid(self.now), self.wall < held.wall_end) {
            (true, true) => Some(serial),
            (true, false) if !held.lapse_told => {
                held.lapse_told = true;
                self.step(Event::Lapsed(serial), None);
                None
            }
            _ => None,
        }
    }

    fn ask(&mut self, kind: Kind, event: Event) {
        let before = self.serves();
        self.last += 1;
        self.heard = "waits".to_owned();
        let request = Request { number: self.last, kind, before, gives_up: self.now + PATIENCE };
        self.step(event, Some(request));
    }

    fn report(&mut self, claimed: Option<Serial>) {
        match (self.serves(), claimed) {
            (Some(serial), None) => self.ask(Kind::Report, Event::Rejected(serial)),
            (Some(_), Some(claimed)) => self.ask(Kind::Report, Event::Rejected(claimed)),
            (None, _) => self.ask(Kind::LateReport, Event::Wanted(Duration::ZERO)),
        }
    }

    fn read_key(&mut self, letter: Letter) {
        if letter == self.current {
            self.candidate = None;
            return self.step(Event::KeyReverted, None);
        }
        if !self.refused.contains(key(letter).fingerprint(), self.now) {
            self.candidate = Some(letter);
            self.step(Event::KeyChanged, None);
        }
    }
}

impl Stage for PolicyStage {
    async fn pass_to(&mut self, moment: Duration) {
        self.run_until(BOOT + moment);
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Look | Act::NoKey => {}
            Act::Report => self.report(None),
            Act::ReportFirst => self.report(Some(Serial::new(1))),
            Act::ReportUnknown => self.report(Some(Serial::new(u64::MAX))),
            Act::Want(life) => self.ask(Kind::Want, Event::Wanted(life)),
            Act::Ask => self.ask(Kind::Ask, Event::Asked),
            Act::Key(letter) => self.read_key(letter),
            Act::Suspend(time) => self.suspend(time),
            Act::Forward(by) => self.wall = self.wall + by,
            Act::Back(by) => self.wall = self.wall - by,
        }
        self.run_until(self.now + SETTLE);
    }

    async fn look(&mut self) -> Seen {
        let served = self.serves();
        self.run_until(self.now + SETTLE);
        Seen {
            mints: self.mints.clone(),
            refreshed: self.refreshed.clone(),
            failed: self.failed.clone(),
            probes: self.probes,
            serves: served.map_or(Served::Nothing, number),
            next: self.policy.wake_at().map_or(Due::Minting, |at| Due::At(at.since(BOOT))),
            hears: self.heard.clone(),
        }
    }
}

fn number(serial: Serial) -> Served {
    serial.to_string().parse().map_or(Served::Nothing, Served::Token)
}
