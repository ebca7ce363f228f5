//! `Link` and `Location`: URLs of the issuer become URLs of the listener (fault 287).
//!
//! RFC 8288 section 3. Some clients read only the first link of the first line, so there is one
//! line, and `next` comes first in it. The crates that parse this header are unkept, or lose the
//! order and the parameters that have to go through.

/// Rewrites a list of links into one line; `None` if there is none.
///
/// `origin` is the issuer's, `own` the listener's. A link that cannot be read is left out.
#[must_use]
pub fn rewrite(links: &str, origin: &str, own: &str) -> Option<String> {
    let mut links: Vec<_> = split(links)
        .into_iter()
        .filter_map(Link::parse)
        .map(|link| {
            (!link.has("next"), format!("<{}>{}", moved(link.target, origin, own), link.rest))
        })
        .collect();
    // The sort is stable: the others keep their order.
    links.sort_by_key(|(is_other, _)| *is_other);
    let links: Vec<_> = links.into_iter().map(|(_, link)| link).collect();
    (!links.is_empty()).then(|| links.join(", "))
}

/// Moves a URL from the issuer's origin to ours; any other is left as it is.
#[must_use]
pub fn moved(url: &str, origin: &str, own: &str) -> String {
    match url.split_at_checked(origin.len()) {
        Some((start, rest))
            if start.eq_ignore_ascii_case(origin)
                && (rest.is_empty() || rest.starts_with(['/', '?', '#'])) =>
        {
            format!("{own}{rest}")
        }
        // A relative one becomes whole: some clients follow it verbatim.
        _ if url.starts_with('/') && !url.starts_with("//") => format!("{own}{url}"),
        _ => url.to_owned(),
    }
}

/// Finds where the first link of a relation leads, as `next`; relations compare without case.
#[must_use]
pub fn target<'a>(links: &'a str, relation: &str) -> Option<&'a str> {
    let mut links = split(links).into_iter().filter_map(Link::parse);
    links.find(|link| link.has(relation)).map(|link| link.target)
}

struct Link<'a> {
    target: &'a str,
    /// The parameters, from the first semicolon on.
    rest: &'a str,
}

impl<'a> Link<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (target, rest) = text.trim().strip_prefix('<')?.split_once('>')?;
        let rest = rest.trim();
        (rest.is_empty() || rest.starts_with(';')).then_some(Self { target, rest })
    }

    fn has(&self, relation: &str) -> bool {
        outside_quotes(self.rest, ';').into_iter().any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return false };
            let is_rel = name.trim().eq_ignore_ascii_case("rel");
            let value = value.trim().trim_matches('"');
            is_rel && value.split_whitespace().any(|rel| rel.eq_ignore_ascii_case(relation))
        })
    }
}

/// Splits at commas that are neither inside `<…>` nor inside quotes.
fn split(links: &str) -> Vec<&str> {
    outside_quotes(links, ',')
}

fn outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut bracketed, mut escaped) = (false, false, false);
    text.split(move |letter| {
        let is_escaped = std::mem::take(&mut escaped);
        match letter {
            '\\' if quoted && !is_escaped => escaped = true,
            '"' if !bracketed && !is_escaped => quoted = !quoted,
            '<' if !quoted => bracketed = true,
            '>' => bracketed = false,
            _ => return letter == separator && !quoted && !bracketed,
        }
        false
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://acme.pam.okta.com";
    const OWN: &str = "http://localhost:8420";

    fn rewritten(links: &str) -> Option<String> {
        rewrite(links, ISSUER, OWN)
    }

    #[test]
    fn next_comes_first_and_parameters_stay() {
        let prev = format!("<{ISSUER}/x?prev=1&count=3>; rel=\"prev\"; title=\"a, b; c\"");
        let next = format!("<{ISSUER}/x?offset=7&count=3>;rel=next");
        let expected = format!(
            "<{OWN}/x?offset=7&count=3>;rel=next, \
             <{OWN}/x?prev=1&count=3>; rel=\"prev\"; title=\"a, b; c\""
        );
        assert_eq!(rewritten(&format!("{prev}, {next}")), Some(expected.clone()));
        assert_eq!(rewritten(&format!("{next} ,{prev}")), Some(expected));
    }

    #[test]
    fn commas_inside_are_no_borders() {
        let link = format!("<{ISSUER}/x?contains=a,b>; rel=\"next\"; title=\"\\\",\"");
        let expected = format!("<{OWN}/x?contains=a,b>; rel=\"next\"; title=\"\\\",\"");
        assert_eq!(rewritten(&link), Some(expected));
    }

    #[test]
    fn quotes_and_backslashes_keep_to_their_places() {
        for (links, count) in [
            (r#"</a>; t="<", </b>"#, 2),
            (r#"</a>; t=">", </b>"#, 2),
            (r#"</a>; t="x\\", </b>"#, 2),
            (r#"</a>; t="x\", </b>"#, 1),
            (r#"</a>; t=\"b, c", </d>"#, 2),
        ] {
            let found = rewritten(links).expect("one at least").matches(OWN).count();
            assert_eq!(found, count, "{links}");
        }
    }

    #[test]
    fn what_is_no_link_is_left_out() {
        for links in ["", "x", "<x", "<x> y", ","] {
            assert_eq!(rewritten(links), None, "{links}");
        }
        assert_eq!(rewritten("x, </y>; rel=next"), Some(format!("<{OWN}/y>; rel=next")));
    }

    // fault 287
    #[test]
    fn only_the_issuers_own_urls_move() {
        let table = [
            ("https://acme.pam.okta.com/x", "http://localhost:8420/x"),
            ("HTTPS://ACME.pam.okta.com/x", "http://localhost:8420/x"),
            ("https://acme.pam.okta.com", "http://localhost:8420"),
            ("https://acme.pam.okta.com?x", "http://localhost:8420?x"),
            ("https://acme.pam.okta.com.evil/x", "https://acme.pam.okta.com.evil/x"),
            ("https://acme.pam.okta.com:444/x", "https://acme.pam.okta.com:444/x"),
            ("https://acme.pam.okta.com@evil/x", "https://acme.pam.okta.com@evil/x"),
            ("https://evil/x", "https://evil/x"),
            ("//evil/x", "//evil/x"),
            ("/v1/teams/acme/x", "http://localhost:8420/v1/teams/acme/x"),
        ];
        for (url, expected) in table {
            assert_eq!(moved(url, ISSUER, OWN), expected);
        }
    }

    #[test]
    fn the_target_of_a_relation_is_found() {
        let links = r#"<a,b>; title="rel=next", </p>; rel="x PREV", <>; rel=next, </z>; rel=next"#;
        assert_eq!(target(links, "next"), Some(""));
        assert_eq!(target(links, "prev"), Some("/p"));
        assert_eq!(target(links, "last"), None);
        assert_eq!(target("", "next"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_read_or_left_out(links in "[<>,;=\"\\\\a-z/ ]{0,40}") {
            let _links = rewritten(&links);
        }
    }
}
