//! A JSON document that keeps no copy of what its text says already.
//!
//! [`super::line`] reads thousands of lines of which it needs a few members each, so this is quicker to build,
//! to search and to drop than [`serde_json::Value`]: strings without escapes are borrowed, and objects are
//! lists. It is parsed by the same rules, so what is an error to one is the same error to the other.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value of JSON.
#[derive(Debug)]
pub(super) enum Json<'a> {
    Null,
    Text(Text<'a>),
    /// A whole number that is not negative.
    Count(u64),
    /// Any other number, `true` or `false`: nothing that an event is read from.
    Other,
    Array(Vec<Json<'a>>),
    /// Its members in the document's order. Of those with the same key the last one counts.
    Object(Vec<(Text<'a>, Json<'a>)>),
}

/// A string of the document.
pub(super) type Text<'a> = Cow<'a, str>;

impl<'a> Json<'a> {
    /// The member `key` of an object.
    pub(super) fn get(&self, key: &str) -> Option<&Json<'a>> {
        self.members().iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The member `key`, unless it is absent or null.
    pub(super) fn opt(&self, key: &str) -> Option<&Json<'a>> {
        self.get(key).filter(|value| !matches!(value, Json::Null))
    }

    /// The text at `key`.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The count at `key`.
    pub(super) fn count(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Json::Count(count) => Some(*count),
            _ => None,
        }
    }

    /// The items of the array at `key`; none where it is absent.
    pub(super) fn items(&self, key: &str) -> &[Json<'a>] {
        match self.get(key) {
            Some(Json::Array(items)) => items,
            _ => &[],
        }
    }

    /// The members of an object; none of anything else.
    pub(super) fn members(&self) -> &[(Text<'a>, Json<'a>)] {
        match self {
            Json::Object(members) => members,
            _ => &[],
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Json<'de>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("any valid JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, count: u64) -> Result<Json<'de>, E> {
        Ok(Json::Count(count))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(Key(key)) = from.next_key()? {
            members.push((key, from.next_value()?));
        }
        Ok(Json::Object(members))
    }
}

/// The key of a member. A plain `Cow` would always be a copy.
struct Key<'a>(Text<'a>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AnyKey;
        impl<'de> Visitor<'de> for AnyKey {
            type Value = Key<'de>;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a string key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        from.deserialize_str(AnyKey)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_document_is_an_error_here_where_it_is_one_as_a_value() {
        let deep = "[".repeat(200);
        for text in [
            "",
            "{",
            "{\"a\":1,}",
            "{\"a\":}",
            "{1:2}",
            "[1 2]",
            "[1] x",
            "\"\u{1}\"",
            r#""\q""#,
            r#""\ud800""#,
            "1e999",
            "01",
            "nul",
            "truth",
            &deep,
        ] {
            let here = serde_json::from_str::<Json<'_>>(text).expect_err(text).to_string();
            let there = serde_json::from_str::<Value>(text).expect_err(text).to_string();
            assert_eq!(here, there, "{text}");
        }
    }

    #[test]
    fn members_are_found_as_in_a_value() {
        let text = r#"{"a":1,"b":-1,"c":1.0,"d":"x\ny","e":null,"\u0066":[true,"y"],"a":2}"#;
        let json: Json<'_> = serde_json::from_str(text).expect("it is JSON");
        assert_eq!((json.count("a"), json.count("b"), json.count("c")), (Some(2), None, None));
        assert_eq!((json.text("d"), json.text("a"), json.text("z")), (Some("x\ny"), None, None));
        assert!(json.get("e").is_some() && json.opt("e").is_none() && json.opt("d").is_some());
        assert_eq!(json.items("f").iter().map(Json::as_str).collect::<Vec<_>>(), [None, Some("y")]);
        assert!(json.items("a").is_empty() && json.items("f")[1].members().is_empty());
    }
}
