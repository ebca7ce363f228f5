//! Which requests the injected faults befall.

use std::{fmt, str::FromStr};

use super::fault::{Fault, UnknownFault};

/// Says which requests a fault befalls, and how many of them.
///
/// Its text form is `[mint@|api@|rotate@]KIND[:COUNT][=ARGUMENT]`, as `mint@503:3` or `307:1=http://…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    fault: Fault,
    scope: Scope,
    /// `None`: until it is cleared.
    count: Option<u32>,
}

/// Names the requests a fault may befall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All below `/v1/teams/`.
    #[default]
    All,
    /// `POST service_token` only.
    Mint,
    /// All but that.
    Api,
    /// `POST service_users/{user}/keys` only.
    Rotate,
}

/// Tells the requests apart that faults can be meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// One for a token.
    Mint,
    /// One for a new key.
    Rotate,
    /// Any other.
    Other,
}

impl FaultPlan {
    /// Plans a fault for the next `count` requests that it can befall.
    #[must_use]
    pub const fn times(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }

    /// Plans a fault for these requests only.
    #[must_use]
    pub const fn on(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    fn befalls(&self, target: Target) -> bool {
        let is_mint = target == Target::Mint;
        let in_scope = match self.scope {
            Scope::All => true,
            Scope::Mint => is_mint,
            Scope::Api => !is_mint,
            Scope::Rotate => target == Target::Rotate,
        };
        in_scope && (is_mint || !self.fault.is_of_grants())
    }

    /// Uses the plan up by one; tells whether something is left of it.
    fn spend(&mut self) -> bool {
        self.count = self.count.map(|count| count.saturating_sub(1));
        self.count != Some(0)
    }
}

impl From<Fault> for FaultPlan {
    /// Plans a fault for all requests until it is cleared.
    fn from(fault: Fault) -> Self {
        Self { fault, scope: Scope::All, count: None }
    }
}

impl FromStr for FaultPlan {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let (scope, rest) = split_scope(text);
        let (head, argument) = match rest.split_once('=') {
            Some((head, argument)) => (head, Some(argument)),
            None => (rest, None),
        };
        let (kind, count) = split_count(head).ok_or_else(|| UnknownFault(text.to_owned()))?;
        let fault: Fault = match argument {
            Some(argument) => format!("{kind}={argument}").parse()?,
            None => kind.parse()?,
        };
        Ok(Self { fault, scope, count })
    }
}

fn split_scope(text: &str) -> (Scope, &str) {
    let scoped = |prefix, scope| text.strip_prefix(prefix).map(|rest| (scope, rest));
    scoped("mint@", Scope::Mint)
        .or_else(|| scoped("api@", Scope::Api))
        .or_else(|| scoped("rotate@", Scope::Rotate))
        .unwrap_or((Scope::All, text))
}

fn split_count(head: &str) -> Option<(&str, Option<u32>)> {
    let Some((kind, count)) = head.split_once(':') else {
        return Some((head, None));
    };
    let count = count.parse().ok().filter(|count| *count > 0)?;
    Some((kind, Some(count)))
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.scope {
            Scope::All => "",
            Scope::Mint => "mint@",
            Scope::Api => "api@",
            Scope::Rotate => "rotate@",
        })?;
        let fault = self.fault.to_string();
        let (kind, argument) = fault.split_at(fault.find('=').unwrap_or(fault.len()));
        f.write_str(kind)?;
        self.count.map_or(Ok(()), |count| write!(f, ":{count}"))?;
        f.write_str(argument)
    }
}

/// Holds the faults to come, the first planned first.
#[derive(Default)]
pub(super) struct Schedule(Vec<FaultPlan>);

impl Schedule {
    pub(super) fn plan(&mut self, plan: FaultPlan) {
        if plan.count != Some(0) {
            self.0.push(plan);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Tells the fault of the next request, and uses its plan up by one.
    pub(super) fn take(&mut self, target: Target) -> Option<Fault> {
        let place = self.0.iter().position(|plan| plan.befalls(target))?;
        let plan = self.0.get_mut(place)?;
        let fault = plan.fault.clone();
        if !plan.spend() {
            self.0.remove(place);
        }
        Some(fault)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &FaultPlan> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(plans: &[&str]) -> Schedule {
        Schedule(plans.iter().map(|plan| plan.parse().unwrap()).collect())
    }

    fn take(schedule: &mut Schedule, target: Target) -> String {
        schedule.take(target).map_or_else(|| String::from("-"), |fault| fault.to_string())
    }

    #[test]
    fn plans_read_back_as_they_are_written() {
        for text in [
            "503",
            "mint@503:3",
            "api@hang",
            "rotate@lost:1",
            "307:2=http://127.0.0.1:80/",
            "mint@raw=a:b",
        ] {
            assert_eq!(text.parse::<FaultPlan>().unwrap().to_string(), text);
        }
        for text in ["503:0", "503:x", "put@503", "mint@"] {
            assert!(text.parse::<FaultPlan>().is_err(), "{text}");
        }
    }

    #[test]
    fn plans_follow_each_other_each_as_often_as_planned() {
        let mut schedule = schedule(&["503:2", "mint@404:1"]);
        let seen: Vec<_> = (0..4).map(|_| take(&mut schedule, Target::Mint)).collect();
        assert_eq!(seen, ["503", "503", "404", "-"]);
    }

    #[test]
    fn a_plan_waits_for_the_requests_it_is_meant_for() {
        use Target::{Mint, Other, Rotate};
        let mut schedule = schedule(&["rotate@500:1", "mint@503:1", "api@404:2", "no-token:1"]);
        let targets = [Other, Rotate, Rotate, Other, Mint, Mint, Mint];
        let seen = targets.map(|target| take(&mut schedule, target));
        assert_eq!(seen, ["404", "500", "404", "-", "503", "no-token", "-"]);
    }

    #[test]
    fn a_plan_without_count_lasts_until_it_is_cleared() {
        let mut schedule = schedule(&["hang"]);
        assert!((0..100).all(|_| schedule.take(Target::Other).is_some()));
        schedule.clear();
        assert!(schedule.take(Target::Other).is_none());
    }
}
