//! Holds `config/openapi.yaml` to the code, both ways: paths, methods, parameters, formats, problems.
//!
//! What the running daemon answers is held to it by `tests/openapi/check`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use http::Request;
use serde_json::Value;

use super::{
    problem::Kind,
    query::Parameter,
    routes::{self, READS, allow},
    telemetry,
};
use crate::{telemetry::metrics::Endpoint, token::format::Format};

/// The methods that a path item may have.
const METHODS: [&str; 8] = ["get", "head", "post", "put", "patch", "delete", "options", "trace"];
/// The one path among Okta's that is answered here.
const MINT: &str = "/v1/teams/{team}/service_token";

fn file() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/openapi.yaml");
    let text = fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// Follows a reference within the file, if there is one.
fn follow<'a>(file: &'a Value, node: &'a Value) -> &'a Value {
    let Some(reference) = node["$ref"].as_str() else {
        return node;
    };
    let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} is elsewhere"));
    file.pointer(pointer).unwrap_or_else(|| panic!("{reference} is not there"))
}

fn members(node: &Value) -> impl Iterator<Item = (&str, &Value)> {
    node.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// Every operation of the file: path, method, what is said of it.
fn operations(file: &Value) -> Vec<(&str, &str, &Value)> {
    let items = members(&file["paths"]);
    let all = items.flat_map(|(path, item)| {
        members(item)
            .filter(|(name, _)| METHODS.contains(name))
            .map(move |(method, operation)| (path, method, operation))
    });
    all.collect()
}

/// The path with something in its holes.
fn filled(path: &str) -> String {
    path.replace("{rest}", "a/b").replace("{team}", "acme")
}

#[test]
fn every_endpoint_is_there_and_no_other() {
    let file = file();
    let mut local = Vec::new();
    let mut of_telemetry = Vec::new();
    for (path, _) in members(&file["paths"]) {
        let at = (routes::Endpoint::at(&filled(path)), telemetry::Endpoint::at(path));
        match at {
            (routes::Endpoint::Other, telemetry::Endpoint::Other) => panic!("{path} is nowhere"),
            (routes::Endpoint::Other, endpoint) => of_telemetry.push(endpoint),
            (endpoint, _) => local.push(endpoint),
        }
        let is_elsewhere = file["paths"][path]["servers"].is_array();
        assert_eq!(is_elsewhere, at.0 == routes::Endpoint::Other, "the servers of {path}");
    }
    for endpoint in routes::Endpoint::ALL {
        let is_there = local.contains(endpoint);
        assert_eq!(is_there, *endpoint != routes::Endpoint::Other, "{endpoint:?}");
    }
    for endpoint in telemetry::Endpoint::ALL {
        let is_there = of_telemetry.contains(endpoint);
        assert_eq!(is_there, *endpoint != telemetry::Endpoint::Other, "{endpoint:?}");
    }
}

#[test]
fn every_method_is_there_and_no_other() {
    let file = file();
    let operations = operations(&file);
    for (path, item) in members(&file["paths"]) {
        let taken = match routes::Endpoint::at(&filled(path)) {
            routes::Endpoint::Proxy => Some("POST"),
            // All of telemetry is only read.
            routes::Endpoint::Other => Some(READS),
            endpoint => endpoint.methods(),
        };
        for method in METHODS {
            let request = Request::builder().method(&*method.to_uppercase()).body(()).unwrap();
            let is_taken = taken.is_none_or(|taken| allow(&request, taken).is_ok());
            assert_eq!(item.get(method).is_some(), is_taken, "{method} {path}");
        }
        let answers_405 = operations
            .iter()
            .filter(|(its, ..)| *its == path)
            .map(|(_, _, operation)| operation["responses"].get("405").is_some());
        assert!(answers_405.into_iter().all(|it| it == taken.is_some()), "405 of {path}");
        let allowed = &file["components"]["headers"]["Allow"]["schema"]["enum"];
        let is_named = |taken: &str| allowed.as_array().unwrap().contains(&taken.into());
        assert!(taken.is_none_or(is_named), "Allow of {path}");
    }
}

/// What an operation takes in its query: its own parameters and those of its path.
fn query_of<'a>(file: &'a Value, path: &str, operation: &'a Value) -> BTreeSet<&'a str> {
    [&operation["parameters"], &file["paths"][path]["parameters"]]
        .into_iter()
        .filter_map(Value::as_array)
        .flatten()
        .map(|parameter| follow(file, parameter))
        .filter(|parameter| parameter["in"] == "query")
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect()
}

#[test]
fn every_parameter_is_there_and_no_other() {
    let file = file();
    for (path, method, operation) in operations(&file) {
        let said = query_of(&file, path, operation);
        let known = match routes::Endpoint::at(&filled(path)) {
            routes::Endpoint::Other if ["/", "/metrics"].contains(&path) => BTreeSet::new(),
            routes::Endpoint::Other => BTreeSet::from(["verbose"]),
            endpoint => {
                let known = endpoint.parameters().unwrap_or_default();
                known.iter().copied().map(Parameter::name).collect()
            }
        };
        assert_eq!(said, known, "{method} {path}");
    }
}

#[test]
fn every_format_is_there_and_no_other() {
    let file = file();
    let schema = &file["components"]["parameters"]["format"]["schema"];
    let names: Vec<_> = Format::ALL.into_iter().map(Format::name).collect();
    assert_eq!(schema["enum"], serde_json::json!(names));
    assert_eq!(schema["default"], Format::default().name());
    let content = &file["components"]["responses"]["Token"]["content"];
    for format in Format::ALL {
        let media_type = format.media_type().split(';').next().unwrap();
        let example = &content[media_type]["examples"][format.name()];
        assert!(!example["value"].is_null(), "an example of {format:?}");
    }
}

/// The problems that a response may be, as type, status and title.
fn problems(response: &Value) -> Vec<(String, u64, String)> {
    let parts = response["content"]["application/problem+json"]["schema"]["allOf"].as_array();
    let Some([base, one]) = parts.map(Vec::as_slice) else {
        return Vec::new();
    };
    assert_eq!(base["$ref"], "#/components/schemas/Problem");
    let all = one["oneOf"].as_array().cloned().unwrap_or_else(|| vec![one.clone()]);
    let text = |node: &Value| node.as_str().unwrap().to_owned();
    let read = |one: Value| {
        let of = |name: &str| one["properties"][name]["const"].clone();
        (text(&of("type")), of("status").as_u64().unwrap(), text(&of("title")))
    };
    all.into_iter().map(read).collect()
}

#[test]
fn every_problem_is_there_with_its_status_and_title_and_no_other() {
    let file = file();
    let expected: BTreeSet<_> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let (status, slug, title) = kind.parts();
            let r#type = format!("urn:bearerd:problem:{slug}");
            (r#type, u64::from(status.as_u16()), title.to_owned())
        })
        .collect();
    assert_eq!(expected.len(), Kind::ALL.len());
    let responses = members(&file["components"]["responses"]);
    let said: BTreeSet<_> = responses.flat_map(|(_, response)| problems(response)).collect();
    assert_eq!(said, expected);
}

