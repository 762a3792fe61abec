//! The file as a tree of texts with positions, made from the parser's events.
//!
//! Scalars stay the text that the file has, so `4.00` is never a float and `off` never a boolean. What
//! YAML allows beyond keys, lists and scalars (anchors, aliases, tags, merge keys, several documents) is
//! refused here: none of it is needed, and each of it can make a file mean something else than it seems to.
//!
//! Two parsers must take the file: the events are read from `saphyr_parser`, which knows positions, and
//! [`read_by_libyaml`] asks the grammar that most other tools use. What either refuses, or
//! what they read differently, is refused.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};
use serde_yaml::Value;

use super::error::{Mistake, Position, quoted};

/// The most levels of nesting; the format itself has six.
const DEPTH_MAX: usize = 16;

/// A value with its position.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it starts; for an empty value, where its key does.
    pub(super) at: Position,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Kind {
    /// Nothing was written, or `~` or `null`.
    Empty,
    /// A text, with or without quotes.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values. No key is in it twice.
    Map(Vec<(Key, Node)>),
    /// Something that was refused already and needs no second message.
    Refused,
}

/// A key with its position.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Where it starts.
    pub(super) at: Position,
    /// Its text.
    pub(super) text: String,
}

impl Node {
    /// What the value is, for a message that wanted something else.
    pub(super) fn described(&self) -> String {
        match &self.kind {
            Kind::Empty => "nothing".to_owned(),
            Kind::Scalar(text) => quoted(text),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "keys with values".to_owned(),
            Kind::Refused => "something else".to_owned(),
        }
    }
}

/// Reads a text into a tree. Mistakes that still leave a tree go to `mistakes`.
///
/// # Errors
/// When the text is not YAML, with the one mistake that says where.
pub(super) fn read(text: &str, mistakes: &mut Vec<Mistake>) -> Result<Node, Mistake> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    printable(text)?;
    let mut builder = Builder { parser: Parser::new_from_str(text), text, mistakes };
    let node = builder.document()?;
    if builder.mistakes.is_empty()
        && let Some(at) = disagreement(&node, &read_by_libyaml(text)?)
    {
        return Err(Mistake {
            at,
            key: String::new(),
            problem: "readers of YAML do not agree on what is written here".to_owned(),
            hint: "put the text between quotes, and keep remarks out of it".to_owned(),
        });
    }
    Ok(node)
}

/// YAML has no control characters, and neither parser says well where one is. The line breaks that only
/// YAML 1.1 knows go with them: its readers would see other lines than those of YAML 1.2.
fn printable(text: &str) -> Result<(), Mistake> {
    let bad = |c: char| (c.is_control() && !matches!(c, '\t' | '\r')) || matches!(c, '\u{2028}' | '\u{2029}');
    for (index, line) in text.lines().enumerate() {
        if let Some((column, c)) = line.chars().enumerate().find(|(_, c)| bad(*c)) {
            return Err(Mistake {
                at: Position { line: index + 1, column: column + 1 },
                key: String::new(),
                problem: format!("there is a control character here, `{}`", c.escape_unicode()),
                hint: "remove it; in a text, write it as an escape between double quotes".to_owned(),
            });
        }
    }
    Ok(())
}

/// Reads the text by the grammar of libyaml.
fn read_by_libyaml(text: &str) -> Result<Value, Mistake> {
    serde_yaml::from_str(text).map_err(|error| {
        let at = error.location().map_or(Position::START, |location| Position {
            line: location.line(),
            column: location.column().max(1),
        });
        let said = error.to_string();
        // It reads integers into 128 bits, whatever they are for.
        if said.contains("invalid type: integer") {
            return Mistake {
                at,
                key: String::new(),
                problem: "the number here is too large".to_owned(),
                hint: "write a smaller one; where it is a text, put it between quotes".to_owned(),
            };
        }
        syntax_mistake(text, at, &said)
    })
}

