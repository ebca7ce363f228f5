//! From one page of a list to the next: where a link may lead, and when it is enough.

use super::call::Call;
use crate::proxy::link;

/// Most pages in a row with nothing on them.
const MOST_EMPTY: u32 = 100;

/// Walks from page to page; remembers one address, however many there are.
pub(super) struct Walk<'a> {
    call: &'a Call,
    /// The origin that the links name.
    origin: &'a str,
    team: &'a str,
    relation: &'static str,
    /// An address that was followed, compared with each new one: a circle comes back to it.
    mark: String,
    /// Steps since the mark, and the number at which it is set anew (Brent's way to find circles).
    steps: u64,
    until: u64,
    empty: u32,
}

/// Says why a list is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Astray {
    /// Whoever follows it would tell a stranger the token, or read another list.
    #[error(
        "the list goes on at an address that is not its own, which is not followed: \
             what is in between you and the issuer?"
    )]
    Elsewhere,
    /// It would never end.
    #[error("the list goes in a circle: the issuer's links lead back to a page that was shown")]
    Circle,
    /// It may never end.
    #[error(
        "the list goes on and on with nothing on {MOST_EMPTY} pages: the issuer is out of order"
    )]
    Empty,
}

impl<'a> Walk<'a> {
    /// Starts at the page that a call asks for; goes back instead of on where `back`.
    pub(super) fn new(call: &'a Call, origin: &'a str, team: &'a str, back: bool) -> Self {
        let relation = if back { "prev" } else { "next" };
        let mark = call.target(team);
        Self { call, origin, team, relation, mark, steps: 0, until: 1, empty: 0 }
    }

    /// Finds the next page in the `Link` header of one, as path and query, byte for byte.
    pub(super) fn step(&mut self, links: &str, is_empty: bool) -> Result<Option<String>, Astray> {
        let Some(target) = link::target(links, self.relation) else {
            return Ok(None);
        };
        let target = self.own(target).ok_or(Astray::Elsewhere)?;
        self.empty = if is_empty { self.empty.saturating_add(1) } else { 0 };
        if self.empty >= MOST_EMPTY {
            return Err(Astray::Empty);
        }
        if target == self.mark {
            return Err(Astray::Circle);
        }
        self.steps = self.steps.saturating_add(1);
        if self.steps == self.until {
            target.clone_into(&mut self.mark);
            (self.steps, self.until) = (0, self.until.saturating_mul(2));
        }
        Ok(Some(target.to_owned()))
    }

    /// Takes the origin off an address of this very list.
    fn own<'t>(&self, target: &'t str) -> Option<&'t str> {
        let rest = match target.split_at_checked(self.origin.len()) {
            Some((start, rest)) if start.eq_ignore_ascii_case(self.origin) => rest,
            _ => target,
        };
        let path = rest.split('?').next()?;
        self.call.is_at(self.team, path).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "https://acme.pam.okta.com";

    fn links(target: &str) -> String {
        format!("<{target}>; rel=\"next\", <{ORIGIN}/p>; rel=\"prev\"")
    }

    fn step(walk: &mut Walk<'_>, target: &str) -> Result<Option<String>, Astray> {
        walk.step(&links(target), false)
    }

    /// Walks a graph of pages; tells how many steps it took to the end.
    fn walk(next: impl Fn(u64) -> Option<u64>) -> Result<u64, Astray> {
        let call = Call::read(&["service_users"]);
        let mut walk = Walk::new(&call, ORIGIN, "acme", false);
        let (mut page, mut steps) = (0, 0);
        while let Some(after) = next(page) {
            let target = format!("/v1/teams/acme/service_users?offset={after}");
            step(&mut walk, &target)?.expect("a link");
            (page, steps) = (after, steps + 1);
            assert!(steps < 100_000, "no end");
        }
        Ok(steps)
    }

    #[test]
    fn links_are_followed_byte_for_byte() {
        let call = Call::read(&["service_users"]);
        let target = "/v1/teams/ACME/service_users?count=1&offset=a%2Cb,c&x";
        for origin in ["", ORIGIN, "HTTPS://Acme.pam.okta.com"] {
            let mut walk = Walk::new(&call, ORIGIN, "acme", false);
            let found = step(&mut walk, &format!("{origin}{target}"));
            assert_eq!(found, Ok(Some(target.to_owned())), "{origin}");
        }
        let mut walk = Walk::new(&call, ORIGIN, "acme", false);
        assert_eq!(walk.step("", false), Ok(None));
        assert_eq!(walk.step("<x>; rel=\"prev\"", false), Ok(None));
    }

    // fault 60
    #[test]
    fn no_other_address_is_followed() {
        let call = Call::read(&["service_users"]);
        for target in [
            "https://evil.example/v1/teams/acme/service_users",
            "https://acme.pam.okta.com.evil.example/v1/teams/acme/service_users",
            "https://acme.pam.okta.com@evil.example/v1/teams/acme/service_users",
            "https://acme.pam.okta.com:444/v1/teams/acme/service_users",
            "//evil.example/v1/teams/acme/service_users",
            "/v1/teams/other/service_users",
            "/v1/teams/acme/service_users/../x",
            "/v1/teams/acme/service_users#x",
            "/v1/teams/acme/service_token",
            "service_users?offset=1",
            "",
        ] {
            let mut walk = Walk::new(&call, ORIGIN, "acme", false);
            assert_eq!(step(&mut walk, target), Err(Astray::Elsewhere), "{target}");
        }
    }

    #[test]
    fn back_follows_the_other_relation() {
        let call = Call::read(&["service_users"]);
        let mut walk = Walk::new(&call, ORIGIN, "acme", true);
        let links = "</x>; rel=next, </v1/teams/acme/service_users?prev=true>; rel=prev";
        let target = "/v1/teams/acme/service_users?prev=true".to_owned();
        assert_eq!(walk.step(links, false), Ok(Some(target)));
    }

    #[test]
    fn a_circle_of_any_length_is_found_and_a_line_is_not_one() {
        assert_eq!(walk(|page| (page < 5000).then_some(page + 1)), Ok(5000));
        assert_eq!(walk(|_| None), Ok(0));
        for (tail, length) in [(0, 1), (0, 2), (1, 1), (7, 3), (100, 99), (3, 1000)] {
            let next = |page| Some(if page + 1 == tail + length { tail } else { page + 1 });
            assert_eq!(walk(next), Err(Astray::Circle), "{length} after {tail}");
        }
    }

    #[test]
    fn pages_without_anything_are_bounded() {
        let call = Call::read(&["service_users"]);
        let mut walk = Walk::new(&call, ORIGIN, "acme", false);
        let page = |number: u32| links(&format!("/v1/teams/acme/service_users?offset={number}"));
        let mut steps = (0..1000).map(|number| walk.step(&page(number), number != 50));
        let end = steps.by_ref().position(|step| step == Err(Astray::Empty));
        assert_eq!(end, Some(150), "a page with something on it begins anew");
    }
}
