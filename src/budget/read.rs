//! From a tree to typed values: one trait, and two macros that declare keys and words.
//!
//! A declaration is the only place where a key or a word is named. The reader, the message that lists
//! what may stand there, and the JSON Schema all come from it, so they cannot disagree.

use serde_json::{Map, Value, json};

use super::error::{Mistake, Position, nearest, one_of, quoted};
use super::tree::{Key, Kind, Node};

/// Where a value stands: its position and the path of keys to it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) at: Position,
    pub(super) key: String,
}

impl Place {
    /// The file as a whole.
    pub(super) fn root(node: &Node) -> Self {
        Self { at: node.at, key: String::new() }
    }

    fn below(&self, key: &Key, node: &Node) -> Self {
        let plain = !key.text.is_empty()
            && key.text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let key = match (plain, self.key.is_empty()) {
            (true, true) => key.text.clone(),
            (true, false) => format!("{}.{}", self.key, key.text),
            (false, _) => format!("{}[{}]", self.key, quoted(&key.text).replace('`', "\"")),
        };
        Self { at: node.at, key }
    }

    fn item(&self, index: usize, node: &Node) -> Self {
        Self { at: node.at, key: format!("{}[{index}]", self.key) }
    }

    /// A mistake at this place.
    pub(super) fn mistake(&self, problem: impl Into<String>, hint: impl Into<String>) -> Mistake {
        Mistake { at: self.at, key: self.key.clone(), problem: problem.into(), hint: hint.into() }
    }
}

/// A value with its place, for checks that come after reading.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// Something the file can hold.
pub(super) trait Read: Sized {
    /// Reads it, or says what is wrong with it and returns nothing.
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self>;

    /// What an editor should accept for it.
    fn schema() -> Value;
}

impl<T: Read> Read for At<T> {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        T::read(node, place, mistakes).map(|value| At { place: place.clone(), value })
    }

    fn schema() -> Value {
        T::schema()
    }
}

/// The most items of any list, and the most keys of a mapping whose keys are free.
const ITEMS_MAX: usize = 200;

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let items = match &node.kind {
            Kind::List(items) => items,
            Kind::Refused => return None,
            _ => {
                let problem = format!("expected a list, found {}", node.described());
                mistakes.push(
                    place.mistake(problem, "write the items in brackets, `[ … ]`, or one a line after `- `"),
                );
                return None;
            }
        };
        if !within_limit(items.len(), "items", place, mistakes) {
            return None;
        }
        let read = |(index, item): (usize, &Node)| T::read(item, &place.item(index, item), mistakes);
        Some(items.iter().enumerate().filter_map(read).collect())
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema(), "maxItems": ITEMS_MAX })
    }
}

fn within_limit(count: usize, what: &str, place: &Place, mistakes: &mut Vec<Mistake>) -> bool {
    if count > ITEMS_MAX {
        let problem = format!("{count} {what} are more than the {ITEMS_MAX} that are allowed");
        mistakes.push(place.mistake(problem, "use fewer, broader ones"));
    }
    count <= ITEMS_MAX
}

/// A mapping from words to values, in the file's order: by task, by stakes, by tier.
#[derive(Clone, Debug)]
pub(super) struct By<K, V>(pub(super) Vec<(K, At<V>)>);

impl<K: Words, V: Read> Read for By<K, V> {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let mut values = Vec::new();
        for (key, value) in entries(node, place, mistakes)? {
            let below = place.below(key, value);
            match K::WORDS.iter().find(|(word, _)| *word == key.text) {
                Some((_, word)) => {
                    values.extend(At::read(value, &below, mistakes).map(|value| (*word, value)));
                }
                None => {
                    let words: Vec<&str> = K::WORDS.iter().map(|(word, _)| *word).collect();
                    mistakes.push(Place { at: key.at, ..below }.mistake(
                        format!("{} is no {}", quoted(&key.text), K::WHAT),
                        meant(&key.text, &words, "write"),
                    ));
                }
            }
        }
        Some(Self(values))
    }

    fn schema() -> Value {
        let properties: Map<String, Value> =
            K::WORDS.iter().map(|(word, _)| ((*word).to_owned(), V::schema())).collect();
        json!({ "type": "object", "properties": properties, "additionalProperties": false })
    }
}

