//! One token for each credential, every sink filled, and the end: for init containers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{AppError, Commons, Confinement, fleet::Fleet, sinks::Sinks};
use crate::{config::Loaded, local::credentials::Member, okta::classify::MintError};

/// Time between two looks at a credential that has neither token nor trouble yet.
const PAUSE: Duration = Duration::from_millis(50);
/// Time for what is under way at the end.
const GRACE: Duration = Duration::from_millis(500);

/// Tells of a credential that got no token, or of a sink that could not be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unminted {
    /// Its name.
    pub name: String,
    /// Whether it is needed: a credential for readiness, a sink always if its credential is.
    pub required: bool,
    /// Why it got none.
    pub failure: Failure,
}

/// Says why there is no token, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The issuer, or the way to it.
    #[error("{0}")]
    Mint(MintError),
    /// The key's file.
    #[error("{0}")]
    Key(String),
    /// The sink's file.
    #[error("{0}")]
    Sink(String),
}

/// Mints one token for each credential and fills the sinks; tells what went wrong. Opens no socket.
///
/// # Errors
///
/// When a file of `[okta]` cannot be used, or a sink cannot be written at all.
pub async fn once(loaded: Loaded, confinement: &Confinement) -> Result<Vec<Unminted>, AppError> {
    let config = loaded.config;
    confinement.tell(&config);
    for warning in &loaded.warnings {
        tracing::warn!(finding = %warning, "the configuration should be looked at");
    }
    let commons = Commons::new(Arc::clone(&confinement.owners));
    let runner = commons.runner(confinement)?;
    let mut fleet = Fleet::new(commons.clone(), runner.clone());
    let plan = fleet.plan(&config)?;
    let sinks = Sinks::new(commons.clone(), runner);
    sinks.plan(&config)?;
    fleet.commit(plan, &config);
    let members = commons.credentials.all();
    let mut failures = BTreeMap::new();
    for (name, member) in members.iter() {
        if let Err(failure) = minted(member, &commons).await {
            failures.insert(name.clone(), failure);
        }
    }
    let is_required = |name: &str| members.get(name).is_some_and(|member| member.required);
    let mut unminted: Vec<_> = failures
        .into_iter()
        .map(|(name, failure)| Unminted { required: is_required(&name), name, failure })
        .collect();
    for (name, credential, outcome) in sinks.fill(&config).await {
        if let Err(sentence) = outcome {
            let (required, failure) = (is_required(&credential), Failure::Sink(sentence));
            unminted.push(Unminted { name, required, failure });
        }
    }
    fleet.stop();
    commons.closing.cancel();
    commons.tasks.close();
    let _late = timeout(GRACE, commons.tasks.wait()).await;
    Ok(unminted)
}

/// Waits for the end of the first mint, or for the reason why there is none.
async fn minted(member: &Member, commons: &Commons) -> Result<(), Failure> {
    loop {
        if member.handle.with_life(Duration::ZERO).await.is_some() {
            return Ok(());
        }
        let state = member.handle.state();
        if let Some(failing) = state.failing {
            return Err(Failure::Mint(failing.error));
        }
        if let Some(trouble) = &state.key_trouble {
            return Err(Failure::Key(trouble.clone()));
        }
        commons.clock.sleep_until(commons.clock.tick() + PAUSE).await;
    }
}
