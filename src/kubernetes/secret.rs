//! What one Secret holds: the key, perhaps the one that is to follow it, and a rotation's memory.

use reqwest::{Method, Response};
use zeroize::Zeroizing;

use super::{
    client::{ApiServer, CallError, JSON, Sent},
    wire::{self, Change, Data, Field},
};
use crate::{
    config::model::SecretName,
    key::api_key::{ApiKey, Flaw, read_part},
    process::fingerprint::Fingerprint,
};

/// Reads and changes one Secret.
#[derive(Clone, Debug)]
pub struct SecretPlace {
    server: ApiServer,
    /// Its name, as the configuration has it.
    pub name: SecretName,
}

/// Holds what was read in one call.
pub(super) struct Content {
    /// Stands for this state of the Secret.
    pub(super) version: String,
    data: Data,
}

impl Content {
    /// Takes the key in use.
    pub(super) fn key(&self) -> Result<ApiKey, Flaw> {
        let data = &self.data;
        let team_name = data.team_name.as_ref().map(text).transpose()?;
        made_of(data.key_id.as_ref(), data.key_secret.as_ref(), team_name)
    }

    /// Takes the key that is to follow it, if there is a whole one.
    pub(super) fn next(&self) -> Option<ApiKey> {
        made_of(self.data.next_key_id.as_ref(), self.data.next_key_secret.as_ref(), None).ok()
    }

    /// Tells whether anything of such a key is there.
    pub(super) const fn has_next(&self) -> bool {
        self.data.next_key_id.is_some() || self.data.next_key_secret.is_some()
    }

    /// Lends what a rotation remembers.
    pub(super) fn rotation(&self) -> Option<&[u8]> {
        self.data.rotation.as_ref().map(Field::bytes)
    }

    /// Tells whether a change has come through already.
    pub(super) fn holds(&self, change: &Change<'_>) -> bool {
        let same =
            |field: &Option<Field>, bytes: Option<&[u8]>| field.as_ref().map(Field::bytes) == bytes;
        let holds = |id, secret, key: Option<&ApiKey>| {
            same(id, key.map(|key| key.id().as_bytes()))
                && same(secret, key.map(|key| key.secret().expose()))
        };
        let data = &self.data;
        change.key.is_none_or(|key| holds(&data.key_id, &data.key_secret, Some(key)))
            && change.next.is_none_or(|it| holds(&data.next_key_id, &data.next_key_secret, it))
            && change.rotation.is_none_or(|journal| same(&data.rotation, Some(journal)))
    }

    /// Stands for all that is ours in the Secret, whatever others do with the rest.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let data = &self.data;
        let fields = [
            &data.key_id,
            &data.key_secret,
            &data.team_name,
            &data.next_key_id,
            &data.next_key_secret,
            &data.rotation,
        ];
        let parts = fields.into_iter().flat_map(|field| match field {
            Some(field) => [b"+".as_slice(), field.bytes()],
            None => [b"-".as_slice(), b""],
        });
        Fingerprint::of(parts)
    }
}

fn text(field: &Field) -> Result<&str, Flaw> {
    read_part(field.bytes())
}

fn made_of(
    id: Option<&Field>,
    secret: Option<&Field>,
    team_name: Option<&str>,
) -> Result<ApiKey, Flaw> {
    let id = id.ok_or(Flaw::Lacking { field: "key_id" })?;
    let secret = secret.ok_or(Flaw::Lacking { field: "key_secret" })?;
    ApiKey::new(text(id)?, text(secret)?, team_name)
}

impl SecretPlace {
    /// Names a Secret of the cluster that this pod runs in.
    #[must_use]
    pub fn new(name: SecretName) -> Self {
        Self { server: ApiServer::of_this_pod(), name }
    }

    pub(super) const fn server(&self) -> &ApiServer {
        &self.server
    }

    /// Tells the namespace that it is in.
    pub(super) async fn namespace(&self) -> Result<String, CallError> {
        match &self.name.namespace {
            Some(namespace) => Ok(namespace.clone()),
            None => self.server.namespace().await,
        }
    }

    async fn path(&self) -> Result<Vec<String>, CallError> {
        let namespace = self.namespace().await?;
        let path = ["api", "v1", "namespaces", &namespace, "secrets", &self.name.name];
        Ok(path.map(str::to_owned).into())
    }

    /// Reads it.
    pub(super) async fn read(&self) -> Result<Content, SecretError> {
        let answer = match self.path().await {
            Ok(path) => self.server.call(Sent::get(path)).await,
            Err(error) => Err(error),
        };
        self.taken(answer)
    }

    /// Changes that state of it which has this version, and no other.
    pub(super) async fn change(
        &self,
        change: &Change<'_>,
        version: &str,
        is_rehearsal: bool,
    ) -> Result<Content, SecretError> {
        let answer = match self.path().await {
            Ok(path) => {
                let mut query = vec![("fieldManager", "bearerd".to_owned())];
                query.extend(is_rehearsal.then(|| ("dryRun", "All".to_owned())));
                let body = wire::patch(change, version);
                let body = Some(("application/merge-patch+json", body));
                let sent = Sent { method: Method::PATCH, path, query, accept: JSON, body };
                self.server.call(sent).await
            }
            Err(error) => Err(error),
        };
        self.taken(answer)
    }

    fn taken(&self, answer: Result<Zeroizing<Vec<u8>>, CallError>) -> Result<Content, SecretError> {
        let read = answer.and_then(|body| wire::secret(&body).ok_or(CallError::Malformed));
        match read {
            Ok(read) => Ok(Content {
                version: read.metadata.resource_version,
                data: read.data.unwrap_or_default(),
            }),
            Err(error) => Err(SecretError::Call { secret: self.name.clone(), error }),
        }
    }

    /// Says what is wrong with its content.
    pub(super) fn flawed(&self, flaw: Flaw) -> SecretError {
        SecretError::Content { secret: self.name.clone(), flaw }
    }

    /// Opens a watch of it, of which only the versions come: from this one on, or from now.
    pub(super) async fn watch(&self, from: Option<&str>) -> Result<Response, CallError> {
        let namespace = self.namespace().await?;
        let path = ["api", "v1", "namespaces", &namespace, "secrets"].map(str::to_owned).into();
        let mut query = vec![
            ("watch", "true".to_owned()),
            ("allowWatchBookmarks", "true".to_owned()),
            ("fieldSelector", format!("metadata.name={}", self.name.name)),
            ("timeoutSeconds", WATCH_SECONDS.to_string()),
        ];
        query.extend(from.map(|version| ("resourceVersion", version.to_owned())));
        let accept =
            "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json";
        self.server.watch(Sent { query, accept, ..Sent::get(path) }).await
    }
}

/// How long the API server is asked to let a watch go on.
pub(super) const WATCH_SECONDS: u64 = 240;

/// Says why there is no key, in a sentence for people; it quotes no content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read or changed.
    #[error("API key: {secret} {error}")]
    Call {
        /// Which.
        secret: SecretName,
        /// Why.
        error: CallError,
    },
    /// What is in it is no key.
    #[error("API key: {secret} {flaw}")]
    Content {
        /// Which.
        secret: SecretName,
        /// What is wrong with it.
        flaw: Flaw,
    },
}

impl SecretError {
    /// Names the kind of error, for logs and metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Call { error, .. } => error.label(),
            Self::Content { .. } => "content",
        }
    }

    /// Tells the call that failed, if one did.
    pub(super) const fn call(&self) -> Option<&CallError> {
        match self {
            Self::Call { error, .. } => Some(error),
            Self::Content { .. } => None,
        }
    }
}
