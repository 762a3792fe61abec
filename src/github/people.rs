//! People: what they may do, and who we are.

use std::sync::PoisonError;

use serde_json::json;

use super::client::{GitHub, found};
use super::error::Error;
use super::transport::{Again, Call, Deadline};
use super::wire::{self, account};
use super::{Account, Permission, path};

impl GitHub {
    /// What an account may do in the repository. Who is not known may do nothing; a role that the
    /// organization made counts as what it is based on, and as no more than writing.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn permission(&self, login: &str) -> Result<Permission, Error> {
        if matches!(login, "" | "." | "..") {
            return Ok(Permission::None);
        }
        let login = path::segment(login);
        let call = Call::get(self.at(&format!("/collaborators/{login}/permission")), "metadata: read");
        let answer: Option<wire::Permission> = found(self.read(&call, self.deadline()).await)?;
        Ok(answer.map_or(Permission::None, |answer| {
            role(&answer.role_name).unwrap_or_else(|| {
                let base = role(&answer.permission).unwrap_or(Permission::None);
                base.min(Permission::Write)
            })
        }))
    }

    /// Whose name is on what this token writes: `github-actions[bot]` for the token of a workflow.
    ///
    /// Asked through GraphQL, which answers every kind of token; `GET /user` refuses those of
    /// installations, and is asked only where there is no GraphQL.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn whoami(&self) -> Result<Account, Error> {
        self.whoami_by(self.deadline()).await
    }

    pub(super) async fn whoami_by(&self, deadline: Deadline) -> Result<Account, Error> {
        let remembered = || self.remembered_whoami().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = remembered().clone() {
            return Ok(known);
        }
        let query = "query { viewer { login databaseId } }";
        let me = match self.graphql(query, &json!({}), "metadata: read", deadline).await {
            Ok(data) => {
                let viewer = &data["viewer"];
                let login = viewer["login"].as_str().unwrap_or_default().to_owned();
                if login.is_empty() {
                    return Err(Error::Garbled {
                        call: "POST /graphql".to_owned(),
                        why: "`viewer` has no `login`".to_owned(),
                    });
                }
                let bot = login.ends_with("[bot]");
                Account { login, id: viewer["databaseId"].as_u64().unwrap_or_default(), bot }
            }
            Err(Error::NotFound { .. }) => {
                let call = Call::get("/user", "metadata: read");
                account(Some(self.read(&call, deadline).await?))
            }
            Err(error) => return Err(error),
        };
        *remembered() = Some(me.clone());
        Ok(me)
    }

    /// Asks GraphQL for something that may be asked twice.
    pub(super) async fn graphql(
        &self,
        query: &str,
        variables: &serde_json::Value,
        permission: &'static str,
        deadline: Deadline,
    ) -> Result<serde_json::Value, Error> {
        let call = Call::write(http::Method::POST, self.transport().graphql(), permission, Again::Freely)
            .json(&json!({ "query": query, "variables": variables }));
        let answer: wire::GraphQl = self.read(&call, deadline).await?;
        match answer.errors.first() {
            None => answer.data.ok_or_else(|| self.transport().garbled(&call, "there is no `data`")),
            Some(error) => {
                let (name, said) = (call.name(), self.transport().clean(&error.message));
                Err(match error.r#type.as_str() {
                    "NOT_FOUND" => call.not_found(),
                    "FORBIDDEN" | "INSUFFICIENT_SCOPES" => {
                        Error::Forbidden { call: name, said, permission: permission.to_owned() }
                    }
                    _ => Error::Rejected { call: name, status: 200, said },
                })
            }
        }
    }
}

fn role(name: &str) -> Option<Permission> {
    Some(match name {
        "admin" => Permission::Admin,
        "maintain" => Permission::Maintain,
        "write" | "push" => Permission::Write,
        "triage" => Permission::Triage,
        "read" | "pull" => Permission::Read,
        "none" => Permission::None,
        _ => return None,
    })
}
