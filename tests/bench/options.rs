//! The command line of the harness, and the parts it plays.

use std::{fs, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::client::Target;

/// Measures bearerd beside yardsticks.
#[derive(Debug, Parser)]
#[command(name = "bench", bin_name = "cargo bench --bench bearerd --")]
pub(crate) struct Options {
    /// Take half a minute, for a first impression
    #[arg(long)]
    pub(crate) quick: bool,

    /// Count instructions per request instead, which repeats exactly; needs valgrind
    #[arg(long)]
    pub(crate) instructions: bool,

    /// Measure forwarded calls instead, beside bare hyper, nginx and nobody
    #[arg(long)]
    pub(crate) proxy: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Print a table of Markdown
    #[arg(long, conflicts_with = "json")]
    pub(crate) markdown: bool,

    /// Let the kernel choose the cores instead of one for the server and one for the load
    #[arg(long)]
    pub(crate) spread: bool,

    /// Binary to measure instead of the one that cargo has just built
    #[arg(
        long,
        value_name = "PATH",
        default_value = env!("CARGO_BIN_EXE_bearerd"),
        value_parser = |path: &str| fs::canonicalize(path)
    )]
    pub(crate) bearerd: PathBuf,

    /// What cargo tells every benchmark
    #[arg(long, hide = true)]
    bench: bool,

    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

/// Names a part that the harness plays in a process of its own.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Visits a server.
    #[command(hide = true)]
    Load(Visit),
    /// Is the bare hyper server.
    #[command(hide = true)]
    Yardstick(Yardstick),
    /// Is the bare hyper server that forwards.
    #[command(hide = true)]
    Forward(Forward),
    /// Is the bare loop around `epoll`.
    #[command(hide = true)]
    Floor(Yardstick),
    /// Holds connections.
    #[command(hide = true)]
    Hold(Crowd),
}

/// Says who comes to rest on a server.
#[derive(Args, Debug)]
pub(crate) struct Crowd {
    /// The server.
    #[arg(long)]
    pub(crate) target: Target,
    /// Connections, each with one request at the start.
    #[arg(long)]
    pub(crate) connections: usize,
    /// File that holds what each connection sends.
    #[arg(long)]
    pub(crate) request: PathBuf,
}

/// Says whom the load visits, and how.
#[derive(Args, Debug)]
pub(crate) struct Visit {
    /// The server.
    #[arg(long)]
    pub(crate) target: Target,
    /// Connections, each with one request under way at any time.
    #[arg(long)]
    pub(crate) connections: usize,
    /// Time that is measured, after a warm-up of a tenth of it.
    #[arg(long)]
    pub(crate) millis: u64,
    /// File that holds what each connection sends.
    #[arg(long)]
    pub(crate) request: PathBuf,
    /// Whether each request comes by a new connection.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Requests a second; none: as many as are answered.
    #[arg(long, conflicts_with = "fresh")]
    pub(crate) rate: Option<f64>,
}

/// Says where a yardstick listens.
#[derive(Args, Debug)]
pub(crate) struct Listening {
    #[arg(long)]
    pub(crate) unix: PathBuf,
    #[arg(long)]
    pub(crate) port: u16,
}

/// Says to whom the bare hyper server forwards, and with which token.
#[derive(Args, Debug)]
pub(crate) struct Forward {
    #[command(flatten)]
    pub(crate) place: Listening,
    /// Address of the upstream.
    #[arg(long)]
    pub(crate) upstream: String,
    #[arg(long)]
    pub(crate) token: String,
}

/// Says where the bare hyper server listens and what it sends.
#[derive(Args, Debug)]
pub(crate) struct Yardstick {
    #[command(flatten)]
    pub(crate) place: Listening,
    /// File that holds an answer of bearerd's, head and body.
    #[arg(long)]
    pub(crate) answer: PathBuf,
    /// File that holds the answer to a POST; none: the same as to all else.
    #[arg(long)]
    pub(crate) grant: Option<PathBuf>,
}

/// Says how much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Turns that each server takes at each load.
    pub(crate) rounds: usize,
    /// The same where it is the slowest answers that count.
    pub(crate) rounds_of_tails: usize,
    /// Length of a turn.
    pub(crate) turn: Duration,
    /// Starts of each server.
    pub(crate) starts: usize,
    /// Rest before memory is looked at again.
    pub(crate) rest: Duration,
    /// Connections that rest at once.
    pub(crate) crowd: usize,
    /// Time in which wake-ups are counted.
    pub(crate) idle: Duration,
}

impl Options {
    /// Tells how much is measured: some minutes' worth, or a quick impression.
    pub(crate) const fn plan(&self) -> Plan {
        if self.quick {
            let (turn, rest) = (Duration::from_millis(250), Duration::from_secs(2));
            let (rounds, rounds_of_tails, crowd) = (3, 3, 1000);
            return Plan { rounds, rounds_of_tails, turn, starts: 5, rest, crowd, idle: rest };
        }
        let (turn, rest) = (Duration::from_secs(1), Duration::from_secs(10));
        let idle = Duration::from_secs(120);
        let (rounds, rounds_of_tails, crowd) = (7, 21, 10_000);
        Plan { rounds, rounds_of_tails, turn, starts: 15, rest, crowd, idle }
    }
}
