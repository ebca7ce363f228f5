//! Other users, as a socket sees them: a thread that takes their place for one connect.

use std::{net, os::unix, thread};

use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use tokio::net::{TcpStream, UnixStream};

use super::{Place, Visitor, skip};

/// Who connects.
#[derive(Clone, Copy)]
pub(crate) struct User<'a> {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: &'a [u32],
}

/// Tells whether we can be somebody else; says aloud if not.
pub(crate) fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skip("only root can try this as another user");
    }
    is_root
}

impl User<'_> {
    /// Names a user whose only group has the same number.
    pub(crate) fn number(uid: u32) -> Self {
        Self { uid, gid: uid, groups: &[] }
    }

    /// Connects as this user; `None`, said aloud, where we may not.
    pub(crate) async fn connect(self, place: &Place) -> Option<Visitor> {
        if !is_root() {
            return None;
        }
        Some(match place {
            Place::Unix(path) => {
                let stream = self.does(|| unix::net::UnixStream::connect(path).unwrap());
                stream.set_nonblocking(true).unwrap();
                Visitor::over(UnixStream::from_std(stream).unwrap())
            }
            Place::Tcp(address) => {
                let stream = self.does(|| net::TcpStream::connect(address).unwrap());
                stream.set_nonblocking(true).unwrap();
                Visitor::over(TcpStream::from_std(stream).unwrap())
            }
        })
    }

    /// Does something as this user, in a thread of its own: that is what these calls are about.
    pub(crate) fn does<T: Send>(self, what: impl FnOnce() -> T + Send) -> T {
        let as_user = || {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            let groups: Vec<_> = self.groups.iter().copied().map(Gid::from_raw).collect();
            set_thread_groups(&groups).unwrap();
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            what()
        };
        thread::scope(|scope| scope.spawn(as_user).join().unwrap())
    }
}
