//! Money: exact integer pico-dollars, and the rates that make them.
//!
//! Every published price is a finite decimal number of dollars per million tokens, the finest of them
//! $0.0025 with a factor of 1.1. One pico-dollar (10⁻¹² $) holds all of those exactly, so sums are
//! integer sums and nothing is rounded until it is shown to a person. No float touches money.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub, SubAssign};
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many pico-dollars one dollar is.
const PICO_PER_USD: i128 = 1_000_000_000_000;
/// Decimal places of a dollar amount that pico-dollars can hold.
const PLACES: usize = 12;

/// An amount of money in pico-dollars, negative where it is a correction.
///
/// Displayed and serialized as the exact decimal number of dollars without trailing zeros (`0.0123`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(i128);

impl Usd {
    /// No money.
    pub const ZERO: Usd = Usd(0);
    /// More than anything costs: the starting point of a minimum.
    pub const MAX: Usd = Usd(i128::MAX);

    /// An amount from a count of pico-dollars.
    #[must_use]
    pub const fn from_pico(pico: i128) -> Self {
        Self(pico)
    }

    /// A whole number of dollars.
    #[must_use]
    pub const fn from_dollars(dollars: u32) -> Self {
        Self(dollars as i128 * PICO_PER_USD)
    }

    /// The count of pico-dollars.
    #[must_use]
    pub const fn pico(self) -> i128 {
        self.0
    }

    /// What is left after `other` is taken away, and nothing rather than a debt.
    #[must_use]
    pub fn minus_or_zero(self, other: Usd) -> Usd {
        Usd((self.0.saturating_sub(other.0)).max(0))
    }

    /// `percent` hundredths of the amount, rounded down to a pico-dollar.
    #[must_use]
    pub fn percent(self, percent: u32) -> Usd {
        match self.0.checked_mul(i128::from(percent)) {
            Some(product) => Usd(product / 100),
            None => Usd(self.0 / 100 * i128::from(percent)),
        }
    }

    /// Which share of `whole` this amount is, in whole percent, rounded down; 100 of nothing.
    #[must_use]
    pub fn percent_of(self, whole: Usd) -> u32 {
        if whole.0 <= 0 {
            return 100;
        }
        let percent = self.0.max(0).saturating_mul(100) / whole.0;
        u32::try_from(percent).unwrap_or(u32::MAX)
    }

    /// The amount rounded up to a whole cent: what to write where an amount must suffice.
    #[must_use]
    pub fn up_to_cent(self) -> Usd {
        const CENT: i128 = PICO_PER_USD / 100;
        Usd(self.0.saturating_add(CENT - 1).div_euclid(CENT).saturating_mul(CENT))
    }

    /// The amount as people read it: `$1.20`; below a cent two significant digits, `$0.0034`.
    ///
    /// Rounded half up. An amount that is not nothing is never shown as `$0.00`.
    #[must_use]
    pub fn shown(self) -> Shown {
        Shown(self)
    }
}

/// An amount rounded for people, see [`Usd::shown`].
#[derive(Clone, Copy, Debug)]
pub struct Shown(Usd);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pico = self.0.0;
        let sign = if pico < 0 { "-" } else { "" };
        let magnitude = pico.unsigned_abs();
        let mut places = 2;
        // Unit of the last place that is shown; smaller amounts get smaller units.
        let mut unit = 10_u128.pow(10);
        if magnitude > 0 {
            while magnitude < unit * 10 && places < PLACES && magnitude < 10_u128.pow(10) {
                unit /= 10;
                places += 1;
            }
        }
        let rounded = (magnitude + unit / 2) / unit;
        let per_usd = 10_u128.pow(u32::try_from(places).unwrap_or(2));
        let text = format!("{sign}${}.{:0places$}", group(rounded / per_usd), rounded % per_usd);
        f.pad(&text)
    }
}

/// Groups the digits of a count by thousands: `1,234,567`.
#[must_use]
pub fn group(count: u128) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let whole = magnitude / PICO_PER_USD.unsigned_abs();
        let fraction = format!("{:012}", magnitude % PICO_PER_USD.unsigned_abs());
        let fraction = fraction.trim_end_matches('0');
        let text =
            if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
        f.pad(&text)
    }
}

