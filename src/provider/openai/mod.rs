//! OpenAI Responses and Chat Completions, and servers that speak them.
//!
//! Both APIs say nearly the same with other names, so that one reader serves both: `request`, with `fields`
//! and `content`, finds the values that matter, `ceiling` bounds what they can cost in tokens, `splice`
//! changes them in place, `reader` follows a response to its usage, `answer` speaks when the meter answers
//! by itself, and [`usage`] knows what a usage object means.

mod answer;
mod ceiling;
mod content;
mod fields;
mod reader;
mod request;
mod splice;
pub mod usage;

pub use super::splice::parse_count;
pub use answer::{say, say_stop};
pub use reader::Reader;
pub use request::Request;

use super::{Endpoint, events, tail};

/// Which of the two APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/v1/responses`.
    Responses,
    /// `/v1/chat/completions`.
    Chat,
}

/// What a request line is for, and in which form; `None` for anything that is not on the list.
///
/// Azure's paths are on it as well: `/openai/v1/…` has the same endpoints, and
/// `/openai/deployments/NAME/chat/completions` names the model itself.
#[must_use]
pub fn endpoint(method: &str, path: &str) -> Option<(Form, Endpoint)> {
    let path = path.split_once('?').map_or(path, |(path, _query)| path);
    let rest = path.strip_prefix("/openai/v1/").or_else(|| path.strip_prefix("/v1/"));
    match (method, rest) {
        ("POST", Some("responses")) => Some((Form::Responses, Endpoint::Generate)),
        ("POST", Some("responses/input_tokens")) => Some((Form::Responses, Endpoint::Count)),
        ("POST", Some("chat/completions")) => Some((Form::Chat, Endpoint::Generate)),
        ("GET", Some("models")) => Some((Form::Chat, Endpoint::Models)),
        ("GET", Some(rest)) => {
            let id = rest.strip_prefix("models/").filter(|id| super::is_model_name(id));
            id.map(|_| (Form::Chat, Endpoint::Models))
        }
        ("POST", None) if path == "/openai/responses" => Some((Form::Responses, Endpoint::Generate)),
        ("POST", None) => deployment(path).map(|_| (Form::Chat, Endpoint::Generate)),
        _ => None,
    }
}

/// The deployment that a path of Azure's names.
fn deployment(path: &str) -> Option<&str> {
    let path = path.split_once('?').map_or(path, |(path, _query)| path);
    let name = path.strip_prefix("/openai/deployments/")?.strip_suffix("/chat/completions")?;
    super::is_model_name(name).then_some(name)
}

/// The path with another deployment; `None` where it names none.
pub(super) fn path_of(path: &str, model: &crate::model::ModelId) -> Option<String> {
    let deployment = deployment(path)?;
    let rest = path.strip_prefix("/openai/deployments/")?.strip_prefix(deployment)?;
    Some(format!("/openai/deployments/{model}{rest}"))
}

/// The path of the count endpoint beside a path of a generation.
#[must_use]
pub fn count_path(path: &str) -> String {
    let (path, query) = path.split_once('?').map_or((path, ""), |(path, query)| (path, query));
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{path}/input_tokens{mark}{query}")
}
