use std::{
    collections::VecDeque,
    fs::{create_dir, read, read_dir, read_to_string, set_permissions, write},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use rustix::process::umask;
use tempfile::{TempDir, tempdir};

use super::{
    super::{path_error::our_uid, trusted_dir::Trail},
    *,
};

fn home() -> (TempDir, TrustedDir) {
    let home = tempdir().unwrap();
    let directory = TrustedDir::open(home.path(), &mut Trail::default()).unwrap();
    (home, directory)
}

fn name() -> &'static OsStr {
    OsStr::new("key.json")
}

fn names(home: &Path) -> Vec<String> {
    let entries = read_dir(home).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_there_and_nothing_beside_it() {
    let (home, directory) = home();
    for content in ["", "one", "two, and longer", "3"] {
        replace(&directory, name(), content.as_bytes(), Look::PRIVATE).unwrap();
        assert_eq!(read_to_string(home.path().join("key.json")).unwrap(), content);
        assert_eq!(names(home.path()), ["key.json"]);
    }
}

#[test]
fn a_file_is_created_only_where_nothing_is() {
    let (home, directory) = home();
    create(&directory, name(), b"one", Look::PRIVATE).unwrap();
    let refused = create(&directory, name(), b"two", Look::PRIVATE).unwrap_err();
    assert!(refused.is_taken(), "{refused}");
    symlink("nowhere", home.path().join("link")).unwrap();
    let link = create(&directory, OsStr::new("link"), b"two", Look::PRIVATE);
    assert!(link.unwrap_err().is_taken());
    assert_eq!(read_to_string(home.path().join("key.json")).unwrap(), "one");
    assert_eq!(names(home.path()), ["key.json", "link"], "no draft is left");
}

// fault 111
#[test]
fn the_mode_is_the_one_that_was_asked_for_whatever_the_umask() {
    if !crate::process::apart::is_alone(
        module_path!(),
        "the_mode_is_the_one_that_was_asked_for_whatever_the_umask",
    ) {
        return;
    }
    let (home, directory) = home();
    let path = home.path().join("key.json");
    for mask in [0o000, 0o077, 0o777] {
        for mode in [0o600, 0o640, 0o400] {
            let before = umask(Mode::from_raw_mode(mask));
            let written = replace(&directory, name(), b"x", Look { mode, ..Look::PRIVATE });
            umask(before);
            written.unwrap();
            assert_eq!(path.metadata().unwrap().mode() & 0o7777, mode, "umask {mask:o}");
        }
    }
}

// fault 111
#[test]
fn owner_and_group_are_set_before_there_is_anything_to_hide() {
    if our_uid() != 0 {
        return writeln!(std::io::stderr(), "SKIPPED: chown needs root").unwrap();
    }
    let (home, directory) = home();
    let look = Look { mode: 0o640, owner: Some(65_533), group: Some(65_534) };
    let draft = Draft::new(&directory, name(), look).unwrap();
    let stat = home.path().join(draft.name()).metadata().unwrap();
    let seen = (stat.uid(), stat.gid(), stat.mode() & 0o7777, stat.len());
    assert_eq!(seen, (65_533, 65_534, 0o640, 0));
}

// fault 109
#[test]
fn a_link_at_the_name_is_replaced_and_not_followed() {
    let (home, directory) = home();
    write(home.path().join("other"), "theirs").unwrap();
    symlink("other", home.path().join("key.json")).unwrap();
    replace(&directory, name(), b"ours", Look::PRIVATE).unwrap();
    assert_eq!(read_to_string(home.path().join("other")).unwrap(), "theirs");
    assert!(home.path().join("key.json").symlink_metadata().unwrap().is_file());
}

// fault 104
#[test]
fn reserved_room_is_written_over_and_cut_to_what_is_in_it() {
    let (home, directory) = home();
    let mut draft = Draft::reserve(&directory, name(), Look::PRIVATE, 1000).unwrap();
    let path = home.path().join(draft.name());
    assert_eq!(read(&path).unwrap(), [FILLER; 1000]);
    let inode = path.metadata().unwrap().ino();
    draft.write(b"short").unwrap();
    assert_eq!(read(&path).unwrap(), b"short");
    assert_eq!(path.metadata().unwrap().ino(), inode);
    draft.replace(name()).unwrap();
    assert_eq!(home.path().join("key.json").metadata().unwrap().ino(), inode);
}

#[test]
fn a_draft_goes_away_unless_it_is_kept_and_a_kept_one_is_found_again() {
    let (home, directory) = home();
    drop(Draft::new(&directory, name(), Look::PRIVATE).unwrap());
    assert_eq!(names(home.path()), <[&str; 0]>::default());
    let mut kept = Draft::new(&directory, name(), Look::PRIVATE).unwrap();
    kept.write(b"precious").unwrap();
    kept.keep();
    drop(kept);
    let [left] = &drafts(&directory, name()).unwrap()[..] else { panic!("one draft") };
    let found = Draft::found(&directory, left).unwrap();
    drop(found);
    let found = Draft::found(&directory, left).unwrap();
    found.replace(name()).unwrap();
    assert_eq!(read_to_string(home.path().join("key.json")).unwrap(), "precious");
    assert_eq!(names(home.path()), ["key.json"]);
}

// fault 122
#[test]
fn only_our_own_drafts_are_recognised() {
    let (home, directory) = home();
    let good = ".key.json.draft-0123456789abcdef";
    for file in [
        good,
        "key.json",
        ".key.json.draft-0123456789abcde",
        ".key.json.draft-0123456789abcdef0",
        ".key.json.draft-0123456789ABCDEF",
        ".other.json.draft-0123456789abcdef",
        "key.json.draft-0123456789abcdef",
        ".key.json.rotation",
    ] {
        write(home.path().join(file), "x").unwrap();
    }
    assert_eq!(drafts(&directory, name()).unwrap(), [good]);
    remove(&directory, OsStr::new(good)).unwrap();
    remove(&directory, OsStr::new(good)).unwrap();
    assert_eq!(drafts(&directory, name()).unwrap(), <[&str; 0]>::default());
}

// fault 107: what fails leaves the file as it was, and nothing beside it
#[test]
fn a_name_that_cannot_be_taken_keeps_what_it_has() {
    let (home, directory) = home();
    create_dir(home.path().join("key.json")).unwrap();
    let refused = replace(&directory, name(), b"x", Look::PRIVATE).unwrap_err();
    assert_eq!((refused.act, refused.errno), (Act::Publish, Errno::ISDIR));
    assert_eq!(names(home.path()), ["key.json"]);
    let mut kept = Draft::new(&directory, name(), Look::PRIVATE).unwrap();
    kept.keep();
    assert!(kept.replace(name()).is_err());
    assert_eq!(drafts(&directory, name()).unwrap().len(), 1, "the one that was to be kept");
}

#[test]
fn a_directory_that_takes_no_file_is_told() {
    if our_uid() == 0 {
        return writeln!(std::io::stderr(), "SKIPPED: root may write anywhere").unwrap();
    }
    let (home, directory) = home();
    set_permissions(home.path(), PermissionsExt::from_mode(0o500)).unwrap();
    let refused = replace(&directory, name(), b"x", Look::PRIVATE).unwrap_err();
    assert_eq!((refused.act, refused.errno), (Act::Make, Errno::ACCESS));
    assert!(refused.to_string().starts_with("making a file beside it failed"), "{refused}");
}

// fault 106
#[test]
fn short_writes_and_interruptions_are_gone_on_with() {
    let full = Errno::NOSPC;
    type Case<'a> = (&'a [Result<usize, Errno>], Result<&'a str, Errno>);
    let table: [Case<'_>; 6] = [
        (&[Ok(6)], Ok("secret")),
        (&[Ok(1), Ok(2), Ok(3)], Ok("secret")),
        (&[Err(Errno::INTR), Ok(5), Err(Errno::INTR), Err(Errno::INTR), Ok(1)], Ok("secret")),
        (&[Ok(3), Err(full)], Err(full)),
        (&[Err(Errno::IO)], Err(Errno::IO)),
        (&[Ok(3), Ok(0)], Err(Errno::IO)),
    ];
    for (answers, expected) in table {
        let mut answers: VecDeque<_> = answers.iter().copied().collect();
        let mut disk = Vec::new();
        let done = write_whole(b"secret", |rest, at| {
            let count = answers.pop_front().expect("no more calls than there are answers")?;
            assert_eq!(usize::try_from(at).unwrap(), disk.len());
            disk.extend(&rest[..count]);
            Ok(count)
        });
        assert_eq!(done.map(|()| std::str::from_utf8(&disk).unwrap()), expected);
        assert!(answers.is_empty());
    }
}

// fault 106
#[test]
fn reading_back_takes_as_many_calls_as_it_needs() {
    let content = b"secret";
    for most in 1..=content.len() + 1 {
        let (mut room, mut interrupted) = ([0; 7], false);
        let length = read_whole(&mut room, |rest, at| {
            interrupted = !interrupted;
            if interrupted {
                return Err(Errno::INTR);
            }
            let from = &content[usize::try_from(at).unwrap()..];
            let count = from.len().min(rest.len()).min(most);
            rest[..count].copy_from_slice(&from[..count]);
            Ok(count)
        });
        assert_eq!((length, &room[..6]), (Ok(6), &content[..]));
    }
    let broken = read_whole(&mut [0; 7], |_, _| Err(Errno::IO));
    assert_eq!(broken, Err(Errno::IO));
}

// fault 106: more, less or other than was written
#[test]
fn a_draft_that_does_not_hold_what_was_written_is_found_out() {
    let (home, directory) = home();
    let mut draft = Draft::new(&directory, name(), Look::PRIVATE).unwrap();
    draft.write(b"secret").unwrap();
    for other in ["secre", "secrets", "segret", ""] {
        write(home.path().join(draft.name()), other).unwrap();
        assert_eq!(draft.verify(b"secret"), Err(Act::Verify.failed(Errno::IO)), "{other}");
    }
}
