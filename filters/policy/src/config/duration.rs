//! Durations as Istio writes them: `1.5s`, `250ms`, `1h30m`.

use std::time::Duration;

/// Why a duration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a duration; write a number and a unit (h, m, s, ms, us, ns), as in 1.5s or 1h30m")]
pub struct InvalidDuration(String);

/// Reads a duration; at least one number with a unit, no sign.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let refused = || InvalidDuration(text.to_owned());
    let mut rest = text;
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(refused)?;
        let (number, after) = rest.split_at(number);
        let unit = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let piece = scale(number, unit).ok_or_else(refused)?;
        nanos = nanos.checked_add(piece).ok_or_else(refused)?;
        rest = after;
    }
    let fits = u64::try_from(nanos).ok().filter(|_| !text.is_empty());
    fits.map(Duration::from_nanos).ok_or_else(refused)
}

fn scale(number: &str, unit: &str) -> Option<u128> {
    let nanos: u128 = match unit {
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1_000,
        "ns" => 1,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let places = u32::try_from(fraction.len()).ok()?;
    let part = part.checked_mul(nanos)?.checked_div(10u128.checked_pow(places)?)?;
    whole.checked_mul(nanos)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    sentences! {
        fn numbers_have_units() {
            for (text, millis) in
                [("1s", 1000), ("1.5s", 1500), ("250ms", 250), ("1h30m", 5_400_000), ("0s", 0), (".5s", 500), ("2m0.5s", 120_500)]
            {
                assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
            }
        }

        fn anything_else_is_refused() {
            for text in ["", "1", "s", "-1s", "1 s", "1d", "1.2.3s", "1s5", "99999999999999999999s", "18446744074s", "1e3s"] {
                assert!(parse(text).is_err(), "{text}");
            }
        }
    }
}