/// Why a text is not an amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a plain decimal number.
    #[error("expected a decimal number of dollars such as 4.00")]
    NotDecimal,
    /// More decimal places than a pico-dollar has.
    #[error("at most 12 decimal places: smaller amounts than a pico-dollar cannot be held exactly")]
    TooFine,
    /// Beyond what the type holds.
    #[error("too large")]
    TooLarge,
}

impl FromStr for Usd {
    type Err = AmountError;

    /// Reads a plain decimal number (`-0.5`, `12`, `3.25`); no exponent, no sign but a leading minus.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_decimal(text, PLACES).map(Usd)
    }
}

/// Reads a decimal number as a count of its `places`-th decimal place.
fn parse_decimal(text: &str, places: usize) -> Result<i128, AmountError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let dangling_point = digits.contains('.') && fraction.is_empty();
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || dangling_point || !all_digits(whole) || !all_digits(fraction) {
        return Err(AmountError::NotDecimal);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > places {
        return Err(AmountError::TooFine);
    }
    let digit = |value: i128, digit: u8| value.checked_mul(10)?.checked_add(i128::from(digit - b'0'));
    let value = whole.bytes().chain(fraction.bytes()).try_fold(0, digit);
    let unit = u32::try_from(places - fraction.len()).ok().and_then(|zeros| 10_i128.checked_pow(zeros));
    let value = value.zip(unit).and_then(|(value, unit)| value.checked_mul(unit));
    value.map(|value| if negative { -value } else { value }).ok_or(AmountError::TooLarge)
}

impl Add for Usd {
    type Output = Usd;
    fn add(self, other: Usd) -> Usd {
        Usd(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Usd) {
        *self = *self + other;
    }
}

impl Sub for Usd {
    type Output = Usd;
    fn sub(self, other: Usd) -> Usd {
        Usd(self.0.saturating_sub(other.0))
    }
}

impl SubAssign for Usd {
    fn sub_assign(&mut self, other: Usd) {
        *self = *self - other;
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Usd>>(iter: I) -> Usd {
        iter.fold(Usd::ZERO, Add::add)
    }
}

impl<'a> Sum<&'a Usd> for Usd {
    fn sum<I: Iterator<Item = &'a Usd>>(iter: I) -> Usd {
        iter.copied().sum()
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Amount)
    }
}

/// Reads an amount without a copy of its text.
struct Amount;

impl Visitor<'_> for Amount {
    type Value = Usd;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Usd, E> {
        text.parse().map_err(E::custom)
    }
}

/// A price of one token, in pico-dollars. A price of $1 per million tokens is 1,000,000 of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(i128);

impl Rate {
    /// A free token.
    pub const ZERO: Rate = Rate(0);

    /// Reads a price in dollars per million tokens, the unit in which vendors publish.
    ///
    /// # Errors
    /// When it is not a plain decimal number, is negative, or has more than 6 decimal places.
    pub fn per_mtok(text: &str) -> Result<Self, AmountError> {
        match parse_decimal(text, PLACES / 2)? {
            negative if negative < 0 => Err(AmountError::NotDecimal),
            pico => Ok(Self(pico)),
        }
    }

    /// A rate from pico-dollars per token.
    #[must_use]
    pub const fn from_pico_per_token(pico: i128) -> Self {
        Self(pico)
    }

    /// Pico-dollars per token.
    #[must_use]
    pub const fn pico_per_token(self) -> i128 {
        self.0
    }

    /// The rate times a factor; `None` where the product is not a whole number of pico-dollars,
    /// so that a table with such a price is refused instead of rounded.
    #[must_use]
    pub fn times(self, factor: Factor) -> Option<Rate> {
        let product = self.0.checked_mul(i128::from(factor.numerator))?;
        let denominator = i128::from(factor.denominator);
        (product % denominator == 0).then(|| Rate(product / denominator))
    }

    /// How many whole tokens `money` buys; `None` when tokens are free.
    #[must_use]
    pub fn tokens_for(self, money: Usd) -> Option<u64> {
        if self.0 == 0 {
            return None;
        }
        Some(u64::try_from((money.0 / self.0).max(0)).unwrap_or(u64::MAX))
    }
}

