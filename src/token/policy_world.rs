//! Plays histories to the policy and holds it to its laws after every step.

use std::collections::BTreeSet;

use super::*;

/// What a history can be made of; times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Pass(u64),
    PassToWake,
    Report { stale: bool },
    Witness,
    Probed { refused: bool },
    NewKey,
    OldKey,
    Wanted(u64),
    Ask,
    Lapse,
    Grant(u64),
    Fail { outside: bool, retry_after: Option<u64> },
    Late(u64),
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Plays a history and keeps a second book beside the policy's own.
pub(crate) struct World {
    pub(super) policy: Policy,
    pub(super) settings: RefreshSettings,
    pub(super) now: Tick,
    pub(super) flight: Option<(Mint, Tick)>,
    pub(super) abandoned: BTreeSet<Attempt>,
    pub(super) lease: Option<Lease>,
    /// Until when each key rests at the least, by this book.
    pub(super) rest: [Tick; 2],
    pub(super) last_mint: Option<Tick>,
    pub(super) last_candidate: Option<Tick>,
    pub(super) candidate: bool,
    pub(super) probe: Option<Serial>,
}

impl World {
    pub(crate) fn new(settings: RefreshSettings) -> Self {
        Self {
            policy: Policy::new(settings, None),
            settings,
            now: Tick::from_boot(Duration::from_secs(1_000_000)),
            flight: None,
            abandoned: BTreeSet::new(),
            lease: None,
            rest: [Tick::default(); 2],
            last_mint: None,
            last_candidate: None,
            candidate: false,
            probe: None,
        }
    }

    fn event(&self, act: Act) -> Event {
        let serial = self.lease.map_or(Serial::NONE, |lease| lease.serial);
        match act {
            Act::Pass(_) | Act::PassToWake => Event::Wake,
            Act::Report { stale } => Event::Rejected(if stale { serial.next() } else { serial }),
            Act::Witness => Event::Witnessed(serial),
            Act::Probed { refused } => {
                Event::Probed { serial: self.probe.unwrap_or(Serial::NONE), refused }
            }
            Act::NewKey => Event::KeyChanged,
            Act::OldKey => Event::KeyReverted,
            Act::Wanted(life) => Event::Wanted(ms(life)),
            Act::Ask => Event::Asked,
            Act::Lapse => Event::Lapsed(serial),
            Act::Grant(life) => {
                self.outcome(|attempt| Event::Minted { attempt, lifetime: ms(life) })
            }
            Act::Fail { outside, retry_after } => self.outcome(|attempt| Event::Failed {
                attempt,
                failure: Failure {
                    mend: if outside { Mend::Outside } else { Mend::Retry },
                    retry_after: retry_after.map(ms),
                },
            }),
            Act::Late(life) => match self.abandoned.iter().next() {
                Some(&attempt) => Event::Minted { attempt, lifetime: ms(life) },
                None => Event::Wake,
            },
        }
    }

    fn outcome(&self, event: impl Fn(Attempt) -> Event) -> Event {
        self.flight.map_or(Event::Wake, |(mint, _)| event(mint.attempt))
    }

    pub(crate) fn play(&mut self, act: Act, chance: f64) -> Step {
        match act {
            Act::Pass(time) => self.now = self.now + ms(time),
            Act::PassToWake => self.now = self.policy.wake_at().unwrap_or(self.now).max(self.now),
            _ => {}
        }
        let event = self.event(act);
        let step = self.policy.step(self.now, event, chance);
        self.check(event, &step);
        step
    }

    fn check(&mut self, event: Event, step: &Step) {
        let landed = self.check_outcome(event);
        if let Some(attempt) = step.abandon {
            let (mint, _) = self.flight.take().expect("only what flies can be abandoned");
            assert_eq!(mint.attempt, attempt);
            self.abandoned.insert(attempt);
        }
        self.note_key(event);
        self.check_publish(event, step, landed);
        self.check_mint(event, step);
        self.note_probe(event, step);
        self.check_wake(step);
    }

