//! What may go wrong between here and GitHub. No message holds the token.

use std::time::Duration;

/// A call that failed, and what to do about it.
///
/// `call` is the method and the path; `said` is GitHub's own message, without control characters and cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A rate limit, and no time to wait for its end.
    #[error(
        "GitHub's {limit} is used up for `{call}`: it can be asked again in {} s, and {} s are left\n\n\
         hint: run fewer jobs at once, or give tollgate a token of its own",
        .wait.as_secs(), .left.as_secs()
    )]
    RateLimited {
        /// The call.
        call: String,
        /// Which limit.
        limit: Limit,
        /// How long to wait.
        wait: Duration,
        /// How long this operation had left.
        left: Duration,
    },
    /// The token may not do this.
    #[error(
        "GitHub refuses `{call}`: {said}\n\nhint: the token needs `{permission}`; in a workflow, under `permissions:`"
    )]
    Forbidden {
        /// The call.
        call: String,
        /// GitHub's message.
        said: String,
        /// What the token needs: as GitHub says, or else by its documentation.
        permission: String,
    },
    /// The token is none.
    #[error(
        "GitHub does not know the token of `{call}`: {said}\n\nhint: it may have expired; a workflow's token ends with its job"
    )]
    Unauthorized {
        /// The call.
        call: String,
        /// GitHub's message.
        said: String,
    },
    /// There is no such thing, or the token may not see it.
    #[error(
        "GitHub finds nothing at `{call}`\n\nhint: where it does exist, the token may not see it: it needs `{permission}`"
    )]
    NotFound {
        /// The call.
        call: String,
        /// What the token needs.
        permission: String,
    },
    /// GitHub understood and will not.
    #[error("GitHub rejects `{call}` ({status}): {said}")]
    Rejected {
        /// The call.
        call: String,
        /// The HTTP status, or 200 for an error in a GraphQL answer.
        status: u16,
        /// GitHub's message.
        said: String,
    },
    /// The answer leads elsewhere.
    #[error(
        "`{call}` is redirected to {to}, and the token does not follow\n\nhint: a repository that was renamed has a new name; `GITHUB_API_URL` names the API itself"
    )]
    Redirected {
        /// The call.
        call: String,
        /// The host, or the path on this one.
        to: String,
    },
    /// No connection; nothing was sent.
    #[error(
        "GitHub cannot be reached for `{call}`: {why}\n\nhint: check `GITHUB_API_URL`, the proxy and the network"
    )]
    Unreachable {
        /// The call.
        call: String,
        /// The reason.
        why: String,
    },
    /// Something may have been written, or not.
    #[error("it is not known whether GitHub carried out `{call}`: {why}\n\nhint: look before doing it again")]
    Unsure {
        /// The call.
        call: String,
        /// What happened to the answer.
        why: String,
    },
    /// GitHub has trouble of its own, and had it again when asked again.
    #[error("GitHub did not answer `{call}`: {why}\n\nhint: this passes; run it again later")]
    Unavailable {
        /// The call.
        call: String,
        /// What came instead of an answer.
        why: String,
    },
    /// More bytes than are read.
    #[error("the answer to `{call}` is larger than {bytes_max} bytes, which is the most that is read")]
    TooLarge {
        /// The call.
        call: String,
        /// The most that is read.
        bytes_max: usize,
    },
    /// More pages than are read.
    #[error("the list at `{call}` has more than {most} entries, which is the most that is read")]
    TooMany {
        /// The call.
        call: String,
        /// The most that is read.
        most: usize,
    },
    /// A folder or something else that has no bytes.
    #[error("`{path}` is not a file in the repository")]
    NotAFile {
        /// The path.
        path: String,
    },
    /// An answer that cannot be read.
    #[error("the answer to `{call}` is not what GitHub documents: {why}")]
    Garbled {
        /// The call.
        call: String,
        /// What is wrong with it.
        why: String,
    },
    /// A comment that GitHub would not take.
    #[error("the comment has {chars} characters, and GitHub takes {} at most", super::COMMENT_CHARS_MAX)]
    CommentTooLong {
        /// Its length.
        chars: usize,
    },
    /// A comment that could not be found again.
    #[error("the comment does not hold its marker, by which it would be found again")]
    NoMarker,
}

/// Which of GitHub's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Requests an hour.
    Primary,
    /// Requests at once, or writes a minute.
    Secondary,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Limit::Primary => "hourly rate limit",
            Limit::Secondary => "secondary rate limit",
        })
    }
}

/// Why there can be no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not an address of an API.
    #[error(
        "`{0}` is not the address of an API\n\nhint: `GITHUB_API_URL` is like https://api.github.com, or https://HOST/api/v3"
    )]
    NotUrl(String),
    /// Plain HTTP to somewhere else.
    #[error(
        "`{0}` is plain HTTP to another machine: the token would travel unencrypted\n\nhint: use https, or a loopback address"
    )]
    PlainHttp(String),
    /// Not a repository.
    #[error("`{0}` is not a repository\n\nhint: write it like OWNER/REPOSITORY")]
    NotRepository(String),
    /// A token that no header can hold.
    #[error("the GitHub token is empty or holds characters that no token has")]
    NotToken,
    /// No HTTP client.
    #[error("the HTTP client cannot be set up: {0}\n\nhint: are there CA certificates on this machine?")]
    NoClient(String),
}
