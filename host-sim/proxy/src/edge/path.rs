//! The path in its normal form, as the connection manager sees to it before anything looks at the path.
//!
//! Source: Envoy's `http/path_utility.cc` over Chromium's URL canonicaliser; every byte's fate, raw and escaped, and the treatment of
//! `;` behind dots were read off Envoy 1.40.

use bytes::Bytes;

/// What is done to a path. Istio's profiles: NONE nothing, BASE `normalize`, MERGE_SLASHES also `merge_slashes`,
/// DECODE_AND_MERGE_SLASHES also [`EscapedSlashes::Forward`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathRules {
    /// Remove dot segments, turn `\` into `/`, decode what needs no escape, escape what does.
    pub normalize: bool,
    /// Write runs of slashes as one.
    pub merge_slashes: bool,
    /// What is done about `%2F` and `%5C`.
    pub escaped_slashes: EscapedSlashes,
    /// A `#` cuts the target off instead of refusing it: the runtime flag `http_reject_path_with_fragment` is false.
    pub cut_fragment: bool,
}

/// What is done about `%2F` and `%5C`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// Nothing.
    #[default]
    Keep,
    /// The request is refused.
    Reject,
    /// They are decoded and the client is sent to the decoded path.
    Redirect,
    /// They are decoded.
    Forward,
}

/// What became of a request's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathVerdict {
    /// It stays as it is.
    Unchanged,
    /// This is the target from now on.
    Changed(Bytes),
    /// The client is sent to this target.
    Redirect(Bytes),
    /// 400; the target as far as it was brought into its form.
    Reject(Bytes),
}

impl PathRules {
    /// Brings a target (path and query) into its normal form. The query is never touched.
    pub fn apply(&self, target: &[u8]) -> PathVerdict {
        let whole = target;
        let fragment = target.iter().position(|&b| b == b'#');
        if fragment.is_some() && !self.cut_fragment {
            return PathVerdict::Reject(Bytes::copy_from_slice(whole));
        }
        let target = fragment.and_then(|at| target.get(..at)).unwrap_or(target);
        let end = target.iter().position(|&b| b == b'?').unwrap_or(target.len());
        let (path, query) = target.split_at_checked(end).unwrap_or((target, b""));
        if fragment.is_none() && self.leaves_alone(path) {
            return PathVerdict::Unchanged;
        }
        let mut path = path.to_vec();
        let mut redirect = false;
        if self.escaped_slashes != EscapedSlashes::Keep && unescape_slashes(&mut path) {
            match self.escaped_slashes {
                EscapedSlashes::Reject => return PathVerdict::Reject(with_query(path, query)),
                EscapedSlashes::Redirect => redirect = true,
                EscapedSlashes::Forward | EscapedSlashes::Keep => {}
            }
        }
        if self.normalize {
            match canonical(&path) {
                Some(canonical) => path = canonical,
                None => return PathVerdict::Reject(with_query(path, query)),
            }
        }
        if self.merge_slashes {
            path = merged(&path);
        }
        let target = with_query(path, query);
        if redirect {
            PathVerdict::Redirect(target)
        } else if target == whole {
            PathVerdict::Unchanged
        } else {
            PathVerdict::Changed(target)
        }
    }

    /// The usual path: nothing in it that any rule changes.
    fn leaves_alone(&self, path: &[u8]) -> bool {
        let mut after_slash = false;
        path.first() == Some(&b'/')
            && path.iter().all(|&byte| {
                let (dot, double) = (after_slash && byte == b'.', after_slash && byte == b'/');
                after_slash = byte == b'/';
                !(dot || double && self.merge_slashes) && byte != b'%' && fate(byte) == Fate::Pass
            })
    }
}

fn with_query(mut path: Vec<u8>, query: &[u8]) -> Bytes {
    path.extend_from_slice(query);
    Bytes::from(path)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    Escape,
    Slash,
}

/// What becomes of a raw byte.
fn fate(byte: u8) -> Fate {
    match byte {
        b'\\' => Fate::Slash,
        0..=b' ' | b'"' | b'#' | b'<' | b'>' | b'?' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f.. => Fate::Escape,
        _ => Fate::Pass,
    }
}

