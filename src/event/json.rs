//! A cursor over a JSON document that knows where it is, so that an error can say what is missing where.

use jiff::Timestamp;
use serde_json::Value;

use super::{EventError, TEXT_BYTES_MAX};

/// A value inside a payload, and the way to it.
#[derive(Clone)]
pub(super) struct At<'a> {
    document: &'a str,
    value: &'a Value,
    pointer: String,
}

impl<'a> At<'a> {
    pub(super) fn root(document: &'a str, value: &'a Value) -> Self {
        Self { document, value, pointer: String::new() }
    }

    /// The member `key`, unless it is absent or null: GitHub uses both for "there is none".
    pub(super) fn opt(&self, key: &str) -> Option<At<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(At { document: self.document, value, pointer: self.pointer_to(key) })
    }

    pub(super) fn object(&self, key: &str) -> Result<At<'a>, EventError> {
        self.opt(key).filter(|at| at.value.is_object()).ok_or_else(|| self.missing("object", key))
    }

    pub(super) fn text(&self, key: &str) -> Result<String, EventError> {
        self.text_opt(key).ok_or_else(|| self.missing("text", key))
    }

    pub(super) fn text_opt(&self, key: &str) -> Option<String> {
        self.value.get(key)?.as_str().map(cut)
    }

    pub(super) fn text_or_empty(&self, key: &str) -> String {
        self.text_opt(key).unwrap_or_default()
    }

    pub(super) fn number(&self, key: &str) -> Result<u64, EventError> {
        self.number_opt(key).ok_or_else(|| self.missing("number", key))
    }

    pub(super) fn number_opt(&self, key: &str) -> Option<u64> {
        self.value.get(key)?.as_u64()
    }

    pub(super) fn time_opt(&self, key: &str) -> Option<Timestamp> {
        self.value.get(key)?.as_str()?.parse().ok()
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.value.get(key)?.as_bool()
    }

    /// The members of the array at `key`; none where it is absent.
    pub(super) fn items(&self, key: &str) -> Vec<At<'a>> {
        let pointer = self.pointer_to(key);
        let items = self.value.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let at =
            |(index, value)| At { document: self.document, value, pointer: format!("{pointer}/{index}") };
        items.iter().enumerate().map(at).collect()
    }

    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    pub(super) fn missing(&self, what: &'static str, key: &str) -> EventError {
        EventError::Missing { document: self.document.to_owned(), what, pointer: self.pointer_to(key) }
    }

    fn pointer_to(&self, key: &str) -> String {
        format!("{}/{}", self.pointer, key.replace('~', "~0").replace('/', "~1"))
    }
}

/// `text`, cut to [`TEXT_BYTES_MAX`] at the end of a character.
pub(super) fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
