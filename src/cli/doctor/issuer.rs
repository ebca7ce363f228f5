//! The way to the issuer, judged: name, connection, TLS, proxies, clock.

use std::{io::ErrorKind, net::SocketAddr};

use super::finding::Finding;
use crate::{
    cli::{exit::Class, span::span},
    okta::{
        certificate::Shown,
        classify::MintError,
        probe::{Greeting, Road, Secured},
    },
    token::timing::{Skew, Wall},
};

/// A certificate that ends sooner is worth a word, in seconds.
const SOON: u64 = 14 * 24 * 60 * 60;

/// What the settings and the environment say of proxies.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    /// The proxy that is configured.
    pub(super) configured: Option<String>,
    /// Variables that other programs would obey.
    pub(super) variables: Vec<String>,
}

/// Judges the way without a proxy; `origin` is the issuer's.
pub(super) fn road(topic: &str, origin: &str, road: &Road, now: Wall) -> Vec<Finding> {
    let Some(addresses) = &road.addresses else {
        return vec![Finding::fail(
            topic,
            Class::Unreachable,
            format!("name: the host of {origin} could not be looked up in DNS"),
            "check the spelling of okta.base_url, /etc/resolv.conf and the network; in a \
             container, its DNS settings",
        )];
    };
    let mut findings = vec![Finding::ok(topic, format!("name: {}", list(addresses)))];
    findings.push(match &road.connection {
        Some(Ok(reached)) => Finding::ok(
            topic,
            format!("connection: {} in {} ms", reached.address, reached.took.as_millis()),
        ),
        Some(Err(failures)) => refused(topic, failures),
        None => Finding::skip(topic, "connection: there is no address"),
    });
    findings.extend(road.tls.as_ref().map(|secured| tls(topic, secured, now)));
    findings
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(|at| at.ip().to_string()).collect::<Vec<_>>().join(", ")
}

fn refused(topic: &str, failures: &[(SocketAddr, ErrorKind)]) -> Finding {
    let words = failures.iter().map(|(address, kind)| format!("{address}: {}", words(*kind)));
    let what = format!("connection: {}", words.collect::<Vec<_>>().join("; "));
    let remedy = match failures.first().map(|(_, kind)| kind) {
        Some(ErrorKind::ConnectionRefused) => {
            "nobody listens there: check the port of okta.base_url, and whether the issuer is up"
        }
        Some(ErrorKind::PermissionDenied) => {
            "a firewall, a NetworkPolicy or a sandbox forbids it: allow it, or set okta.proxy"
        }
        _ => {
            "check the network and the firewall; where the issuer is reached through a proxy \
             only, set okta.proxy"
        }
    };
    Finding::fail(topic, Class::Unreachable, what, remedy)
}

fn words(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::TimedOut => "no answer in time",
        ErrorKind::NetworkUnreachable => "network unreachable",
        ErrorKind::HostUnreachable => "host unreachable",
        ErrorKind::PermissionDenied => "not permitted",
        _ => "no connection",
    }
}

fn tls(topic: &str, secured: &Secured, now: Wall) -> Finding {
    let shown = shown(&secured.chain, now);
    let Some(flaw) = &secured.flaw else {
        let left = ends(&secured.chain).map(|ends| ends.since(now).as_secs());
        return match left {
            Some(left) if left < SOON => Finding::warn(
                topic,
                format!("TLS: trusted, but not for long: {shown}"),
                "tell whoever runs the issuer",
            ),
            _ => Finding::ok(topic, format!("TLS: {shown}")),
        };
    };
    let what =
        format!("TLS: {flaw}{}", if shown.is_empty() { shown } else { format!("; {shown}") });
    Finding::fail(topic, Class::Unreachable, what, tls_remedy(&secured.chain, now))
}