impl Mul<u64> for Rate {
    type Output = Usd;
    fn mul(self, tokens: u64) -> Usd {
        Usd(self.0.saturating_mul(i128::from(tokens)))
    }
}

impl Add for Rate {
    type Output = Rate;
    fn add(self, other: Rate) -> Rate {
        Rate(self.0.saturating_add(other.0))
    }
}

/// An exact factor on a rate, such as 11/10 for a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    numerator: u32,
    denominator: u32,
}

impl Factor {
    /// The factor that changes nothing.
    pub const ONE: Factor = Factor { numerator: 1, denominator: 1 };

    /// Reads a decimal factor (`1.1`, `0.5`, `2`) of at most 4 decimal places.
    ///
    /// # Errors
    /// When it is not a plain decimal number, is negative or too fine.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        let numerator = parse_decimal(text, 4)?;
        let numerator = u32::try_from(numerator).map_err(|_| AmountError::NotDecimal)?;
        Ok(Self { numerator, denominator: 10_000 })
    }

    /// The larger of both.
    #[must_use]
    pub fn larger(self, other: Factor) -> Factor {
        let (a, b) = (u64::from(self.numerator), u64::from(other.numerator));
        let larger = a * u64::from(other.denominator) >= b * u64::from(self.denominator);
        if larger { self } else { other }
    }

    /// Whether the factor makes a price dearer.
    #[must_use]
    pub fn is_dearer(self) -> bool {
        self.numerator > self.denominator
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_exactly_and_shown_exactly() {
        for (text, pico, back) in [
            ("0", 0, "0"),
            ("4.00", 4_000_000_000_000, "4"),
            ("0.000000000001", 1, "0.000000000001"),
            ("-0.5", -500_000_000_000, "-0.5"),
            ("123456789.000000000001", 123_456_789_000_000_000_001, "123456789.000000000001"),
        ] {
            let usd: Usd = text.parse().expect(text);
            assert_eq!(usd.pico(), pico, "{text}");
            assert_eq!(usd.to_string(), back);
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused() {
        for (text, error) in [
            ("", AmountError::NotDecimal),
            (".5", AmountError::NotDecimal),
            ("5.", AmountError::NotDecimal),
            ("1e3", AmountError::NotDecimal),
            ("$4", AmountError::NotDecimal),
            ("+4", AmountError::NotDecimal),
            ("1.0000000000001", AmountError::TooFine),
            ("999999999999999999999999999999999999999", AmountError::TooLarge),
        ] {
            assert_eq!(text.parse::<Usd>(), Err(error), "{text}");
        }
    }

    #[test]
    fn shown_amounts_keep_two_digits_that_matter() {
        for (text, shown) in [
            ("0", "$0.00"),
            ("0.31", "$0.31"),
            ("1.005", "$1.01"),
            ("1234.5", "$1,234.50"),
            ("0.0099", "$0.0099"),
            ("0.00034", "$0.00034"),
            ("0.00996", "$0.0100"),
            ("0.000000000001", "$0.000000000001"),
            ("-2.5", "-$2.50"),
        ] {
            assert_eq!(text.parse::<Usd>().expect(text).shown().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn an_amount_that_must_suffice_is_rounded_up() {
        for (text, up) in [("0.04", "0.04"), ("0.0400001", "0.05"), ("0", "0"), ("5.019", "5.02")] {
            assert_eq!(text.parse::<Usd>().expect(text).up_to_cent().to_string(), up);
        }
    }

    #[test]
    fn the_finest_published_rate_with_a_region_is_exact() {
        let rate = Rate::per_mtok("0.0025").expect("a rate");
        let region = Factor::parse("1.1").expect("a factor");
        assert_eq!(rate.times(region), Some(Rate(2_750)));
        assert_eq!(Rate(1).times(region), None, "a product that is no whole number is refused");
    }

    proptest! {
        #[test]
        fn any_amount_survives_its_text(pico in -10_i128.pow(30)..10_i128.pow(30)) {
            let usd = Usd::from_pico(pico);
            prop_assert_eq!(usd.to_string().parse::<Usd>(), Ok(usd));
        }
    }
}