/// The first place where the tree and what the other parser read are not the same.
fn disagreement(node: &Node, value: &Value) -> Option<Position> {
    match (&node.kind, value) {
        (Kind::Empty, Value::Null) | (Kind::Scalar(_), Value::Number(_) | Value::Bool(_)) => None,
        // A block text that the file ends in, without a line break, gets one from one parser only.
        (Kind::Scalar(text), Value::String(other)) if text.trim_end() == other.trim_end() => None,
        (Kind::List(items), Value::Sequence(others)) if items.len() == others.len() => {
            items.iter().zip(others).find_map(|(item, other)| disagreement(item, other))
        }
        (Kind::Map(entries), Value::Mapping(others)) if entries.len() == others.len() => {
            entries.iter().zip(others).find_map(|((key, item), (other_key, other))| {
                match other_key.as_str().is_some_and(|other_key| other_key != key.text) {
                    true => Some(key.at),
                    false => disagreement(item, other),
                }
            })
        }
        _ => Some(node.at),
    }
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Mistake> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(syntax_mistake(self.text, position(error.marker()), error.info())),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Node, Mistake> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => {
                    self.refuse(
                        position(&span.start),
                        "a second document starts here; the file is one document",
                        "remove the line `---` and what belongs to the other document",
                    );
                    break;
                }
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        Ok(root.unwrap_or(Node { at: Position::START, kind: Kind::Empty }))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Mistake> {
        let at = position(&span.start);
        if depth > DEPTH_MAX {
            return Err(Mistake {
                at,
                key: String::new(),
                problem: format!("the file is nested more than {DEPTH_MAX} levels deep"),
                hint: "see `tollgate init` for how the file is laid out".to_owned(),
            });
        }
        let (anchor, tagged) = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => (0, false),
        };
        if anchor != 0 {
            self.refuse(at, "anchors (`&name`) are not read", "write the value out where it is needed");
        }
        if tagged {
            self.refuse(at, "tags (`!name`) are not read", "leave the tag out");
        }
        let kind = match event {
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::SequenceStart(..) => Kind::List(self.list(depth)?),
            Event::MappingStart(..) => Kind::Map(self.map(depth)?),
            _ => {
                self.refuse(at, "aliases (`*name`) are not read", "write the value out here");
                Kind::Refused
            }
        };
        Ok(Node { at, kind })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Mistake> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd | Event::StreamEnd) {
                return Ok(items);
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(Key, Node)>, Mistake> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                return Ok(entries);
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let mut value = self.node(event, span, depth + 1)?;
            let Some(key) = self.key(key) else { continue };
            if matches!(value.kind, Kind::Empty) {
                value.at = key.at;
            }
            match entries.iter().find(|(earlier, _)| earlier.text == key.text) {
                Some((earlier, _)) => {
                    let problem =
                        format!("the key {} was written before, at {}", quoted(&key.text), earlier.at);
                    self.refuse(key.at, &problem, "keep one of the two");
                }
                None => entries.push((key, value)),
            }
        }
    }

    fn key(&mut self, node: Node) -> Option<Key> {
        match node.kind {
            Kind::Scalar(text) if text == "<<" => {
                self.refuse(node.at, "merge keys (`<<`) are not read", "write the keys out here");
                None
            }
            Kind::Scalar(text) => Some(Key { at: node.at, text }),
            Kind::Refused => None,
            Kind::Empty | Kind::List(_) | Kind::Map(_) => {
                let problem = format!("a key is a word, and this is {}", node.described());
                self.refuse(node.at, &problem, "write `name: value`");
                None
            }
        }
    }

    fn refuse(&mut self, at: Position, problem: &str, hint: &str) {
        self.mistakes.push(Mistake {
            at,
            key: String::new(),
            problem: problem.to_owned(),
            hint: hint.to_owned(),
        });
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Kind {
    let unquoted = style == ScalarStyle::Plain;
    if unquoted && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Kind::Empty;
    }
    Kind::Scalar(text.to_owned())
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

/// The scanner finds out only at the next token that a key has no colon.
const SIMPLE_KEY: &str = "simple key expect";

/// What the parsers' own words mean, and what to do about it: the first entry that occurs in them.
const SYNTAX: [(&str, &str, &str); 14] = [
    (
        "quoted scalar, found unexpected end",
        "a quoted text is not closed",
        "add the closing quote at the end of the text",
    ),
    ("misplaced bracket", "a bracket is closed that was never opened", "remove it, or add the opening one"),
    (
        "flow sequence",
        "a list in `[ ]` is not closed, or a comma is missing in it",
        "write `[a, b]`, with a comma between items and a closing bracket",
    ),
    (
        "flow mapping",
        "keys in `{ }` are not closed, or a comma is missing between them",
        "write `{ a: 1, b: 2 }`, with a comma between pairs and a closing brace",
    ),
    (
        "mapping values are not allowed",
        "there is a second `: ` in this line",
        "put the value on the line after its key, or text that holds `: ` between quotes",
    ),
    (
        SIMPLE_KEY,
        "this line is neither `name: value` nor an item of a list",
        "put a colon and a space after the name of a key, and `- ` before an item",
    ),
    (
        "illegal placement of ':'",
        "a key stands where a list or a text goes on; a bracket or a quote above may not be closed",
        "close it, or put a text that holds a colon between quotes",
    ),
    (
        "block sequence entries are not allowed",
        "a list item cannot start here",
        "start the list on the line after its key: `- item`",
    ),
    (
        "expected '-' indicator",
        "this line is indented like the list above it but is no item of it",
        "start it with `- `, or indent it like the key it belongs to",
    ),
    (
        "did not find expected key",
        "this line does not fit the lines above it",
        "indent the keys of one mapping by the same number of spaces, and write each as `name: value`",
    ),
    (
        "invalid indentation",
        "this line is not indented enough",
        "indent it by two spaces more than the key it belongs to",
    ),
    (
        "unknown anchor",
        "this alias names an anchor that does not exist; aliases are not read anyway",
        "write the value out here, and put text that starts with `*` between quotes",
    ),
    (
        "escape",
        "a backslash in double quotes is followed by something that is no escape",
        "put the text between single quotes, where a backslash is only a backslash",
    ),
    ("unexpected character", "a text cannot start with this character", "put the text between quotes"),
];

/// A mistake of syntax. The parsers' words are for people who know YAML's grammar, so the frequent ones
/// are said in plainer ones.
fn syntax_mistake(text: &str, at: Position, info: &str) -> Mistake {
    let at = if info.contains(SIMPLE_KEY) { last_text_before(text, at.line).unwrap_or(at) } else { at };
    let line = text.lines().nth(at.line - 1).unwrap_or_default();
    let indentation = line.len() - line.trim_start().len();
    let (problem, hint) = if line[..indentation].contains('\t') {
        ("the line is indented with a tab".to_owned(), "YAML indents with spaces only: two for each level")
    } else if let Some((_, problem, hint)) = SYNTAX.iter().find(|(words, ..)| info.contains(words)) {
        ((*problem).to_owned(), *hint)
    } else {
        (format!("this is not YAML: {info}"), "check the indentation, quotes and brackets up to this line")
    };
    Mistake { at, key: String::new(), problem, hint: hint.to_owned() }
}

/// Where the last line with more than a comment starts, before a line.
fn last_text_before(text: &str, line: usize) -> Option<Position> {
    let lines = text.lines().enumerate().take(line.saturating_sub(1));
    let texts = lines.filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    texts.last().map(|(index, line)| Position {
        line: index + 1,
        column: line.chars().take_while(|c| c.is_whitespace()).count() + 1,
    })
}
