//! Memory: at once after the first answer, and again after a rest.

use std::{io, thread, time::Duration};

use crate::{
    contenders::Contender,
    figures::{Row, Unit},
    server::Server,
};

/// Looks at servers that have answered once.
pub(crate) fn measure(servers: &[(Contender, Server)], rest: Duration) -> io::Result<Vec<Row>> {
    let mut rows = look(servers, "after the start")?;
    thread::sleep(rest);
    rows.extend(look(servers, &format!("at idle, {} s on", rest.as_secs()))?);
    Ok(rows)
}

fn look(servers: &[(Contender, Server)], when: &str) -> io::Result<Vec<Row>> {
    let fields = [("RSS", "Rss:"), ("PSS", "Pss:")];
    fields.into_iter().map(|(name, field)| row(servers, &format!("{name} {when}"), field)).collect()
}

/// Tells the memory of a server that is resident, in bytes.
pub(crate) fn resident(server: &Server) -> io::Result<f64> {
    Ok(kibibytes(&server.proc("smaps_rollup")?, "Rss:") * 1024.0)
}

fn row(servers: &[(Contender, Server)], name: &str, field: &str) -> io::Result<Row> {
    let mut row = Row::new(name, Unit::MiB);
    for (contender, server) in servers {
        let bytes = kibibytes(&server.proc("smaps_rollup")?, field) * 1024.0;
        row.push(*contender, bytes);
    }
    Ok(row)
}

fn kibibytes(rollup: &str, field: &str) -> f64 {
    let line = rollup.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(f64::NAN)
}
