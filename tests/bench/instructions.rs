//! Instructions per request, counted by callgrind: they repeat when times do not.

use std::{ffi::OsString, fs, io};

use crate::{
    client::{self, Target},
    contenders::{Contender, Stage},
    figures::{Row, Unit, count},
    proxy,
    server::Server,
};

/// Requests of a short run and of a long one; what they differ by has no start-up in it.
const REQUESTS: [usize; 2] = [500, 2500];
/// What counts them; the profile lies where its server does.
const VALGRIND: [&str; 3] = ["valgrind", "--tool=callgrind", "--callgrind-out-file=profile"];

/// Counts what answers cost each contender, on one connection that is kept.
pub(crate) fn measure(stage: &Stage) -> io::Result<Vec<Row>> {
    let start = |below: &[OsString], contender| {
        let mut server = stage.start_below(below, contender)?;
        server.first_answer().map(|_| server)
    };
    count_all(&Contender::answering(), start)
}

/// The same of forwarded calls.
pub(crate) fn measure_forwarded(stage: &Stage) -> io::Result<Vec<Row>> {
    let upstream = proxy::upstream(stage)?;
    let start =
        |below: &[OsString], contender| proxy::start_below(below, stage, &upstream, contender);
    count_all(&Contender::forwarding(), start)
}

/// Counts for each kind of socket; a contender is started below the program that counts.
fn count_all(
    contenders: &[Contender],
    start: impl Fn(&[OsString], Contender) -> io::Result<Server>,
) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (kind, socket) in [("unix", Server::unix as fn(&Server) -> Target), ("tcp", Server::tcp)] {
        let mut row = Row::new(format!("{kind} × 1: instructions per request"), Unit::Pieces);
        for &contender in contenders {
            let valgrind = VALGRIND.map(OsString::from);
            let run = |requests| run(start(&valgrind, contender)?, socket, requests);
            let [short, long] = REQUESTS;
            row.push(contender, (run(long)? - run(short)?) / count(long - short));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Counts the instructions of a whole life.
fn run(mut server: Server, socket: fn(&Server) -> Target, requests: usize) -> io::Result<f64> {
    let target = socket(&server);
    let mut stream = server.connect(&target)?;
    for _ in 0..requests {
        client::expect_good(&client::exchange(&mut stream, &target.request(&server.question))?)?;
    }
    drop(stream);
    server.stop()?;
    let profile = fs::read_to_string(server.path("profile"))?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.ok_or_else(|| server.failed("callgrind has counted nothing"))
}
