//! Instructions per request, counted by callgrind: they repeat when times do not.

use std::{ffi::OsString, fs, io};

use crate::{
    client::{self, Target},
    contenders::{Contender, Stage},
    figures::{Row, Unit, count},
    server::Server,
};

/// Requests of a short run and of a long one; what they differ by has no start-up in it.
const REQUESTS: [usize; 2] = [500, 2500];

/// Counts for each kind of socket, on one connection that is kept.
pub(crate) fn measure(stage: &Stage) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (kind, socket) in [("unix", Server::unix as fn(&Server) -> Target), ("tcp", Server::tcp)] {
        let mut row = Row::new(format!("{kind} × 1: instructions per request"), Unit::Pieces);
        for contender in Contender::answering() {
            let [short, long] = REQUESTS;
            let more = run(stage, contender, socket, long)? - run(stage, contender, socket, short)?;
            row.push(contender, more / count(long - short));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Counts the instructions of a whole life.
fn run(
    stage: &Stage,
    contender: Contender,
    socket: fn(&Server) -> Target,
    requests: usize,
) -> io::Result<f64> {
    let valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=profile"];
    let mut server = stage.start_below(&valgrind.map(OsString::from), contender)?;
    server.first_answer()?;
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
