//! What `--fidelity hardened` refuses of a rewritten path: what the next server would resolve to a place the route does not name.

/// Does a rewritten target still say one thing only? No segment is `..`, in any spelling, and it does not begin like an authority.
pub(crate) fn accepts(target: &[u8]) -> bool {
    let path = target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    !path.starts_with(b"//") && !path.split(|byte| matches!(byte, b'/' | b'\\')).any(climbs)
}

/// `..`, its dots encoded or not, whatever parameters follow.
fn climbs(segment: &[u8]) -> bool {
    let name = segment.split(|&byte| byte == b';').next().unwrap_or_default();
    let dot = |text: &[u8]| match text {
        [b'.', ..] => Some(1),
        [b'%', b'2', b'e' | b'E', ..] => Some(3),
        _ => None,
    };
    let Some(first) = dot(name) else { return false };
    let rest = name.get(first..).unwrap_or_default();
    dot(rest) == Some(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewritten_path_neither_climbs_nor_names_a_host() {
        for (target, accepted) in [
            ("/", true),
            ("/a/b?c=../d", true),
            ("/a..b", true),
            ("/...", true),
            ("/./a", true),
            ("/a//b", true),
            ("//evil.example", false),
            ("/../admin", false),
            ("/a/..", false),
            ("/a/..?x", false),
            ("/a/..;x/b", false),
            ("/%2e%2E/admin", false),
            ("/.%2e/admin", false),
            ("/a\\..\\b", false),
        ] {
            assert_eq!(accepts(target.as_bytes()), accepted, "{target}");
        }
    }
}
