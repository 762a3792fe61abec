//! The double's answers, one function a family of calls.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use super::REPOSITORY;
use super::contract::{decoded, pairs};
use super::state::{CommentRow, ID, State, id_of, number, user};

pub(super) type Answer = Response<Full<Bytes>>;

/// GitHub's limit.
const COMMENT_CHARS_MAX: usize = 65_536;

pub(super) fn set(answer: &mut Answer, name: &str, value: &str) {
    let name: HeaderName = name.parse().expect("a header's name");
    answer.headers_mut().insert(name, HeaderValue::from_str(value).expect("a header's value"));
}

fn with(status: u16, content_type: &str, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    set(&mut answer, header::CONTENT_TYPE.as_str(), content_type);
    answer
}

fn json_of(status: u16, value: &Value) -> Answer {
    with(status, "application/json; charset=utf-8", value.to_string().into_bytes())
}

pub(super) fn error(status: u16, message: &str) -> Answer {
    let url = "https://docs.github.com/rest";
    json_of(status, &json!({ "message": message, "documentation_url": url, "status": status.to_string() }))
}

fn not_found() -> Answer {
    error(404, "Not Found")
}

/// What was asked, in parts.
struct Asked<'a> {
    parts: &'a Parts,
    base: &'a str,
    /// Below the repository.
    path: &'a str,
    query: Vec<(String, String)>,
    body: Value,
}

impl Asked<'_> {
    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn raw(&self) -> bool {
        let accept = self.parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        accept.is_some_and(|accept| accept.contains("raw"))
    }

    /// A page of a list, and where the others are.
    fn page(&self, list: Vec<Value>) -> Answer {
        let asked = |name, usual| self.query(name).and_then(|text| text.parse().ok()).unwrap_or(usual);
        let (size, page): (usize, usize) = (asked("per_page", 30).clamp(1, 100), asked("page", 1).max(1));
        let (total, first) = (list.len(), (page - 1) * size);
        let shown: Vec<Value> = list.into_iter().skip(first).take(size).collect();
        let mut answer = json_of(200, &Value::from(shown));
        let last = total.div_ceil(size).max(1);
        if page < last {
            let link = |page, relation: &str| {
                let path = format!("{}/repositories/{ID}{}", self.base, self.path);
                format!("<{path}?per_page={size}&page={page}>; rel=\"{relation}\"")
            };
            set(&mut answer, "link", &format!("{}, {}", link(last, "last"), link(page + 1, "next")));
        }
        answer
    }
}

pub(super) fn route(
    state: &mut State,
    base: &str,
    parts: &Parts,
    path: &str,
    body: &[u8],
    stale: bool,
) -> Answer {
    let query = pairs(parts.uri.query().unwrap_or_default());
    let body = serde_json::from_slice(body).unwrap_or_default();
    if path == "/graphql" {
        return graphql(state, &body);
    }
    if path == "/user" {
        let bot = state.viewer.ends_with("[bot]");
        let refused = || error(403, "Resource not accessible by integration");
        return if bot { refused() } else { json_of(200, &user(&state.viewer)) };
    }
    let mut names = path.trim_start_matches("/repos/").splitn(3, '/');
    let name = format!("{}/{}", names.next().unwrap_or_default(), names.next().unwrap_or_default());
    let rest = names.next().map(|rest| format!("/{rest}")).unwrap_or_default();
    let asked = Asked { parts, base, path: &rest, query, body };
    if rest == "/activity" {
        let found = state.activity.get(&name).cloned();
        return found.map_or_else(not_found, |all| {
            let of = asked.query("ref").map(str::to_owned);
            asked
                .page(all.into_iter().filter(|one| of.as_deref().is_none_or(|of| one["ref"] == of)).collect())
        });
    }
    if name != REPOSITORY {
        return not_found();
    }
    let pieces: Vec<String> = rest.split('/').skip(1).map(decoded).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    match pieces.as_slice() {
        [] => json_of(200, &repository(state)),
        ["pulls", number, more @ ..] => pull(state, &asked, number, more),
        ["issues", "comments", id] => one_comment(state, &asked, id),
        ["issues", number, what] => issue(state, &asked, number, what, stale),
        ["collaborators", login, "permission"] => match state.permissions.get(*login) {
            Some((permission, role)) => {
                let body = json!({ "permission": permission, "role_name": role, "user": user(login) });
                json_of(200, &body)
            }
            None => error(404, &format!("{login} is not a user")),
        },
        ["git", "ref", "heads", branch @ ..] => match state.branches.get(&branch.join("/")) {
            Some(sha) => {
                let name = format!("refs/heads/{}", branch.join("/"));
                json_of(200, &json!({ "ref": name, "object": { "type": "commit", "sha": sha, "url": "u" } }))
            }
            None => not_found(),
        },
        ["git", "trees", sha] => tree(state, &asked, sha),
        ["git", "blobs", sha] => blob(state, &asked, sha),
        ["contents", path @ ..] => contents(state, &asked, &path.join("/")),
        ["statuses", sha] => {
            let mut row = asked.body.clone();
            row["id"] = json!(state.fresh_id());
            state.statuses.push(((*sha).to_owned(), row.clone()));
            json_of(201, &row)
        }
        ["commits", sha, "statuses"] => {
            let newest = state.statuses.iter().rev().filter(|(of, _)| of == sha);
            asked.page(newest.map(|(_, row)| row.clone()).collect())
        }
        _ => not_found(),
    }
}

