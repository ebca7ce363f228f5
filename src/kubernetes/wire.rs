//! What is sent to the API server, and what its answers hold.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::{key::api_key::ApiKey, token::timing::Wall};

/// What an account needs, for people.
pub(super) const VERBS: &str = "the verbs get and watch on this Secret and, if its key is rotated, \
                                patch on it, and get, create and update on leases of \
                                coordination.k8s.io (see deploy/kubernetes/overlays/secret)";

/// Bytes of a field, decoded from base64 and wiped when they are dropped.
pub(super) struct Field(Zeroizing<Vec<u8>>);

impl Field {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<'d> Deserialize<'d> for Field {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Self, D::Error> {
        struct Encoded;

        impl de::Visitor<'_> for Encoded {
            type Value = Field;

            fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str("base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Field, E> {
                // It never grows, so that no copy is left behind (fault 236).
                let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
                let length = STANDARD.decode_slice(text, &mut bytes);
                bytes.truncate(length.map_err(|_| E::custom("no base64"))?);
                Ok(Field(bytes))
            }
        }

        from.deserialize_str(Encoded)
    }
}

/// A Secret, as far as it matters.
#[derive(Deserialize)]
pub(super) struct Secret {
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) data: Option<Data>,
}

/// Names one state of an object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) resource_version: String,
}

/// The fields of a Secret that are ours.
#[derive(Default, Deserialize)]
pub(super) struct Data {
    pub(super) key_id: Option<Field>,
    pub(super) key_secret: Option<Field>,
    pub(super) team_name: Option<Field>,
    pub(super) next_key_id: Option<Field>,
    pub(super) next_key_secret: Option<Field>,
    pub(super) rotation: Option<Field>,
}

/// Reads a Secret; `None` if it is none.
pub(super) fn secret(body: &[u8]) -> Option<Secret> {
    serde_json::from_slice(body).ok()
}

/// Reads why something was refused.
pub(super) fn reason(body: &[u8]) -> Option<String> {
    let status: Value = serde_json::from_slice(body).ok()?;
    Some(status.get("reason")?.as_str()?.to_owned())
}

/// What a line of a watch tells; the object itself is read by a call of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// There is something new.
    Changed(String),
    /// Nothing is new, up to this version.
    Bookmark(String),
    /// The version to resume from is forgotten.
    Forgotten,
}

/// Reads a line of a watch; `None` if it makes no sense.
pub(super) fn event(line: &[u8]) -> Option<Event> {
    #[derive(Deserialize)]
    struct Line<'a> {
        r#type: &'a str,
        object: Option<Object>,
    }
    #[derive(Deserialize)]
    struct Object {
        metadata: Option<Metadata>,
    }
    // Not even its shape is sure of an error: one of them is answer enough.
    let line: Line<'_> = match serde_json::from_slice(line) {
        Ok(line) => line,
        Err(_) => {
            let value: Value = serde_json::from_slice(line).ok()?;
            return (value.get("type")? == "ERROR").then_some(Event::Forgotten);
        }
    };
    let version = || Some(line.object?.metadata?.resource_version);
    match line.r#type {
        "ADDED" | "MODIFIED" | "DELETED" => version().map(Event::Changed),
        "BOOKMARK" => version().map(Event::Bookmark),
        "ERROR" => Some(Event::Forgotten),
        _ => None,
    }
}

/// What a change puts into a Secret; `None` takes a field away.
#[derive(Default)]
pub(super) struct Change<'a> {
    /// The key in use.
    pub(super) key: Option<&'a ApiKey>,
    /// The key that is to follow it, or its removal.
    pub(super) next: Option<Option<&'a ApiKey>>,
    /// What a rotation remembers.
    pub(super) rotation: Option<&'a [u8]>,
}

