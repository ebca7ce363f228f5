//! The way from a user to a listener, looked at.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use super::person::{Missing, Node, Person, Visit, Way};
use crate::{
    cli::exit::Exit,
    config::{
        accounts,
        model::{Bind, Listener},
    },
};

/// Finds a user by name or number, with all its groups.
pub(super) fn find(name: &str) -> Result<Person, Exit> {
    let found = match name.parse() {
        Ok(uid) => accounts::user_numbered(uid),
        Err(_) => accounts::user_named(name),
    };
    match (found, name.parse()) {
        (Ok(Some(user)), _) => {
            let gids = accounts::groups_of(&user);
            Ok(Person { name: user.name, uid: user.uid, gids })
        }
        // A container's user often has a number and nothing else.
        (_, Ok(uid)) => Ok(Person { name: name.to_owned(), uid, gids: vec![uid] }),
        (_, Err(_)) => Err(Exit::usage(format!(
            "--as-user: there is no user {name}: write the name or the number of one"
        ))),
    }
}

/// Looks at what lies before each address of a listener, but for those that the service manager
/// opens.
pub(super) fn look(name: &str, listener: &Listener) -> Vec<Visit> {
    let visit = |bind: &Bind| {
        let (address, socket) = match bind {
            Bind::Systemd(_) => return None,
            Bind::Unix(path) => (format!("unix:{}", path.display()), Some(way(path))),
            Bind::Tcp(at) => (format!("tcp:{at}"), None),
        };
        Some(Visit {
            listener: name.to_owned(),
            address,
            socket,
            allow_uids: listener.guard.allow_uids.clone(),
            allow_gids: listener.guard.allow_gids.clone(),
            token: listener.guard.access_token_file.as_deref().map(way),
        })
    };
    listener.bind.iter().filter_map(visit).collect()
}

/// Lists every directory to a file, as written and with links resolved, and the file.
fn way(path: &Path) -> Way {
    let real = path.canonicalize().map_err(|_| Missing(path.display().to_string()))?;
    let mut places: Vec<_> = path.ancestors().skip(1).collect();
    places.reverse();
    let mut real_places: Vec<_> = real.ancestors().collect();
    real_places.reverse();
    real_places.retain(|place| !places.contains(place));
    places.into_iter().chain(real_places).map(node).collect()
}

fn node(path: &Path) -> Result<Node, Missing> {
    let shown = path.display().to_string();
    let metadata = path.metadata().map_err(|_| Missing(shown.clone()))?;
    let mode = metadata.permissions().mode() & 0o7777;
    Ok(Node { path: shown, mode, uid: metadata.uid(), gid: metadata.gid() })
}
