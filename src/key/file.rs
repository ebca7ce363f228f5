//! The key as it lies on disk: one JSON file, or a directory with a file for each part.

use std::path::{Path, PathBuf};

use super::api_key::{ApiKey, Flaw, read_part};
use crate::{
    config::model::KeySource,
    process::{
        owned_file::{Access, Contents, FileError, read_file},
        path_error::PathError,
        trusted_dir::{Identity, Trail, TrustedDir},
    },
};

/// Name of the link by which a mounted Secret or `ConfigMap` changes all its files at once.
const GENERATION: &str = "..data";
/// Times that a directory is read anew because it was replaced meanwhile.
const GENERATION_TRIES: u32 = 5;

/// Reads the key once. Blocks as long as the file system does.
///
/// # Errors
///
/// When the file or the way to it is not as it should be, or its content is no key.
pub fn read(source: &KeySource, allow_group_readable: bool) -> Result<KeyReading, KeyError> {
    read_along(source, allow_group_readable, &mut Trail::default())
}

/// Holds a key as it was read, with what a person should be told about its file.
pub struct KeyReading {
    /// The key.
    pub key: ApiKey,
    /// What is odd, but no reason to refuse it.
    pub warnings: Vec<KeyWarning>,
}

/// Says what is odd about a key's file, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyWarning {
    /// The file has other names, at which an old key stays after a rotation (fault 96).
    #[error(
        "{path} has {links} names (hard links): whatever replaces the key leaves the old one \
             at the others; remove them"
    )]
    HardLinked {
        /// The file.
        path: PathBuf,
        /// Number of names.
        links: u32,
    },
}

/// Says why there is no key, in a sentence for people; it quotes no content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file itself, or the way to it.
    #[error("API key: {0}")]
    File(#[from] FileError),
    /// What stands in it.
    #[error("API key: {path} {flaw}")]
    Content {
        /// The file, or the directory if its files do not go together.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The directory is replaced faster than it can be read.
    #[error(
        "API key: {path} was replaced {GENERATION_TRIES} times while it was read: \
             find out what rewrites it"
    )]
    Unsettled {
        /// The directory.
        path: PathBuf,
    },
    /// It lies in no file.
    #[error(
        "API key: it lies in {place}, which only the daemon reads: ask the daemon, in the same pod"
    )]
    Elsewhere {
        /// Where.
        place: String,
    },
    /// The reading itself broke off, for a reason of our own.
    #[error("API key: reading {path} broke off; it will be read again")]
    BrokeOff {
        /// The file or directory.
        path: PathBuf,
    },
}

impl KeyError {
    /// Names the kind of error, for logs and metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::File(error) => error.label(),
            Self::Content { .. } => "content",
            Self::Unsettled { .. } => "unsettled",
            Self::Elsewhere { .. } => "elsewhere",
            Self::BrokeOff { .. } => "broke_off",
        }
    }
}

impl From<PathError> for KeyError {
    fn from(error: PathError) -> Self {
        Self::File(error.into())
    }
}

/// Reads the key and notes in `trail` which names led to it, also when there is none.
pub(super) fn read_along(
    source: &KeySource,
    allow_group_readable: bool,
    trail: &mut Trail,
) -> Result<KeyReading, KeyError> {
    let access = if allow_group_readable { Access::GroupMayRead } else { Access::OwnerOnly };
    match source {
        KeySource::File(path) => read_json(path, access, trail),
        // Its ACL shows as group-readable; systemd answers for it.
        KeySource::SystemdCredential(path) => read_json(path, Access::Unchecked, trail),
        KeySource::Directory(path) => read_directory(path, access, trail),
        #[cfg(feature = "kubernetes")]
        KeySource::Secret(name) => Err(KeyError::Elsewhere { place: name.to_string() }),
    }
}

pub(super) fn read_json(
    path: &Path,
    access: Access,
    trail: &mut Trail,
) -> Result<KeyReading, KeyError> {
    let root = TrustedDir::open(Path::new("/"), trail)?;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let contents = read_file(&root, &path, access, trail)?;
    let key = ApiKey::from_json(&contents.bytes).map_err(flaw_of(&contents.path))?;
    Ok(KeyReading { key, warnings: warning(&contents).into_iter().collect() })
}

