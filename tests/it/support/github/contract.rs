//! Requests against GitHub's description of its API (`tests/data/github-openapi.json`).

use std::sync::LazyLock;

use http::request::Parts;
use serde_json::Value;

static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/github-openapi.json");
    let text = std::fs::read_to_string(path).expect("GitHub's description is there");
    serde_json::from_str(&text).expect("GitHub's description is JSON")
});

/// Parameters that span several segments of a path.
const LONG: &[&str] = &["ref", "path"];

/// What is wrong with a request.
pub(super) fn violations(parts: &Parts, path: &str, body: &[u8]) -> Vec<String> {
    let name = format!("{} {path}", parts.method);
    let mut wrong = Vec::new();
    for header in ["user-agent", "accept"] {
        if parts.headers.get(header).is_none_or(|value| value.is_empty() || value == "*/*") {
            wrong.push(format!("{name}: no {header}"));
        }
    }
    if parts.headers.get("x-github-api-version").is_none_or(|version| version != "2022-11-28") {
        wrong.push(format!("{name}: no API version"));
    }
    if path == "/graphql" {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        if parts.method != "POST" || !body["query"].is_string() || !body["variables"].is_object() {
            wrong.push(format!("{name}: not a GraphQL request"));
        }
        return wrong;
    }
    let paths = DESCRIPTION["paths"].as_object().expect("paths");
    let found = paths.iter().find_map(|(template, item)| Some((arguments(template, path)?, item)));
    let Some((arguments, item)) = found else {
        wrong.push(format!("{name}: no such path"));
        return wrong;
    };
    let call = &item[parts.method.as_str().to_lowercase()];
    if call.is_null() {
        wrong.push(format!("{name}: no such method"));
        return wrong;
    }
    let query: Vec<(String, String)> = pairs(parts.uri.query().unwrap_or_default());
    let given = arguments.iter().map(|pair| ("path", pair)).chain(query.iter().map(|pair| ("query", pair)));
    for (place, (key, value)) in given {
        let parameter = call["parameters"].as_array().into_iter().flatten();
        match parameter.into_iter().find(|known| known["name"] == key.as_str() && known["in"] == place) {
            None => wrong.push(format!("{name}: no {place} parameter `{key}`")),
            Some(known) => {
                let value = typed(value, &known["schema"]);
                wrong.extend(against(&known["schema"], &value).map(|why| format!("{name}: `{key}`: {why}")));
            }
        }
    }
    let schema = &call["requestBody"]["content"]["application/json"]["schema"];
    match (schema.is_null(), body.is_empty()) {
        (true, true) => {}
        (true, false) => wrong.push(format!("{name}: a body, and none is documented")),
        (false, true) => wrong.push(format!("{name}: no body")),
        (false, false) => match serde_json::from_slice::<Value>(body) {
            Ok(body) => wrong.extend(against(schema, &body).map(|why| format!("{name}: body: {why}"))),
            Err(error) => wrong.push(format!("{name}: body: {error}")),
        },
    }
    wrong
}

fn against(schema: &Value, value: &Value) -> Option<String> {
    let validator = jsonschema::draft4::new(schema).expect("GitHub's schema is one");
    validator.iter_errors(value).next().map(|error| format!("{error} at `{}`", error.instance_path()))
}

/// A parameter's text as the type that is documented.
fn typed(text: &str, schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("integer") => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
        Some("boolean") => text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from),
        _ => Value::from(text),
    }
}

/// The path's parameters, where it has this template.
fn arguments(template: &str, path: &str) -> Option<Vec<(String, String)>> {
    let mut rest = path.split('/');
    let mut found = Vec::new();
    let mut parts = template.split('/').peekable();
    while let Some(part) = parts.next() {
        let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            if rest.next()? != part {
                return None;
            }
            continue;
        };
        let value = if parts.peek().is_none() && LONG.contains(&name) {
            rest.by_ref().collect::<Vec<_>>().join("/")
        } else {
            rest.next()?.to_owned()
        };
        if value.is_empty() {
            return None;
        }
        found.push((name.to_owned(), decoded(&value)));
    }
    rest.next().is_none().then_some(found)
}

/// The pairs of a query.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(k, v)| (decoded(k), decoded(v)))
        .collect()
}

/// Percent-encoded text as it was.
pub(super) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let byte = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
