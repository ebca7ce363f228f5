//! The log: one event a line on standard error, never in the way of an answer.

use std::io::IsTerminal;

use prometheus::IntCounter;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer, Registry, filter::Targets, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::config::model::{Log, LogFormat};

/// Lines that may wait for whoever reads them; more are dropped and counted (fault 219).
const WAITING: usize = 4096;

/// Keeps the log going; dropping it writes out what still waits.
pub struct Logs {
    filter: reload::Handle<Targets, Registry>,
    dropped: ErrorCounter,
    told: u64,
    format: LogFormat,
    _writer: WorkerGuard,
}

/// Starts the log of the process; a second start changes nothing.
#[must_use]
pub fn start(log: &Log) -> Logs {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING);
    let (writer, guard) = builder.thread_name("log").finish(std::io::stderr());
    let dropped = writer.error_counter();
    let (filter, handle) = reload::Layer::new(filter(&log.level));
    let is_terminal = std::io::stderr().is_terminal();
    let is_text = log.format == LogFormat::Text || (log.format == LogFormat::Auto && is_terminal);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = if is_text {
        lines.with_ansi(colours).boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    };
    // Only a test that runs several daemons in one process starts a second log.
    tracing_subscriber::registry().with(filter).with(lines).try_init().ok();
    Logs { filter: handle, dropped, told: 0, format: log.format, _writer: guard }
}

/// The configuration has been through this parser before.
fn filter(level: &str) -> Targets {
    level.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO))
}

impl Logs {
    /// Takes another level.
    pub fn set_level(&self, level: &str) {
        // The layer is gone only when the process ends.
        self.filter.reload(filter(level)).ok();
    }

    /// Tells the shape that was started with, which stays.
    #[must_use]
    pub const fn format(&self) -> LogFormat {
        self.format
    }

    /// Adds the lines dropped since the last call.
    pub fn count_dropped(&mut self, counter: &IntCounter) {
        let dropped = self.dropped.dropped_lines() as u64;
        counter.inc_by(dropped.saturating_sub(self.told));
        self.told = dropped;
    }
}
