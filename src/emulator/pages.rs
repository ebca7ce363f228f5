//! Lists in pages, and the `Link` header that leads from one to the next.

use http::{HeaderValue, StatusCode, header};
use reqwest::Url;
use serde::Serialize;

use super::{
    answer::{Answer, Kind, Refusal, json},
    call::Call,
    options::LinkForm,
};

const DEFAULT_COUNT: usize = 100;
const MAX_COUNT: usize = 1000;

/// Says which page is asked for.
pub(super) struct Paging<'a> {
    count: usize,
    /// Id that the page begins after, or with `is_backward` ends before.
    offset: Option<&'a str>,
    is_backward: bool,
    is_descending: bool,
}

impl<'a> Paging<'a> {
    /// Reads `count`, `offset`, `prev` and `descending`.
    pub(super) fn of(call: &'a Call) -> Result<Self, Refusal> {
        Ok(Self {
            count: count(call.parameter("count"))?,
            offset: call.parameter("offset").filter(|offset| !offset.is_empty()),
            is_backward: flag(call.parameter("prev"))?,
            is_descending: flag(call.parameter("descending"))?,
        })
    }
}

fn count(text: Option<&str>) -> Result<usize, Refusal> {
    let Some(text) = text else {
        return Ok(DEFAULT_COUNT);
    };
    let count = text.parse().ok().filter(|count| *count > 0);
    count.map(|count: usize| count.min(MAX_COUNT)).ok_or_else(|| invalid("count"))
}

fn flag(text: Option<&str>) -> Result<bool, Refusal> {
    text.map_or(Ok(false), |text| text.parse().map_err(|_| invalid("prev or descending")))
}

fn invalid(name: &str) -> Refusal {
    Refusal::new(Kind::InvalidRequest, format!("The value of {name} makes no sense"))
}

/// Holds one page, and the ids that lead to its neighbours.
#[derive(Debug, PartialEq, Eq)]
struct Page<T> {
    items: Vec<T>,
    /// `offset` of the next page.
    next: Option<String>,
    /// `offset`, with `prev`, of the page before.
    prev: Option<String>,
}

/// Cuts a page out of `items`, which are in the order of their ids.
///
/// An offset need not be the id of an item: the page begins where it would stand.
fn cut<T>(mut items: Vec<T>, id: impl Fn(&T) -> &str, paging: &Paging<'_>) -> Page<T> {
    if paging.is_descending {
        items.reverse();
    }
    let is_before = |one: &str, other: &str| {
        if paging.is_descending { one > other } else { one < other }
    };
    let (start, end) = match paging.offset {
        Some(offset) if paging.is_backward => {
            let end = items.partition_point(|item| is_before(id(item), offset));
            (end.saturating_sub(paging.count), end)
        }
        Some(offset) => {
            let start = items.partition_point(|item| !is_before(offset, id(item)));
            (start, items.len().min(start + paging.count))
        }
        None => (0, items.len().min(paging.count)),
    };
    let is_last = end == items.len();
    let items: Vec<_> = items.drain(start..end).collect();
    let edge = |item: Option<&T>| item.map(|item| id(item).to_owned());
    Page {
        next: edge(items.last()).filter(|_| !is_last),
        prev: edge(items.first()).filter(|_| start > 0),
        items,
    }
}

/// Answers with one page of `items`, which are in the order of their ids.
///
/// Links begin with `origin`, unless they are to be relative.
pub(super) fn answer<T, S: Serialize>(
    items: Vec<T>,
    id: impl Fn(&T) -> &str,
    show: impl Fn(&T) -> S,
    call: &Call,
    links: Links<'_>,
) -> Result<Answer, Refusal> {
    let page = cut(items, id, &Paging::of(call)?);
    let list: Vec<_> = page.items.iter().map(show).collect();
    let mut answer = json(StatusCode::OK, &serde_json::json!({ "list": list }));
    if let Some(link) = links.header(&page, call) {
        answer.headers_mut().insert(header::LINK, link);
    }
    Ok(answer)
}

