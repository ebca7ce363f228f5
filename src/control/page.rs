//! The status page: HTML of our own making, without scripts, for a browser or a screen reader.
//!
//! Names and reasons come from the configuration and from strangers; all of them pass `Html::text`.

mod plot;

use std::fmt::Write;

use super::{
    history::Counts,
    span::span,
    status::{Credential, Listener, Sink, State, Status},
};
use crate::token::timing::Wall;

const STYLE: &str = include_str!("page/style.css");

/// Draws how everything stands; `minutes` are the last ones, the newest last.
#[must_use]
pub fn draw(status: &Status, minutes: &[Counts], now: Wall) -> String {
    let mut page = Html(String::with_capacity(16 * 1024));
    let word = if status.ready { "ready" } else { "not ready" };
    page.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n");
    page.raw(&format!(
        "<title>bearerd: {word}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    ));
    head(&mut page, status, word, now);
    page.raw("<main>\n");
    reload(&mut page, status);
    credentials(&mut page, &status.credentials);
    plot::draw(&mut page, minutes);
    listeners(&mut page, &status.listeners);
    sinks(&mut page, &status.sinks);
    page.raw("</main>\n</body>\n</html>\n");
    page.0
}

/// Holds a page that is being written.
struct Html(String);

impl Html {
    /// Adds our own markup.
    fn raw(&mut self, markup: &str) {
        self.0.push_str(markup);
    }

    /// Adds anybody's text: nothing in it is markup, and it turns nothing around it.
    fn text(&mut self, text: &str) {
        self.0.push_str("<bdi>");
        self.escaped(text);
        self.0.push_str("</bdi>");
    }

    fn escaped(&mut self, text: &str) {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                letter if letter.is_control() => self.0.push(char::REPLACEMENT_CHARACTER),
                letter => self.0.push(letter),
            }
        }
    }

    /// Adds a cell whose head is repeated before it where the page is narrow.
    fn cell(&mut self, head: &str, class: &str, fill: impl FnOnce(&mut Self)) {
        // Writing to a string cannot fail.
        write!(self.0, "<td role=\"cell\" data-head=\"{head}\" class=\"{class}\">").ok();
        self.raw("<div>");
        fill(self);
        self.raw("</div></td>");
    }

    fn count(&mut self, head: &str, count: u64) {
        self.cell(head, "number", |page| page.raw(&count.to_string()));
    }

    /// Begins a table; roles are written out because a narrow page takes the looks of one away.
    fn table(&mut self, caption: &str, heads: &[&str]) {
        self.raw(&format!("<table role=\"table\">\n<caption>{caption}</caption>\n"));
        self.raw("<thead role=\"rowgroup\"><tr role=\"row\">");
        for head in heads {
            self.raw(&format!("<th role=\"columnheader\" scope=\"col\">{head}</th>"));
        }
        self.raw("</tr></thead>\n<tbody role=\"rowgroup\">\n");
    }

    /// Begins a row with the name of what it is about.
    fn row(&mut self, name: &str) {
        self.raw("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">");
        self.text(name);
        self.raw("</th>");
    }

    fn end_row(&mut self) {
        self.raw("</tr>\n");
    }

    fn end_table(&mut self) {
        self.raw("</tbody>\n</table>\n");
    }
}

fn head(page: &mut Html, status: &Status, word: &str, now: Wall) {
    let class = if status.ready { "good" } else { "bad" };
    page.raw("<header>\n<h1>bearerd</h1>\n");
    page.raw(&format!("<p class=\"state {class}\">{word}</p>\n<p class=\"facts\">version "));
    page.text(&status.version);
    let (up, pid) = (span(status.uptime), status.pid);
    page.raw(&format!(", up {up}, process {pid}, as of <time>{now}</time></p>\n</header>\n"));
}

fn reload(page: &mut Html, status: &Status) {
    let Some(refused) = &status.refused_reload else { return };
    page.raw("<section aria-labelledby=\"reload\" class=\"notice\">\n");
    page.raw("<h2 id=\"reload\">The configuration on the disk is not in force</h2>\n<p>");
    page.raw("The reload of ");
    page.text(&refused.at);
    page.raw(" was refused: ");
    page.text(&refused.problem);
    page.raw("</p>\n</section>\n");
}

fn credentials(page: &mut Html, credentials: &[Credential]) {
    page.raw(
        "<section aria-labelledby=\"credentials\">\n<h2 id=\"credentials\">Credentials</h2>\n",
    );
    let heads = ["Name", "State", "Life left", "Token age", "Next mint", "Key", "Mints", "Failed"];
    page.table("How each token and its key stand", &heads);
    for credential in credentials {
        self::credential(page, credential);
    }
    page.end_table();
    for credential in credentials {
        troubles(page, credential);
    }
    page.raw("</section>\n");
}

fn credential(page: &mut Html, credential: &Credential) {
    let class = match credential.state {
        State::Valid => "good",
        State::Failing => "odd",
        State::NoToken | State::NoKey => "bad",
    };
    page.row(&credential.name);
    page.cell("State", class, |page| {
        page.raw(credential.state.word());
        if !credential.required {
            page.raw("<small>not required</small>");
        }
    });
    page.cell("Life left", "life", |page| life(page, credential));
    let next = match (&credential.key_id, credential.next_refresh_in) {
        (None, _) => "none".to_owned(),
        (Some(_), None) => "now".to_owned(),
        (Some(_), Some(wait)) => format!("in {}", span(wait)),
    };
    let age = credential.token_age.map_or_else(|| "none".to_owned(), span);
    page.cell("Token age", "", |page| page.raw(&age));
    page.cell("Next mint", "", |page| page.raw(&next));
    page.cell("Key", "", |page| match (&credential.key_id, credential.key_age) {
        (Some(id), Some(age)) => {
            page.text(id.split('-').next().unwrap_or(id));
            page.raw(&format!("… <small>for {}</small>", span(age)));
        }
        _ => page.raw("none"),
    });
    page.count("Mints", credential.refreshes);
    page.count("Failed", credential.failures);
    page.end_row();
}

fn life(page: &mut Html, credential: &Credential) {
    let (Some(left), Some(whole)) = (credential.expires_in, credential.lifetime) else {
        return page.raw("none");
    };
    let (life, of) = (span(left), span(whole));
    page.raw(&format!(
        "<meter min=\"0\" max=\"{whole}\" value=\"{left}\">{life} of {of}</meter> {life} \
         <small>of {of}</small>"
    ));
}

fn troubles(page: &mut Html, credential: &Credential) {
    let troubles = credential.troubles();
    if troubles.is_empty() {
        return;
    }
    page.raw("<div class=\"notice\"><h3>");
    page.text(&credential.name);
    page.raw("</h3><ul>");
    for trouble in troubles {
        page.raw("<li>");
        page.text(&trouble);
        page.raw("</li>");
    }
    page.raw("</ul></div>\n");
}

fn listeners(page: &mut Html, listeners: &[Listener]) {
    page.raw("<section aria-labelledby=\"listeners\">\n<h2 id=\"listeners\">Listeners</h2>\n");
    let heads = ["Name", "Open", "Requests", "Refused", "Address"];
    page.table("Open connections, and requests since the start", &heads);
    for listener in listeners {
        page.row(&listener.name);
        page.count("Open", listener.connections);
        page.count("Requests", listener.requests);
        page.count("Refused", listener.denied);
        page.cell("Address", "address", |page| {
            for address in &listener.addresses {
                page.raw("<div>");
                page.text(address);
                page.raw("</div>");
            }
        });
        page.end_row();
    }
    page.end_table();
    page.raw("</section>\n");
}

fn sinks(page: &mut Html, sinks: &[Sink]) {
    if sinks.is_empty() {
        return;
    }
    page.raw("<section aria-labelledby=\"sinks\">\n<h2 id=\"sinks\">Sinks</h2>\n");
    page.table("Files that hold the token", &["Name", "State"]);
    for sink in sinks {
        page.row(&sink.name);
        page.cell("State", if sink.good { "address" } else { "address odd" }, |page| {
            page.text(&sink.reason);
        });
        page.end_row();
    }
    page.end_table();
    page.raw("</section>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::{LastError, RefusedReload};

    const EVIL: &str = "</bdi><script>alert(1)</script>\"' onload='x\u{0}\u{1b}[31m &amp;";

    fn evil_status() -> Status {
        let evil = || EVIL.to_owned();
        let error = LastError { reason: evil(), problem: evil(), at: evil(), times: 3 };
        Status {
            version: evil(),
            pid: 7,
            uptime: 3_700,
            ready: false,
            refused_reload: Some(RefusedReload { at: evil(), problem: evil() }),
            credentials: vec![Credential {
                name: evil(),
                team_name: evil(),
                required: false,
                state: State::Failing,
                token_id: Some(evil()),
                token_age: Some(600),
                expires_at: Some(evil()),
                expires_in: Some(3_000),
                lifetime: Some(3_600),
                next_refresh_in: Some(20),
                refreshes: 2,
                failures: 1,
                key_id: Some(evil()),
                key_age: Some(90_000),
                candidate_key_id: Some(evil()),
                candidate_error: Some(error.clone()),
                key_trouble: Some(evil()),
                key_expires_at: None,
                next_rotation_in: None,
                rotation_trouble: None,
                last_error: Some(error),
            }],
            listeners: vec![Listener {
                name: evil(),
                addresses: vec![evil()],
                connections: 1,
                requests: 2,
                denied: 3,
            }],
            sinks: vec![Sink { name: evil(), path: evil(), good: false, reason: evil() }],
        }
    }

    fn page() -> String {
        draw(&evil_status(), &[], Wall::from_seconds(1_769_846_400))
    }

    #[test]
    fn no_name_and_no_reason_is_markup() {
        let page = page();
        assert!(!page.contains("<script") && !page.contains("\" onload"), "{page}");
        assert!(!page.contains("' onload") && !page.contains('\u{0}') && !page.contains('\u{1b}'));
        let safe = "&lt;/bdi&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39; onload=&#39;x";
        assert!(page.matches(safe).count() >= 12, "{page}");
        assert!(page.contains("&amp;amp;"), "what looks escaped is text, too");
    }

    #[test]
    fn every_tag_that_is_opened_is_closed() {
        let page = page();
        let body = page.split_once("<body>").unwrap().1;
        for tag in ["table", "tr", "td", "th", "section", "bdi", "div", "ul", "li", "p", "main"] {
            let (opened, closed) = (format!("<{tag}"), format!("</{tag}>"));
            let is_whole = |rest: &str| rest.starts_with([' ', '>']);
            let opened = body.split(&opened).skip(1).filter(|rest| is_whole(rest)).count();
            assert_eq!(opened, body.matches(&closed).count(), "{tag}");
        }
    }

    #[test]
    fn what_is_to_be_looked_at_is_there() {
        let page = page();
        for word in ["not ready", "Life left", "50m of 1h", "in 20s", "not required", "1d 1h"] {
            assert!(page.contains(word), "{word}: {page}");
        }
        assert!(page.contains("not in force") && page.contains("(3 times, last at"));
    }
}
