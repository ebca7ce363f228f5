//! The running daemon, judged: whether it is there, how it stands, where it listens.

use super::finding::Finding;
use crate::{
    cli::{exit::Class, span::span},
    config::model::{Bind, Listener},
    control::status::Status,
};

/// Tells what answers at the control socket.
pub(super) enum Daemon {
    /// A daemon, and what the kernel tells of its process.
    Running(Box<Status>, Kernel),
    /// Nobody, in a sentence.
    Nobody(String),
    /// Somebody whom we may not ask, or who makes no sense, in a sentence.
    Closed(String),
    /// No control socket is configured.
    Unasked,
}

/// Tells what the kernel knows of the daemon's process, as far as we may see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kernel {
    /// The user that it runs as.
    pub(super) uid: Option<u32>,
    /// Descriptors that are open.
    pub(super) open: Option<usize>,
    /// Descriptors that may be open.
    pub(super) most: Option<usize>,
}

/// Judges the daemon; `uid` is our own.
pub(super) fn judge(daemon: &Daemon, uid: u32) -> Vec<Finding> {
    const TOPIC: &str = "daemon";
    match daemon {
        Daemon::Running(status, kernel) => {
            let mut found = standing(TOPIC, status);
            found.extend(process(TOPIC, *kernel, uid));
            found
        }
        Daemon::Nobody(sentence) => {
            let remedy = "start it ('bearerd run', 'systemctl start bearerd'); if it ends at once, \
                          its log says why";
            vec![Finding::fail(TOPIC, Class::Unreachable, sentence, remedy)]
        }
        Daemon::Closed(sentence) => vec![Finding::warn(
            TOPIC,
            sentence,
            "ask as root or as the daemon's user, or be named in control.allow_uids",
        )],
        Daemon::Unasked => vec![Finding::warn(
            TOPIC,
            "no control socket is configured, so the daemon cannot be asked",
            "set control.bind",
        )],
    }
}

fn standing(topic: &str, status: &Status) -> Vec<Finding> {
    let (version, ours) = (&status.version, env!("CARGO_PKG_VERSION"));
    let up = span(status.uptime);
    let words = format!("bearerd {version} runs as process {}, up {up}", status.pid);
    let mut found = vec![if version == ours {
        Finding::ok(topic, words)
    } else {
        let remedy = "restart the daemon after an update, or use the command that belongs to it";
        Finding::warn(topic, format!("{words}; this command is {ours}"), remedy)
    }];
    if let Some(refused) = &status.refused_reload {
        let words = format!(
            "the reload at {} was refused, so the old configuration is in force: {}",
            refused.at, refused.problem
        );
        found.push(Finding::warn(
            topic,
            words,
            "mend the configuration, then send HUP, or restart",
        ));
    }
    for credential in &status.credentials {
        let troubles = credential.troubles();
        let words = |trouble| format!("credential {}: {trouble}", credential.name);
        let warn = |trouble| Finding::warn_with(topic, &words(trouble));
        found.extend(troubles.into_iter().map(warn));
    }
    for sink in status.sinks.iter().filter(|sink| !sink.good) {
        found.push(Finding::warn_with(topic, &format!("sink {}: {}", sink.name, sink.reason)));
    }
    found.push(if status.ready {
        Finding::ok(topic, "it is ready: every required credential has a valid token")
    } else {
        let remedy = "mend what is wrong above; the daemon then gets ready by itself";
        let words = "it is not ready: a required credential has no valid token";
        Finding::fail(topic, Class::Unreachable, words, remedy)
    });
    found
}

fn process(topic: &str, kernel: Kernel, ours: u32) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(uid) = kernel.uid.filter(|uid| *uid != ours) {
        let words = format!(
            "it runs as uid {uid}, and this is uid {ours}: files were looked at as \
                             this user sees them"
        );
        let remedy = format!(
            "run the doctor as the daemon's user: 'setpriv --reuid={uid} \
                              --clear-groups bearerd doctor', or 'sudo -u'"
        );
        found.push(Finding::warn(topic, words, remedy));
    }
    if let (Some(open), Some(most)) = (kernel.open, kernel.most) {
        let words = format!("{open} of {most} descriptors are open");
        found.push(if open.saturating_mul(4) >= most.saturating_mul(3) {
            let remedy = "raise the limit of open files (LimitNOFILE=, ulimit -n)";
            Finding::warn(topic, words, remedy)
        } else {
            Finding::ok(topic, words)
        });
    }
    found
}

/// Tells whether somebody listens at an address, or why a socket could not be there.
pub(super) enum Place {
    Listens,
    Silent(String),
    /// Nobody listens, and nothing stands in the way.
    Free,
    /// The service manager opens it, where its socket unit says.
    Managers,
    Blocked(String),
}

