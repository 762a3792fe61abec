//! Anthropic Messages.
//!
//! `scan` reads JSON strictly without building a tree; `request`, with `fields`, `content` and `tools`,
//! finds the few values that matter, `ceiling` bounds what they can cost in tokens, `splice` changes them in place, `reader` follows a
//! response to its usage, `betas` knows the names in a header, and `answer` speaks when the meter answers by itself. [`usage`] is the only
//! place that knows what a usage object means.

mod answer;
mod betas;
mod ceiling;
mod content;
mod fields;

mod reader;
mod request;

mod splice;

mod tools;
pub mod usage;

pub use super::splice::parse_count;
pub use answer::{say, say_stop};
pub use betas::unknown_betas;
pub use reader::Reader;
pub use request::Request;

use super::{Endpoint, image, scan, tail};

/// What a request line is for; `None` for anything that is not on the list.
///
/// Files, batches and every path written in an unusual way (a doubled slash, an escape) are not on it.
/// A query (`?beta=true`) is let through.
#[must_use]
pub fn endpoint(method: &str, path: &str) -> Option<Endpoint> {
    let path = path.split_once('?').map_or(path, |(path, _query)| path);
    match (method, path) {
        ("POST", "/v1/messages") => Some(Endpoint::Generate),
        ("POST", "/v1/messages/count_tokens") => Some(Endpoint::Count),
        ("GET", "/v1/models") => Some(Endpoint::Models),
        ("GET", _) => {
            path.strip_prefix("/v1/models/").filter(|id| super::is_model_name(id)).map(|_| Endpoint::Models)
        }
        _ => None,
    }
}
