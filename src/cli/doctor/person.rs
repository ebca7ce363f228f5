//! What a user may do at a listener, by modes, lists and the access token, as the kernel judges.
//!
//! POSIX access control lists are not looked at: where there are some, a try tells more.

use super::finding::Finding;
use crate::cli::exit::Class;

/// Names a user and all its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) uid: u32,
    /// The first one and the supplementary ones.
    pub(super) gids: Vec<u32>,
}

/// Tells of one file or directory on a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) path: String,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The directories to a file, and the file, which is last.
pub(super) type Way = Result<Vec<Node>, Missing>;

/// Names what is not there, or could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing(pub(super) String);

/// Tells what lies between a person and a listener.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// Name of the listener.
    pub(super) listener: String,
    /// One of its addresses.
    pub(super) address: String,
    /// The way to its socket; `None` on TCP.
    pub(super) socket: Option<Way>,
    pub(super) allow_uids: Vec<u32>,
    pub(super) allow_gids: Vec<u32>,
    /// The way to its access token, if it asks for one.
    pub(super) token: Option<Way>,
}

/// Permission bits of one of owner, group and others.
const READ: u32 = 4;
const WRITE: u32 = 2;
const ENTER: u32 = 1;

/// Judges a visit; one finding for each thing in the way, or one that nothing is.
pub(super) fn judge(person: &Person, visit: &Visit) -> Vec<Finding> {
    let topic = format!("user {} at listener {}", person.name, visit.listener);
    let mut found = Vec::new();
    if let Some(way) = &visit.socket {
        found.extend(along(&topic, person, way, WRITE, &socket_remedy(person, visit)));
    }
    found.extend(lists(&topic, person, visit));
    if let Some(way) = &visit.token {
        let remedy = format!(
            "give it to a group of {}: `listeners.{}.group` is the token's, too, when the daemon \
             makes it",
            person.name, visit.listener
        );
        found.extend(along(&topic, person, way, READ, &remedy));
    }
    if found.is_empty() {
        let with = match (&visit.socket, &visit.token) {
            (None, None) => " with the header X-Bearerd: 1",
            (None, Some(_)) => " with the header X-Bearerd: 1 and the access token",
            (Some(_), Some(_)) => " with the access token",
            (Some(_), None) => "",
        };
        found.push(Finding::ok(&topic, format!("may ask {}{with}", visit.address)));
    }
    found
}

fn socket_remedy(person: &Person, visit: &Visit) -> String {
    format!(
        "put {0} into the socket's group ('usermod -aG GROUP {0}', then log in anew), or change \
         `listeners.{1}.group` and `mode`",
        person.name, visit.listener
    )
}

/// Finds the first thing on a way that stops a person.
fn along(topic: &str, person: &Person, way: &Way, wanted: u32, remedy: &str) -> Option<Finding> {
    let nodes = match way {
        Ok(nodes) => nodes,
        Err(Missing(path)) => {
            let what = format!("{path} is not there, or may not be looked at by who asks");
            return Some(Finding::warn(topic, what, "start the daemon, or ask as root"));
        }
    };
    let (last, directories) = nodes.split_last()?;
    let stop = directories.iter().find(|node| !may(person, node, ENTER));
    let (node, verb, remedy) = match stop {
        Some(node) => (node, "enter", format!("open it: 'chmod o+x {}'", node.path)),
        None if may(person, last, wanted) => return None,
        None => (last, if wanted == READ { "read" } else { "connect to" }, remedy.to_owned()),
    };
    let Node { path, mode, uid, gid } = node;
    let what = format!("may not {verb} {path}: mode {mode:04o}, uid {uid}, gid {gid}");
    Some(Finding::fail(topic, Class::Denied, what, remedy))
}

