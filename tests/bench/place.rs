//! The place of one server: a directory of its own, and a port.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::client::Target;

/// Holds where one server keeps its files and listens; the files go with it.
pub(crate) struct Place {
    directory: TempDir,
    port: u16,
}

impl Place {
    /// Makes an empty directory that only we can enter, and finds a free port.
    pub(crate) fn make() -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("bearerd-bench-").tempdir()?;
        // The port may be taken before the server binds it; then the run fails and says so.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        Ok(Self { directory, port })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, bytes)?;
        Ok(path)
    }

    /// Tells where the server's unix socket is.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("server.sock")
    }

    pub(crate) fn unix(&self) -> Target {
        Target::Unix(self.socket())
    }

    pub(crate) fn tcp(&self) -> Target {
        Target::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
    }
}
