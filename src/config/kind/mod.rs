//! What kinds of values there are: how each is read, and how it is shown.

use super::{
    finding::Complaint,
    load,
    tree::{Node, Shape},
};

mod account;
mod number;
mod place;
mod url;
mod word;

pub(super) use account::{GROUP, USER};
pub(super) use number::{Count, FileMode, Fraction, Size, Span, Switch};
pub(super) use place::{Address, BindAddress, FileName, PathTo};
pub(super) use url::{HostName, IssuerUrl, ProxyUrl};
pub(super) use word::{Choice, Filter, Name, ObjectName, Rule, TeamName, UserName, Word};

/// Reads and shows the values of one kind.
pub(super) trait Kind {
    /// What a value is once it is read.
    type Value;

    /// Reads a value. In files the type must be right; text from elsewhere is converted.
    fn read(&self, node: &Node) -> Result<Self::Value, Complaint>;

    /// Shows a value as it would be written in TOML.
    fn show(&self, value: &Self::Value) -> String;
}

/// Reads lists; where it says so also a single value.
pub(super) struct ListOf<K> {
    item: K,
    least: usize,
    single: bool,
}

impl<K> ListOf<K> {
    /// Takes any list, the empty one too.
    pub(super) const fn any(item: K) -> Self {
        Self { item, least: 0, single: false }
    }

    /// Takes a list with at least one item.
    pub(super) const fn some(item: K) -> Self {
        Self { item, least: 1, single: false }
    }

    /// Takes a list with at least one item, or the item alone.
    pub(super) const fn one_or_more(item: K) -> Self {
        Self { item, least: 1, single: true }
    }
}

impl<K: Kind> Kind for ListOf<K> {
    type Value = Vec<K::Value>;

    fn read(&self, node: &Node) -> Result<Self::Value, Complaint> {
        let items = match &node.shape {
            Shape::List(items) => items.clone(),
            Shape::Text(text) if node.origin.is_loose() => loose_items(text, node),
            Shape::Text(_) if self.single => vec![node.clone()],
            _ => return Err(wrong_type(node, "a list", "write [\"one\", \"two\"]")),
        };
        if items.len() < self.least {
            return Err(Complaint::new("is an empty list", "name at least one"));
        }
        items.iter().map(|item| self.item.read(item)).collect()
    }

    fn show(&self, value: &Self::Value) -> String {
        let items: Vec<String> = value.iter().map(|item| self.item.show(item)).collect();
        match items.as_slice() {
            [only] if self.single => only.clone(),
            items => format!("[{}]", items.join(", ")),
        }
    }
}

/// Splits the text of a variable: a TOML array, or items with commas between.
fn loose_items(text: &str, node: &Node) -> Vec<Node> {
    let plain = || {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let item =
            |item: &str| Node { shape: Shape::Text(item.into()), origin: node.origin.clone() };
        items.map(item).collect()
    };
    load::array_literal(text, &node.origin).unwrap_or_else(plain)
}

/// Complains that a value has another type than its key.
fn wrong_type(node: &Node, wanted: &str, remedy: &'static str) -> Complaint {
    Complaint::new(format!("is {} where {wanted} belongs", node.what()), remedy)
}

/// Takes text that is neither empty nor holds control characters.
fn text<'n>(node: &'n Node, wanted: &str, remedy: &'static str) -> Result<&'n str, Complaint> {
    match &node.shape {
        Shape::Text(text) if text.is_empty() => Err(Complaint::new("is empty", remedy)),
        Shape::Text(text) if text.contains(char::is_control) => {
            Err(Complaint::new("holds a line break or another control character", remedy))
        }
        Shape::Text(text) => Ok(text),
        _ => Err(wrong_type(node, wanted, remedy)),
    }
}

/// Shows text in TOML's quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_default().to_string().replace("\\'", "'"))
}
