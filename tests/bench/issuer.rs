//! The emulated issuer that the daemon mints from, and how long a mint takes it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{client, machine::Core, place::Place, server::Server};

/// Holds the running issuer.
pub(crate) struct Issuer {
    server: Server,
}

impl Issuer {
    /// Starts one that answers as fast as it can, and waits until it does.
    pub(crate) fn start(bearerd: &Path, core: Core) -> io::Result<Self> {
        let place = Place::make()?;
        let words = [
            bearerd.into(),
            "emulator".into(),
            "--bind".into(),
            format!("127.0.0.1:{}", place.port()).into(),
            "--key-file".into(),
            place.path("key.json").into(),
        ];
        let mut server = Server::start("the issuer", &words, place, core)?;
        let target = server.tcp();
        server.connect(&target)?;
        Ok(Self { server })
    }

    pub(crate) fn url(&self) -> String {
        self.server.tcp().to_string().replacen("tcp:", "http://", 1)
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.server.path("key.json")
    }

    /// Measures a mint, from the connection to the last byte, in seconds.
    pub(crate) fn mint(&self) -> io::Result<f64> {
        let key = fs::read_to_string(self.key_file())?;
        let key = key.trim();
        let request = format!(
            "POST /v1/teams/acme/service_token HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{key}",
            key.len(),
        );
        let began = Instant::now();
        let answer = client::exchange(&mut self.server.tcp().connect()?, request.as_bytes())?;
        let took = began.elapsed();
        client::expect_good(&answer)?;
        Ok(took.as_secs_f64())
    }
}