fn repository(state: &State) -> Value {
    json!({ "id": ID, "full_name": REPOSITORY, "default_branch": state.default_branch, "private": true })
}

fn pull(state: &State, asked: &Asked<'_>, number: &str, more: &[&str]) -> Answer {
    let Some((number, pull)) = number.parse().ok().and_then(|n: u64| Some((n, state.pulls.get(&n)?))) else {
        return not_found();
    };
    match more {
        ["files"] => asked.page(pull.files.iter().take(3_000).cloned().collect()),
        [] => {
            let side = |(branch, sha): &(String, String), repository: Option<&str>| {
                let id = |name: &str| if name == REPOSITORY { ID } else { self::number(name) };
                let repository = repository.map(|name| json!({ "id": id(name), "full_name": name }));
                json!({ "ref": branch, "sha": sha, "repo": repository })
            };
            let sum = |key: &str| pull.files.iter().filter_map(|file| file[key].as_u64()).sum::<u64>();
            let labels: Vec<_> = pull.labels.iter().map(|name| json!({ "name": name })).collect();
            json_of(
                200,
                &json!({
                    "number": number, "title": pull.title, "body": pull.body, "user": user(&pull.author),
                    "author_association": "CONTRIBUTOR", "labels": labels, "draft": pull.draft,
                    "created_at": "2020-01-02T03:04:05Z",
                    "state": if pull.open { "open" } else { "closed" },
                    "base": side(&pull.base, Some(REPOSITORY)),
                    "head": side(&pull.head, pull.head_repository.as_deref()),
                    "additions": sum("additions"), "deletions": sum("deletions"),
                    "changed_files": pull.files.len(),
                }),
            )
        }
        _ => not_found(),
    }
}

fn issue(state: &mut State, asked: &Asked<'_>, number: &str, what: &str, stale: bool) -> Answer {
    let Some((number, labels)) =
        number.parse().ok().and_then(|n: u64| Some((n, state.pulls.get(&n)?.labels.clone())))
    else {
        return not_found();
    };
    match (&asked.parts.method, what) {
        (&Method::GET, "labels") => {
            let shown = if stale { Vec::new() } else { labels };
            asked.page(shown.into_iter().map(|name| json!({ "id": 1, "name": name })).collect())
        }
        (&Method::GET, "events") => {
            let of_this = state.label_events.iter().zip(1_u64..).filter(|(event, _)| event.issue == number);
            let shown = of_this.map(|(event, id)| {
                json!({
                    "id": id, "event": if event.set { "labeled" } else { "unlabeled" },
                    "actor": event.actor.as_deref().map(user), "created_at": event.at,
                    "label": { "name": event.label, "color": "ffffff" },
                })
            });
            asked.page(shown.collect())
        }
        (&Method::GET, "comments") => {
            let of_this = state.comments.iter().filter(|row| row.issue == number);
            asked.page(of_this.map(comment).collect())
        }
        (&Method::POST, "comments") => match text(&asked.body) {
            Ok(body) => {
                let viewer = state.viewer.clone();
                json_of(201, &comment(&state.comment(number, &viewer, &body)))
            }
            Err(refusal) => *refusal,
        },
        _ => not_found(),
    }
}

fn one_comment(state: &mut State, asked: &Asked<'_>, id: &str) -> Answer {
    let now = state.now;
    let Some(at) = state.comments.iter().position(|row| row.id.to_string() == id) else { return not_found() };
    if asked.parts.method == Method::DELETE {
        state.comments.remove(at);
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        return answer;
    }
    match text(&asked.body) {
        Ok(body) => {
            let row = &mut state.comments[at];
            (row.body, row.updated) = (body, now);
            json_of(200, &comment(row))
        }
        Err(refusal) => *refusal,
    }
}

/// A comment's text, or why GitHub does not take it.
fn text(body: &Value) -> Result<String, Box<Answer>> {
    let text = body["body"].as_str().unwrap_or_default();
    if text.is_empty() || text.chars().count() > COMMENT_CHARS_MAX {
        let why = format!("body is too long (maximum is {COMMENT_CHARS_MAX} characters)");
        let errors = json!([{ "resource": "IssueComment", "code": "unprocessable", "message": why }]);
        return Err(Box::new(json_of(422, &json!({ "message": "Validation Failed", "errors": errors }))));
    }
    Ok(text.to_owned())
}