/// Says how links to other pages are written.
#[derive(Clone, Copy)]
pub(super) struct Links<'a> {
    pub(super) origin: &'a Url,
    pub(super) form: LinkForm,
}

impl Links<'_> {
    /// Writes one header line, `next` first, as some clients read only that.
    fn header<T>(self, page: &Page<T>, call: &Call) -> Option<HeaderValue> {
        let next =
            page.next.as_ref().map(|id| format!("<{}>; rel=\"next\"", self.to(id, false, call)));
        let prev =
            page.prev.as_ref().map(|id| format!("<{}>; rel=\"prev\"", self.to(id, true, call)));
        let links: Vec<_> = next.into_iter().chain(prev).collect();
        (!links.is_empty())
            .then(|| HeaderValue::try_from(links.join(", ")).expect("a URL is plain text"))
    }

    /// Writes the address of a page, with `count` and the filters of this one.
    fn to(self, offset: &str, is_backward: bool, call: &Call) -> String {
        let mut url = self.origin.clone();
        url.set_path(&call.path);
        let kept = call.query.iter().filter(|(name, _)| name != "offset" && name != "prev");
        url.query_pairs_mut().extend_pairs(kept).append_pair("offset", offset);
        if is_backward {
            url.query_pairs_mut().append_pair("prev", "true");
        }
        match self.form {
            LinkForm::Absolute => url.to_string(),
            LinkForm::Relative => format!("{}?{}", url.path(), url.query().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paging(count: usize, offset: Option<&str>) -> Paging<'_> {
        Paging { count, offset, is_backward: false, is_descending: false }
    }

    fn letters(letters: &str, paging: &Paging<'_>) -> (String, Option<String>, Option<String>) {
        let items = letters.split("").filter(|letter| !letter.is_empty()).collect();
        let page = cut(items, |item| item, paging);
        (page.items.concat(), page.next, page.prev)
    }

    fn page(
        items: &str,
        next: Option<&str>,
        prev: Option<&str>,
    ) -> (String, Option<String>, Option<String>) {
        (items.to_owned(), next.map(str::to_owned), prev.map(str::to_owned))
    }

    #[test]
    fn pages_follow_each_other_to_the_last() {
        assert_eq!(letters("abcde", &paging(2, None)), page("ab", Some("b"), None));
        assert_eq!(letters("abcde", &paging(2, Some("b"))), page("cd", Some("d"), Some("c")));
        assert_eq!(letters("abcde", &paging(2, Some("d"))), page("e", None, Some("e")));
        assert_eq!(letters("abcde", &paging(2, Some("e"))), page("", None, None));
        assert_eq!(letters("", &paging(2, None)), page("", None, None));
    }

    #[test]
    fn an_exact_multiple_has_no_empty_page_linked() {
        assert_eq!(letters("abcd", &paging(2, Some("b"))), page("cd", None, Some("c")));
    }

    #[test]
    fn an_offset_that_is_no_item_stands_where_it_would() {
        assert_eq!(letters("ace", &paging(1, Some("b"))), page("c", Some("c"), Some("c")));
    }

    #[test]
    fn pages_go_backward_and_in_reverse() {
        let back = |offset| Paging { is_backward: true, ..paging(2, offset) };
        assert_eq!(letters("abcde", &back(Some("e"))), page("cd", Some("d"), Some("c")));
        assert_eq!(letters("abcde", &back(Some("c"))), page("ab", Some("b"), None));
        let down = |offset| Paging { is_descending: true, ..paging(2, offset) };
        assert_eq!(letters("abcde", &down(None)), page("ed", Some("d"), None));
        assert_eq!(letters("abcde", &down(Some("d"))), page("cb", Some("b"), Some("c")));
        let both = Paging { is_backward: true, ..down(Some("b")) };
        assert_eq!(letters("abcde", &both), page("dc", Some("c"), Some("d")));
    }
}
