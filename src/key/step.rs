//! The words between a rotation and who carries it out: what to do, and how it went.

use std::time::Duration;

use super::journal::{Journal, JournalFlaw};
use crate::token::timing::Wall;

/// Says when the key is due, and what becomes of the old one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// How long a key is used; `None` rotates only if an operator asks.
    pub every: Option<Duration>,
    /// This machine's place in its fleet, in 0..1.
    pub place: f64,
    /// Whether the old key is deleted before its end.
    pub delete_old: bool,
}

/// Says what started a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its time had come.
    Schedule,
    /// An answer was lost, and the key of the file is about to end.
    Repair,
    /// An operator asked.
    Operator,
}

impl Cause {
    /// Tells the word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Repair => "repair",
            Self::Operator => "operator",
        }
    }
}

/// Says what to do now; nothing of it is done here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until then, or until something happens.
    Rest(Option<Wall>),
    /// See that all is well on this machine, reserve the room, find out whose key this is.
    Prove,
    /// Put the [`journal`](super::rotation::Rotation::journal) on the disk.
    Record,
    /// Ask Okta for a new key, once.
    Ask,
    /// Put the new key on the disk, beside the old.
    Save,
    /// Mint with the new key.
    TryNew,
    /// Put the new key in place of the one with this id, if that is still there.
    Replace {
        /// Id of the key that the file is to hold.
        over: String,
    },
    /// Mint with the key that the file holds.
    TryFile,
    /// List the user's keys.
    List,
    /// Delete the key with this id.
    Delete(String),
}

/// Tells how the step went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should. A new key that was tried has minted.
    Done,
    /// Not, for a reason that may pass.
    Failed,
    /// Not, and another try is no use: the issuer refuses the key, or the role is missing.
    Refused,
    /// The new key is here; its id.
    Issued(String),
    /// Whether a new key was made is not known, and its secret never will be.
    Lost,
    /// The key that the file holds, by its id, has minted.
    Minted(String),
    /// Somebody has put another key into the file.
    Overtaken,
    /// The issuer has told of the file's key.
    Listed {
        /// When it was issued.
        since: Option<Wall>,
        /// When it ends; `None` for never.
        ends: Option<Wall>,
    },
}

/// Says why a rotation that an operator wants does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// One is under way.
    Busy,
    /// It is not known yet whether the key of the file is good.
    Unproven,
    /// Three keys were asked for within a day; again at this time.
    TooOften(Wall),
}

/// What was found when a process began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The journal, or why there is none.
    pub journal: Result<Journal, JournalFlaw>,
    /// Id of the key that the file holds.
    pub file: String,
    /// Id of a key that lies beside it, in a draft that was written to its end.
    pub beside: Option<String>,
}
