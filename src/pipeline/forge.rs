//! What a run learns from GitHub before it starts: facts as they are now, the budget file at a pinned
//! commit, and who has set the override's label. A payload is as old as its event, and a checkout holds
//! what the pull request brings.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::inputs;
use crate::budget::{self, Budget, MayOverride, Override, PATH as BUDGET_FILE};
use crate::cli::Shell;
use crate::event::{Event, FileChange, Kind, Person};
use crate::github::{Config, Error, GitHub, Permission, PullRequest, Secret};
use crate::ledger::Lift;
use crate::overrides::{self, Label, Standing};
use crate::report::around::Proposal;

/// How long one question to GitHub may take, with everything that is repeated.
const TIMEOUT: Duration = Duration::from_secs(15);
/// GitHub itself.
const API: &str = "https://api.github.com";

/// The way to GitHub.
#[derive(Clone, Debug)]
pub struct Forge {
    /// The client of the repository.
    pub github: GitHub,
    /// The issue or pull request that is spoken on.
    pub number: Option<u64>,
}

/// What is known beside the event and the budget.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Known {
    /// The way to GitHub, where there is one.
    #[serde(skip)]
    pub forge: Option<Forge>,
    /// What a reader must not miss.
    pub remarks: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// The commit that the budget file was read at.
    pub budget_commit: Option<String>,
    /// What the pull request would do to the budget file.
    pub proposal: Option<Proposal>,
    /// The override that counts.
    pub lift: Option<Lift>,
    /// The commit that the run is about.
    pub commit: Option<String>,
}

impl Known {
    /// Opens the way to GitHub; why there is none is noted.
    pub(super) fn open_forge(&mut self, shell: &Shell, event: &Event) {
        match Forge::open(shell, event) {
            Ok(forge) => self.forge = forge,
            Err(why) => self.notes.push(format!("GitHub was not asked: {}", first_line(&why))),
        }
    }
}

impl Forge {
    /// The way to GitHub, on its runner and with a token; the inner error says why there is none.
    ///
    /// # Errors
    /// In words for whoever set the variables.
    pub fn open(shell: &Shell, event: &Event) -> Result<Option<Self>, String> {
        let token = shell.var("GITHUB_TOKEN");
        let (Some("true"), Some(token), Some(repository)) =
            (shell.var("GITHUB_ACTIONS"), token, shell.var("GITHUB_REPOSITORY"))
        else {
            return Ok(None);
        };
        let api = shell.var("GITHUB_API_URL").unwrap_or(API);
        let config =
            Config { timeout: TIMEOUT, ..Config::new(api, repository, Secret::new(token.to_owned())) };
        let number = event.change.as_ref().and_then(|change| change.number).or(event.issue);
        GitHub::new(&config).map(|github| Some(Self { github, number })).map_err(|error| error.to_string())
    }

    /// The budget file's text at the tip of the default branch, and that commit. The inner nothing is a
    /// branch without the file.
    ///
    /// # Errors
    /// When GitHub cannot be asked, or there is no such branch for this token.
    pub async fn budget_file(&self) -> Result<(String, Option<Vec<u8>>), String> {
        let plain = |error: Error| first_line(&error.to_string());
        let branch = self.github.default_branch().await.map_err(plain)?;
        let commit = self.github.branch(&branch).await.map_err(plain)?;
        let commit = commit.ok_or_else(|| format!("GitHub shows this token no branch {branch}"))?;
        let text = self.github.contents(BUDGET_FILE, &commit).await.map_err(plain)?;
        Ok((commit, text))
    }

    /// Brings an event's pull request up to date, and returns it.
    ///
    /// # Errors
    /// When GitHub cannot be asked; the event is unchanged then.
    pub async fn refresh(&self, event: &mut Event, known: &mut Known) -> Result<Option<PullRequest>, String> {
        let Some(change) = event.change.as_mut() else { return Ok(None) };
        let Some(number) = change.number else { return Ok(None) };
        let (pull, files) = tokio::join!(self.github.pull_request(number), self.github.files(number));
        let plain = |error: Error| first_line(&error.to_string());
        let (pull, files) = (pull.map_err(plain)?, files.map_err(plain)?);
        if !change.head_sha.is_empty() && change.head_sha != pull.head_commit {
            known.remarks.push(moved(&pull.head_commit, "was triggered"));
        } else {
            pull.head_commit.clone_into(&mut change.head_sha);
        }
        known.commit = Some(change.head_sha.clone());
        change.opened = pull.opened.or(change.opened);
        change.title.clone_from(&pull.title);
        change.body.clone_from(&pull.body);
        change.labels.clone_from(&pull.labels);
        change.author = Person {
            login: pull.author.login.clone(),
            bot: pull.author.bot,
            association: Some(pull.author_association.clone()),
        };
        change.branch.clone_from(&pull.head_branch);
        change.base.clone_from(&pull.base_branch);
        change.base_sha.clone_from(&pull.base_commit);
        change.fork = pull.fork;
        change.files_total = pull.files_total;
        change.additions_total = pull.additions;
        change.deletions_total = pull.deletions;
        change.files = files.files.into_iter().map(changed).collect();
        Ok(Some(pull))
    }

