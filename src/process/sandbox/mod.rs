//! What the process can still do once it has started: a few places, a few calls, no power of root.
//!
//! Whoever takes over a thread of ours finds himself in here: no program can be executed, no file
//! outside of the named places be opened, nothing but the issuer be reached by TCP. All of it is
//! for life, and for the calling thread and those it starts: enter before there is a second one
//! (fault 221).

mod calls;
mod files;
mod powers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

pub use self::powers::Powers;

/// Says what a configuration needs of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Directories below which files are read.
    pub read: Places,
    /// Directories below which files and sockets are made, replaced and removed.
    pub write: Places,
    /// TCP ports that are listened on.
    pub bind: BTreeSet<u16>,
    /// TCP ports that are connected to, on whatever machine.
    pub connect: BTreeSet<u16>,
    /// What is kept of root's powers.
    pub powers: Powers,
    /// Whether an abstract socket outside has to be reached: some service managers have one.
    pub abstract_sockets: bool,
}

impl Reach {
    /// Lets files below the nearest directory that is there be read.
    pub fn read_below(&mut self, directory: &Path) {
        self.read.add(directory);
    }

    /// Lets files below the nearest directory that is there be made and replaced.
    pub fn write_below(&mut self, directory: &Path) {
        self.write.add(directory);
    }

    /// Names the first thing that another configuration needs besides.
    #[must_use]
    pub fn lacks(&self, other: &Self, held: Held) -> Option<String> {
        let files = held.files.then(|| self.lacks_file(other)).flatten();
        let ports = || held.network.then(|| self.lacks_port(other)).flatten();
        let powers = || held.powers.then(|| self.powers.lacks(other.powers)).flatten();
        files.or_else(ports).or_else(powers)
    }

    fn lacks_file(&self, other: &Self) -> Option<String> {
        let written = other.write.0.iter().find(|(place, _)| !self.write.hold(place));
        let is_read = |place: &Path| self.read.hold(place) || self.write.hold(place);
        let read = || other.read.0.iter().find(|(place, _)| !is_read(place));
        written.or_else(read).map(|(_, wanted)| wanted.display().to_string())
    }

    fn lacks_port(&self, other: &Self) -> Option<String> {
        let bound = other.bind.difference(&self.bind).next();
        let port = bound.or_else(|| other.connect.difference(&self.connect).next());
        port.map(|port| format!("TCP port {port}"))
    }
}

/// Holds directories that are there, each with what it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<PathBuf, PathBuf>);

impl Places {
    /// Adds the nearest directory on the way that is there, with all links resolved.
    fn add(&mut self, wanted: &Path) {
        if let Some(place) = wanted.ancestors().find_map(|above| above.canonicalize().ok()) {
            self.0.entry(place).or_insert_with(|| wanted.to_owned());
        }
    }

    fn hold(&self, place: &Path) -> bool {
        self.0.keys().any(|held| place.starts_with(held))
    }

    fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }
}

/// Says which layers hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Only the named places can be opened, and nothing be executed.
    pub files: bool,
    /// Only the named TCP ports can be used.
    pub network: bool,
    /// Only the calls of a server like this one are answered.
    pub calls: bool,
    /// Nothing is left of root's powers but what is named.
    pub powers: bool,
}

impl Held {
    /// Names the first layer that is missing of those that can be insisted on.
    ///
    /// Ports are not among them: kernels before 6.7 know no way to hold them.
    #[must_use]
    pub const fn missing(self) -> Option<&'static str> {
        match self {
            Self { files: false, .. } => {
                Some("landlock (Linux 5.19 or newer, with lsm=…,landlock)")
            }
            Self { calls: false, .. } => Some("seccomp filters"),
            Self { powers: false, .. } => Some("a way to give up capabilities"),
            _ => None,
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers = [
            ("files", self.files),
            ("ports", self.network),
            ("system calls", self.calls),
            ("capabilities", self.powers),
        ];
        let held: Vec<_> =
            layers.into_iter().filter_map(|(name, held)| held.then_some(name)).collect();
        f.write_str(if held.is_empty() { "nothing" } else { "" })?;
        f.write_str(&held.join(", "))
    }
}

/// Confines the calling thread, and all that it will start, as far as the kernel can.
#[must_use]
pub fn enter(reach: &Reach) -> Held {
    let (files, network) = files::restrict(reach);
    let powers = reach.powers.keep_only();
    // Last: it forbids the calls by which the others are made.
    Held { files, network, powers, calls: calls::restrict() }
}

#[cfg(test)]
mod reach_tests;
#[cfg(test)]
mod tests;
