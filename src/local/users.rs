//! What one user may take of a listener: connections at once, requests in a second.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{config::model::Limits, token::timing::Tick};

/// Time that a burst of a whole second's requests is made up for in.
const SECOND: Duration = Duration::from_secs(1);

/// Counts what each user takes; all whom the kernel does not name count as one.
pub struct Users {
    most_connections: usize,
    /// Time that each request uses up of a second; zero without a limit.
    cost: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    users: HashMap<Option<u32>, User>,
    swept: Tick,
}

#[derive(Default)]
struct User {
    connections: usize,
    /// When all its requests will be made up for.
    rested: Tick,
}

/// Holds one connection of a user until it is dropped.
pub struct Stay {
    users: Arc<Users>,
    uid: Option<u32>,
}

impl Users {
    /// Starts to count, if a user may not take all there is.
    #[must_use]
    pub fn new(limits: &Limits) -> Option<Arc<Self>> {
        let cost = SECOND.checked_div(limits.max_requests_per_second_per_uid).unwrap_or_default();
        let most_connections = match limits.max_connections_per_uid {
            0 => usize::MAX,
            most => most,
        };
        let known = Mutex::default();
        limits.is_shared_out().then(|| Arc::new(Self { most_connections, cost, known }))
    }

    /// Lets one more connection of a user in, unless it has as many as it may.
    #[must_use]
    pub fn enter(self: &Arc<Self>, uid: Option<u32>, now: Tick) -> Option<Stay> {
        let mut known = self.known();
        let user = known.user(uid, now);
        if user.connections >= self.most_connections {
            return None;
        }
        user.connections += 1;
        Some(Stay { users: Arc::clone(self), uid })
    }

    /// Takes one more request of a user, unless it had as many as it may have in a second.
    ///
    /// One more has room after a second at the latest.
    #[must_use]
    pub fn ask(&self, uid: Option<u32>, now: Tick) -> bool {
        if self.cost.is_zero() {
            return true;
        }
        let mut known = self.known();
        let user = known.user(uid, now);
        let rested = user.rested.max(now) + self.cost;
        let is_within = rested.since(now) <= SECOND;
        if is_within {
            user.rested = rested;
        }
        is_within
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Finds a user; now and then forgets those who are as good as new.
    fn user(&mut self, uid: Option<u32>, now: Tick) -> &mut User {
        if now.since(self.swept) >= SECOND {
            self.users.retain(|_, user| user.connections > 0 || user.rested > now);
            self.swept = now;
        }
        self.users.entry(uid).or_default()
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if let Some(user) = self.users.known().users.get_mut(&self.uid) {
            user.connections = user.connections.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(connections: usize, requests: u32) -> Arc<Users> {
        let limits = Limits {
            max_connections_per_uid: connections,
            max_requests_per_second_per_uid: requests,
            ..Limits::default()
        };
        Users::new(&limits).unwrap()
    }

    fn at(millis: u64) -> Tick {
        Tick::from_boot(Duration::from_millis(millis))
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        assert!(Users::new(&Limits::default()).is_none());
        let free = users(1, 0);
        assert!((0..100_000).all(|_| free.ask(Some(1), at(0))));
        let free = users(0, 1);
        let stays: Vec<_> = (0..1000).map(|_| free.enter(Some(1), at(0))).collect();
        assert!(stays.iter().all(Option::is_some));
    }

    // fault 185
    #[test]
    fn connections_are_counted_for_each_user() {
        let users = users(2, 0);
        let first = users.enter(Some(1), at(0));
        let second = users.enter(Some(1), at(0));
        assert!(first.is_some() && second.is_some());
        assert!(users.enter(Some(1), at(5000)).is_none());
        assert!(users.enter(Some(2), at(0)).is_some(), "another user");
        let unnamed = [users.enter(None, at(0)), users.enter(None, at(0))];
        assert!(unnamed.iter().all(Option::is_some) && users.enter(None, at(0)).is_none());
        drop(first);
        assert!(users.enter(Some(1), at(5000)).is_some(), "one has left");
    }

    // fault 188
    #[test]
    fn a_user_gets_its_requests_in_any_second_and_no_more() {
        let users = users(0, 10);
        let taken = |from: u64, uid| {
            (from..from + 1000).filter(|now| users.ask(Some(uid), at(*now))).count()
        };
        assert_eq!(taken(1000, 1), 10 + 9, "a burst, then as room comes");
        assert_eq!(taken(2000, 1), 10);
        assert_eq!(taken(2000, 2), 19, "another user");
        assert_eq!((0..100).filter(|_| users.ask(Some(1), at(9000))).count(), 10, "after a rest");
        assert_eq!((0..100).filter(|_| users.ask(Some(1), at(9100))).count(), 1);
    }

    #[test]
    fn whoever_has_rested_is_forgotten() {
        let users = users(5, 1);
        let stay = users.enter(Some(u32::MAX), at(0));
        for uid in 0..100_000 {
            assert!(users.ask(Some(uid), at(u64::from(uid))));
        }
        let known = users.known().users.len();
        assert!(known <= 2001 && users.known().users.contains_key(&Some(u32::MAX)), "{known}");
        drop(stay);
        assert!(users.ask(None, at(200_000)));
        assert_eq!(users.known().users.len(), 1);
        assert!(users.ask(Some(1), at(201_000)), "at the very moment");
        assert_eq!(users.known().users.len(), 1);
    }
}
