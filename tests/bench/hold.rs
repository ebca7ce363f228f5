//! Ten thousand clients that have asked once and fell silent, and what they cost a server.

use std::{
    io::{self, BufRead, BufReader, Read},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    client::{self, Target},
    contenders::{Contender, Stage},
    figures::{Row, Unit, count},
    memory::resident,
    options::Crowd,
    server::Server,
};

/// Rest after the last has asked, in which servers let go of what they held for it.
const REST: Duration = Duration::from_secs(3);
/// What a holder says when all have been answered.
const HELD: &str = "held";

/// Lets this process and its children open as many files as they may.
pub(crate) fn raise_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// Looks at the memory of each server while so many connections rest on its unix socket.
pub(crate) fn measure(
    stage: &Stage,
    servers: &[(Contender, Server)],
    connections: usize,
) -> io::Result<Vec<Row>> {
    let mut whole = Row::new(format!("RSS with {connections} idle connections"), Unit::MiB);
    let mut each = Row::new("a connection, of that", Unit::KiB);
    for (contender, server) in servers {
        let before = resident(server)?;
        let during = with_crowd(stage, server, connections)?;
        whole.push(*contender, during);
        each.push(*contender, (during - before).max(0.0) / count(connections));
    }
    Ok(vec![whole, each])
}

fn with_crowd(stage: &Stage, server: &Server, connections: usize) -> io::Result<f64> {
    let target = server.unix();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["hold", "--target", &target.to_string()]);
    command.args(["--connections", &connections.to_string()]);
    command.arg("--request").arg(server.write_request(&target, "keep-alive")?);
    let mut holder = stage.load_core.spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
    let said = holder.stdout.take().map(BufReader::new);
    let line = said.and_then(|said| said.lines().next()).transpose()?;
    let is_held = line.is_some_and(|line| line == HELD);
    thread::sleep(REST);
    let during = resident(server);
    // Its standard input ends with this.
    drop(holder.stdin.take());
    holder.wait()?;
    if is_held { during } else { Err(server.failed("not all connections were answered")) }
}

/// Opens connections, asks once on each, and holds them until nobody wants them.
pub(crate) fn play(crowd: &Crowd) -> io::Result<()> {
    let request = std::fs::read(&crowd.request)?;
    let arrive = |_| arrive(&crowd.target, &request);
    let held = (0..crowd.connections).map(arrive).collect::<io::Result<Vec<_>>>()?;
    println!("{HELD}");
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(held);
    Ok(())
}

fn arrive(target: &Target, request: &[u8]) -> io::Result<std::fs::File> {
    let mut stream = target.connect()?;
    client::expect_good(&client::exchange(&mut stream, request)?)?;
    Ok(stream)
}
