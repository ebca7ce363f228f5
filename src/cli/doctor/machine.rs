//! What is on this machine, looked at: the daemon, its sockets, its directories.

use std::{net::TcpStream, os::unix::net::UnixStream, time::Duration};

use http::{Method, StatusCode};

use super::{
    daemon::{self, Daemon, Kernel, Place},
    finding::{Finding, Report},
};
use crate::{
    cli::{exit::Class, token},
    config::{
        Config,
        model::{Bind, Listener, SocketFile},
    },
    control::{
        client::{self, Address},
        status::Status,
    },
    local::{access_token::AccessTokenFile, bind::unix},
    process::{
        feed::Source,
        path_error::our_uid,
        trusted_dir::{Trail, TrustedDir},
    },
};

/// A daemon answers at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at the daemon, its sockets and its directories.
pub(super) async fn look(config: &Config, report: &mut Report) {
    state(config, report);
    let daemon = running(config).await;
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

async fn running(config: &Config) -> Daemon {
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
        Bind::Systemd(_) => return Place::Managers,
    };
    match (tried, bind) {
        (Ok(()), _) => Place::Listens,
        (Err(error), _) if runs == Some(true) => Place::Silent(error.kind().to_string()),
        (Err(_), Bind::Unix(path)) => match unix::look(path, file) {
            Ok(()) => Place::Free,
            Err(error) => Place::Blocked(error.to_string()),
        },
        (Err(_), Bind::Tcp(_) | Bind::Systemd(_)) => Place::Free,
    }
}
