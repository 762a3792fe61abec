//! Where the event comes from: `--event`, GitHub Actions' environment, or the local repository.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::git::Git;
use super::{Event, EventError, Kind, Person, github, local};

/// The environment, one variable at a time, so that tests bring their own.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The largest payload read, in MiB; GitHub's own limit is 25 MB.
const PAYLOAD_MIB_MAX: u64 = 64;

/// A payload, and how its event is called.
struct Payload {
    name: Option<String>,
    bytes: Vec<u8>,
}

/// The event that this run answers to, with its changed files as far as the checkout at `dir` has them.
///
/// `file` (`--event`) comes first, then `GITHUB_EVENT_PATH`, then the local repository.
///
/// # Errors
/// No event can be made of what is there.
pub fn current(env: Env<'_>, file: Option<&Path>, dir: &Path) -> Result<Event, EventError> {
    let Some(payload) = read(env, file)? else {
        return Ok(local::event(&Git::find(env, dir)?)?);
    };
    let mut event = from_payload(env, payload)?;
    if let Ok(git) = Git::find(env, dir) {
        local::fill(&git, &mut event);
    }
    Ok(event)
}

/// The event of a payload, with what it lacks taken from the environment.
fn from_payload(env: Env<'_>, payload: Payload) -> Result<Event, EventError> {
    let named = |name: &str| env(name).filter(|value| !value.is_empty());
    let name = match payload.name {
        Some(name) => name,
        None => github::guess(&payload.bytes, named("GITHUB_EVENT_NAME").as_deref())?,
    };
    let mut event = github::parse(&name, &payload.bytes)?;
    if event.repository.is_empty() {
        event.repository = named("GITHUB_REPOSITORY").unwrap_or_default();
    }
    if event.repository_id.is_none() {
        event.repository_id = named("GITHUB_REPOSITORY_ID").and_then(|id| id.parse().ok());
    }
    if event.actor.login.is_empty() {
        let login = named("GITHUB_ACTOR").unwrap_or_default();
        event.actor = Person { bot: login.ends_with("[bot]"), login, association: None };
    }
    Ok(event)
}

/// Reads the payload, if there is one.
fn read(env: Env<'_>, file: Option<&Path>) -> Result<Option<Payload>, EventError> {
    let named = |name: &str| env(name).filter(|value| !value.is_empty());
    if let Some(path) = file {
        return Ok(Some(Payload { name: None, bytes: read_file(path)? }));
    }
    let name = named("GITHUB_EVENT_NAME");
    match (named("GITHUB_EVENT_PATH").map(PathBuf::from), name) {
        (Some(path), name) => Ok(Some(Payload { name, bytes: read_file(&path)? })),
        (None, Some(name)) => Err(EventError::NoPayload(name)),
        (None, None) => Ok(None),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, EventError> {
    let failed = |error| EventError::Read { path: path.to_owned(), error };
    let limit = PAYLOAD_MIB_MAX * 1024 * 1024;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(EventError::TooLarge { path: path.to_owned(), max: PAYLOAD_MIB_MAX });
    }
    Ok(bytes)
}

impl Event {
    /// An event of `kind` in `repository` about which nothing else is known.
    #[must_use]
    pub fn bare(kind: Kind, repository: &str) -> Self {
        Self {
            kind,
            action: None,
            label: None,
            repository: repository.to_owned(),
            repository_id: None,
            default_branch: "main".to_owned(),
            public: false,
            actor: Person::default(),
            change: None,
            issue: None,
            comment: None,
            inputs: BTreeMap::new(),
        }
    }
}
