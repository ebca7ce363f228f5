//! The sinks: tried out before anything is changed, then kept for as long as they are configured.

use std::{collections::BTreeMap, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{AppError, Commons, confine, supervise::supervise};
use crate::{
    config::{Config, model::Sink as Settings},
    outlet::{
        command::{Hook, runner::Runner},
        sink::{self, Sink},
    },
    token::handle::Handle,
};

/// Holds the sinks that are kept.
pub(super) struct Sinks {
    commons: Commons,
    runner: Option<Runner>,
    kept: BTreeMap<String, Kept>,
}

struct Kept {
    settings: Settings,
    handle: Handle,
    sink: Arc<Sink>,
    stop: CancellationToken,
}

impl Sinks {
    pub(super) const fn new(commons: Commons, runner: Option<Runner>) -> Self {
        Self { commons, runner, kept: BTreeMap::new() }
    }

    /// Finds out whether those that are new could be written.
    pub(super) fn plan(&self, config: &Config) -> Result<(), AppError> {
        let is_new = |(name, settings): &(&String, &Settings)| {
            self.kept.get(*name).is_none_or(|kept| kept.settings != **settings)
        };
        for (_, settings) in config.sinks.iter().filter(is_new) {
            sink::try_out(settings)?;
        }
        Ok(())
    }

    /// Lets go of those that are no longer wanted and takes up the new ones; cannot fail.
    pub(super) fn commit(&mut self, config: &Config) {
        let credentials = self.commons.credentials.all();
        let mut before = std::mem::take(&mut self.kept);
        for (name, settings) in &config.sinks {
            // A sink names a credential that is configured.
            let Some(member) = credentials.get(&settings.credential) else { continue };
            let same = |kept: &Kept| {
                kept.settings == *settings && kept.handle.is_of_same_broker(&member.handle)
            };
            let kept = match before.remove(name) {
                Some(kept) if same(&kept) => kept,
                other => {
                    other.iter().for_each(|kept| kept.stop.cancel());
                    self.take_up(name, settings, &member.handle)
                }
            };
            self.kept.insert(name.clone(), kept);
        }
        before.values().for_each(|gone| gone.stop.cancel());
        self.commons.sinks.replace(self.kept.values().map(|it| Arc::clone(&it.sink)).collect());
    }

    /// Fills each of them once; tells its name, its credential and how it went.
    pub(super) async fn fill(&self, config: &Config) -> Vec<(String, String, Result<(), String>)> {
        let credentials = self.commons.credentials.all();
        let mut outcomes = Vec::new();
        for (name, settings) in &config.sinks {
            let Some(member) = credentials.get(&settings.credential) else { continue };
            let filled = self.make(name, settings, &member.handle).fill().await;
            outcomes.push((name.clone(), settings.credential.clone(), filled));
        }
        outcomes
    }

    fn make(&self, name: &str, settings: &Settings, handle: &Handle) -> Sink {
        let metrics = &self.commons.metrics;
        let command = confine::on_change(name, settings);
        let hook = command.zip(self.runner.clone()).map(|(command, runner)| {
            let runs = metrics.command(&command.name);
            Hook::new(command, runner, runs)
        });
        Sink::new(name, settings.clone(), handle.clone(), hook, metrics.sink(name))
    }

    fn take_up(&self, name: &str, settings: &Settings, handle: &Handle) -> Kept {
        let sink = Arc::new(self.make(name, settings, handle));
        let stop = self.commons.closing.child_token();
        let kept = Arc::clone(&sink);
        supervise(&self.commons, format!("sink {name}"), stop.clone(), move || {
            Arc::clone(&kept).run()
        });
        Kept { settings: settings.clone(), handle: handle.clone(), sink, stop }
    }
}
