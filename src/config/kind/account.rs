//! Users and groups, by name or number.

use std::io;

use super::{Kind, text, wrong_type};
use crate::config::{
    accounts,
    finding::Complaint,
    tree::{Node, Shape},
};

/// Reads a user or a group as its number.
pub(in crate::config) struct Account {
    what: &'static str,
    look_up: fn(&str) -> io::Result<Option<u32>>,
}

/// Reads users.
pub(in crate::config) const USER: Account = Account {
    what: "a user",
    look_up: |name| Ok(accounts::user_named(name)?.map(|user| user.uid)),
};

/// Reads groups.
pub(in crate::config) const GROUP: Account =
    Account { what: "a group", look_up: accounts::group_named };

impl Account {
    const REMEDY: &'static str = "write the name or the number of one that exists";

    fn number(&self, number: i128) -> Result<u32, Complaint> {
        // The last number means "nobody named" to chown(2).
        let number = u32::try_from(number).ok().filter(|number| *number != u32::MAX);
        let problem =
            || Complaint::new(format!("is not the number of {}", self.what), Self::REMEDY);
        number.ok_or_else(problem)
    }

    fn named(&self, name: &str) -> Result<u32, Complaint> {
        let found = (self.look_up)(name).map_err(|error| {
            let problem = format!("names {} that cannot be looked up: {}", self.what, error.kind());
            Complaint::new(problem, "write the number")
        })?;
        let problem =
            || Complaint::new(format!("names {} that is not here", self.what), Self::REMEDY);
        found.ok_or_else(problem)
    }
}

impl Kind for Account {
    type Value = u32;

    fn read(&self, node: &Node) -> Result<u32, Complaint> {
        if let Shape::Whole(number) = node.shape {
            return self.number(number);
        }
        if !matches!(node.shape, Shape::Text(_)) {
            return Err(wrong_type(node, self.what, Self::REMEDY));
        }
        let name = text(node, self.what, Self::REMEDY)?;
        match name.parse() {
            Ok(number) => self.number(number),
            Err(_) => self.named(name),
        }
    }

    fn show(&self, value: &u32) -> String {
        value.to_string()
    }
}
