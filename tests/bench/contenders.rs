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
    nginx,
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
    /// nginx that answers or forwards with what its configuration holds.
    Nginx,
    /// A loop around `epoll`, with the daemon's bytes.
    Floor,
    /// Nobody in between.
    Direct,
}

impl Contender {
    /// Those that answer by themselves.
    const ANSWERING: [Self; 4] = [Self::Bearerd, Self::Hyper, Self::Nginx, Self::Floor];
    /// Those that forward.
    const FORWARDING: [Self; 3] = [Self::Bearerd, Self::Hyper, Self::Nginx];
    /// Everybody, in the order of the columns.
    pub(crate) const ALL: [Self; 5] =
        [Self::Bearerd, Self::Hyper, Self::Nginx, Self::Floor, Self::Direct];

    /// Lists those that answer by themselves and are here.
    pub(crate) fn answering() -> Vec<Self> {
        Self::here(&Self::ANSWERING)
    }

    /// Lists those that forward and are here.
    pub(crate) fn forwarding() -> Vec<Self> {
        Self::here(&Self::FORWARDING)
    }

    fn here(contenders: &[Self]) -> Vec<Self> {
        let is_here = |contender: &Self| *contender != Self::Nginx || nginx::is_there();
        contenders.iter().copied().filter(is_here).collect()
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bearerd => "bearerd",
            Self::Hyper => "bare hyper",
            Self::Nginx => "nginx",
            Self::Floor => "bare epoll",
            Self::Direct => "direct",
        }
    }

    /// Prepares its place; tells the program and its arguments.
    fn prepare(self, stage: &Stage, place: &Place) -> io::Result<Vec<OsString>> {
        match self {
            Self::Bearerd => stage.prepare_bearerd(place),
            Self::Hyper => run_yardstick("yardstick", place, &stage.answer),
            Self::Nginx => nginx::answering(place, &stage.answer),
            Self::Floor => run_yardstick("floor", place, &stage.answer),
            Self::Direct => Err(io::ErrorKind::Unsupported.into()),
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
        for contender in Contender::answering() {
            let mut server = self.start(contender)?;
            let answer = server.first_answer()?;
            // nginx has an order of its own, and says who it is.
            if contender != Contender::Nginx && shape(&answer) != shape(&self.answer) {
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
max_connections = 12000
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

/// Gives a yardstick of ours its answer; tells the program and its arguments.
pub(crate) fn run_yardstick(role: &str, place: &Place, answer: &[u8]) -> io::Result<Vec<OsString>> {
    let answer = place.write("answer", answer)?;
    Ok([own_role(role, place)?, vec!["--answer".into(), answer.into()]].concat())
}

/// Tells how this program plays a part, and where it listens.
pub(crate) fn own_role(role: &str, place: &Place) -> io::Result<Vec<OsString>> {
    Ok(vec![
        std::env::current_exe()?.into(),
        role.into(),
        "--unix".into(),
        place.socket().into(),
        "--port".into(),
        place.port().to_string().into(),
    ])
}

/// Tells what all answers must have in common: length, and the names of headers in their order.
fn shape(answer: &[u8]) -> (usize, Vec<&[u8]>) {
    let (head, _) = client::body_of(answer).unwrap_or_default();
    let lines = head.split(|byte| *byte == b'\n');
    let names = lines.map(|line| line.split(|byte| *byte == b':').next().unwrap_or_default());
    (answer.len(), names.collect())
}
