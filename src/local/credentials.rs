//! The credentials of the daemon, as everybody finds them by name.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

use crate::{okta::forwarder::Forwarder, proxy::Upstream, token::handle::Handle};

/// Finds handles by name; replaced as a whole on a reload.
#[derive(Default)]
pub struct Credentials(ArcSwap<BTreeMap<String, Member>>);

/// Holds one credential's handle and what readiness thinks of it.
#[derive(Clone)]
pub struct Member {
    /// The handle.
    pub handle: Handle,
    /// The team that its tokens are for.
    pub team_name: String,
    /// Whether readiness needs this credential.
    pub required: bool,
    /// Carries the calls that are forwarded for it.
    pub forwarder: Arc<Forwarder>,
}

impl Member {
    /// Tells what the proxy of a listener has to know.
    #[must_use]
    pub fn upstream(&self) -> Upstream {
        Upstream {
            team_name: self.team_name.clone(),
            handle: self.handle.clone(),
            forwarder: Arc::clone(&self.forwarder),
        }
    }
}

/// Tells how one credential stands.
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Whether it holds a valid token.
    pub ready: bool,
    /// Whether readiness needs it.
    pub required: bool,
    /// In one sentence: what there is, or why there is nothing.
    pub reason: String,
}

impl Credentials {
    /// Replaces all of them.
    pub fn replace(&self, members: BTreeMap<String, Member>) {
        self.0.store(Arc::new(members));
    }

    /// Gives all of them.
    #[must_use]
    pub fn all(&self) -> Arc<BTreeMap<String, Member>> {
        self.0.load_full()
    }

    /// Finds one.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Member> {
        self.0.load().get(name).cloned()
    }

    /// Tells how each of them stands.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        self.all().iter().map(|(name, member)| standing(name, member)).collect()
    }

    /// Tells whether every required one holds a valid token; before there are any, nothing is ready.
    #[must_use]
    pub fn are_ready(&self) -> bool {
        let members = self.all();
        let mut required = members.values().filter(|member| member.required);
        !members.is_empty() && required.all(|member| member.handle.current().is_some())
    }
}

fn standing(name: &str, member: &Member) -> Standing {
    let current = member.handle.current();
    let state = member.handle.state();
    let reason = match (&current, state.has_trouble()) {
        (Some((_, left)), false) => format!("valid for {} s", left.as_secs()),
        (Some((_, left)), true) => {
            format!("valid for {} s, but: {}", left.as_secs(), state.trouble())
        }
        (None, _) => state.trouble(),
    };
    Standing { name: name.to_owned(), ready: current.is_some(), required: member.required, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Sockets answer a moment before the credentials are there.
    #[test]
    fn nothing_is_ready_before_there_is_anything() {
        assert!(!Credentials::default().are_ready());
    }
}
