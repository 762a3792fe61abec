//! Where the books are: which store, which remote, whose token.

use std::path::{Path, PathBuf};

use crate::budget::{Budget, GitChoice, LEDGER_BRANCH, LedgerChoice};
use crate::cli::Shell;
use crate::event::git::Git;
use crate::exit::Failure;
use crate::ledger::store::git::{Credentials, GitPlace, Token};
use crate::ledger::store::postgres::PostgresPlace;
use crate::ledger::store::{Options, Store, StoreError};

/// The namespace of simulated runs: play money never touches the real books.
pub const SIMULATED: &str = "simulate";
/// The forge, where the surroundings name none.
const SERVER: &str = "https://github.com";
/// The variable that names the database. It is a secret, so no budget file does.
const DATABASE: &str = "TOLLGATE_DATABASE_URL";
/// What remembers the branches that were seen, in the state folder.
const SEEN: &str = "ledger-seen.json";

/// Where the books are.
#[derive(Debug)]
pub enum Place {
    /// Files in this folder.
    File(PathBuf),
    /// A branch.
    Git(Box<GitPlace>),
    /// A database.
    Postgres(Box<PostgresPlace>),
}

impl Place {
    /// The place that a budget means, for real runs or simulated ones.
    ///
    /// What a budget file leaves open is a branch in Actions and files elsewhere; without a budget file
    /// nothing is enforced, so nothing is written to anybody's repository. A simulated run writes to a
    /// branch only where the file names one.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 2 where a token, a remote or git itself is missing.
    pub fn find(shell: &Shell, budget: &Budget, root: &Path, simulate: bool) -> Result<Self, Failure> {
        let state = root.join(budget.ledger.folder());
        let choice = match &budget.ledger {
            LedgerChoice::File(_) => return Ok(Self::File(state)),
            LedgerChoice::Postgres => return database(shell).map(|place| Self::Postgres(Box::new(place))),
            LedgerChoice::Git(choice) => choice.clone(),
            LedgerChoice::Default if !simulate && on_actions(shell) && budget.path.is_some() => {
                GitChoice::default()
            }
            LedgerChoice::Default => return Ok(Self::File(state)),
        };
        let env = |name: &str| shell.var(name).map(str::to_owned);
        let git = Git::find(&env, root).map_err(|_| {
            Failure::usage("the ledger is a branch, and git is not on PATH\n\nhint: install git, or write `ledger: file`")
        })?;
        let url = url(shell, &choice, &git)?;
        let credentials = credentials(shell, &choice, &url)?;
        let branch = choice.branch.as_deref().unwrap_or(LEDGER_BRANCH);
        let mut place = GitPlace::new(git.program().to_owned(), &url, branch, credentials, &shell.env);
        if let Some(folder) = shell.var("RUNNER_TEMP") {
            place.scratch = PathBuf::from(folder);
        }
        place.seen = Some(state.join(SEEN));
        place.root.clone_from(&budget.ledger_root);
        Ok(Self::Git(Box::new(place)))
    }

    /// Opens the books; those of a folder are made where there are none.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn open(self, simulate: bool) -> Result<Store, StoreError> {
        match self {
            Self::File(folder) => Store::open(&folder, options(simulate)),
            Self::Git(place) => Ok(Store::open_git(*place, options(simulate))),
            Self::Postgres(place) => Ok(Store::open_postgres(*place, options(simulate), true)),
        }
    }

    /// Opens the books to read them.
    ///
    /// # Errors
    /// When there are none, or they cannot be used.
    pub fn open_existing(self, simulate: bool) -> Result<Store, StoreError> {
        match self {
            Self::File(folder) => Store::open_existing(&folder, options(simulate)),
            Self::Git(place) => Ok(Store::open_git(*place, options(simulate))),
            Self::Postgres(place) => Ok(Store::open_postgres(*place, options(simulate), false)),
        }
    }
}

/// How the books of real or simulated runs are opened.
#[must_use]
pub fn options(simulate: bool) -> Options {
    Options { namespace: simulate.then(|| SIMULATED.to_owned()), ..Options::default() }
}

fn on_actions(shell: &Shell) -> bool {
    shell.var("GITHUB_ACTIONS") == Some("true")
}

