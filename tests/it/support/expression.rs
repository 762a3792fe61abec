//! GitHub's expressions, as far as actions of ours may use them: `${{ inputs.x || env.Y }}`.
//!
//! Stricter than the runner: what it would quietly take for an empty string is an error here.

use std::iter::Peekable;
use std::str::Chars;

/// What names an expression may use.
pub(crate) trait Names {
    /// The value of a dotted name such as `inputs.task`; `None` where there is no such name.
    fn value(&self, name: &str) -> Option<String>;
    /// Whether an earlier step has failed, for `success()`, `failure()` and `always()`.
    fn failed(&self) -> bool;
}

/// A text with the values of its `${{ }}` in their places.
///
/// # Panics
/// On an expression that is wrong, or of a kind that this does not know.
pub(crate) fn text(template: &str, names: &dyn Names) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${{") {
        let (inner, after) = after.split_once("}}").expect("an expression ends with }}");
        out.push_str(before);
        out.push_str(&value(inner, names));
        rest = after;
    }
    out + rest
}

/// Whether an `if:` holds: as in the runner, `success() &&` is meant where no status function is named.
pub(crate) fn condition(text: &str, names: &dyn Names) -> bool {
    let inner = text.trim().strip_prefix("${{").and_then(|inner| inner.strip_suffix("}}")).unwrap_or(text);
    let status =
        ["always()", "success()", "failure()", "cancelled()"].iter().any(|name| inner.contains(name));
    (status || !names.failed()) && truthy(&value(inner, names))
}

/// The value of what stands between `${{` and `}}`.
fn value(expression: &str, names: &dyn Names) -> String {
    let mut parser = Parser { chars: expression.chars().peekable(), names };
    let value = parser.any();
    parser.blank();
    assert!(parser.chars.next().is_none(), "an expression goes on where it should end: {expression}");
    value
}

fn truthy(value: &str) -> bool {
    !["", "false", "0"].contains(&value)
}

struct Parser<'a> {
    chars: Peekable<Chars<'a>>,
    names: &'a dyn Names,
}

impl Parser<'_> {
    fn blank(&mut self) {
        while self.chars.next_if(|c| c.is_whitespace()).is_some() {}
    }

    /// Takes an operator of two characters.
    fn takes(&mut self, operator: &str) -> bool {
        self.blank();
        let mut ahead = self.chars.clone();
        let here = operator.chars().all(|c| ahead.next() == Some(c));
        if here {
            self.chars = ahead;
        }
        here
    }

    fn any(&mut self) -> String {
        let mut left = self.all();
        while self.takes("||") {
            let right = self.all();
            left = if truthy(&left) { left } else { right };
        }
        left
    }

    fn all(&mut self) -> String {
        let mut left = self.equal();
        while self.takes("&&") {
            let right = self.equal();
            left = if truthy(&left) { right } else { left };
        }
        left
    }

    fn equal(&mut self) -> String {
        let left = self.one();
        for (operator, same) in [("==", true), ("!=", false)] {
            if self.takes(operator) {
                let right = self.one();
                return (left.eq_ignore_ascii_case(&right) == same).to_string();
            }
        }
        left
    }

    fn one(&mut self) -> String {
        self.blank();
        match self.chars.next() {
            Some('!') => (!truthy(&self.one())).to_string(),
            Some('(') => {
                let inner = self.any();
                assert!(self.takes(")"), "a bracket is not closed");
                inner
            }
            Some('\'') => self.quoted(),
            Some(first) if first.is_ascii_alphanumeric() => self.name(first),
            other => panic!("an expression has {other:?} where a value should stand"),
        }
    }

    /// A text in quotes; two quotes are one.
    fn quoted(&mut self) -> String {
        let mut out = String::new();
        loop {
            match self.chars.next().expect("a text in quotes is closed") {
                '\'' if self.chars.next_if_eq(&'\'').is_none() => return out,
                c => out.push(c),
            }
        }
    }

    fn name(&mut self, first: char) -> String {
        let mut name = String::from(first);
        while let Some(c) = self.chars.next_if(|&c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
            name.push(c);
        }
        // A context as a whole has its JSON for a value.
        if name == "toJSON" {
            assert!(self.takes("("), "toJSON needs a context");
            let inner = self.any();
            assert!(self.takes(")"), "a bracket is not closed");
            return inner;
        }
        if self.takes("()") {
            return match name.as_str() {
                "always" => true,
                "success" => !self.names.failed(),
                "failure" => self.names.failed(),
                "cancelled" => false,
                _ => panic!("this does not know the function {name}()"),
            }
            .to_string();
        }
        match name.as_str() {
            "true" | "false" => name,
            "null" => String::new(),
            number if number.chars().all(|c| c.is_ascii_digit()) => name,
            _ => self.names.value(&name).unwrap_or_else(|| panic!("there is no `{name}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct These(bool);

    impl Names for These {
        fn value(&self, name: &str) -> Option<String> {
            let value = match name {
                "inputs.full" => "x",
                "inputs.empty" | "env.NONE" => "",
                "matrix" => "{\"os\":\"linux\"}",
                "steps.a-b.outputs.c_d" => "it's",
                _ => return None,
            };
            Some(value.to_owned())
        }

        fn failed(&self) -> bool {
            self.0
        }
    }

    #[test]
    fn values_are_put_where_they_belong() {
        for (template, expected) in [
            ("plain", "plain"),
            ("${{ inputs.full }}-${{inputs.empty}}", "x-"),
            ("${{ inputs.empty || env.NONE || 'it''s' }}", "it's"),
            ("${{ inputs.full == 'X' }}", "true"),
            ("${{ toJSON(matrix) }}", "{\"os\":\"linux\"}"),
            ("${{ inputs.full != 'x' && 'a' || 'b' }}", "b"),
            ("${{ !(inputs.empty || false) }}", "true"),
            ("${{ steps.a-b.outputs.c_d }}", "it's"),
        ] {
            assert_eq!(text(template, &These(false)), expected, "{template}");
        }
    }

    #[test]
    fn a_condition_without_a_status_function_means_success() {
        for (condition_, ok, failed) in [
            ("inputs.full == 'x'", true, false),
            ("always()", true, true),
            ("${{ failure() }}", false, true),
            ("success() && inputs.empty", false, false),
            ("!cancelled()", true, true),
        ] {
            assert_eq!(condition(condition_, &These(false)), ok, "{condition_}");
            assert_eq!(condition(condition_, &These(true)), failed, "{condition_}");
        }
    }

    #[test]
    #[should_panic(expected = "there is no `inputs.tsak`")]
    fn a_name_that_is_not_there_is_an_error() {
        text("${{ inputs.tsak }}", &These(false));
    }
}