/// Judges one address of a listener; it matters more while a daemon runs.
pub(super) fn place(
    topic: &str,
    bind: &Bind,
    listener: Option<&Listener>,
    place: &Place,
) -> Finding {
    let address = match bind {
        Bind::Unix(path) => format!("unix:{}", path.display()),
        Bind::Tcp(at) => format!("tcp:{at}"),
        Bind::Systemd(name) => format!("systemd:{name}"),
    };
    match place {
        Place::Listens => {
            let who = listener.map(|listener| who_may(bind, listener)).unwrap_or_default();
            Finding::ok(topic, format!("{address} answers{who}"))
        }
        Place::Free => Finding::skip(topic, format!("{address} can be listened on")),
        Place::Managers => Finding::skip(
            topic,
            format!(
                "{address} is opened by the service manager: 'systemctl list-sockets' shows it"
            ),
        ),
        Place::Blocked(sentence) => Finding::fail_with(topic, Class::Failed, sentence),
        Place::Silent(why) => Finding::fail(
            topic,
            Class::Unreachable,
            format!("the daemon runs, but {address} is not answered: {why}"),
            "a socket file may have been removed or hidden by a mount, or the daemon runs with \
             another configuration or in another namespace: restart it",
        ),
    }
}

/// Says who may come in, as the configuration has it.
fn who_may(bind: &Bind, listener: &Listener) -> String {
    let guard = &listener.guard;
    let mut words = match bind {
        Bind::Unix(_) => {
            let group = listener.socket.group.map(|gid| format!(", gid {gid}")).unwrap_or_default();
            format!("; its mode is {:04o}{group}", listener.socket.mode)
        }
        Bind::Tcp(_) | Bind::Systemd(_) => String::new(),
    };
    if !guard.allow_uids.is_empty() || !guard.allow_gids.is_empty() {
        words.push_str(&format!(
            "; only uids {:?} and gids {:?} are let in",
            guard.allow_uids, guard.allow_gids
        ));
    }
    if let Some(file) = &guard.access_token_file {
        words.push_str(&format!("; it asks for the access token in {}", file.display()));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Mark, *};
    use crate::control::status::RefusedReload;

    fn status(ready: bool) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: 7,
            uptime: 60,
            ready,
            refused_reload: None,
            credentials: Vec::new(),
            listeners: Vec::new(),
            sinks: Vec::new(),
        }
    }

    fn running(status: Status, kernel: Kernel) -> Daemon {
        Daemon::Running(Box::new(status), kernel)
    }

    fn marks(daemon: &Daemon) -> Vec<(Mark, String)> {
        judge(daemon, 0).into_iter().map(|found| (found.mark, found.what)).collect()
    }

    #[track_caller]
    fn assert_says(daemon: &Daemon, mark: Mark, words: &str) {
        let found = marks(daemon);
        let says = |(its, what): &(Mark, String)| *its == mark && what.contains(words);
        assert!(found.iter().any(says), "{words}: {found:?}");
    }

    #[test]
    fn a_daemon_is_judged_by_what_it_says_and_by_the_kernel() {
        let of = |kernel| running(status(true), kernel);
        assert_says(&of(Kernel::default()), Mark::Ok, "process 7, up 1m");
        assert_says(&of(Kernel::default()), Mark::Ok, "it is ready");
        assert_says(&running(status(false), Kernel::default()), Mark::Fail, "not ready");
        let old = Status { version: "0.0.1".into(), ..status(true) };
        assert_says(&running(old, Kernel::default()), Mark::Warn, "bearerd 0.0.1");
        let refused = RefusedReload { at: "now".into(), problem: "needs a restart".into() };
        let reload = Status { refused_reload: Some(refused), ..status(true) };
        assert_says(&running(reload, Kernel::default()), Mark::Warn, "needs a restart");
        let other = Kernel { uid: Some(65_532), ..Kernel::default() };
        assert_says(&of(other), Mark::Warn, "runs as uid 65532");
        let table = [(10, Mark::Ok), (767, Mark::Ok), (768, Mark::Warn)];
        for (open, mark) in table {
            let kernel = Kernel { uid: Some(0), open: Some(open), most: Some(1024) };
            assert_says(&of(kernel), mark, &format!("{open} of 1024"));
        }
    }

    #[test]
    fn nobody_is_a_failure_and_a_closed_door_a_warning() {
        assert_says(&Daemon::Nobody("no bearerd".into()), Mark::Fail, "no bearerd");
        assert_says(&Daemon::Closed("you may not".into()), Mark::Warn, "you may not");
        assert_says(&Daemon::Unasked, Mark::Warn, "no control socket");
    }

    #[test]
    fn an_address_is_judged_by_who_listens() {
        let bind = Bind::Unix("/run/a".into());
        let mark = |at: &Place| place("sockets", &bind, None, at).mark;
        assert_eq!(mark(&Place::Listens), Mark::Ok);
        assert_eq!(mark(&Place::Free), Mark::Skip);
        assert_eq!(mark(&Place::Silent("gone".into())), Mark::Fail);
        assert_eq!(mark(&Place::Blocked("in the way: mend it".into())), Mark::Fail);
    }
}
