//! A small disk with the key, its draft and its journal: what is written may be lost until it is synced.
//!
//! Each write, sync and rename is one move, and any move may be the last of a process. A power cut
//! then leaves of each file what was synced or any later content, whole or torn, and of the names any
//! part of the changes since the directory was synced.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use bearerd::{
    key::{
        api_key::ApiKey,
        journal::{Journal, JournalFlaw},
        shelf::{Replaced, ShelfError},
        step::Found,
    },
    rotator::place::{Place, Site, TakenPlace},
};
use tokio::sync::Notify;

use super::dice::Dice;

const KEY: &str = "key.json";
const DRAFT: &str = "draft";
const JOURNAL: &str = "journal";

/// What a file may hold: first what is on the disk for certain, last what a reader finds.
type Versions = Vec<Vec<u8>>;

#[derive(Default)]
struct Files {
    contents: Vec<Versions>,
    durable: BTreeMap<&'static str, usize>,
    seen: BTreeMap<&'static str, usize>,
    pending: Vec<Change>,
}

#[derive(Clone, Copy)]
enum Change {
    Put(&'static str, usize),
    Move(&'static str, &'static str, usize),
    Take(&'static str),
}

impl Change {
    fn apply(self, names: &mut BTreeMap<&'static str, usize>) {
        match self {
            Self::Put(name, file) => drop(names.insert(name, file)),
            Self::Move(from, to, file) => {
                names.remove(from);
                names.insert(to, file);
            }
            Self::Take(name) => drop(names.remove(name)),
        }
    }
}

impl Files {
    fn read(&self, name: &'static str) -> Option<&[u8]> {
        let file = *self.seen.get(name)?;
        self.contents[file].last().map(Vec::as_slice)
    }

    fn make(&mut self, name: &'static str) {
        self.contents.push(vec![Vec::new()]);
        let file = self.contents.len() - 1;
        self.seen.insert(name, file);
        self.pending.push(Change::Put(name, file));
    }

    fn write(&mut self, name: &'static str, content: &[u8]) {
        let torn = content[..content.len() / 2].to_vec();
        self.contents[self.seen[name]].extend([torn, content.to_vec()]);
    }

    fn sync(&mut self, name: &'static str) {
        let versions = &mut self.contents[self.seen[name]];
        versions.drain(..versions.len() - 1);
    }

    fn rename(&mut self, from: &'static str, to: &'static str) {
        let file = self.seen.remove(from).expect("it is there");
        self.seen.insert(to, file);
        self.pending.push(Change::Move(from, to, file));
    }

    fn remove(&mut self, name: &'static str) {
        if self.seen.remove(name).is_some() {
            self.pending.push(Change::Take(name));
        }
    }

    fn settle(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        pending.into_iter().for_each(|change| change.apply(&mut self.durable));
    }

    fn cut_power(&mut self, dice: &mut Dice) {
        for change in std::mem::take(&mut self.pending) {
            if dice.hits(0.5) {
                change.apply(&mut self.durable);
            }
        }
        self.seen = self.durable.clone();
        for versions in &mut self.contents {
            let left = usize::try_from(dice.below(versions.len() as u64)).unwrap_or(0);
            *versions = vec![versions.swap_remove(left)];
        }
    }
}

/// The disk of one machine, and what is to become of the process that uses it.
pub(crate) struct Disk {
    state: Mutex<State>,
    /// Wakes whoever watches the key file.
    pub(crate) changed: Arc<Notify>,
    /// Wakes whoever has to end the process.
    pub(crate) died: Notify,
}

struct State {
    files: Files,
    dice: Dice,
    /// Which process may use it.
    process: u64,
    /// After so many moves the process ends.
    fuse: Option<u64>,
    is_dead: bool,
    is_spoilt: bool,
    /// How often a move fails.
    trouble: f64,
}

impl Disk {
    /// Makes a disk that holds a key and nothing else.
    pub(crate) fn new(key: &ApiKey, dice: Dice) -> Self {
        let mut files = Files::default();
        files.make(KEY);
        files.write(KEY, &key.to_json(None));
        files.sync(KEY);
        files.settle();
        let state = State {
            files,
            dice,
            process: 0,
            fuse: None,
            is_dead: false,
            is_spoilt: false,
            trouble: 0.0,
        };
        Self { state: Mutex::new(state), changed: Arc::default(), died: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    /// Reads the key in use, as a reader finds it.
    pub(crate) fn key(&self) -> Option<ApiKey> {
        let state = self.lock();
        if state.is_spoilt {
            return None;
        }
        state.files.read(KEY).and_then(|bytes| ApiKey::from_json(bytes).ok())
    }

    /// Lists the ids of all keys that it holds.
    pub(crate) fn key_ids(&self) -> Vec<String> {
        let state = self.lock();
        let read = |name| ApiKey::from_json(state.files.read(name)?).ok();
        [KEY, DRAFT].into_iter().filter_map(read).map(|key| key.id().to_owned()).collect()
    }

    /// Puts a key there as a person does, who syncs.
    pub(crate) fn put(&self, key: &ApiKey) {
        let mut state = self.lock();
        state.is_spoilt = false;
        let files = &mut state.files;
        files.make(KEY);
        files.write(KEY, &key.to_json(None));
        files.sync(KEY);
        files.settle();
        drop(state);
        self.changed.notify_one();
    }

    /// Makes the file unreadable, or mends it.
    pub(crate) fn spoil(&self, is_spoilt: bool) {
        self.lock().is_spoilt = is_spoilt;
        self.changed.notify_one();
    }

    pub(crate) fn is_spoilt(&self) -> bool {
        self.lock().is_spoilt
    }

    /// Lets moves fail that often.
    pub(crate) fn trouble(&self, often: f64) {
        self.lock().trouble = often;
    }

    /// Lets the process end after so many moves, of the disk and of calls about keys.
    pub(crate) fn light_fuse(&self, moves: u64) {
        self.lock().fuse = Some(moves);
    }

    /// Takes one move of the process; `false` if it has ended with this one, or before.
    pub(crate) fn burn(&self) -> bool {
        let mut state = self.lock();
        state.burn();
        let is_dead = state.is_dead;
        drop(state);
        if is_dead {
            self.died.notify_one();
        }
        !is_dead
    }

    /// Ends the process, and the power with it or not; gives the place to the next one.
    pub(crate) fn restart(&self, cuts_power: bool) {
        let mut state = self.lock();
        state.process += 1;
        (state.fuse, state.is_dead) = (None, false);
        let State { files, dice, .. } = &mut *state;
        if cuts_power {
            files.cut_power(dice);
        }
    }

    /// Names the place for a process that begins now.
    pub(crate) fn site(self: &Arc<Self>) -> SimSite {
        SimSite { disk: Arc::clone(self), process: self.lock().process, path: KEY.into() }
    }
}

impl State {
    fn burn(&mut self) {
        if let Some(fuse) = &mut self.fuse {
            *fuse = fuse.saturating_sub(1);
            self.is_dead |= *fuse == 0;
        }
    }
}

/// The place of the key, for one process.
pub(crate) struct SimSite {
    disk: Arc<Disk>,
    process: u64,
    path: PathBuf,
}

impl Site for SimSite {
    fn path(&self) -> &Path {
        &self.path
    }

    fn take(&self) -> Result<TakenPlace, ShelfError> {
        let shelf = SimShelf { disk: Arc::clone(&self.disk), process: self.process };
        let key = shelf.read_key()?;
        let state = self.disk.lock();
        let journal = state.files.read(JOURNAL).ok_or(JournalFlaw::Missing);
        let journal = journal.and_then(Journal::read);
        let beside = state.files.read(DRAFT).and_then(|bytes| ApiKey::from_json(bytes).ok());
        drop(state);
        let beside = beside.filter(|beside| beside.id() != key.id());
        if beside.is_some() {
            shelf.act(|files| files.sync(DRAFT))?;
        }
        let found = Found {
            journal,
            file: key.id().to_owned(),
            beside: beside.as_ref().map(|key| key.id().to_owned()),
        };
        Ok((Box::new(shelf), found, beside))
    }
}

struct SimShelf {
    disk: Arc<Disk>,
    process: u64,
}

impl SimShelf {
    fn failed(&self) -> ShelfError {
        ShelfError::Remote { problem: "the disk fails".to_owned() }
    }

    /// Makes one move, unless the process has ended, ends with it, or the disk fails.
    fn act(&self, what: impl FnOnce(&mut Files)) -> Result<(), ShelfError> {
        let mut state = self.disk.lock();
        if state.is_dead || state.process != self.process {
            return Err(self.failed());
        }
        let fails = {
            let often = state.trouble;
            state.dice.hits(often)
        };
        if fails {
            return Err(self.failed());
        }
        what(&mut state.files);
        state.burn();
        if state.is_dead {
            self.disk.died.notify_one();
            return Err(self.failed());
        }
        Ok(())
    }

    fn read_key(&self) -> Result<ApiKey, ShelfError> {
        self.disk.key().ok_or_else(|| self.failed())
    }

    /// Makes a file under a name of its own and gives it this one.
    fn replace_whole(&self, name: &'static str, content: &[u8]) -> Result<(), ShelfError> {
        const NEW: &str = "new";
        self.act(|files| files.make(NEW))?;
        self.act(|files| files.write(NEW, content))?;
        self.act(|files| files.sync(NEW))?;
        self.act(|files| files.rename(NEW, name))?;
        self.act(Files::settle)
    }

    fn reserve(&self) -> Result<(), ShelfError> {
        self.act(|files| files.make(DRAFT))?;
        self.act(|files| files.write(DRAFT, b"\n\n\n\n"))?;
        self.act(|files| files.sync(DRAFT))?;
        self.act(Files::settle)
    }
}

impl Place for SimShelf {
    fn key(&mut self) -> Result<ApiKey, ShelfError> {
        self.read_key()
    }

    fn probe(&mut self) -> Result<(), ShelfError> {
        Ok(())
    }

    fn prove(&mut self) -> Result<(), ShelfError> {
        self.reserve()
    }

    fn hold(&mut self) -> Result<(), ShelfError> {
        Ok(())
    }

    fn record(&mut self, journal: &Journal) -> Result<(), ShelfError> {
        self.replace_whole(JOURNAL, &journal.written())
    }

    fn save(&mut self, new: &ApiKey) -> Result<(), ShelfError> {
        let is_there = self.disk.lock().files.seen.contains_key(DRAFT);
        if !is_there {
            self.reserve()?;
        }
        self.act(|files| files.write(DRAFT, &new.to_json(None)))?;
        self.act(|files| files.sync(DRAFT))
    }

    fn replace(&mut self, over: &str, new: &ApiKey) -> Result<Replaced, ShelfError> {
        let there = self.read_key()?;
        if there.id() == new.id() {
            self.act(Files::settle)?;
            return Ok(Replaced::Done);
        }
        if there.id() != over {
            return Ok(Replaced::Overtaken);
        }
        let is_there = self.disk.key_ids().iter().any(|id| id == new.id());
        if !is_there {
            self.save(new)?;
        }
        self.act(|files| files.rename(DRAFT, KEY))?;
        self.act(Files::settle)?;
        Ok(Replaced::Done)
    }

    fn tidy(&mut self) -> Result<(), ShelfError> {
        self.act(|files| files.remove(DRAFT))?;
        self.act(Files::settle)
    }

    fn put_down(&mut self) {}
}
