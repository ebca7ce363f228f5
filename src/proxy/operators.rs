//! Calls of operators: the kernel's word on the peer stands in for a local token.
//!
//! What passes is the service-user API and nothing else. No rotation: its answer holds a secret, and
//! who loses that has lost the key.

use std::{sync::Arc, time::Duration};

use http::Request;
use hyper::body::Incoming;

use super::{
    Answered, Upstream,
    body::ReplayMemory,
    forward::Call,
    path::Path,
    refusal::Refusal,
    rules::{Rule, Rules},
};
use crate::process::clock::Clock;

/// The calls that pass.
const CALLS: [&str; 7] = [
    "GET /current_user",
    "GET /service_users",
    "POST /service_users",
    "GET /service_users/*",
    "PUT /service_users/*",
    "GET /service_users/*/keys",
    "DELETE /service_users/*/keys/*",
];
/// Longest time in which no byte of a call moves.
const IDLE: Duration = Duration::from_secs(30);
/// Largest body that is held: a name or a status.
const LARGEST: u64 = 4 * 1024;
/// Memory of all held bodies together.
const MEMORY: u64 = 64 * 1024;

/// Forwards the calls of operators.
pub struct Operators {
    rules: Rules,
    memory: ReplayMemory,
    clock: Arc<dyn Clock>,
}

impl Operators {
    /// Makes the forwarder; whoever comes to it has been let in.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { rules: rules(), memory: ReplayMemory::new(LARGEST, MEMORY), clock }
    }

    /// Answers a call with the token of one upstream.
    pub async fn answer(&self, upstream: &Upstream, request: Request<Incoming>) -> Answered {
        match self.judge(upstream, &request) {
            Err(refusal) => Answered::local(refusal.into_response()),
            Ok(path) => {
                let call = Call {
                    path: &path,
                    upstream,
                    memory: &self.memory,
                    idle: IDLE,
                    clock: &*self.clock,
                };
                call.forward(request, None).await
            }
        }
    }

    fn judge(&self, upstream: &Upstream, request: &Request<Incoming>) -> Result<Path, Refusal> {
        let path = Path::parse(request.uri().path())?;
        if !path.team.eq_ignore_ascii_case(&upstream.team_name) {
            return Err(Refusal::NoTeam);
        }
        let passes = self.rules.allow(request.method().as_str(), &path);
        if passes { Ok(path) } else { Err(Refusal::Forbidden) }
    }
}

fn rules() -> Rules {
    let rule = |call: &str| call.parse::<Rule>().expect("these calls are written as rules are");
    Rules::new(CALLS.map(rule).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_user_api_passes_and_nothing_else() {
        let table = [
            ("GET", "/current_user", true),
            ("GET", "/service_users", true),
            ("POST", "/service_users", true),
            ("PUT", "/service_users/robot", true),
            ("DELETE", "/service_users/robot", false),
            ("GET", "/service_users/robot/keys", true),
            ("POST", "/service_users/robot/keys", false),
            ("DELETE", "/service_users/robot/keys/1", true),
            ("GET", "/service_users/robot/keys/1", false),
            ("POST", "/service_token", false),
            ("GET", "/projects", false),
        ];
        for (method, below, passes) in table {
            let path = Path::parse(&format!("/v1/teams/acme{below}")).expect("clean");
            assert_eq!(rules().allow(method, &path), passes, "{method} {below}");
        }
    }
}
