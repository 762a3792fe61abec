//! What a remote answers, and what a person can do about each of it.
//!
//! Git says what went wrong in words only, so words are looked for: in English, because it runs with
//! `LC_ALL=C`. What a server adds after `remote:` is its own; GitHub's codes are `GH006` and `GH013`.

use std::time::Duration;

use jiff::Timestamp;

use crate::ledger::store::Damage;

/// Bytes of a server's own words that a message repeats.
const SAID_BYTES_MAX: usize = 600;

/// Why a git ledger cannot be used. Nothing was recorded, unless the message says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// A ruleset or a protected branch refuses the push.
    #[error(
        "the rules of {remote} refuse what tollgate writes to the branch `{branch}`: {said}\n\nhint: leave \
         the branch out of the ruleset that asks for pull requests or checks (rules against deletion and \
         non-fast-forward pushes may stay), or name another ledger with `ledger:` in the budget file"
    )]
    Rules {
        /// Where.
        remote: String,
        /// The branch.
        branch: String,
        /// The server's words.
        said: String,
    },
    /// The rules ask for signed commits.
    #[error(
        "the rules of {remote} ask for signed commits on the branch `{branch}`, and the ledger's are not \
         signed\n\nhint: leave the branch out of that rule, or name another ledger with `ledger:` in the \
         budget file"
    )]
    Unsigned {
        /// Where.
        remote: String,
        /// The branch.
        branch: String,
    },
    /// The credentials may not write.
    #[error(
        "the credentials for {remote} may not write to the branch `{branch}`: {said}\n\nhint: give the job \
         `permissions: {{ contents: write }}`; a token of a fork's pull request can only read"
    )]
    Permission {
        /// Where.
        remote: String,
        /// The branch.
        branch: String,
        /// The server's words.
        said: String,
    },
    /// The credentials are none.
    #[error("{remote} does not accept the credentials for the ledger: {said}\n\nhint: {hint}")]
    Authentication {
        /// Where.
        remote: String,
        /// The server's words.
        said: String,
        /// What to do, by where the credentials come from.
        hint: &'static str,
    },
    /// There is no such repository, or it is not to be seen.
    #[error(
        "there is no repository {remote} that these credentials can see: {said}\n\nhint: check the name \
         after `ledger: git:` in the budget file, and that the token reaches that repository"
    )]
    NotFound {
        /// Where.
        remote: String,
        /// The server's words.
        said: String,
    },
    /// The server cannot be reached, or stopped answering.
    #[error("the ledger at {remote} cannot be reached: {said}\n\nhint: {}", network_hint(*.unsure))]
    Network {
        /// Where.
        remote: String,
        /// What git says.
        said: String,
        /// A push was under way: it may have arrived.
        unsure: bool,
    },
    /// The branch does not continue what was seen of it before.
    #[error(
        "the ledger branch `{branch}` of {remote} was deleted or turned back: {what}\n\nhint: put the branch \
         back to the commit it had; where its history is to begin anew, remove {forget}"
    )]
    Rewound {
        /// Where.
        remote: String,
        /// The branch.
        branch: String,
        /// What was seen, and what is there.
        what: String,
        /// What remembers.
        forget: String,
    },
    /// Others were always faster.
    #[error(
        "the ledger at {remote} was written by others each of the {tries} times that this run tried, for \
         {} s\n\nhint: start the run again; for more than a few starts a second a branch is too slow",
        waited.as_secs()
    )]
    Busy {
        /// Where.
        remote: String,
        /// Attempts.
        tries: u32,
        /// How long.
        waited: Duration,
    },
    /// A line of the branch is damaged.
    #[error(
        "the ledger is damaged: {place}:{line}: {what}\n\nhint: nothing was changed; set the branch back to \
         its last commit before the damage, or delete it to start anew (its past spend then counts no more)"
    )]
    Damaged {
        /// The branch and the file.
        place: String,
        /// The line in the month's events, from 1; 0 for the file as a whole.
        line: u64,
        /// What is wrong.
        what: Box<Damage>,
    },
    /// The branch holds something that no ledger has.
    #[error(
        "the branch `{branch}` of {remote} is no ledger: {what}\n\nhint: name another branch with `ledger: \
         git:BRANCH` in the budget file"
    )]
    Foreign {
        /// Where.
        remote: String,
        /// The branch.
        branch: String,
        /// What is wrong.
        what: String,
    },
    /// This machine's clock is wrong.
    #[error(
        "this machine's clock says {here}, and {whose} says {there}: nothing is recorded with a clock that is \
         more than {} min off\n\nhint: set this machine's clock",
        most.as_secs() / 60
    )]
    Clock {
        /// The machine's time.
        here: Timestamp,
        /// Whose time it is compared with.
        whose: &'static str,
        /// That time.
        there: Timestamp,
        /// The most they may differ.
        most: Duration,
    },
    /// A token would go over an unencrypted connection.
    #[error(
        "the ledger's token would go unencrypted to {remote}\n\nhint: use https; plain http is for this \
         machine itself only"
    )]
    Unencrypted {
        /// Where.
        remote: String,
    },
    /// Git itself fails.
    #[error("git cannot {what} the ledger: {said}\n\nhint: tollgate needs git 2.25 or newer on PATH")]
    Program {
        /// What it was to do.
        what: &'static str,
        /// What it says.
        said: String,
    },
}

