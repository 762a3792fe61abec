//! Whether a comment may start an agent: who wrote it, and whether it was just written.

use crate::event::{Event, Kind};

/// What to do about a comment that starts nothing.
pub(super) const HINT: &str = "somebody who may write to the repository can ask in a new comment";

/// Why the event starts no agent; `None` where it may, as every event does that is no comment.
///
/// How the forge relates an author to the repository is as old as the event, and some that it names may only
/// read: where the API can be asked, its word has taken the place of the event's before this is called.
#[must_use]
pub(super) fn refused(event: &Event) -> Option<String> {
    if !matches!(event.kind, Kind::IssueComment | Kind::ReviewComment) {
        return None;
    }
    let (_, author) = event.comment.as_ref()?;
    let why = match event.action.as_deref() {
        _ if author.bot => "the comment is by a bot, which cannot ask for anything",
        // What was agreed to in a comment is not what it says after an edit.
        Some("edited" | "deleted") => {
            "the comment was edited or deleted, and only a new one can ask for something"
        }
        _ if !author.trusted() => {
            "the comment is by somebody who may not write to the repository, so it cannot start an agent"
        }
        _ => return None,
    };
    Some(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Person;

    #[test]
    fn only_a_new_comment_by_somebody_who_may_write_starts_an_agent() {
        for (kind, action, association, bot, starts) in [
            (Kind::IssueComment, "created", "COLLABORATOR", false, true),
            (Kind::ReviewComment, "created", "OWNER", false, true),
            (Kind::IssueComment, "created", "CONTRIBUTOR", false, false),
            (Kind::IssueComment, "created", "NONE", false, false),
            (Kind::IssueComment, "edited", "OWNER", false, false),
            (Kind::IssueComment, "deleted", "OWNER", false, false),
            (Kind::IssueComment, "created", "OWNER", true, false),
            (Kind::PullRequest, "edited", "NONE", false, true),
        ] {
            let mut event = Event::bare(kind, "o/r");
            event.action = Some(action.to_owned());
            let author = Person { login: "lee".into(), bot, association: Some(association.into()) };
            event.comment = Some(("/agent do it".to_owned(), author));
            assert_eq!(refused(&event).is_none(), starts, "{kind:?} {action} {association} {bot}");
        }
    }
}
