//! What GitHub's answers are read into: the fields that are used and no others, so that a GitHub
//! Enterprise Server which lacks the rest is understood as well.

use jiff::Timestamp;
use serde::Deserialize;

use super::Account;

#[derive(Deserialize)]
pub(super) struct Repository {
    pub(super) id: u64,
    pub(super) full_name: String,
    pub(super) default_branch: String,
    pub(super) private: bool,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) login: String,
    #[serde(default)]
    pub(super) id: u64,
    #[serde(default)]
    r#type: String,
}

/// An account; one that is gone is shown as GitHub shows it, `ghost`, and has no rights.
pub(super) fn account(user: Option<User>) -> Account {
    match user {
        Some(user) => {
            let bot = user.r#type == "Bot" || user.login.ends_with("[bot]");
            Account { login: user.login, id: user.id, bot }
        }
        None => Account { login: "ghost".to_owned(), id: 0, bot: false },
    }
}

#[derive(Deserialize)]
pub(super) struct Pull {
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) body: Option<String>,
    pub(super) user: Option<User>,
    #[serde(default)]
    pub(super) author_association: String,
    #[serde(default)]
    pub(super) labels: Vec<Label>,
    pub(super) state: String,
    pub(super) created_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) draft: bool,
    pub(super) base: Side,
    pub(super) head: Side,
    pub(super) additions: u64,
    pub(super) deletions: u64,
    pub(super) changed_files: u64,
}

#[derive(Deserialize)]
pub(super) struct Side {
    pub(super) r#ref: String,
    pub(super) sha: String,
    pub(super) repo: Option<SideRepository>,
}

#[derive(Deserialize)]
pub(super) struct SideRepository {
    pub(super) id: u64,
    pub(super) full_name: String,
}

#[derive(Deserialize)]
pub(super) struct Label {
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct File {
    pub(super) filename: String,
    pub(super) status: String,
    pub(super) additions: u64,
    pub(super) deletions: u64,
    pub(super) patch: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct IssueEvent {
    pub(super) id: u64,
    pub(super) event: String,
    pub(super) actor: Option<User>,
    pub(super) created_at: Timestamp,
    pub(super) label: Option<Label>,
}

#[derive(Deserialize)]
pub(super) struct Activity {
    pub(super) before: String,
    pub(super) after: String,
    pub(super) timestamp: Timestamp,
    pub(super) activity_type: String,
    pub(super) actor: Option<User>,
}

#[derive(Deserialize)]
pub(super) struct Permission {
    pub(super) permission: String,
    #[serde(default)]
    pub(super) role_name: String,
}

#[derive(Deserialize)]
pub(super) struct Reference {
    pub(super) object: Object,
}

#[derive(Deserialize)]
pub(super) struct Object {
    pub(super) sha: String,
    pub(super) r#type: String,
}

#[derive(Deserialize)]
pub(super) struct Tree {
    pub(super) tree: Vec<Entry>,
    #[serde(default)]
    pub(super) truncated: bool,
}

#[derive(Deserialize)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) mode: String,
    pub(super) sha: String,
    pub(super) size: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) node_id: String,
    pub(super) user: Option<User>,
    pub(super) body: Option<String>,
    pub(super) html_url: String,
    pub(super) updated_at: Timestamp,
    pub(super) performed_via_github_app: Option<App>,
}

#[derive(Deserialize)]
pub(super) struct App {
    pub(super) slug: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Status {
    pub(super) state: String,
    pub(super) context: String,
    pub(super) description: Option<String>,
    pub(super) target_url: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct GraphQl {
    pub(super) data: Option<serde_json::Value>,
    #[serde(default)]
    pub(super) errors: Vec<GraphQlError>,
}

#[derive(Deserialize)]
pub(super) struct GraphQlError {
    #[serde(default)]
    pub(super) r#type: String,
    #[serde(default)]
    pub(super) message: String,
}
