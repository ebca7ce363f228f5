//! Whose a TCP connection within this machine is: the kernel is asked by `sock_diag`.
//!
//! One message there and one back, for one connection, answered while it is sent; so nobody waits,
//! and who connects cannot make it slow. `/proc/net/tcp` would list all connections of the machine
//! for each answer. See `sock_diag(7)` and `linux/inet_diag.h`.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{Mutex, OnceLock, PoisonError},
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect,
    netlink::{SOCK_DIAG, SocketAddrNetlink},
    recv, send, socket_with,
};

/// Names a connection as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client's own address.
    pub client: SocketAddr,
    /// The address that it has connected to.
    pub server: SocketAddr,
}

/// Says what has become of the client's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A process of this user holds it.
    User(u32),
    /// It is closed, or was never there.
    Nobody,
}

/// Asks the kernel for the owners of TCP connections.
///
/// It is asked for nothing before the first question, and refuses strangers' connections.
#[derive(Default)]
pub struct TcpOwners(OnceLock<io::Result<Mutex<Line>>>);

impl TcpOwners {
    /// Asks who holds the client's end.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell, or the client is on another machine.
    pub fn holder(&self, ends: Ends) -> io::Result<Holder> {
        if !ends.client.ip().to_canonical().is_loopback() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.line()?.lock().unwrap_or_else(PoisonError::into_inner).ask(ends)
    }

    /// Finds out whether the kernel tells at all; it may have to load a module first.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn try_out(&self) -> io::Result<()> {
        self.line().map(|_| ())
    }

    fn line(&self) -> io::Result<&Mutex<Line>> {
        let line = self.0.get_or_init(|| Line::tried_out().map(Mutex::new));
        line.as_ref().map_err(|error| error.kind().into())
    }
}

/// A socket on which the kernel answers.
struct Line {
    socket: OwnedFd,
    /// Number of the last question.
    number: u32,
}

impl Line {
    fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(SOCK_DIAG))?;
        // Nobody but the kernel can answer on a connected one.
        connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket, number: 0 })
    }

    /// Opens a line and asks about a connection of our own.
    ///
    /// A kernel without the module answers as if there were no such connection.
    fn tried_out() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let server = listener.local_addr()?;
        let stream = TcpStream::connect(server)?;
        let mut line = Self::open()?;
        let found = line.ask(Ends { client: stream.local_addr()?, server })?;
        match found {
            Holder::User(_) => Ok(line),
            Holder::Nobody => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn ask(&mut self, ends: Ends) -> io::Result<Holder> {
        self.number = self.number.wrapping_add(1);
        send(&self.socket, &question(ends, self.number), SendFlags::NOSIGNAL)?;
        loop {
            let mut answer = [0; LONGEST_ANSWER];
            let (length, _) = recv(&self.socket, answer.as_mut_slice(), RecvFlags::DONTWAIT)?;
            let answer = Answer(answer.get(..length).unwrap_or_default());
            // The answer to a question that was given up may still lie there.
            if answer.is_to(self.number) {
                return answer.holder(ends);
            }
        }
    }
}

/// More than any answer to one question.
const LONGEST_ANSWER: usize = 512;

/// `SOCK_DIAG_BY_FAMILY` and `NLMSG_ERROR`, kinds of messages.
const BY_FAMILY: u16 = 20;
const ERROR: u16 = 2;
/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;
/// `AF_INET`, `AF_INET6` and `IPPROTO_TCP`.
const V4: u8 = 2;
const V6: u8 = 10;
const TCP: u8 = 6;
/// `ENOENT`, as errors are written in answers.
const NONE_SUCH: i32 = -2;

