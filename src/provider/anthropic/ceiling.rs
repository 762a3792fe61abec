//! The most tokens that a request can use.

use super::super::{Edits, InputBound};
use super::Request;
use crate::model::{Limits, ModelId};
use crate::tokens::Ceiling;

impl Request {
    /// The most that the request can use once `edits` are made. `limits` says what a model can do at
    /// most; it is asked for the request's model (or the one in `edits`), every fallback and the advisor.
    #[must_use]
    pub fn ceiling(
        &self,
        _edits: &Edits,
        _limits: &dyn Fn(&ModelId) -> Limits,
        _input: InputBound,
    ) -> Ceiling {
        unimplemented!()
    }
}
