//! What the double's repository holds.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::answers;

/// The repository's numeric id, which stands in the addresses of further pages.
pub(crate) const ID: u64 = 4711;

/// A pull request.
#[derive(Clone, Debug)]
pub(crate) struct Pull {
    pub(crate) title: String,
    pub(crate) body: Option<String>,
    pub(crate) author: String,
    pub(crate) open: bool,
    pub(crate) draft: bool,
    pub(crate) base: (String, String),
    pub(crate) head: (String, String),
    /// The repository it comes from; `None` where that is gone.
    pub(crate) head_repository: Option<String>,
    pub(crate) labels: Vec<String>,
    /// As the API lists them.
    pub(crate) files: Vec<Value>,
}

impl Default for Pull {
    fn default() -> Self {
        Self {
            title: "A change".to_owned(),
            body: None,
            author: "ada".to_owned(),
            open: true,
            draft: false,
            base: ("main".to_owned(), "b".repeat(40)),
            head: ("topic".to_owned(), "a".repeat(40)),
            head_repository: Some(super::REPOSITORY.to_owned()),
            labels: Vec::new(),
            files: Vec::new(),
        }
    }
}

/// A comment.
#[derive(Clone, Debug)]
pub(crate) struct CommentRow {
    pub(crate) id: u64,
    pub(crate) issue: u64,
    pub(crate) login: String,
    pub(crate) body: String,
    pub(crate) hidden: bool,
    pub(crate) updated: Timestamp,
}

/// A label that was set or taken away.
#[derive(Clone, Debug)]
pub(crate) struct LabelEvent {
    pub(crate) issue: u64,
    pub(crate) set: bool,
    pub(crate) label: String,
    pub(crate) actor: Option<String>,
    pub(crate) at: Timestamp,
}

/// Everything.
pub(crate) struct State {
    pub(crate) now: Timestamp,
    pub(crate) default_branch: String,
    /// Whose token it is.
    pub(crate) viewer: String,
    pub(crate) pulls: BTreeMap<u64, Pull>,
    pub(crate) label_events: Vec<LabelEvent>,
    /// By login: the base permission and the role.
    pub(crate) permissions: BTreeMap<String, (String, String)>,
    pub(crate) branches: BTreeMap<String, String>,
    /// By commit: path to git mode and content.
    pub(crate) commits: BTreeMap<String, BTreeMap<String, (String, Vec<u8>)>>,
    /// Whether trees come cut off.
    pub(crate) truncated: bool,
    pub(crate) comments: Vec<CommentRow>,
    /// By commit, the newest last.
    pub(crate) statuses: Vec<(String, Value)>,
    /// By `OWNER/REPOSITORY`, as the API lists them.
    pub(crate) activity: BTreeMap<String, Vec<Value>>,
    /// Requests left in this hour.
    pub(crate) remaining: u64,
    next_id: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            now: "2026-11-24T12:00:00Z".parse().expect("an instant"),
            default_branch: "main".to_owned(),
            viewer: "github-actions[bot]".to_owned(),
            pulls: BTreeMap::new(),
            label_events: Vec::new(),
            permissions: BTreeMap::new(),
            branches: BTreeMap::new(),
            commits: BTreeMap::new(),
            truncated: false,
            comments: Vec::new(),
            statuses: Vec::new(),
            activity: BTreeMap::new(),
            remaining: 1_000,
            next_id: 1_000,
        }
    }
}

impl State {
    /// A number that was not there before.
    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Writes a comment as somebody.
    pub(crate) fn comment(&mut self, issue: u64, login: &str, body: &str) -> CommentRow {
        let row = CommentRow {
            id: self.fresh_id(),
            issue,
            login: login.to_owned(),
            body: body.to_owned(),
            hidden: false,
            updated: self.now,
        };
        self.comments.push(row.clone());
        row
    }

    /// Sets a label or takes it away, as somebody.
    pub(crate) fn label(&mut self, issue: u64, set: bool, label: &str, actor: Option<&str>) {
        let labels = &mut self.pulls.get_mut(&issue).expect("a pull request").labels;
        labels.retain(|other| other != label);
        if set {
            labels.push(label.to_owned());
        }
        let (label, actor, at) = (label.to_owned(), actor.map(str::to_owned), self.now);
        self.label_events.push(LabelEvent { issue, set, label, actor, at });
    }

    /// Puts files at a commit.
    pub(crate) fn files(&mut self, commit: &str, files: &[(&str, &str, &str)]) {
        let at = self.commits.entry(commit.to_owned()).or_default();
        for (path, mode, content) in files {
            at.insert((*path).to_owned(), ((*mode).to_owned(), content.as_bytes().to_vec()));
        }
    }

    /// GitHub's further pages name the repository by its number.
    pub(super) fn real_path(&self, path: &str) -> String {
        match path.strip_prefix(&format!("/repositories/{ID}/")) {
            Some(rest) => format!("/repos/{}/{rest}", super::REPOSITORY),
            None => path.to_owned(),
        }
    }

    /// Tag, limits and date. What is as it was costs nothing.
    pub(super) fn finish(&mut self, answer: &mut Response<Full<Bytes>>, parts: &Parts) {
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&self.now);
        answers::set(answer, "date", &date.expect("a date"));
        if parts.method == Method::GET && answer.status() == StatusCode::OK {
            let tag = format!("W/\"{}\"", id_of(&[&whole(answer)]));
            if parts.headers.get(header::IF_NONE_MATCH).is_some_and(|asked| asked == tag.as_str()) {
                *answer.status_mut() = StatusCode::NOT_MODIFIED;
                *answer.body_mut() = Full::default();
            }
            answers::set(answer, "etag", &tag);
        }
        if answer.status() != StatusCode::NOT_MODIFIED {
            self.remaining = self.remaining.saturating_sub(1);
        }
        if !answer.headers().contains_key("x-ratelimit-remaining") {
            answers::set(answer, "x-ratelimit-remaining", &self.remaining.max(1).to_string());
        }
    }
}

fn whole(answer: &Response<Full<Bytes>>) -> Vec<u8> {
    use std::future::Future as _;
    let mut collecting = std::pin::pin!(answer.body().clone().collect());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match collecting.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Ok(body)) => body.to_bytes().to_vec(),
        _ => unreachable!("a whole body is there at once"),
    }
}

/// Forty hex digits that stand for this.
pub(super) fn id_of(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
        digest.update([0]);
    }
    tollgate::id::hex(&digest.finalize())[..40].to_owned()
}

/// An account as the API shows it.
pub(super) fn user(login: &str) -> Value {
    let kind = if login.ends_with("[bot]") { "Bot" } else { "User" };
    json!({ "login": login, "id": number(login), "node_id": "U_1", "type": kind, "site_admin": false })
}

/// A number that stands for a name.
pub(super) fn number(name: &str) -> u64 {
    name.bytes().fold(7, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte))
}
