//! Commands that run when something has changed: without a shell, with a deadline, by a helper.
//!
//! The daemon itself cannot execute anything. A helper that it starts before it confines itself knows
//! the configured commands, and runs one when it is told its number; so whoever takes over the daemon
//! can run no other.

mod frame;
pub mod helper;
pub mod runner;

use serde::{Deserialize, Serialize};

use self::runner::Runner;
use crate::telemetry::metrics::Outcomes;

/// The program and its arguments, with the name that people know it by.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Command {
    /// As `sinks.app.on_change`.
    pub name: String,
    /// The program and its arguments.
    pub words: Vec<String>,
}

/// Asks the helper to run a command.
#[derive(Deserialize, Serialize)]
struct Order {
    /// Tells the answers apart.
    number: u64,
    /// Place in the list of commands.
    command: usize,
    /// What it is told, besides a path to find programs by.
    environment: Vec<(String, String)>,
    /// What it reads on its standard input.
    input: String,
}

/// Answers an order.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Report {
    number: u64,
    outcome: Outcome,
}

/// Says how a command ended.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Outcome {
    /// With 0.
    #[error("it succeeded")]
    Success,
    /// With another code.
    #[error("it ended with code {0}")]
    Code(i32),
    /// By a signal.
    #[error("signal {0} ended it")]
    Signal(i32),
    /// By us, when its time was over.
    #[error("it was ended after {} s", helper::DEADLINE.as_secs())]
    Late,
    /// It could not be started.
    #[error("it cannot be started (errno {0}): correct its path or its mode")]
    NotStarted(i32),
    /// The helper is gone.
    #[error("the helper that runs commands is gone: restart the daemon")]
    NoHelper,
}

/// A command that is ready to run.
#[derive(Clone)]
pub struct Hook {
    command: Command,
    runner: Runner,
    runs: Outcomes,
}

impl Hook {
    /// Makes one whose runs are counted.
    #[must_use]
    pub const fn new(command: Command, runner: Runner, runs: Outcomes) -> Self {
        Self { command, runner, runs }
    }

    /// Runs it once, with what it is told and what it can read.
    ///
    /// # Errors
    ///
    /// How it ended otherwise than well, in a sentence that quotes nothing.
    pub async fn run(&self, told: &[(&str, String)], input: String) -> Result<(), String> {
        let told = told.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let outcome = self.runner.run(&self.command, told, input).await;
        self.runs.count(outcome == Outcome::Success);
        match outcome {
            Outcome::Success => Ok(()),
            trouble => Err(format!("{} did not succeed: {trouble}", self.command.name)),
        }
    }
}
