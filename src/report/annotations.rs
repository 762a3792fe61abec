//! Annotations: lines that GitHub's runner shows on the run's page.

use std::fmt;

use super::alerts::{Alert, What};
use super::{Run, around, defuse, story};
use crate::outcome::Verdict;

/// How grave an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Notice,
    /// To be looked at.
    Warning,
    /// The check fails.
    Error,
}

/// An annotation. Displayed as the runner's command, escaped so that it is one line and one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// How grave it is.
    pub level: Level,
    /// Its title.
    pub title: String,
    /// Its text.
    pub message: String,
}

impl fmt::Display for Annotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Notice => "notice",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        write!(f, "::{level} title={}::{}", property(&self.title), data(&self.message))
    }
}

/// Escapes a command's text, as `@actions/core` does.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a command's property, which also ends at a colon or a comma.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// What a finished run is annotated with; nothing where it passes.
#[must_use]
pub fn verdict(run: &Run) -> Option<Annotation> {
    let level = match run.gate.verdict {
        Verdict::Pass => return None,
        Verdict::Warn => Level::Warning,
        Verdict::Fail => Level::Error,
    };
    let hint = story::hint(run).map_or(String::new(), |hint| format!("\n{}", defuse::plain(&hint)));
    let reason = story::reason(run).unwrap_or_default();
    let message = format!("{}{hint}", defuse::plain(&reason));
    Some(Annotation { level, title: defuse::plain(&story::headline(run)), message })
}

/// What an alert is annotated with.
#[must_use]
pub fn alert(alert: &Alert) -> Annotation {
    let whole = alert.spent >= alert.limit;
    let title = match &alert.what {
        What::Cap => "Agent cost",
        What::Budget(_) => "Agent budget",
    };
    let message = defuse::plain(&around::sentence(alert));
    let level = if whole { Level::Warning } else { Level::Notice };
    Annotation { level, title: title.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_line_and_cannot_be_left() {
        let annotation = Annotation {
            level: Level::Warning,
            title: "a,b: c::d%".to_owned(),
            message: "50 %\r\n::error::no".to_owned(),
        };
        assert_eq!(annotation.to_string(), "::warning title=a%2Cb%3A c%3A%3Ad%25::50 %25%0D%0A::error::no");
    }

    #[test]
    fn an_alert_says_what_is_reached_and_not_that_it_is_all() {
        let usd = crate::money::Usd::from_dollars;
        let mut reached = Alert { what: What::Cap, percent: 80, spent: usd(17), limit: usd(20), own: true };
        let message = alert(&reached).message;
        assert_eq!(message, "This run has spent $17.00 of $20.00: 80 % of its cap is reached.");
        reached.what = What::Budget("monthly repo budget".to_owned());
        let message = alert(&reached).message;
        assert_eq!(message, "The monthly repo budget stands at $17.00 of $20.00: 80 % is reached.");
    }
}