/// Reads all parts from one generation of the directory (fault 80).
fn read_directory(path: &Path, access: Access, trail: &mut Trail) -> Result<KeyReading, KeyError> {
    for _ in 0..GENERATION_TRIES {
        *trail = Trail::default();
        let generation = open_generation(path, trail)?;
        let outcome = read_parts(&generation, access, trail);
        // Held open, the directory keeps its inode: the same identity is the same directory.
        if current_generation(path)? == generation.identity()? {
            return outcome;
        }
    }
    Err(KeyError::Unsettled { path: path.to_owned() })
}

fn current_generation(path: &Path) -> Result<Identity, KeyError> {
    Ok(open_generation(path, &mut Trail::default())?.identity()?)
}

fn open_generation(path: &Path, trail: &mut Trail) -> Result<TrustedDir, KeyError> {
    let directory = TrustedDir::open(path, trail)?;
    match directory.open_dir(Path::new(GENERATION), trail) {
        // Only if it is not there; one that leads nowhere is a swap that is still going on.
        Err(PathError::Missing { path }) if path.ends_with(GENERATION) => Ok(directory),
        generation => Ok(generation?),
    }
}

fn read_parts(
    directory: &TrustedDir,
    access: Access,
    trail: &mut Trail,
) -> Result<KeyReading, KeyError> {
    let mut part = |name| read_file(directory, Path::new(name), access, trail);
    let (id, secret) = (part("key_id")?, part("key_secret")?);
    let team_name = match part("team_name") {
        Err(error) if error.is_missing() => None,
        contents => Some(contents?),
    };
    let key = ApiKey::new(text(&id)?, text(&secret)?, team_name.as_ref().map(text).transpose()?)
        .map_err(flaw_of(directory.path()))?;
    let warnings = [Some(&id), Some(&secret), team_name.as_ref()];
    Ok(KeyReading { key, warnings: warnings.into_iter().flatten().filter_map(warning).collect() })
}

fn text(contents: &Contents) -> Result<&str, KeyError> {
    read_part(&contents.bytes).map_err(flaw_of(&contents.path))
}

fn flaw_of(path: &Path) -> impl FnOnce(Flaw) -> KeyError {
    move |flaw| KeyError::Content { path: path.to_owned(), flaw }
}

