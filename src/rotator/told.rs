//! The command that gets each new key.

use std::path::PathBuf;

use tokio::task::spawn_blocking;

use crate::{
    config::model::{Credential, KeySource},
    key::file,
    outlet::command::{Command, Hook},
};

/// Names the command of a credential as people know it, if there is one.
#[must_use]
pub fn command(name: &str, credential: &Credential) -> Option<Command> {
    let words = credential.rotation.as_ref()?.on_rotated.clone()?;
    Some(Command { name: format!("credentials.{name}.rotation.on_rotated"), words })
}

/// Hands the key that the file holds to the command, once.
///
/// # Errors
///
/// Says why it has not taken it; nothing of the key is quoted.
pub async fn hand_over(
    hook: &Hook,
    credential: &str,
    path: PathBuf,
    allow_group_readable: bool,
) -> Result<(), String> {
    let file = path.display().to_string();
    let read = spawn_blocking(move || file::read(&KeySource::File(path), allow_group_readable));
    let read = read.await.map_err(|_| "the new key could not be read".to_owned())?;
    let key = read.map_err(|error| error.to_string())?.key;
    let told = [
        ("BEARERD_CREDENTIAL", credential.to_owned()),
        ("BEARERD_FILE", file),
        ("BEARERD_KEY_ID", key.id().to_owned()),
    ];
    let text = key.to_json(key.team_name());
    hook.run(&told, String::from_utf8_lossy(&text).into_owned()).await
}
