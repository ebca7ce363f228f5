//! `bearerd doctor`: finds out why it does not work. What is found is judged apart from the finding.

mod credential;
mod daemon;
mod finding;
mod issuer;
mod person;
mod visit;

use std::{
    collections::BTreeMap, net::TcpStream, os::unix::net::UnixStream, sync::Arc, time::Duration,
};

use http::{Method, StatusCode};

use self::{
    daemon::{Daemon, Kernel, Place},
    finding::{Finding, Mark, Report, counted},
    issuer::Proxies,
};
use super::{
    api::rights,
    exit::{Class, Exit},
    settings::Settings,
    terminal, token,
};
use crate::{
    config::{
        self, Config, Severity,
        model::{Bind, Credential, Listener, Okta, SocketFile},
    },
    control::{
        client::{self, Address},
        status::Status,
    },
    key,
    local::{access_token::AccessTokenFile, bind::unix},
    okta::{client::IssuerClient, issuer::Issuer, probe, transport::TransportError},
    process::{
        clock::{Clock, SystemClock},
        feed::Source,
        path_error::our_uid,
        trusted_dir::{Trail, TrustedDir},
    },
};

/// A daemon answers at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// Variables that other HTTP clients obey.
const PROXIES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Tell, too, what this user may do at each listener, by name or number
    #[arg(long, value_name = "NAME")]
    as_user: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    let person = args.as_user.as_deref().map(visit::find).transpose()?;
    let mut report = Report::default();
    if let Some(config) = configuration(&args.settings, &mut report) {
        issuers(&config, &mut report).await;
        places(&config, &mut report).await;
        for (name, listener) in person.iter().flat_map(|_| &config.listeners) {
            let visits = visit::look(name, listener);
            let judged =
                person.iter().flat_map(|one| visits.iter().flat_map(|v| person::judge(one, v)));
            report.extend(judged.collect::<Vec<_>>());
        }
    }
    if args.json {
        terminal::say(&report.json())?;
    } else {
        terminal::print(report.draw(terminal::has_colour()).as_bytes())?;
    }
    report.class().map_or(Ok(()), |class| Err(Exit::of(class, "")))
}

/// Loads the configuration as the daemon would.
fn configuration(settings: &Settings, report: &mut Report) -> Option<Config> {
    const TOPIC: &str = "configuration";
    let (config, findings) = match config::load(&settings.sources()) {
        Ok(loaded) => (Some(loaded.config), loaded.warnings),
        Err(findings) => (None, findings.0),
    };
    for found in findings {
        let remedy = found.remedy.clone();
        // The remedy stands on a line of its own here.
        let sentence = found.to_string();
        let what = sentence.strip_suffix(&format!("; {remedy}")).unwrap_or(&sentence).to_owned();
        report.add(match found.severity {
            Severity::Error => Finding::fail(TOPIC, Class::Configuration, what, remedy),
            Severity::Warning => Finding::warn(TOPIC, what, remedy),
        });
    }
    if let Some(config) = &config {
        let credentials = counted(config.credentials.len(), "credential");
        let listeners = counted(config.listeners.len(), "listener");
        report.add(Finding::ok(TOPIC, format!("can be used: {credentials}, {listeners}")));
    }
    config
}

/// Goes to each issuer once, then looks at each credential.
async fn issuers(config: &Config, report: &mut Report) {
    let mut origins: BTreeMap<String, Vec<&Credential>> = BTreeMap::new();
    for credential in config.credentials.values() {
        origins.entry(origin(credential)).or_default().push(credential);
    }
    let mut reached = BTreeMap::new();
    for (origin, credentials) in origins {
        let required = credentials.iter().any(|credential| credential.required);
        let topic = format!("issuer {origin}");
        let found = match credentials.first() {
            Some(first) => way(&config.okta, &topic, first).await,
            None => Ok(Vec::new()),
        };
        let found = found.unwrap_or_else(|error| {
            vec![Finding::fail_with(&topic, Class::Configuration, &error.to_string())]
        });
        reached.insert(origin, !has_failed(&found));
        report.extend(found.into_iter().map(|finding| finding.unless_optional(required)));
    }
    for (name, one) in &config.credentials {
        let is_reached = reached.get(&origin(one)).copied().unwrap_or(false);
        let found = credential(&config.okta, name, one, is_reached).await;
        report.extend(found.into_iter().map(|finding| finding.unless_optional(one.required)));
    }
}

fn origin(credential: &Credential) -> String {
    credential.base_url.as_str().trim_end_matches('/').to_owned()
}

fn has_failed(found: &[Finding]) -> bool {
    found.iter().any(|finding| finding.mark == Mark::Fail)
}

async fn way(
    okta: &Okta,
    topic: &str,
    credential: &Credential,
) -> Result<Vec<Finding>, TransportError> {
    let mut found = Vec::new();
    if okta.proxy.is_none() {
        let road = probe::walk(okta, &credential.base_url, &SystemClock).await?;
        found = issuer::road(topic, &origin(credential), &road, SystemClock.wall());
        if has_failed(&found) {
            found.extend(issuer::unasked(topic, &proxies(okta)));
            return Ok(found);
        }
    }
    let answer = probe::greet(okta, credential, &SystemClock).await?;
    found.extend(issuer::greeting(topic, &answer, &proxies(okta)));
    Ok(found)
}

