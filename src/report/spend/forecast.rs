//! What a budget will have spent at the end of its window, and how sure that is.
//!
//! The method, which every report states: the mean of the complete days observed (28 at most, days
//! without spend included) times the time that is left, on top of what is spent. The range is where four
//! of five outcomes lie if days are like those observed and independent of each other: 1.28 standard
//! deviations of that sum, of which the mean's own uncertainty is a part. Integers throughout.

use jiff::{SignedDuration, Timestamp};

use crate::ledger::Window;
use crate::money::Usd;

/// Complete days that are looked back on at most.
pub const DAYS_MAX: usize = 28;
/// Complete days without which there is no forecast.
pub const DAYS_MIN: usize = 7;
/// Shorter windows get no forecast: spend is not spread evenly over a day.
const WINDOW_MIN: SignedDuration = SignedDuration::from_hours(48);
const DAY_SECONDS: i128 = 86_400;
/// Pico-dollars of the unit in which squares are summed.
const MICRO: i128 = 1_000_000;

/// What can be said of the end of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// The window has no end, or is short.
    Nothing,
    /// Too few days were observed.
    TooLittle {
        /// So many were.
        days: usize,
    },
    /// A forecast.
    Forecast(Forecast),
}

/// What a window will have spent at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Complete days that it is made from.
    pub days: usize,
    /// Their mean spend.
    pub mean: Usd,
    /// The lower end of the range; never below what is spent.
    pub low: Usd,
    /// The expectation.
    pub expected: Usd,
    /// The upper end of the range.
    pub high: Usd,
    /// When the limit is reached at the mean; `None` where it is not before the window's end.
    pub reaches: Option<Timestamp>,
}

/// Whether a window is one that is forecast at all.
#[must_use]
pub fn is_forecast(window: &Window) -> bool {
    window.end.is_some_and(|end| end.duration_since(window.start) >= WINDOW_MIN)
}

/// The outlook at `now` of a window in which `spent` was spent, from the spend of complete `days`.
#[must_use]
pub fn outlook(window: &Window, limit: Usd, spent: Usd, days: &[Usd], now: Timestamp) -> Outlook {
    let Some(end) = window.end.filter(|end| is_forecast(window) && now < *end) else {
        return Outlook::Nothing;
    };
    if days.len() < DAYS_MIN {
        return Outlook::TooLittle { days: days.len() };
    }
    let count = i128::try_from(days.len()).unwrap_or(i128::MAX);
    let total: Usd = days.iter().sum();
    let mean = total.pico() / count;
    let seconds = i128::from(end.duration_since(now).as_secs());
    let more = mean.saturating_mul(seconds) / DAY_SECONDS;
    let squares = days.iter().map(|day| ((day.pico() - mean) / MICRO).saturating_pow(2));
    let variance = squares.fold(0_i128, i128::saturating_add) / (count - 1);
    let own = variance.saturating_mul(seconds) / DAY_SECONDS;
    let of_mean = variance.saturating_mul(seconds.pow(2)) / DAY_SECONDS.pow(2) / count;
    let half = own.saturating_add(of_mean).isqrt().saturating_mul(MICRO) / 100 * 128;
    let expected = spent.pico().saturating_add(more);
    let room = limit.minus_or_zero(spent).pico();
    let until = if mean > 0 { room.saturating_mul(DAY_SECONDS) / mean } else { i128::MAX };
    let reaches = i64::try_from(until).ok().filter(|_| until < seconds);
    Outlook::Forecast(Forecast {
        days: days.len(),
        mean: Usd::from_pico(mean),
        low: spent.max(Usd::from_pico(expected.saturating_sub(half))),
        expected: Usd::from_pico(expected),
        high: Usd::from_pico(expected.saturating_add(half)),
        reaches: reaches.and_then(|until| now.checked_add(SignedDuration::from_secs(until)).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    fn usd(text: &str) -> Usd {
        text.parse().expect(text)
    }

    fn november() -> Window {
        Window { start: at("2026-11-01T00:00:00Z"), end: Some(at("2026-12-01T00:00:00Z")) }
    }

    fn forecast(spent: &str, days: &[&str]) -> Forecast {
        let days: Vec<Usd> = days.iter().map(|day| usd(day)).collect();
        match outlook(&november(), usd("200"), usd(spent), &days, at("2026-11-21T00:00:00Z")) {
            Outlook::Forecast(forecast) => forecast,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn steady_spend_goes_on_and_leaves_no_doubt() {
        let steady = forecast("100", &["5"; 20]);
        assert_eq!((steady.low, steady.expected, steady.high), (usd("150"), usd("150"), usd("150")));
        assert_eq!((steady.mean, steady.reaches), (usd("5"), None));
        let steep = forecast("150", &["10"; 20]);
        assert_eq!(steep.expected, usd("250"));
        assert_eq!(steep.reaches, Some(at("2026-11-26T00:00:00Z")));
    }

    #[test]
    fn doubt_is_that_of_the_days_left_and_of_the_mean() {
        // Days of 4 and 6 in turns: the variance is 8/7. Ten days left: 1.28 × √(10 × 8/7 + 100/8 × 8/7).
        let days = ["4", "6", "4", "6", "4", "6", "4", "6"];
        let wide = forecast("100", &days);
        assert_eq!(wide.expected, usd("150"));
        assert!((usd("6.48")..usd("6.50")).contains(&(wide.high - wide.expected)), "{wide:?}");
        assert_eq!(wide.expected - wide.low, wide.high - wide.expected);
        // What is spent stays spent.
        let burst = forecast("100", &["0", "0", "0", "0", "0", "0", "70"]);
        assert_eq!(burst.low, usd("100"));
    }

    #[test]
    fn too_little_is_said_and_nothing_is_made_up() {
        let now = at("2026-11-21T00:00:00Z");
        let six = [usd("5"); 6];
        assert_eq!(outlook(&november(), usd("1"), usd("1"), &six, now), Outlook::TooLittle { days: 6 });
        let always = Window { start: Timestamp::UNIX_EPOCH, end: None };
        let day = Window { start: at("2026-11-21T00:00:00Z"), end: Some(at("2026-11-22T00:00:00Z")) };
        for window in [always, day] {
            assert_eq!(outlook(&window, usd("1"), usd("1"), &[usd("5"); 9], now), Outlook::Nothing);
        }
    }
}
