//! The key that an issuer starts with, from its file or into it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::{chance, keys::is_key_id, state::State};
use crate::okta::wire::MintRequest;

/// Adds the initial key and its user, and tells the key's id and secret.
///
/// A key file that exists is read and never overwritten: it might be somebody's real one.
pub(super) fn add(state: &mut State) -> io::Result<(String, String)> {
    let path = state.options.key_file.clone();
    let found = path.as_deref().map(read).transpose()?.flatten();
    let key = found.map_or_else(|| make(state.options.key_id.as_deref()), Ok)?;
    if let Some(path) = path.filter(|path| !path.exists()) {
        write(&path, &key).map_err(|error| with_path(&error, "write", &path))?;
    }
    let now = state.now();
    let user = state.user_id(&state.options.user.clone());
    state.keys.adopt(&user, &key.key_id, key.key_secret.clone(), now);
    Ok((key.key_id, key.key_secret))
}

fn make(id: Option<&str>) -> io::Result<MintRequest<String>> {
    let key_id = id.map_or_else(chance::uuid, str::to_owned);
    if is_key_id(&key_id) {
        Ok(MintRequest { key_id, key_secret: chance::key_secret() })
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "the id of the key must be a UUID"))
    }
}

fn read(path: &Path) -> io::Result<Option<MintRequest<String>>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| with_path(&error, "read", path))?,
    };
    let key: MintRequest<String> = serde_json::from_slice(&text).map_err(|_| unusable(path))?;
    if is_key_id(&key.key_id) { Ok(Some(key)) } else { Err(unusable(path)) }
}

fn with_path(error: &io::Error, verb: &str, path: &Path) -> io::Error {
    let message = format!("cannot {verb} the key file {}: {error}", path.display());
    io::Error::new(error.kind(), message)
}

fn unusable(path: &Path) -> io::Error {
    let message = format!(
        "the key file {} holds no API key: remove it, and a new one is written",
        path.display()
    );
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn write(path: &Path, key: &MintRequest<String>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    serde_json::to_writer(&mut file, key)?;
    file.write_all(b"\n")
}
