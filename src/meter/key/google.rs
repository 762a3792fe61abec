//! Access tokens for Vertex, fetched by the meter itself and kept until they are about to expire.
//!
//! From a credentials [`file`] as Google's tools write it, by a [`call`] or several: a service account's key
//! (RFC 7523), a person's refresh token, or workload identity federation (RFC 8693), which is what
//! google-github-actions/auth sets up. Or a token that somebody else has fetched.

mod call;
mod file;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::Secret;
use file::Credentials;

/// What a token is good for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// How long before its end a token is replaced: longer than any answer takes to begin.
const SPARE: SignedDuration = SignedDuration::from_mins(5);
/// The largest credentials file, subject token or answer that is read, in bytes.
const BYTES_MAX: usize = 64 * 1024;
/// The variable that holds a token of somebody else's.
const TOKEN_VARIABLE: &str = "TOLLGATE_VERTEX_ACCESS_TOKEN";

/// Where access tokens come from.
#[derive(Clone, Debug)]
pub struct Source(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    kept: Mutex<Option<(Arc<Secret>, Timestamp)>>,
}

#[derive(Debug)]
enum Kind {
    /// A token of somebody else's, which cannot be renewed.
    Given(Arc<Secret>),
    File {
        path: PathBuf,
        credentials: Credentials,
    },
}

/// Why there is no token. Nothing of what was sent or came back is repeated but the provider's own words, which
/// are for whoever runs the agent and not for the agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nobody says what to use.
    #[error(
        "Google Vertex is asked for, and there are no credentials for it: neither TOLLGATE_VERTEX_ACCESS_TOKEN nor \
         GOOGLE_APPLICATION_CREDENTIALS is set\n\nhint: google-github-actions/auth makes either"
    )]
    None,
    /// The token that is there cannot be used, in words.
    #[error("{0}")]
    Unusable(String),
    /// The file cannot be used.
    #[error(
        "the Google credentials file {path} cannot be used: {why}\n\n\
         hint: let GOOGLE_APPLICATION_CREDENTIALS name a file as Google's tools write it (a service account's key, \
         `gcloud auth application-default login`, google-github-actions/auth), or set TOLLGATE_VERTEX_ACCESS_TOKEN to \
         an access token in its place"
    )]
    File {
        /// Where it is.
        path: String,
        /// Why.
        why: String,
    },
    /// A call failed.
    #[error(
        "no access token for Google Vertex: {0}\n\n\
         hint: what was revoked or has expired is to be made anew; workload identity federation needs `id-token: write` \
         among the job's permissions, and an account that the pool may stand in for"
    )]
    Call(call::Why),
}

impl TokenError {
    /// What may stand in a pull request's comment: no hint, and none of a server's own words.
    #[must_use]
    pub fn in_public(&self) -> String {
        match self {
            Self::Call(why) => format!("no access token for Google Vertex: {}", why.what),
            Self::None | Self::Unusable(_) | Self::File { .. } => {
                "the credentials for Google Vertex cannot be used".to_owned()
            }
        }
    }
}

impl Source {
    /// What the environment holds.
    ///
    /// # Errors
    /// When there is nothing, or a file that cannot be used.
    pub fn found(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, TokenError> {
        if let Some(token) = super::secret(TOKEN_VARIABLE, env).map_err(TokenError::Unusable)? {
            return Ok(Self::of(Kind::Given(Arc::new(token))));
        }
        let path = env("GOOGLE_APPLICATION_CREDENTIALS").filter(|path| !path.trim().is_empty());
        let path = path.ok_or(TokenError::None)?;
        let wrong = |why: String| TokenError::File { path: path.clone(), why };
        let text = file::read(Path::new(&path)).map_err(wrong)?;
        let credentials = Credentials::parse(&text).map_err(wrong)?;
        Ok(Self::of(Kind::File { path: path.into(), credentials }))
    }

    fn of(kind: Kind) -> Self {
        Self(Arc::new(Inner { kind, kept: Mutex::new(None) }))
    }

    /// A token that is good for some minutes more. Whoever comes while one is being fetched waits for it.
    pub(super) async fn token(&self, now: Timestamp) -> Result<Arc<Secret>, TokenError> {
        let credentials = match &self.0.kind {
            Kind::Given(token) => return Ok(token.clone()),
            Kind::File { credentials, .. } => credentials,
        };
        let mut kept = self.0.kept.lock().await;
        if let Some((token, until)) = kept.as_ref()
            && now.duration_until(*until) > SPARE
        {
            return Ok(token.clone());
        }
        let (token, until) = credentials.fetch(now).await.map_err(TokenError::Call)?;
        let token = Arc::new(token);
        *kept = Some((token.clone(), until));
        Ok(token)
    }

    pub(super) fn secrets(&self) -> Vec<String> {
        match &self.0.kind {
            Kind::Given(token) => vec![token.text()],
            Kind::File { credentials, .. } => credentials.secrets(),
        }
    }

    /// The files that hold credentials.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        match &self.0.kind {
            Kind::Given(_) => Vec::new(),
            Kind::File { path, credentials } => {
                std::iter::once(path.clone()).chain(credentials.file()).collect()
            }
        }
    }
}