#[test]
fn every_answer_stands_under_its_own_status_and_is_used() {
    let file = file();
    let mut used = BTreeSet::new();
    for (path, method, operation) in operations(&file) {
        for (status, response) in members(&operation["responses"]) {
            used.extend(response["$ref"].as_str().map(str::to_owned));
            let response = follow(&file, response);
            for (_, its, _) in problems(response) {
                assert_eq!(its.to_string(), status, "{method} {path}");
            }
            check_headers(&file, status, response);
        }
    }
    let defined = members(&file["components"]["responses"]);
    let defined: BTreeSet<_> =
        defined.map(|(name, _)| format!("#/components/responses/{name}")).collect();
    assert_eq!(used, defined);
}

/// Those that each answer has, and those that come with a status.
fn check_headers(file: &Value, status: &str, response: &Value) {
    let headers: BTreeMap<_, _> = members(&response["headers"]).collect();
    let has = |name: &str| headers.get(name).is_some_and(|it| follow(file, it)["required"] == true);
    // hyper itself answers so, and nothing else.
    let is_ours = status != "431";
    assert!(headers.keys().all(|name| has(name)), "{headers:?}");
    assert_eq!(has("Cache-Control") && has("X-Content-Type-Options"), is_ours, "{response}");
    let is_okta = !response["content"]["application/json"].is_null();
    let text = !response["content"]["text/plain"].is_null();
    assert_eq!(has("Retry-After"), ["429", "503"].contains(&status) && !text, "{response}");
    assert_eq!(has("Allow"), status == "405", "{response}");
    assert_eq!(has("WWW-Authenticate"), status == "401" && !is_okta, "{response}");
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk<'a>(node: &'a Value, found: &mut Vec<&'a str>) {
        match node {
            Value::Object(members) => {
                found.extend(node["$ref"].as_str());
                members.values().for_each(|member| walk(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            _ => {}
        }
    }
    let file = file();
    let mut found = Vec::new();
    walk(&file, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        assert!(file.pointer(&reference[1..]).is_some(), "{reference}");
    }
}

#[test]
fn it_is_of_this_version_and_names_each_operation_once() {
    let file = file();
    assert_eq!(file["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(file["info"]["license"]["identifier"], env!("CARGO_PKG_LICENSE"));
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&file) {
        // What takes any method says the same of each.
        let named = operation["operationId"].as_str();
        assert!(
            named.map_or(path.starts_with("/v1/auth"), |name| names.insert(name)),
            "{method} {path}"
        );
    }
    assert!(file["paths"].get(MINT).is_some());
}
