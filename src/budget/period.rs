//! From a period to the span of time that it counts over.

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};

use super::Period;

impl Period {
    /// The span around `at`: its first instant, and the first instant after it, `None` for one without end.
    ///
    /// Days begin with the first instant that has their date on a clock of the zone, so that a day has 23
    /// or 25 hours where the clocks change; weeks begin on Monday, months on the first. Spans of the same
    /// zone follow each other without a gap, and `at` lies in the one that is returned. The span without
    /// end begins in 1970.
    #[must_use]
    pub fn window(self, at: Timestamp, zone: &TimeZone) -> (Timestamp, Option<Timestamp>) {
        if self == Period::Total {
            return (Timestamp::UNIX_EPOCH, None);
        }
        let mut first = self.first_date(zone.to_datetime(at).date());
        let mut next = self.next_date(first);
        // Where clocks go back over midnight a date comes twice; its second part belongs to the span that
        // follows, which has begun already.
        if first_instant(next, zone).is_some_and(|end| end <= at) {
            first = next;
            next = self.next_date(first);
        }
        (first_instant(first, zone).unwrap_or(Timestamp::MIN), first_instant(next, zone))
    }

    fn first_date(self, date: Date) -> Date {
        match self {
            Period::Day | Period::Total => date,
            Period::Week => {
                let since_monday = i64::from(date.weekday().to_monday_zero_offset());
                date.saturating_sub(Span::new().days(since_monday))
            }
            Period::Month => date.first_of_month(),
        }
    }

    fn next_date(self, first: Date) -> Date {
        first.saturating_add(match self {
            Period::Day | Period::Total => Span::new().days(1),
            Period::Week => Span::new().weeks(1),
            Period::Month => Span::new().months(1),
        })
    }
}

