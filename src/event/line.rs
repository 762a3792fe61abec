//! One line of `tollgate classify --input`: an event in a flat shape, with its files, as evaluation
//! sets and scripts write it.

use serde_json::Value;

use super::json::{At, cut};
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
    let value: Value = serde_json::from_str(text).map_err(EventError::Json)?;
    let root = At::root("input line", &value);
    let id = root.text("id")?;
    let about = root.object("event")?;
    let name = about.text("name")?;
    let Some((_, kind)) = Kind::GITHUB.into_iter().find(|(known, _)| *known == name) else {
        return Err(EventError::Unsupported(name));
    };
    let login = about.text_or_empty("sender");
    let bot = about.text_opt("sender_type").as_deref() == Some("Bot") || login.ends_with("[bot]");
    let actor = Person { login, bot, association: None };
    let inputs = match about.opt("inputs").map(|inputs| inputs.value()) {
        Some(Value::Object(map)) => {
            map.iter().filter_map(|(key, value)| Some((key.clone(), cut(value.as_str()?)))).collect()
        }
        _ => std::collections::BTreeMap::new(),
    };
    let event = Event {
        kind,
        action: about.text_opt("action"),
        label: about.text_opt("label"),
        repository: root.text_or_empty("source"),
        repository_id: None,
        default_branch: "main".to_owned(),
        public: true,
        change: Some(change(&root)?),
        issue: None,
        comment: root.text_opt("comment").map(|text| (text, actor.clone())),
        actor,
        inputs,
    };
    Ok((id, event))
}

fn patch(file: &At<'_>, room: &mut usize) -> Option<String> {
    let patch =
        file.value().get("patch")?.as_str().filter(|patch| patch.len() <= PATCH_BYTES_MAX.min(*room))?;
    *room -= patch.len();
    Some(patch.to_owned())
}

fn change(root: &At<'_>) -> Result<Change, EventError> {
    if root.opt("files").is_none() {
        return Err(root.missing("array", "files"));
    }
    let mut files = Vec::new();
    let mut room = PATCHES_BYTES_MAX;
    for file in root.items("files").iter().take(FILES_MAX) {
        files.push(FileChange {
            path: file.text("path")?,
            additions: file.number_opt("additions").unwrap_or(0),
            deletions: file.number_opt("deletions").unwrap_or(0),
            patch: patch(file, &mut room),
        });
    }
    let sum = |count: fn(&FileChange) -> u64| files.iter().map(count).sum::<u64>();
    let label = |at: &At<'_>| at.value().as_str().map(cut);
    Ok(Change {
        title: root.text("title")?,
        body: root.text_or_empty("body"),
        labels: root.items("labels").iter().filter_map(label).collect(),
        branch: root.text_or_empty("branch"),
        base: "main".to_owned(),
        head_sha: root.text_or_empty("sha"),
        files_total: root.number_opt("files_total").unwrap_or(files.len() as u64),
        additions_total: root.number_opt("additions_total").unwrap_or_else(|| sum(|file| file.additions)),
        deletions_total: root.number_opt("deletions_total").unwrap_or_else(|| sum(|file| file.deletions)),
        files,
        ..Change::default()
    })
}
