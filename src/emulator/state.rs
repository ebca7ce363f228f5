//! All that the issuer knows, and what can be done to it from outside the API.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;

use super::{
    clock,
    keys::{ApiKey, Keys},
    limits::RateLimits,
    options::Options,
    schedule::Schedule,
    tokens::Tokens,
    traffic::Traffic,
    users::{Role, Status, Users},
};

/// Holds the whole issuer.
pub(super) struct State {
    /// What it was started with; lifetime and skew change later.
    pub(super) options: Options,
    /// What links in answers begin with.
    pub(super) origin: Url,
    pub(super) is_team_disabled: bool,
    pub(super) users: Users,
    pub(super) keys: Keys,
    pub(super) tokens: Tokens,
    pub(super) limits: RateLimits,
    pub(super) faults: Schedule,
    pub(super) traffic: Traffic,
}

impl State {
    /// Makes an issuer with no user, whose links begin with `origin`.
    pub(super) fn new(options: Options, origin: Url) -> Self {
        let mut faults = Schedule::default();
        for plan in &options.faults {
            faults.plan(plan.clone());
        }
        Self {
            origin,
            is_team_disabled: false,
            users: Users::default(),
            keys: Keys::default(),
            tokens: Tokens::default(),
            limits: RateLimits::new(options.rate_limit, options.rate_window),
            faults,
            traffic: Traffic::default(),
            options,
        }
    }

    /// Tells the time on the issuer's clock.
    pub(super) fn now(&self) -> Timestamp {
        clock::now(self.options.clock_skew)
    }

    /// Writes a time as answers do.
    pub(super) fn written(&self, moment: Timestamp) -> String {
        format!("{moment:.*}", usize::from(self.options.fraction))
    }

    /// Adds a key to a user, who is made if there is none of that name.
    pub(super) fn add_key(&mut self, user: &str) -> &ApiKey {
        let now = self.now();
        let user = self.user_id(user);
        self.keys.add(&user, now)
    }

    /// Finds a user's id by name, and makes the user, with the initial role, if need be.
    pub(super) fn user_id(&mut self, name: &str) -> String {
        if let Some(user) = self.users.find(name) {
            return user.id.clone();
        }
        let user = self.users.add(name, self.options.role);
        user.expect("no user has that name").id.clone()
    }

    /// Ends a key `life` from now; tells whether there is such a key.
    pub(super) fn end_key(&mut self, id: &str, life: Duration) -> bool {
        let end = clock::after(self.now(), life);
        self.keys.find_mut(id).map(|key| key.ends = Some(end)).is_some()
    }

    /// Gives a user another status; tells whether there is such a user.
    pub(super) fn set_status(&mut self, user: &str, status: Status) -> bool {
        let now = self.now();
        self.users.find_mut(user).map(|user| user.turn(status, now)).is_some()
    }

    /// Gives a user another role; tells whether there is such a user.
    pub(super) fn set_role(&mut self, user: &str, role: Role) -> bool {
        self.users.find_mut(user).map(|user| user.role = role).is_some()
    }
}
