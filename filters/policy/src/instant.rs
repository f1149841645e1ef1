//! Points in time as RFC 3339 writes them, and the stretch between two.

/// Nanoseconds since 1970.
pub type Wall = i128;

/// From the first to right before the second; an open end goes on for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Included.
    pub from: Option<Wall>,
    /// Not included.
    pub until: Option<Wall>,
}

impl Window {
    /// Is this moment in it?
    pub fn holds(&self, now: Wall) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }
}

/// Why a point in time was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a point in time; write 2026-11-21T09:00:00Z or 2026-11-21T09:00:00+01:00")]
pub struct InvalidInstant(String);

/// Reads RFC 3339.
pub fn parse(text: &str) -> Result<Wall, InvalidInstant> {
    read(text).ok_or_else(|| InvalidInstant(text.to_owned()))
}

fn read(text: &str) -> Option<Wall> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, zone) = rest.strip_prefix(['T', 't'])?.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let (nanos, zone) = fraction(zone)?;
    let offset = offset(zone)?;
    let in_range = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_since_1970(year, month, day)
        .checked_mul(86_400)?
        .checked_add(hour.checked_mul(3600)?)?
        .checked_add(minute.checked_mul(60)?)?
        .checked_add(second)?
        .checked_sub(offset)?;
    Some(i128::from(seconds).saturating_mul(1_000_000_000).saturating_add(nanos))
}

fn numbers<const N: usize>(text: &str, between: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut out = [0; N];
    for (slot, width) in out.iter_mut().zip(widths) {
        let digits = parts.next().filter(|part| part.len() == width && part.bytes().all(|b| b.is_ascii_digit()))?;
        *slot = digits.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

fn fraction(text: &str) -> Option<(i128, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let (digits, zone) = rest.split_at_checked(end)?;
    if !(1..=9).contains(&digits.len()) {
        return None;
    }
    let nanos: i128 = format!("{digits:0<9}").parse().ok()?;
    Some((nanos, zone))
}

/// Seconds east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    let (sign, clock) = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => return Some(0),
        ("+", clock) => (1, clock),
        ("-", clock) => (-1, clock),
        _ => return None,
    };
    let [hours, minutes] = numbers(clock, ':', [2, 2])?;
    let seconds = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
    (hours <= 23 && minutes <= 59).then_some(seconds.saturating_mul(sign))
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    }
}

/// Counted with years that begin in March, so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year.saturating_sub(1) } else { year };
    let from_march = month.saturating_add(9).rem_euclid(12);
    let days_before = from_march.saturating_mul(153).saturating_add(2).div_euclid(5);
    let leap_days =
        shifted.div_euclid(4).saturating_sub(shifted.div_euclid(100)).saturating_add(shifted.div_euclid(400));
    shifted
        .saturating_mul(365)
        .saturating_add(leap_days)
        .saturating_add(days_before)
        .saturating_add(day)
        .saturating_sub(719_469)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn seconds(text: &str) -> Option<i128> {
        parse(text).ok().map(|nanos| nanos.div_euclid(1_000_000_000))
    }

    sentences! {
        fn points_in_time_are_read() {
            assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
            assert_eq!(seconds("2000-02-29T12:34:56Z"), Some(951_827_696));
            assert_eq!(seconds("2026-11-21T09:00:00+01:00"), Some(1_795_248_000));
            assert_eq!(seconds("1969-12-31T23:59:59Z"), Some(-1));
            assert_eq!(parse("1970-01-01T00:00:00.5Z"), Ok(500_000_000));
        }

        fn anything_else_is_refused() {
            for text in ["", "2026-11-21", "2026-11-21T09:00:00", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z",
                "2026-11-21T24:00:00Z", "2026-11-21 09:00:00Z", "2026-11-21T09:00:00.Z", "é026-11-21T09:00:00Z", "2026-11-21T09:00:00+25:00"] {
                assert!(parse(text).is_err(), "{text}");
            }
        }

        fn a_window_holds_its_start_and_not_its_end() {
            let window = Window { from: Some(10), until: Some(20) };
            assert_eq!([9, 10, 19, 20].map(|now| window.holds(now)), [false, true, true, false]);
            assert!(Window { from: None, until: None }.holds(0));
        }
    }
}