/// Writes a change as a merge patch that holds for one state of the Secret only.
pub(super) fn patch(change: &Change<'_>, version: &str) -> Zeroizing<Vec<u8>> {
    // It never grows, so that no copy is left behind (fault 236).
    let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024));
    text.extend_from_slice(br#"{"metadata":{"resourceVersion":"#);
    text.extend_from_slice(json!(version).to_string().as_bytes());
    text.extend_from_slice(b"},\"data\":{");
    let (mut first, key) = (true, change.key);
    let mut put = |name: &str, value: Option<&[u8]>| {
        text.extend_from_slice(if first { b"\"" } else { b",\"" });
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b"\":");
        match value {
            Some(value) => {
                let encoded = Zeroizing::new(STANDARD.encode(value));
                text.extend_from_slice(b"\"");
                text.extend_from_slice(encoded.as_bytes());
                text.extend_from_slice(b"\"");
            }
            None => text.extend_from_slice(b"null"),
        }
        first = false;
    };
    if let Some(key) = key {
        put("key_id", Some(key.id().as_bytes()));
        put("key_secret", Some(key.secret().expose()));
    }
    if let Some(next) = change.next {
        put("next_key_id", next.map(|key| key.id().as_bytes()));
        put("next_key_secret", next.map(|key| key.secret().expose()));
    }
    if let Some(rotation) = change.rotation {
        put("rotation", Some(rotation));
    }
    text.extend_from_slice(b"}}");
    text
}

/// A Lease: as it came, so that what we do not know stays in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lease(Value);

impl Lease {
    /// Reads a Lease; `None` if it is none.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let lease = Self(serde_json::from_slice(body).ok()?);
        lease.text("/metadata/resourceVersion").is_some().then_some(lease)
    }

    /// Makes one that nobody has had yet.
    pub(super) fn new(name: &str) -> Self {
        Self(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": name }, "spec": {},
        }))
    }

    fn text(&self, place: &str) -> Option<&str> {
        self.0.pointer(place)?.as_str()
    }

    pub(super) fn version(&self) -> &str {
        self.text("/metadata/resourceVersion").unwrap_or_default()
    }

    /// Tells who has it; `None` if nobody.
    pub(super) fn holder(&self) -> Option<&str> {
        self.text("/spec/holderIdentity").filter(|holder| !holder.is_empty())
    }

    /// Tells for how many seconds it is held without a sign of life.
    pub(super) fn seconds(&self) -> Option<u64> {
        self.0.pointer("/spec/leaseDurationSeconds")?.as_u64()
    }

    /// Puts a holder in, who is there now.
    pub(super) fn held_by(mut self, holder: &str, seconds: u64, now: Wall) -> Self {
        let is_new = self.holder() != Some(holder);
        let transitions =
            self.0.pointer("/spec/leaseTransitions").and_then(Value::as_u64).unwrap_or_default();
        if let Some(object) = self.0.as_object_mut() {
            let spec = object.entry("spec").or_insert_with(|| Value::Object(Map::new()));
            if let Some(spec) = spec.as_object_mut() {
                let now = micro_time(now);
                spec.insert("holderIdentity".to_owned(), holder.into());
                spec.insert("leaseDurationSeconds".to_owned(), seconds.into());
                spec.insert("renewTime".to_owned(), now.clone().into());
                if is_new {
                    spec.insert("acquireTime".to_owned(), now.into());
                    let transitions = transitions + u64::from(!holder.is_empty());
                    spec.insert("leaseTransitions".to_owned(), transitions.into());
                }
            }
        }
        self
    }

    pub(super) fn written(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.to_string().into_bytes())
    }
}

