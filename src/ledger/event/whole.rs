//! A line in one pass: its body is read as what the type before it says, where every tollgate writes it.
//!
//! Lines that are otherwise, such as those of a newer tollgate, are left to [`decode`](super::decode), which looks
//! at one thing after the other and says what is wrong.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::{Kind, LineHash, Note};
use crate::id::HoldId;

/// What a line says.
pub(super) struct Whole {
    pub(super) v: u32,
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    pub(super) hold: HoldId,
    pub(super) kind: Kind,
    pub(super) prev: LineHash,
}

/// The kind of event that a type's name stands for, out of its body; `None` for a name that is not known.
pub(super) fn kind<'de, D: Deserializer<'de>>(name: &str, body: D) -> Option<Result<Kind, D::Error>> {
    Some(match name {
        "reserve" => Deserialize::deserialize(body).map(Kind::Reserve),
        "settle" => Deserialize::deserialize(body).map(Kind::Settle),
        "void" => Deserialize::deserialize(body).map(Kind::Void),
        "expire" => Deserialize::deserialize(body).map(Kind::Expire),
        "adjust" => Deserialize::deserialize(body).map(Kind::Adjust),
        "refuse" => Deserialize::deserialize(body).map(Kind::Refuse),
        "extend" => Deserialize::deserialize(body).map(Kind::Extend),
        "repair" => Deserialize::deserialize(body).map(|body| Kind::Note(Note::Repair(body))),
        "bill" => Deserialize::deserialize(body).map(|body| Kind::Note(Note::Bill(body))),
        _ => return None,
    })
}

struct Body<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, body: D) -> Result<Kind, D::Error> {
        kind(self.0, body).unwrap_or_else(|| Err(D::Error::custom("a type that is not known")))
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    V,
    Seq,
    At,
    T,
    Hold,
    Body,
    Prev,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(line: D) -> Result<Self, D::Error> {
        line.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Whole;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Whole, A::Error> {
        let (mut v, mut seq, mut at, mut hold, mut prev) = (None, None, None, None, None);
        let (mut name, mut kind): (Option<String>, _) = (None, None);
        while let Some(field) = map.next_key()? {
            match field {
                Field::V => once(&mut v, map.next_value()?)?,
                Field::Seq => once(&mut seq, map.next_value()?)?,
                Field::At => once(&mut at, map.next_value()?)?,
                Field::T => once(&mut name, map.next_value()?)?,
                Field::Hold => once(&mut hold, map.next_value()?)?,
                Field::Prev => once(&mut prev, map.next_value()?)?,
                Field::Body => {
                    let name = name.as_deref().ok_or_else(|| A::Error::custom("a body before its type"))?;
                    once(&mut kind, map.next_value_seed(Body(name))?)?;
                }
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Whole {
            v: there(v)?,
            seq: there(seq)?,
            at: there(at)?,
            hold: there(hold)?,
            kind: there(kind)?,
            prev: there(prev)?,
        })
    }
}

/// Takes a field's value. One that is there twice is an error, for two readers might not take the same.
fn once<T, E: Error>(field: &mut Option<T>, value: T) -> Result<(), E> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom("a field is there twice")),
    }
}

fn there<T, E: Error>(field: Option<T>) -> Result<T, E> {
    field.ok_or_else(|| E::custom("a field is missing"))
}
