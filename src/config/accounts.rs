//! Users and groups by name, as the C library knows them or as the two files have them.
//!
//! A static binary that asks the C library has it load whatever `/etc/nsswitch.conf` names, made for
//! another copy of that library: with systemd's it dies of that. So it reads the files itself, which
//! is all that there is where a static binary is at home.

use std::{ffi::CString, fs, io};

use nix::unistd::{self, Gid, Uid, getgrouplist};

/// Whether the files are all that is asked.
const BY_FILES: bool = cfg!(target_feature = "crt-static");

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// A user, and the group that it always is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its first group.
    pub gid: u32,
}

impl From<unistd::User> for User {
    fn from(user: unistd::User) -> Self {
        Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }
    }
}

/// Finds a user by name.
///
/// # Errors
///
/// Fails when it cannot be looked up.
pub fn user_named(name: &str) -> io::Result<Option<User>> {
    if BY_FILES {
        return Ok(users(&read(USERS)?).find(|user| user.name == name));
    }
    Ok(unistd::User::from_name(name)?.map(User::from))
}

/// Finds a user by number.
///
/// # Errors
///
/// Fails when it cannot be looked up.
pub fn user_numbered(uid: u32) -> io::Result<Option<User>> {
    if BY_FILES {
        return Ok(users(&read(USERS)?).find(|user| user.uid == uid));
    }
    Ok(unistd::User::from_uid(Uid::from_raw(uid))?.map(User::from))
}

/// Finds the number of a group by its name.
///
/// # Errors
///
/// Fails when it cannot be looked up.
pub fn group_named(name: &str) -> io::Result<Option<u32>> {
    if BY_FILES {
        return Ok(groups(&read(GROUPS)?).find(|group| group.name == name).map(|group| group.gid));
    }
    Ok(unistd::Group::from_name(name)?.map(|group| group.gid.as_raw()))
}

/// Lists the numbers of all groups that a user is in, its first one at the front.
#[must_use]
pub fn groups_of(user: &User) -> Vec<u32> {
    if BY_FILES {
        return joined(user, &read(GROUPS).unwrap_or_default());
    }
    let name = CString::new(user.name.as_str()).ok();
    let found = name.and_then(|name| getgrouplist(&name, Gid::from_raw(user.gid)).ok());
    found.map_or_else(|| vec![user.gid], |gids| gids.into_iter().map(Gid::as_raw).collect())
}

/// A file that is not there names nobody.
fn read(file: &str) -> io::Result<String> {
    match fs::read(file) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Reads the lines of passwd(5); what is none is passed over.
fn users(text: &str) -> impl Iterator<Item = User> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(User { name: name.to_owned(), uid, gid })
    })
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Reads the lines of group(5); what is none is passed over.
fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let gid = fields.next()?.parse().ok()?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

fn joined(user: &User, text: &str) -> Vec<u32> {
    let has = |group: &Group<'_>| group.members.split(',').any(|member| member == user.name);
    let others = groups(text).filter(has).map(|group| group.gid).filter(|gid| *gid != user.gid);
    [user.gid].into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n# a comment\nno:x:number:0\n\
        app:x:1000:1000:An app,,,:/home/app:/bin/sh\n+::::::\n";
    const GROUP: &str = "root:x:0:\nclients:x:7:app,other\nmine:x:1000:\nshort:x:8\nbroken:x::app\n\
        also:x:9:other,app\nnearly:x:10:application\n";

    #[test]
    fn the_files_are_read_as_their_pages_say() {
        let found: Vec<_> = users(PASSWD).map(|user| (user.name, user.uid, user.gid)).collect();
        assert_eq!(found, [("root".to_owned(), 0, 0), ("app".to_owned(), 1000, 1000)]);
        let app = users(PASSWD).last().unwrap();
        assert_eq!(joined(&app, GROUP), [1000, 7, 9]);
        let names: Vec<_> = groups(GROUP).map(|group| group.name).collect();
        assert_eq!(names, ["root", "clients", "mine", "short", "also", "nearly"]);
    }

    #[test]
    fn the_files_and_the_c_library_agree_about_root() {
        let root = user_named("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(user_numbered(0).unwrap().as_ref(), Some(&root));
        assert_eq!(users(&read(USERS).unwrap()).find(|user| user.uid == 0), Some(root.clone()));
        assert_eq!(group_named("root").unwrap(), Some(0));
        assert!(groups_of(&root).contains(&0));
        assert_eq!(user_named("nobody has this name").unwrap(), None);
        assert_eq!(group_named("nobody has this name").unwrap(), None);
    }
}
