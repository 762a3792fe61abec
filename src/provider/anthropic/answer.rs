//! What the meter says in the provider's place.

use super::super::{Answer, Problem};
use super::Request;

/// A finished assistant turn with one text block and no tool call, as a stream where one was asked for.
/// `id` tells one such answer from another.
#[must_use]
pub fn say_stop(_request: &Request, _text: &str, _id: &str) -> Answer {
    unimplemented!()
}

/// A problem in the API's own error shape.
#[must_use]
pub fn say(_problem: &Problem) -> Answer {
    unimplemented!()
}
