//! A gzipped tar with one file, and a date: without times, owners or names of this machine.

use std::io::Write;

/// A ustar archive with one file that anybody may read.
///
/// # Errors
/// A name that does not fit.
pub(super) fn tar(name: &str, content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(content.len().try_into().unwrap_or(u64::MAX));
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, content)?;
    archive.into_inner()
}

/// RFC 1952, without a name and a time.
///
/// # Errors
/// None in memory.
pub(super) fn gzip(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out =
        flate2::GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), flate2::Compression::best());
    out.write_all(content)?;
    out.finish()
}

/// `2026-11-21T07:08:08Z` for seconds since 1970; `None` beyond the year 9999.
pub(super) fn rfc3339(seconds: u64) -> Option<String> {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date from a day count, by shifting the year to begin in March (Howard Hinnant's algorithm).
    let shifted = days.checked_add(719_468)?;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    (year <= 9999).then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&gzip(b"123456789").unwrap()[..]).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, b"123456789");
    }

    #[test]
    fn an_archive_knows_no_time_and_no_machine() {
        let out = tar("plugin.wasm", b"abc").unwrap();
        assert_eq!((out.len(), &out[..11], &out[512..515]), (2048, &b"plugin.wasm"[..], &b"abc"[..]));
        assert!(out[1024..].iter().all(|byte| *byte == 0));
        assert_eq!((&out[124..136], &out[136..148]), (&b"00000000003\0"[..], &b"00000000000\0"[..]));
        assert_eq!(&gzip(&out).unwrap()[4..8], &[0; 4]);
    }

    #[test]
    fn a_date_is_written_as_rfc_3339_has_it() {
        for (seconds, text) in [(0, "1970-01-01T00:00:00Z"), (951_782_400, "2000-02-29T00:00:00Z")] {
            assert_eq!(rfc3339(seconds).as_deref(), Some(text));
        }
    }
}
