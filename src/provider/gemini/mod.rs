//! Google's Gemini API.
//!
//! The model is named in the path, and every field has two spellings (`maxOutputTokens`,
//! `max_output_tokens`). `request` finds the values that matter, `ceiling` bounds what they can cost in
//! tokens, `splice` changes them in place, `reader` follows a response to its usage, `answer` speaks when
//! the meter answers by itself, and [`usage`] knows what a usage object means.

mod answer;
mod ceiling;
mod reader;
mod request;
mod splice;
pub mod usage;

pub use answer::{say, say_stop};
pub use reader::Reader;
pub use request::Request;
pub use splice::parse_count;

use super::{Endpoint, events, scan, tail};

/// What a request line is for; `None` for anything that is not on the list.
#[must_use]
pub fn endpoint(method: &str, path: &str) -> Option<Endpoint> {
    let path = path.split_once('?').map_or(path, |(path, _query)| path);
    if method == "GET" {
        let rest = path.strip_prefix("/v1beta/models")?;
        let one = rest.strip_prefix('/').is_some_and(super::is_model_name);
        return (rest.is_empty() || one).then_some(Endpoint::Models);
    }
    let (_, action) = target(path)?;
    match (method, action) {
        ("POST", "generateContent" | "streamGenerateContent") => Some(Endpoint::Generate),
        ("POST", "countTokens") => Some(Endpoint::Count),
        _ => None,
    }
}

/// The model and the action of a path such as `/v1beta/models/gemini-3.8-flash:generateContent`.
fn target(path: &str) -> Option<(&str, &str)> {
    let path = path.split_once('?').map_or(path, |(path, _query)| path);
    let rest = ["/v1beta/models/", "/v1/models/", "/v1alpha/models/"]
        .into_iter()
        .find_map(|start| path.strip_prefix(start))?;
    let (model, action) = rest.split_once(':')?;
    super::is_model_name(model).then_some((model, action))
}
