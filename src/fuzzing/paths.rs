//! Paths, rules, links and queries: what is read once must not be read otherwise by the next.

use crate::{
    local::query::{self, Parameter},
    proxy::{
        link,
        path::{Path, encoded},
        rules::{Rule, Rules},
    },
};

const ORIGIN: &str = "https://acme.pam.okta.com";
const OWN: &str = "http://localhost:8420";

/// A line each: the path, a rule, a list of links, a query (faults 57, 144, 285, 287).
pub(super) fn okta_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    check_path(line(), line());
    check_links(line());
    check_query(line());
}

fn check_path(raw: &str, rule: &str) {
    let Ok(path) = Path::parse(raw) else { return };
    assert!(raw.starts_with("/v1/teams/") && !path.segments.is_empty());
    for segment in path.segments.iter().chain([&path.team]) {
        assert!(!segment.is_empty() && segment != "." && segment != "..");
        assert!(!segment.contains(['/', '\\', '%', '\r', '\n', '\0']), "{segment:?}");
    }
    let written = path.encode(&path.team);
    assert!(written.bytes().all(|byte| byte.is_ascii_graphic()), "{written}");
    assert!(!written.contains(['?', '#', ';', '"', '<']) && !written.contains("//"), "{written}");
    assert!(written.parse::<http::Uri>().is_ok_and(|uri| uri.path() == written));
    let again = Path::parse(&written).expect("what is written is clean");
    assert_eq!(again, path, "what the issuer gets is what was judged");
    check_rules(&path, rule);
}

fn check_rules(path: &Path, rule: &str) {
    let ends = ["keys", "service_token"];
    let guarded =
        path.segments.iter().any(|segment| ends.iter().any(|it| segment.eq_ignore_ascii_case(it)));
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
        assert!(!(guarded && Rules::default().allow(method, path)), "{method} {path:?}");
    }
    let Ok(parsed) = rule.parse::<Rule>() else { return };
    let spells = ends.iter().any(|end| rule.to_ascii_lowercase().contains(end));
    let rules = Rules::new(vec![parsed]);
    for method in ["GET", "DELETE"] {
        assert!(spells || !(guarded && rules.allow(method, path)), "{rule} lets {path:?} pass");
    }
}

fn check_links(links: &str) {
    let Some(line) = link::rewrite(links, ORIGIN, OWN) else { return };
    assert!(line.starts_with('<') && !line.contains('\n'), "{line}");
    if let Some(next) = link::target(links, "next") {
        let moved = link::moved(next, ORIGIN, OWN);
        assert!(line.starts_with(&format!("<{moved}>")), "next is the first: {line}");
        assert!(!moved.starts_with(&format!("{ORIGIN}/")), "{moved}");
    }
}

fn check_query(text: &str) {
    use Parameter::{Credential, Format, MinTtl, Wait};
    let all = [Credential, Format, MinTtl, Wait];
    let read = query::parse(Some(text), &all);
    assert_eq!(read, query::parse(Some(text), &all));
    match read {
        Ok(query) => {
            assert!(query.wait.is_none_or(|wait| wait.as_secs() <= 600));
            let names = text.split('&').filter(|pair| !pair.is_empty()).count();
            assert!(names <= all.len(), "each once");
        }
        Err(problem) => super::text::check_sentence(&problem.detail),
    }
    assert!(encoded(text).bytes().all(|byte| byte.is_ascii_graphic()));
}