/// The first of owner, group and others that fits decides, as in the kernel.
fn may(person: &Person, node: &Node, wanted: u32) -> bool {
    let shift = match (person.uid == node.uid, person.gids.contains(&node.gid)) {
        _ if person.uid == 0 => return true,
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    (node.mode >> shift) & wanted == wanted
}

fn lists(topic: &str, person: &Person, visit: &Visit) -> Option<Finding> {
    let is_open = visit.allow_uids.is_empty() && visit.allow_gids.is_empty();
    // The kernel tells no groups of whoever comes by TCP.
    let is_in_one =
        visit.socket.is_some() && person.gids.iter().any(|gid| visit.allow_gids.contains(gid));
    if is_open || visit.allow_uids.contains(&person.uid) || is_in_one {
        return None;
    }
    let listener = &visit.listener;
    Some(Finding::fail(
        topic,
        Class::Denied,
        format!("is neither in `listeners.{listener}.allow_uids` nor in `allow_gids`"),
        format!("add {} to `listeners.{listener}.allow_uids`, or one of its groups", person.uid),
    ))
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Mark, *};

    fn person() -> Person {
        Person { name: "deploy".into(), uid: 1000, gids: vec![1000, 50] }
    }

    fn node(path: &str, mode: u32, uid: u32, gid: u32) -> Node {
        Node { path: path.into(), mode, uid, gid }
    }

    fn visit(nodes: Vec<Node>) -> Visit {
        Visit {
            listener: "apps".into(),
            address: "unix:/run/bearerd/a".into(),
            socket: Some(Ok(nodes)),
            allow_uids: Vec::new(),
            allow_gids: Vec::new(),
            token: None,
        }
    }

    /// Gives mark and words of each finding.
    fn found(visit: &Visit) -> Vec<(Mark, String)> {
        judge(&person(), visit).into_iter().map(|finding| (finding.mark, finding.what)).collect()
    }

    #[test]
    fn owner_group_and_others_as_the_kernel_has_them() {
        let table = [
            // The owner is judged by the owner's bits, even if they are fewer.
            (0o077, 1000, 0, false),
            (0o600, 1000, 0, true),
            (0o060, 0, 50, true),
            (0o606, 0, 50, false),
            (0o006, 0, 0, true),
            (0o660, 0, 0, false),
        ];
        for (mode, uid, gid, expected) in table {
            let nodes = vec![node("/run", 0o755, 0, 0), node("/run/a", mode, uid, gid)];
            let marks: Vec<_> = found(&visit(nodes)).into_iter().map(|(mark, _)| mark).collect();
            let expected = if expected { Mark::Ok } else { Mark::Fail };
            assert_eq!(marks, [expected], "{mode:o} {uid} {gid}");
        }
        let root = Person { uid: 0, ..person() };
        assert!(may(&root, &node("/x", 0, 1, 1), READ | WRITE));
    }

    #[test]
    fn the_first_closed_directory_is_named() {
        let nodes = vec![
            node("/", 0o755, 0, 0),
            node("/run", 0o700, 0, 0),
            node("/run/b", 0o700, 0, 0),
            node("/run/b/a", 0o666, 0, 0),
        ];
        let words = "may not enter /run: mode 0700, uid 0, gid 0".to_owned();
        assert_eq!(found(&visit(nodes)), [(Mark::Fail, words)]);
    }

    #[test]
    fn lists_count_groups_on_unix_sockets_only() {
        let open = || vec![node("/run/a", 0o666, 0, 0)];
        let with = |uids: &[u32], gids: &[u32]| Visit {
            allow_uids: uids.to_vec(),
            allow_gids: gids.to_vec(),
            ..visit(open())
        };
        let table: [(&[u32], &[u32], bool, bool); 5] = [
            (&[], &[], true, true),
            (&[1000], &[], true, true),
            (&[7], &[], false, false),
            (&[7], &[50], true, false),
            (&[], &[7], false, false),
        ];
        for (uids, gids, by_unix, by_tcp) in table {
            let is_let_in = |visit: &Visit| found(visit)[0].0 == Mark::Ok;
            let unix = with(uids, gids);
            assert_eq!(is_let_in(&unix), by_unix, "{uids:?} {gids:?}");
            let tcp = Visit { socket: None, ..unix };
            assert_eq!(is_let_in(&tcp), by_tcp, "{uids:?} {gids:?} by TCP");
        }
    }

    #[test]
    fn the_access_token_must_be_readable_and_what_is_not_there_is_told() {
        let token = |mode| Some(Ok(vec![node("/etc", 0o755, 0, 0), node("/etc/t", mode, 0, 9)]));
        let open = || visit(vec![node("/run/a", 0o666, 0, 0)]);
        let closed = Visit { token: token(0o640), ..open() };
        assert_eq!(found(&closed)[0].1, "may not read /etc/t: mode 0640, uid 0, gid 9");
        let readable = Visit { token: token(0o644), ..open() };
        let words = "may ask unix:/run/bearerd/a with the access token".to_owned();
        assert_eq!(found(&readable), [(Mark::Ok, words)]);
        let missing = Visit { socket: Some(Err(Missing("/run/a".into()))), ..open() };
        assert_eq!(found(&missing)[0].0, Mark::Warn);
        let tcp = Visit { socket: None, ..open() };
        assert!(found(&tcp)[0].1.ends_with("with the header X-Bearerd: 1"));
    }
}
