//! Reads one configuration file: small, text, and not for others to write (faults 253, 254, 257).

use std::{
    fs::{Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::OFlags;

use super::{finding::Complaint, places::Surroundings};

/// Largest configuration file that is read, in bytes.
pub(super) const MAX_BYTES: u64 = 64 * 1024;

/// Reads a file whole.
///
/// What is checked is the open descriptor, so that nothing can be swapped between.
pub(super) fn read(path: &Path, around: &Surroundings) -> Result<String, Complaint> {
    // Without waiting: opening a FIFO would otherwise block for ever.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| unreadable(&error))?;
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    check(&metadata, around.gid)?;
    text(&file)
}

fn check(metadata: &Metadata, our_gid: u32) -> Result<(), Complaint> {
    if !metadata.is_file() {
        return Err(Complaint::new("is not a regular file", "name a file"));
    }
    if metadata.mode() & 0o002 != 0 {
        return Err(Complaint::new("can be written by everybody", "run chmod o-w on it"));
    }
    if metadata.mode() & 0o020 != 0 && metadata.gid() != 0 && metadata.gid() != our_gid {
        let problem = format!("can be written by group {}", metadata.gid());
        return Err(Complaint::new(problem, "run chmod g-w on it"));
    }
    Ok(())
}

pub(super) fn text(file: impl Read) -> Result<String, Complaint> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Complaint::new("is longer than 64 KiB", "keep only configuration in it"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Complaint::new(format!("is not UTF-8 on line {line}"), "save it as UTF-8")
    })
}

fn unreadable(error: &io::Error) -> Complaint {
    match error.kind() {
        io::ErrorKind::NotFound => {
            Complaint::new("does not exist", "name another file with --config")
        }
        io::ErrorKind::PermissionDenied => {
            Complaint::new("cannot be read by this user", "run as another user, or chmod it")
        }
        kind => Complaint::new(format!("cannot be read: {kind}"), "look at the file"),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

    use super::*;

    fn file(dir: &Path, content: &[u8], mode: u32) -> PathBuf {
        let path = dir.join("bearerd.toml");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn problem_of(content: &[u8], mode: u32) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), content, mode);
        let gid = fs::metadata(&path).unwrap().gid();
        let around = Surroundings { gid, ..Surroundings::default() };
        read(&path, &around).err().map(|complaint| complaint.problem.into_owned())
    }

    // fault 254
    #[test]
    fn a_file_that_others_can_write_is_refused_and_one_they_can_read_is_not() {
        assert_eq!(problem_of(b"", 0o646).as_deref(), Some("can be written by everybody"));
        assert_eq!(problem_of(b"", 0o664), None, "our own group is us");
        assert_eq!(problem_of(b"", 0o644), None);
    }

    // fault 254
    #[test]
    fn another_group_that_can_write_is_refused_unless_it_is_roots() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), b"", 0o664);
        // Root's own group would be taken; nobody else is in root's group, or may give files away.
        let given_away = std::os::unix::fs::chown(&path, None, Some(54321)).is_ok();
        let metadata = fs::metadata(&path).unwrap();
        assert!(given_away || metadata.gid() != 0);
        let refused = check(&metadata, metadata.gid() + 1).unwrap_err();
        assert!(refused.problem.starts_with("can be written by group "));
        assert_eq!(check(&metadata, metadata.gid()), Ok(()));
    }

    // fault 253
    #[test]
    fn a_file_of_64_kib_is_read_and_one_more_byte_is_not() {
        assert_eq!(problem_of(&vec![b'#'; 64 * 1024], 0o600), None);
        let problem = problem_of(&vec![b'#'; 64 * 1024 + 1], 0o600);
        assert_eq!(problem.as_deref(), Some("is longer than 64 KiB"));
    }

    // fault 257
    #[test]
    fn a_file_that_is_not_utf_8_names_the_line() {
        let problem = problem_of(b"a = 1\nb = '\xff'", 0o600);
        assert_eq!(problem.as_deref(), Some("is not UTF-8 on line 2"));
    }

    #[test]
    fn what_is_not_a_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let around = Surroundings::default();
        let of = |path: &Path| read(path, &around).unwrap_err().problem.into_owned();
        assert_eq!(of(&dir.path().join("absent")), "does not exist");
        assert_eq!(of(dir.path()), "is not a regular file");
    }
}