fn warning(contents: &Contents) -> Option<KeyWarning> {
    let Contents { path, links, .. } = contents;
    (*links > 1).then(|| KeyWarning::HardLinked { path: path.clone(), links: *links })
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{create_dir, hard_link, remove_dir_all, remove_file, rename, set_permissions, write},
        os::unix::fs::{PermissionsExt, symlink},
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::process::secret::memory::{copies, inverted_secret};

    const ID: &str = "00000000-0000-4000-8000-00000000000";

    fn put(path: &Path, content: &str, mode: u32) {
        write(path, content).unwrap();
        set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn json(number: u8) -> String {
        format!(r#"{{"key_id":"{ID}{number}","key_secret":"secret{number}"}}"#)
    }

    /// Makes what the kubelet makes: a generation, `..data` that leads to it, and the names.
    fn mounted_secret(number: u8) -> TempDir {
        let mount = tempdir().unwrap();
        swap(mount.path(), 0, number);
        for name in ["key_id", "key_secret"] {
            symlink(format!("{GENERATION}/{name}"), mount.path().join(name)).unwrap();
        }
        mount
    }

    fn swap(mount: &Path, generation: u32, number: u8) {
        let name = format!("..{generation}");
        create_dir(mount.join(&name)).unwrap();
        put(&mount.join(&name).join("key_id"), &format!("{ID}{number}"), 0o600);
        put(&mount.join(&name).join("key_secret"), &format!("secret{number}\n"), 0o600);
        symlink(&name, mount.join("..data_tmp")).unwrap();
        rename(mount.join("..data_tmp"), mount.join(GENERATION)).unwrap();
        if let Some(before) = generation.checked_sub(1) {
            remove_dir_all(mount.join(format!("..{before}"))).unwrap();
        }
    }

    fn label(source: &KeySource) -> &'static str {
        read(source, false).map_or_else(|error| error.label(), |_| "read")
    }

    #[test]
    fn each_kind_of_source_has_its_own_rule_for_the_group() {
        let home = tempdir().unwrap();
        let path = home.path().join("key.json");
        put(&path, &json(1), 0o440);
        assert_eq!(label(&KeySource::File(path.clone())), "open_mode");
        assert!(read(&KeySource::File(path.clone()), true).is_ok());
        assert_eq!(label(&KeySource::SystemdCredential(path)), "read");
    }

    #[test]
    fn a_sentence_names_file_flaw_and_remedy() {
        let home = tempdir().unwrap();
        let path = home.path().join("key.json");
        put(&path, "{}", 0o600);
        let message = read(&KeySource::File(path), false).err().unwrap().to_string();
        assert!(message.ends_with("key.json lacks the field key_id: add it"), "{message}");
    }

    // fault 96
    #[test]
    fn a_second_name_is_worth_a_warning() {
        let home = tempdir().unwrap();
        let path = home.path().join("key.json");
        put(&path, &json(1), 0o600);
        let warnings =
            |path: &Path| read(&KeySource::File(path.into()), false).ok().unwrap().warnings;
        assert_eq!(warnings(&path), []);
        hard_link(&path, home.path().join("other")).unwrap();
        assert!(warnings(&path)[0].to_string().contains("has 2 names"));
    }

    #[test]
    fn a_directory_holds_one_file_for_each_part() {
        let home = tempdir().unwrap();
        let source = KeySource::Directory(home.path().into());
        assert_eq!(label(&source), "missing");
        put(&home.path().join("key_id"), &format!("{ID}1\n"), 0o600);
        put(&home.path().join("key_secret"), "secret1\r\n", 0o600);
        let key = read(&source, false).ok().unwrap().key;
        assert_eq!((key.expose_secret(), key.team_name()), ("secret1", None));
        put(&home.path().join("team_name"), "acme\n", 0o600);
        assert_eq!(read(&source, false).ok().unwrap().key.team_name(), Some("acme"));
        put(&home.path().join("team_name"), "", 0o600);
        let message = read(&source, false).err().unwrap().to_string();
        assert!(message.contains("team_name is empty"), "{message}");
        remove_file(home.path().join("team_name")).unwrap();
        put(&home.path().join("key_secret"), "secret", 0o644);
        assert_eq!(label(&source), "open_mode");
    }

    // fault 86: the kubelet's mount is sticky, open to all, and root's
    #[test]
    fn a_mounted_secret_is_read() {
        let mount = mounted_secret(1);
        if crate::process::path_error::our_uid() == 0 {
            set_permissions(mount.path(), PermissionsExt::from_mode(0o1777)).unwrap();
        }
        let key = read(&KeySource::Directory(mount.path().into()), false).ok().unwrap().key;
        assert_eq!(key.expose_secret(), "secret1");
        let file = KeySource::File(mount.path().join("key_id"));
        assert_eq!(label(&file), "content", "single files are reached through the links too");
    }

    // fault 80
    #[test]
    fn parts_of_two_generations_are_never_mixed() {
        let mount = mounted_secret(0);
        let (source, done) = (KeySource::Directory(mount.path().into()), AtomicBool::new(false));
        let pairs = thread::scope(|scope| {
            scope.spawn(|| {
                (1..=1000).for_each(|n| swap(mount.path(), n, u8::try_from(n % 2).unwrap()));
                done.store(true, Ordering::Release);
            });
            let mut pairs = 0;
            while !done.load(Ordering::Acquire) || pairs == 0 {
                match read(&source, false) {
                    Ok(KeyReading { key, .. }) => {
                        assert_eq!(key.id().bytes().last(), key.expose_secret().bytes().last());
                        pairs += 1;
                    }
                    // A generation that is being removed is not taken for a key that lacks a part.
                    Err(error) => assert!(!error.to_string().contains("/key_"), "{error}"),
                }
            }
            pairs
        });
        assert!(pairs > 0);
    }

    // fault 236: what is read is wiped when it is dropped
    #[test]
    fn no_copy_stays_in_memory() {
        let home = tempdir().unwrap();
        let path = home.path().join("key.json");
        let inverted = inverted_secret(88);
        write_inverted(&path, &inverted);
        let key = read(&KeySource::File(path), false).ok().unwrap().key;
        // A buffer that grew leaves a copy of its first part only.
        let part = &inverted[24..48];
        assert_eq!(copies(part), 1, "the key itself, so the search works");
        drop(key);
        assert_eq!(copies(part), 0);
    }

    fn write_inverted(path: &Path, inverted: &[u8]) {
        let head = format!(r#"{{"key_id":"{ID}1","key_secret":"\u0041"#);
        let mut text = zeroize::Zeroizing::new(Vec::with_capacity(512));
        text.extend_from_slice(head.as_bytes());
        text.extend(inverted.iter().skip(1).map(|byte| !byte));
        text.extend_from_slice(br#""}"#);
        write(path, &text).unwrap();
        set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }
}