/// A mapping whose keys are the person's own.
#[derive(Debug)]
pub(super) struct Named<V>(pub(super) Vec<(At<String>, V)>);

impl<V: Read> Read for Named<V> {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let entries = entries(node, place, mistakes)?;
        if !within_limit(entries.len(), "keys", place, mistakes) {
            return None;
        }
        let mut values = Vec::new();
        for (key, value) in entries {
            let below = place.below(key, value);
            let name = At { place: Place { at: key.at, key: below.key.clone() }, value: key.text.clone() };
            values.extend(V::read(value, &below, mistakes).map(|value| (name, value)));
        }
        Some(Self(values))
    }

    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": V::schema() })
    }
}

/// A value, or the word `off`.
#[derive(Clone, Copy, Debug)]
pub(super) enum OrOff<T> {
    Off,
    Is(T),
}

impl<T: Read> Read for OrOff<T> {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        match &node.kind {
            Kind::Scalar(text) if text == "off" => Some(Self::Off),
            Kind::Scalar(text) if ["false", "no", "none", "never", "Off", "OFF"].contains(&text.as_str()) => {
                mistakes.push(place.mistake(format!("{} is not read here", quoted(text)), "write `off`"));
                None
            }
            _ => T::read(node, place, mistakes).map(Self::Is),
        }
    }

    fn schema() -> Value {
        // Editors that follow YAML 1.1 read an unquoted `off` as a boolean.
        json!({ "anyOf": [T::schema(), { "enum": ["off", false] }] })
    }
}

/// A closed set of words.
pub(super) trait Words: Copy + 'static {
    /// What one of them is called in a message.
    const WHAT: &'static str;
    /// The words and what they mean.
    const WORDS: &'static [(&'static str, Self)];
    /// Words that are planned: each with what to write until then.
    const LATER: &'static [(&'static str, &'static str)];
}

/// Reads one word of a set.
pub(super) fn word<T: Words>(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<T> {
    let text = text(node, place, mistakes)?;
    if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    mistakes.push(match T::LATER.iter().find(|(word, _)| *word == text) {
        Some((word, hint)) => place.mistake(not_built(word), *hint),
        None => {
            let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
            place.mistake(format!("{} is no {}", quoted(text), T::WHAT), meant(text, &words, "write"))
        }
    });
    None
}

/// What the schema says of a set of words.
pub(super) fn word_schema<T: Words>() -> Value {
    let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
    // Editors that follow YAML 1.1 read an unquoted `off` as a boolean.
    let boolean = words.contains(&"off").then_some(json!(false));
    let words: Vec<Value> = words.into_iter().map(Value::from).chain(boolean).collect();
    json!({ "enum": words })
}

/// The message for something that is planned, by name.
pub(super) fn not_built(name: &str) -> String {
    format!("`{name}` is not supported by this version of tollgate yet")
}

/// `did you mean …?` where a word is near, the whole list otherwise.
pub(super) fn meant(word: &str, words: &[&str], verb: &str) -> String {
    match nearest(word, words.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{verb} {}", one_of(words)),
    }
}

/// The text of a scalar.
pub(super) fn text<'a>(node: &'a Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<&'a str> {
    match &node.kind {
        Kind::Scalar(text) => return Some(text),
        Kind::Refused => {}
        Kind::Empty => mistakes.push(place.mistake("no value was written", "write one, or remove the key")),
        Kind::List(_) | Kind::Map(_) => {
            let problem = format!("expected one value, found {}", node.described());
            mistakes.push(place.mistake(problem, "write a single value"));
        }
    }
    None
}

/// The entries of a mapping.
pub(super) fn entries<'a>(
    node: &'a Node,
    place: &Place,
    mistakes: &mut Vec<Mistake>,
) -> Option<&'a [(Key, Node)]> {
    match &node.kind {
        Kind::Map(entries) => return Some(entries),
        Kind::Refused => {}
        _ => {
            let problem = format!("expected keys with values, found {}", node.described());
            mistakes.push(place.mistake(problem, "write `{ name: value }`, or one `name: value` a line"));
        }
    }
    None
}