fn tls_remedy(chain: &[Shown], now: Wall) -> String {
    let Some(own) = chain.first() else {
        return "check scheme and port of okta.base_url, and what is in between".to_owned();
    };
    if own.begins.is_some_and(|begins| begins > now) || own.ends.is_some_and(|ends| ends <= now) {
        return format!(
            "by this machine's clock it is {now}: set the clock if that is wrong, else \
                        have the certificate renewed"
        );
    }
    let signer = chain.last().and_then(|last| last.issuer.as_deref()).unwrap_or("its authority");
    format!(
        "if this is the issuer: put the certificate of «{signer}» into the file of okta.ca_file, and \
         compare the name with okta.base_url; if it is a proxy that reads along, have the issuer \
         exempted from it"
    )
}

fn ends(chain: &[Shown]) -> Option<Wall> {
    chain.iter().filter_map(|one| one.ends).min()
}

/// Names who is shown, who signed, and for how long it is good.
fn shown(chain: &[Shown], now: Wall) -> String {
    let Some(own) = chain.first() else { return String::new() };
    let unknown = || "no name".to_owned();
    let subject = own.subject.clone().unwrap_or_else(unknown);
    let signers = chain.iter().map(|one| one.issuer.clone().unwrap_or_else(unknown));
    let signers = signers.collect::<Vec<_>>().join(", then by ");
    let time = match ends(chain) {
        Some(ends) if ends > now => {
            format!(", until {ends} ({} left)", span(ends.since(now).as_secs()))
        }
        Some(ends) => format!(", ended at {ends}"),
        None => String::new(),
    };
    format!("certificate of «{subject}», signed by «{signers}»{time}")
}

/// Says what proxies may have to do with a way that leads nowhere.
pub(super) fn unasked(topic: &str, proxies: &Proxies) -> Vec<Finding> {
    let skipped = Finding::skip(topic, "answer: not asked for, because of the above");
    proxies_words(topic, false, proxies).into_iter().chain([skipped]).collect()
}

/// Judges what a question without a token was answered, and what proxies have to do with it.
pub(super) fn greeting(
    topic: &str,
    answer: &Result<Greeting, MintError>,
    proxies: &Proxies,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(proxies_words(topic, answer.is_ok(), proxies));
    match answer {
        Err(error) => findings.push(Finding::fail_with(
            topic,
            Class::Unreachable,
            &format!("answer: {error}"),
        )),
        Ok(greeting) => {
            findings.push(speaker(topic, greeting));
            findings.push(clock(topic, greeting));
        }
    }
    findings
}

fn proxies_words(topic: &str, answers: bool, proxies: &Proxies) -> Option<Finding> {
    let names = proxies.variables.join(", ");
    match (&proxies.configured, proxies.variables.is_empty()) {
        (Some(proxy), _) if answers => {
            Some(Finding::ok(topic, format!("proxy: reached through okta.proxy, {proxy}")))
        }
        (Some(proxy), _) => Some(Finding::warn(
            topic,
            format!("proxy: all calls go through okta.proxy, {proxy}"),
            "check that it runs, knows the issuer, and takes what okta.proxy_auth_file holds",
        )),
        (None, true) => None,
        (None, false) if answers => {
            Some(Finding::ok(topic, format!("proxy: none needed; {names} is ignored")))
        }
        (None, false) => Some(Finding::warn(
            topic,
            format!("proxy: {names} is set, but ignored here"),
            "if the issuer is reached through that proxy only, set okta.proxy to it",
        )),
    }
}

