//! The floor: one thread, `epoll`, and the daemon's own bytes for whatever looks like a request.
//!
//! It reads no header, keeps no time and forgets whoever does not take all at once: less is not
//! possible, so what it costs is the kernel's part of each answer.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixListener,
    },
};

use rustix::event::epoll;

use crate::options::Yardstick;

/// Names the listeners among the events; connections are named by their descriptors.
const UNIX: u64 = u64::MAX;
const TCP: u64 = u64::MAX - 1;
/// Ends of heads that are looked for.
const END: &[u8] = b"\r\n\r\n";

/// Serves until it is killed.
pub(crate) fn play(yardstick: &Yardstick) -> io::Result<()> {
    let answer = fs::read(&yardstick.answer)?;
    let unix = UnixListener::bind(&yardstick.place.unix)?;
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, yardstick.place.port))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    watch(&epoll, &unix, UNIX)?;
    watch(&epoll, &tcp, TCP)?;
    let mut streams = HashMap::new();
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let stream: OwnedFd = match event.data.u64() {
                UNIX => unix.accept()?.0.into(),
                TCP => {
                    let (stream, _) = tcp.accept()?;
                    stream.set_nodelay(true)?;
                    stream.into()
                }
                name => {
                    if streams.get_mut(&name).is_some_and(|stream| !answered(stream, &answer)) {
                        streams.remove(&name);
                    }
                    continue;
                }
            };
            let name = u64::try_from(stream.as_raw_fd()).map_err(io::Error::other)?;
            watch(&epoll, &stream, name)?;
            streams.insert(name, fs::File::from(stream));
        }
    }
}

fn watch(epoll: &OwnedFd, source: &impl AsFd, name: u64) -> io::Result<()> {
    let data = epoll::EventData::new_u64(name);
    Ok(epoll::add(epoll, source, data, epoll::EventFlags::IN)?)
}

/// Answers each head that has come; tells whether the client goes on.
fn answered(stream: &mut fs::File, answer: &[u8]) -> bool {
    let mut buffer = [0; 4096];
    let Ok(read @ 1..) = stream.read(&mut buffer) else {
        return false;
    };
    let came = buffer.get(..read).unwrap_or_default();
    let heads = came.windows(END.len()).filter(|four| *four == END).count();
    let closes = came.windows(5).any(|five| five == b"close");
    (0..heads).all(|_| stream.write_all(answer).is_ok()) && !closes
}