/// What is known of the keys of a mapping.
pub(super) struct Keys {
    pub(super) known: &'static [&'static str],
    /// Planned ones, each with what to write until then.
    pub(super) later: &'static [(&'static str, &'static str)],
    /// Those that must be there, each with what to add.
    pub(super) required: &'static [(&'static str, &'static str)],
}

impl Keys {
    /// Where the value of each known key stands; says what is wrong with the other keys, and what is missing.
    pub(super) fn sort<'a>(
        &self,
        node: &'a Node,
        place: &Place,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Vec<(&'static str, &'a Node, Place)>> {
        let entries = entries(node, place, mistakes)?;
        let mut sorted = Vec::new();
        for (key, value) in entries {
            let below = place.below(key, value);
            if let Some(known) = self.known.iter().find(|known| **known == key.text) {
                sorted.push((*known, value, below));
                continue;
            }
            let below = Place { at: key.at, ..below };
            mistakes.push(match self.later.iter().find(|(name, _)| *name == key.text) {
                Some((name, hint)) => below.mistake(not_built(name), *hint),
                None => {
                    below.mistake("there is no such key", meant(&key.text, self.known, "the keys here are"))
                }
            });
        }
        for (name, hint) in self.required {
            if !entries.iter().any(|(key, _)| key.text == *name) {
                mistakes.push(place.mistake(format!("`{name}` is missing"), *hint));
            }
        }
        Some(sorted)
    }

    /// The schema of the mapping, from the schemas and descriptions of its keys.
    pub(super) fn schema(&self, about: &[&str], properties: Vec<(&str, &[&str], Value)>) -> Value {
        let prose = |lines: &[&str]| lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        let properties: Map<String, Value> = properties
            .into_iter()
            .map(|(name, about, mut schema)| {
                schema["description"] = Value::from(prose(about));
                (name.to_owned(), schema)
            })
            .collect();
        let required: Vec<&str> = self.required.iter().map(|(name, _)| *name).collect();
        let mut schema = json!({
            "description": prose(about),
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    }
}

/// Declares a mapping of the file: its keys, what they hold, which are required and which are planned.
macro_rules! mapping {
    (
        $(#[doc = $about:literal])*
        $name:ident {
            $($(#[doc = $doc:literal])* $key:literal => $field:ident: $type:ty,)*
        }
        required { $($required:literal: $add:literal,)* }
        later { $($later:literal: $instead:literal,)* }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Default)]
        pub(super) struct $name {
            $($(#[doc = $doc])* pub(super) $field: Option<At<$type>>,)*
        }

        impl $name {
            pub(super) const KEYS: Keys = Keys {
                known: &[$($key),*],
                later: &[$(($later, $instead)),*],
                required: &[$(($required, $add)),*],
            };
        }

        impl Read for $name {
            fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
                let mut read = Self::default();
                for (key, value, below) in Self::KEYS.sort(node, place, mistakes)? {
                    match key {
                        $($key => read.$field = Read::read(value, &below, mistakes),)*
                        _ => {}
                    }
                }
                Some(read)
            }

            fn schema() -> Value {
                Self::KEYS.schema(&[$($about),*], vec![$(($key, &[$($doc),*], <$type>::schema())),*])
            }
        }
    };
}

/// Declares a set of words, what each means, and which are planned.
macro_rules! words {
    (
        $type:ty, $what:literal { $($word:literal => $value:expr,)* }
        later { $($later:literal: $instead:literal,)* }
    ) => {
        impl Words for $type {
            const WHAT: &'static str = $what;
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $value)),*];
            const LATER: &'static [(&'static str, &'static str)] = &[$(($later, $instead)),*];
        }

        impl Read for $type {
            fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
                word(node, place, mistakes)
            }

            fn schema() -> Value {
                word_schema::<Self>()
            }
        }
    };
}

pub(super) use {mapping, words};
