//! Which branch of which repository, and with whose credentials.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::error::RemoteError;
use super::process::{OWN, PASSED, is_safe_for_tokens};

/// How long a write is tried, unless a place says otherwise.
const PATIENCE: Duration = Duration::from_secs(90);

/// A token that no message ever shows.
#[derive(Clone)]
pub struct Token(pub(super) String);

impl Token {
    /// A token as it was given.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Who git is to the server.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Its user: with the user's own configuration, keys and helpers, none of which may ask anything.
    Own,
    /// Whom a token stands for, and nobody else.
    Token(Token),
}

/// A branch of a repository that is a ledger.
#[derive(Clone, Debug)]
pub struct GitPlace {
    /// Git, by its absolute path.
    pub program: PathBuf,
    /// The repository: any URL or path that git takes.
    pub url: String,
    /// The branch.
    pub branch: String,
    /// Who git is to the server.
    pub credentials: Credentials,
    /// Where a folder of our own may be made: outside of every working tree.
    pub scratch: PathBuf,
    /// The file that remembers what was seen of branches; `None` to remember in memory only.
    pub seen: Option<PathBuf>,
    /// The branch's first commit, where the budget file names it.
    pub root: Option<String>,
    /// How long a write is tried.
    pub patience: Duration,
    /// Variables that git may see.
    pub(super) env: BTreeMap<&'static str, OsString>,
}

impl GitPlace {
    /// A branch; `env` is the surroundings, of which git sees what it needs to reach a network.
    #[must_use]
    pub fn new(
        program: PathBuf,
        url: &str,
        branch: &str,
        credentials: Credentials,
        env: &BTreeMap<OsString, OsString>,
    ) -> Self {
        let seen = |name: &&'static str| Some((*name, env.get(OsStr::new(*name))?.clone()));
        Self {
            program,
            url: url.to_owned(),
            branch: branch.to_owned(),
            credentials,
            scratch: env.get(OsStr::new("TMPDIR")).map_or_else(|| PathBuf::from("/tmp"), PathBuf::from),
            seen: None,
            root: None,
            patience: PATIENCE,
            env: PASSED.iter().chain(&OWN).filter_map(seen).collect(),
        }
    }

    /// The repository as messages name it: without a password that somebody put into its URL.
    #[must_use]
    pub fn shown(&self) -> String {
        let Some((scheme, rest)) = self.url.split_once("://") else { return self.url.clone() };
        let end = rest.find('/').unwrap_or(rest.len());
        match rest[..end].rfind('@') {
            Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
            None => self.url.clone(),
        }
    }

    /// # Errors
    /// When a token would go over an unencrypted connection.
    pub(super) fn check(&self) -> Result<(), RemoteError> {
        match self.credentials {
            Credentials::Token(_) if !is_safe_for_tokens(&self.url) => {
                Err(RemoteError::Unencrypted { remote: self.shown() })
            }
            Credentials::Token(_) | Credentials::Own => Ok(()),
        }
    }
}
