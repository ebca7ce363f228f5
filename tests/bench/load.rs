//! The load: one request under way on each connection, every answer timed.
//!
//! Either each visitor asks again when it has been answered, on the same connection or on a new one;
//! or requests come at a rate, and the time of each begins when it should have come, so that a
//! server which falls behind is not asked less.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{event::epoll, time::Timespec};
use serde::{Deserialize, Serialize};

use crate::{client, figures::count, options::Visit};

/// Tells what one visit found; times in seconds.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Findings {
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
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
        p50: quantile(&times, 500),
        p99: quantile(&times, 990),
        p999: quantile(&times, 999),
        answers: count(warm_up.len() + times.len()),
    })
}

/// Finds the time that so many of a thousand answers took at most, in seconds.
fn quantile(sorted: &[Duration], permille: usize) -> f64 {
    let time = sorted.get(sorted.len() * permille / 1000).or(sorted.last());
    time.map_or(f64::NAN, Duration::as_secs_f64)
}

/// All connections of a visit.
struct Crowd<'a> {
    visit: &'a Visit,
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

impl<'a> Crowd<'a> {
    fn arrive(visit: &'a Visit) -> io::Result<Self> {
        let Visit { target, connections, .. } = visit;
        let request = fs::read(&visit.request)?;
        let answer = client::exchange(&mut target.connect()?, &request)?;
        client::expect_good(&answer)?;
        let arrive = |_| Ok(Visitor { stream: target.connect()?, asked: Instant::now(), seen: 0 });
        let visitors = (0..*connections).map(arrive).collect::<io::Result<Vec<_>>>()?;
        let epoll = (*connections > 1).then(|| watch(&visitors)).transpose()?;
        Ok(Self { visit, visitors, epoll, request, length: answer.len() })
    }

    /// Goes on for so long; gives the time of each answer.
    fn ask_for(&mut self, time: Duration) -> io::Result<Vec<Duration>> {
        match self.visit.rate {
            None => self.ask_as_answered(time),
            Some(rate) => self.ask_at(rate, time),
        }
    }

    /// Keeps every connection busy, and lets each come to its last answer.
    fn ask_as_answered(&mut self, time: Duration) -> io::Result<Vec<Duration>> {
        for visitor in &mut self.visitors {
            visitor.ask(&self.request, Instant::now())?;
        }
        let end = Instant::now() + time;
        let mut times = Vec::with_capacity(1 << 20);
        let mut events = Vec::with_capacity(self.visitors.len());
        let mut busy = self.visitors.len();
        while busy > 0 {
            self.wait(&mut events, None)?;
            for event in &events {
                let who = place(event.data.u64());
                let Some(visitor) = self.visitors.get_mut(who) else { continue };
                if !visitor.has_all(self.length)? {
                    continue;
                }
                let now = Instant::now();
                times.push(now - visitor.asked);
                if self.visit.fresh {
                    visitor.stream = self.visit.target.connect()?;
                    add(self.epoll.as_ref(), visitor, who)?;
                }
                if now < end {
                    visitor.ask(&self.request, now)?;
                } else {
                    busy -= 1;
                }
            }
        }
        Ok(times)
    }

    /// Lets requests come at a rate; one that finds nobody free waits, and its time runs.
    fn ask_at(&mut self, rate: f64, time: Duration) -> io::Result<Vec<Duration>> {
        let mut free = (0..self.visitors.len()).collect::<Vec<_>>();
        let mut times = Vec::with_capacity(1 << 20);
        let mut events = Vec::with_capacity(self.visitors.len());
        let (began, pause) = (Instant::now(), Duration::from_secs_f64(1.0 / rate));
        let mut due = began;
        while due < began + time || free.len() < self.visitors.len() {
            let now = Instant::now();
            while due <= now && due < began + time {
                let Some(who) = free.pop() else { break };
                if let Some(visitor) = self.visitors.get_mut(who) {
                    visitor.ask(&self.request, due)?;
                }
                due += pause;
            }
            let wait = if free.is_empty() || due >= began + time { None } else { Some(due) };
            self.wait(&mut events, wait)?;
            for event in &events {
                let who = place(event.data.u64());
                let Some(visitor) = self.visitors.get_mut(who) else { continue };
                if visitor.has_all(self.length)? {
                    times.push(visitor.asked.elapsed());
                    free.push(who);
                }
            }
        }
        Ok(times)
    }

    /// Waits for an answer, until a moment at most.
    fn wait(&self, events: &mut Vec<epoll::Event>, until: Option<Instant>) -> io::Result<()> {
        events.clear();
        let Some(epoll) = &self.epoll else {
            events.push(readable(0));
            return Ok(());
        };
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        epoll::wait(epoll, rustix::buffer::spare_capacity(events), left.as_ref())?;
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
    for (who, visitor) in visitors.iter().enumerate() {
        add(Some(&epoll), visitor, who)?;
    }
    Ok(epoll)
}

fn add(epoll: Option<&OwnedFd>, visitor: &Visitor, who: usize) -> io::Result<()> {
    let Some(epoll) = epoll else { return Ok(()) };
    let event = readable(who as u64);
    Ok(epoll::add(epoll, &visitor.stream, event.data, event.flags)?)
}

fn readable(place: u64) -> epoll::Event {
    epoll::Event { flags: epoll::EventFlags::IN, data: epoll::EventData::new_u64(place) }
}

fn place(data: u64) -> usize {
    usize::try_from(data).unwrap_or(usize::MAX)
}