/// Writes an `nlmsghdr` and an `inet_diag_req_v2`.
fn question(ends: Ends, number: u32) -> [u8; 72] {
    let (client, server) = (ends.client.ip().to_canonical(), ends.server.ip().to_canonical());
    let mut bytes = [0; 72];
    let parts: [(usize, &[u8]); 10] = [
        (0, &72_u32.to_ne_bytes()),
        (4, &BY_FAMILY.to_ne_bytes()),
        (6, &REQUEST.to_ne_bytes()),
        (8, &number.to_ne_bytes()),
        (16, &[if client.is_ipv4() { V4 } else { V6 }, TCP]),
        // In any state; on any interface, which is 0; whatever its cookie.
        (20, &[0xff; 4]),
        (24, &ends.client.port().to_be_bytes()),
        (26, &ends.server.port().to_be_bytes()),
        (28, &[octets(client), octets(server)].concat()),
        (64, &[0xff; 8]),
    ];
    for (at, part) in parts {
        bytes.iter_mut().skip(at).zip(part).for_each(|(byte, value)| *byte = *value);
    }
    bytes
}

/// Writes an address into the room for the longer kind.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// An answer: an `nlmsghdr`, then an `nlmsgerr` or an `inet_diag_msg`.
struct Answer<'a>(&'a [u8]);

