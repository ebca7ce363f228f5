//! `bearerd doctor`: finds out why it does not work. What is found is judged apart from the finding.

mod credential;
mod daemon;
mod finding;
mod issuer;
mod machine;
mod person;
mod visit;

use std::{collections::BTreeMap, sync::Arc};

use self::{
    finding::{Finding, Mark, Report, counted},
    issuer::Proxies,
};
use super::{
    api::rights,
    exit::{Class, Exit},
    settings::Settings,
    terminal,
};
use crate::{
    config::{
        self, Config, Severity,
        model::{Credential, Okta},
    },
    key,
    okta::{client::IssuerClient, issuer::Issuer, probe, transport::TransportError},
    process::clock::{Clock, SystemClock},
};

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
        machine::look(&config, &mut report).await;
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
