//! Sockets that the service manager has opened and hands over, by name (`sd_listen_fds(3)`).

use std::{io, os::fd::OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd};

/// What a socket is called that has no name of its own.
const NAMELESS: &str = "unknown";

/// Holds what was handed over.
#[derive(Default)]
pub struct Handed(Vec<(String, OwnedFd)>);

/// Says that what was handed over makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "LISTEN_FDS, LISTEN_PID or LISTEN_FDNAMES do not fit what was handed over: let systemd set them"
)]
pub struct WrongEnvironment;

impl Handed {
    /// Takes over what this process was given; nothing, if it was started otherwise.
    ///
    /// Call it once: then the descriptors are ours, and no program that we start gets them.
    ///
    /// # Errors
    ///
    /// When a descriptor that was announced is not there, or a variable is none (fault 171).
    pub fn take() -> Result<Self, WrongEnvironment> {
        // This looks at each of them; the other only believes in them.
        let announced = sd_notify::listen_fds_with_names().map_err(|_| WrongEnvironment)?.len();
        let handed = sd_listen_fds::get().map_err(|_| WrongEnvironment)?;
        if handed.len() != announced {
            return Err(WrongEnvironment);
        }
        let named = handed.into_iter().map(|(name, socket)| {
            let name = name.filter(|name| !name.is_empty());
            (name.unwrap_or_else(|| NAMELESS.to_owned()), socket.into_std())
        });
        let named: Vec<_> = named.collect();
        for (_, socket) in &named {
            fcntl_setfd(socket, FdFlags::CLOEXEC).map_err(|_| WrongEnvironment)?;
        }
        Ok(Self(named))
    }

    /// Gives all sockets of a name, which stay open here, too.
    ///
    /// # Errors
    ///
    /// When there are no descriptors left.
    pub fn named(&self, name: &str) -> io::Result<Vec<OwnedFd>> {
        let of_name = self.0.iter().filter(|(known, _)| known == name);
        of_name.map(|(_, socket)| socket.try_clone()).collect()
    }
}
