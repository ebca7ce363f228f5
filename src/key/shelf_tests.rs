use std::{
    fs::{create_dir, read_dir, read_to_string, set_permissions, write},
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
};

use tempfile::{TempDir, tempdir};

use super::*;
use crate::token::timing::Wall;

const ID: &str = "00000000-0000-4000-8000-00000000000";

fn key(number: u8) -> ApiKey {
    ApiKey::new(&format!("{ID}{number}"), &format!("secret{number}"), Some("acme")).ok().unwrap()
}

fn put(path: &Path, key: &ApiKey, mode: u32) {
    write(path, &*key.to_json(Some("acme"))).unwrap();
    set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn home() -> (TempDir, PathBuf) {
    let home = tempdir().unwrap();
    let path = home.path().join("key.json");
    put(&path, &key(1), 0o600);
    (home, path)
}

fn open(path: &Path) -> Shelf {
    Shelf::open(path, true).unwrap_or_else(|error| panic!("{error}"))
}

fn names(home: &Path) -> Vec<String> {
    let entries = read_dir(home).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn refusal(path: &Path) -> String {
    let shelf = Shelf::open(path, false);
    shelf.and_then(|mut shelf| shelf.prove()).unwrap_err().to_string()
}

#[test]
fn a_key_is_replaced_by_one_that_lay_beside_it() {
    let (home, path) = home();
    set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let mut shelf = open(&path);
    shelf.prove().unwrap();
    shelf.record(&Journal::new(key(1).id(), Wall::from_seconds(1))).unwrap();
    shelf.save(&key(2), Some("acme")).unwrap();
    assert!(shelf.key().unwrap().fingerprint() == key(1).fingerprint());
    assert_eq!(shelf.replace(key(1).id(), &key(2)), Ok(Replaced::Done));
    assert!(shelf.key().unwrap().fingerprint() == key(2).fingerprint());
    assert_eq!(shelf.replace(key(1).id(), &key(2)), Ok(Replaced::Done), "and again");
    assert_eq!(names(home.path()), [".key.json.lock", ".key.json.rotation", "key.json"]);
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640);
}

// fault 238
#[test]
fn the_journal_holds_no_secret() {
    let (home, path) = home();
    let mut journal = Journal::new(key(1).id(), Wall::from_seconds(1));
    journal.ask(Wall::from_seconds(2));
    open(&path).record(&journal).unwrap();
    let text = read_to_string(home.path().join(".key.json.rotation")).unwrap();
    assert!(text.contains(key(1).id()) && !text.contains("secret1"), "{text}");
    assert_eq!(home.path().join(".key.json.rotation").metadata().unwrap().mode() & 0o777, 0o600);
}

// faults 101, 107 and 112
#[test]
fn what_a_crash_has_left_is_found() {
    let (_home, path) = home();
    let mut shelf = open(&path);
    let (found, beside) = shelf.look().unwrap();
    assert_eq!((found.journal, found.beside), (Err(JournalFlaw::Missing), None));
    assert!(beside.is_none());
    shelf.prove().unwrap();
    shelf.save(&key(2), Some("acme")).unwrap();
    drop(shelf);
    let mut shelf = open(&path);
    let (found, beside) = shelf.look().unwrap();
    assert_eq!((found.file.as_str(), found.beside.as_deref()), (key(1).id(), Some(key(2).id())));
    assert!(beside.unwrap().fingerprint() == key(2).fingerprint());
    assert_eq!(shelf.replace(key(1).id(), &key(2)), Ok(Replaced::Done));
}

// faults 103 and 122: what was torn is no key, and what is of no use does not stay
#[test]
fn drafts_without_a_whole_other_key_are_removed() {
    let (home, path) = home();
    let whole = key(2).to_json(Some("acme"));
    let torn = |from: usize, to: usize| {
        let mut bytes = vec![b'\n'; 512];
        bytes[..whole.len()].copy_from_slice(&whole);
        bytes[from..to].fill(b'\n');
        bytes
    };
    for (from, to) in (0..whole.len() - 1).map(|at| (at, whole.len())).chain([(0, 9), (50, 60)]) {
        let draft = home.path().join(".key.json.draft-0123456789abcdef");
        write(&draft, torn(from, to)).unwrap();
        set_permissions(&draft, PermissionsExt::from_mode(0o600)).unwrap();
        let beside = open(&path).look().unwrap().1;
        assert!(beside.is_none() && !draft.exists(), "without {from}..{to}");
    }
    write(home.path().join("..key.json.rotation.draft-0123456789abcdef"), "{").unwrap();
    put(&home.path().join(".key.json.draft-0123456789abcdef"), &key(1), 0o600);
    put(&home.path().join(".key.json.draft-0123456789abcdee"), &key(2), 0o600);
    let mut shelf = open(&path);
    assert!(shelf.look().unwrap().1.unwrap().id() == key(2).id());
    shelf.tidy().unwrap();
    assert_eq!(names(home.path()), [".key.json.lock", "key.json"]);
}

// fault 113
#[test]
fn one_has_the_lock_and_the_next_has_it_after_him() {
    let (_home, path) = home();
    let first = open(&path);
    let second = Shelf::open(&path, false).err().unwrap();
    assert!(matches!(second, ShelfError::Locked { .. }), "{second}");
    drop(first);
    open(&path).prove().unwrap();
}

// fault 109
#[test]
fn a_link_stays_and_what_it_leads_to_is_replaced() {
    let (home, path) = home();
    create_dir(home.path().join("links")).unwrap();
    let link = home.path().join("links/key");
    symlink("../key.json", &link).unwrap();
    let mut shelf = open(&link);
    shelf.prove().unwrap();
    shelf.save(&key(2), Some("acme")).unwrap();
    assert_eq!(shelf.replace(key(1).id(), &key(2)), Ok(Replaced::Done));
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(names(&home.path().join("links")), ["key"]);
    assert!(read_to_string(&path).unwrap().contains("secret2"));
    std::fs::remove_file(&link).unwrap();
    put(&home.path().join("other.json"), &key(3), 0o600);
    symlink("../other.json", &link).unwrap();
    assert!(matches!(shelf.prove(), Err(ShelfError::Moved { .. })));
}

#[test]
fn a_key_that_somebody_else_has_put_there_stays() {
    let (_home, path) = home();
    let mut shelf = open(&path);
    shelf.prove().unwrap();
    shelf.save(&key(2), Some("acme")).unwrap();
    put(&path, &key(3), 0o600);
    assert_eq!(shelf.replace(key(1).id(), &key(2)), Ok(Replaced::Overtaken));
    assert!(shelf.key().unwrap().id() == key(3).id());
    assert_eq!(shelf.replace(key(3).id(), &key(2)), Ok(Replaced::Done));
}

// fault 111
#[test]
fn owner_and_group_stay_as_they_were() {
    let (_home, path) = home();
    if our_uid() != 0 {
        return;
    }
    chown(&path, None, Some(65_534)).unwrap();
    let mut shelf = open(&path);
    shelf.prove().unwrap();
    shelf.save(&key(2), Some("acme")).unwrap();
    shelf.replace(key(1).id(), &key(2)).unwrap();
    let stat = path.metadata().unwrap();
    assert_eq!((stat.uid(), stat.gid()), (0, 65_534));
}

// fault 125
#[test]
fn a_later_journal_is_left_as_it_is() {
    let (home, path) = home();
    let journal = home.path().join(".key.json.rotation");
    write(&journal, r#"{"version":2,"news":[]}"#).unwrap();
    set_permissions(&journal, PermissionsExt::from_mode(0o600)).unwrap();
    let refused = open(&path).look().err().unwrap();
    assert!(matches!(refused, ShelfError::LaterJournal { version: 2, .. }), "{refused}");
    assert_eq!(read_to_string(&journal).unwrap(), r#"{"version":2,"news":[]}"#);
    write(&journal, "{").unwrap();
    assert_eq!(open(&path).look().unwrap().0.journal, Err(JournalFlaw::Corrupt));
}

// faults 97 and 108
#[test]
fn places_that_cannot_be_written_are_told_with_the_reason() {
    let (home, path) = home();
    let missing = refusal(&home.path().join("none"));
    assert!(missing.contains("does not exist"), "{missing}");
    // A file that the kernel has mounted, in a directory that takes no file.
    let mounted = refusal(Path::new("/proc/version"));
    assert!(mounted.contains("cannot be replaced, as making a file beside it failed"), "{mounted}");
    assert_eq!(look_at(&path), Ok(()));
    assert_eq!(names(home.path()), ["key.json"], "looking leaves nothing");
}
