//! The load: a closed loop, one request under way on each connection, every answer timed.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::event::epoll;
use serde::{Deserialize, Serialize};

use crate::{client, figures::count, options::Visit};

/// Tells what one visit found; times in seconds.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Findings {
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Answers of the whole visit, the warm-up included.
    pub(crate) answers: f64,
}

/// Visits a server and prints the findings for whoever started this process.
pub(crate) fn play(visit: &Visit) -> io::Result<()> {
    let findings = run(visit)?;
    println!("{}", serde_json::to_string(&findings)?);
    Ok(())
}

fn run(visit: &Visit) -> io::Result<Findings> {
    let mut crowd = Crowd::arrive(visit)?;
    let time = Duration::from_millis(visit.millis);
    let warm_up = crowd.ask_for(time / 10)?;
    let began = Instant::now();
    let mut times = crowd.ask_for(time)?;
    let elapsed = began.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok(Findings {
        per_second: count(times.len()) / elapsed,
        p50: quantile(&times, 50),
        p99: quantile(&times, 99),
        answers: count(warm_up.len() + times.len()),
    })
}

/// Finds the time that so many of a hundred answers took at most, in seconds.
fn quantile(sorted: &[Duration], percent: usize) -> f64 {
    let time = sorted.get(sorted.len() * percent / 100).or(sorted.last());
    time.map_or(f64::NAN, Duration::as_secs_f64)
}

/// All connections of a visit.
struct Crowd {
    visitors: Vec<Visitor>,
    /// None for a single connection, which simply blocks.
    epoll: Option<OwnedFd>,
    request: Vec<u8>,
    /// Length of every answer.
    length: usize,
}

struct Visitor {
    stream: File,
    asked: Instant,
    seen: usize,
}

impl Crowd {
    fn arrive(visit: &Visit) -> io::Result<Self> {
        let Visit { target, connections, .. } = visit;
        let request = fs::read(&visit.request)?;
        let answer = client::exchange(&mut target.connect()?, &request)?;
        client::expect_good(&answer)?;
        let arrive = |_| Ok(Visitor { stream: target.connect()?, asked: Instant::now(), seen: 0 });
        let mut visitors = (0..*connections).map(arrive).collect::<io::Result<Vec<_>>>()?;
        let epoll = (*connections > 1).then(|| watch(&visitors)).transpose()?;
        for visitor in &mut visitors {
            visitor.ask(&request, Instant::now())?;
        }
        Ok(Self { visitors, epoll, request, length: answer.len() })
    }

    /// Keeps every connection busy for so long; gives the time of each answer.
    fn ask_for(&mut self, time: Duration) -> io::Result<Vec<Duration>> {
        let end = Instant::now() + time;
        let mut times = Vec::with_capacity(1 << 20);
        let mut events = Vec::with_capacity(self.visitors.len());
        let mut now = Instant::now();
        while now < end {
            self.wait(&mut events)?;
            for event in &events {
                let Some(visitor) = self.visitors.get_mut(place(event.data.u64())) else {
                    continue;
                };
                if visitor.has_all(self.length)? {
                    now = Instant::now();
                    times.push(now - visitor.asked);
                    visitor.ask(&self.request, now)?;
                }
            }
        }
        Ok(times)
    }

    fn wait(&self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        events.clear();
        match &self.epoll {
            Some(epoll) => {
                epoll::wait(epoll, rustix::buffer::spare_capacity(events), None)?;
            }
            None => events.push(readable(0)),
        }
        Ok(())
    }
}

impl Visitor {
    fn ask(&mut self, request: &[u8], now: Instant) -> io::Result<()> {
        (self.asked, self.seen) = (now, 0);
        self.stream.write_all(request)
    }

    /// Reads what has come; tells whether that was the end of the answer.
    fn has_all(&mut self, length: usize) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        let read = self.stream.read(&mut buffer)?;
        if self.seen == 0 {
            client::expect_good(buffer.get(..read).unwrap_or_default())?;
        }
        self.seen += read;
        if read == 0 || self.seen > length {
            return Err(io::Error::other("an answer of another length"));
        }
        Ok(self.seen == length)
    }
}

fn watch(visitors: &[Visitor]) -> io::Result<OwnedFd> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (place, visitor) in (0..).zip(visitors) {
        let event = readable(place);
        epoll::add(&epoll, &visitor.stream, event.data, event.flags)?;
    }
    Ok(epoll)
}

fn readable(place: u64) -> epoll::Event {
    epoll::Event { flags: epoll::EventFlags::IN, data: epoll::EventData::new_u64(place) }
}

fn place(data: u64) -> usize {
    usize::try_from(data).unwrap_or(usize::MAX)
}