fn comment(row: &CommentRow) -> Value {
    let app = row.login.strip_suffix("[bot]").map(|slug| json!({ "id": 1, "slug": slug }));
    let url = format!("https://github.test/{REPOSITORY}/pull/{}#issuecomment-{}", row.issue, row.id);
    json!({
        "id": row.id, "node_id": format!("IC_{}", row.id), "user": user(&row.login), "body": row.body,
        "html_url": url, "created_at": row.updated, "updated_at": row.updated,
        "performed_via_github_app": app,
    })
}

fn graphql(state: &mut State, body: &Value) -> Answer {
    let query = body["query"].as_str().unwrap_or_default();
    let failed = |kind: &str, message: &str| {
        json_of(200, &json!({ "data": null, "errors": [{ "type": kind, "message": message }] }))
    };
    if query.contains("viewer") {
        let viewer = json!({ "login": state.viewer, "databaseId": number(&state.viewer) });
        return json_of(200, &json!({ "data": { "viewer": viewer } }));
    }
    if !query.contains("minimizeComment") || !query.contains("OUTDATED") {
        return failed("undefinedField", "Field doesn't exist");
    }
    let id = body["variables"]["id"].as_str().unwrap_or_default();
    match state.comments.iter_mut().find(|row| format!("IC_{}", row.id) == id) {
        Some(row) => {
            row.hidden = true;
            let done = json!({ "minimizedComment": { "isMinimized": true } });
            json_of(200, &json!({ "data": { "minimizeComment": done } }))
        }
        None => failed("NOT_FOUND", &format!("Could not resolve to a node with the global id of '{id}'.")),
    }
}

/// A tree's id stands for a folder of a commit.
fn tree_id(commit: &str, folder: &str) -> String {
    id_of(&[b"tree", commit.as_bytes(), folder.as_bytes()])
}

fn blob_id(content: &[u8]) -> String {
    id_of(&[b"blob", content])
}

fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

fn tree(state: &State, asked: &Asked<'_>, sha: &str) -> Answer {
    let found = state.commits.iter().find_map(|(commit, files)| {
        if commit == sha {
            return Some((commit, files, String::new()));
        }
        let folder = files.keys().flat_map(|path| folders(path)).find(|at| tree_id(commit, at) == sha)?;
        Some((commit, files, format!("{folder}/")))
    });
    let Some((commit, files, prefix)) = found else { return not_found() };
    let recursive = asked.query("recursive").is_some();
    let mut entries = std::collections::BTreeMap::new();
    for (path, (mode, content)) in files {
        let Some(below) = path.strip_prefix(&prefix) else { continue };
        for folder in folders(below).filter(|folder| recursive || !folder.contains('/')) {
            let sha = tree_id(commit, &format!("{prefix}{folder}"));
            let entry = json!({ "path": folder, "mode": "040000", "type": "tree", "sha": sha });
            entries.insert(folder.to_owned(), entry);
        }
        if recursive || !below.contains('/') {
            let (kind, size) =
                if mode == "160000" { ("commit", Value::Null) } else { ("blob", json!(content.len())) };
            let mut entry = json!({ "path": below, "mode": mode, "type": kind, "sha": blob_id(content) });
            if !size.is_null() {
                entry["size"] = size;
            }
            entries.insert(below.to_owned(), entry);
        }
    }
    let entries: Vec<Value> = entries.into_values().collect();
    json_of(200, &json!({ "sha": sha, "tree": entries, "truncated": state.truncated }))
}

fn raw(content: &[u8]) -> Answer {
    with(200, "application/vnd.github.raw+json; charset=utf-8", content.to_vec())
}

fn blob(state: &State, asked: &Asked<'_>, sha: &str) -> Answer {
    let all = state.commits.values().flat_map(|files| files.values());
    match all.map(|(_, content)| content).find(|content| blob_id(content) == sha) {
        Some(content) if asked.raw() => raw(content),
        Some(content) => json_of(200, &json!({ "sha": sha, "size": content.len(), "encoding": "base64" })),
        None => not_found(),
    }
}

fn contents(state: &State, asked: &Asked<'_>, path: &str) -> Answer {
    let at = asked.query("ref").unwrap_or(&state.default_branch);
    let commit = state.branches.get(at).map_or(at, String::as_str);
    let Some(files) = state.commits.get(commit) else {
        return error(404, &format!("No commit found for the ref {at}"));
    };
    match files.get(path) {
        Some((_, content)) if asked.raw() => raw(content),
        Some((_, content)) => json_of(200, &json!({ "type": "file", "size": content.len() })),
        None if files.keys().any(|file| file.starts_with(&format!("{path}/"))) => {
            json_of(200, &json!([{ "type": "file", "path": path }]))
        }
        None => not_found(),
    }
}