fn network_hint(unsure: bool) -> &'static str {
    if unsure {
        "check the network, then start again; what was being recorded may have arrived, and a hold that \
         nobody settles is charged when it expires"
    } else {
        "check the network, then start again; nothing was recorded"
    }
}

/// What went wrong, before it has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Absent,
    Rules,
    Unsigned,
    Permission,
    Authentication,
    NotFound,
    Network,
    Other,
}

/// Which trouble git's words mean. The first that matches decides, so the narrower ones come first.
pub(super) fn trouble(text: &str) -> Trouble {
    const SIGNS: [(Trouble, &[&str]); 7] = [
        (Trouble::Absent, &["couldn't find remote ref"]),
        (Trouble::Unsigned, &["must have verified signatures", "must have valid signatures"]),
        (
            Trouble::Rules,
            &["gh013", "gh006", "rule violations", "protected branch", "hook declined", "push declined"],
        ),
        (
            Trouble::Permission,
            &["error: 403", "write access to repository not granted", "denied to ", "not allowed to push"],
        ),
        (
            Trouble::Authentication,
            &[
                "authentication failed",
                "could not read username",
                "could not read password",
                "terminal prompts disabled",
                "permission denied",
                "host key verification failed",
                "error: 401",
            ],
        ),
        (
            Trouble::NotFound,
            &["repository not found", "error: 404", "not found", "does not appear to be a git repository"],
        ),
        (
            Trouble::Network,
            &[
                "could not resolve",
                "couldn't connect",
                "failed to connect",
                "connection refused",
                "connection reset",
                "connection timed out",
                "operation timed out",
                "timed out",
                "network is unreachable",
                "no route to host",
                "ssl",
                "tls",
                "gnutls",
                "early eof",
                "rpc failed",
                "hung up",
                "empty reply",
                "unexpected disconnect",
                "error: 5",
                "error: 429",
            ],
        ),
    ];
    let text = text.to_lowercase();
    let found = SIGNS.iter().find(|(_, signs)| signs.iter().any(|sign| text.contains(sign)));
    found.map_or(Trouble::Other, |(trouble, _)| *trouble)
}

/// Whether a porcelain status line of a push says that somebody else was faster.
pub(super) fn is_conflict(status: &str) -> bool {
    const SIGNS: [&str; 7] = [
        "(fetch first)",
        "(non-fast-forward)",
        "(stale info)",
        "failed to update ref",
        "cannot lock ref",
        "incorrect old value provided",
        "reference already exists",
    ];
    SIGNS.iter().any(|sign| status.contains(sign))
}

/// What git and the server said, in one line that a terminal can be shown.
pub(super) fn said(text: &str) -> String {
    let lines = text.lines().map(|line| line.trim().trim_start_matches("remote:").trim());
    let told: Vec<String> = lines
        .filter(|line| !line.is_empty() && !line.starts_with("hint:") && !line.starts_with("To "))
        .map(|line| line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
        .collect();
    let mut out = told.join("; ");
    if out.is_empty() {
        out.push_str("it did not say why");
    }
    if let Some((end, _)) = out.char_indices().find(|(at, _)| *at > SAID_BYTES_MAX) {
        out.truncate(end);
        out.push('…');
    }
    out
}
