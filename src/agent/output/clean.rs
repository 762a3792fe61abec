//! One line of an agent's output into text that a log viewer cannot mistake for a command.
//!
//! GitHub's runner reads `::name …::` at the start of a line (after any white space) and `##[name …]`
//! anywhere in it as commands. The line is first freed of what cannot be seen (escape sequences, control
//! characters, direction marks), so that nothing hides in front of a command; then commands are broken
//! by a visible character.

use std::borrow::Cow;

/// Put before a line that would be a command.
const BREAK: &str = "│ ";

/// The line as text, without anything invisible. Bytes that are no UTF-8 become `�`.
pub(super) fn visible(line: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(line);
    let harmless = |byte: &u8| (b' '..=b'~').contains(byte) || *byte == b'\t';
    if text.as_bytes().iter().all(harmless) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            skip_escape(&mut chars);
        } else if c == '\t' || !(c.is_control() || is_invisible(c)) {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Skips the rest of an escape sequence (ECMA-48): `[`…final byte, a string up to its terminator, or one
/// character.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next_if(char::is_ascii) {
        Some('[') => {
            while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
            chars.next_if(|c| ('@'..='~').contains(c));
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        Some(' '..='/') => {
            chars.next();
        }
        _ => {}
    }
}

/// Marks that take no room but change how the text around them is read.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The line, unable to speak a workflow command.
pub(super) fn defused(line: &str) -> Cow<'_, str> {
    let line = break_sections(line);
    // More is skipped than any runner does: nothing that is not a letter, digit or ASCII sign counts.
    let start = line.trim_start_matches(|c: char| !c.is_ascii_graphic() && !c.is_alphanumeric());
    if start.starts_with("::") { Cow::Owned(format!("{BREAK}{line}")) } else { line }
}

/// Takes `##[name]`, `##vso[name]` and their like apart, wherever they stand.
fn break_sections(line: &str) -> Cow<'_, str> {
    if !line.contains("##") {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len() + 8);
    let mut rest = line;
    while let Some(at) = rest.find("##") {
        let after = rest[at + 1..].trim_start_matches('#');
        let name = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let head = rest.len() - after.len();
        out.push_str(&rest[..head - 1]);
        out.push_str(if name.starts_with('[') { " #" } else { "#" });
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_are_broken_and_the_rest_is_left_alone() {
        for (line, shown) in [
            ("cargo test", "cargo test"),
            ("std::io::Error", "std::io::Error"),
            ("## Heading", "## Heading"),
            ("#[derive(Debug)]", "#[derive(Debug)]"),
            ("a ## b [x]", "a ## b [x]"),
            ("::error::no", "│ ::error::no"),
            (" \t::add-mask::a", "│  \t::add-mask::a"),
            ("\u{a0}::x::", "│ \u{a0}::x::"),
            ("::x", "│ ::x"),
            ("##[group]x", "# #[group]x"),
            ("a ##[set-env name=X]1", "a # #[set-env name=X]1"),
            ("###[x]", "## #[x]"),
            ("##vso[task.setvariable]x", "# #vso[task.setvariable]x"),
            ("##[a]##[b]", "# #[a]# #[b]"),
            ("##a##[b]", "##a# #[b]"),
        ] {
            assert_eq!(defused(line), shown, "{line:?}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_taken_out() {
        for (line, shown) in [
            (&b"\x1b[31mred\x1b[0m"[..], "red"),
            (b"\x1b]0;title\x07::x::", "::x::"),
            (b"\x1b]8;;http://a\x1b\\link", "link"),
            (b"\x1b(B\x1b[2K\x1b[1G::e::", "::e::"),
            (b"a\x00b\x08c\x7f", "abc"),
            (b"caf\xc3\xa9\ttab", "café\ttab"),
            (b"bad \xff byte", "bad \u{fffd} byte"),
            ("\u{feff}\u{200b}::x::".as_bytes(), "::x::"),
            ("a\u{202e}b\u{2066}c\u{9b}d".as_bytes(), "abcd"),
            (b"\x1b[3", ""),
            (b"\x1b", ""),
        ] {
            assert_eq!(visible(line), shown, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_ever_a_command(line in "[ \t:#\\[\\]a\u{200b}\u{a0}\u{1b}\u{85}\u{2003}v-]{0,24}") {
            let text = visible(line.as_bytes());
            let shown = defused(&text);
            prop_assert!(!shown.trim_start().starts_with("::"), "{:?}", shown);
            prop_assert!(!shown.contains("##["), "{:?}", shown);
        }
    }
}
