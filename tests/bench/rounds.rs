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

/// Connections of a lonely client, and of a crowd.
pub(crate) const CONNECTIONS: [usize; 2] = [1, 64];

/// Measures each kind of socket with each number of connections.
pub(crate) fn measure(
    stage: &Stage,
    servers: &[(Contender, Server)],
    plan: Plan,
) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for socket in [Server::unix, Server::tcp] {
        for connections in CONNECTIONS {
            let load = Load { core: stage.load_core, socket, connections, turn: plan.turn };
            rows.extend(load.run(servers, plan.rounds)?);
        }
    }
    Ok(rows)
}

/// One kind of load.
pub(crate) struct Load {
    pub(crate) core: Core,
    pub(crate) socket: fn(&Server) -> Target,
    pub(crate) connections: usize,
    pub(crate) turn: Duration,
}

impl Load {
    /// Gives rows of requests a second, p50, p99 and core time.
    pub(crate) fn run(
        &self,
        servers: &[(Contender, Server)],
        rounds: usize,
    ) -> io::Result<[Row; 4]> {
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

    fn rows(&self, servers: &[(Contender, Server)]) -> [Row; 4] {
        let kind = servers.first().map_or("", |(_, server)| (self.socket)(server).kind());
        let row = |name, unit| Row::new(format!("{kind} × {}: {name}", self.connections), unit);
        [
            row("requests", Unit::PerSecond),
            row("p50", Unit::Micros),
            row("p99", Unit::Micros),
            row("core time per request", Unit::Micros),
        ]
    }

    /// Gives the figures of one turn, in the order of the rows.
    fn turn(&self, server: &Server) -> io::Result<[f64; 4]> {
        let before = server.cpu_time()?;
        let found = self.visit(server)?;
        let spent = server.cpu_time()?.saturating_sub(before).as_secs_f64();
        Ok([found.per_second, found.p50, found.p99, spent / found.answers])
    }

    fn visit(&self, server: &Server) -> io::Result<Findings> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["load", "--target", &(self.socket)(server).to_string()]);
        command.args(["--connections", &self.connections.to_string()]);
        command.args(["--millis", &self.turn.as_millis().to_string()]);
        command.arg("--request").arg(server.write_request(&(self.socket)(server))?);
        let output = self.core.spawn(command.stdout(Stdio::piped()))?.wait_with_output()?;
        if !output.status.success() {
            return Err(server.failed("the load ended early"));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}
