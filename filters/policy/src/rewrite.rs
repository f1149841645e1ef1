//! New targets from old: the path changes, the query stays byte for byte.

use crate::path::split_target;
use crate::regex::{Regex, Substitution};
use crate::strict::climbs;

/// Envoy's own prefix rewrite: `with` stands where the first `matched_len` bytes stood, slashes or not.
///
/// `/common` to `/` makes `//api` of `/common/api`, in Envoy and here.
pub fn envoy_prefix_rewrite(target: &[u8], matched_len: usize, with: &[u8]) -> Vec<u8> {
    let mut out = with.to_vec();
    out.extend_from_slice(target.get(matched_len..).unwrap_or_default());
    out
}

/// The same with exactly one slash at the seam, whatever either side brings.
///
/// A path that was the whole prefix becomes `with` itself.
pub fn joined_prefix_rewrite(target: &[u8], matched_len: usize, with: &[u8]) -> Vec<u8> {
    let (path, _) = split_target(target);
    let (matched, rest) = path.split_at_checked(matched_len).unwrap_or((path, b""));
    let kept = target.get(path.len()..).unwrap_or_default();
    let mut out = with.to_vec();
    if !rest.is_empty() || matched.ends_with(b"/") || with.is_empty() {
        while out.last() == Some(&b'/') {
            out.pop();
        }
        out.push(b'/');
        let first = rest.iter().position(|&b| b != b'/').unwrap_or(rest.len());
        out.extend_from_slice(rest.get(first..).unwrap_or_default());
    }
    out.extend_from_slice(kept);
    out
}

/// Another path altogether, the query kept.
pub fn replace_path(target: &[u8], with: &[u8]) -> Vec<u8> {
    let (path, _) = split_target(target);
    envoy_prefix_rewrite(target, path.len(), with)
}

/// Every match of `regex` in the path replaced, the query kept.
pub fn regex_rewrite(target: &[u8], regex: &Regex, with: &Substitution) -> Vec<u8> {
    let (path, _) = split_target(target);
    replace_path(target, &regex.replace_all(path, with))
}

/// Why a rewritten target must not be sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// Nothing is left
    #[error("the rewritten path is empty")]
    Empty,
    /// `foo`
    #[error("the rewritten path does not start with \"/\"")]
    NoSlash,
    /// `//evil.example`, which a browser may read as a host
    #[error("the rewritten path starts with \"//\"")]
    TwoSlashes,
    /// A control byte, a space, a `#`, or a byte beyond ASCII
    #[error("the rewritten target holds a byte that may not stand in one")]
    Byte,
    /// `..` in any spelling
    #[error("the rewritten path climbs by \"..\"")]
    Climbs,
}

/// Is this a target that may be sent on?
pub fn validate(target: &[u8]) -> Result<(), InvalidTarget> {
    let (path, _) = split_target(target);
    match path {
        [] => return Err(InvalidTarget::Empty),
        [b'/', b'/', ..] => return Err(InvalidTarget::TwoSlashes),
        [b'/', ..] => {}
        _ => return Err(InvalidTarget::NoSlash),
    }
    if target.iter().any(|&b| !b.is_ascii_graphic() || b == b'#') {
        return Err(InvalidTarget::Byte);
    }
    if climbs(path) { Err(InvalidTarget::Climbs) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    fn envoy(target: &str, prefix: &str, with: &str) -> String {
        text(envoy_prefix_rewrite(target.as_bytes(), prefix.len(), with.as_bytes()))
    }

    fn joined(target: &str, prefix: &str, with: &str) -> String {
        text(joined_prefix_rewrite(target.as_bytes(), prefix.len(), with.as_bytes()))
    }

    sentences! {
        fn envoys_rewrite_is_raw_bytes() {
            assert_eq!(envoy("/common/api?q=/x", "/common", "/"), "//api?q=/x");
            assert_eq!(envoy("/common/api", "/common/", "/"), "/api");
            assert_eq!(envoy("/a/b", "/", "/new"), "/newa/b");
            assert_eq!(envoy("/products/list", "/", "/"), "/products/list");
            assert_eq!(envoy("/api../admin", "/api", "/"), "/../admin");
        }

        fn the_seam_has_one_slash() {
            assert_eq!(joined("/common/api", "/common", "/"), "/api");
            assert_eq!(joined("/common/api", "/common/", "/"), "/api");
            assert_eq!(joined("/common/api", "/common/", "/v2"), "/v2/api");
            assert_eq!(joined("/common/api", "/common", "/v2/"), "/v2/api");
            assert_eq!(joined("/common//api", "/common", "/v2"), "/v2/api");
            assert_eq!(joined("/a/b", "/", "/new"), "/new/a/b");
            assert_eq!(joined("/a/b", "", "/new"), "/new/a/b");
            assert_eq!(joined("/apix", "/api", "/v2"), "/v2/x");
        }

        fn a_path_that_is_the_prefix_becomes_the_rewrite() {
            assert_eq!(joined("/common", "/common", "/v2"), "/v2");
            assert_eq!(joined("/common?x", "/common", "/v2"), "/v2?x");
            assert_eq!(joined("/common", "/common", "/v2/"), "/v2/");
            assert_eq!(joined("/common/", "/common/", "/v2"), "/v2/");
            assert_eq!(joined("/common", "/common", ""), "/");
        }

        fn the_query_is_kept_byte_for_byte() {
            assert_eq!(joined("/a/b?x=//&y=%2f?", "/a", "/c"), "/c/b?x=//&y=%2f?");
            assert_eq!(text(replace_path(b"/a?b=c#d", b"/n")), "/n?b=c#d");
            assert_eq!(text(replace_path(b"/a?", b"/n")), "/n?");
        }

        fn a_prefix_longer_than_the_path_takes_the_path() {
            assert_eq!(joined("/a?q", "/abcdef", "/n"), "/n?q");
        }

        fn only_a_sound_target_is_sent_on() {
            for target in ["/", "/a?b=c", "/a//b", "/%20", "/a?x=.."] {
                assert_eq!(validate(target.as_bytes()), Ok(()), "{target}");
            }
            for (target, fault) in [
                ("", InvalidTarget::Empty),
                ("?x", InvalidTarget::Empty),
                ("a", InvalidTarget::NoSlash),
                ("//a", InvalidTarget::TwoSlashes),
                ("/a b", InvalidTarget::Byte),
                ("/a\r\nb", InvalidTarget::Byte),
                ("/a#b", InvalidTarget::Byte),
                ("/\u{e9}", InvalidTarget::Byte),
                ("/../a", InvalidTarget::Climbs),
                ("/a/%2e%2E", InvalidTarget::Climbs),
                ("/..;/a", InvalidTarget::Climbs),
            ] {
                assert_eq!(validate(target.as_bytes()), Err(fault), "{target}");
            }
        }
    }

    #[cfg(feature = "regex")]
    sentences! {
        fn a_regex_rewrites_the_path_alone() {
            let regex = Regex::search("/v([0-9]+)").unwrap();
            let with = Substitution::parse(r"/version\1", &regex).unwrap();
            assert_eq!(text(regex_rewrite(b"/v1/v22?v=/v3", &regex, &with)), "/version1/version22?v=/v3");
        }
    }
}
