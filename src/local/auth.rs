//! `/v1/auth`: what a reverse proxy asks before it lets a request pass, and puts into it.
//!
//! Such a question carries the visitor's own method, path, query, headers and perhaps the length of
//! a body that never comes: nothing of it is looked at, and nothing is waited for (fault 141).

use bytes::Bytes;
use http::{HeaderValue, Response, header};

use super::{body::Body, problem::Problem, served::Served, token::no_token};

/// Where it is served, with all that a proxy may put behind.
const PATH: &str = "/v1/auth";

/// Tells whether a path is this one or below it, whatever comes there.
#[must_use]
pub(super) fn is_at(path: &str) -> bool {
    path.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers with the token of the listener's first credential, as a header.
pub(super) async fn answer(
    served: &Served,
    announces_body: bool,
) -> Result<Response<Body>, Problem> {
    let handle = served.credential(None)?;
    let found = handle.current_within(served.first_token_wait).await;
    let (published, _) = found.ok_or_else(|| no_token(handle))?;
    let mut response = Response::new(Body::from(Bytes::new()));
    response.headers_mut().clone_from(published.auth_headers());
    if announces_body {
        // What may still come of it is not to be taken for a request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_below_it_is_the_visitors() {
        for path in
            ["/v1/auth", "/v1/auth/", "/v1/auth/a/../..//b", "/v1/auth/%2e%2e", "/v1/auth//"]
        {
            assert!(is_at(path), "{path}");
        }
        for path in
            ["/v1/authx", "/v1/auth%2f", "/v1/AUTH", "//v1/auth", "/v1/aut", "/x/v1/auth", ""]
        {
            assert!(!is_at(path), "{path}");
        }
    }
}
