//! Staying beside a program: what it hears of signals and new tokens, and how it ends.

use std::{io, process::ExitStatus, time::Duration};

use rustix::process::{Signal, getpid, kill_process};
use tokio::time::{Instant, sleep, sleep_until};

use super::job::{Job, Prepared, REST, ended_early};
use crate::{
    cli::{exit::Exit, terminal},
    outlet::{
        child::{self, Child, OnRefresh},
        relay::Relay,
    },
};

/// Least time between two things that are done because of a new token.
const SPACING: Duration = Duration::from_secs(1);

/// Time in which a stop by the terminal reaches us as well.
const MOMENT: Duration = Duration::from_millis(50);

/// Says why nobody has to stay with a child any longer.
enum Parting {
    /// It has ended.
    Ended(ExitStatus),
    /// It is to be started anew, with another token.
    Anew(Box<Prepared>),
}

/// Says what has become of a new token.
enum Renewed {
    /// It is in the files, and this is its tag.
    InPlace(String),
    /// It is in the environment of a command that waits for the old one's end.
    Anew(Box<Prepared>),
}

impl Job {
    /// Runs the program beside us to its end, which is ours, too.
    pub(super) async fn follow(&self, relay: &mut Relay) -> Result<(), Exit> {
        let mut next = tokio::select! {
            prepared = self.prepare() => Box::new(prepared?),
            signal = relay.end() => return Err(ended_early(signal)),
        };
        loop {
            let child = Child::start(next.command).map_err(|error| self.not_started(&error))?;
            match self.attend(child, relay, next.tag).await? {
                Parting::Ended(status) => return Err(Exit::with_code(child::code(status), "")),
                Parting::Anew(prepared) => next = prepared,
            }
            relay.take_terminal_back();
        }
    }

    /// Stays with a child to its end, or until it has ended for one with a new token.
    async fn attend(
        &self,
        mut child: Child,
        relay: &mut Relay,
        mut seen: String,
    ) -> Result<Parting, Exit> {
        let lost = |error: io::Error| Exit::failed(format!("the program was lost: {error}"));
        let mut due = Instant::now() + SPACING;
        let mut trouble = None;
        loop {
            tokio::select! {
                ended = child.ended() => return Ok(Parting::Ended(ended.map_err(lost)?)),
                signal = relay.next() => pass_on(signal, &child, relay).await,
                renewed = self.renewed(&seen, due, &mut trouble) => match renewed {
                    Renewed::InPlace(tag) => {
                        if let OnRefresh::Signal(signal) = self.args.on_refresh {
                            child.signal(signal);
                        }
                        (seen, trouble) = (tag, None);
                        due = Instant::now() + SPACING;
                    }
                    Renewed::Anew(prepared) => {
                        let ended = self.stop(&mut child, relay).await.map_err(lost)?;
                        return Ok(ended.map_or(Parting::Anew(prepared), Parting::Ended));
                    }
                },
            }
        }
    }

    /// Waits for a new token and does what has to be done before the program hears of it.
    async fn renewed(&self, seen: &str, due: Instant, trouble: &mut Option<String>) -> Renewed {
        if self.args.on_refresh == OnRefresh::None && self.args.token_files.is_empty() {
            return std::future::pending().await;
        }
        loop {
            let newer = self.newer(seen).await;
            sleep_until(due).await;
            match self.renew(newer).await {
                Ok(renewed) => return renewed,
                Err(exit) => complain_once(trouble, exit.sentence()),
            }
            // The program has its old token meanwhile, as it has when the daemon is away.
            sleep(REST).await;
        }
    }

    async fn renew(&self, newer: String) -> Result<Renewed, Exit> {
        match self.args.on_refresh {
            OnRefresh::Restart => self.prepare().await.map(Box::new).map(Renewed::Anew),
            OnRefresh::None | OnRefresh::Signal(_) => {
                Ok(Renewed::InPlace(self.fill_files().await?.unwrap_or(newer)))
            }
        }
    }

    /// Ends a child for the next one; tells how it ended if that was not our doing alone.
    async fn stop(&self, child: &mut Child, relay: &mut Relay) -> io::Result<Option<ExitStatus>> {
        if let Some(ended) = child.has_ended()? {
            return Ok(Some(ended));
        }
        child.signal(Signal::TERM);
        // One that is stopped would not hear of it.
        child.signal(Signal::CONT);
        let late = Instant::now() + self.args.grace;
        let mut is_asked_to_end = false;
        loop {
            tokio::select! {
                ended = child.ended() => return Ok(Some(ended?).filter(|_| is_asked_to_end)),
                signal = relay.next() => {
                    pass_on(signal, child, relay).await;
                    is_asked_to_end |= relay.ends_program(signal);
                }
                () = sleep_until(late), if !is_asked_to_end => child.kill().await?,
            }
        }
    }
}

/// Tells a child what we were told, and stops with it.
async fn pass_on(signal: Signal, child: &Child, relay: &Relay) {
    if signal != Signal::CHILD {
        if !relay.is_heard_by_all(signal) {
            child.signal(signal);
        }
    } else if child.is_stopped() {
        // The terminal may have stopped us all: then we are stopped here, and it runs when we do.
        sleep(MOMENT).await;
        // Whoever waits for us at a terminal would wait for one who waits for him.
        if child.is_stopped() && relay.is_in_front() {
            kill_process(getpid(), Signal::TSTP).ok();
        }
    }
}

fn complain_once(told: &mut Option<String>, sentence: &str) {
    if told.as_deref() != Some(sentence) {
        terminal::complain(sentence);
        *told = Some(sentence.to_owned());
    }
}
