//! One line of `tollgate classify --input`: an event in a flat shape, with its files, as evaluation
//! sets and scripts write it.

use std::collections::BTreeMap;

use super::borrowed::Json;
use super::json::cut;
use super::{
    Change, Event, EventError, FILES_MAX, FileChange, Kind, PATCH_BYTES_MAX, PATCHES_BYTES_MAX, Person,
};

/// The line's `id`, and its event.
///
/// The line names no relation between people and the repository, so everybody counts as trusted. Keys
/// that this shape does not have, such as an expected answer, are not looked at.
///
/// # Errors
/// JSON that is none, an unsupported event name, or a line without its `id`, `event`, `title` or `files`.
pub fn parse(text: &str) -> Result<(String, Event), EventError> {
    let root: Json<'_> = serde_json::from_str(text).map_err(EventError::Json)?;
    let id = text_at(&root, "id", "/id")?;
    let about = root.get("event").filter(|value| matches!(value, Json::Object(_)));
    let about = about.ok_or_else(|| missing("object", "/event"))?;
    let name = text_at(about, "name", "/event/name")?;
    let Some((_, kind)) = Kind::GITHUB.into_iter().find(|(known, _)| *known == name) else {
        return Err(EventError::Unsupported(name));
    };
    let login = text_or_empty(about, "sender");
    let bot = about.text("sender_type") == Some("Bot") || login.ends_with("[bot]");
    let actor = Person { login, bot, association: None };
    let event = Event {
        kind,
        action: about.text("action").map(cut),
        label: about.text("label").map(cut),
        repository: text_or_empty(&root, "source"),
        repository_id: None,
        default_branch: "main".to_owned(),
        public: true,
        change: Some(change(&root)?),
        issue: None,
        comment: root.text("comment").map(|text| (cut(text), actor.clone())),
        actor,
        inputs: inputs(about),
    };
    Ok((id, event))
}

/// A dispatch's inputs, those that are texts.
fn inputs(about: &Json<'_>) -> BTreeMap<String, String> {
    let members = about.get("inputs").map_or(&[][..], Json::members);
    // The last of several with the same key counts, also where it is no text.
    let last: BTreeMap<&str, &Json<'_>> = members.iter().map(|(key, value)| (&**key, value)).collect();
    let text = |(key, value): (&str, &Json<'_>)| Some((key.to_owned(), cut(value.as_str()?)));
    last.into_iter().filter_map(text).collect()
}

fn patch(file: &Json<'_>, room: &mut usize) -> Option<String> {
    let patch = file.text("patch").filter(|patch| patch.len() <= PATCH_BYTES_MAX.min(*room))?;
    *room -= patch.len();
    Some(patch.to_owned())
}

fn change(root: &Json<'_>) -> Result<Change, EventError> {
    if root.opt("files").is_none() {
        return Err(missing("array", "/files"));
    }
    let mut files = Vec::new();
    let mut room = PATCHES_BYTES_MAX;
    for (index, file) in root.items("files").iter().take(FILES_MAX).enumerate() {
        let path = file.text("path").ok_or_else(|| missing("text", &format!("/files/{index}/path")))?;
        files.push(FileChange {
            path: cut(path),
            additions: file.count("additions").unwrap_or(0),
            deletions: file.count("deletions").unwrap_or(0),
            patch: patch(file, &mut room),
        });
    }
    let sum = |count: fn(&FileChange) -> u64| files.iter().map(count).sum::<u64>();
    let labels = root.items("labels").iter().filter_map(|label| label.as_str().map(cut));
    Ok(Change {
        title: text_at(root, "title", "/title")?,
        body: text_or_empty(root, "body"),
        labels: labels.collect(),
        branch: text_or_empty(root, "branch"),
        base: "main".to_owned(),
        head_sha: text_or_empty(root, "sha"),
        files_total: root.count("files_total").unwrap_or(files.len() as u64),
        additions_total: root.count("additions_total").unwrap_or_else(|| sum(|file| file.additions)),
        deletions_total: root.count("deletions_total").unwrap_or_else(|| sum(|file| file.deletions)),
        files,
        ..Change::default()
    })
}

fn text_at(value: &Json<'_>, key: &str, pointer: &str) -> Result<String, EventError> {
    value.text(key).map(cut).ok_or_else(|| missing("text", pointer))
}

fn text_or_empty(value: &Json<'_>, key: &str) -> String {
    value.text(key).map(cut).unwrap_or_default()
}

fn missing(what: &'static str, pointer: &str) -> EventError {
    EventError::Missing { document: "input line".to_owned(), what, pointer: pointer.to_owned() }
}
