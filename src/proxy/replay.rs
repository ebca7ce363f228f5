//! What may be sent a second time after a 401: one table.
//!
//! A call is repeated only if repeating it is harmless even should the first one have been carried
//! out, and only if every byte of it is still at hand (fault 286).

use http::Method;

use super::{path::Path, rules::could_mean};

/// Tells whether a call may be repeated; `buffered` says that its whole body is at hand.
///
/// | method | path | with its body at hand | else |
/// | --- | --- | --- | --- |
/// | any | `…/keys/…`, `…/keys` by POST | no: each rotates | no |
/// | GET, HEAD | any | yes | no |
/// | PUT, DELETE | any other | yes: idempotent (RFC 9110 section 9.2.2) | no |
/// | POST, PATCH | any | no | no |
#[must_use]
pub fn may_repeat(method: &Method, path: &Path, buffered: bool) -> bool {
    let is_idempotent = [Method::GET, Method::HEAD, Method::PUT, Method::DELETE].contains(method);
    let is_of_keys = path.segments.iter().any(|segment| could_mean(segment, "keys"));
    buffered && is_idempotent && (method.is_safe() || !is_of_keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    // fault 286
    #[test]
    fn the_table_row_by_row() {
        let table = [
            (Method::GET, "/service_users", true),
            (Method::HEAD, "/service_users", true),
            (Method::GET, "/service_users/robot/keys", true),
            (Method::PUT, "/service_users/robot", true),
            (Method::DELETE, "/projects/x", true),
            (Method::POST, "/service_users", false),
            (Method::PATCH, "/projects/x", false),
            (Method::POST, "/service_users/robot/keys", false),
            (Method::POST, "/service_users/robot/KEYS", false),
            (Method::PUT, "/service_users/robot/keys", false),
            (Method::PUT, "/service_users/robot/keys;x", false),
            (Method::DELETE, "/service_users/robot/keys/1", false),
        ];
        for (method, below, expected) in table {
            let path = Path::parse(&format!("/v1/teams/acme{below}")).expect("clean");
            assert_eq!(may_repeat(&method, &path, true), expected, "{method} {below}");
            assert!(!may_repeat(&method, &path, false), "{method} {below} half at hand");
        }
    }
}
