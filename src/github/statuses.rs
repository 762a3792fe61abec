//! Commit statuses.

use http::Method;
use serde_json::json;

use super::client::GitHub;
use super::error::Error;
use super::transport::{Again, Call};
use super::{StatusState, path, wire};

/// The longest description that GitHub takes, in characters.
const DESCRIPTION_CHARS_MAX: usize = 140;

impl GitHub {
    /// Sets a commit's status in a context; a description of more than 140 characters is cut.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Unsure`] where it may be there or not.
    pub async fn create_status(
        &self,
        sha: &str,
        state: StatusState,
        context: &str,
        description: &str,
        target_url: Option<&str>,
    ) -> Result<(), Error> {
        let state = match state {
            StatusState::Pending => "pending",
            StatusState::Success => "success",
            StatusState::Failure => "failure",
            StatusState::Error => "error",
        };
        let description = cut(description);
        let mut body = json!({ "state": state, "context": context, "description": description });
        if let Some(url) = target_url {
            body["target_url"] = json!(url);
        }
        let sha = path::segment(sha);
        let target = self.at(&format!("/statuses/{sha}"));
        let call = Call::write(Method::POST, target, "statuses: write", Again::Never).json(&body);
        let deadline = self.deadline();
        let Err(error) = self.transport().call(&call, deadline).await else { return Ok(()) };
        if !matches!(error, Error::Unsure { .. }) {
            return Err(error);
        }
        // The newest of a context is the one that counts, and comes first.
        let target = self.at(&format!("/commits/{sha}/statuses?per_page=100"));
        let look = Call::get(target, "statuses: read");
        let Ok(statuses) = self.read::<Vec<wire::Status>>(&look, deadline).await else { return Err(error) };
        let newest = statuses.into_iter().find(|status| status.context == context);
        let there = newest.is_some_and(|status| {
            status.state == state
                && status.description.as_deref() == Some(description.as_str())
                && status.target_url.as_deref() == target_url
        });
        if there { Ok(()) } else { self.transport().call(&call, deadline).await.map(|_| ()) }
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= DESCRIPTION_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(DESCRIPTION_CHARS_MAX - 1).chain(['…']).collect()
}
