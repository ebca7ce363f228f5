//! Builds the model from sections: every key of the contract is named here or below, once.

use std::{path::PathBuf, time::Duration};

use reqwest::Url;

use super::{
    kind::{
        Address, BindAddress, Choice, Filter, HostName, IssuerUrl, ListOf, PathTo, ProxyUrl, Span,
        Switch, USER,
    },
    model::{Config, Control, Log, LogFormat, Okta, Process, Sandbox, Telemetry},
    places::Surroundings,
    reader::Section,
};

mod credential;
mod listener;
mod overlap;
mod reach;
mod rotation;
mod sink;

/// Names that requests carry when they come from this machine.
const LOCAL_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Builds a configuration; `None` only where something was reported.
pub(super) fn config(root: &Section<'_>, around: &Surroundings) -> Option<Config> {
    let (okta, base_url) = okta(&root.table("okta"));
    let credentials = credential::all(root, base_url.as_ref(), around);
    let names = root.names("credentials");
    let listeners = listener::all(root, &names, around);
    let telemetry = telemetry(&root.table("telemetry"));
    let control = control(&root.table("control"), around);
    let sinks = sink::all(root, &names);
    let (state_dir, cache_token) = state(&root.table("state"), around);
    let process = process(&root.table("process"));
    let log = log(&root.table("log"));
    let (credentials, listeners, telemetry) = (credentials?, listeners?, telemetry?);
    let sinks = sinks?;
    let config = Config {
        okta,
        credentials,
        listeners,
        telemetry,
        control,
        sinks,
        state_dir,
        cache_token,
        process,
        log,
    };
    overlap::check(root, &config, around);
    rotation::check(root, &config);
    Some(config)
}

fn okta(section: &Section<'_>) -> (Okta, Option<Url>) {
    let base_url = section.find("base_url", &IssuerUrl);
    let okta = Okta {
        ca_file: section.find("ca_file", &PathTo),
        proxy: section.find("proxy", &ProxyUrl),
        proxy_auth_file: section.find("proxy_auth_file", &PathTo),
        connect_timeout: section.get("connect_timeout", &Span::WAIT, Duration::from_secs(3)),
        request_timeout: section.get("request_timeout", &Span::WAIT, Duration::from_secs(10)),
    };
    if okta.proxy_auth_file.is_some() && !section.has("proxy") {
        section.complain("proxy_auth_file", "is set without a proxy", "set `okta.proxy` too");
    }
    if okta.connect_timeout > okta.request_timeout {
        let problem = "is longer than `okta.request_timeout`, which ends the call first";
        section.warn("connect_timeout", problem, "shorten it");
    }
    (okta, base_url)
}

fn telemetry(section: &Section<'_>) -> Option<Telemetry> {
    let default = Address::Tcp(([127, 0, 0, 1], 9420).into());
    let address = section.get("bind", &BindAddress::TCP, default);
    let hosts = ListOf::some(HostName);
    let allowed_hosts = match address.is_local() {
        true => Some(section.get("allowed_hosts", &hosts, local_hosts())),
        false => section.find("allowed_hosts", &hosts),
    };
    let mut binds = address.binds();
    if binds.len() != 1 {
        let remedy = "write 127.0.0.1 or [::1] instead";
        section.complain("bind", "means two addresses, and telemetry has one", remedy);
    }
    Some(Telemetry { bind: binds.pop()?, allowed_hosts, is_default: !section.has("bind") })
}

fn control(section: &Section<'_>, around: &Surroundings) -> Option<Control> {
    let default = around.control_socket().map(Address::Unix);
    let address = match default {
        Some(default) => Some(section.get("bind", &BindAddress::UNIX, default)),
        None => section.find("bind", &BindAddress::UNIX),
    };
    let allow_uids = section.get("allow_uids", &ListOf::any(USER), Vec::new());
    match address? {
        Address::Unix(path) => Some(Control { path, allow_uids, is_default: !section.has("bind") }),
        _ => None,
    }
}

fn state(section: &Section<'_>, around: &Surroundings) -> (Option<PathBuf>, bool) {
    let cache_token = section.get("cache_token", &Switch, false);
    let dir = match around.state_dir() {
        Some(default) => Some(section.get("dir", &PathTo, default)),
        None => section.find("dir", &PathTo),
    };
    if cache_token && dir.is_none() && !section.has("dir") {
        let problem = "has nowhere to keep the token";
        section.complain("cache_token", problem, "set `state.dir`, or leave it out");
    }
    (dir, cache_token)
}

fn process(section: &Section<'_>) -> Process {
    const SANDBOXES: Choice = Choice(&["best-effort", "require", "off"]);
    let linger = Span { least: Duration::ZERO, ..Span::WAIT };
    Process {
        sandbox: match section.get("sandbox", &SANDBOXES, "best-effort") {
            "off" => Sandbox::Off,
            "require" => Sandbox::Require,
            _ => Sandbox::BestEffort,
        },
        linger: section.get("linger", &linger, Duration::ZERO),
    }
}

fn log(section: &Section<'_>) -> Log {
    const FORMATS: Choice = Choice(&["auto", "text", "json"]);
    Log {
        level: section.get("level", &Filter, "info".to_owned()),
        format: match section.get("format", &FORMATS, "auto") {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => LogFormat::Auto,
        },
    }
}

fn local_hosts() -> Vec<String> {
    LOCAL_HOSTS.map(str::to_owned).to_vec()
}
