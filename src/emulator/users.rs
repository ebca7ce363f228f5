//! The service users of the team.

use std::collections::BTreeMap;

use clap::ValueEnum;
use jiff::Timestamp;

use super::chance;

/// Names what a service user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Role {
    /// Reads and writes every service user and every key.
    ResourceAdmin,
    /// Reads.
    PamAdmin,
    /// Reads.
    SecurityAdmin,
    /// Reads.
    DelegatedResourceAdmin,
    /// May do nothing but ask who it is.
    None,
}

impl Role {
    pub(super) const fn reads(self) -> bool {
        !matches!(self, Self::None)
    }

    pub(super) const fn writes(self) -> bool {
        matches!(self, Self::ResourceAdmin)
    }
}

/// Names the state a service user is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// May do what its role allows.
    Active,
    /// May do nothing, and its keys and tokens count for nothing.
    Disabled,
    /// The same, and its name stays taken.
    Deleted,
}

impl Status {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "ACTIVE" => Some(Self::Active),
            "DISABLED" => Some(Self::Disabled),
            "DELETED" => Some(Self::Deleted),
            _ => None,
        }
    }
}

/// Holds one service user.
pub(super) struct User {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: Status,
    pub(super) role: Role,
    pub(super) deleted_at: Option<Timestamp>,
}

impl User {
    /// Changes the status, and with it the time of deletion.
    pub(super) fn turn(&mut self, status: Status, now: Timestamp) {
        self.status = status;
        self.deleted_at = (status == Status::Deleted).then(|| self.deleted_at.unwrap_or(now));
    }
}

/// Holds all service users by id, which is also the order of lists.
#[derive(Default)]
pub(super) struct Users(BTreeMap<String, User>);

impl Users {
    /// Adds a user; `None` if the name is taken, also by one who is deleted.
    pub(super) fn add(&mut self, name: &str, role: Role) -> Option<&User> {
        if self.named(name).is_some() {
            return None;
        }
        let id = chance::uuid();
        let user = User {
            id: id.clone(),
            name: name.to_owned(),
            status: Status::Active,
            role,
            deleted_at: None,
        };
        Some(self.0.entry(id).or_insert(user))
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&User> {
        self.0.get(id)
    }

    /// Finds a user by name, as paths name it, or by id.
    pub(super) fn find(&self, name_or_id: &str) -> Option<&User> {
        self.named(name_or_id).or_else(|| self.by_id(name_or_id))
    }

    pub(super) fn find_mut(&mut self, name_or_id: &str) -> Option<&mut User> {
        let id = self.find(name_or_id)?.id.clone();
        self.0.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &User> {
        self.0.values()
    }

    fn named(&self, name: &str) -> Option<&User> {
        self.0.values().find(|user| user.name == name)
    }
}