impl Answer<'_> {
    fn is_to(&self, number: u32) -> bool {
        self.at(8).map(u32::from_ne_bytes) == Some(number)
    }

    fn holder(&self, ends: Ends) -> io::Result<Holder> {
        let kind = self.at(4).map(u16::from_ne_bytes);
        let error = self.at(16).map(i32::from_ne_bytes);
        match (kind, error) {
            (Some(ERROR), Some(NONE_SUCH)) => Ok(Holder::Nobody),
            (Some(ERROR), Some(error)) => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
            (Some(BY_FAMILY), _) => self.found(ends).ok_or(io::ErrorKind::InvalidData.into()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Reads what was found, which is a listening socket where there is no such connection.
    fn found(&self, ends: Ends) -> Option<Holder> {
        let [family, state] = self.at(16)?;
        let is_it = self.end(family, 20, 24)? == canonical(ends.client)
            && self.end(family, 22, 40)? == canonical(ends.server);
        let uid = u32::from_ne_bytes(self.at(80)?);
        let inode = u32::from_ne_bytes(self.at(84)?);
        // Without a process it has no inode, and then the uid says 0 whosever it was.
        let is_held = is_it && is_open(state) && inode != 0;
        Some(if is_held { Holder::User(uid) } else { Holder::Nobody })
    }

    /// Reads a port and an address.
    fn end(&self, family: u8, port: usize, address: usize) -> Option<SocketAddr> {
        let address = match family {
            V4 => IpAddr::from(self.at::<4>(address)?),
            V6 => IpAddr::from(self.at::<16>(address)?).to_canonical(),
            _ => return None,
        };
        Some(SocketAddr::new(address, u16::from_be_bytes(self.at(port)?)))
    }

    fn at<const LENGTH: usize>(&self, at: usize) -> Option<[u8; LENGTH]> {
        self.0.get(at..at + LENGTH)?.try_into().ok()
    }
}

/// Tells whether a connection is established, or was, and its client has only stopped sending:
/// `TCP_ESTABLISHED`, `TCP_FIN_WAIT1`, `TCP_FIN_WAIT2`.
const fn is_open(state: u8) -> bool {
    matches!(state, 1 | 4 | 5)
}

/// IPv4 within IPv6 is IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, Shutdown};

    use super::*;

    fn our_uid() -> Holder {
        Holder::User(rustix::process::getuid().as_raw())
    }

    /// Connects to an address of this machine, where a server of the other one listens.
    fn connection(server: IpAddr, client: IpAddr) -> (TcpStream, TcpStream, Ends) {
        let listener = TcpListener::bind((server, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = TcpStream::connect((client, port)).unwrap();
        let (accepted, address) = listener.accept().unwrap();
        let ends = Ends { client: address, server: accepted.local_addr().unwrap() };
        (stream, accepted, ends)
    }

    // fault 160
    #[test]
    fn a_connection_belongs_to_whoever_holds_it_and_then_to_nobody() {
        let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped().into();
        let any = Ipv6Addr::UNSPECIFIED.into();
        let owners = TcpOwners::default();
        for (server, client) in [(v4, v4), (v6, v6), (v4, mapped), (any, v4), (any, v6)] {
            let (stream, accepted, ends) = connection(server, client);
            assert_eq!(owners.holder(ends).unwrap(), our_uid(), "{ends:?}");
            let other = SocketAddr::new(ends.client.ip(), ends.client.port() ^ 1);
            let nobody = owners.holder(Ends { client: other, ..ends }).unwrap();
            assert_eq!(nobody, Holder::Nobody);
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(owners.holder(ends).unwrap(), our_uid(), "it still listens");
            drop(stream);
            assert_eq!(owners.holder(ends).unwrap(), Holder::Nobody, "{ends:?} is closed");
            drop(accepted);
        }
    }

    #[test]
    fn a_listening_socket_is_no_connection() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = listener.local_addr().unwrap();
        let ends = Ends { client, server: SocketAddr::new(client.ip(), 1) };
        assert_eq!(TcpOwners::default().holder(ends).unwrap(), Holder::Nobody);
    }

    #[test]
    fn strangers_are_not_asked_about() {
        let server = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1);
        for client in ["192.0.2.1:9", "[2001:db8::1]:9", "[::ffff:192.0.2.1]:9"] {
            let ends = Ends { client: client.parse().unwrap(), server };
            assert!(TcpOwners::default().holder(ends).is_err(), "{client}");
        }
    }

    /// An answer about `127.0.0.1:1` and `127.0.0.1:2`, of user 7 with inode 9.
    fn answer(number: u32, state: u8) -> Vec<u8> {
        let localhost = octets(Ipv4Addr::LOCALHOST.into());
        let id = [&[0, 1, 0, 2][..], &localhost, &localhost, &[0; 12]].concat();
        let head = [&88_u32.to_ne_bytes()[..], &BY_FAMILY.to_ne_bytes(), &[0; 2]].concat();
        let tail = [7_u32.to_ne_bytes(), 9_u32.to_ne_bytes()].concat();
        let kind = [V4, state, 0, 0];
        [&head, &number.to_ne_bytes()[..], &[0; 4], &kind, &id, &[0; 12], &tail].concat()
    }

    #[test]
    fn only_an_open_connection_with_an_inode_counts() {
        let at = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let ends = Ends { client: at(1), server: at(2) };
        let told = |bytes: &[u8]| Answer(bytes).holder(ends).map_err(|error| error.kind());
        for state in 0..=12 {
            let held = [1, 4, 5].contains(&state);
            let holder = if held { Holder::User(7) } else { Holder::Nobody };
            assert_eq!(told(&answer(3, state)), Ok(holder), "{state}");
        }
        let mut closed = answer(3, 1);
        closed[84..].fill(0);
        assert_eq!(told(&closed), Ok(Holder::Nobody));
        let mut elsewhere = answer(3, 1);
        elsewhere[23] = 3;
        assert_eq!(told(&elsewhere), Ok(Holder::Nobody));
        assert_eq!(told(&answer(3, 1)[..87]), Err(io::ErrorKind::InvalidData));
        assert!(Answer(&answer(3, 1)).is_to(3) && !Answer(&answer(3, 1)).is_to(4));
    }

    #[test]
    fn an_error_is_no_answer_unless_it_says_that_there_is_none() {
        let at = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let ends = Ends { client: at(1), server: at(2) };
        let error = |errno: i32| {
            let head = [&36_u32.to_ne_bytes()[..], &ERROR.to_ne_bytes(), &[0; 10]].concat();
            Answer(&[&head, &errno.to_ne_bytes()[..]].concat()).holder(ends)
        };
        assert_eq!(error(-2).unwrap(), Holder::Nobody);
        assert_eq!(error(-13).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(error(0).is_err() && error(i32::MIN).is_err());
    }
}