/// Needs no escape, so an escaped one is decoded.
fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `%2F`, `%5C` decoded; says whether there was one.
fn unescape_slashes(path: &mut Vec<u8>) -> bool {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_slice();
    let mut found = false;
    while let Some((&byte, tail)) = rest.split_first() {
        let decoded = match tail.get(..2).filter(|_| byte == b'%') {
            Some([b'2', b'f' | b'F']) => Some(b'/'),
            Some([b'5', b'c' | b'C']) => Some(b'\\'),
            _ => None,
        };
        found |= decoded.is_some();
        out.push(decoded.unwrap_or(byte));
        rest = if decoded.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    *path = out;
    found
}

/// Runs of slashes as one; a path of nothing but slashes stays two of them, as in Envoy.
fn merged(path: &[u8]) -> Vec<u8> {
    if !path.windows(2).any(|pair| pair == b"//") {
        return path.to_vec();
    }
    let parts: Vec<&[u8]> = path.split(|&b| b == b'/').filter(|part| !part.is_empty()).collect();
    let mut out = Vec::with_capacity(path.len());
    if path.starts_with(b"/") {
        out.push(b'/');
    }
    out.extend_from_slice(&parts.join(&b'/'));
    if path.ends_with(b"/") {
        out.push(b'/');
    }
    out
}

/// Chromium's canonical path; `None` for what it refuses (`%00`).
fn canonical(path: &[u8]) -> Option<Vec<u8>> {
    let path = without_dot_parameters(path);
    let mut out = Vec::with_capacity(path.len());
    if !path.first().is_some_and(|&b| is_slash(b)) {
        out.push(b'/');
    }
    let mut rest = path.as_slice();
    let mut loose = None;
    while let Some((&byte, tail)) = rest.split_first() {
        if let Some(after) = dot(rest) {
            rest = after_dot(after, &mut out);
        } else if byte == b'%' {
            rest = escape(tail, &mut out, &mut loose)?;
        } else {
            match fate(byte) {
                Fate::Pass => out.push(byte),
                Fate::Slash => out.push(b'/'),
                Fate::Escape => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            }
            rest = tail;
        }
    }
    Some(out)
}

/// `/..;x/` counts as `/../`: a parameter behind dots would hide them. Only literal dots and slashes.
fn without_dot_parameters(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for (n, segment) in path.split(|&b| b == b'/').enumerate() {
        if n > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(match segment {
            [b'.', b'.', b';', ..] => b"..",
            [b'.', b';', ..] => b".",
            segment => segment,
        });
    }
    out
}

fn is_slash(byte: u8) -> bool {
    byte == b'/' || byte == b'\\'
}

/// What follows a dot, literal or escaped.
fn dot(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// Handles one dot whose successors are `rest`; returns what is left to read.
fn after_dot<'p>(rest: &'p [u8], out: &mut Vec<u8>) -> &'p [u8] {
    if out.last() != Some(&b'/') {
        out.push(b'.');
        return rest;
    }
    if let Some(left) = end_of_segment(rest) {
        return left;
    }
    match dot(rest).and_then(end_of_segment) {
        Some(left) => {
            // One segment up: to the slash before the last one, the first slash stays.
            let up = out.len().checked_sub(1).and_then(|end| out.get(..end)?.iter().rposition(|&b| b == b'/'));
            out.truncate(up.map_or(1, |slash| slash.saturating_add(1)));
            left
        }
        None => {
            out.push(b'.');
            rest
        }
    }
}

/// What follows the end of a segment, if `rest` is at one.
fn end_of_segment(rest: &[u8]) -> Option<&[u8]> {
    match rest.split_first() {
        None => Some(rest),
        Some((&byte, tail)) => is_slash(byte).then_some(tail),
    }
}

