//! Comments on an issue or a pull request.

use http::Method;
use serde_json::json;

use super::client::GitHub;
use super::error::Error;
use super::transport::{Again, Call, Deadline};
use super::wire::{self, account};
use super::{COMMENT_CHARS_MAX, Comment, Posted, limits};

/// GitHub allows 2,500 comments on an issue.
const COMMENT_PAGES_MAX: usize = 30;
const WRITE: &str = "pull-requests: write";
const READ: &str = "pull-requests: read";
/// How often a comment is sent whose answer got lost.
const SENDS_MAX: u32 = 3;
/// How often it is looked for after that: what GitHub took may show a little later.
const LOOKS: u32 = 3;

const HIDE: &str = "mutation($id: ID!) { minimizeComment(input: { subjectId: $id, classifier: OUTDATED }) \
                    { minimizedComment { isMinimized } } }";

impl GitHub {
    /// Every comment, the oldest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn comments(&self, number: u64) -> Result<Vec<Comment>, Error> {
        self.comments_by(number, self.deadline()).await
    }

    async fn comments_by(&self, number: u64, deadline: Deadline) -> Result<Vec<Comment>, Error> {
        let call = Call::get(self.at(&format!("/issues/{number}/comments?per_page=100")), READ);
        let found: Vec<wire::Comment> = self.whole(&call, COMMENT_PAGES_MAX, deadline).await?;
        Ok(found.into_iter().map(comment).collect())
    }

    /// Writes a comment, and sends it once.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Unsure`] where it may be there or not.
    pub async fn create_comment(&self, number: u64, body: &str) -> Result<Comment, Error> {
        self.send_comment(number, body, self.deadline()).await
    }

    /// Writes a comment that is there once: where an answer gets lost, a comment of ours with this marker
    /// is looked for before it is sent again. The marker is a part of the body that no other comment has.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Unsure`] where it may be there or not, after looking.
    pub async fn create_comment_once(&self, number: u64, body: &str, marker: &str) -> Result<Posted, Error> {
        if marker.is_empty() || !body.contains(marker) {
            return Err(Error::NoMarker);
        }
        let deadline = self.deadline();
        let mut sends = 1;
        loop {
            let error = match self.send_comment(number, body, deadline).await {
                Ok(comment) if sends == 1 => return Ok(Posted { comment, found: false }),
                Ok(comment) => {
                    self.only_one(number, marker, &comment, deadline).await;
                    return Ok(Posted { comment, found: false });
                }
                Err(error @ Error::Unsure { .. }) => error,
                Err(error) => return Err(error),
            };
            for look in 0..LOOKS {
                let wait = limits::backoff(look + 1);
                if wait >= self.transport().clock.until(deadline.0) {
                    return Err(error);
                }
                self.transport().clock.sleep(wait).await;
                let Ok(ours) = self.ours(number, body, marker, deadline).await else { continue };
                if let Some(comment) = ours.into_iter().next() {
                    return Ok(Posted { comment, found: true });
                }
            }
            if sends == SENDS_MAX {
                return Err(error);
            }
            sends += 1;
        }
    }

    /// Replaces a comment's text.
    ///
    /// # Errors
    /// [`Error`]; [`Error::NotFound`] where it is gone.
    pub async fn update_comment(&self, id: u64, body: &str) -> Result<Comment, Error> {
        check_length(body)?;
        let call =
            Call::write(Method::PATCH, self.at(&format!("/issues/comments/{id}")), WRITE, Again::Freely)
                .json(&json!({ "body": body }));
        Ok(comment(self.read(&call, self.deadline()).await?))
    }

    /// Takes a comment away; one that is gone already is fine.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_comment(&self, id: u64) -> Result<(), Error> {
        self.delete_by(id, self.deadline()).await
    }

    async fn delete_by(&self, id: u64, deadline: Deadline) -> Result<(), Error> {
        let target = self.at(&format!("/issues/comments/{id}"));
        let call = Call::write(Method::DELETE, target, WRITE, Again::Freely);
        match self.transport().call(&call, deadline).await {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Folds a comment away as outdated.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn hide_comment(&self, node_id: &str) -> Result<(), Error> {
        self.graphql(HIDE, &json!({ "id": node_id }), WRITE, self.deadline()).await.map(|_| ())
    }

    async fn send_comment(&self, number: u64, body: &str, deadline: Deadline) -> Result<Comment, Error> {
        check_length(body)?;
        let target = self.at(&format!("/issues/{number}/comments"));
        let call = Call::write(Method::POST, target, WRITE, Again::Never).json(&json!({ "body": body }));
        let answer = self.transport().call(&call, deadline).await?;
        match self.parsed(&call, &answer) {
            Ok(written) => Ok(comment(written)),
            // It was written, and the answer does not say as what.
            Err(error) => Err(Error::Unsure { call: call.name(), why: error.to_string() }),
        }
    }

    /// Our comments with this marker, the oldest first. Where it cannot be told who we are, the whole body
    /// must be ours: a marker alone may be planted by anybody.
    async fn ours(
        &self,
        number: u64,
        body: &str,
        marker: &str,
        deadline: Deadline,
    ) -> Result<Vec<Comment>, Error> {
        let me = self.whoami_by(deadline).await.ok().map(|me| me.login);
        let mut comments = self.comments_by(number, deadline).await?;
        comments.retain(|comment| match &me {
            Some(me) => comment.author.login == *me && comment.body.contains(marker),
            None => comment.body == body,
        });
        Ok(comments)
    }

    /// A lost comment that came after all goes again: the one that was answered stays.
    async fn only_one(&self, number: u64, marker: &str, comment: &Comment, deadline: Deadline) {
        for other in self.ours(number, &comment.body, marker, deadline).await.unwrap_or_default() {
            if other.id != comment.id {
                // One comment is there and known; a second one that stays is untidy, and no failure.
                let _ = self.delete_by(other.id, deadline).await;
            }
        }
    }
}

fn check_length(body: &str) -> Result<(), Error> {
    let chars = body.chars().count();
    if chars > COMMENT_CHARS_MAX { Err(Error::CommentTooLong { chars }) } else { Ok(()) }
}

fn comment(found: wire::Comment) -> Comment {
    Comment {
        id: found.id,
        node_id: found.node_id,
        author: account(found.user),
        app: found.performed_via_github_app.and_then(|app| app.slug),
        body: found.body.unwrap_or_default(),
        url: found.html_url,
        updated: found.updated_at,
    }
}
