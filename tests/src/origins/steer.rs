//! How a request steers an origin: the `x-origin-*` headers.

use std::time::Duration;

use crate::case::Headers;

/// What a request asks of an origin.
pub(super) struct Steering {
    /// By attempt of one exchange; the last stays.
    statuses: Vec<u16>,
    /// To wait before the answer.
    pub(super) delay: Duration,
    /// Cut the connection instead of answering.
    pub(super) reset: bool,
    /// To be added to the answer.
    pub(super) headers: Headers,
}

impl Steering {
    /// Reads the first of each header; names are in lower case.
    pub(super) fn read(headers: &Headers) -> Self {
        let first = |name: &str| headers.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
        let millis: f64 = first("x-origin-delay-ms").and_then(|ms| ms.trim().parse().ok()).unwrap_or(0.0);
        let pairs = first("x-origin-headers").unwrap_or_default().split(';');
        Self {
            statuses: first("x-origin-status")
                .unwrap_or("200")
                .split(',')
                .filter_map(|s| s.trim().parse().ok())
                .collect(),
            delay: Duration::try_from_secs_f64(millis / 1000.0).unwrap_or_default(),
            reset: first("x-origin-reset").is_some(),
            headers: pairs.filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        }
    }

    /// The status of attempt 0, 1, …
    pub(super) fn status(&self, attempt: usize) -> u16 {
        self.statuses.get(attempt).or(self.statuses.last()).copied().unwrap_or(200)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steer(lines: &[(&str, &str)]) -> Steering {
        Steering::read(&lines.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn statuses_go_by_attempt_and_the_last_stays() {
        type Row = (&'static [(&'static str, &'static str)], [u16; 3]);
        let rows: [Row; 3] = [
            (&[], [200, 200, 200]),
            (&[("x-origin-status", "503,200")], [503, 200, 200]),
            (&[("x-origin-status", "404")], [404, 404, 404]),
        ];
        for (lines, statuses) in rows {
            assert_eq!([0, 1, 2].map(|attempt| steer(lines).status(attempt)), statuses);
        }
    }

    #[test]
    fn delay_reset_and_headers_are_as_asked() {
        let plain = steer(&[]);
        assert!(plain.delay.is_zero() && !plain.reset && plain.headers.is_empty());
        let asked = steer(&[("x-origin-delay-ms", "1.5"), ("x-origin-reset", ""), ("x-origin-headers", "a=b;c=d=e;f")]);
        assert_eq!(asked.delay, Duration::from_micros(1500));
        assert!(asked.reset);
        assert_eq!(asked.headers, [("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d=e".to_owned())]);
    }
}