fn speaker(topic: &str, greeting: &Greeting) -> Finding {
    let (status, took) = (greeting.status.as_u16(), greeting.took.as_millis());
    match greeting {
        Greeting { is_page: true, .. } => Finding::fail(
            topic,
            Class::Unreachable,
            format!("answer: a page for people ({status}), not Okta's API"),
            "check okta.base_url; it may be the sign-in page of a network or a proxy in between",
        ),
        Greeting { is_json: true, .. } if status == 401 => {
            Finding::ok(topic, format!("answer: Okta's API, in {took} ms"))
        }
        _ if status == 429 => Finding::warn(
            topic,
            "answer: the issuer's rate limit is spent (429)",
            "wait, and look for whoever else uses this service user",
        ),
        _ if (500..600).contains(&status) => Finding::fail(
            topic,
            Class::Unreachable,
            format!("answer: the issuer has an internal problem ({status})"),
            "wait; the daemon tries again by itself",
        ),
        _ => Finding::warn(
            topic,
            format!("answer: {status}, which is not what Okta's API says without a token (401)"),
            "check okta.base_url and team_name",
        ),
    }
}

fn clock(topic: &str, greeting: &Greeting) -> Finding {
    let (by, side) = match (greeting.skew, greeting.has_date) {
        (_, false) => return Finding::skip(topic, "clock: the answer has no Date to compare with"),
        (Skew::None, _) => return Finding::ok(topic, "clock: agrees with the issuer's"),
        (Skew::Ahead(by), _) => (by, "behind"),
        (Skew::Behind(by), _) => (by, "ahead of"),
    };
    Finding::warn(
        topic,
        format!("clock: this machine's is {} {side} the issuer's", span(by.as_secs())),
        "the daemon allows for it, certificates and other programs do not: let the clock be set by \
         NTP ('timedatectl status', 'chronyc tracking')",
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::{super::finding::Mark, *};
    use crate::okta::{classify::Reason, probe::Reached};

    const NOW: Wall = Wall::from_seconds(1_769_846_400);
    const DAY: u64 = 86_400;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn chain(days: u64) -> Vec<Shown> {
        let ends = Some(NOW + Duration::from_secs(days * DAY));
        let begins = Some(Wall::from_seconds(0));
        let shown = |subject: &str, issuer: &str| Shown {
            subject: Some(subject.into()),
            issuer: Some(issuer.into()),
            begins,
            ends,
        };
        vec![shown("acme.pam.okta.com", "Mid"), shown("Mid", "Root")]
    }

    fn reached() -> Option<Result<Reached, Vec<(SocketAddr, ErrorKind)>>> {
        Some(Ok(Reached { address: at(443), took: Duration::from_millis(7) }))
    }

    fn greeting_of(status: u16) -> Greeting {
        Greeting {
            status: StatusCode::from_u16(status).unwrap(),
            is_json: true,
            is_page: false,
            skew: Skew::None,
            has_date: true,
            took: Duration::from_millis(9),
        }
    }

    /// Looks for one finding with this mark whose words and remedy hold these.
    #[track_caller]
    fn assert_says(findings: &[Finding], mark: Mark, what: &str, remedy: &str) {
        let fits = |finding: &&Finding| {
            let remedies = finding.remedy.clone().unwrap_or_default();
            finding.mark == mark && finding.what.contains(what) && remedies.contains(remedy)
        };
        assert!(findings.iter().any(|finding| fits(&finding)), "{what}, {remedy}: {findings:#?}");
    }

    #[test]
    fn each_step_of_the_way_has_its_word() {
        let addresses = Some(vec![at(443)]);
        let judged = |road: Road| super::road("issuer", "https://acme.pam.okta.com", &road, NOW);
        let unknown = judged(Road::default());
        assert_says(&unknown, Mark::Fail, "could not be looked up", "resolv.conf");
        let closed = |kind| Road {
            addresses: addresses.clone(),
            connection: Some(Err(vec![(at(443), kind)])),
            tls: None,
        };
        let table = [
            (ErrorKind::ConnectionRefused, "connection refused", "nobody listens there"),
            (ErrorKind::TimedOut, "no answer in time", "firewall"),
            (ErrorKind::PermissionDenied, "not permitted", "NetworkPolicy"),
        ];
        for (kind, what, remedy) in table {
            assert_says(&judged(closed(kind)), Mark::Fail, what, remedy);
        }
        let secured = |days, flaw: Option<&str>| {
            let tls = Secured { chain: chain(days), flaw: flaw.map(str::to_owned) };
            let addresses = addresses.clone();
            judged(Road { addresses, connection: reached(), tls: Some(tls) })
        };
        let good = secured(90, None);
        assert_says(&good, Mark::Ok, "192.0.2.1:443 in 7 ms", "");
        assert_says(&good, Mark::Ok, "«acme.pam.okta.com», signed by «Mid, then by Root»", "");
        assert_says(&good, Mark::Ok, "(90d left)", "");
        assert_says(&secured(3, None), Mark::Warn, "not for long", "whoever runs");
        let distrusted = secured(90, Some("nobody we trust signed the certificate"));
        assert_says(&distrusted, Mark::Fail, "nobody we trust", "«Root» into the file");
        let ended = secured(0, Some("the certificate has expired"));
        assert_says(
            &ended,
            Mark::Fail,
            "ended at 2026",
            "it is 2026-01-31T08:00:00Z: set the clock",
        );
    }

    #[test]
    fn each_answer_has_its_word() {
        let judged = |greeting| greeting_judged(Ok(greeting), Proxies::default());
        assert_says(&judged(greeting_of(401)), Mark::Ok, "Okta's API, in 9 ms", "");
        let page = Greeting { is_page: true, is_json: false, ..greeting_of(200) };
        assert_says(&judged(page), Mark::Fail, "a page for people (200)", "sign-in page");
        assert_says(&judged(greeting_of(429)), Mark::Warn, "rate limit", "wait");
        assert_says(&judged(greeting_of(503)), Mark::Fail, "internal problem (503)", "by itself");
        assert_says(&judged(greeting_of(404)), Mark::Warn, "404", "team_name");
        let error = MintError::from(Reason::Timeout);
        let silent = greeting_judged(Err(error), Proxies::default());
        assert_says(&silent, Mark::Fail, "did not answer in time", "");
    }

    #[test]
    fn clocks_are_compared() {
        let minutes = Duration::from_secs(300);
        let table = [
            (Skew::None, true, Mark::Ok, "agrees", ""),
            (Skew::None, false, Mark::Skip, "no Date", ""),
            (Skew::Ahead(minutes), true, Mark::Warn, "is 5m behind the issuer's", "NTP"),
            (Skew::Behind(minutes), true, Mark::Warn, "is 5m ahead of the issuer's", "NTP"),
        ];
        for (skew, has_date, mark, what, remedy) in table {
            let greeting = Greeting { skew, has_date, ..greeting_of(401) };
            let judged = greeting_judged(Ok(greeting), Proxies::default());
            assert_says(&judged, mark, what, remedy);
        }
    }

    #[test]
    fn proxies_are_named_where_they_matter() {
        let error = || Err(MintError::from(Reason::Connect));
        let variables = || Proxies { configured: None, variables: vec!["HTTPS_PROXY".into()] };
        let configured =
            || Proxies { configured: Some("http://proxy:3128/".into()), ..variables() };
        let good = || Ok(greeting_of(401));
        let judged = greeting_judged;
        assert_says(&judged(good(), variables()), Mark::Ok, "HTTPS_PROXY is ignored", "");
        assert_says(&judged(error(), variables()), Mark::Warn, "but ignored", "set okta.proxy");
        assert_says(&judged(good(), configured()), Mark::Ok, "through okta.proxy", "");
        assert_says(&judged(error(), configured()), Mark::Warn, "http://proxy:3128/", "runs");
        assert_eq!(judged(good(), Proxies::default()).len(), 2, "none is not worth a word");
        assert_says(&unasked("issuer", &variables()), Mark::Warn, "but ignored", "set okta.proxy");
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "rows of tables are made where they are judged"
    )]
    fn greeting_judged(answer: Result<Greeting, MintError>, proxies: Proxies) -> Vec<Finding> {
        greeting("issuer", &answer, &proxies)
    }
}
