//! The strict view of a path: one spelling for all that servers may take to be the same place.
//!
//! `/a/./b`, `/a//b`, `/x/../a/b`, `/a%2Fb`, `/a\b`, `/%61/b` and `/a;v=1/b` are all `/a/b`. Rules with `path: strict` are
//! matched and counted on this view while the request goes on with the bytes it came with.

/// The strict view of a path without query and fragment.
///
/// Escapes of unreserved characters, `/` and `\` are undone until none is left, other escapes get upper-case
/// digits, `\` is `/`, what follows a `;` in a segment goes, and then dot segments and empty segments.
pub fn strict(path: &[u8]) -> Vec<u8> {
    let flat = undo_escapes(path);
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut directory = true;
    for segment in flat.split(|&b| b == b'/') {
        let name = segment.split(|&b| b == b';').next().unwrap_or_default();
        directory = matches!(name, b"" | b"." | b"..");
        match name {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            _ => segments.push(name),
        }
    }
    let mut out = Vec::with_capacity(path.len().saturating_add(1));
    for segment in &segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if directory || segments.is_empty() {
        out.push(b'/');
    }
    out
}

/// Is there a segment that some server would read as `..`?
pub fn climbs(path: &[u8]) -> bool {
    let flat = undo_escapes(path);
    flat.split(|&b| b == b'/').any(|segment| segment.split(|&b| b == b';').next() == Some(b".."))
}

fn undo_escapes(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    for &byte in path {
        out.push(if byte == b'\\' { b'/' } else { byte });
        // An escape undone may complete another: `%2%46` is `%2F` is `/`.
        while let Some(&[b'%', high, low]) = out.last_chunk::<3>() {
            let (Some(high), Some(low)) = (hex(high), hex(low)) else { break };
            let code = high.wrapping_shl(4) | low;
            out.truncate(out.len().saturating_sub(3));
            match code {
                b'/' | b'\\' => out.push(b'/'),
                b'-' | b'.' | b'_' | b'~' => out.push(code),
                _ if code.is_ascii_alphanumeric() => out.push(code),
                _ => {
                    out.extend_from_slice(&[b'%', digit(high), digit(low)]);
                    break;
                }
            }
        }
    }
    out
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn digit(value: u8) -> u8 {
    if value < 10 { value.saturating_add(b'0') } else { value.saturating_sub(10).saturating_add(b'A') }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn check(expected: &str, spellings: &[&str]) {
        for spelling in spellings {
            let seen = strict(spelling.as_bytes());
            assert_eq!(seen.escape_ascii().to_string(), expected, "{spelling}");
            assert_eq!(strict(&seen), seen, "{spelling} twice");
        }
    }

    sentences! {
        fn one_place_has_one_spelling() {
            check("/admin", &[
                "/admin", "//admin", "///admin", "/./admin", "/x/../admin", "/x/%2e%2e/admin", "/%61dmin", "/x\\..\\admin",
                "/\\admin", "/x/..;/admin", "/.;/admin", "/a;b/../admin", "/%2fadmin", "/x%2f..%2fadmin", "/x%5c..%5cadmin",
                "/admin;x=1", "/../admin", "/%2%46admin", "/%2%4%36admin", "/a/b/../../admin",
            ]);
        }

        fn a_trailing_slash_stays_one() {
            check("/admin/", &["/admin/", "/admin//", "/admin/.", "/admin/x/..", "/admin%2f", "/admin/;x"]);
        }

        fn nothing_is_the_root() {
            check("/", &["", "/", "//", "/..", "/.", "/a/..", "%2f"]);
        }

        fn what_could_mean_something_else_stays() {
            check("/%2561dmin", &["/%2561dmin"]);
            check("/Admin", &["/Admin"]);
            check("/a%20b", &["/a%20b"]);
            check("/a%3F", &["/a%3f", "/a%3F"]);
            check("/a%", &["/a%"]);
            check("/%zz", &["/%zz"]);
            check("/...", &["/..."]);
        }

        fn climbing_is_seen_in_every_spelling() {
            for path in ["/a/../b", "/..", "..", "/%2e%2e/x", "/a%2f..", "/..;x/y", "/a\\..\\b"] {
                assert!(climbs(path.as_bytes()), "{path}");
            }
            for path in ["/a/...", "/a..b", "/a/.", "/", "/..a", "/%2e%2ea"] {
                assert!(!climbs(path.as_bytes()), "{path}");
            }
        }
    }
}
