//! The API keys of all service users, each with its end.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{chance, options::RotationEnd};

/// Holds one API key.
pub(super) struct ApiKey {
    pub(super) id: String,
    /// Id of the user it belongs to.
    pub(super) user: String,
    pub(super) secret: String,
    pub(super) issued_at: Timestamp,
    /// `None`: never.
    pub(super) ends: Option<Timestamp>,
    pub(super) last_used: Option<Timestamp>,
}

impl ApiKey {
    pub(super) fn is_alive(&self, now: Timestamp) -> bool {
        self.ends.is_none_or(|end| now < end)
    }
}

/// Holds all keys by id, which is also the order of lists.
#[derive(Default)]
pub(super) struct Keys(BTreeMap<String, ApiKey>);

impl Keys {
    /// Adds a key without end, with a random id and secret.
    pub(super) fn add(&mut self, user: &str, now: Timestamp) -> &ApiKey {
        self.adopt(user, &chance::uuid(), chance::key_secret(), now)
    }

    /// Adds a key that comes from elsewhere; it takes the place of one with the same id.
    pub(super) fn adopt(
        &mut self,
        user: &str,
        id: &str,
        secret: String,
        now: Timestamp,
    ) -> &ApiKey {
        let id = id.to_ascii_lowercase();
        self.0.remove(&id);
        let key = ApiKey {
            id: id.clone(),
            user: user.to_owned(),
            secret,
            issued_at: now,
            ends: None,
            last_used: None,
        };
        self.0.entry(id).or_insert(key)
    }

    /// Adds a key, and gives every other living key of the user an end at `deadline`.
    pub(super) fn rotate(
        &mut self,
        user: &str,
        deadline: Timestamp,
        rule: RotationEnd,
        now: Timestamp,
    ) -> &ApiKey {
        for key in self.0.values_mut().filter(|key| key.user == user && key.is_alive(now)) {
            key.ends = Some(match rule {
                RotationEnd::Keep => key.ends.map_or(deadline, |end| end.min(deadline)),
                RotationEnd::Move => deadline,
            });
        }
        self.add(user, now)
    }

    /// Finds a key by id, in any case.
    pub(super) fn find(&self, id: &str) -> Option<&ApiKey> {
        self.0.get(&id.to_ascii_lowercase())
    }

    pub(super) fn find_mut(&mut self, id: &str) -> Option<&mut ApiKey> {
        self.0.get_mut(&id.to_ascii_lowercase())
    }

    /// Deletes a key; tells whether there was one.
    pub(super) fn delete(&mut self, id: &str) -> bool {
        self.0.remove(&id.to_ascii_lowercase()).is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ApiKey> {
        self.0.values()
    }
}

/// Tells whether a text is a UUID of the versions that key ids have.
pub(super) fn is_key_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            14 => matches!(byte, b'1'..=b'5'),
            19 => matches!(byte, b'8' | b'9' | b'a' | b'b' | b'A' | b'B'),
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(day * DAY).unwrap()
    }

    fn second_rotation(rule: RotationEnd) -> Option<Timestamp> {
        let mut keys = Keys::default();
        let first = keys.add("u", day(0)).id.clone();
        keys.rotate("u", day(2), rule, day(0));
        keys.rotate("u", day(3), rule, day(1));
        keys.find(&first).unwrap().ends
    }

    // fault 282
    #[test]
    fn a_second_rotation_keeps_or_moves_an_end_as_told() {
        assert_eq!(second_rotation(RotationEnd::Keep), Some(day(2)));
        assert_eq!(second_rotation(RotationEnd::Move), Some(day(3)));
    }

    #[test]
    fn rotation_does_not_wake_a_dead_key_nor_touch_another_users() {
        let mut keys = Keys::default();
        let dead = keys.add("u", day(0)).id.clone();
        let other = keys.add("v", day(0)).id.clone();
        keys.find_mut(&dead).unwrap().ends = Some(day(1));
        keys.rotate("u", day(4), RotationEnd::Move, day(2));
        assert_eq!(keys.find(&dead).unwrap().ends, Some(day(1)));
        assert_eq!(keys.find(&other).unwrap().ends, None);
    }

    #[test]
    fn a_key_is_dead_at_its_end() {
        let mut keys = Keys::default();
        let id = keys.add("u", day(0)).id.clone();
        keys.find_mut(&id).unwrap().ends = Some(day(1));
        assert!(keys.find(&id).unwrap().is_alive(day(0)));
        assert!(!keys.find(&id).unwrap().is_alive(day(1)));
    }

    #[test]
    fn key_ids_are_uuids_of_versions_one_to_five() {
        for good in ["3f2504e0-4f89-41d3-9a0c-0305e82c3301", "3F2504E0-4F89-51D3-BA0C-0305E82C3301"]
        {
            assert!(is_key_id(good), "{good}");
        }
        for bad in [
            "",
            "3f2504e0-4f89-61d3-9a0c-0305e82c3301",
            "3f2504e0-4f89-41d3-ca0c-0305e82c3301",
            "3f2504e0-4f89-41d3-9a0c-0305e82c330g",
            "3f2504e04f8941d39a0c0305e82c3301",
            "3f2504e0-4f89-41d3-9a0c-0305e82c33011",
        ] {
            assert!(!is_key_id(bad), "{bad}");
        }
    }
}
