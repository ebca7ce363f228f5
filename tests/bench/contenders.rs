//! Who takes part: the daemon, and the yardsticks beside it.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    client,
    figures::{Row, Unit},
    issuer::Issuer,
    machine::Core,
    options::Options,
    place::Place,
    server::Server,
};

/// Names whoever is measured; ratios are the first one's to each of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The daemon.
    Bearerd,
    /// hyper alone, with the daemon's bytes.
    Hyper,
    /// nginx that forwards with a fixed header.
    Nginx,
    /// Nobody in between.
    Direct,
}

impl Contender {
    /// Those that answer by themselves.
    pub(crate) const ANSWERING: [Self; 2] = [Self::Bearerd, Self::Hyper];
    /// Everybody, in the order of the columns.
    pub(crate) const ALL: [Self; 4] = [Self::Bearerd, Self::Hyper, Self::Nginx, Self::Direct];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bearerd => "bearerd",
            Self::Hyper => "bare hyper",
            Self::Nginx => "nginx",
            Self::Direct => "direct",
        }
    }

    /// Prepares its place; tells the program and its arguments.
    fn prepare(self, stage: &Stage, place: &Place) -> io::Result<Vec<OsString>> {
        match self {
            Self::Bearerd => stage.prepare_bearerd(place),
            Self::Hyper => stage.prepare_hyper(place),
            Self::Nginx | Self::Direct => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Holds what all contenders need.
pub(crate) struct Stage {
    pub(crate) bearerd: PathBuf,
    pub(crate) issuer: Issuer,
    /// An answer of the daemon's, which the yardsticks send.
    answer: Vec<u8>,
    pub(crate) server_core: Core,
    pub(crate) load_core: Core,
}

impl Stage {
    /// Starts the issuer, and has the daemon answer once.
    pub(crate) fn set(options: &Options) -> io::Result<Self> {
        let [server_core, load_core] = Core::pair(options.spread)?;
        let bearerd = options.bearerd.clone();
        let issuer = Issuer::start(&bearerd, load_core)?;
        let mut stage = Self { bearerd, issuer, answer: Vec::new(), server_core, load_core };
        stage.answer = stage.start(Contender::Bearerd)?.first_answer()?;
        Ok(stage)
    }

    /// Starts a contender; it may not listen yet.
    pub(crate) fn start(&self, contender: Contender) -> io::Result<Server> {
        self.start_below(&[], contender)
    }

    /// Starts a contender as the last arguments of another program.
    pub(crate) fn start_below(
        &self,
        program: &[OsString],
        contender: Contender,
    ) -> io::Result<Server> {
        let place = Place::make()?;
        let words = [program, &contender.prepare(self, &place)?].concat();
        Server::start(contender.name(), &words, place, self.server_core)
    }

    /// Starts all contenders and has each answer once, in the same shape.
    pub(crate) fn start_all(&self) -> io::Result<Vec<(Contender, Server)>> {
        let mut servers = Vec::new();
        for contender in Contender::ANSWERING {
            let mut server = self.start(contender)?;
            if shape(&server.first_answer()?) != shape(&self.answer) {
                let name = contender.name();
                return Err(io::Error::other(format!("{name} does not send the same bytes")));
            }
            servers.push((contender, server));
        }
        Ok(servers)
    }

    /// Tells how large the daemon's binary is.
    pub(crate) fn size(&self) -> io::Result<Row> {
        let mut row = Row::new("size of the binary", Unit::MiB);
        row.push(Contender::Bearerd, fs::metadata(&self.bearerd)?.len() as f64);
        Ok(row)
    }

    fn prepare_bearerd(&self, place: &Place) -> io::Result<Vec<OsString>> {
        run_bearerd(&self.bearerd, place, &self.issuer.url(), &self.issuer.key_file(), "token")
    }

    fn prepare_hyper(&self, place: &Place) -> io::Result<Vec<OsString>> {
        run_yardstick(place, &self.answer)
    }
}

/// Configures the daemon on both sockets; tells the program and its arguments.
pub(crate) fn run_bearerd(
    program: &Path,
    place: &Place,
    issuer: &str,
    key_file: &Path,
    serve: &str,
) -> io::Result<Vec<OsString>> {
    let [directory, port] = [place.directory().display().to_string(), place.port().to_string()];
    let [socket, key] = [place.socket().display().to_string(), key_file.display().to_string()];
    let configuration = format!(
        r#"[okta]
base_url = "{issuer}"
[credentials.default]
team_name = "acme"
key_file = "{key}"
[listeners.apps]
bind = ["unix:{socket}", "tcp:127.0.0.1:{port}"]
serve = ["{serve}"]
[telemetry]
bind = "tcp:127.0.0.1:0"
[control]
bind = "unix:{directory}/control.sock"
[state]
dir = "{directory}"
"#
    );
    let configuration = place.write("bearerd.toml", configuration.as_bytes())?;
    Ok(vec![program.into(), "run".into(), "--config".into(), configuration.into()])
}

/// Gives the yardstick its answer; tells the program and its arguments.
pub(crate) fn run_yardstick(place: &Place, answer: &[u8]) -> io::Result<Vec<OsString>> {
    let answer = place.write("answer", answer)?;
    Ok(vec![
        std::env::current_exe()?.into(),
        "yardstick".into(),
        "--unix".into(),
        place.socket().into(),
        "--port".into(),
        place.port().to_string().into(),
        "--answer".into(),
        answer.into(),
    ])
}

/// Tells what all answers must have in common: length, and the names of headers in their order.
fn shape(answer: &[u8]) -> (usize, Vec<&[u8]>) {
    let (head, _) = client::body_of(answer).unwrap_or_default();
    let lines = head.split(|byte| *byte == b'\n');
    let names = lines.map(|line| line.split(|byte| *byte == b':').next().unwrap_or_default());
    (answer.len(), names.collect())
}
