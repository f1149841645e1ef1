//! Durations as Istio reads them: Go's `time.ParseDuration` (`1h30m`, `1.5s`, `250ms`).

use std::str::FromStr;

/// A length of time in nanoseconds; Istio's webhook bounds it per field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Duration(pub(crate) i64);

/// Not a Go duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotADuration {
    #[error("not a duration")]
    Malformed,
    #[error("missing unit in duration")]
    MissingUnit,
}

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl FromStr for Duration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
            Some(rest) => (text.starts_with('-'), rest),
            None => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(NotADuration::Malformed);
        }
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let (term, after) = term(rest)?;
            total = total.checked_add(term).ok_or(NotADuration::Malformed)?;
            rest = after;
        }
        Ok(Self(if negative { -total } else { total }))
    }
}

/// One number with its unit, and what follows.
fn term(text: &str) -> Result<(i64, &str), NotADuration> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(NotADuration::MissingUnit)?;
    let (number, rest) = text.split_at_checked(number_end).ok_or(NotADuration::Malformed)?;
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at_checked(unit_end).ok_or(NotADuration::Malformed)?;
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(NotADuration::Malformed)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(NotADuration::Malformed);
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| NotADuration::Malformed)? };
    let mut nanos = whole.checked_mul(*scale).ok_or(NotADuration::Malformed)?;
    let mut place = *scale;
    for digit in fraction.chars() {
        place /= 10;
        let digit = i64::from(digit.to_digit(10).ok_or(NotADuration::Malformed)?);
        nanos = nanos.checked_add(digit * place).ok_or(NotADuration::Malformed)?;
    }
    Ok((nanos, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("1.5s", 1_500_000_000),
            ("250ms", 250_000_000),
            ("1h30m", 5_400_000_000_000),
            ("-1s", -1_000_000_000),
            (".5s", 500_000_000),
            ("1m0.25s", 60_250_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Duration(nanos)), "{text}");
        }
        for text in ["", "s", "5", "5 s", "5sec", "1.2.3s", ".s", "s5", "-"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}
