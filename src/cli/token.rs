//! `bearerd token`

use std::{fmt::Write, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};

use super::{
    exit::Exit,
    place::{Door, ListenerPlace},
    settings::Settings,
    terminal,
};
use crate::token::format::Format;

/// Longer than a daemon lets anybody wait.
const PATIENCE: Duration = Duration::from_secs(15);
const STRANGE: &str = "what was answered is no token: somebody else listens there";
/// Time that a daemon is asked to wait for another token.
const WATCH: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Shape of the output: raw, json, header, env or oauth2
    #[arg(long, default_value = "raw")]
    format: Format,
    #[command(flatten)]
    wish: Wish,
    #[command(flatten)]
    place: ListenerPlace,
    #[command(flatten)]
    settings: Settings,
}

/// Holds the flags that say which token is wanted.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Wish {
    /// Credential of the listener [default: its first one]
    #[arg(long)]
    pub(super) credential: Option<String>,
    /// Least life that the token should have left, as 2m
    #[arg(long, value_parser = humantime::parse_duration)]
    min_ttl: Option<Duration>,
}

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    let door = args.place.find(&args.settings)?;
    let answer = fetch(&door, &args.wish, args.format).await?;
    let mut body = answer.into_body().to_vec();
    if !body.ends_with(b"\n") {
        body.push(b'\n');
    }
    terminal::print(&body)
}

/// Asks for a token in a shape.
pub(super) async fn fetch(
    door: &Door,
    wish: &Wish,
    format: Format,
) -> Result<Response<Bytes>, Exit> {
    let request = Request::get(wish.path(format)).body(Bytes::new());
    let request = request.map_err(|_| Exit::usage("--credential names no credential"))?;
    let answer = door.ask(request, PATIENCE).await?;
    if answer.status() != StatusCode::OK {
        return Err(refused(&answer));
    }
    if is_printable(answer.body()) { Ok(answer) } else { Err(Exit::failed(STRANGE)) }
}

/// What a token never holds could move a cursor, or add a header or a variable of its own.
fn is_printable(body: &[u8]) -> bool {
    let line = body.strip_suffix(b"\n").unwrap_or(body);
    line.iter().all(|byte| (b' '..=b'~').contains(byte))
}

/// Waits a while for another token than the one with this tag; gives its tag, if one has come.
pub(super) async fn changed(door: &Door, wish: &Wish, seen: &str) -> Result<Option<String>, Exit> {
    let wish = Wish { min_ttl: None, ..wish.clone() };
    let path = format!("{}&wait={}s", wish.path(Format::Raw), WATCH.as_secs());
    let request = Request::get(path).header(header::IF_NONE_MATCH, seen).body(Bytes::new());
    let request = request.map_err(|_| Exit::failed("the daemon's answer has no usable tag"))?;
    let answer = door.ask(request, WATCH + PATIENCE).await?;
    match answer.status() {
        StatusCode::OK => Ok(Some(tag(&answer))),
        StatusCode::NOT_MODIFIED => Ok(None),
        _ => Err(refused(&answer)),
    }
}

/// Reads the tag that tells one token from another.
pub(super) fn tag(answer: &Response<Bytes>) -> String {
    let tag = answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
    tag.unwrap_or_default().to_owned()
}

impl Wish {
    /// Wants whatever the listener gives first.
    pub(super) const fn any() -> Self {
        Self { credential: None, min_ttl: None }
    }

    fn path(&self, format: Format) -> String {
        let mut path = format!("/v1/token?format={}", format.name());
        if let Some(credential) = &self.credential {
            path.push_str("&credential=");
            path.push_str(credential);
        }
        if let Some(life) = self.min_ttl {
            // Writing to a string cannot fail.
            write!(path, "&min_ttl={}ms", life.as_millis()).ok();
        }
        path
    }
}

/// Says in the daemon's own words why there is no answer.
pub(super) fn refused(answer: &Response<Bytes>) -> Exit {
    let problem: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let text = |field: &str| problem.get(field).and_then(|value| value.as_str());
    let sentence = match (text("title"), text("detail")) {
        (Some(title), Some(detail)) => format!("{title}: {detail}"),
        _ => format!("bearerd answered {}", answer.status()),
    };
    match answer.status() {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Exit::denied(sentence),
        StatusCode::SERVICE_UNAVAILABLE => Exit::unreachable(sentence),
        _ => Exit::failed(sentence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // fault 159
    #[test]
    fn what_a_stranger_sends_for_a_token_is_not_printed() {
        for good in [&b"eyJ.x.y"[..], b"Authorization: Bearer eyJ\n", b"{\"a\": 1}"] {
            assert!(is_printable(good));
        }
        for bad in [&b"a\nb\n"[..], b"a\x1b[31m", b"a\0", b"a\r\n", "\u{9b}".as_bytes()] {
            assert!(!is_printable(bad), "{bad:?}");
        }
    }
}
