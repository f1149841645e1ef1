//! `%START_TIME(…)%`: strftime with Envoy's fractions of a second.

use std::fmt::Write;
use std::time::Duration;

use time::OffsetDateTime;

/// `2026-11-21T07:08:12.123Z`, the format without arguments.
pub(crate) const DEFAULT: &str = "%Y-%m-%dT%H:%M:%E3SZ";

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Prints an instant, UTC. A directive that is not known is printed as it is.
pub(crate) fn strftime(format: &str, since_1970: Duration) -> String {
    let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
    let Ok(at) = OffsetDateTime::from_unix_timestamp(seconds) else { return String::new() };
    let at = Instant { at, nanos: since_1970.subsec_nanos() };
    let mut out = String::with_capacity(format.len().saturating_mul(2));
    let mut rest = format;
    while let Some((literal, directive)) = rest.split_once('%') {
        out.push_str(literal);
        rest = at.directive(directive, &mut out);
    }
    out.push_str(rest);
    out
}

struct Instant {
    at: OffsetDateTime,
    nanos: u32,
}

impl Instant {
    /// Prints what follows a `%` and returns what follows that.
    fn directive<'f>(&self, text: &'f str, out: &mut String) -> &'f str {
        if let Some((digits, rest)) = fraction(text) {
            self.fraction(digits, out);
            return rest;
        }
        if let Some((digits, rest)) = seconds_with_fraction(text) {
            self.pad(self.at.second(), out);
            if digits > 0 {
                out.push('.');
                self.fraction(digits, out);
            }
            return rest;
        }
        let mut chars = text.chars();
        match chars.next() {
            Some(letter) => self.letter(letter, out),
            None => out.push('%'),
        }
        chars.as_str()
    }

    fn letter(&self, letter: char, out: &mut String) {
        let at = &self.at;
        let hour12 = match at.hour().checked_rem(12).unwrap_or_default() {
            0 => 12,
            hour => hour,
        };
        let day = DAYS.get(usize::from(at.weekday().number_days_from_sunday())).copied().unwrap_or_default();
        let month = MONTHS.get(usize::from(u8::from(at.month())).saturating_sub(1)).copied().unwrap_or_default();
        let done = match letter {
            'Y' => write!(out, "{}", at.year()),
            'y' => write!(out, "{:02}", at.year().checked_rem(100).unwrap_or_default()),
            'm' => write!(out, "{:02}", u8::from(at.month())),
            'd' => write!(out, "{:02}", at.day()),
            'e' => write!(out, "{:2}", at.day()),
            'j' => write!(out, "{:03}", at.ordinal()),
            'H' => write!(out, "{:02}", at.hour()),
            'I' => write!(out, "{hour12:02}"),
            'p' => write!(out, "{}", if at.hour() < 12 { "AM" } else { "PM" }),
            'M' => write!(out, "{:02}", at.minute()),
            'S' => write!(out, "{:02}", at.second()),
            's' => write!(out, "{}", at.unix_timestamp()),
            'F' => write!(out, "{}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day()),
            'T' => write!(out, "{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second()),
            'R' => write!(out, "{:02}:{:02}", at.hour(), at.minute()),
            'a' => write!(out, "{}", day.get(..3).unwrap_or_default()),
            'A' => write!(out, "{day}"),
            'b' | 'h' => write!(out, "{}", month.get(..3).unwrap_or_default()),
            'B' => write!(out, "{month}"),
            'z' => write!(out, "+0000"),
            'Z' => write!(out, "UTC"),
            'n' => writeln!(out),
            't' => write!(out, "\t"),
            '%' => write!(out, "%"),
            other => write!(out, "%{other}"),
        };
        debug_assert!(done.is_ok(), "writing to a String does not fail");
    }

    fn pad(&self, number: u8, out: &mut String) {
        let done = write!(out, "{number:02}");
        debug_assert!(done.is_ok(), "writing to a String does not fail");
    }

    fn fraction(&self, digits: usize, out: &mut String) {
        out.push_str(format!("{:09}", self.nanos).get(..digits).unwrap_or_default());
    }
}

/// `f` (nine digits) or `3f`.
fn fraction(text: &str) -> Option<(usize, &str)> {
    if let Some(rest) = text.strip_prefix('f') {
        return Some((9, rest));
    }
    let digit = text.chars().next()?.to_digit(10)?;
    let rest = text.get(1..)?.strip_prefix('f')?;
    (1..=9).contains(&digit).then_some((usize::try_from(digit).ok()?, rest))
}

/// `E3S`
fn seconds_with_fraction(text: &str) -> Option<(usize, &str)> {
    let text = text.strip_prefix('E')?;
    let digit = usize::try_from(text.chars().next()?.to_digit(10)?).ok()?;
    Some((digit, text.get(1..)?.strip_prefix('S')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_prints_as_envoy_prints_it() {
        let at = Duration::new(1_795_244_933, 12_345_678);
        for (format, want) in [
            (DEFAULT, "2026-11-21T07:08:53.012Z"),
            ("%s", "1795244933"),
            ("%s.%3f", "1795244933.012"),
            ("%Y/%m/%d %H:%M:%S.%6f", "2026/11/21 07:08:53.012345"),
            ("%f", "012345678"),
            ("%a, %d %b %Y %T %Z", "Sat, 21 Nov 2026 07:08:53 UTC"),
            ("100%% %", "100% %"),
        ] {
            assert_eq!(strftime(format, at), want, "{format}");
        }
    }
}
