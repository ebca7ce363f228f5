//! The load, in rounds: every server takes a turn in each, so that drift meets all alike.

use std::{
    io,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    client::Target,
    contenders::{Contender, Stage},
    figures::{Row, Unit},
    load::Findings,
    machine::Core,
    options::Plan,
    server::Server,
};

/// Connections of a lonely client, of a busy host, and of a crowd.
const CONNECTIONS: [usize; 3] = [1, 64, CROWD];
const CROWD: usize = 512;
/// Connections of those whose calls are forwarded.
pub(crate) const FORWARDED: [usize; 2] = [1, 64];
/// Connections over which half of what is possible is asked for.
const HALF: usize = 64;

/// Measures each kind of socket with each number of connections, kept and new ones, and at half load.
pub(crate) fn measure(
    stage: &Stage,
    servers: &[(Contender, Server)],
    plan: Plan,
) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for socket in [Server::unix as fn(&Server) -> Target, Server::tcp] {
        let load = |connections, way| {
            // The end of a crowd, and whoever meets a busy moment, differ most from round to round.
            let is_of_tails = connections == CROWD || matches!(way, Way::Paced(_));
            let rounds = if is_of_tails { plan.rounds_of_tails } else { plan.rounds };
            let core = stage.load_core;
            Load { core, socket, connections, way, turn: plan.turn }.run(servers, rounds)
        };
        let mut half = 0.0;
        for connections in CONNECTIONS {
            let found = load(connections, Way::Kept)?;
            if connections == HALF {
                // A load that the slower of the two can bear.
                let most = [Contender::Bearerd, Contender::Hyper].map(|it| found[0].median(it));
                half = most.into_iter().flatten().fold(f64::INFINITY, f64::min) / 2.0;
            }
            rows.extend(found);
        }
        rows.extend(load(HALF, Way::Fresh)?);
        // What is asked for is given, so that only times tell anything.
        rows.extend(load(HALF, Way::Paced(half))?.into_iter().skip(1));
    }
    Ok(rows)
}

/// Says how clients come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Each asks again as soon as it has been answered.
    Kept,
    /// Each comes by a new connection for each request.
    Fresh,
    /// So many requests come a second, whether there have been answers or not.
    Paced(f64),
}

/// One kind of load.
pub(crate) struct Load {
    pub(crate) core: Core,
    pub(crate) socket: fn(&Server) -> Target,
    pub(crate) connections: usize,
    pub(crate) way: Way,
    pub(crate) turn: Duration,
}

impl Load {
    /// Gives rows of requests a second, p50, p99, p99.9 and core time.
    pub(crate) fn run(
        &self,
        servers: &[(Contender, Server)],
        rounds: usize,
    ) -> io::Result<[Row; 5]> {
        let mut rows = self.rows(servers);
        // Every other round goes the other way round: being first is no advantage.
        let there = servers.iter().collect::<Vec<_>>();
        let back = servers.iter().rev().collect::<Vec<_>>();
        for order in [there, back].iter().cycle().take(rounds) {
            for (contender, server) in order {
                for (row, found) in rows.iter_mut().zip(self.turn(server)?) {
                    row.push(*contender, found);
                }
            }
        }
        Ok(rows)
    }

    fn rows(&self, servers: &[(Contender, Server)]) -> [Row; 5] {
        let kind = servers.first().map_or("", |(_, server)| (self.socket)(server).kind());
        let way = match self.way {
            Way::Kept => "",
            Way::Fresh => ", a new connection each",
            Way::Paced(_) => ", at half load",
        };
        let row =
            |name, unit| Row::new(format!("{kind} × {}{way}: {name}", self.connections), unit);
        [
            row("requests", Unit::PerSecond),
            row("p50", Unit::Micros),
            row("p99", Unit::Micros),
            row("p99.9", Unit::Micros),
            row("core time per request", Unit::Micros),
        ]
    }

    /// Gives the figures of one turn, in the order of the rows.
    fn turn(&self, server: &Server) -> io::Result<[f64; 5]> {
        let before = server.cpu_time()?;
        let found = self.visit(server)?;
        let spent = server.cpu_time()?.saturating_sub(before).as_secs_f64();
        Ok([found.per_second, found.p50, found.p99, found.p999, spent / found.answers])
    }

    fn visit(&self, server: &Server) -> io::Result<Findings> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["load", "--target", &(self.socket)(server).to_string()]);
        command.args(["--connections", &self.connections.to_string()]);
        command.args(["--millis", &self.turn.as_millis().to_string()]);
        let connection = match self.way {
            Way::Kept => "keep-alive",
            Way::Fresh => {
                command.arg("--fresh");
                "close"
            }
            Way::Paced(rate) => {
                command.args(["--rate", &rate.to_string()]);
                "keep-alive"
            }
        };
        command.arg("--request").arg(server.write_request(&(self.socket)(server), connection)?);
        let output = self.core.spawn(command.stdout(Stdio::piped()))?.wait_with_output()?;
        if !output.status.success() {
            return Err(server.failed("the load ended early"));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}