/// The first instant of a date; `None` beyond the years that a timestamp can hold.
fn first_instant(date: Date, zone: &TimeZone) -> Option<Timestamp> {
    let midnight = zone.to_ambiguous_timestamp(date.to_datetime(Time::midnight()));
    let skips_midnight = matches!(midnight.offset(), AmbiguousOffset::Gap { .. });
    let instant = midnight.compatible().ok()?;
    if !skips_midnight {
        return Some(instant);
    }
    // The day begins where the clocks jump, which is before midnight on the old clock if the jump is.
    let after = instant.saturating_add(SignedDuration::from_secs(1)).ok()?;
    Some(zone.preceding(after).next().map_or(instant, |jump| jump.timestamp()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(period: Period, at: &str, zone: &str) -> String {
        let zone = TimeZone::get(zone).expect(zone);
        let (start, end) = period.window(at.parse().expect(at), &zone);
        format!("{start} {}", end.map_or("-".to_owned(), |end| end.to_string()))
    }

    #[test]
    fn spans_follow_the_clock_on_the_wall() {
        use Period::{Day, Month, Total, Week};
        for (period, at, zone, expected) in [
            (Day, "2026-11-23T12:00:00Z", "UTC", "2026-11-23T00:00:00Z 2026-11-24T00:00:00Z"),
            (Day, "2026-11-24T00:00:00Z", "UTC", "2026-11-24T00:00:00Z 2026-11-25T00:00:00Z"),
            // Monday is the 23rd.
            (Week, "2026-11-29T23:59:59Z", "UTC", "2026-11-23T00:00:00Z 2026-11-30T00:00:00Z"),
            (Week, "2026-11-23T00:00:00Z", "UTC", "2026-11-23T00:00:00Z 2026-11-30T00:00:00Z"),
            (Month, "2026-12-31T23:30:00Z", "UTC", "2026-12-01T00:00:00Z 2027-01-01T00:00:00Z"),
            (Month, "2028-02-29T10:00:00Z", "UTC", "2028-02-01T00:00:00Z 2028-03-01T00:00:00Z"),
            (Total, "2026-11-23T12:00:00Z", "UTC", "1970-01-01T00:00:00Z -"),
            // Another zone is in another month already.
            (Month, "2026-11-30T23:30:00Z", "Europe/Berlin", "2026-11-30T23:00:00Z 2026-12-31T23:00:00Z"),
            // The clocks go forward: 23 hours. And back: 25.
            (Day, "2026-03-29T12:00:00Z", "Europe/Berlin", "2026-03-28T23:00:00Z 2026-03-29T22:00:00Z"),
            (Day, "2026-10-25T00:30:00Z", "Europe/Berlin", "2026-10-24T22:00:00Z 2026-10-25T23:00:00Z"),
            (Day, "2026-11-01T06:30:00Z", "America/New_York", "2026-11-01T04:00:00Z 2026-11-02T05:00:00Z"),
            (Week, "2026-03-31T00:00:00Z", "Europe/Berlin", "2026-03-29T22:00:00Z 2026-04-05T22:00:00Z"),
            (Month, "2026-03-01T00:00:00Z", "Europe/Berlin", "2026-02-28T23:00:00Z 2026-03-31T22:00:00Z"),
            // Midnight is skipped: the day begins at one o'clock.
            (Day, "2015-10-18T12:00:00Z", "America/Sao_Paulo", "2015-10-18T03:00:00Z 2015-10-19T02:00:00Z"),
            // The jump begins before midnight.
            (Day, "1919-03-31T12:00:00Z", "America/Toronto", "1919-03-31T04:30:00Z 1919-04-01T04:00:00Z"),
            // The clocks go back at one minute past midnight: the 7th began before, and goes on.
            (Day, "2010-11-07T02:45:00Z", "America/St_Johns", "2010-11-07T02:30:00Z 2010-11-08T03:30:00Z"),
            // A whole day is skipped: the 29th ends where the 31st begins.
            (Day, "2011-12-30T09:00:00Z", "Pacific/Apia", "2011-12-29T10:00:00Z 2011-12-30T10:00:00Z"),
            (Day, "2011-12-30T10:00:00Z", "Pacific/Apia", "2011-12-30T10:00:00Z 2011-12-31T10:00:00Z"),
        ] {
            assert_eq!(window(period, at, zone), expected, "{period:?} {at} {zone}");
        }
    }

    const ZONES: [&str; 10] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Sao_Paulo",
        "America/St_Johns",
        "America/Toronto",
        "Pacific/Apia",
        "Asia/Kathmandu",
        "Africa/Cairo",
        "Australia/Lord_Howe",
    ];

    proptest! {
        #[test]
        fn spans_hold_their_instant_and_follow_each_other(
            second in -2_000_000_000_i64..4_000_000_000,
            zone in 0..ZONES.len(),
            period in prop_oneof![Just(Period::Day), Just(Period::Week), Just(Period::Month)],
        ) {
            let zone = TimeZone::get(ZONES[zone]).expect("a zone of the bundled database");
            let at = Timestamp::from_second(second).expect("within the years of a timestamp");
            let (start, end) = period.window(at, &zone);
            let end = end.expect("the span ends within the years of a timestamp");
            prop_assert!(start <= at && at < end, "{start} {at} {end}");
            prop_assert_eq!(period.window(start, &zone), (start, Some(end)));
            prop_assert_eq!(period.window(end, &zone).0, end);
        }

        #[test]
        fn every_instant_has_a_span(
            nanosecond in Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond(),
        ) {
            let at = Timestamp::from_nanosecond(nanosecond).expect("within the years of a timestamp");
            for zone in ["Pacific/Kiritimati", "Etc/GMT+12"] {
                let zone = TimeZone::get(zone).expect(zone);
                for period in [Period::Day, Period::Week, Period::Month] {
                    let (start, end) = period.window(at, &zone);
                    prop_assert!(start <= at && end.is_none_or(|end| at < end));
                }
            }
        }
    }
}