/// Writes a moment as `MicroTime` has it.
fn micro_time(at: Wall) -> String {
    let moment = i64::try_from(at.since_epoch().as_micros()).ok();
    let moment = moment.and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    format!("{:.6}", moment.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    #[test]
    fn a_secret_is_read_with_all_that_is_not_ours_in_it() {
        let body = br#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"okta","uid":"u",
            "resourceVersion":"12","managedFields":[{"manager":"kubectl"}]},
            "data":{"key_id":"YQ==","other":"!!","key_secret":"Yg=="},"type":"Opaque"}"#;
        let read = secret(body).unwrap();
        let data = read.data.unwrap();
        assert_eq!(read.metadata.resource_version, "12");
        assert_eq!(data.key_id.unwrap().bytes(), b"a");
        assert_eq!(data.key_secret.unwrap().bytes(), b"b");
        assert!(data.rotation.is_none());
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"metadata":{},"data":{}}"#,
            r#"{"metadata":{"resourceVersion":"1"},"data":{"key_id":"?"}}"#,
            r#"{"metadata":{"resourceVersion":"1"},"data":{"key_id":7}}"#,
        ] {
            assert!(secret(body.as_bytes()).is_none(), "{body}");
        }
        let empty = secret(br#"{"metadata":{"resourceVersion":"1"},"data":null}"#).unwrap();
        assert!(empty.data.is_none());
    }

    #[test]
    fn lines_of_a_watch_are_told_apart() {
        let version = |kind: &str| {
            format!(r#"{{"type":"{kind}","object":{{"metadata":{{"resourceVersion":"7"}}}}}}"#)
        };
        for (line, expected) in [
            (version("ADDED"), Some(Event::Changed("7".into()))),
            (version("MODIFIED"), Some(Event::Changed("7".into()))),
            (version("DELETED"), Some(Event::Changed("7".into()))),
            (version("BOOKMARK"), Some(Event::Bookmark("7".into()))),
            (version("OTHER"), None),
            (
                r#"{"type":"ERROR","object":{"kind":"Status","metadata":{},"code":410}}"#.into(),
                Some(Event::Forgotten),
            ),
            ("{".into(), None),
        ] {
            assert_eq!(event(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_patch_holds_for_one_version_and_names_only_what_changes() {
        let key = ApiKey::new(ID, "s\"1", None).ok().unwrap();
        let encoded = |text: &str| STANDARD.encode(text);
        let change = Change { key: Some(&key), next: Some(None), rotation: Some(b"{}") };
        let patch: Value = serde_json::from_slice(&patch(&change, "9")).unwrap();
        let data = json!({
            "key_id": encoded(ID), "key_secret": encoded("s\"1"),
            "next_key_id": null, "next_key_secret": null, "rotation": "e30=",
        });
        assert_eq!(patch, json!({ "metadata": { "resourceVersion": "9" }, "data": data }));
        let nothing = super::patch(&Change::default(), "1");
        assert_eq!(*nothing, br#"{"metadata":{"resourceVersion":"1"},"data":{}}"#);
    }

    #[test]
    fn a_lease_keeps_what_others_wrote_into_it() {
        let body = br#"{"metadata":{"name":"l","resourceVersion":"3","labels":{"a":"b"}},
            "spec":{"holderIdentity":"x","leaseDurationSeconds":15,"leaseTransitions":4,"strategy":"s"}}"#;
        let lease = Lease::read(body).unwrap();
        assert_eq!((lease.version(), lease.holder(), lease.seconds()), ("3", Some("x"), Some(15)));
        let at = Wall::from_unix(Duration::from_millis(1_500));
        let taken = lease.held_by("me", 15, at);
        let spec = json!({
            "holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 5,
            "strategy": "s", "acquireTime": "1970-01-01T00:00:01.500000Z",
            "renewTime": "1970-01-01T00:00:01.500000Z",
        });
        assert_eq!(taken.0["spec"], spec);
        assert_eq!(taken.0["metadata"]["labels"]["a"], "b");
        let later = taken.held_by("me", 15, Wall::from_unix(Duration::from_secs(9)));
        assert_eq!(later.0["spec"]["acquireTime"], "1970-01-01T00:00:01.500000Z");
        assert_eq!(later.held_by("", 1, at).holder(), None);
        assert_eq!(Lease::read(b"{}"), None);
    }
}
