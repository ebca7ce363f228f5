//! Wake-ups of a server that nobody asks anything.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use crate::{
    contenders::Contender,
    figures::{Row, Unit},
    server::Server,
};

/// Switches of threads that are no further apart are one wake-up of the machine.
const GLANCE: Duration = Duration::from_millis(20);

/// Watches all servers at once for so long.
pub(crate) fn measure(servers: &[(Contender, Server)], time: Duration) -> io::Result<Vec<Row>> {
    let mut seen = servers.iter().map(|(_, it)| it.switches()).collect::<io::Result<Vec<_>>>()?;
    let mut wakes = vec![0.0; servers.len()];
    let mut were_awake = vec![false; servers.len()];
    let mut row = Row::new("wake-ups a minute at idle", Unit::Pieces);
    let began = Instant::now();
    while began.elapsed() < time {
        thread::sleep(GLANCE);
        let before = seen.iter_mut().zip(&mut were_awake);
        for (((seen, was_awake), wakes), (_, server)) in before.zip(&mut wakes).zip(servers) {
            let now = server.switches()?;
            let is_awake = now != *seen;
            *wakes += f64::from(u8::from(is_awake && !*was_awake));
            (*seen, *was_awake) = (now, is_awake);
        }
    }
    for ((contender, _), wakes) in servers.iter().zip(wakes) {
        row.push(*contender, wakes * 60.0 / time.as_secs_f64());
    }
    Ok(vec![row])
}