/// What tells a repository from all others on a ledger that they share: its host, and the number that
/// outlives a new name.
#[must_use]
pub fn repository_key(shell: &Shell, repository: &str, id: Option<u64>) -> String {
    let part = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect()
    };
    format!("{}/{}", part(host(shell)), id.map_or_else(|| part(repository), |id| id.to_string()))
}

/// What tells the repository at hand from the others on its ledger; `None` where it shares none.
#[must_use]
pub fn sharer(shell: &Shell, budget: &Budget, root: &Path) -> Option<String> {
    let folder = || root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let id = shell.var("GITHUB_REPOSITORY_ID").and_then(|id| id.parse().ok());
    let repository = shell.var("GITHUB_REPOSITORY").map_or_else(folder, str::to_owned);
    budget.ledger.is_shared().then(|| repository_key(shell, &repository, id))
}

/// The forge's host, or `local`.
#[must_use]
pub fn host(shell: &Shell) -> &str {
    let url = shell.var("GITHUB_SERVER_URL").map(|url| url.trim_end_matches('/'));
    url.map_or("local", |url| url.rsplit('/').next().unwrap_or(url))
}

/// The database that the environment names.
fn database(shell: &Shell) -> Result<PostgresPlace, Failure> {
    let form = "`postgres://USER:PASSWORD@HOST:5432/NAME?sslmode=verify-full`";
    let url = shell.var(DATABASE).filter(|url| !url.trim().is_empty()).ok_or_else(|| {
        Failure::usage(format!(
            "the ledger is a PostgreSQL database, and {DATABASE} is not set\n\nhint: set it from a secret, to \
             {form}"
        ))
    })?;
    // The error has no part of the URL in it that could be the password.
    PostgresPlace::parse(url).map_err(|error| {
        Failure::usage(format!(
            "{DATABASE} names no database for a ledger: {error}\n\nhint: its form is {form}"
        ))
    })
}

fn url(shell: &Shell, choice: &GitChoice, git: &Git) -> Result<String, Failure> {
    if let Some(remote) = shell.var("TOLLGATE_LEDGER_REMOTE") {
        return Ok(remote.to_owned());
    }
    let server = shell.var("GITHUB_SERVER_URL").unwrap_or(SERVER).trim_end_matches('/');
    if let Some(repository) = &choice.repository {
        return Ok(format!("{server}/{repository}"));
    }
    if on_actions(shell) {
        let missing =
            || Failure::usage("the ledger is a branch of this repository, and GITHUB_REPOSITORY is not set");
        return shell.var("GITHUB_REPOSITORY").map(|name| format!("{server}/{name}")).ok_or_else(missing);
    }
    git.line(&["remote", "get-url", "origin"]).ok_or_else(|| {
        Failure::usage(
            "the ledger is a branch of `origin`, and this repository has no remote of that name\n\nhint: add it \
             with `git remote add origin URL`, or write `ledger: file` in the budget file",
        )
    })
}

/// The token for a remote: in Actions there must be one, elsewhere its user may have other credentials.
fn credentials(shell: &Shell, choice: &GitChoice, url: &str) -> Result<Credentials, Failure> {
    let name = if choice.repository.is_some() { "TOLLGATE_LEDGER_TOKEN" } else { "GITHUB_TOKEN" };
    let over_http = url.starts_with("https://") || url.starts_with("http://");
    if !over_http || (choice.repository.is_none() && !on_actions(shell)) {
        return Ok(Credentials::Own);
    }
    match shell.var(name) {
        Some(token) => Ok(Credentials::Token(Token::new(token))),
        None if !on_actions(shell) => Ok(Credentials::Own),
        None => {
            let what = match &choice.repository {
                Some(repository) => format!(
                    "the ledger is in {repository}, and TOLLGATE_LEDGER_TOKEN is not set\n\nhint: set it to a token \
                     with `contents: write` on that repository; GITHUB_TOKEN reaches this one only"
                ),
                None => "the ledger is a branch of this repository, and GITHUB_TOKEN is not set\n\nhint: give the \
                         step `env: { GITHUB_TOKEN: ${{ github.token }} }` and the job `permissions: { contents: \
                         write }`, or write `ledger: file` in the budget file"
                    .to_owned(),
            };
            Err(Failure::usage(what))
        }
    }
}
