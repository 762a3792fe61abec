use super::*;
use crate::event::{Change, Event, FileChange, Kind, Person};

mod asked;
mod ecosystems;
mod judged;
mod patches;
mod phrases;

pub(super) fn person(association: Option<&str>) -> Person {
    Person { login: "someone".to_owned(), bot: false, association: association.map(str::to_owned) }
}

fn file(path: &str, additions: u64, deletions: u64) -> FileChange {
    FileChange { path: path.to_owned(), additions, deletions, patch: None }
}

/// A change with these files, by somebody who may write.
pub(super) fn change(title: &str, files: &[(&str, u64, u64)]) -> Change {
    let files: Vec<FileChange> =
        files.iter().map(|(path, added, deleted)| file(path, *added, *deleted)).collect();
    Change {
        title: title.to_owned(),
        branch: "topic".to_owned(),
        author: person(Some("MEMBER")),
        files_total: files.len() as u64,
        additions_total: files.iter().map(|file| file.additions).sum(),
        deletions_total: files.iter().map(|file| file.deletions).sum(),
        files,
        ..Change::default()
    }
}

pub(super) fn opened(change: Change) -> Event {
    let mut event = Event::bare(Kind::PullRequest, "acme/widgets");
    event.action = Some("opened".to_owned());
    event.change = Some(change);
    event
}

pub(super) fn commented(change: Change, text: &str, author: Person) -> Event {
    let mut event = opened(change);
    event.kind = Kind::IssueComment;
    event.action = Some("created".to_owned());
    event.comment = Some((text.to_owned(), author));
    event
}

pub(super) fn code_change() -> Change {
    change("Keep the queue sorted on insert", &[("src/queue.rs", 40, 12)])
}

fn docs_change() -> Change {
    change("Explain queues", &[("docs/queues.md", 30, 2)])
}