    /// Whether the override's label counts now.
    ///
    /// # Errors
    /// When GitHub cannot be asked.
    pub async fn lift(&self, rule: &Override, pull: &PullRequest, event: &Event) -> Result<Standing, String> {
        let plain = |error: Error| first_line(&error.to_string());
        if !pull.labels.contains(&rule.label) {
            return Ok(Standing::Unset);
        }
        let Some(labeled) = self.github.labeled(pull.number, &rule.label).await.map_err(plain)? else {
            let why =
                format!("the label `{}` does not count, because GitHub does not say who set it", rule.label);
            return Ok(Standing::Ignored(why));
        };
        let may = self.github.permission(&labeled.by.login).await.map_err(plain)?;
        let vouched = !pull.fork || self.vouched(pull, event, rule, labeled.at).await.map_err(plain)?;
        let label = Label { by: labeled.by.login, may: may_override(may), set: labeled.at, vouched };
        Ok(overrides::judge(rule, Some(&label), Timestamp::now()))
    }

    /// Whether nobody who may not write can have pushed to a fork since the label was set.
    async fn vouched(
        &self,
        pull: &PullRequest,
        event: &Event,
        rule: &Override,
        set: Timestamp,
    ) -> Result<bool, Error> {
        let may_write = async |login: &str| Ok(self.github.permission(login).await? >= Permission::Write);
        if let Some(push) = self.github.last_push(pull).await? {
            return Ok(push.at < set || may_write(&push.by.login).await?);
        }
        let payload_head = event.change.as_ref().map(|change| change.head_sha.as_str());
        let by_the_label = event.action.as_deref() == Some("labeled")
            && event.label.as_deref() == Some(&rule.label)
            && payload_head == Some(&pull.head_commit);
        Ok(by_the_label || may_write(&pull.author.login).await?)
    }

    /// What the pull request's own budget file would change; nothing where it does not touch it.
    pub async fn proposal(&self, budget: &Budget, pull: &PullRequest, event: &Event) -> Option<Proposal> {
        let change = event.change.as_ref()?;
        change.files.iter().find(|file| file.path == BUDGET_FILE)?;
        let text = self.github.contents(BUDGET_FILE, &pull.head_commit).await;
        Some(match text {
            Ok(text) => propose(budget, text.as_deref()),
            Err(error) => Proposal { changes: Vec::new(), broken: Some(first_line(&error.to_string())) },
        })
    }
}

/// What an edited budget file changes; no text is a file that is taken away.
pub(super) fn propose(budget: &Budget, text: Option<&[u8]>) -> Proposal {
    let edited = match text.map(std::str::from_utf8) {
        None => Ok(Budget::builtin()),
        Some(Ok(text)) => inputs::parse(text, BUDGET_FILE),
        Some(Err(_)) => Err(anyhow::anyhow!("{BUDGET_FILE} is not UTF-8 text")),
    };
    match edited {
        Ok(edited) => Proposal { changes: budget::changes::changes(budget, &edited), broken: None },
        Err(error) => Proposal { changes: Vec::new(), broken: Some(error.to_string()) },
    }
}

/// What is said when the branch is not where it was.
pub(super) fn moved(head: &str, since: &str) -> String {
    let short = head.get(..12).unwrap_or(head);
    format!(
        "the branch has moved on to `{short}` since this run {since}; this report is about the commit before"
    )
}

/// Whether a comment can be written at all: a workflow on a fork's pull request has a token that only reads.
pub(super) fn may_comment(event: &Event) -> bool {
    !(event.kind == Kind::PullRequest && event.change.as_ref().is_some_and(|change| change.fork))
}

fn may_override(permission: Permission) -> Option<MayOverride> {
    match permission {
        Permission::None | Permission::Read | Permission::Triage => None,
        Permission::Write => Some(MayOverride::Write),
        Permission::Maintain => Some(MayOverride::Maintain),
        Permission::Admin => Some(MayOverride::Admin),
    }
}

fn changed(file: crate::github::ChangedFile) -> FileChange {
    FileChange { path: file.path, additions: file.additions, deletions: file.deletions, patch: file.patch }
}

/// The first line of an error: what comes after it is a hint.
pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