    fn check_outcome(&mut self, event: Event) -> Option<(Mint, Tick)> {
        let (Event::Minted { attempt, .. } | Event::Failed { attempt, .. }) = event else {
            return None;
        };
        let landed = self.flight.take_if(|(mint, _)| mint.attempt == attempt);
        if let (Some((mint, _)), Event::Failed { failure, .. }) = (landed, event) {
            let asked = failure.retry_after.unwrap_or_default().min(ms(900_000));
            let least = if failure.mend == Mend::Outside { ms(30_000) } else { Duration::ZERO };
            let rest = &mut self.rest[mint.key as usize];
            *rest = (*rest).max(self.now + asked.max(least));
        }
        landed
    }

    fn note_key(&mut self, event: Event) {
        match event {
            Event::KeyChanged => self.candidate = true,
            Event::KeyReverted => self.candidate = false,
            Event::Asked => {}
            _ => return,
        }
        self.rest[Key::Candidate as usize] = Tick::default();
    }

    /// Laws 4, 5 and 11.
    fn check_publish(&mut self, event: Event, step: &Step, landed: Option<(Mint, Tick)>) {
        assert_eq!(self.policy.lease, step.publish.map(|p| p.lease).or(self.lease), "law 4");
        let Some(Publish { lease, key }) = step.publish else {
            return;
        };
        let (mint, started) = landed.expect("law 5: published by the mint in flight");
        let Event::Minted { lifetime, .. } = event else { panic!("law 5: only a mint publishes") };
        assert_eq!(key, mint.key);
        assert!(key == Key::Current || self.candidate, "law 5: the key is there");
        assert!(Some(lease.serial) > self.lease.map(|lease| lease.serial), "law 5: serials grow");
        assert!(lease.is_valid(self.now), "law 5, 11: unexpired");
        assert_eq!(lease.expires, started + lifetime.min(self.settings.max_lifetime), "law 11");
        assert_eq!((lease.issued, lease.published), (started, self.now));
        if key == Key::Candidate {
            self.candidate = false;
        }
        self.rest = [Tick::default(); 2];
        self.lease = Some(lease);
    }

    /// Laws 1, 6, 12 and 13.
    fn check_mint(&mut self, event: Event, step: &Step) {
        let spaced = self.last_candidate.is_none_or(|last| self.now.since(last) >= ms(5_000));
        if event == Event::KeyChanged && spaced {
            assert_eq!(step.mint.map(|mint| mint.key), Some(Key::Candidate), "law 12");
        }
        let Some(mint) = step.mint else { return };
        assert!(self.flight.is_none(), "law 1");
        assert!(!self.abandoned.contains(&mint.attempt), "attempts are numbered anew");
        if mint.trigger != Trigger::Manual {
            assert!(self.now >= self.rest[mint.key as usize], "law 6");
        }
        if matches!(mint.trigger, Trigger::Startup | Trigger::Scheduled | Trigger::MinTtl) {
            let distance = self.last_mint.map(|last| self.now.since(last));
            assert!(distance.is_none_or(|d| d >= self.settings.min_interval), "law 13");
        }
        if mint.key == Key::Candidate {
            assert!(self.candidate && spaced, "a candidate is there, and not tried too often");
            assert_eq!(mint.trigger, Trigger::KeyChanged);
            self.last_candidate = Some(self.now);
        }
        self.last_mint = Some(self.now);
        self.flight = Some((mint, self.now));
    }

    fn note_probe(&mut self, event: Event, step: &Step) {
        if matches!(event, Event::Probed { .. }) {
            self.probe = None;
        }
        if let Some(serial) = step.probe {
            assert_eq!(self.probe, None, "one probe at a time");
            assert_eq!(Some(serial), self.lease.map(|lease| lease.serial));
            self.probe = Some(serial);
        }
    }

    /// Laws 2 and 3.
    fn check_wake(&self, step: &Step) {
        assert_eq!(step.wake_at.is_none(), self.flight.is_some(), "law 2");
        assert!(step.wake_at.is_none_or(|wake| wake > self.now), "law 3");
    }
}