/// Names proxies; of a variable only its name, since its value may hold a password.
fn proxies(okta: &Okta) -> Proxies {
    let is_set = |name: &&&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    Proxies {
        configured: okta.proxy.as_ref().map(ToString::to_string),
        variables: PROXIES.iter().filter(is_set).map(|name| (*name).to_owned()).collect(),
    }
}

async fn credential(okta: &Okta, name: &str, one: &Credential, is_reached: bool) -> Vec<Finding> {
    let topic = format!("credential {name}");
    let reading = key::file::read(&one.key, one.allow_group_readable_key);
    let mut found = credential::key(&topic, &one.key, &reading);
    let client = IssuerClient::new(okta, one, Arc::new(SystemClock));
    let (Ok(reading), Ok(client), true) = (reading, client, is_reached) else {
        found.push(Finding::skip(&topic, "mint: not tried, because of the above"));
        return found;
    };
    let outcome = client.mint(&reading.key).await;
    found.push(credential::mint(&topic, &outcome));
    if let Ok(grant) = outcome.result
        && let Ok(rights) = rights::ask(okta, one, grant.token).await
    {
        found.extend(credential::role(&topic, &rights));
    }
    found
}

/// Looks at the daemon, its sockets and its directories.
async fn places(config: &Config, report: &mut Report) {
    state(config, report);
    let daemon = daemon(config).await;
    let runs = match &daemon {
        Daemon::Running(..) => Some(true),
        Daemon::Nobody(_) => Some(false),
        Daemon::Closed(_) | Daemon::Unasked => None,
    };
    report.extend(daemon::judge(&daemon, our_uid()));
    for (name, listener) in &config.listeners {
        let topic = format!("listener {name}");
        for bind in &listener.bind {
            let place = place(bind, &listener.socket, runs);
            report.add(daemon::place(&topic, bind, Some(listener), &place));
        }
        if let Some(file) = &listener.guard.access_token_file
            && let Err(error) = AccessTokenFile(file.clone()).read(&mut Trail::default())
            && (runs == Some(true) || !error.is_missing())
        {
            report.add(Finding::fail_with(&topic, Class::Configuration, &error.to_string()));
        }
    }
}

fn state(config: &Config, report: &mut Report) {
    const TOPIC: &str = "state";
    let needs_it = config.listeners.values().any(Listener::keeps_local_token);
    let opened =
        config.state_dir.as_ref().map(|dir| (dir, TrustedDir::open(dir, &mut Trail::default())));
    report.add(match opened {
        _ if !needs_it => Finding::skip(TOPIC, "this configuration keeps nothing over a restart"),
        None => {
            Finding::warn(TOPIC, "no state.dir: local tokens end with the daemon", "set state.dir")
        }
        Some((dir, Ok(_))) => Finding::ok(TOPIC, format!("{} can be used", dir.display())),
        Some((_, Err(error))) => Finding::warn_with(TOPIC, &format!("state.dir: {error}")),
    });
}

async fn daemon(config: &Config) -> Daemon {
    let Some(control) = &config.control else { return Daemon::Unasked };
    let address = Address::Unix(control.path.clone());
    let answer = match client::call(&address, Method::GET, "/v1/status", PATIENCE).await {
        Ok(answer) => answer,
        Err(error) if error.is_nobody() => return Daemon::Nobody(error.to_string()),
        Err(error) => return Daemon::Closed(error.to_string()),
    };
    if answer.status() != StatusCode::OK {
        return Daemon::Closed(token::refused(&answer).sentence().to_owned());
    }
    match serde_json::from_slice::<Status>(answer.body()) {
        Ok(status) => {
            let kernel = kernel(status.pid);
            Daemon::Running(Box::new(status), kernel)
        }
        Err(_) => Daemon::Closed("the daemon is of another version than this command".to_owned()),
    }
}

/// Reads what `/proc` tells of a process, as far as we may.
fn kernel(pid: u32) -> Kernel {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let word = |text: &str, name: &str, place: usize| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().nth(place)?.parse::<usize>().ok()
    };
    let uid = read("status").and_then(|text| word(&text, "Uid:", 1));
    Kernel {
        uid: uid.and_then(|uid| u32::try_from(uid).ok()),
        open: std::fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count),
        most: read("limits").and_then(|text| word(&text, "Max open files", 0)),
    }
}

/// Tries an address; without a daemon it is looked at whether a socket could be there.
fn place(bind: &Bind, file: &SocketFile, runs: Option<bool>) -> Place {
    let tried = match bind {
        Bind::Unix(path) => UnixStream::connect(path).map(drop),
        // A port that the kernel chose is not known here.
        Bind::Tcp(at) if at.port() == 0 => return Place::Free,
        Bind::Tcp(at) => TcpStream::connect_timeout(at, PATIENCE).map(drop),
    };
    match (tried, bind) {
        (Ok(()), _) => Place::Listens,
        (Err(error), _) if runs == Some(true) => Place::Silent(error.kind().to_string()),
        (Err(_), Bind::Unix(path)) => match unix::look(path, file) {
            Ok(()) => Place::Free,
            Err(error) => Place::Blocked(error.to_string()),
        },
        (Err(_), Bind::Tcp(_)) => Place::Free,
    }
}
