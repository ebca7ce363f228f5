//! Forwarded calls: what the daemon adds to a direct call, beside what bare hyper and nginx add.
//!
//! All get the same small answer from the same bare hyper server, which has one core with the
//! load. nginx does what a reader would configure by hand: `proxy_pass` over kept connections, with
//! a fixed header; bare hyper is its server and its pooling client, with the same header.

use std::{ffi::OsString, io};

use crate::{
    client::{self, Question, Target},
    contenders::{self, Contender, Stage},
    figures::Row,
    nginx,
    options::Plan,
    place::Place,
    rounds::{FORWARDED, Load, Way},
    server::Server,
};

const PATH: &str = "/v1/teams/acme/current_user";
const USER: &str = r#"{"id":"6ac84721-a7ba-4034-9c39-41ef7b38819d","name":"robot","status":"ACTIVE","details":{"first_name":"","last_name":"robot","full_name":"robot","email":null}}"#;
/// The token that the issuer grants, and that nginx puts in.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJyb2JvdCJ9.bm90LWEtcmVhbC1zaWduYXR1cmU";
/// Life of that token: longer than any run.
const LIFE: jiff::SignedDuration = jiff::SignedDuration::from_hours(12);

/// Measures each kind of socket with each number of connections.
pub(crate) fn measure(stage: &Stage, plan: Plan) -> io::Result<Vec<Row>> {
    let upstream = upstream(stage)?;
    let mut servers = Vec::new();
    for contender in Contender::forwarding() {
        servers.push((contender, start_below(&[], stage, &upstream, contender)?));
    }
    servers.push((Contender::Direct, upstream));
    let mut rows = Vec::new();
    for socket in [Server::unix as fn(&Server) -> Target, Server::tcp] {
        for connections in FORWARDED {
            let (core, way) = (stage.load_core, Way::Kept);
            let load = Load { core, socket, connections, way, turn: plan.turn };
            let [requests, p50, p99, p999, core_time] = load.run(&servers, plan.rounds)?;
            let added = [&p50, &p99]
                .map(|row| row.beyond(Contender::Direct, format!("{}, added", row.name)));
            rows.extend([requests, p50, p99, p999].into_iter().chain(added));
            rows.push(core_time);
        }
    }
    Ok(rows)
}

/// Starts whoever forwards, as the last arguments of another program.
pub(crate) fn start_below(
    program: &[OsString],
    stage: &Stage,
    upstream: &Server,
    contender: Contender,
) -> io::Result<Server> {
    let (place, core) = (Place::make()?, stage.server_core);
    let issuer = address(upstream);
    let words = match contender {
        Contender::Bearerd => bearerd(stage, &place, &issuer)?,
        Contender::Hyper => hyper(&place, &issuer)?,
        Contender::Nginx => nginx::forwarding(&place, &issuer, TOKEN)?,
        Contender::Floor | Contender::Direct => return Err(io::ErrorKind::Unsupported.into()),
    };
    let mut server = start(contender.name(), &[program, &words].concat(), place, core, "")?;
    if contender == Contender::Bearerd {
        let local = local_token(&mut server)?;
        server.question = question(&local);
    }
    server.first_answer()?;
    Ok(server)
}

/// Starts the issuer of this play.
pub(crate) fn upstream(stage: &Stage) -> io::Result<Server> {
    let place = Place::make()?;
    let end = jiff::Timestamp::now() + LIFE;
    let grant = format!(r#"{{"bearer_token":"{TOKEN}","expires_at":"{end}","team_name":"acme"}}"#);
    let grant = place.write("grant", &answer(&grant))?;
    let words = contenders::run_yardstick("yardstick", &place, &answer(USER))?;
    let words = [words, vec!["--grant".into(), grant.into()]].concat();
    start("direct", &words, place, stage.load_core, TOKEN)
}

fn answer(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{body}").into_bytes()
}

fn bearerd(stage: &Stage, place: &Place, issuer: &str) -> io::Result<Vec<OsString>> {
    let (issuer, key) = (format!("http://{issuer}"), stage.issuer.key_file());
    contenders::run_bearerd(&stage.bearerd, place, &issuer, &key, "proxy")
}

/// Mints as Okta's own clients do.
fn local_token(server: &mut Server) -> io::Result<String> {
    let pair = r#"{"key_id":"6ac84721-a7ba-4034-9c39-41ef7b38819d","key_secret":"placeholder"}"#;
    let request = format!(
        "POST /v1/teams/acme/service_token HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{pair}",
        pair.len(),
    );
    let target = server.unix();
    let answer = client::exchange(&mut server.connect(&target)?, request.as_bytes())?;
    client::expect_good(&answer)?;
    let (_, body) = client::body_of(&answer).unwrap_or_default();
    let body: serde_json::Value = serde_json::from_slice(body)?;
    let token = body.get("bearer_token").and_then(serde_json::Value::as_str);
    token.map(str::to_owned).ok_or_else(|| server.failed("no local token"))
}

fn hyper(place: &Place, issuer: &str) -> io::Result<Vec<OsString>> {
    let words = ["--upstream", issuer, "--token", TOKEN].map(OsString::from);
    Ok([contenders::own_role("forward", place)?, words.to_vec()].concat())
}

/// Starts a server and waits until it forwards, or at least listens.
fn start(
    name: &'static str,
    words: &[OsString],
    place: Place,
    core: crate::machine::Core,
    bearer: &str,
) -> io::Result<Server> {
    let mut server = Server::start(name, words, place, core)?;
    server.question = question(bearer);
    let target = server.unix();
    server.connect(&target)?;
    Ok(server)
}

fn question(bearer: &str) -> Question {
    Question { path: PATH, header: format!("Authorization: Bearer {bearer}") }
}

/// Tells where a server listens on TCP.
fn address(server: &Server) -> String {
    server.tcp().to_string().replacen("tcp:", "", 1)
}
