//! The live meter on stderr: a progress bar on a terminal, elsewhere a line at every tenth of the cap.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::text;
use crate::gate::Tokens;
use crate::meter::{Phase, Snapshot};
use crate::money::Usd;

/// A progress bar counts in whole millionths of a dollar: pico-dollars are more than it can hold.
const PICO_PER_STEP: i128 = 1_000_000;
/// How the bar looks, with and without colour.
const COLOUR: &str = "tollgate {bar:24.green/dim} {percent:>3} % of the cap · {msg}";
const PLAIN: &str = "tollgate {bar:24} {percent:>3} % of the cap · {msg}";

/// The live meter. Feed it every snapshot.
#[derive(Debug)]
pub enum Live {
    /// On a terminal.
    Bar(ProgressBar),
    /// Elsewhere.
    Lines(LiveLines),
}

impl Live {
    /// A meter for stderr: `terminal` says whether that is one, `colour` whether colours are wanted
    /// (`NO_COLOR` is not set).
    #[must_use]
    pub fn new(terminal: bool, colour: bool, cap: Usd) -> Self {
        if !terminal {
            return Self::Lines(LiveLines::default());
        }
        let bar = ProgressBar::with_draw_target(Some(steps(cap)), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(if colour { COLOUR } else { PLAIN });
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏░"));
        }
        Self::Bar(bar)
    }

    /// Shows how far the run is.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn on(&mut self, snapshot: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Bar(bar) => {
                let by_tokens = snapshot.fresh_cap.filter(|_| snapshot.cap == Usd::ZERO);
                bar.set_length(by_tokens.unwrap_or(steps(snapshot.cap)));
                bar.set_position(by_tokens.map_or(steps(snapshot.settled), |_| snapshot.fresh));
                bar.set_message(says(snapshot));
                Ok(())
            }
            Self::Lines(lines) => match lines.on(snapshot) {
                Some(line) => writeln!(out, "{line}"),
                None => Ok(()),
            },
        }
    }

    /// Takes the bar away: the result says all it said.
    pub fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn steps(usd: Usd) -> u64 {
    u64::try_from(usd.pico().max(0) / PICO_PER_STEP).unwrap_or(u64::MAX)
}

/// Decides when a line is worth writing: at every tenth of the cap, and when the run changes its phase.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveLines {
    tenths: u32,
    phase: Phase,
}

impl LiveLines {
    /// The line for this snapshot, if it is worth one.
    pub fn on(&mut self, snapshot: &Snapshot) -> Option<String> {
        // Of a cap of nothing, nothing is no tenth.
        let percent = match snapshot.fresh_cap {
            _ if snapshot.cap > Usd::ZERO => snapshot.settled.percent_of(snapshot.cap),
            // A subscription pays: tokens are what caps the run.
            Some(most) => {
                text::share(snapshot.fresh, most).map_or(0, |p| u32::try_from(p).unwrap_or(u32::MAX))
            }
            None => 0,
        };
        let tenths = percent / 10;
        // That a run is sealed is no news: every run ends so.
        let turned = snapshot.phase > self.phase && snapshot.phase < Phase::Sealed;
        if tenths <= self.tenths && !turned {
            return None;
        }
        self.tenths = self.tenths.max(tenths);
        self.phase = self.phase.max(snapshot.phase);
        Some(format!("tollgate: {percent} % of the cap · {}", says(snapshot)))
    }
}

fn says(snapshot: &Snapshot) -> String {
    let Snapshot { fresh, fresh_cap, .. } = *snapshot;
    let mut parts = vec![
        match snapshot.cap {
            Usd::ZERO => text::of_subscription(Tokens { used: fresh, most: fresh_cap }),
            cap => format!("{} of {}", snapshot.settled.shown(), cap.shown()),
        },
        text::plural(snapshot.requests, "request", "requests"),
    ];
    if snapshot.open_requests > 0 {
        parts.push(format!("{} in flight", snapshot.open_requests));
    }
    match snapshot.phase {
        Phase::Open | Phase::Sealed => {}
        Phase::Steered => parts.push("told to wrap up".to_owned()),
        Phase::LastCall => parts.push("given its last answer".to_owned()),
        Phase::Stopped => parts.push("stopped".to_owned()),
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(cents: i128, requests: u64, open_requests: u32, phase: Phase) -> Snapshot {
        let settled = Usd::from_pico(cents * 10_000_000_000);
        let cap = Usd::from_pico(80 * 10_000_000_000);
        Snapshot { cap, settled, requests, open_requests, phase, ..Snapshot::default() }
    }

    #[test]
    fn a_line_at_every_tenth_and_at_every_turn() {
        let mut lines = LiveLines::default();
        let mut say = |cents, requests, open, phase| lines.on(&snapshot(cents, requests, open, phase));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(say(0, 1, 1, Phase::Open), None);
        assert_eq!(say(7, 2, 1, Phase::Open), None);
        assert_eq!(
            say(8, 3, 1, Phase::Open),
            some("tollgate: 10 % of the cap · $0.08 of $0.80 · 3 requests · 1 in flight")
        );
        assert_eq!(say(9, 4, 0, Phase::Open), None);
        assert_eq!(
            say(40, 9, 0, Phase::Open),
            some("tollgate: 50 % of the cap · $0.40 of $0.80 · 9 requests")
        );
        assert_eq!(
            say(41, 9, 0, Phase::Steered),
            some("tollgate: 51 % of the cap · $0.41 of $0.80 · 9 requests · told to wrap up")
        );
        assert_eq!(say(41, 9, 0, Phase::Steered), None);
        assert_eq!(
            say(79, 12, 0, Phase::Stopped),
            some("tollgate: 98 % of the cap · $0.79 of $0.80 · 12 requests · stopped")
        );
        assert_eq!(say(79, 12, 0, Phase::Sealed), None);
    }

    #[test]
    fn no_cap_is_no_news() {
        assert_eq!(LiveLines::default().on(&Snapshot::default()), None);
    }
}