/// Handles what follows a `%`; returns what is left to read. `loose` is where the last `%` was written that begins no escape.
fn escape<'p>(tail: &'p [u8], out: &mut Vec<u8>, loose: &mut Option<usize>) -> Option<&'p [u8]> {
    let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
    let digits = hex.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    let Some(byte) = digits.and_then(|hex| u8::from_str_radix(hex, 16).ok()) else {
        *loose = Some(out.len());
        out.push(b'%');
        return Some(tail);
    };
    if byte == 0 {
        return None;
    }
    let rest = tail.get(2..)?;
    if unreserved(byte) {
        out.push(byte);
        if let Some(loose) = *loose {
            keep_loose(loose, rest, out);
        }
    } else {
        out.push(b'%');
        out.extend_from_slice(tail.get(..2).unwrap_or_default());
    }
    Some(rest)
}

/// `%%41` and `%4%31` must not become an escape that was none: the loose `%` is written as `%25` then, unless dot segments took it away.
fn keep_loose(loose: usize, rest: &[u8], out: &mut Vec<u8>) {
    if out.get(loose) != Some(&b'%') {
        return;
    }
    let decoded = out.last().copied();
    let behind = out.len().wrapping_sub(loose);
    let next = rest.first().filter(|next| next.is_ascii()).copied();
    // The loose one, one character or two, of which the last was just decoded; the other may be still to come.
    let pair = match (behind, next) {
        (2, Some(next)) => [decoded, Some(next)],
        (3, _) => [out.get(loose.wrapping_add(1)).copied(), decoded],
        _ => return,
    };
    if pair.iter().all(|byte| byte.is_some_and(|byte| byte.is_ascii_hexdigit())) {
        out.truncate(loose.wrapping_add(1));
        out.extend_from_slice(b"25");
        out.extend(pair.into_iter().take(behind.wrapping_sub(1)).flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: PathRules = PathRules { normalize: true, ..NONE };
    const MERGE: PathRules = PathRules { merge_slashes: true, ..BASE };
    const DECODE: PathRules = PathRules { escaped_slashes: EscapedSlashes::Forward, ..MERGE };
    const NONE: PathRules = PathRules {
        normalize: false,
        merge_slashes: false,
        escaped_slashes: EscapedSlashes::Keep,
        cut_fragment: false,
    };

    fn check(rules: PathRules, rows: &[(&str, &str)]) {
        for (target, want) in rows {
            let got = match rules.apply(target.as_bytes()) {
                PathVerdict::Unchanged => (*target).to_owned(),
                PathVerdict::Changed(to) => String::from_utf8_lossy(&to).into_owned(),
                PathVerdict::Redirect(to) => format!("307 {}", String::from_utf8_lossy(&to)),
                PathVerdict::Reject(_) => "400".to_owned(),
            };
            assert_eq!(got, *want, "{target}");
        }
    }

    // Every row of these tables was answered so by Envoy 1.40.
    #[test]
    fn base_removes_dot_segments_and_decodes_what_needs_no_escape() {
        check(
            BASE,
            &[
                ("/a/b", "/a/b"),
                ("/..", "/"),
                ("/a/../..", "/"),
                ("/.", "/"),
                ("/a/%2e%2E/b", "/b"),
                ("/a/b/..", "/a/"),
                ("/a/.", "/a/"),
                ("/a/./", "/a/"),
                ("/%2e", "/"),
                ("/.%2e/x", "/x"),
                ("/a%2F..", "/a%2F.."),
                ("/a/...", "/a/..."),
                ("/a..", "/a.."),
                ("/.a", "/.a"),
                ("//x", "//x"),
                ("/%61", "/a"),
                ("/x%7Ey%2D%5F", "/x~y-_"),
                ("/x\\y", "/x/y"),
                ("/x\"<>^`{|}y", "/x%22%3C%3E%5E%60%7B%7C%7Dy"),
                ("/x%22y", "/x%22y"),
                ("/%zz", "/%zz"),
                ("/%", "/%"),
                ("/a%2", "/a%2"),
                ("/%00", "400"),
                ("/a#b", "400"),
                ("/a?x=#", "400"),
                ("/%2561", "/%2561"),
                ("/%%412F", "/%25A2F"),
                ("/%4%31", "/%2541"),
                ("/%%34%31", "/%2541"),
                ("/b%%41/../1%41a%46", "/1AaF"),
                ("/a?x=/../%61", "/a?x=/../%61"),
            ],
        );
    }

    #[test]
    fn parameters_do_not_hide_dots() {
        check(
            BASE,
            &[
                ("/a/..;/b", "/b"),
                ("/a/..;x=1/b", "/b"),
                ("/a/.;x/b", "/a/b"),
                ("/a/..;", "/"),
                ("/a/.;", "/a/"),
                ("/a;b/c", "/a;b/c"),
                ("/a/..%3b/b", "/a/..%3b/b"),
                ("/a/%2e%2e;/b", "/a/..;/b"),
                ("/a/;/../b", "/a/b"),
                ("/a/...;/b", "/a/...;/b"),
                ("/a/b/..;/..;/c", "/c"),
                ("/a/..;\\b", "/"),
                ("/a/..;%2fb/c", "/c"),
                ("/;/..", "/"),
                ("/a/.;;/b", "/a/b"),
                ("/a/..;?x", "/?x"),
                ("/a/b..;/c", "/a/b..;/c"),
            ],
        );
    }

    #[test]
    fn merging_comes_after_normalisation() {
        check(
            MERGE,
            &[
                ("//a", "/a"),
                ("/a//b//", "/a/b/"),
                ("/a/%2f/b", "/a/%2f/b"),
                ("//", "//"),
                ("///", "//"),
                ("/a?x=//", "/a?x=//"),
                ("/..//a", "/a"),
                ("/a\\\\b", "/a/b"),
                ("/.//a//..//b", "/a/b"),
            ],
        );
    }

    #[test]
    fn escaped_slashes_are_kept_decoded_redirected_or_refused() {
        check(
            DECODE,
            &[
                ("/a%2fb", "/a/b"),
                ("/a%5Cb", "/a/b"),
                ("/a%2F..%2fb", "/b"),
                ("/a?x=%2f", "/a?x=%2f"),
                ("/a%252fb", "/a%252fb"),
                ("/%2f", "//"),
            ],
        );
        check(
            PathRules { escaped_slashes: EscapedSlashes::Redirect, ..MERGE },
            &[("/a%2fb", "307 /a/b"), ("/a%2F..%2fb", "307 /b"), ("/a?x=%2f", "/a?x=%2f")],
        );
        check(
            PathRules { escaped_slashes: EscapedSlashes::Reject, ..MERGE },
            &[("/a%2fb", "400"), ("/a%5Cb", "400"), ("/a%252fb", "/a%252fb")],
        );
    }

    #[test]
    fn a_fragment_is_refused_or_cut_off() {
        let cut = PathRules { cut_fragment: true, ..BASE };
        check(cut, &[("/a#b", "/a"), ("/a?x=1#b", "/a?x=1"), ("/#", "/"), ("/a/../b#c/../d", "/b"), ("/a", "/a")]);
        check(BASE, &[("/a#b", "400"), ("/a?x#", "400")]);
    }

    #[test]
    fn none_touches_nothing_but_refuses_fragments() {
        check(
            NONE,
            &[
                ("//a", "//a"),
                ("/a/../b", "/a/../b"),
                ("/%61", "/%61"),
                ("/a\\b", "/a\\b"),
                ("/\"", "/\""),
                ("/%00", "/%00"),
                ("/#", "400"),
            ],
        );
    }

    #[test]
    fn the_normal_form_of_a_normal_form_is_itself() {
        let alphabet = b"/.%;\\a2eEfF5cC?";
        let mut seed = 1u64;
        for _ in 0..20_000 {
            let mut target = vec![b'/'];
            for _ in 0..12 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                target.push(alphabet[(seed >> 33) as usize % alphabet.len()]);
            }
            for rules in [BASE, MERGE] {
                let PathVerdict::Changed(once) = rules.apply(&target) else { continue };
                let again = rules.apply(&once);
                let path = once.split(|&b| b == b'?').next().unwrap_or_default();
                // `%2561` and `..;` made of escapes are the known exceptions: they become something new when read again.
                if !target.windows(3).any(|w| w == b"%25")
                    && !path.windows(2).any(|w| w == b".;")
                    && !path.contains(&b'%')
                {
                    assert_eq!(again, PathVerdict::Unchanged, "{}", target.escape_ascii());
                }
            }
        }
    }
}
