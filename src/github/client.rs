//! The client of one repository.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::clock::Clock;
use super::error::{ConfigError, Error};
use super::transport::{Answer, Call, Deadline, Transport};
use super::{Account, Repository, path, wire};

/// How long an operation may take with everything that it repeats and waits for.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long one request may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);

/// A token that shows itself to nobody; its memory is overwritten when it is dropped, as far as safe code
/// can tell.
#[derive(Clone)]
pub struct Secret(Arc<Text>);

struct Text(String);

impl Secret {
    /// Takes a token.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Arc::new(Text(text)))
    }

    pub(super) fn text(&self) -> &str {
        &self.0.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        std::hint::black_box(&bytes);
    }
}

/// Which repository, and how to reach it.
#[derive(Clone, Debug)]
pub struct Config {
    /// `GITHUB_API_URL`: `https://api.github.com`, or `https://HOST/api/v3`.
    pub api_url: String,
    /// `OWNER/REPOSITORY`.
    pub repository: String,
    /// The token.
    pub token: Secret,
    /// How long an operation may take with everything that it repeats and waits for.
    pub timeout: Duration,
    /// How long one request may take.
    pub attempt_timeout: Duration,
    /// The clock that deadlines and waits go by.
    pub clock: Clock,
}

impl Config {
    /// A minute for an operation, a quarter of one for a request, the machine's clock.
    pub fn new(api_url: impl Into<String>, repository: impl Into<String>, token: Secret) -> Self {
        Self {
            api_url: api_url.into(),
            repository: repository.into(),
            token,
            timeout: TIMEOUT,
            attempt_timeout: ATTEMPT_TIMEOUT,
            clock: Clock::system(),
        }
    }
}

/// The client of one repository. Copies share connections, remembered answers and limits.
///
/// Every method ends by the configured timeout, and fails with an [`Error`] that names the call and what
/// to do. Reads are repeated where GitHub stumbles; a write whose answer got lost is repeated only where
/// doing it twice is doing it once.
#[derive(Clone)]
pub struct GitHub(Arc<Inner>);

struct Inner {
    transport: Transport,
    name: String,
    /// `/repos/OWNER/REPOSITORY`, encoded.
    root: String,
    whoami: Mutex<Option<Account>>,
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GitHub").field(&self.0.name).finish()
    }
}

impl GitHub {
    /// A client; nothing is sent yet. It is made inside a tokio runtime, after the process's TLS provider
    /// was installed.
    ///
    /// # Errors
    /// [`ConfigError`], in words for whoever set the variables.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let root = repository_root(&config.repository)
            .ok_or_else(|| ConfigError::NotRepository(config.repository.clone()))?;
        let transport = Transport::new(config)?;
        let name = config.repository.clone();
        Ok(Self(Arc::new(Inner { transport, name, root, whoami: Mutex::default() })))
    }

    /// The repository's name, `OWNER/REPOSITORY`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The repository as it is now.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn repository(&self) -> Result<Repository, Error> {
        let call = Call::get(self.0.root.clone(), "contents: read");
        let found: wire::Repository = self.read(&call, self.deadline()).await?;
        Ok(Repository {
            id: found.id,
            name: found.full_name,
            default_branch: found.default_branch,
            private: found.private,
        })
    }

    /// The branch that others start from.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn default_branch(&self) -> Result<String, Error> {
        Ok(self.repository().await?.default_branch)
    }

    /// A path below the repository: `{root}{rest}`.
    pub(super) fn at(&self, rest: &str) -> String {
        format!("{}{rest}", self.0.root)
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.0.transport
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.0.transport.deadline()
    }

    pub(super) fn remembered_whoami(&self) -> &Mutex<Option<Account>> {
        &self.0.whoami
    }

    /// Calls, and reads the answer.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        call: &Call,
        deadline: Deadline,
    ) -> Result<T, Error> {
        let answer = self.0.transport.call(call, deadline).await?;
        self.parsed(call, &answer)
    }

    /// Reads an answer.
    pub(super) fn parsed<T: DeserializeOwned>(&self, call: &Call, answer: &Answer) -> Result<T, Error> {
        serde_json::from_slice(&answer.body)
            .map_err(|error| self.transport().garbled(call, &error.to_string()))
    }

    /// Every page of a list, and whether these are all; at most so many pages of 100.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        first: &Call,
        pages_max: usize,
        deadline: Deadline,
    ) -> Result<(Vec<T>, bool), Error> {
        let mut all = Vec::new();
        let mut call = first.clone();
        for _ in 0..pages_max {
            let answer = self.0.transport.call(&call, deadline).await?;
            all.extend(self.parsed::<Vec<T>>(&call, &answer)?);
            match answer.next {
                Some(next) => call.target = next,
                None => return Ok((all, true)),
            }
        }
        Ok((all, false))
    }

    /// Every page of a list that is worth nothing in part.
    pub(super) async fn whole<T: DeserializeOwned>(
        &self,
        first: &Call,
        pages_max: usize,
        deadline: Deadline,
    ) -> Result<Vec<T>, Error> {
        match self.pages(first, pages_max, deadline).await? {
            (all, true) => Ok(all),
            (_, false) => Err(Error::TooMany { call: first.name(), most: pages_max * 100 }),
        }
    }
}

/// `/repos/OWNER/REPOSITORY`, encoded; `None` where that is no repository.
pub(super) fn repository_root(name: &str) -> Option<String> {
    let (owner, repository) = name.split_once('/')?;
    let fine = |part: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        !part.is_empty() && part.chars().all(known) && part != "." && part != ".."
    };
    let root = || format!("/repos/{}/{}", path::segment(owner), path::segment(repository));
    (fine(owner) && fine(repository)).then(root)
}

/// `None` where there is nothing.
pub(super) fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
